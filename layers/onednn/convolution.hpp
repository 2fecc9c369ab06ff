#ifndef DNNH_LAYERS_ONEDNN_CONVOLUTION_HPP_
#define DNNH_LAYERS_ONEDNN_CONVOLUTION_HPP_

#include <memory>
#include <string>
#include <vector>

#include "layers/onednn/onednn.hpp"
#include "layers/owner.hpp"

namespace caffe {
namespace onednn {

/// What is convolved, and how. Weights have the groups as their first axis if
/// there are several.
struct ConvolutionShape {
  memory::dims source, weights, output, strides, dilations, pads;
};

/**
 * @brief The passes of a convolution of one shape.
 *
 * Weights are plain, in Caffe's order; so are biases and the gradients of both,
 * which are added to those of the blobs.
 */
class Convolution {
 public:
  virtual ~Convolution() {}

  /// The weights as Forward takes them; valid as long as `weights` are.
  /// @param kept where to keep them; null: in Scratch, and Forward leaves them
  /// alone
  virtual memory Prepare(const float* weights, memory* kept) = 0;

  /// @param bias null without
  virtual void Forward(SyncedMemory* source, const memory& prepared,
                       const float* bias, SyncedMemory* output) = 0;

  virtual void BackwardData(SyncedMemory* output_diff, const float* weights,
                            SyncedMemory* source_diff) = 0;

  /// @param weights, bias whose gradients are wanted; each may be null
  virtual void BackwardWeights(SyncedMemory* source, SyncedMemory* output_diff,
                               Blob<float>* weights, Blob<float>* bias) = 0;
};

/// What a Convolution depends on besides its shape and the type of its values.
struct ConvolutionOptions {
  bool has_bias;
  bool is_trained;  // Backward must be fast, too
  bool has_backward;
  const ClipParameter* clip;  // of the outputs; null without
};

/**
 * @brief A convolution by oneDNN's primitives.
 *
 * @return null if oneDNN has only reference code for it
 * @throws dnnl::error if it has none
 */
std::unique_ptr<Convolution> MakeDirectConvolution(
    const ConvolutionShape& shape, memory::data_type type,
    const ConvolutionOptions& options);

/// A convolution by Winograd's algorithm; null where that is not faster.
std::unique_ptr<Convolution> MakeWinogradConvolution(
    const ConvolutionShape& shape, memory::data_type type,
    const ConvolutionOptions& options);

/// A convolution of 1x1 images by BLAS; null if they are larger or padded, or
/// it has groups.
std::unique_ptr<Convolution> MakeGemmConvolution(
    const ConvolutionShape& shape, const ConvolutionOptions& options);

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
  static bool IsWanted(const LayerParameter& param) {
    return onednn::IsOn()
        && param.convolution_param().engine()
        == ConvolutionParameter_Engine_DEFAULT;
  }

 protected:
  virtual ConvolutionOptions Options() = 0;

  Convolution* convolution() { return convolution_.get(); }

  const float* bias() {
    return this->bias_term_ ? this->blobs_[1]->cpu_data() : nullptr;
  }

  std::string UnsupportedReason(const vector<Blob<float>*>& bottom,
                                const vector<Blob<float>*>& top) override {
    if (bottom[0]->num_axes() != 4 || this->channel_axis_ != 1) {
      return "its bottom is not a batch of images";
    }
    const ConvolutionShape shape = ShapeOf(*bottom[0], *top[0]);
    std::string reason = UnsupportedReasonFor(arithmetic_, shape);
    if (!reason.empty() && arithmetic_ != memory::data_type::f32) {
      LOG(INFO) << OwnerOf(*this) << " computes in float: " << reason;
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

  std::string UnsupportedReasonFor(memory::data_type type,
                                   const ConvolutionShape& shape) {
    const ConvolutionOptions options = Options();
    convolution_ = MakeGemmConvolution(shape, options);
    if (!convolution_) {
      convolution_ = MakeWinogradConvolution(shape, type, options);
    }
    if (convolution_) { return ""; }
    try {
      convolution_ = MakeDirectConvolution(shape, type, options);
    } catch (const dnnl::error& error) { return error.what(); }
    return convolution_ ? "" : "oneDNN has only reference code for it here";
  }

  const memory::data_type arithmetic_;  // the one wanted
  std::unique_ptr<Convolution> convolution_;
};

}  // namespace onednn
}  // namespace caffe

#endif  // DNNH_LAYERS_ONEDNN_CONVOLUTION_HPP_
