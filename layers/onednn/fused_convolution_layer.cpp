#include "layers/fused_convolution_layer.hpp"

#include <cmath>
#include <vector>

#include "layers/onednn/convolution.hpp"

namespace caffe {

using dnnl::memory;

/**
 * A convolution and clipping in one pass; see onednn.hpp.
 *
 * The weights are reordered once. oneDNN clips a NaN to a number:
 * dnnh.nets.fusion checks the weights.
 */
class OnednnFusedConvolutionLayer
    : public onednn::ConvolutionOfImages<FusedConvolutionLayer<float>> {
 public:
  explicit OnednnFusedConvolutionLayer(const LayerParameter& param)
      : ConvolutionOfImages(param) {}
  static bool IsWanted(const LayerParameter& param) { return onednn::IsOn(); }

 protected:
  void Forward_cpu(const vector<Blob<float>*>& bottom,
                   const vector<Blob<float>*>& top) override {
    if (!uses_onednn()) {
      return FusedConvolutionLayer<float>::Forward_cpu(bottom, top);
    }
    if (!weights_) {
      onednn::Fit(desc_.weights_desc(), &weights_);
      onednn::Reorder(onednn::Wrap(shape_.weights, blobs_[0]->cpu_data()),
                      weights_);
    }
    std::unordered_map<int, memory> arguments = {
        {DNNL_ARG_SRC,
         onednn::Read(bottom[0]->data().get(), shape_.source, desc_.src_desc(),
                      &source_)},
        {DNNL_ARG_WEIGHTS, weights_},
        {DNNL_ARG_DST,
         onednn::Write(top[0]->data().get(), desc_.dst_desc(), &output_)}};
    if (bias_term_) {
      arguments[DNNL_ARG_BIAS] =
          onednn::Wrap({num_output_}, blobs_[1]->cpu_data());
    }
    onednn::Run(forward_, arguments);
  }

 private:
  bool MakePrimitives(dnnl::algorithm algorithm, memory::data_type type,
                      const onednn::ConvolutionShape& shape) override {
    shape_ = shape;
    weights_ = memory();
    desc_ = onednn::DescribeWith<dnnl::convolution_forward>(
        Clipping(), onednn::kForward, algorithm,
        onednn::Any(shape.source, type), onednn::Any(shape.weights, type),
        bias_term_ ? onednn::Plain({num_output_}) : memory::desc(),
        onednn::Any(shape.output, type), shape.strides, shape.dilations,
        shape.pads, shape.pads);
    if (onednn::IsReference(desc_)) { return false; }
    forward_ = dnnl::convolution_forward(desc_);
    return true;
  }

  dnnl::post_ops Clipping() {
    const ClipParameter& clip = layer_param_.clip_param();
    const bool is_relu = clip.min() == 0 && std::isinf(clip.max());
    dnnl::post_ops behind;
    if (is_relu) {  // all algorithms have it
      onednn::Append(dnnl::algorithm::eltwise_relu, 0, 0, &behind);
    } else if (layer_param_.has_clip_param()) {
      onednn::Append(dnnl::algorithm::eltwise_clip, clip.min(), clip.max(),
                     &behind);
    }
    return behind;
  }

  onednn::ConvolutionShape shape_;
  dnnl::convolution_forward::primitive_desc desc_;
  dnnl::primitive forward_;
  memory weights_, output_;
  memory source_;  // for values that must be reordered
};

static ReplaceLayer<float, OnednnFusedConvolutionLayer>
    replace_fused_convolution("FusedConvolution");

}  // namespace caffe
