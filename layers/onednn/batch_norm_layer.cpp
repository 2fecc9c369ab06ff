#include <string>
#include <vector>

#include "caffe/layers/batch_norm_layer.hpp"
#include "caffe/util/math_functions.hpp"

#include "layers/onednn/onednn.hpp"

namespace caffe {

using dnnl::memory;

/**
 * @brief Batch normalization of images; see onednn.hpp.
 *
 * Backward needs the inputs, so they are kept, even if the net runs the layer
 * in place: the outputs are written elsewhere, and the blob then points there.
 * (Caffe's own layer keeps a copy of the outputs.)
 */
class OnednnBatchNormLayer : public onednn::OnednnLayer<BatchNormLayer<float>> {
 public:
  explicit OnednnBatchNormLayer(const LayerParameter& param)
      : OnednnLayer(param) {}
  static bool IsWanted(const LayerParameter& param) { return onednn::IsOn(); }

 protected:
  std::string UnsupportedReason(const vector<Blob<float>*>& bottom,
                                const vector<Blob<float>*>& top) override {
    return bottom[0]->num_axes() == 4 ? ""
                                      : "its bottom is not a batch of images";
  }

  void Forward_cpu(const vector<Blob<float>*>& bottom,
                   const vector<Blob<float>*>& top) override {
    if (!uses_onednn() || !Prepare([&] {
          return MakePrimitives(onednn::BlockedLayoutOf(*bottom[0]));
        })) {
      return BatchNormLayer<float>::Forward_cpu(bottom, top);
    }
    input_ = onednn::Read(bottom[0]->data().get(), onednn::Dims(*bottom[0]),
                          layout_, &source_);
    onednn::Fit(layout_, &output_);
    if (use_global_stats_) { LoadStatistics(); }
    // In every pass: Caffe's own layer may have moved them to the GPU
    // meanwhile.
    batch_mean_ = onednn::Wrap({channels_}, mean_.mutable_cpu_data());
    batch_variance_ = onednn::Wrap({channels_}, variance_.mutable_cpu_data());
    onednn::Run(forward_,
                {{DNNL_ARG_SRC, input_},
                 {DNNL_ARG_DST, output_},
                 {DNNL_ARG_MEAN, batch_mean_},
                 {DNNL_ARG_VARIANCE, batch_variance_}});
    if (!use_global_stats_) { AddStatistics(bottom[0]->count() / channels_); }
    onednn::Put(top[0]->data().get(), output_);
  }

  void Backward_cpu(const vector<Blob<float>*>& top,
                    const vector<bool>& propagate_down,
                    const vector<Blob<float>*>& bottom) override {
    if (!uses_onednn()) {
      return BatchNormLayer<float>::Backward_cpu(top, propagate_down, bottom);
    }
    CHECK(input_) << "BatchNorm layer '" << layer_param_.name()
                  << "': call Forward before Backward";
    if (!propagate_down[0]) { return; }
    const memory top_diff = onednn::Read(
        top[0]->diff().get(), onednn::Dims(*top[0]), layout_, &top_diff_);
    const memory diff = onednn::WriteAs(top_diff, bottom[0] == top[0],
                                        bottom[0]->diff().get(), &diff_);
    onednn::Run(backward_,
                {{DNNL_ARG_SRC, input_},
                 {DNNL_ARG_MEAN, batch_mean_},
                 {DNNL_ARG_VARIANCE, batch_variance_},
                 {DNNL_ARG_DIFF_DST, top_diff},
                 {DNNL_ARG_DIFF_SRC, diff}});
  }

 private:
  // False if oneDNN has only reference code.
  bool MakePrimitives(const memory::desc& layout) {
    if (layout == layout_) { return true; }
    const auto flags = use_global_stats_
        ? dnnl::normalization_flags::use_global_stats
        : dnnl::normalization_flags::none;
    const auto forward = onednn::DescribeBatchNorm(layout, eps_, flags);
    const auto backward = onednn::DescribeBatchNormBackward(
        forward, dnnl::prop_kind::backward_data, layout, eps_, flags);
    if (onednn::IsReference(forward)) { return false; }
    forward_ = onednn::BatchNormForward(forward);
    backward_ = onednn::BatchNormBackward(backward);
    layout_ = layout;
    return true;
  }

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

  memory::desc layout_;  // that of the primitives
  dnnl::primitive forward_, backward_;
  memory batch_mean_, batch_variance_;  // mean_ and variance_
  memory input_;                        // kept for Backward
  memory source_, output_, top_diff_, diff_;
};

static ReplaceLayer<float, OnednnBatchNormLayer> replace_batch_norm(
    "BatchNorm");

}  // namespace caffe
