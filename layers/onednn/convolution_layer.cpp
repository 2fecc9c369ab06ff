#include <string>
#include <vector>

#include "caffe/layers/conv_layer.hpp"

#include "layers/onednn/onednn.hpp"

namespace caffe {

using dnnl::memory;

/// Convolution of images, with groups and dilation; see onednn.hpp.
class OnednnConvolutionLayer
    : public onednn::OnednnLayer<ConvolutionLayer<float>> {
 public:
  explicit OnednnConvolutionLayer(const LayerParameter& param)
      : OnednnLayer(param), arithmetic_(onednn::Arithmetic()) {}
  static bool IsWanted(const LayerParameter& param) {
    return onednn::IsOn()
        && param.convolution_param().engine()
        == ConvolutionParameter_Engine_DEFAULT;
  }

 protected:
  std::string UnsupportedReason(const vector<Blob<float>*>& bottom,
                                const vector<Blob<float>*>& top) override {
    if (bottom.size() > 1 || bottom[0]->num_axes() != 4 || channel_axis_ != 1) {
      return "it has several bottoms, or one that is not a batch of images";
    }
    std::string reason = UnsupportedReasonFor(arithmetic_, *bottom[0], *top[0]);
    if (!reason.empty() && arithmetic_ != memory::data_type::f32) {
      LOG(INFO) << "Convolution layer '" << layer_param_.name()
                << "' computes in float: " << reason;
      reason =
          UnsupportedReasonFor(memory::data_type::f32, *bottom[0], *top[0]);
    }
    return reason;
  }

  void Forward_cpu(const vector<Blob<float>*>& bottom,
                   const vector<Blob<float>*>& top) override {
    if (!uses_onednn()) {
      return ConvolutionLayer<float>::Forward_cpu(bottom, top);
    }
    const memory source = onednn::Read(bottom[0]->data().get(), source_dims_,
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
          onednn::Read(top[0]->diff().get(), top_dims_,
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
  std::string UnsupportedReasonFor(memory::data_type type,
                                   const Blob<float>& bottom,
                                   const Blob<float>& top) {
    try {
      MakePrimitives(type, bottom, top);
      const bool slow = onednn::IsReference(forward_desc_)
          || (phase_ == TRAIN
              && (onednn::IsReference(weights_desc_)
                  || onednn::IsReference(data_desc_)));
      return slow ? onednn::kReferenceOnly : "";
    } catch (const dnnl::error& error) { return error.what(); }
  }

  // `type` is that of all values except biases and the weights' gradient.
  void MakePrimitives(memory::data_type type, const Blob<float>& bottom,
                      const Blob<float>& top) {
    const int* kernel = kernel_shape_.cpu_data();
    const int* stride = stride_.cpu_data();
    const int* pad = pad_.cpu_data();
    const int* dilation = dilation_.cpu_data();
    const memory::dims strides = {stride[0], stride[1]};
    const memory::dims pads = {pad[0], pad[1]};
    const memory::dims dilations = {dilation[0] - 1, dilation[1] - 1};
    source_dims_ = onednn::Dims(bottom);
    top_dims_ = onednn::Dims(top);
    weights_dims_ = {num_output_, channels_ / group_, kernel[0], kernel[1]};
    if (group_ > 1) {
      weights_dims_[0] /= group_;
      weights_dims_.insert(weights_dims_.begin(), group_);
    }
    // Images are plain, and in training oneDNN reads so few channels as fast in
    // that layout. (In inference it keeps channels last, which is fastest if
    // all layers do.)
    const memory::desc source = channels_ <= 4 && phase_ == TRAIN
        ? onednn::Plain(source_dims_, type)
        : onednn::Any(source_dims_, type);
    const memory::desc weights = onednn::Any(weights_dims_, type);
    const memory::desc weights_diff = onednn::Any(weights_dims_);
    const memory::desc bias =
        bias_term_ ? onednn::Plain({num_output_}) : memory::desc();
    const memory::desc output = onednn::Any(top_dims_, type);
    const auto direct = dnnl::algorithm::convolution_direct;
    forward_desc_ = onednn::Describe<dnnl::convolution_forward>(
        phase_ == TRAIN ? dnnl::prop_kind::forward_training
                        : dnnl::prop_kind::forward_inference,
        direct, source, weights, bias, output, strides, dilations, pads, pads);
    forward_ = dnnl::convolution_forward(forward_desc_);
    weights_desc_ =
        onednn::DescribeBackward<dnnl::convolution_backward_weights>(
            forward_desc_, direct, source, weights_diff, bias, output, strides,
            dilations, pads, pads);
    weights_ = dnnl::convolution_backward_weights(weights_desc_);
    data_desc_ = onednn::DescribeBackward<dnnl::convolution_backward_data>(
        forward_desc_, direct, onednn::Any(source_dims_, type), weights, output,
        strides, dilations, pads, pads);
    data_ = dnnl::convolution_backward_data(data_desc_);
  }

  // The weights in the given layout. They change in every iteration.
  memory Weights(const memory::desc& layout) {
    memory scratch = onednn::Scratch(layout);
    return onednn::Read(blobs_[0]->data().get(), weights_dims_, layout,
                        &scratch);
  }

  void BackwardWeights(Blob<float>* top, Blob<float>* bottom) {
    const memory source =
        onednn::Read(bottom->data().get(), source_dims_,
                     weights_desc_.src_desc(), &source_for_weights_);
    const memory top_diff =
        onednn::Read(top->diff().get(), top_dims_,
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

  const memory::data_type arithmetic_;
  memory::dims source_dims_, weights_dims_, top_dims_;
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
