#ifndef DNNH_LAYERS_GPU_PIECEWISE_THRESHOLD_KERNELS_HPP_
#define DNNH_LAYERS_GPU_PIECEWISE_THRESHOLD_KERNELS_HPP_

#include "layers/gpu/launch.hpp"
#include "layers/piecewise_threshold_layer.hpp"

namespace caffe {
namespace gpu {

/// g(s), element by element; s and g may be the same blob.
template <typename Dtype>
__global__ void PiecewiseThresholdForward(const int count, const Dtype* s,
                                          const Dtype epsilon, Dtype* g) {
  CUDA_KERNEL_LOOP(i, count) { g[i] = PiecewiseThreshold(s[i], epsilon); }
}

template <typename Dtype>
__global__ void PiecewiseThresholdBackward(const int count, const Dtype* s,
                                           const Dtype epsilon,
                                           const Dtype* top_diff,
                                           Dtype* bottom_diff) {
  CUDA_KERNEL_LOOP(i, count) {
    bottom_diff[i] = PiecewiseInside(s[i], epsilon) ? top_diff[i] : Dtype(0);
  }
}

}  // namespace gpu
}  // namespace caffe

#endif  // DNNH_LAYERS_GPU_PIECEWISE_THRESHOLD_KERNELS_HPP_
