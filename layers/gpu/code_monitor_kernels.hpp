#ifndef DNNH_LAYERS_GPU_CODE_MONITOR_KERNELS_HPP_
#define DNNH_LAYERS_GPU_CODE_MONITOR_KERNELS_HPP_

#include "layers/gpu/block_sum.hpp"

namespace caffe {
namespace gpu {

/// is_first[n]: 1 if no code before that of image n is the same, otherwise 0.
template <typename Dtype>
__global__ void MarkFirstOccurrences(const int num, const int bits,
                                     const Dtype* values, Dtype* is_first) {
  CUDA_KERNEL_LOOP(n, num) {
    bool found = false;
    for (int m = 0; m < n && !found; ++m) {
      found = true;
      for (int i = 0; i < bits && found; ++i) {
        found = (values[m * bits + i] > Dtype(0.5))
            == (values[n * bits + i] > Dtype(0.5));
      }
    }
    is_first[n] = found ? 0 : 1;
  }
}

/// The four tops of CodeMonitor, and as scratch the number of ones of each bit.
/// For a single block.
template <typename Dtype>
__global__ void SummarizeCodes(const int num, const int bits,
                               const Dtype* values, const Dtype* is_first,
                               Dtype* ones, Dtype* lowest, Dtype* highest,
                               Dtype* distinct, Dtype* clipped) {
  Dtype clipped_values = 0, distinct_codes = 0;
  for (int i = threadIdx.x; i < bits; i += blockDim.x) {
    Dtype count = 0;
    for (int n = 0; n < num; ++n) {
      const Dtype value = values[n * bits + i];
      count += value > Dtype(0.5);
      clipped_values += value == 0 || value == 1;
    }
    ones[i] = count;
  }
  for (int n = threadIdx.x; n < num; n += blockDim.x) {
    distinct_codes += is_first[n];
  }
  clipped_values = BlockSum(clipped_values);
  distinct_codes = BlockSum(distinct_codes);
  if (threadIdx.x > 0) { return; }
  Dtype least = num, most = 0;
  for (int i = 0; i < bits; ++i) {
    least = ones[i] < least ? ones[i] : least;
    most = ones[i] > most ? ones[i] : most;
  }
  *lowest = least / num;
  *highest = most / num;
  *distinct = distinct_codes;
  *clipped = clipped_values / (Dtype(num) * bits);
}

}  // namespace gpu
}  // namespace caffe

#endif  // DNNH_LAYERS_GPU_CODE_MONITOR_KERNELS_HPP_
