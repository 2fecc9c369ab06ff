#ifndef DNNH_LAYERS_DIVIDE_AND_ENCODE_LAYER_HPP_
#define DNNH_LAYERS_DIVIDE_AND_ENCODE_LAYER_HPP_

#include <vector>

#include "caffe/blob.hpp"
#include "caffe/layer.hpp"
#include "caffe/proto/caffe.pb.h"

#include "layers/host_device.hpp"

namespace caffe {

/**
 * @brief How d features are divided into q slices: with d = q s + c, the first
 *        c slices have s + 1 features, the others s (section 3.3, footnote 4).
 */
class FeatureSlices {
 public:
  DNNH_HOST_DEVICE FeatureSlices(int features, int bits)
      : length_(features / bits), longer_(features % bits) {}
  /// The first feature of bit i's slice; begin(i + 1) is one past its last.
  DNNH_HOST_DEVICE inline int begin(int i) const {
    return i * length_ + (i < longer_ ? i : longer_);
  }
  /// The bit whose slice holds feature j.
  DNNH_HOST_DEVICE inline int bit(int j) const {
    const int in_longer = longer_ * (length_ + 1);
    return j < in_longer ? j / (length_ + 1)
                         : longer_ + (j - in_longer) / length_;
  }

 private:
  int length_;  // s
  int longer_;  // c
};

/**
 * @brief Divides the features of an image into q slices and encodes each slice
 *        into one value, an inner product of that slice alone.
 *
 * @f$ y_i = W_i x^{(i)} + w^0_i, \quad i = 1, ..., q @f$
 *
 * Lai, Pan, Liu, Yan, "Simultaneous Feature Learning and Hash Coding with Deep
 * Neural Networks", CVPR 2015, section 3.3 and eq. 4, which has no bias
 * @f$ w^0 @f$. The sigmoid of eq. 5 and the piece-wise threshold of eq. 6 are
 * layers of their own (Sigmoid, after a Power { scale: beta } if beta is not 1,
 * and PiecewiseThreshold).
 *
 * Blobs: 0 the d weights in the order of the features, shape (d); 1, with
 * bias_term, the q biases, shape (q).
 *
 * @param bottom input Blob vector (length 1)
 *   -# @f$ (N \times d) @f$ the features x; further axes of size 1 are allowed
 * @param top output Blob vector (length 1)
 *   -# @f$ (N \times q) @f$ the values y
 */
template <typename Dtype>
class DivideAndEncodeLayer : public Layer<Dtype> {
 public:
  /**
   * @param param provides DivideAndEncodeParameter divide_and_encode_param:
   *   - num_output: q, from 1 to d.
   *   - bias_term (\b optional, default false).
   *   - weight_filler, bias_filler (\b optional, default constant 0). The
   *     fan-in is the length of a slice.
   */
  explicit DivideAndEncodeLayer(const LayerParameter& param)
      : Layer<Dtype>(param), bits_(), features_(), bias_term_() {}
  virtual void LayerSetUp(const vector<Blob<Dtype>*>& bottom,
                          const vector<Blob<Dtype>*>& top);
  virtual void Reshape(const vector<Blob<Dtype>*>& bottom,
                       const vector<Blob<Dtype>*>& top);

  virtual inline const char* type() const { return "DivideAndEncode"; }
  virtual inline int ExactNumBottomBlobs() const { return 1; }
  virtual inline int ExactNumTopBlobs() const { return 1; }

 protected:
  virtual void Forward_cpu(const vector<Blob<Dtype>*>& bottom,
                           const vector<Blob<Dtype>*>& top);
  virtual void Forward_gpu(const vector<Blob<Dtype>*>& bottom,
                           const vector<Blob<Dtype>*>& top);
  /**
   * @brief With i the bit whose slice holds feature j:
   *   - to x_nj:   W_j dE/dy_ni
   *   - to W_j:    the sum over n of x_nj dE/dy_ni, added to the diff
   *   - to w^0_i:  the sum over n of dE/dy_ni, added to the diff
   *
   * A bit's gradient reaches its own slice and no other.
   */
  virtual void Backward_cpu(const vector<Blob<Dtype>*>& top,
                            const vector<bool>& propagate_down,
                            const vector<Blob<Dtype>*>& bottom);
  virtual void Backward_gpu(const vector<Blob<Dtype>*>& top,
                            const vector<bool>& propagate_down,
                            const vector<Blob<Dtype>*>& bottom);

  FeatureSlices slices() const { return FeatureSlices(features_, bits_); }

  int bits_;      // q
  int features_;  // d
  bool bias_term_;
};

}  // namespace caffe

#endif  // DNNH_LAYERS_DIVIDE_AND_ENCODE_LAYER_HPP_
