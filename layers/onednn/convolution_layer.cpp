#include <string>
#include <vector>

#include "caffe/layers/conv_layer.hpp"

#include "layers/onednn/convolution.hpp"

namespace caffe {

using dnnl::memory;

/// Convolution of images, with groups and dilation; see onednn.hpp.
class OnednnConvolutionLayer
    : public onednn::ConvolutionOfImages<ConvolutionLayer<float>> {
 public:
  explicit OnednnConvolutionLayer(const LayerParameter& param)
      : ConvolutionOfImages(param) {}
  static bool IsWanted(const LayerParameter& param) {
    return onednn::IsOn()
        && param.convolution_param().engine()
        == ConvolutionParameter_Engine_DEFAULT;
  }

 protected:
  std::string UnsupportedReason(const vector<Blob<float>*>& bottom,
                                const vector<Blob<float>*>& top) override {
    return bottom.size() > 1
        ? "it has several bottoms"
        : ConvolutionOfImages::UnsupportedReason(bottom, top);
  }

  void Forward_cpu(const vector<Blob<float>*>& bottom,
                   const vector<Blob<float>*>& top) override {
    if (!uses_onednn()) {
      return ConvolutionLayer<float>::Forward_cpu(bottom, top);
    }
    const memory source = onednn::Read(bottom[0]->data().get(), shape_.source,
                                       forward_desc_.src_desc(), &source_);
    const memory output =
        onednn::Write(top[0]->data().get(), forward_desc_.dst_desc(), &output_);
    std::unordered_map<int, memory> arguments = {
        {DNNL_ARG_SRC, source},
        {DNNL_ARG_DST, output},
        {DNNL_ARG_WEIGHTS, Weights(forward_desc_.weights_desc())}};
    if (bias_term_) {
      arguments[DNNL_ARG_BIAS] =
          onednn::Wrap({num_output_}, blobs_[1]->cpu_data());
    }
    onednn::Run(forward_, arguments);
  }

  void Backward_cpu(const vector<Blob<float>*>& top,
                    const vector<bool>& propagate_down,
                    const vector<Blob<float>*>& bottom) override {
    if (!uses_onednn()) {
      return ConvolutionLayer<float>::Backward_cpu(top, propagate_down, bottom);
    }
    if (param_propagate_down_[0] || (bias_term_ && param_propagate_down_[1])) {
      BackwardWeights(top[0], bottom[0]);
    }
    if (propagate_down[0]) {
      const memory top_diff =
          onednn::Read(top[0]->diff().get(), shape_.output,
                       data_desc_.diff_dst_desc(), &top_diff_for_data_);
      const memory diff = onednn::Write(bottom[0]->diff().get(),
                                        data_desc_.diff_src_desc(), &diff_);
      onednn::Run(data_,
                  {{DNNL_ARG_DIFF_DST, top_diff},
                   {DNNL_ARG_DIFF_SRC, diff},
                   {DNNL_ARG_WEIGHTS, Weights(data_desc_.weights_desc())}});
    }
  }

 private:
  // `type` is that of all values except biases and the weights' gradient.
  bool MakePrimitives(dnnl::algorithm algorithm, memory::data_type type,
                      const onednn::ConvolutionShape& shape) override {
    shape_ = shape;
    // Images are plain, and oneDNN reads so few channels as fast in that
    // layout.
    const memory::desc source = channels_ <= 4
        ? onednn::Plain(shape_.source, type)
        : onednn::Any(shape_.source, type);
    const memory::desc weights = onednn::Any(shape_.weights, type);
    const memory::desc weights_diff = onednn::Any(shape_.weights);
    const memory::desc bias =
        bias_term_ ? onednn::Plain({num_output_}) : memory::desc();
    const memory::desc output = onednn::Any(shape_.output, type);
    forward_desc_ = onednn::Describe<dnnl::convolution_forward>(
        onednn::kForward, algorithm, source, weights, bias, output,
        shape.strides, shape.dilations, shape.pads, shape.pads);
    forward_ = dnnl::convolution_forward(forward_desc_);
    weights_desc_ =
        onednn::DescribeBackward<dnnl::convolution_backward_weights>(
            forward_desc_, algorithm, source, weights_diff, bias, output,
            shape.strides, shape.dilations, shape.pads, shape.pads);
    weights_ = dnnl::convolution_backward_weights(weights_desc_);
    data_desc_ = onednn::DescribeBackward<dnnl::convolution_backward_data>(
        forward_desc_, algorithm, onednn::Any(shape_.source, type), weights,
        output, shape.strides, shape.dilations, shape.pads, shape.pads);
    data_ = dnnl::convolution_backward_data(data_desc_);
    return !onednn::IsReference(forward_desc_)
        && (phase_ == TEST
            || !(onednn::IsReference(weights_desc_)
                 || onednn::IsReference(data_desc_)));
  }

  // The weights in the given layout. They change in every iteration.
  memory Weights(const memory::desc& layout) {
    memory scratch = onednn::Scratch(layout);
    return onednn::Read(blobs_[0]->data().get(), shape_.weights, layout,
                        &scratch);
  }

  void BackwardWeights(Blob<float>* top, Blob<float>* bottom) {
    const memory source =
        onednn::Read(bottom->data().get(), shape_.source,
                     weights_desc_.src_desc(), &source_for_weights_);
    const memory top_diff =
        onednn::Read(top->diff().get(), shape_.output,
                     weights_desc_.diff_dst_desc(), &top_diff_);
    const memory weights_diff =
        onednn::Scratch(weights_desc_.diff_weights_desc());
    std::unordered_map<int, memory> arguments = {
        {DNNL_ARG_SRC, source},
        {DNNL_ARG_DIFF_DST, top_diff},
        {DNNL_ARG_DIFF_WEIGHTS, weights_diff}};
    if (bias_term_) {
      onednn::Fit(onednn::Plain({num_output_}), &bias_diff_);
      arguments[DNNL_ARG_DIFF_BIAS] = bias_diff_;
    }
    onednn::Run(weights_, arguments);
    if (param_propagate_down_[0]) {
      onednn::AddToDiff(weights_diff, blobs_[0].get());
    }
    if (bias_term_ && param_propagate_down_[1]) {
      onednn::AddToDiff(bias_diff_, blobs_[1].get());
    }
  }

  onednn::ConvolutionShape shape_;
  dnnl::convolution_forward::primitive_desc forward_desc_;
  dnnl::convolution_backward_weights::primitive_desc weights_desc_;
  dnnl::convolution_backward_data::primitive_desc data_desc_;
  dnnl::primitive forward_, weights_, data_;
  memory output_, diff_;  // hold the top's data and the bottom's diff
  // Buffers for values that must be reordered.
  memory source_, source_for_weights_, top_diff_, top_diff_for_data_;
  memory bias_diff_;
};

static ReplaceLayer<float, OnednnConvolutionLayer> replace_convolution(
    "Convolution");

}  // namespace caffe
