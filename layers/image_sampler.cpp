#include "layers/image_sampler.hpp"

#include <algorithm>
#include <map>
#include <utility>
#include <vector>

namespace caffe {

namespace {

// How many numbers two ascending lists have in common.
int Common(const std::vector<int>& a, const std::vector<int>& b) {
  int common = 0;
  for (size_t i = 0, j = 0; i < a.size() && j < b.size();) {
    if (a[i] == b[j]) { ++common; ++i; ++j; }
    else if (a[i] < b[j]) { ++i; }
    else { ++j; }
  }
  return common;
}

// `count` different numbers of 0..n-1, every set of them equally likely
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

ImageSampler::ImageSampler(const std::vector<std::vector<int> >& labels)
    : classes_of_(labels.size()) {
  std::map<int, std::vector<int> > members;
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

int ImageSampler::Shared(int a, int b) const {
  return Common(classes_of_[a], classes_of_[b]);
}

int ImageSampler::FirstWithoutSimilar() const {
  for (size_t image = 0; image < classes_of_.size(); ++image) {
    bool alone = true;
    for (int i : classes_of_[image]) { alone &= members(i) == 1; }
    if (alone) { return image; }
  }
  return -1;
}

int ImageSampler::FirstWithoutDissimilar() const {
  // Images with the same labels have the same answer, and a disjoint set of
  // labels is found soon where there is one.
  std::map<std::vector<int>, int> first_with;
  for (size_t image = 0; image < classes_of_.size(); ++image) {
    first_with.insert({classes_of_[image], image});
  }
  int first = -1;
  for (const auto& set : first_with) {
    const bool found = std::any_of(
        first_with.begin(), first_with.end(), [&](const auto& other) {
          return Common(set.first, other.first) == 0; });
    if (!found && (first < 0 || set.second < first)) { first = set.second; }
  }
  return first;
}

int ImageSampler::DrawSimilar(int query, RandomStream* random) const {
  const std::vector<int>& classes = classes_of_[query];
  uint64_t others = 0;                 // in its classes, one by one
  for (int i : classes) { others += members(i) - 1; }
  for (;;) {
    // One of its classes, the larger the likelier, and of that any other
    // image: drawn so, an image is the likelier the more labels it shares ...
    uint64_t rest = random->Below(others);
    size_t i = 0;
    while (rest >= static_cast<uint64_t>(members(classes[i]) - 1)) {
      rest -= members(classes[i++]) - 1;
    }
    const std::vector<int>& images = members_[classes[i]];
    const bool behind = images[rest] >= query;    // step over the query
    const int drawn = images[rest + behind];
    // ... which this evens out.
    if (random->Below(Shared(query, drawn)) == 0) { return drawn; }
  }
}

void ImageSampler::DrawTriplet(RandomStream* random, int triplet[3]) const {
  const int query = random->Below(classes_of_.size());
  triplet[0] = query;
  triplet[1] = DrawSimilar(query, random);
  do {
    triplet[2] = random->Below(classes_of_.size());
  } while (Shared(query, triplet[2]) > 0);
}

std::vector<int> ImageSampler::DrawImages(int count,
                                          RandomStream* random) const {
  return Choose(count, classes_of_.size(), random);
}

bool ImageSampler::DrawBatch(int count, RandomStream* random,
                             std::vector<int>* drawn,
                             std::vector<int>* places) const {
  const int kTries = 1000;
  const size_t triplets = places->size() / 3;
  for (int attempt = 0; attempt < kTries; ++attempt) {
    *drawn = DrawImages(count, random);
    std::vector<std::vector<int> > similar(count), dissimilar(count);
    std::vector<int> queries;
    for (int i = 0; i < count; ++i) {
      for (int j = 0; j < count; ++j) {
        if (j == i) { continue; }
        const bool share = Shared((*drawn)[i], (*drawn)[j]) > 0;
        (share ? similar : dissimilar)[i].push_back(j);
      }
      const bool paired = !similar[i].empty() && !dissimilar[i].empty();
      if (paired) { queries.push_back(i); }
    }
    if (queries.empty()) { continue; }
    for (size_t t = 0; t < triplets; ++t) {
      const int query = queries[random->Below(queries.size())];
      const std::vector<int>& alike = similar[query];
      const std::vector<int>& unlike = dissimilar[query];
      (*places)[t] = query;
      (*places)[triplets + t] = alike[random->Below(alike.size())];
      (*places)[2 * triplets + t] = unlike[random->Below(unlike.size())];
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
  // Choose's sets are random, but the place in them says something of the number.
  for (size_t rest = chosen.size(); shares > 1 && rest > 1; --rest) {
    std::swap(chosen[rest - 1], chosen[random->Below(rest)]);
  }
  for (size_t place = 0; place < chosen.size(); ++place) {
    const int i = chosen[place];
    for (int member : Choose(images, members(i), random)) {
      const bool is_own = place / classes == static_cast<size_t>(share);
      if (is_own) { drawn->push_back(members_[i][member]); }
    }
  }
}

}  // namespace caffe
