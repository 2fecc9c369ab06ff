#include <vector>

#include "caffe/layers/scale_layer.hpp"

#include "layers/gpu/launch.hpp"
#include "layers/replace_layer.hpp"

#include "layers/gpu/channel_kernels.hpp"

namespace caffe {

/**
 * @brief Caffe's Scale with kernels of its own on the GPU, for factors that are
 *        weights; with two bottoms it is Caffe's.
 *
 * Caffe's own layer multiplies and adds up in separate passes there.
 */
template <typename Dtype>
class GpuScaleLayer : public ScaleLayer<Dtype> {
 public:
  explicit GpuScaleLayer(const LayerParameter& param)
      : ScaleLayer<Dtype>(param) {}
  static bool IsWanted(const LayerParameter& param) {
    return Caffe::mode() == Caffe::GPU && param.bottom_size() < 2;
  }

 protected:
  void Forward_gpu(const vector<Blob<Dtype>*>& bottom,
                   const vector<Blob<Dtype>*>& top) override {
    // In place, the bottom is kept for Backward.
    Dtype* copy = bottom[0] == top[0] && NeedsBottom()
        ? this->temp_.mutable_gpu_data()
        : NULL;
    gpu::ForEach(gpu::ScaleChannels<Dtype>, Shape().count(), Shape(),
                 bottom[0]->gpu_data(), this->blobs_[0]->gpu_data(),
                 has_bias() ? this->blobs_[1]->gpu_data() : NULL, copy,
                 top[0]->mutable_gpu_data());
  }

  void Backward_gpu(const vector<Blob<Dtype>*>& top,
                    const vector<bool>& propagate_down,
                    const vector<Blob<Dtype>*>& bottom) override {
    const gpu::ChannelShape shape = Shape();
    if (shape.count() == 0) { return; }
    const Dtype* y_diff = top[0]->gpu_diff();
    const bool has_bias_diff = has_bias() && this->param_propagate_down_[1];
    if (NeedsBottom() || has_bias_diff) {
      // Without x only the sum of y_diff is used.
      const Dtype* x = y_diff;
      if (NeedsBottom()) {
        x = (bottom[0] == top[0] ? &this->temp_ : bottom[0])->gpu_data();
      }
      gpu::StartPartialChannelSums(shape, false, y_diff, x, &sums_);
      gpu::ForEach(gpu::AccumulateChannelSums<Dtype>, shape.channels,
                   shape.channels, shape.parts(), sums_.gpu_data(),
                   has_bias_diff ? this->blobs_[1]->mutable_gpu_diff() : NULL,
                   NeedsBottom() ? this->blobs_[0]->mutable_gpu_diff() : NULL);
    }
    if (propagate_down[0]) {
      const Dtype* no_shift = NULL;
      Dtype* no_copy = NULL;
      gpu::ForEach(gpu::ScaleChannels<Dtype>, shape.count(), shape, y_diff,
                   this->blobs_[0]->gpu_data(), no_shift, no_copy,
                   bottom[0]->mutable_gpu_diff());
    }
  }

 private:
  bool has_bias() const { return this->layer_param_.scale_param().bias_term(); }
  // For the gradient of the factors.
  bool NeedsBottom() const { return this->param_propagate_down_[0]; }
  gpu::ChannelShape Shape() const {
    return {this->outer_dim_, this->scale_dim_, this->inner_dim_};
  }

  Blob<Dtype> sums_;  // (2 x channels parts)
};

static ReplaceLayer<float, GpuScaleLayer<float>> replace_float_scale("Scale");
static ReplaceLayer<double, GpuScaleLayer<double>> replace_double_scale(
    "Scale");

}  // namespace caffe
