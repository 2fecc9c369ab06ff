#include "layers/data/image_sampler.hpp"

#include <algorithm>
#include <map>
#include <utility>
#include <vector>

namespace caffe {

namespace {

// The number of elements that two ascending lists have in common.
int Common(const std::vector<int>& a, const std::vector<int>& b) {
  int common = 0;
  for (size_t i = 0, j = 0; i < a.size() && j < b.size();) {
    if (a[i] == b[j]) {
      ++common;
      ++i;
      ++j;
    } else if (a[i] < b[j]) {
      ++i;
    } else {
      ++j;
    }
  }
  return common;
}

// Chooses `count` different numbers from 0..n-1, every set equally likely
// (Floyd's algorithm: Bentley, "Programming pearls", CACM 30(9), 1987).
std::vector<int> Choose(int count, int n, RandomStream* random) {
  std::vector<int> chosen;
  for (int last = n - count; last < n; ++last) {
    const int drawn = random->Below(last + 1);
    const bool is_new =
        std::find(chosen.begin(), chosen.end(), drawn) == chosen.end();
    chosen.push_back(is_new ? drawn : last);
  }
  return chosen;
}

}  // namespace

ImageSampler::ImageSampler(const std::vector<std::vector<int>>& labels)
    : classes_of_(labels.size()) {
  std::map<int, std::vector<int>> members;
  for (size_t image = 0; image < labels.size(); ++image) {
    for (int label : labels[image]) { members[label].push_back(image); }
  }
  for (auto& entry : members) {
    for (int image : entry.second) {
      classes_of_[image].push_back(labels_.size());
    }
    labels_.push_back(entry.first);
    members_.push_back(std::move(entry.second));
  }
}

int ImageSampler::SharedLabels(int a, int b) const {
  return Common(classes_of_[a], classes_of_[b]);
}

int ImageSampler::FirstWithoutPositive() const {
  for (size_t image = 0; image < classes_of_.size(); ++image) {
    bool has_positive = false;
    for (int i : classes_of_[image]) { has_positive |= members(i) > 1; }
    if (!has_positive) { return static_cast<int>(image); }
  }
  return -1;
}

int ImageSampler::FirstWithoutNegative() const {
  // The answer depends only on an image's set of labels, so each set is tested
  // once. The search for a disjoint set usually ends early.
  std::map<std::vector<int>, int> first_with;
  for (size_t image = 0; image < classes_of_.size(); ++image) {
    first_with.insert({classes_of_[image], image});
  }
  int first = -1;
  for (const auto& set : first_with) {
    const bool has_negative = std::any_of(
        first_with.begin(), first_with.end(),
        [&](const auto& other) { return Common(set.first, other.first) == 0; });
    if (!has_negative && (first < 0 || set.second < first)) {
      first = set.second;
    }
  }
  return first;
}

int ImageSampler::DrawPositive(int query, RandomStream* random) const {
  const std::vector<int>& classes = classes_of_[query];
  uint64_t others = 0;  // summed over its classes
  for (int i : classes) { others += members(i) - 1; }
  for (;;) {
    // Draw one of the query's classes, with a probability in proportion to its
    // size, and any other image of that class. Drawn this way, an image's
    // probability is in proportion to the number of labels it shares ...
    uint64_t rest = random->Below(others);
    size_t i = 0;
    while (rest >= static_cast<uint64_t>(members(classes[i]) - 1)) {
      rest -= members(classes[i++]) - 1;
    }
    const std::vector<int>& images = members_[classes[i]];
    const bool is_after_query = images[rest] >= query;  // skip the query
    const int drawn = images[rest + is_after_query];
    // ... which this rejection makes uniform.
    if (random->Below(SharedLabels(query, drawn)) == 0) { return drawn; }
  }
}

void ImageSampler::DrawTriplet(RandomStream* random, int triplet[3]) const {
  const int query = random->Below(classes_of_.size());
  triplet[0] = query;
  triplet[1] = DrawPositive(query, random);
  do {
    triplet[2] = random->Below(classes_of_.size());
  } while (SharedLabels(query, triplet[2]) > 0);
}

std::vector<int> ImageSampler::DrawImages(int count,
                                          RandomStream* random) const {
  return Choose(count, classes_of_.size(), random);
}

bool ImageSampler::DrawTripletsAmongImages(int count, RandomStream* random,
                                           std::vector<int>* drawn,
                                           std::vector<int>* positions) const {
  const int kAttempts = 1000;
  const size_t triplets = positions->size() / 3;
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    *drawn = DrawImages(count, random);
    std::vector<std::vector<int>> positives(count), negatives(count);
    std::vector<int> queries;  // images with a positive and a negative
    for (int i = 0; i < count; ++i) {
      for (int j = 0; j < count; ++j) {
        if (j == i) { continue; }
        const bool share = SharedLabels((*drawn)[i], (*drawn)[j]) > 0;
        (share ? positives : negatives)[i].push_back(j);
      }
      const bool is_query = !positives[i].empty() && !negatives[i].empty();
      if (is_query) { queries.push_back(i); }
    }
    if (queries.empty()) { continue; }
    for (size_t t = 0; t < triplets; ++t) {
      const int query = queries[random->Below(queries.size())];
      const std::vector<int>& positive = positives[query];
      const std::vector<int>& negative = negatives[query];
      (*positions)[t] = query;
      (*positions)[triplets + t] = positive[random->Below(positive.size())];
      (*positions)[2 * triplets + t] = negative[random->Below(negative.size())];
    }
    return true;
  }
  return false;
}

void ImageSampler::DrawClasses(int classes, int images, RandomStream* random,
                               std::vector<int>* drawn, int shares,
                               int share) const {
  drawn->clear();
  std::vector<int> chosen = Choose(shares * classes, this->classes(), random);
  // Shuffle: Choose draws a uniform set, but the position of a number in it is
  // not independent of the number.
  for (size_t rest = chosen.size(); shares > 1 && rest > 1; --rest) {
    std::swap(chosen[rest - 1], chosen[random->Below(rest)]);
  }
  for (size_t position = 0; position < chosen.size(); ++position) {
    const int i = chosen[position];
    // Images of the other shares' classes are drawn and dropped.
    for (int member : Choose(images, members(i), random)) {
      const bool is_own = position / classes == static_cast<size_t>(share);
      if (is_own) { drawn->push_back(members_[i][member]); }
    }
  }
}

}  // namespace caffe
