#include "layers/data/batch_sampler.hpp"

#include <algorithm>
#include <limits>
#include <string>
#include <vector>

#include "caffe/common.hpp"

#include "layers/data/random_stream.hpp"
#include "layers/data/triplet_list.hpp"

namespace caffe {

BatchSampler::BatchSampler(const std::string& owner,
                           const ImageDatabase& database, uint64_t seed,
                           const SolverShare& share)
    : owner_(owner), database_(database), sampler_(database.labels()),
      seed_(seed), share_(share) {}

namespace {

void CheckEveryImageHasALabel(const std::string& owner,
                              const ImageDatabase& database) {
  for (int i = 0; i < database.size(); ++i) {
    CHECK(!database.labels()[i].empty())
        << owner << ": " << database.Describe(i) << " has no label: 0 for all "
        << database.classes() << " classes; remove it from the database";
  }
}

void CheckEveryImageHasTriplets(const std::string& owner,
                                const ImageDatabase& database,
                                const ImageSampler& sampler) {
  const char* remedy =
      "; triplets need two images of a class and two classes:"
      " add images or remove this one";
  const int without_positive = sampler.FirstWithoutPositive();
  CHECK_EQ(without_positive, -1)
      << owner << ": " << database.Describe(without_positive)
      << " has no positive: no other image shares a label with it" << remedy;
  const int without_negative = sampler.FirstWithoutNegative();
  CHECK_EQ(without_negative, -1)
      << owner << ": " << database.Describe(without_negative)
      << " has no negative: every image shares a label with it" << remedy;
}

void CheckThereAreAsManyImages(const std::string& owner,
                               const ImageDatabase& database, uint32_t images) {
  CHECK_LE(images, static_cast<uint32_t>(database.size()))
      << owner << ": a batch has " << images << " different images, but "
      << database.source() << " has only " << database.size();
}

/// N triplets in a batch: first the queries, then the positives, then the
/// negatives.
class Triplets : public BatchSampler {
 public:
  int64_t images() const override { return int64_t(3) * triplets_; }

  SampledBatch Draw(uint64_t batch) const override {
    SampledBatch drawn;
    drawn.images.resize(images());
    for (int t = 0; t < triplets_; ++t) {
      // The position in the large batch of all solvers.
      const uint64_t position = share_.rank * triplets_ + t;
      int triplet[3];
      DrawTriplet(batch, position, triplet);
      for (int member = 0; member < 3; ++member) {
        drawn.images[member * triplets_ + t] = triplet[member];
      }
    }
    return drawn;
  }

 protected:
  Triplets(const std::string& owner, const TripletDataParameter& param,
           const ImageDatabase& database, const SolverShare& share)
      : BatchSampler(owner, database, param.seed(), share),
        triplets_(static_cast<int>(param.batch_size())) {}

  virtual void DrawTriplet(uint64_t batch, uint64_t position,
                           int triplet[3]) const = 0;

  const int triplets_;  // N
};

/// Triplets drawn from the labels.
class OnlineTriplets : public Triplets {
 public:
  OnlineTriplets(const std::string& owner, const TripletDataParameter& param,
                 const ImageDatabase& database, const SolverShare& share)
      : Triplets(owner, param, database, share) {
    CheckEveryImageHasALabel(owner, database);
    CheckEveryImageHasTriplets(owner, database, sampler_);
  }
  std::string Describe() const override {
    return "triplets are drawn from the labels";
  }

 private:
  void DrawTriplet(uint64_t batch, uint64_t position,
                   int triplet[3]) const override {
    RandomStream random({TRIPLET, seed_, batch, position});
    sampler_.DrawTriplet(&random, triplet);
  }
};

/// Triplets listed in a file, in order. Labels are not used.
class ListedTriplets : public Triplets {
 public:
  ListedTriplets(const std::string& owner, const TripletDataParameter& param,
                 const ImageDatabase& database, const SolverShare& share)
      : Triplets(owner, param, database, share),
        list_(ReadTripletList(owner, param.triplet_file(), database.size())) {}
  std::string Describe() const override {
    return std::to_string(list_.size() / 3) + " listed triplets are used";
  }

 private:
  void DrawTriplet(uint64_t batch, uint64_t position,
                   int triplet[3]) const override {
    const uint64_t number = batch * share_.solvers * triplets_ + position;
    const uint64_t row = number % (list_.size() / 3);
    std::copy_n(list_.begin() + 3 * row, 3, triplet);
  }

  const std::vector<int> list_;  // three images per triplet
};

/// Different images, drawn without regard to labels.
class RandomImages : public BatchSampler {
 public:
  RandomImages(const std::string& owner, const TripletDataParameter& param,
               const ImageDatabase& database, const SolverShare& share)
      : BatchSampler(owner, database, param.seed(), share),
        images_(static_cast<int>(param.images())) {
    CheckThereAreAsManyImages(owner, database, param.images());
  }
  int64_t images() const override { return images_; }
  std::string Describe() const override {
    return "images are drawn without regard to labels";
  }

  SampledBatch Draw(uint64_t batch) const override {
    RandomStream random({BATCH, seed_, batch, share_.rank});
    return {sampler_.DrawImages(images_, &random), {}};
  }

