#ifndef DNNH_LAYERS_RESIZE_LAYER_HPP_
#define DNNH_LAYERS_RESIZE_LAYER_HPP_

#include <vector>

#include "caffe/blob.hpp"
#include "caffe/layer.hpp"
#include "caffe/proto/caffe.pb.h"

namespace caffe {

/**
 * @brief Resizes images by bicubic interpolation, as Pillow does: the kernel of
 *        Keys, "Cubic convolution interpolation for digital image processing",
 *        1981, with a = -0.5, widened where images become smaller.
 *
 * @f$ Y = R_h X R_w^T @f$ for each channel X: along an axis, row i of R has the
 * weights of the inputs in output i, which sum to 1. It runs on the host in GPU
 * mode, too.
 *
 * @param bottom input Blob vector (length 1)
 *   -# @f$ (N \times C \times H \times W) @f$ the images
 * @param top output Blob vector (length 1)
 *   -# @f$ (N \times C \times size \times size) @f$
 */
template <typename Dtype>
class ResizeLayer : public Layer<Dtype> {
 public:
  /**
   * @param param provides ResizeParameter resize_param:
   *   - size: height and width of the outputs, from 1 to 4096.
   */
  explicit ResizeLayer(const LayerParameter& param) : Layer<Dtype>(param) {}
  virtual void LayerSetUp(const vector<Blob<Dtype>*>& bottom,
                          const vector<Blob<Dtype>*>& top);
  virtual void Reshape(const vector<Blob<Dtype>*>& bottom,
                       const vector<Blob<Dtype>*>& top);

  virtual inline const char* type() const { return "Resize"; }
  virtual inline int ExactNumBottomBlobs() const { return 1; }
  virtual inline int ExactNumTopBlobs() const { return 1; }

 protected:
  virtual void Forward_cpu(const vector<Blob<Dtype>*>& bottom,
                           const vector<Blob<Dtype>*>& top);
  virtual void Backward_cpu(const vector<Blob<Dtype>*>& top,
                            const vector<bool>& propagate_down,
                            const vector<Blob<Dtype>*>& bottom);

  // What is not zero in a row of R: the weights of inputs in a row.
  struct Taps {
    int first;
    vector<Dtype> weights;
  };

  static vector<Taps> TapsOf(int from, int to);

  vector<Taps> rows_;     // R_h
  vector<Taps> columns_;  // R_w
};

}  // namespace caffe

#endif  // DNNH_LAYERS_RESIZE_LAYER_HPP_
