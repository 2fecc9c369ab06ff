#ifndef DNNH_LAYERS_FUSED_CONVOLUTION_LAYER_HPP_
#define DNNH_LAYERS_FUSED_CONVOLUTION_LAYER_HPP_

#include <vector>

#include "caffe/blob.hpp"
#include "caffe/layers/conv_layer.hpp"
#include "caffe/proto/caffe.pb.h"

namespace caffe {

/**
 * @brief A convolution and the clipping of the ReLU behind it, in a net that
 *        only encodes: @f$ Y = \min(\max(W * X + b, l), u) @f$.
 *
 * For nets of phase TEST; dnnh.nets.fusion makes them. It runs on the host in
 * GPU mode, too.
 *
 * @param bottom input Blob vector (length 1)
 *   -# @f$ (N \times C \times H \times W) @f$ the images
 * @param top output Blob vector (length 1)
 *   -# @f$ (N \times K \times H' \times W') @f$
 */
template <typename Dtype>
class FusedConvolutionLayer : public ConvolutionLayer<Dtype> {
 public:
  /**
   * @param param provides ConvolutionParameter convolution_param, as of a
   *        Convolution, and
   *   - clip_param (\b optional): l and u; the outputs are not clipped without.
   */
  explicit FusedConvolutionLayer(const LayerParameter& param)
      : ConvolutionLayer<Dtype>(param) {}
  virtual void LayerSetUp(const vector<Blob<Dtype>*>& bottom,
                          const vector<Blob<Dtype>*>& top);

  virtual inline const char* type() const { return "FusedConvolution"; }
  virtual inline int ExactNumBottomBlobs() const { return 1; }
  virtual inline int ExactNumTopBlobs() const { return 1; }

 protected:
  virtual void Forward_cpu(const vector<Blob<Dtype>*>& bottom,
                           const vector<Blob<Dtype>*>& top);
  virtual void Forward_gpu(const vector<Blob<Dtype>*>& bottom,
                           const vector<Blob<Dtype>*>& top);
  virtual void Backward_cpu(const vector<Blob<Dtype>*>& top,
                            const vector<bool>& propagate_down,
                            const vector<Blob<Dtype>*>& bottom);
  virtual void Backward_gpu(const vector<Blob<Dtype>*>& top,
                            const vector<bool>& propagate_down,
                            const vector<Blob<Dtype>*>& bottom);
};

}  // namespace caffe

#endif  // DNNH_LAYERS_FUSED_CONVOLUTION_LAYER_HPP_
