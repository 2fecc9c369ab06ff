#include <cmath>
#include <memory>
#include <unordered_map>

#include "layers/onednn/convolution.hpp"

namespace caffe {
namespace onednn {

namespace {

/// In the phase TEST, too: for inference oneDNN would choose layouts with the
/// channels last, which are slower here (docs/performance.md).
constexpr auto kForward = dnnl::prop_kind::forward_training;
constexpr auto kDirect = dnnl::algorithm::convolution_direct;

dnnl::post_ops Clipping(const ClipParameter* clip) {
  dnnl::post_ops behind;
  if (clip && clip->min() == 0 && std::isinf(clip->max())) {
    Append(dnnl::algorithm::eltwise_relu, 0, 0, &behind);  // the faster one
  } else if (clip) {
    Append(dnnl::algorithm::eltwise_clip, clip->min(), clip->max(), &behind);
  }
  return behind;
}

class DirectConvolution : public Convolution {
 public:
  DirectConvolution(const ConvolutionShape& shape, memory::data_type type,
                    const ConvolutionOptions& options)
      : shape_(shape) {
    // Images are plain, and oneDNN reads so few channels as fast in that
    // layout.
    const memory::desc source = shape.source[1] <= 4 ? Plain(shape.source, type)
                                                     : Any(shape.source, type);
    const memory::desc weights = Any(shape.weights, type);
    const memory::desc bias =
        options.has_bias ? Plain({shape.output[1]}) : memory::desc();
    const memory::desc output = Any(shape.output, type);
    forward_desc_ = DescribeWith<dnnl::convolution_forward>(
        Clipping(options.clip), kForward, kDirect, source, weights, bias,
        output, shape.strides, shape.dilations, shape.pads, shape.pads);
    forward_ = dnnl::convolution_forward(forward_desc_);
    is_reference_ = IsReference(forward_desc_);
    if (!options.has_backward) { return; }
    weights_desc_ = DescribeBackward<dnnl::convolution_backward_weights>(
        forward_desc_, kDirect, source, Any(shape.weights), bias, output,
        shape.strides, shape.dilations, shape.pads, shape.pads);
    weights_ = dnnl::convolution_backward_weights(weights_desc_);
    data_desc_ = DescribeBackward<dnnl::convolution_backward_data>(
        forward_desc_, kDirect, Any(shape.source, type), weights, output,
        shape.strides, shape.dilations, shape.pads, shape.pads);
    data_ = dnnl::convolution_backward_data(data_desc_);
    is_reference_ |= options.is_trained
        && (IsReference(weights_desc_) || IsReference(data_desc_));
  }

  bool is_reference() const { return is_reference_; }

  memory Prepare(const float* weights, memory* kept) override {
    return Weights(forward_desc_.weights_desc(), weights, kept);
  }

  void Forward(SyncedMemory* source, const memory& prepared, const float* bias,
               SyncedMemory* output) override {
    std::unordered_map<int, memory> arguments = {
        {DNNL_ARG_SRC,
         Read(source, shape_.source, forward_desc_.src_desc(), &source_)},
        {DNNL_ARG_WEIGHTS, prepared},
        {DNNL_ARG_DST, Write(output, forward_desc_.dst_desc(), &output_)}};
    if (bias) { arguments[DNNL_ARG_BIAS] = Wrap({shape_.output[1]}, bias); }
    Run(forward_, arguments);
  }

  void BackwardData(SyncedMemory* output_diff, const float* weights,
                    SyncedMemory* source_diff) override {
    Run(data_,
        {{DNNL_ARG_DIFF_DST,
          Read(output_diff, shape_.output, data_desc_.diff_dst_desc(),
               &output_diff_for_data_)},
         {DNNL_ARG_DIFF_SRC,
          Write(source_diff, data_desc_.diff_src_desc(), &source_diff_)},
         {DNNL_ARG_WEIGHTS,
          Weights(data_desc_.weights_desc(), weights, nullptr)}});
  }

  void BackwardWeights(SyncedMemory* source, SyncedMemory* output_diff,
                       Blob<float>* weights, Blob<float>* bias) override {
    const memory weights_diff = Scratch(weights_desc_.diff_weights_desc());
    std::unordered_map<int, memory> arguments = {
        {DNNL_ARG_SRC,
         Read(source, shape_.source, weights_desc_.src_desc(),
              &source_for_weights_)},
        {DNNL_ARG_DIFF_DST,
         Read(output_diff, shape_.output, weights_desc_.diff_dst_desc(),
              &output_diff_)},
        {DNNL_ARG_DIFF_WEIGHTS, weights_diff}};
    const memory::desc bias_desc = weights_desc_.diff_bias_desc();
    if (bias_desc.get_size()) {
      Fit(bias_desc, &bias_diff_);
      arguments[DNNL_ARG_DIFF_BIAS] = bias_diff_;
    }
    Run(weights_, arguments);
    if (weights) { AddToDiff(weights_diff, weights); }
    if (bias) { AddToDiff(bias_diff_, bias); }
  }

 private:
  memory Weights(const memory::desc& layout, const float* weights,
                 memory* kept) {
    if (kept) { Fit(layout, kept); }
    const memory reordered = kept ? *kept : Scratch(layout);
    Reorder(Wrap(shape_.weights, weights), reordered);
    return reordered;
  }

  const ConvolutionShape shape_;
  bool is_reference_;
  dnnl::convolution_forward::primitive_desc forward_desc_;
  dnnl::convolution_backward_weights::primitive_desc weights_desc_;
  dnnl::convolution_backward_data::primitive_desc data_desc_;
  dnnl::primitive forward_, weights_, data_;
  memory output_, source_diff_;  // hold the results
  // Buffers for values that must be reordered.
  memory source_, source_for_weights_, output_diff_, output_diff_for_data_;
  memory bias_diff_;
};

}  // namespace

std::unique_ptr<Convolution> MakeDirectConvolution(
    const ConvolutionShape& shape, memory::data_type type,
    const ConvolutionOptions& options) {
  auto made = std::make_unique<DirectConvolution>(shape, type, options);
  return made->is_reference() ? nullptr : std::move(made);
}

}  // namespace onednn
}  // namespace caffe
