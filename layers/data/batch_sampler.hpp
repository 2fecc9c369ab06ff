#ifndef DNNH_LAYERS_DATA_BATCH_SAMPLER_HPP_
#define DNNH_LAYERS_DATA_BATCH_SAMPLER_HPP_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "caffe/proto/caffe.pb.h"

#include "layers/data/image_database.hpp"
#include "layers/data/image_sampler.hpp"

namespace caffe {

/// The share of one of several solvers that train together on one large batch.
struct SolverShare {
  uint64_t solvers;  // how many train together
  uint64_t rank;     // which of them this is, from 0
};

/// The images of one batch, by their number in the database.
struct SampledBatch {
  std::vector<int> images;
  /// The positions in `images` of the queries, then of the positives, then of
  /// the negatives. Empty where the batch is accompanied by labels instead.
  std::vector<int> positions;
};

/**
 * @brief Chooses the images of each batch. Each class of batch_sampler.cpp is
 *        one way to do so, and checks what it needs of the database.
 *
 * A batch depends on the seed, its number and the solver's share alone. Solvers
 * that train together get different triplets, different classes if there are
 * enough for all, or otherwise different draws.
 */
class BatchSampler {
 public:
  virtual ~BatchSampler() {}
  BatchSampler(const BatchSampler&) = delete;
  BatchSampler& operator=(const BatchSampler&) = delete;

  /// M, the number of images in a batch.
  virtual int64_t images() const = 0;
  /// The number of positions that a batch has; 0 where it has labels instead.
  virtual int64_t positions() const { return 0; }
  /// How batches are filled, for the log: "triplets are drawn from the labels".
  virtual std::string Describe() const = 0;
  /// May be called from several threads at once.
  virtual SampledBatch Draw(uint64_t batch) const = 0;

  /// The number of classes in the database.
  int classes() const { return sampler_.classes(); }

 protected:
  BatchSampler(const std::string& owner, const ImageDatabase& database,
               uint64_t seed, const SolverShare& share);

  const std::string owner_;
  const ImageDatabase& database_;
  const ImageSampler sampler_;
  const uint64_t seed_;
  const SolverShare share_;
};

/**
 * @brief Makes the sampler that the options ask for; dnnh.proto has the table.
 *
 * Options that contradict each other, and a database that does not have what
 * they need, end the program with a sentence that begins with `owner`.
 *
 * @param owner e.g. "TripletData layer 'images'"
 * @param database is used as long as the sampler is
 */
std::unique_ptr<BatchSampler> MakeBatchSampler(
    const std::string& owner, const TripletDataParameter& param,
    const ImageDatabase& database, const SolverShare& share);

}  // namespace caffe

#endif  // DNNH_LAYERS_DATA_BATCH_SAMPLER_HPP_
