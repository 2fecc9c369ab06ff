#include <string>
#include <vector>

#include "caffe/layers/scale_layer.hpp"
#include "caffe/util/math_functions.hpp"

#include "layers/onednn/onednn.hpp"

namespace caffe {

using dnnl::memory;

/**
 * @brief A factor and, optionally, a bias for each channel of images; see
 *        onednn.hpp.
 *
 * For oneDNN this is a batch normalization with mean 0, variance 0 and epsilon
 * 1. (Not variance 1 and epsilon 0: channels are padded to whole blocks with
 * variance 0, which would give infinities there.) The inputs are kept as in
 * OnednnBatchNormLayer.
 */
class OnednnScaleLayer : public onednn::OnednnLayer<ScaleLayer<float>> {
 public:
  explicit OnednnScaleLayer(const LayerParameter& param) : OnednnLayer(param) {}
  static bool IsWanted(const LayerParameter& param) { return onednn::IsOn(); }

 protected:
  std::string UnsupportedReason(const vector<Blob<float>*>& bottom,
                                const vector<Blob<float>*>& top) override {
    return bottom.size() == 1 && bottom[0]->num_axes() == 4 && axis_ == 1
            && blobs_[0]->num_axes() == 1
        ? ""
        : "it has two bottoms, or does not scale the channels of images";
  }

  void Forward_cpu(const vector<Blob<float>*>& bottom,
                   const vector<Blob<float>*>& top) override {
    if (!uses_onednn() || !Prepare([&] {
          return MakePrimitives(onednn::BlockedLayoutOf(*bottom[0]));
        })) {
      return ScaleLayer<float>::Forward_cpu(bottom, top);
    }
    input_ = onednn::Read(bottom[0]->data().get(), onednn::Dims(*bottom[0]),
                          layout_, &source_);
    onednn::Fit(layout_, &output_);
    std::unordered_map<int, memory> arguments = {
        {DNNL_ARG_SRC, input_},
        {DNNL_ARG_DST, output_},
        {DNNL_ARG_MEAN, zeros_},
        {DNNL_ARG_VARIANCE, zeros_},
        {DNNL_ARG_SCALE, Channels(blobs_[0]->cpu_data())}};
    if (has_bias()) {
      arguments[DNNL_ARG_SHIFT] = Channels(blobs_[1]->cpu_data());
    }
    onednn::Run(forward_, arguments);
    onednn::Put(top[0]->data().get(), output_);
  }

  void Backward_cpu(const vector<Blob<float>*>& top,
                    const vector<bool>& propagate_down,
                    const vector<Blob<float>*>& bottom) override {
    if (!uses_onednn()) {
      return ScaleLayer<float>::Backward_cpu(top, propagate_down, bottom);
    }
    CHECK(input_) << "Scale layer '" << layer_param_.name()
                  << "': call Forward before Backward";
    const memory top_diff = onednn::Read(
        top[0]->diff().get(), onednn::Dims(*top[0]), layout_, &top_diff_);
    if (!propagate_down[0]) { onednn::Fit(layout_, &diff_); }
    const memory diff = !propagate_down[0]
        ? diff_
        : onednn::WriteAs(top_diff, bottom[0] == top[0],
                          bottom[0]->diff().get(), &diff_);
    onednn::Fit(onednn::Plain({blobs_[0]->count()}), &factor_diff_);
    onednn::Fit(factor_diff_.get_desc(), &bias_diff_);
    std::unordered_map<int, memory> arguments = {
        {DNNL_ARG_SRC, input_},
        {DNNL_ARG_MEAN, zeros_},
        {DNNL_ARG_VARIANCE, zeros_},
        {DNNL_ARG_DIFF_DST, top_diff},
        {DNNL_ARG_SCALE, Channels(blobs_[0]->cpu_data())},
        {DNNL_ARG_DIFF_SRC, diff},
        {DNNL_ARG_DIFF_SCALE, factor_diff_}};
    if (has_bias()) {
      if (onednn::kBackwardTakesShift) {
        arguments[DNNL_ARG_SHIFT] = Channels(blobs_[1]->cpu_data());
      }
      arguments[DNNL_ARG_DIFF_SHIFT] = bias_diff_;
    }
    onednn::Run(backward_, arguments);
    if (param_propagate_down_[0]) {
      onednn::AddToDiff(factor_diff_, blobs_[0].get());
    }
    if (has_bias() && param_propagate_down_[1]) {
      onednn::AddToDiff(bias_diff_, blobs_[1].get());
    }
  }

 private:
  bool has_bias() const { return layer_param_.scale_param().bias_term(); }

  // False if oneDNN has only reference code.
  bool MakePrimitives(const memory::desc& layout) {
    if (layout == layout_) { return true; }
    const float kEpsilon = 1;
    auto flags = dnnl::normalization_flags::use_global_stats
        | dnnl::normalization_flags::use_scale;
    if (has_bias()) { flags |= dnnl::normalization_flags::use_shift; }
    const auto forward = onednn::DescribeBatchNorm(layout, kEpsilon, flags);
    if (onednn::IsReference(forward)) { return false; }
    forward_ = onednn::BatchNormForward(forward);
    backward_ = onednn::BatchNormBackward(onednn::DescribeBatchNormBackward(
        forward, dnnl::prop_kind::backward, layout, kEpsilon, flags));
    zeros_blob_.ReshapeLike(*blobs_[0]);
    caffe_set(zeros_blob_.count(), 0.f, zeros_blob_.mutable_cpu_data());
    zeros_ = Channels(zeros_blob_.cpu_data());
    layout_ = layout;
    return true;
  }

  memory Channels(const float* values) const {
    return onednn::Wrap({blobs_[0]->count()}, values);
  }

  memory::desc layout_;  // that of the primitives
  dnnl::primitive forward_, backward_;
  Blob<float> zeros_blob_;
  memory zeros_;  // the mean and the variance
  memory input_;  // kept for Backward
  memory source_, output_, top_diff_, diff_, factor_diff_, bias_diff_;
};

static ReplaceLayer<float, OnednnScaleLayer> replace_scale("Scale");

}  // namespace caffe
