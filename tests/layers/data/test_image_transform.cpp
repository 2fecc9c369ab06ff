#include <algorithm>
#include <cmath>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include <opencv2/imgcodecs/imgcodecs.hpp>

#include "google/protobuf/text_format.h"
#include "gtest/gtest.h"

#include "layers/data/image_lmdb.hpp"
#include "layers/data/image_transform.hpp"
#include "layers/data/trivial_augment.hpp"

namespace caffe {

namespace {

TransformationParameter Parse(const std::string& text) {
  TransformationParameter param;
  CHECK(google::protobuf::TextFormat::ParseFromString(text, &param)) << text;
  return param;
}

TripletDataParameter Options(const std::string& text) {
  TripletDataParameter options;
  CHECK(google::protobuf::TextFormat::ParseFromString(text, &options)) << text;
  return options;
}

// The same image as a file, encoded by OpenCV.
Datum Encoded(const Datum& raw, const std::string& ending,
              bool declare_size = false) {
  const int area = raw.height() * raw.width();
  cv::Mat image(raw.height(), raw.width(),
                raw.channels() == 3 ? CV_8UC3 : CV_8UC1);
  for (int i = 0; i < area; ++i) {
    for (int c = 0; c < raw.channels(); ++c) {  // RGB to OpenCV's BGR
      image.data[i * raw.channels() + raw.channels() - 1 - c] =
          raw.data()[c * area + i];
    }
  }
  std::vector<unsigned char> file;
  cv::imencode(ending, image, file);
  Datum datum;
  datum.set_encoded(true);
  datum.set_label(raw.label());
  datum.set_data(file.data(), file.size());
  if (declare_size) {
    datum.set_channels(raw.channels());
    datum.set_height(raw.height());
    datum.set_width(raw.width());
  }
  return datum;
}

class ImageTransformTest : public ::testing::Test {
 protected:
  // Writes a database of one image.
  void Write(const Datum& datum) {
    database_.reset();
    folder_.reset(new TemporaryFolder);
    WriteLmdb(*folder_ / "db", std::vector<Datum>{datum});
  }
  const ImageDatabase& Open(
      const std::string& decoding = "",
      TripletDataParameter::ChannelOrder order = TripletDataParameter::RGB) {
    database_.reset(
        new ImageDatabase("Test", *folder_ / "db", Parse(decoding), order));
    return *database_;
  }
  std::vector<float> Apply(const ImageTransform& transform, uint64_t key = 0) {
    std::vector<float> values(transform.channels() * transform.height()
                              * transform.width());
    Pixels pixels;
    database_->Read(0, &pixels);
    RandomStream random({key});
    transform.Apply(pixels, &random, values.data());
    return values;
  }
  std::vector<float> Plain(const ImageDatabase& database) {
    return Apply(ImageTransform("Test", Parse(""), {}, TEST, database));
  }

