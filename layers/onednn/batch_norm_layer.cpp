#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "caffe/layers/batch_norm_layer.hpp"
#include "caffe/util/math_functions.hpp"

#include "layers/onednn/normalization.hpp"
#include "layers/owner.hpp"

namespace caffe {

using dnnl::memory;

/**
 * @brief Batch normalization of images; see normalization.hpp.
 *
 * Backward needs the inputs, so they are kept, even if the net runs the layer
 * in place: the outputs are written elsewhere, and the blob then points there.
 * (Caffe's own layer keeps a copy of the outputs.)
 */
class OnednnBatchNormLayer : public onednn::OnednnLayer<BatchNormLayer<float>> {
 public:
  explicit OnednnBatchNormLayer(const LayerParameter& param)
      : OnednnLayer(param), output_(std::make_shared<memory>()) {}

 protected:
  std::string UnsupportedReason(const vector<Blob<float>*>& bottom,
                                const vector<Blob<float>*>& top) override {
    return bottom[0]->num_axes() == 4 ? ""
                                      : "its bottom is not a batch of images";
  }

  void ForwardOnednn(const vector<Blob<float>*>& bottom,
                     const vector<Blob<float>*>& top) override {
    const memory input = onednn::ReadBlocked(*bottom[0], &source_);
    const memory::desc layout = input.get_desc();
    if (use_global_stats_) {
      LoadStatistics();
    } else {
      onednn::ComputeMoments(input, mean_.mutable_cpu_data(),
                             variance_.mutable_cpu_data());
      AddStatistics(bottom[0]->count() / channels_);
    }
    normalized_ = {input, onednn::PaddedFor(layout, 0.f),
                   onednn::PaddedFor(layout, 0.f)};
    for (int c = 0; c < channels_; ++c) {
      const float factor = 1 / std::sqrt(variance_.cpu_data()[c] + eps_);
      normalized_.factors[c] = factor;
      normalized_.shifts[c] = -factor * mean_.cpu_data()[c];
    }
    onednn::Defer(
        bottom[0] == top[0], top[0]->data().get(),
        std::make_shared<onednn::DeferredValues>(normalized_, output_));
  }

  void BackwardOnednn(const vector<Blob<float>*>& top,
                      const vector<bool>& propagate_down,
                      const vector<Blob<float>*>& bottom) override {
    CHECK(normalized_.source)
        << OwnerOf(*this) << ": call Forward before Backward";
    if (!propagate_down[0]) { return onednn::Resolve(top[0]->diff().get()); }
    const auto gradient =
        onednn::GradientOf(*top[0], normalized_.source, &top_diff_);
    onednn::PerChannel per_gradient = normalized_.factors;
    for (int c = 0; c < channels_; ++c) {
      per_gradient[c] *= gradient->factors()[c];
    }
    const memory diff =
        onednn::WriteAs(gradient->of_outputs(), bottom[0] == top[0],
                        bottom[0]->diff().get(), &diff_);
    if (use_global_stats_) {
      return gradient->Combine(per_gradient, nullptr, nullptr, diff);
    }
    const onednn::GradientSums sums =
        gradient->sums() ? *gradient->sums() : gradient->Sum(normalized_);
    const int count = bottom[0]->count() / channels_;
    onednn::PerChannel per_source =
        onednn::PaddedFor(normalized_.source.get_desc(), 0.f);
    onednn::PerChannel constants = per_source;
    for (int c = 0; c < channels_; ++c) {
      const float mean = sums.gradients[c] / count;
      const float product = sums.products[c] / count;
      per_source[c] = -per_gradient[c] * product * normalized_.factors[c];
      constants[c] =
          -per_gradient[c] * (mean + product * normalized_.shifts[c]);
    }
    gradient->Combine(per_gradient, &per_source, &constants, diff);
  }

 private:
  // As in Caffe's own layer: decayed sums over the past iterations in blobs 0
  // and 1, and the decayed number of iterations in blob 2.
  void LoadStatistics() {
    const float count = blobs_[2]->cpu_data()[0];
    const float scale = count == 0 ? 0 : 1 / count;
    caffe_cpu_scale(channels_, scale, blobs_[0]->cpu_data(),
                    mean_.mutable_cpu_data());
    caffe_cpu_scale(channels_, scale, blobs_[1]->cpu_data(),
                    variance_.mutable_cpu_data());
  }
  void AddStatistics(int values) {
    const float unbiased = values > 1 ? float(values) / (values - 1) : 1;
    float* count = blobs_[2]->mutable_cpu_data();
    count[0] = count[0] * moving_average_fraction_ + 1;
    caffe_cpu_axpby(channels_, 1.f, mean_.cpu_data(), moving_average_fraction_,
                    blobs_[0]->mutable_cpu_data());
    caffe_cpu_axpby(channels_, unbiased, variance_.cpu_data(),
                    moving_average_fraction_, blobs_[1]->mutable_cpu_data());
  }

  onednn::ChannelMap normalized_;  // kept for Backward
  const std::shared_ptr<memory> output_;
  memory source_, top_diff_, diff_;
};

static ReplaceLayer<float, OnednnBatchNormLayer> replace_batch_norm(
    "BatchNorm");

}  // namespace caffe
