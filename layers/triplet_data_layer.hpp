#ifndef DNNH_LAYERS_TRIPLET_DATA_LAYER_HPP_
#define DNNH_LAYERS_TRIPLET_DATA_LAYER_HPP_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "caffe/blob.hpp"
#include "caffe/layer.hpp"
#include "caffe/proto/caffe.pb.h"

#include "layers/image_database.hpp"
#include "layers/image_sampler.hpp"
#include "layers/image_transform.hpp"
#include "layers/prefetcher.hpp"

namespace caffe {

/**
 * @brief Fills batches with the images of triplets, drawn while training (Lai
 *        et al., CVPR 2015, section 4.1: "randomly constructed based on the
 *        image class labels").
 *
 * Each image lies once in an LMDB (ImageDatabase says how). A batch has either
 * N triplets, drawn from the labels (ImageSampler) or taken from a list in turn
 * (triplet_list.hpp); or `images` images, and N triplets drawn among them, so
 * that an image is in several, or none, for losses of images alone; or P classes
 * with K images each, for losses that form their triplets inside the batch. Each
 * image is mirrored and cropped on its own (ImageTransform); from batch
 * `distort_until` on, if that is given, as in TEST.
 *
 * Everything random follows from the seed, the number of the batch and the
 * position in it. That number is a blob of the layer, which snapshots keep: a
 * run that is resumed sees what the uninterrupted one would have seen (and one
 * that starts with -weights goes on in that stream, so that distort_until may be
 * past: the log says so). Solvers that train together
 * take different positions of one large batch: other triplets, or other classes
 * where there are enough for all, else other draws.
 *
 * In TEST the number starts from 0 after every bout of training, so that each
 * test sees the same images. For that the layer must have the name of the one
 * that trains, whose blob it then shares; and no layer of another type may have
 * that name.
 *
 * @param param provides TripletDataParameter triplet_data_param (dnnh.proto),
 *        and TransformationParameter transform_param. Because of the blob the
 *        layer must have param { lr_mult: 0 decay_mult: 0 }; Caffe would
 *        otherwise differentiate the whole net down to the pixels.
 * @param bottom none
 * @param top output Blob vector (length 1 or 2)
 *   -# @f$ (M \times C \times H \times W) @f$ the images: first the N queries,
 *      then the N similar, then the N dissimilar ones (M = 3N); or in the order
 *      in which they were drawn (M = images); or class after class (M = PK)
 *   -# @f$ (M) @f$ their labels; @f$ (M \times classes) @f$, each 0 or 1, if
 *      labels are multi-hot; with triplets among `images` @f$ (3N) @f$, the
 *      places of the N queries, the similar and the dissimilar ones
 */
template <typename Dtype>
class TripletDataLayer : public Layer<Dtype> {
 public:
  explicit TripletDataLayer(const LayerParameter& param)
      : Layer<Dtype>(param) {}
  virtual void LayerSetUp(const vector<Blob<Dtype>*>& bottom,
      const vector<Blob<Dtype>*>& top);
  /// The shapes never change.
  virtual void Reshape(const vector<Blob<Dtype>*>& bottom,
      const vector<Blob<Dtype>*>& top) {}

  virtual inline const char* type() const { return "TripletData"; }
  virtual inline int ExactNumBottomBlobs() const { return 0; }
  virtual inline int MinTopBlobs() const { return 1; }
  virtual inline int MaxTopBlobs() const { return 2; }

 protected:
  // There is no Forward_gpu: Caffe then calls this one, and whoever reads the
  // tops on the GPU has them copied there.
  virtual void Forward_cpu(const vector<Blob<Dtype>*>& bottom,
      const vector<Blob<Dtype>*>& top);
  virtual void Backward_cpu(const vector<Blob<Dtype>*>& top,
      const vector<bool>& propagate_down, const vector<Blob<Dtype>*>& bottom) {}

 private:
  /// A batch on its way to the tops (`labels` may have the triplets' places);
  /// pointers into the blobs, which no thread but the net's own touches.
  struct Slot {
    Blob<Dtype> images, labels;
    Dtype* image_values;
    Dtype* label_values;
  };

  void CheckOptions() const;
  void CheckLabels() const;
  uint64_t NextBatch();
  /// Whether the images of this batch are changed; else they are as in TEST.
  bool Distorts(uint64_t batch) const;
  void Fill(uint64_t batch, Slot* slot) const;
  std::vector<int> ChooseImages(uint64_t batch, std::vector<int>* places) const;

  std::string owner_;            // "TripletData layer 'name'", for messages
  int triplets_;                 // N, or 0 where there are none
  int images_;                   // M
  uint64_t solvers_, rank_;      // how many train together, and which this is
  std::unique_ptr<ImageDatabase> database_;
  std::unique_ptr<ImageSampler> sampler_;
  std::unique_ptr<ImageTransform> transform_;
  std::unique_ptr<ImageTransform> test_transform_;  // from distort_until on
  bool settled_;                 // a batch has been handed out from there on
  std::vector<int> list_;        // 3 indices a triplet; empty: they are drawn
  Dtype test_count_;             // TEST: the count at the last batch, ...
  uint64_t test_batch_;          // ... and the batch that comes next
  std::vector<std::unique_ptr<Slot> > slots_;
  // The last member: its threads end before what they use is gone.
  std::unique_ptr<Prefetcher> prefetcher_;
};

}  // namespace caffe

#endif  // DNNH_LAYERS_TRIPLET_DATA_LAYER_HPP_
