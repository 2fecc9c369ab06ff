#include <string>
#include <vector>

#include "caffe/layers/pooling_layer.hpp"

#include "layers/onednn/onednn.hpp"

namespace caffe {

using dnnl::memory;

/**
 * @brief Max and average pooling; see onednn.hpp.
 *
 * Caffe rounds the number of windows up, so that the last ones may extend past
 * the padded image. An average counts the padding, but not what lies past it;
 * oneDNN counts either the whole window or only what is inside of the image.
 * That covers all cases except padding with windows that extend past it.
 */
class OnednnPoolingLayer : public onednn::OnednnLayer<PoolingLayer<float>> {
 public:
  explicit OnednnPoolingLayer(const LayerParameter& param)
      : OnednnLayer(param), keeps_positions_(phase_ == TRAIN) {}
  static bool IsWanted(const LayerParameter& param) {
    return onednn::IsOn()
        && param.pooling_param().engine() == PoolingParameter_Engine_DEFAULT;
  }

 protected:
  std::string UnsupportedReason(const vector<Blob<float>*>& bottom,
                                const vector<Blob<float>*>& top) override {
    layout_ = memory::desc();
    const PoolingParameter_PoolMethod method =
        layer_param_.pooling_param().pool();
    if (method == PoolingParameter_PoolMethod_STOCHASTIC || top.size() > 1) {
      return "it is stochastic, or has a mask as its second top";
    }
    over_h_ = (pooled_height_ - 1) * stride_h_ + kernel_h_ - height_ - pad_h_;
    over_w_ = (pooled_width_ - 1) * stride_w_ + kernel_w_ - width_ - pad_w_;
    if (over_h_ < 0 || over_w_ < 0 || over_h_ >= kernel_h_
        || over_w_ >= kernel_w_ || pad_h_ >= kernel_h_ || pad_w_ >= kernel_w_) {
      return "some windows are outside of the image, or do not reach its edge";
    }
    const bool padded = pad_h_ || pad_w_;
    if (method == PoolingParameter_PoolMethod_AVE && padded
        && (over_h_ > pad_h_ || over_w_ > pad_w_)) {
      return "it averages over windows that extend past the padding";
    }
    return "";
  }

  void Forward_cpu(const vector<Blob<float>*>& bottom,
                   const vector<Blob<float>*>& top) override {
    if (!uses_onednn()) {
      return PoolingLayer<float>::Forward_cpu(bottom, top);
    }
    const memory source = onednn::Values(*bottom[0]);
    if (!Prepare([&] { return MakePrimitives(source.get_desc(), *top[0]); })) {
      return PoolingLayer<float>::Forward_cpu(bottom, top);
    }
    const memory output =
        onednn::Write(top[0]->data().get(), forward_desc_.dst_desc(), &output_);
    onednn::Run(forward_,
                {{DNNL_ARG_SRC, source},
                 {DNNL_ARG_DST, output},
                 {DNNL_ARG_WORKSPACE, workspace_}});
  }

  void Backward_cpu(const vector<Blob<float>*>& top,
                    const vector<bool>& propagate_down,
                    const vector<Blob<float>*>& bottom) override {
    if (!keeps_positions_ && uses_onednn()) { FindPositions(bottom, top); }
    if (!uses_onednn()) {
      return PoolingLayer<float>::Backward_cpu(top, propagate_down, bottom);
    }
    if (!propagate_down[0]) { return; }
    const memory top_diff =
        onednn::Read(top[0]->diff().get(), onednn::Dims(*top[0]),
                     backward_desc_.diff_dst_desc(), &top_diff_);
    const memory diff = onednn::Write(bottom[0]->diff().get(),
                                      backward_desc_.diff_src_desc(), &diff_);
    onednn::Run(backward_,
                {{DNNL_ARG_DIFF_DST, top_diff},
                 {DNNL_ARG_DIFF_SRC, diff},
                 {DNNL_ARG_WORKSPACE, workspace_}});
  }

 private:
  // For a net in the phase TEST, whose Forward does not keep them. The top
  // stays: a layer may have overwritten it in place.
  void FindPositions(const vector<Blob<float>*>& bottom,
                     const vector<Blob<float>*>& top) {
    keeps_positions_ = true;
    layout_ = memory::desc();
    const memory source = onednn::Values(*bottom[0]);
    if (Prepare([&] { return MakePrimitives(source.get_desc(), *top[0]); })) {
      onednn::Run(forward_,
                  {{DNNL_ARG_SRC, source},
                   {DNNL_ARG_DST, onednn::Scratch(forward_desc_.dst_desc())},
                   {DNNL_ARG_WORKSPACE, workspace_}});
    } else {
      Blob<float> unused(top[0]->shape());
      PoolingLayer<float>::Forward_cpu(bottom, {&unused});
    }
  }

  // False if oneDNN has only reference code.
  bool MakePrimitives(const memory::desc& layout, const Blob<float>& top) {
    if (layout == layout_) { return true; }
    const bool max =
        layer_param_.pooling_param().pool() == PoolingParameter_PoolMethod_MAX;
    const dnnl::algorithm method = max ? dnnl::algorithm::pooling_max
        : pad_h_ || pad_w_ ? dnnl::algorithm::pooling_avg_include_padding
                           : dnnl::algorithm::pooling_avg_exclude_padding;
    const memory::desc output =
        onednn::Any(onednn::Dims(top), onednn::TypeOf(layout));
    const memory::dims stride = {stride_h_, stride_w_};
    const memory::dims kernel = {kernel_h_, kernel_w_};
    const memory::dims gaps = {0, 0};  // no dilation
    const memory::dims before = {pad_h_, pad_w_};
    const memory::dims behind = {over_h_, over_w_};
    forward_desc_ = onednn::Describe<onednn::PoolingForward>(
        keeps_positions_ ? dnnl::prop_kind::forward_training
                         : dnnl::prop_kind::forward_inference,
        method, layout, output, stride, kernel, gaps, before, behind);
    if (onednn::IsReference(forward_desc_)) { return false; }
    if (keeps_positions_) {
      backward_desc_ = onednn::DescribeBackward<onednn::PoolingBackward>(
          forward_desc_, method, layout, forward_desc_.dst_desc(), stride,
          kernel, gaps, before, behind);
      if (onednn::IsReference(backward_desc_)) { return false; }
      backward_ = onednn::PoolingBackward(backward_desc_);
    }
    forward_ = onednn::PoolingForward(forward_desc_);
    workspace_ = memory(forward_desc_.workspace_desc(), onednn::Engine());
    layout_ = layout;
    return true;
  }

  // Whether the workspace has the position of the maximum of each window, which
  // backward passes need.
  bool keeps_positions_;
  int over_h_, over_w_;  // by how much windows extend past the image
  memory::desc layout_;  // that of the primitives
  onednn::PoolingForward::primitive_desc forward_desc_;
  onednn::PoolingBackward::primitive_desc backward_desc_;
  dnnl::primitive forward_, backward_;
  memory output_, diff_, top_diff_, workspace_;
};

static ReplaceLayer<float, OnednnPoolingLayer> replace_pooling("Pooling");

}  // namespace caffe