  std::unique_ptr<TemporaryFolder> folder_;
  std::unique_ptr<ImageDatabase> database_;
};

}  // namespace

// Pads, crops and flips step by step on a whole padded image.
TEST_F(ImageTransformTest, EqualsAPlainImplementation) {
  const int height = 7, width = 6, pad = 3, crop = 5;
  const Datum datum = RawImage(3, height, width, 40, 0);
  Write(datum);
  const ImageTransform transform(
      "Test",
      Parse("crop_size: 5 mirror: true scale: 0.5 mean_value: 10"
            " mean_value: 20 mean_value: 30"),
      Options("pad: 3"), TRAIN, Open());
  ASSERT_EQ(transform.height(), crop);
  ASSERT_EQ(transform.width(), crop);
  std::set<std::vector<int>> seen;
  for (uint64_t key = 0; key < 3000; ++key) {
    RandomStream random({key});
    const int mirror = random.Below(2);
    const int top = random.Below(height + 2 * pad - crop + 1);
    const int left = random.Below(width + 2 * pad - crop + 1);
    seen.insert({mirror, top, left});
    const std::vector<float> values = Apply(transform, key);
    for (int c = 0; c < 3; ++c) {
      for (int y = 0; y < crop; ++y) {
        for (int x = 0; x < crop; ++x) {
          int row = top + y - pad;
          int column = left + (mirror ? crop - 1 - x : x) - pad;
          if (row < 0) { row = -row; }
          if (row >= height) { row = 2 * (height - 1) - row; }
          if (column < 0) { column = -column; }
          if (column >= width) { column = 2 * (width - 1) - column; }
          const int pixel = static_cast<unsigned char>(
              datum.data()[(c * height + row) * width + column]);
          ASSERT_EQ(values[(c * crop + y) * crop + x],
                    (pixel - 10.f * (c + 1)) * 0.5f);
        }
      }
    }
  }
  EXPECT_EQ(seen.size(), 2u * 9 * 8);  // every crop and flip
}

TEST_F(ImageTransformTest, TestTakesTheCentre) {
  const Datum datum = RawImage(1, 6, 6, 0, 0);
  Write(datum);
  const ImageTransform whole("Test", Parse("crop_size: 6"), Options("pad: 2"),
                             TEST, Open());
  const std::vector<float> values = Apply(whole, 5);
  for (int i = 0; i < 36; ++i) {
    EXPECT_EQ(values[i], static_cast<unsigned char>(datum.data()[i]));
  }
  const ImageTransform centre("Test", Parse("crop_size: 2"), {}, TEST,
                              *database_);
  EXPECT_EQ(Apply(centre, 5)[0], values[2 * 6 + 2]);
}

TEST_F(ImageTransformTest, EncodedEqualsRaw) {
  for (int channels : {1, 3}) {
    const Datum raw = RawImage(channels, 9, 11, 3, 0);
    Write(raw);
    const std::vector<float> expected = Plain(Open());
    for (bool declared : {false, true}) {
      Write(Encoded(raw, ".png", declared));
      EXPECT_EQ(Plain(Open()), expected);
    }
  }
}

TEST_F(ImageTransformTest, BytesAfterAJpegAreIgnored) {
  Datum datum = Encoded(RawImage(3, 16, 16, 3, 0), ".jpg");
  Write(datum);
  const std::vector<float> expected = Plain(Open());
  datum.set_data(datum.data() + "\r\n and so on");
  Write(datum);
  EXPECT_EQ(Plain(Open()), expected);
}

// Its operation and strength are drawn first; what follows is as without it.
TEST_F(ImageTransformTest, TrivialAugmentComesFirst) {
  Write(RawImage(3, 7, 6, 40, 0));
  const auto options = [](const std::string& more) {
    return Options("pad: 3 random_affine: 0.2" + more);
  };
  const TransformationParameter param = Parse("crop_size: 5 mirror: true");
  const ImageTransform with("Test", param, options(" trivial_augment: 0.5"),
                            TRAIN, Open());
  const ImageTransform without("Test", param, options(""), TRAIN, *database_);
  Pixels pixels;
  database_->Read(0, &pixels);
  for (uint64_t key = 0; key < 50; ++key) {
    RandomStream random({key});
    const Pixels first = TrivialAugment(pixels, 0.5, &random);
    std::vector<float> expected(3 * 5 * 5);
    without.Apply(first, &random, expected.data());
    EXPECT_EQ(Apply(with, key), expected) << key;
  }
  const ImageTransform test("Test", {}, Options("trivial_augment: 1"), TEST,
                            *database_);
  EXPECT_EQ(Apply(test), Plain(*database_));
}

// On an image of linear ramps, an affine map gives linear ramps, whose slopes
// are the elements of the map.
TEST_F(ImageTransformTest, RandomAffineIsALinearMapAboutTheCentre) {
  const int height = 41, width = 31, area = height * width;
  Datum ramps = RawImage(3, height, width, 0, 0);
  for (int i = 0; i < area; ++i) {
    const int x = i % width, y = i / width;
    (*ramps.mutable_data())[i] = 6 * x;
    (*ramps.mutable_data())[area + i] = 5 * y;
    (*ramps.mutable_data())[2 * area + i] = x + y;
  }
  for (const bool encoded : {false, true}) {
    Write(encoded ? Encoded(ramps, ".png") : ramps);
    const ImageTransform augmented(
        "Test", Parse(""), Options("random_affine: 0.3"), TRAIN, Open());
    std::vector<std::set<int>> numbers(4);
    double corners = 0;
    for (uint64_t key = 0; key < 300; ++key) {
      const std::vector<float> after = Apply(augmented, key);
      // Reflection fills what lies outside of the image: x + y turns around at
      // the edges, so that nothing is black, and the channels still agree.
      for (int i = 0; i < area; ++i) {
        ASSERT_NEAR(after[i] / 6 + after[area + i] / 5, after[2 * area + i],
                    1.01);
      }
      ASSERT_GT(*std::max_element(&after[2 * area], &after[2 * area] + area),
                40);
      corners += after[2 * area] + after[3 * area - 1];
      const int centre = height / 2 * width + width / 2;
      EXPECT_NEAR(after[centre], 6 * 15, 1);
      EXPECT_NEAR(after[area + centre], 5 * 20, 1);
      // Up to six steps from the centre, the map stays within the image.
      const auto slope = [&](int plane, int step, double unit) {
        const float* at = &after[plane * area + centre];
        EXPECT_NEAR(at[6 * step] + at[-6 * step], 2 * at[0], 3);
        return (at[6 * step] - at[-6 * step]) / (12 * unit);
      };
      const double map[] = {slope(0, 1, 6), slope(0, width, 6), slope(1, 1, 5),
                            slope(1, width, 5)};
      EXPECT_NEAR(slope(2, 1, 1), map[0] + map[2], 0.15) << "channels differ";
      for (int i = 0; i < 4; ++i) {
        const double change = map[i] - (i == 0 || i == 3);
        EXPECT_LE(std::abs(change), 0.33);
        numbers[i].insert(std::lround(change * 10));
      }
    }
    // The mean of the two corners, 0 and 70; black ones would give less.
    EXPECT_NEAR(corners / 300, 70, 7);
    for (const auto& values : numbers) {  // all of -0.3 .. 0.3, each by itself
      EXPECT_EQ(values.size(), 7u);
    }
    const ImageTransform tested(
        "Test", Parse(""), Options("random_affine: 0.3"), TEST, *database_);
    EXPECT_EQ(Apply(tested, 1), Plain(*database_));
  }
}

TEST_F(ImageTransformTest, ColorJitterIsOneContrastAndAShiftOfEachChannel) {
  Write(RawImage(3, 7, 6, 40, 0));
  const std::string text = "scale: 0.5 mean_value: 10";
  const ImageTransform plain("Test", Parse(text), {}, TRAIN, Open());
  const std::vector<float> before = Apply(plain, 0);
  std::set<double> contrasts, all_shifts;
  for (uint64_t key = 0; key < 500; ++key) {
    const ImageTransform jittered(
        "Test", Parse(text), Options("color_jitter: 0.2"), TRAIN, *database_);
    const std::vector<float> after = Apply(jittered, key);
    double contrast = 0;
    std::set<int> shifts;
    for (int c = 0; c < 3; ++c) {
      // A line through two different pixels, on which all others must lie.
      const float* x = &before[42 * c];
      const float* y = &after[42 * c];
      int other = 1;
      while (x[other] == x[0]) { ++other; }
      const double slope = (y[other] - y[0]) / (x[other] - x[0]);
      // In bytes, about 128: undoes the mean of 10 and the scale of 0.5.
      const double shift =
          y[0] / 0.5 + 10 - 128 - slope * (x[0] / 0.5 + 10 - 128);
      if (c == 0) { contrast = slope; }
      EXPECT_NEAR(slope, contrast, 1e-4);
      EXPECT_LE(std::abs(shift), 128 * 0.2 + 1e-3);
      shifts.insert(std::lround(1000 * shift));
      all_shifts.insert(shift);
      for (int i = 0; i < 42; ++i) {
        EXPECT_NEAR(y[i] - y[0], slope * (x[i] - x[0]), 1e-3);
      }
    }
    EXPECT_EQ(shifts.size(), 3u) << "channels shift together";
    contrasts.insert(contrast);
  }
  EXPECT_NEAR(*contrasts.begin(), 0.8, 0.01);
  EXPECT_NEAR(*contrasts.rbegin(), 1.2, 0.01);
  EXPECT_NEAR(*all_shifts.begin(), -25.6, 0.5);
  EXPECT_NEAR(*all_shifts.rbegin(), 25.6, 0.5);
  const ImageTransform tested("Test", Parse(text),
                              Options("color_jitter: 0.2 cutout: 3"), TEST,
                              *database_);
  EXPECT_EQ(Apply(tested, 1), before);
}

TEST_F(ImageTransformTest, CutoutFillsASquareWithGrey) {
  Write(RawImage(3, 7, 6, 0, 0));
  const std::string text = "mean_value: 500 scale: 2";
  const ImageTransform plain("Test", Parse(text), {}, TRAIN, Open());
  const ImageTransform cutout("Test", Parse(text), Options("cutout: 3"), TRAIN,
                              *database_);
  const std::vector<float> before = Apply(plain, 0);
  const float grey = 2 * (128 - 500);
  ASSERT_EQ(std::count(before.begin(), before.end(), grey), 0);
  std::set<std::vector<int>> squares;
  for (uint64_t key = 0; key < 2000; ++key) {
    const std::vector<float> after = Apply(cutout, key);
    int top = 7, left = 6, bottom = -1, right = -1, filled = 0;
    for (int i = 0; i < 7 * 6; ++i) {
      ASSERT_EQ(after[i] == grey, after[42 + i] == grey) << "channels differ";
      ASSERT_EQ(after[i] == grey, after[84 + i] == grey);
      if (after[i] != grey) {
        ASSERT_EQ(after[i], before[i]);
        continue;
      }
      ++filled;
      top = std::min(top, i / 6);
      bottom = std::max(bottom, i / 6);
      left = std::min(left, i % 6);
      right = std::max(right, i % 6);
    }
    ASSERT_EQ(filled, (bottom - top + 1) * (right - left + 1));
    squares.insert({top, left, bottom, right});
  }
  // Every pixel can be the centre; the square is clipped at the edges.
  EXPECT_EQ(squares.size(), 7u * 6u);
  EXPECT_TRUE(squares.count({0, 0, 1, 1}) && squares.count({2, 1, 4, 3}));
}

TEST_F(ImageTransformTest, ChannelOrderAndForcedChannels) {
  const Datum raw = RawImage(3, 2, 2, 3, 0);
  Write(Encoded(raw, ".png"));
  const std::vector<float> rgb = Plain(Open());
  const std::vector<float> bgr = Plain(Open("", TripletDataParameter::BGR));
  for (int i = 0; i < 4; ++i) {
    EXPECT_EQ(rgb[i], bgr[8 + i]);
    EXPECT_EQ(rgb[8 + i], bgr[i]);
  }
  EXPECT_NE(rgb, bgr);
  EXPECT_EQ(Open("force_gray: true").channels(), 1);
  Write(Encoded(RawImage(1, 2, 2, 3, 0), ".png"));
  EXPECT_EQ(Open().channels(), 1);
  EXPECT_EQ(Open("force_color: true").channels(), 3);
}

TEST_F(ImageTransformTest, BadInput) {
  Write(RawImage(3, 6, 8, 0, 0));
  const ImageDatabase& database = Open();
  const auto transform = [&](const std::string& text,
                             const std::string& options) {
    ImageTransform("Layer 'x'", Parse(text), Options(options), TRAIN, database);
  };
  EXPECT_DEATH(transform("mean_file: 'mean.binaryproto'", ""),
               "Layer 'x': mean_file is not supported; .*mean_value");
  EXPECT_DEATH(transform("mean_value: 1 mean_value: 2", ""),
               "there are 2 mean_values; give one, or one for each of 3");
  EXPECT_DEATH(transform("", "pad: 2"), "pad: 2 is for random crops");
  EXPECT_DEATH(transform("crop_size: 4", "pad: 6"),
               "pad: 6 reflects more.*6 x 8");
  EXPECT_DEATH(transform("crop_size: 9", "pad: 1"),
               "crop_size: 9 is larger than the images, 6 x 8 with 1 more");
  for (const char* crop : {"crop_size: 4294967295", "crop_size: 2147483648"}) {
    EXPECT_DEATH(transform(crop, "pad: 1"), crop);
  }
  EXPECT_DEATH(transform("", "random_affine: 1"),
               "random_affine is 1, .* from 0 to below 1");
  EXPECT_DEATH(transform("", "random_affine: -0.1"), "random_affine is -0.1");
  EXPECT_DEATH(transform("", "trivial_augment: 1.1"),
               "trivial_augment is 1.1, .* from 0 to 1");
  EXPECT_DEATH(transform("", "color_jitter: 1"),
               "color_jitter is 1, .* from 0 to below 1");
  EXPECT_DEATH(transform("", "color_jitter: -0.1"), "color_jitter is -0.1");
  EXPECT_DEATH(transform("crop_size: 4", "cutout: 5"),
               "cutout: 5 covers whole images of 4 x 4");
  EXPECT_DEATH(Open("force_gray: true force_color: true"), "choose one");
  Datum sixteen = Encoded(RawImage(1, 4, 4, 0, 0), ".png");
  cv::Mat deep(4, 4, CV_16UC1, cv::Scalar(1000));
  std::vector<unsigned char> file;
  cv::imencode(".png", deep, file);
  sixteen.set_data(file.data(), file.size());
  Write(sixteen);
  EXPECT_DEATH(Open(), "has 1 channels of 16 bits");
}

}  // namespace caffe
