#include <memory>
#include <string>
#include <vector>

#include "caffe/layers/scale_layer.hpp"
#include "caffe/util/math_functions.hpp"

#include "layers/onednn/normalization.hpp"
#include "layers/owner.hpp"

namespace caffe {

using dnnl::memory;

/**
 * @brief A factor and, optionally, a bias for each channel of images; see
 *        normalization.hpp.
 *
 * A map that gives the inputs is kept for Backward.
 */
class OnednnScaleLayer : public onednn::OnednnLayer<ScaleLayer<float>> {
 public:
  explicit OnednnScaleLayer(const LayerParameter& param)
      : OnednnLayer(param), output_(std::make_shared<memory>()) {}

 protected:
  std::string UnsupportedReason(const vector<Blob<float>*>& bottom,
                                const vector<Blob<float>*>& top) override {
    return bottom.size() == 1 && bottom[0]->num_axes() == 4 && axis_ == 1
            && blobs_[0]->num_axes() == 1
        ? ""
        : "it has two bottoms, or does not scale the channels of images";
  }

  void ForwardOnednn(const vector<Blob<float>*>& bottom,
                     const vector<Blob<float>*>& top) override {
    // A gradient that waits depends on what is overwritten here.
    onednn::Resolve(bottom[0]->diff().get());
    input_ = InputOf(*bottom[0], bottom[0] == top[0]);
    onednn::ChannelMap output = input_;
    for (int c = 0; c < blobs_[0]->count(); ++c) {
      const float factor = blobs_[0]->cpu_data()[c];
      output.factors[c] *= factor;
      output.shifts[c] = factor * output.shifts[c]
          + (has_bias() ? blobs_[1]->cpu_data()[c] : 0);
    }
    onednn::Defer(bottom[0] == top[0], top[0]->data().get(),
                  std::make_shared<onednn::DeferredValues>(output, output_));
  }

  void BackwardOnednn(const vector<Blob<float>*>& top,
                      const vector<bool>& propagate_down,
                      const vector<Blob<float>*>& bottom) override {
    CHECK(input_.source) << OwnerOf(*this) << ": call Forward before Backward";
    const auto gradient =
        onednn::GradientOf(*top[0], input_.source, &top_diff_);
    const auto sums =
        std::make_shared<onednn::GradientSums>(gradient->Sum(input_));
    onednn::PerChannel factors = gradient->factors();
    if (param_propagate_down_[0]) {
      AddToDiff(sums->products, factors, blobs_[0].get());
    }
    if (has_bias() && param_propagate_down_[1]) {
      AddToDiff(sums->gradients, factors, blobs_[1].get());
    }
    if (!propagate_down[0]) { return onednn::Resolve(top[0]->diff().get()); }
    for (int c = 0; c < blobs_[0]->count(); ++c) {
      factors[c] *= blobs_[0]->cpu_data()[c];
    }
    SyncedMemory* diff = bottom[0]->diff().get();
    if (bottom[0] == top[0]) {
      onednn::Defer(true, diff, gradient->Scaled(factors, sums));
    } else {
      gradient->Combine(factors, nullptr, nullptr,
                        onednn::Write(diff, input_.source.get_desc(), &diff_));
    }
  }

 private:
  bool has_bias() const { return layer_param_.scale_param().bias_term(); }

  // A map of what the values of the blob follow from, or of themselves.
  onednn::ChannelMap InputOf(const Blob<float>& blob, bool in_place) {
    const auto deferred = in_place ? onednn::LinearValuesOf(blob) : nullptr;
    return deferred ? deferred->map()
                    : onednn::IdentityOf(onednn::ReadBlocked(blob, &source_));
  }

  static void AddToDiff(const onednn::PerChannel& sums,
                        const onednn::PerChannel& factors, Blob<float>* blob) {
    for (int c = 0; c < blob->count(); ++c) {
      blob->mutable_cpu_diff()[c] += factors[c] * sums[c];
    }
  }

  onednn::ChannelMap input_;  // kept for Backward
  const std::shared_ptr<memory> output_;
  memory source_, top_diff_, diff_;
};

static ReplaceLayer<float, OnednnScaleLayer> replace_scale("Scale");

}  // namespace caffe
