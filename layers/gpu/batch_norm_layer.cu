#include <vector>

#include "caffe/layers/batch_norm_layer.hpp"

#include "layers/gpu/launch.hpp"
#include "layers/replace_layer.hpp"

#include "layers/gpu/batch_norm_kernels.hpp"

namespace caffe {

/**
 * @brief Caffe's BatchNorm with kernels of its own on the GPU.
 *
 * Caffe's own layer passes over the values some fifteen times there, with
 * matrix products that repeat each channel's mean for each value. This one
 * reads them twice and writes them once, and once more for Backward.
 */
template <typename Dtype>
class GpuBatchNormLayer : public BatchNormLayer<Dtype> {
 public:
  explicit GpuBatchNormLayer(const LayerParameter& param)
      : BatchNormLayer<Dtype>(param) {}
  static bool IsWanted(const LayerParameter& param) {
    return Caffe::mode() == Caffe::GPU;
  }

 protected:
  void Forward_gpu(const vector<Blob<Dtype>*>& bottom,
                   const vector<Blob<Dtype>*>& top) override {
    const gpu::ChannelShape shape = Shape(*bottom[0]);
    if (shape.count() == 0) { return; }
    const Dtype* x = bottom[0]->gpu_data();
    // The base class ends with sqrt(variance + eps) in variance_.
    Dtype* mean = this->mean_.mutable_gpu_data();
    Dtype* inverse_std = this->variance_.mutable_gpu_data();
    const Dtype eps = this->eps_;
    if (this->use_global_stats_) {
      gpu::ForEach(gpu::RunningStatistics<Dtype>, shape.channels,
                   shape.channels, this->blobs_[0]->gpu_data(),
                   this->blobs_[1]->gpu_data(), this->blobs_[2]->gpu_data(),
                   eps, mean, inverse_std);
    } else {
      gpu::StartPartialChannelSums(shape, true, x, x, &sums_);
      gpu::ForEach(gpu::BatchStatistics<Dtype>, shape.channels, shape,
                   shape.parts(), x, sums_.gpu_data(), eps,
                   Dtype(this->moving_average_fraction_), mean, inverse_std,
                   this->blobs_[0]->mutable_gpu_data(),
                   this->blobs_[1]->mutable_gpu_data(),
                   this->blobs_[2]->mutable_gpu_data());
    }
    // Layers that follow in place overwrite the top.
    gpu::ForEach(
        gpu::NormalizeChannels<Dtype>, shape.count(), shape, x,
        this->mean_.gpu_data(), this->variance_.gpu_data(),
        this->use_global_stats_ ? NULL : this->x_norm_.mutable_gpu_data(),
        top[0]->mutable_gpu_data());
  }

  void Backward_gpu(const vector<Blob<Dtype>*>& top,
                    const vector<bool>& propagate_down,
                    const vector<Blob<Dtype>*>& bottom) override {
    const gpu::ChannelShape shape = Shape(*bottom[0]);
    if (shape.count() == 0 || !propagate_down[0]) { return; }
    const Dtype* y_diff = top[0]->gpu_diff();
    const Dtype* inverse_std = this->variance_.gpu_data();
    if (this->use_global_stats_) {
      const Dtype* no_shift = NULL;
      Dtype* no_copy = NULL;
      gpu::ForEach(gpu::ScaleChannels<Dtype>, shape.count(), shape, y_diff,
                   inverse_std, no_shift, no_copy,
                   bottom[0]->mutable_gpu_diff());
      return;
    }
    const Dtype* y = this->x_norm_.gpu_data();
    gpu::StartPartialChannelSums(shape, false, y_diff, y, &sums_);
    channel_sums_.Reshape(vector<int>{2, shape.channels});
    gpu::ForEach(gpu::ReduceChannelSums<Dtype>, 2 * shape.channels,
                 shape.channels, shape.parts(), sums_.gpu_data(),
                 channel_sums_.mutable_gpu_data());
    gpu::ForEach(gpu::BatchNormGradient<Dtype>, shape.count(), shape, y,
                 inverse_std, channel_sums_.gpu_data(), y_diff,
                 bottom[0]->mutable_gpu_diff());
  }

 private:
  gpu::ChannelShape Shape(const Blob<Dtype>& blob) const {
    return {blob.shape(0), this->channels_, blob.count(1) / this->channels_};
  }

  Blob<Dtype> sums_;          // (2 x channels parts)
  Blob<Dtype> channel_sums_;  // (2 x channels)
};

static ReplaceLayer<float, GpuBatchNormLayer<float>> replace_float_batch_norm(
    "BatchNorm");
static ReplaceLayer<double, GpuBatchNormLayer<double>>
    replace_double_batch_norm("BatchNorm");

}  // namespace caffe
