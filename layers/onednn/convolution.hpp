#ifndef DNNH_LAYERS_ONEDNN_CONVOLUTION_HPP_
#define DNNH_LAYERS_ONEDNN_CONVOLUTION_HPP_

#include <string>
#include <vector>

#include "layers/onednn/onednn.hpp"

namespace caffe {
namespace onednn {

/// In the phase TEST, too: for inference oneDNN would choose layouts with the
/// channels last, which are slower here (docs/performance.md).
constexpr auto kForward = dnnl::prop_kind::forward_training;

/// What describes a convolution to oneDNN.
struct ConvolutionShape {
  memory::dims source, weights, output, strides, dilations, pads;
};

/**
 * @brief What the convolutions of this folder share.
 *
 * @tparam Stock Caffe's layer, derived from BaseConvolutionLayer<float>
 */
template <typename Stock>
class ConvolutionOfImages : public OnednnLayer<Stock> {
 public:
  explicit ConvolutionOfImages(const LayerParameter& param)
      : OnednnLayer<Stock>(param), arithmetic_(Arithmetic()) {}

 protected:
  /// Makes the primitives that compute in a type by an algorithm. False if
  /// oneDNN has only reference code.
  virtual bool MakePrimitives(dnnl::algorithm algorithm, memory::data_type type,
                              const ConvolutionShape& shape) = 0;

  std::string UnsupportedReason(const vector<Blob<float>*>& bottom,
                                const vector<Blob<float>*>& top) override {
    if (bottom[0]->num_axes() != 4 || this->channel_axis_ != 1) {
      return "its bottom is not a batch of images";
    }
    const ConvolutionShape shape = ShapeOf(*bottom[0], *top[0]);
    std::string reason = UnsupportedReasonFor(arithmetic_, shape);
    if (!reason.empty() && arithmetic_ != memory::data_type::f32) {
      LOG(INFO) << this->type() << " layer '" << this->layer_param_.name()
                << "' computes in float: " << reason;
      reason = UnsupportedReasonFor(memory::data_type::f32, shape);
    }
    return reason;
  }

 private:
  ConvolutionShape ShapeOf(const Blob<float>& bottom, const Blob<float>& top) {
    const int* kernel = this->kernel_shape_.cpu_data();
    const int* stride = this->stride_.cpu_data();
    const int* pad = this->pad_.cpu_data();
    const int* dilation = this->dilation_.cpu_data();
    ConvolutionShape shape;
    shape.source = Dims(bottom);
    shape.output = Dims(top);
    shape.strides = {stride[0], stride[1]};
    shape.pads = {pad[0], pad[1]};
    shape.dilations = {dilation[0] - 1, dilation[1] - 1};
    const int groups = this->group_;
    shape.weights = {this->num_output_ / groups, this->channels_ / groups,
                     kernel[0], kernel[1]};
    if (groups > 1) { shape.weights.insert(shape.weights.begin(), groups); }
    return shape;
  }

  // Winograd's algorithm (Lavin and Gray, CVPR 2016) needs a quarter of the
  // multiplications of a direct 3x3 convolution. oneDNN has it for float on
  // AVX-512, in some versions.
  std::string UnsupportedReasonFor(memory::data_type type,
                                   const ConvolutionShape& shape) {
    std::string reason;
    for (dnnl::algorithm algorithm : {dnnl::algorithm::convolution_winograd,
                                      dnnl::algorithm::convolution_direct}) {
      try {
        if (MakePrimitives(algorithm, type, shape)) { return ""; }
        reason = kReferenceOnly;
      } catch (const dnnl::error& error) { reason = error.what(); }
    }
    return reason;
  }

  const memory::data_type arithmetic_;
};

}  // namespace onednn
}  // namespace caffe

#endif  // DNNH_LAYERS_ONEDNN_CONVOLUTION_HPP_