 private:
  const int images_;  // M
};

/// Different images, and N triplets drawn among them.
class TripletsAmongImages : public BatchSampler {
 public:
  TripletsAmongImages(const std::string& owner,
                      const TripletDataParameter& param,
                      const ImageDatabase& database, const SolverShare& share)
      : BatchSampler(owner, database, param.seed(), share),
        images_(static_cast<int>(param.images())),
        triplets_(static_cast<int>(param.batch_size())) {
    CheckEveryImageHasALabel(owner, database);
    CheckThereAreAsManyImages(owner, database, param.images());
    CheckEveryImageHasTriplets(owner, database, sampler_);
  }
  int64_t images() const override { return images_; }
  int64_t positions() const override { return int64_t(3) * triplets_; }
  std::string Describe() const override {
    return "triplets are drawn among the images of a batch";
  }

  SampledBatch Draw(uint64_t batch) const override {
    RandomStream random({BATCH, seed_, batch, share_.rank});
    SampledBatch drawn;
    drawn.positions.resize(positions());
    CHECK(sampler_.DrawTripletsAmongImages(images_, &random, &drawn.images,
                                           &drawn.positions))
        << owner_ << ": 1,000 draws of " << images_
        << " images contained no triplet;"
        << " increase images";
    return drawn;
  }

 private:
  const int images_;    // M
  const int triplets_;  // N
};

/// P classes and K images of each, for losses that form their own triplets.
class ImagesByClass : public BatchSampler {
 public:
  ImagesByClass(const std::string& owner, const TripletDataParameter& param,
                const ImageDatabase& database, const SolverShare& share)
      : BatchSampler(owner, database, param.seed(), share),
        batch_classes_(param.classes()), images_(param.images_per_class()) {
    CheckEveryImageHasALabel(owner, database);
    CHECK_LE(batch_classes_, static_cast<uint32_t>(classes()))
        << owner << ": a batch has " << batch_classes_ << " classes, but "
        << database.source() << " has only " << classes();
    for (int i = 0; i < classes(); ++i) {
      CHECK_LE(images_, static_cast<uint32_t>(sampler_.members(i)))
          << owner << ": a batch has " << images_ << " images of a class, but "
          << database.source() << " has only " << sampler_.members(i)
          << " of class " << sampler_.label(i)
          << "; lower images_per_class or remove the class";
    }
  }
  int64_t images() const override { return int64_t(batch_classes_) * images_; }
  std::string Describe() const override {
    return "classes and their images are drawn";
  }

  SampledBatch Draw(uint64_t batch) const override {
    // Solvers divide the classes of one draw, if there are enough.
    const bool shared =
        share_.solvers * batch_classes_ <= static_cast<uint64_t>(classes());
    RandomStream random({CLASSES, seed_, batch, shared ? 0 : share_.rank});
    SampledBatch drawn;
    sampler_.DrawClasses(batch_classes_, images_, &random, &drawn.images,
                         shared ? share_.solvers : 1, shared ? share_.rank : 0);
    return drawn;
  }

 private:
  const uint32_t batch_classes_;  // P
  const uint32_t images_;         // K
};

}  // namespace

std::unique_ptr<BatchSampler> MakeBatchSampler(
    const std::string& owner, const TripletDataParameter& param,
    const ImageDatabase& database, const SolverShare& share) {
  typedef std::unique_ptr<BatchSampler> Sampler;
  if (param.has_classes() || param.has_images_per_class()) {
    CHECK(param.classes() >= 1 && param.images_per_class() >= 1)
        << owner << ": classes is " << param.classes()
        << " and images_per_class is " << param.images_per_class()
        << "; both must be at least 1";
    CHECK(!param.has_batch_size() && !param.has_triplet_file()
          && !param.has_images())
        << owner
        << ": classes and images_per_class define the batch; remove batch_size,"
        << " triplet_file and images";
    return Sampler(new ImagesByClass(owner, param, database, share));
  }
  const bool has_triplets = param.has_batch_size() || param.images() == 0;
  if (has_triplets) {
    CHECK_GE(param.batch_size(), 1)
        << owner << ": batch_size is " << param.batch_size()
        << ", it must be at least 1 triplet, for example"
        << " triplet_data_param { batch_size: 21 }";
    CHECK_LE(param.batch_size(), std::numeric_limits<int>::max())
        << owner << ": batch_size is " << param.batch_size() << ", too large";
  }
  if (param.has_images()) {
    CHECK(param.images() >= (has_triplets ? 3u : 1u)
          && !param.has_triplet_file())
        << owner << ": images: " << param.images() << " is the number of images"
        << " in a batch, alone or to draw batch_size triplets among; give at"
        << " least 1, or 3 for triplets, and no triplet_file";
    return has_triplets
        ? Sampler(new TripletsAmongImages(owner, param, database, share))
        : Sampler(new RandomImages(owner, param, database, share));
  }
  return param.has_triplet_file()
      ? Sampler(new ListedTriplets(owner, param, database, share))
      : Sampler(new OnlineTriplets(owner, param, database, share));
}

}  // namespace caffe
