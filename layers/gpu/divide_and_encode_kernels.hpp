#ifndef DNNH_LAYERS_GPU_DIVIDE_AND_ENCODE_KERNELS_HPP_
#define DNNH_LAYERS_GPU_DIVIDE_AND_ENCODE_KERNELS_HPP_

#include "layers/divide_and_encode_layer.hpp"
#include "layers/gpu/launch.hpp"

namespace caffe {
namespace gpu {

/// y, num x bits: value k is (n, i) = (k / bits, k % bits). A thread adds a
/// slice in the order of the features, as the CPU does.
template <typename Dtype>
__global__ void EncodeSlices(const int count, const int bits,
                             const int features, const FeatureSlices slices,
                             const Dtype* x, const Dtype* weights,
                             const Dtype* bias, Dtype* y) {
  CUDA_KERNEL_LOOP(k, count) {
    const int n = k / bits;
    const int i = k % bits;
    Dtype sum = bias ? bias[i] : Dtype(0);
    for (int j = slices.begin(i); j < slices.begin(i + 1); ++j) {
      sum += weights[j] * x[n * features + j];
    }
    y[k] = sum;
  }
}

/// weights_diff, features: a thread adds over the batch in order, so that no
/// atomics are needed and the sum is the same in every run.
template <typename Dtype>
__global__ void EncodeWeightsGradient(const int features, const int num,
                                      const int bits,
                                      const FeatureSlices slices,
                                      const Dtype* x, const Dtype* y_diff,
                                      Dtype* weights_diff) {
  CUDA_KERNEL_LOOP(j, features) {
    const int i = slices.bit(j);
    Dtype sum = weights_diff[j];
    for (int n = 0; n < num; ++n) {
      sum += x[n * features + j] * y_diff[n * bits + i];
    }
    weights_diff[j] = sum;
  }
}

/// bias_diff, bits: a thread adds over the batch in order.
template <typename Dtype>
__global__ void EncodeBiasGradient(const int bits, const int num,
                                   const Dtype* y_diff, Dtype* bias_diff) {
  CUDA_KERNEL_LOOP(i, bits) {
    Dtype sum = bias_diff[i];
    for (int n = 0; n < num; ++n) { sum += y_diff[n * bits + i]; }
    bias_diff[i] = sum;
  }
}

/// x_diff, num x features: value k is (n, j) = (k / features, k % features).
template <typename Dtype>
__global__ void EncodeFeaturesGradient(const int count, const int features,
                                       const int bits,
                                       const FeatureSlices slices,
                                       const Dtype* weights,
                                       const Dtype* y_diff, Dtype* x_diff) {
  CUDA_KERNEL_LOOP(k, count) {
    const int n = k / features;
    const int j = k % features;
    x_diff[k] = weights[j] * y_diff[n * bits + slices.bit(j)];
  }
}

}  // namespace gpu
}  // namespace caffe

#endif  // DNNH_LAYERS_GPU_DIVIDE_AND_ENCODE_KERNELS_HPP_
