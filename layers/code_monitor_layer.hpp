#ifndef DNNH_LAYERS_CODE_MONITOR_LAYER_HPP_
#define DNNH_LAYERS_CODE_MONITOR_LAYER_HPP_

#include <vector>

#include "caffe/blob.hpp"
#include "caffe/layer.hpp"
#include "caffe/proto/caffe.pb.h"

namespace caffe {

/**
 * @brief Reports statistics of a batch of codes in the training log, to detect
 *        a collapse early: the relaxed loss can fall steadily while nearly
 *        every bit is the same for all images.
 *
 * A bit is 1 if its value is above 0.5, as when a new image is encoded (Lai et
 * al., CVPR 2015, section 3.4). The layer is for the TRAIN phase and has no
 * gradient.
 *
 * @param bottom input Blob vector (length 1)
 *   -# @f$ (N \times q) @f$ the codes, after the piece-wise threshold
 * @param top output Blob vector (length 4), each a single number
 *   -# the lowest mean of a bit over the batch
 *   -# the highest mean of a bit over the batch (a bit whose mean is 0 or 1
 *      carries no information)
 *   -# the number of distinct codes, from 1 (collapse) to N
 *   -# the share of values that are exactly 0 or 1: clipped by the threshold
 *      (or, in float, rounded in Caffe's own sigmoid of more than 17 or less
 *      than -38)
 */
template <typename Dtype>
class CodeMonitorLayer : public Layer<Dtype> {
 public:
  explicit CodeMonitorLayer(const LayerParameter& param)
      : Layer<Dtype>(param) {}
  virtual void LayerSetUp(const vector<Blob<Dtype>*>& bottom,
                          const vector<Blob<Dtype>*>& top);
  virtual void Reshape(const vector<Blob<Dtype>*>& bottom,
                       const vector<Blob<Dtype>*>& top);

  virtual inline const char* type() const { return "CodeMonitor"; }
  virtual inline int ExactNumBottomBlobs() const { return 1; }
  virtual inline int ExactNumTopBlobs() const { return 4; }
  virtual inline bool AllowForceBackward(const int bottom_index) const {
    return false;
  }

 protected:
  virtual void Forward_cpu(const vector<Blob<Dtype>*>& bottom,
                           const vector<Blob<Dtype>*>& top);
  virtual void Forward_gpu(const vector<Blob<Dtype>*>& bottom,
                           const vector<Blob<Dtype>*>& top);
  /// There is no gradient; aborts if one is requested.
  virtual void Backward_cpu(const vector<Blob<Dtype>*>& top,
                            const vector<bool>& propagate_down,
                            const vector<Blob<Dtype>*>& bottom);

  // On the GPU: (N), whether a code is the first of its kind; (q), how many
  // codes have a bit.
  Blob<Dtype> is_first_, ones_;
};

}  // namespace caffe

#endif  // DNNH_LAYERS_CODE_MONITOR_LAYER_HPP_
