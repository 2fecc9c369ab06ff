#include <cmath>
#include <map>
#include <set>
#include <vector>

#include "gtest/gtest.h"

#include "layers/data/image_sampler.hpp"

namespace caffe {

namespace {

typedef std::vector<std::vector<int>> Labels;

bool ShareALabel(const std::vector<int>& a, const std::vector<int>& b) {
  for (int i : a) {
    for (int j : b) {
      if (i == j) { return true; }
    }
  }
  return false;
}

// Whether draws from `outcomes` equally likely values look uniform: their
// chi-square lies within five standard deviations of its mean.
void ExpectUniform(const std::map<int, int>& counts, int outcomes) {
  double draws = 0, sum = 0;
  for (const auto& entry : counts) { draws += entry.second; }
  const double expected = draws / outcomes;
  ASSERT_GT(expected, 5);
  ASSERT_EQ(counts.size(), static_cast<size_t>(outcomes));
  for (const auto& entry : counts) {
    sum += (entry.second - expected) * (entry.second - expected) / expected;
  }
  EXPECT_LT(std::abs(sum - (outcomes - 1)), 5 * std::sqrt(2. * (outcomes - 1)));
}

// Ten images of three unequal classes with gaps between their numbers.
const Labels kSingle = {{7}, {-1}, {7}, {3}, {7}, {3}, {-1}, {7}, {3}, {7}};
// Some pairs share two labels, which must not make them more likely.
const Labels kMultiHot = {{0, 1}, {0, 1}, {0, 1, 2}, {2}, {2, 3},
                          {3},    {4},    {0, 4},    {1}, {3, 4}};

void CheckTriplets(const Labels& labels) {
  const ImageSampler sampler(labels);
  const int images = labels.size();
  std::map<int, int> queries;
  std::vector<std::map<int, int>> positives(images), negatives(images);
  for (int i = 0; i < 60000; ++i) {
    RandomStream random({1, static_cast<uint64_t>(i)});
    int triplet[3];
    sampler.DrawTriplet(&random, triplet);
    ASSERT_NE(triplet[0], triplet[1]);
    ASSERT_TRUE(ShareALabel(labels[triplet[0]], labels[triplet[1]]));
    ASSERT_FALSE(ShareALabel(labels[triplet[0]], labels[triplet[2]]));
    ++queries[triplet[0]];
    ++positives[triplet[0]][triplet[1]];
    ++negatives[triplet[0]][triplet[2]];
  }
  ExpectUniform(queries, images);
  for (int query = 0; query < images; ++query) {
    int sharing = 0;  // images that share a label with the query, and itself
    for (const auto& other : labels) {
      sharing += ShareALabel(labels[query], other);
    }
    if (sharing > 2) { ExpectUniform(positives[query], sharing - 1); }
    if (images - sharing > 1) {
      ExpectUniform(negatives[query], images - sharing);
    }
  }
}

}  // namespace

TEST(ImageSamplerTest, SingleLabelTripletsAreUniform) {
  CheckTriplets(kSingle);
}

TEST(ImageSamplerTest, MultiHotTripletsAreUniform) { CheckTriplets(kMultiHot); }

TEST(ImageSamplerTest, ClassesAndTheirImagesAreDifferentAndUniform) {
  const ImageSampler sampler(kSingle);
  ASSERT_EQ(sampler.classes(), 3);
  EXPECT_EQ(sampler.label(0), -1);
  EXPECT_EQ(sampler.members(2), 5);
  std::map<int, int> classes, of_seven;
  for (int i = 0; i < 20000; ++i) {
    RandomStream random({2, static_cast<uint64_t>(i)});
    std::vector<int> drawn;
    sampler.DrawClasses(2, 2, &random, &drawn);
    ASSERT_EQ(drawn.size(), 4u);
    ASSERT_EQ(std::set<int>(drawn.begin(), drawn.end()).size(), 4u);
    ASSERT_EQ(kSingle[drawn[0]], kSingle[drawn[1]]);
    ASSERT_EQ(kSingle[drawn[2]], kSingle[drawn[3]]);
    ASSERT_NE(kSingle[drawn[0]], kSingle[drawn[2]]);
    ++classes[kSingle[drawn[0]][0]];
    ++classes[kSingle[drawn[2]][0]];
    for (int image : drawn) { of_seven[image] += kSingle[image][0] == 7; }
  }
  ExpectUniform(classes, 3);
  for (auto entry = of_seven.begin(); entry != of_seven.end();) {
    entry = entry->second ? std::next(entry) : of_seven.erase(entry);
  }
  ExpectUniform(of_seven, 5);
}

// Each share is as random as one drawn alone, and no two have a class in
// common.
TEST(ImageSamplerTest, SharesOfClassesAreUniformAndApart) {
  Labels labels;
  for (int image = 0; image < 10; ++image) { labels.push_back({image / 2}); }
  const ImageSampler sampler(labels);
  std::map<int, int> first, second;
  for (int i = 0; i < 20000; ++i) {
    std::set<int> together;
    for (int share = 0; share < 2; ++share) {
      RandomStream random({6, static_cast<uint64_t>(i)});
      std::vector<int> drawn;
      sampler.DrawClasses(2, 1, &random, &drawn, 2, share);
      ASSERT_EQ(drawn.size(), 2u);
      for (int image : drawn) {
        together.insert(labels[image][0]);
        ++(share ? second : first)[labels[image][0]];
      }
    }
    ASSERT_EQ(together.size(), 4u);
  }
  ExpectUniform(first, 5);
  ExpectUniform(second, 5);
}

TEST(ImageSamplerTest, TripletsAmongABatchAreUniform) {
  // Six images of the last may all share a label: then there is no negative.
  const Labels uneven = {{0}, {0}, {0}, {0}, {0}, {0}, {1}};
  for (const Labels& labels : {kSingle, kMultiHot, uneven}) {
    const ImageSampler sampler(labels);
    std::map<int, int> images, queries, positives, negatives;
    for (int i = 0; i < 20000; ++i) {
      RandomStream random({3, static_cast<uint64_t>(i)});
      std::vector<int> drawn, positions(3 * 2);
      ASSERT_TRUE(
          sampler.DrawTripletsAmongImages(6, &random, &drawn, &positions));
      ASSERT_EQ(drawn.size(), 6u);
      ASSERT_EQ(std::set<int>(drawn.begin(), drawn.end()).size(), 6u);
      for (int image : drawn) { ++images[image]; }
      for (int t = 0; t < 2; ++t) {
        const int query = positions[t], positive = positions[2 + t];
        const int negative = positions[4 + t];
        ASSERT_NE(query, positive);
        ASSERT_TRUE(ShareALabel(labels[drawn[query]], labels[drawn[positive]]));
        ASSERT_FALSE(
            ShareALabel(labels[drawn[query]], labels[drawn[negative]]));
        ++queries[query];
        ++positives[positive];
        ++negatives[negative];
      }
    }
    EXPECT_EQ(images.size(), labels.size());
    // (Choose always puts image 6, the only negative, last.)
    EXPECT_EQ(queries.size(), labels == uneven ? 5u : 6u);
    EXPECT_EQ(positives.size(), labels == uneven ? 5u : 6u);
    EXPECT_EQ(negatives.size(), labels == uneven ? 1u : 6u);
    // Of 40,000 triplets, over 1, 5 or 6 positions.
    for (const auto* counts : {&queries, &positives, &negatives}) {
      for (const auto& entry : *counts) { EXPECT_GT(entry.second, 4000); }
    }
  }
  RandomStream random({4});
  std::vector<int> drawn, positions(3);
  EXPECT_FALSE(ImageSampler({{0}, {1}, {2}, {3}})
                   .DrawTripletsAmongImages(3, &random, &drawn, &positions))
      << "no two images share a label";
}

TEST(ImageSamplerTest, FirstImageWithoutAPositiveOrANegative) {
  EXPECT_EQ(ImageSampler(kSingle).FirstWithoutPositive(), -1);
  EXPECT_EQ(ImageSampler(kSingle).FirstWithoutNegative(), -1);
  EXPECT_EQ(ImageSampler(kMultiHot).FirstWithoutPositive(), -1);
  EXPECT_EQ(ImageSampler(kMultiHot).FirstWithoutNegative(), -1);
  EXPECT_EQ(ImageSampler({{0}, {0}, {1}}).FirstWithoutPositive(), 2);
  EXPECT_EQ(ImageSampler({{0}, {0}}).FirstWithoutNegative(), 0);
  EXPECT_EQ(ImageSampler({{0}, {0, 1}, {1}, {0, 1}}).FirstWithoutNegative(), 1);
}

TEST(RandomStreamTest, BelowIsUniformAndKeysDiffer) {
  std::map<int, int> counts;
  RandomStream random({0});
  for (int i = 0; i < 70000; ++i) { ++counts[random.Below(7)]; }
  ExpectUniform(counts, 7);
  std::set<uint64_t> firsts;
  for (uint64_t a = 0; a < 30; ++a) {
    for (uint64_t b = 0; b < 30; ++b) {
      for (uint64_t c = 0; c < 30; ++c) {
        firsts.insert(RandomStream({a, b, c}).Next());
      }
    }
  }
  EXPECT_EQ(firsts.size(), 27000u);
  // The numbers are part of what a seed means: they must never change. The
  // first number of SplitMix64, and one after a key.
  EXPECT_EQ(RandomStream({}).Next(), 0xe220a8397b1dcdaf);
  EXPECT_EQ(RandomStream({1, 2, 3}).Next(), 0x214d4c07ecfeaac5);
}

}  // namespace caffe
