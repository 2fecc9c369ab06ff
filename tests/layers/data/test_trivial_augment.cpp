#include <cmath>
#include <set>
#include <vector>

#include "gtest/gtest.h"

#include "layers/data/trivial_augment.hpp"

namespace caffe {

namespace {

// Channels as planes. The values must outlive it.
Pixels Image(int channels, int height, int width,
             const std::vector<uint8_t>& values) {
  Pixels image;
  image.channels = channels;
  image.height = height;
  image.width = width;
  image.data = values.data();
  image.channel_step = height * width;
  image.row_step = width;
  image.column_step = 1;
  return image;
}

std::vector<int> Values(const Pixels& image) {
  std::vector<int> values;
  for (int c = 0; c < image.channels; ++c) {
    for (int y = 0; y < image.height; ++y) {
      for (int x = 0; x < image.width; ++x) {
        values.push_back(image.data[c * image.channel_step + y * image.row_step
                                    + x * image.column_step]);
      }
    }
  }
  return values;
}

std::vector<int> Applied(Operation operation, double amount,
                         const Pixels& image) {
  return Values(Apply(operation, amount, image));
}

std::vector<uint8_t> Random(int count) {
  RandomStream random({7});
  std::vector<uint8_t> values;
  for (int i = 0; i < count; ++i) { values.push_back(random.Below(256)); }
  return values;
}

}  // namespace

TEST(TrivialAugmentTest, NoAmountIsNoChange) {
  const std::vector<uint8_t> values = Random(3 * 5 * 7);
  const Pixels image = Image(3, 5, 7, values);
  for (int i = 0; i < kOperations; ++i) {
    const Operation operation = static_cast<Operation>(i);
    if (operation == Operation::AUTOCONTRAST
        || operation == Operation::EQUALIZE) {
      continue;  // they have no strength
    }
    EXPECT_EQ(Applied(operation, 0, image), Values(image)) << i;
  }
}

TEST(TrivialAugmentTest, ColorsWorkedByHand) {
  typedef std::vector<int> Expected;
  const std::vector<uint8_t> values = {50, 150};
  const Pixels pair = Image(1, 1, 2, values);
  EXPECT_EQ(Applied(Operation::BRIGHTNESS, 1, pair), (Expected{100, 255}));
  EXPECT_EQ(Applied(Operation::BRIGHTNESS, -0.5, pair), (Expected{25, 76}));
  // About their mean, 100.
  EXPECT_EQ(Applied(Operation::CONTRAST, 0.5, pair), (Expected{25, 175}));
  EXPECT_EQ(Applied(Operation::CONTRAST, -0.5, pair), (Expected{75, 125}));
  EXPECT_EQ(Applied(Operation::SOLARIZE, 0.5, pair), (Expected{50, 105}));
  EXPECT_EQ(Applied(Operation::AUTOCONTRAST, 0, pair), (Expected{0, 255}));
  EXPECT_EQ(Applied(Operation::EQUALIZE, 0, pair), (Expected{0, 255}));
  const std::vector<uint8_t> four = {50, 70, 150, 150};
  EXPECT_EQ(Applied(Operation::AUTOCONTRAST, 0, Image(1, 1, 4, four)),
            (Expected{0, 51, 255, 255}));
  EXPECT_EQ(Applied(Operation::EQUALIZE, 0, Image(1, 1, 4, four)),
            (Expected{0, 85, 255, 255}));
  const std::vector<uint8_t> color = {30, 60, 90};  // grey 60
  const Pixels pixel = Image(3, 1, 1, color);
  EXPECT_EQ(Applied(Operation::SATURATION, 1, pixel), (Expected{0, 60, 120}));
  EXPECT_EQ(Applied(Operation::SATURATION, -1, pixel), (Expected{60, 60, 60}));
  EXPECT_EQ(Applied(Operation::POSTERIZE, -1, pixel), (Expected{0, 0, 64}));
  EXPECT_EQ(Applied(Operation::POSTERIZE, 0.5, pixel), (Expected{24, 56, 88}));
  const std::vector<uint8_t> same = {9, 9};
  EXPECT_EQ(Applied(Operation::AUTOCONTRAST, 0, Image(1, 1, 2, same)),
            (Expected{9, 9}));
}

TEST(TrivialAugmentTest, SharpnessLeavesTheEdge) {
  std::vector<uint8_t> values(9, 100);
  values[4] = 165;  // smoothed: 125
  const Pixels image = Image(1, 3, 3, values);
  const std::vector<int> smooth = Applied(Operation::SHARPNESS, -1, image);
  EXPECT_NEAR(smooth[4], 125, 1);
  EXPECT_EQ(Applied(Operation::SHARPNESS, 1, image)[4], 205);
  for (int i : {0, 1, 2, 3, 5, 6, 7, 8}) { EXPECT_EQ(smooth[i], 100) << i; }
}

// Of an odd square, a quarter turn takes pixels to pixels.
TEST(TrivialAugmentTest, GeometryWorkedByHand) {
  typedef std::vector<int> Expected;
  const std::vector<uint8_t> values = {10, 20, 30, 40, 50, 60, 70, 80, 90};
  const Pixels image = Image(1, 3, 3, values);
  EXPECT_EQ(Applied(Operation::ROTATE, 90 / 135., image),
            (Expected{70, 40, 10, 80, 50, 20, 90, 60, 30}));
  EXPECT_EQ(Applied(Operation::ROTATE, -90 / 135., image),
            (Expected{30, 60, 90, 20, 50, 80, 10, 40, 70}));
  // From the right, reflected about the outermost column.
  EXPECT_EQ(Applied(Operation::TRANSLATE_X, 1 / 3., image),
            (Expected{20, 30, 20, 50, 60, 50, 80, 90, 80}));
  EXPECT_EQ(Applied(Operation::TRANSLATE_Y, -1 / 3., image),
            (Expected{40, 50, 60, 10, 20, 30, 40, 50, 60}));
  // Shifts are shares of the width and of the height.
  const std::vector<uint8_t> wide = {10, 20, 30, 40, 50, 60, 70, 80};
  EXPECT_EQ(Applied(Operation::TRANSLATE_X, 1 / 4., Image(1, 2, 4, wide)),
            (Expected{20, 30, 40, 30, 60, 70, 80, 70}));
  EXPECT_EQ(Applied(Operation::TRANSLATE_Y, 1 / 2., Image(1, 2, 4, wide)),
            (Expected{50, 60, 70, 80, 10, 20, 30, 40}));
  // Shears keep the middle, and move what is one above it by 0.99.
  const std::vector<int> sheared = Applied(Operation::SHEAR_X, 1, image);
  EXPECT_EQ(sheared[4], 50);
  EXPECT_NEAR(sheared[1], 10, 1);
  EXPECT_NEAR(sheared[7], 90, 1);
  const std::vector<int> down = Applied(Operation::SHEAR_Y, 1, image);
  EXPECT_NEAR(down[3], 10, 1);
  EXPECT_NEAR(down[5], 90, 1);
}

// All but contrast (the grey of the image) and saturation (that of a pixel).
TEST(TrivialAugmentTest, ChannelsAreOnTheirOwn) {
  const int height = 5, width = 7, area = height * width;
  const std::vector<uint8_t> values = Random(3 * area);
  for (int i = 0; i < kOperations; ++i) {
    const Operation operation = static_cast<Operation>(i);
    if (operation == Operation::CONTRAST
        || operation == Operation::SATURATION) {
      continue;
    }
    std::vector<int> expected;
    for (int c = 0; c < 3; ++c) {
      const std::vector<uint8_t> plane(values.begin() + c * area,
                                       values.begin() + (c + 1) * area);
      const std::vector<int> alone =
          Applied(operation, 0.4, Image(1, height, width, plane));
      expected.insert(expected.end(), alone.begin(), alone.end());
    }
    EXPECT_EQ(Applied(operation, 0.4, Image(3, height, width, values)),
              expected)
        << i;
  }
}

// Channels may be planes or interleaved, in either order.
TEST(TrivialAugmentTest, TheLayoutDoesNotMatter) {
  const int height = 5, width = 7, area = height * width;
  const std::vector<uint8_t> values = Random(3 * area);
  std::vector<uint8_t> reversed(3 * area);
  for (int i = 0; i < area; ++i) {
    for (int c = 0; c < 3; ++c) {
      reversed[3 * i + 2 - c] = values[c * area + i];
    }
  }
  Pixels interleaved = Image(3, height, width, reversed);
  interleaved.data += 2;
  interleaved.channel_step = -1;
  interleaved.row_step = 3 * width;
  interleaved.column_step = 3;
  for (int i = 0; i < kOperations; ++i) {
    const Operation operation = static_cast<Operation>(i);
    EXPECT_EQ(Applied(operation, 0.4, Image(3, height, width, values)),
              Applied(operation, 0.4, interleaved))
        << i;
  }
}

TEST(TrivialAugmentTest, EachOperationIsDrawn) {
  const std::vector<uint8_t> values = Random(3 * 9 * 9);
  const Pixels image = Image(3, 9, 9, values);
  std::set<Operation> operations;
  std::set<std::vector<int>> seen;
  for (uint64_t key = 0; key < 300; ++key) {
    RandomStream random({key}), again({key}), expected({key});
    const std::vector<int> drawn = Values(TrivialAugment(image, 0.5, &random));
    EXPECT_EQ(drawn, Values(TrivialAugment(image, 0.5, &again)));
    const Operation operation =
        static_cast<Operation>(expected.Below(kOperations));
    EXPECT_EQ(drawn, Applied(operation, 0.5 * expected.Balanced(), image));
    operations.insert(operation);
    seen.insert(drawn);
  }
  EXPECT_EQ(operations.size(), 14u);  // as in the paper
  EXPECT_GT(seen.size(), 200u);
}

}  // namespace caffe
