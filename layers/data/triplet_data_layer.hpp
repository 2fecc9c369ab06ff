#ifndef DNNH_LAYERS_DATA_TRIPLET_DATA_LAYER_HPP_
#define DNNH_LAYERS_DATA_TRIPLET_DATA_LAYER_HPP_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "caffe/blob.hpp"
#include "caffe/layer.hpp"
#include "caffe/proto/caffe.pb.h"

#include "layers/data/batch_sampler.hpp"
#include "layers/data/image_database.hpp"
#include "layers/data/image_transform.hpp"
#include "layers/data/prefetcher.hpp"
#include "layers/scheduled.hpp"
#ifndef CPU_ONLY
#include "layers/gpu/uploader.hpp"
#endif

namespace caffe {

/**
 * @brief Provides batches of images for losses on triplets, drawn during
 *        training (Lai et al., CVPR 2015, section 4.1: "randomly constructed
 *        based on the image class labels").
 *
 * Each image is stored once, in an LMDB (ImageDatabase has the format). What a
 * batch contains is up to a BatchSampler, chosen by the options:
 *   - N triplets, drawn from the labels (ImageSampler) or listed in a file
 *     (triplet_list.hpp)
 *   - `images` images, with or without N triplets drawn among them. An image
 *     can be in several of these triplets, or in none.
 *   - P classes with K images each, for losses that form triplets in the batch
 * Each image is augmented on its own (ImageTransform). From batch
 * `augment_until` on, if that is set, augmentation is off: images are as in
 * TEST.
 *
 * Everything random depends on the seed, the number of the batch and the
 * position in it. That number is a blob of the layer, which snapshots keep: a
 * resumed run sees what the uninterrupted one would have seen, and one that
 * starts with -weights begins anew. Solvers that train together take
 * different positions of one large batch: different triplets, or different
 * classes if there are enough for all, otherwise different draws.
 *
 * In TEST the number restarts from 0 after training iterations, so that each
 * test sees the same images. For this the layer must have the same name as the
 * one in TRAIN, whose blob it shares; and no layer of another type may have
 * that name.
 *
 * @param param provides TripletDataParameter triplet_data_param (dnnh.proto),
 *        and TransformationParameter transform_param. Because of the blob the
 *        layer must have param { lr_mult: 0 decay_mult: 0 }; otherwise Caffe
 *        would backpropagate through the whole net down to the pixels.
 * @param bottom none
 * @param top output Blob vector (length 1 or 2)
 *   -# @f$ (M \times C \times H \times W) @f$ the images: first the N queries,
 *      then the N positives, then the N negatives (M = 3N); or in the order in
 *      which they were drawn (M = images); or class after class (M = PK)
 *   -# @f$ (M) @f$ their labels; @f$ (M \times classes) @f$, each 0 or 1, if
 *      labels are multi-hot; with triplets among `images` @f$ (3N) @f$, the
 *      positions of the N queries, of the positives and of the negatives
 */
template <typename Dtype>
class TripletDataLayer : public Layer<Dtype>, public Scheduled {
 public:
  explicit TripletDataLayer(const LayerParameter& param)
      : Layer<Dtype>(param) {}
  virtual void LayerSetUp(const vector<Blob<Dtype>*>& bottom,
                          const vector<Blob<Dtype>*>& top);
  /// The shapes never change.
  virtual void Reshape(const vector<Blob<Dtype>*>& bottom,
                       const vector<Blob<Dtype>*>& top) {}

  virtual inline const char* type() const { return "TripletData"; }
  void Restart() override;
  virtual inline int ExactNumBottomBlobs() const { return 0; }
  virtual inline int MinTopBlobs() const { return 1; }
  virtual inline int MaxTopBlobs() const { return 2; }

 protected:
  virtual void Forward_cpu(const vector<Blob<Dtype>*>& bottom,
                           const vector<Blob<Dtype>*>& top);
#ifndef CPU_ONLY
  virtual void Forward_gpu(const vector<Blob<Dtype>*>& bottom,
                           const vector<Blob<Dtype>*>& top);
#endif
  virtual void Backward_cpu(const vector<Blob<Dtype>*>& top,
                            const vector<bool>& propagate_down,
                            const vector<Blob<Dtype>*>& bottom) {}

 private:
  /// A batch on its way to the tops. The pointers go into the blobs, which only
  /// the net's own thread touches.
  struct Slot {
    Blob<Dtype> images;
    Blob<Dtype> labels;  // or positions
    Dtype* image_values;
    Dtype* label_values;
    Dtype* gpu_image_values;  // null in CPU mode
    Dtype* gpu_label_values;
  };

  void CheckOptions() const;
  vector<int> ImagesShape() const;
  vector<int> LabelsShape() const;
  void StartPrefetching();
  uint64_t NextBatch();
  /// Gives the tops their shapes.
  Slot* TakeBatch(const vector<Blob<Dtype>*>& top);
  bool IsAugmented(uint64_t batch) const;
  void Fill(uint64_t batch, Slot* slot) const;
  void Upload(Slot* slot) const;
  void WriteLabels(int image, Dtype* values) const;

  std::string owner_;  // "TripletData layer 'name'", for messages
  SolverShare share_;
  std::unique_ptr<ImageDatabase> database_;
  std::unique_ptr<BatchSampler> sampler_;
  std::unique_ptr<ImageTransform> transform_;
  std::unique_ptr<ImageTransform> test_transform_;  // without augmentation
  bool augmentation_is_off_;  // since a batch that was already handed out
  Dtype test_count_;          // TEST: the count at the last batch, ...
  uint64_t test_batch_;       // ... and the number of the next batch
  std::vector<std::unique_ptr<Slot>> slots_;
#ifndef CPU_ONLY
  std::unique_ptr<Uploader> uploader_;  // in GPU mode
#endif
  // The last member: its threads end before what they use is destroyed.
  std::unique_ptr<Prefetcher> prefetcher_;
};

}  // namespace caffe

#endif  // DNNH_LAYERS_DATA_TRIPLET_DATA_LAYER_HPP_
