#ifndef DNNH_LAYERS_GPU_BATCH_NORM_KERNELS_HPP_
#define DNNH_LAYERS_GPU_BATCH_NORM_KERNELS_HPP_

#include "layers/gpu/channel_kernels.hpp"

namespace caffe {
namespace gpu {

/**
 * @brief The mean and 1 / sqrt(variance + eps) of each channel of a batch, from
 *        shifted PartialChannelSums of x and x; and the running statistics.
 *
 * As in Caffe's own layer, running_mean = fraction running_mean + mean;
 * likewise the unbiased variance, and 1 for each iteration.
 */
template <typename Dtype>
__global__ void BatchStatistics(const ChannelShape shape, const int parts,
                                const Dtype* x, const Dtype* sums,
                                const Dtype eps, const Dtype fraction,
                                Dtype* mean, Dtype* inverse_std,
                                Dtype* running_mean, Dtype* running_variance,
                                Dtype* running_count) {
  const Dtype values = Dtype(shape.num) * shape.spatial;
  const Dtype unbiased = values > 1 ? values / (values - 1) : Dtype(1);
  CUDA_KERNEL_LOOP(c, shape.channels) {
    const Dtype sum = AddParts(sums, c, parts) / values;
    const Dtype squares = AddParts(sums, shape.channels + c, parts) / values;
    Dtype variance = squares - sum * sum;
    if (variance < 0) { variance = 0; }  // rounded
    mean[c] = x[c * shape.spatial] + sum;
    inverse_std[c] = Dtype(1) / sqrt(variance + eps);
    running_mean[c] = running_mean[c] * fraction + mean[c];
    running_variance[c] = running_variance[c] * fraction + unbiased * variance;
    if (c == 0) { *running_count = *running_count * fraction + 1; }
  }
}

/// The mean and 1 / sqrt(variance + eps) of the running statistics; before the
/// first iteration these are 0.
template <typename Dtype>
__global__ void RunningStatistics(const int channels, const Dtype* running_mean,
                                  const Dtype* running_variance,
                                  const Dtype* running_count, const Dtype eps,
                                  Dtype* mean, Dtype* inverse_std) {
  const Dtype scale = *running_count == 0 ? Dtype(0) : 1 / *running_count;
  CUDA_KERNEL_LOOP(c, channels) {
    mean[c] = running_mean[c] * scale;
    inverse_std[c] = Dtype(1) / sqrt(running_variance[c] * scale + eps);
  }
}

/**
 * @brief x_diff = (y_diff - mean(y_diff) - y mean(y_diff y)) inverse_std,
 *        with the means over a channel.
 *
 * @param sums of each channel (2 x channels): of y_diff and of y_diff y
 *
 * x_diff and y_diff may be the same.
 */
template <typename Dtype>
__global__ void BatchNormGradient(const ChannelShape shape, const Dtype* y,
                                  const Dtype* inverse_std, const Dtype* sums,
                                  const Dtype* y_diff, Dtype* x_diff) {
  const Dtype values = Dtype(shape.num) * shape.spatial;
  CUDA_KERNEL_LOOP(i, shape.count()) {
    const int c = shape.channel(i);
    x_diff[i] =
        (y_diff[i] - (sums[c] + y[i] * sums[shape.channels + c]) / values)
        * inverse_std[c];
  }
}

}  // namespace gpu
}  // namespace caffe

#endif  // DNNH_LAYERS_GPU_BATCH_NORM_KERNELS_HPP_
