#ifndef DNNH_LAYERS_GPU_BLOCK_SUM_HPP_
#define DNNH_LAYERS_GPU_BLOCK_SUM_HPP_

#include "layers/gpu/launch.hpp"

namespace caffe {
namespace gpu {

/// The sum of one value of each thread of a block, returned to all of them. The
/// order is fixed, so that the sum is the same in every run.
template <typename Dtype>
__device__ inline Dtype BlockSum(Dtype value) {
  __shared__ Dtype sums[kThreads];
  const int thread = threadIdx.x;
  sums[thread] = value;
  __syncthreads();
  for (int half = blockDim.x / 2; half > 0; half /= 2) {
    if (thread < half) { sums[thread] += sums[thread + half]; }
    __syncthreads();
  }
  const Dtype sum = sums[0];
  __syncthreads();  // before the next sum overwrites it
  return sum;
}

}  // namespace gpu
}  // namespace caffe

#endif  // DNNH_LAYERS_GPU_BLOCK_SUM_HPP_
