#ifndef DNNH_LAYERS_GPU_BATCH_REINDEX_KERNELS_HPP_
#define DNNH_LAYERS_GPU_BATCH_REINDEX_KERNELS_HPP_

#include "layers/gpu/launch.hpp"

namespace caffe {
namespace gpu {

/// Row m of y is row index[m] of x; NaN where x has no such row. The host does
/// not check indexes, since it would have to wait for them.
template <typename Dtype>
__global__ void GatherRows(const int count, const int rows, const int columns,
                           const Dtype* x, const Dtype* index, Dtype* y) {
  CUDA_KERNEL_LOOP(k, count) {
    const Dtype row = index[k / columns];
    const bool is_valid = row >= 0 && row < rows;
    y[k] = is_valid ? x[int(row) * columns + k % columns] : Dtype(NAN);
  }
}

/**
 * @brief Row i of x_diff is the sum of the rows m of y_diff with index[m] = i.
 *
 * One block per row. Threads cover the columns; threads left over split the
 * rows m. The order is fixed: no atomics.
 *
 * @param indexed the number of rows of y_diff
 */
template <typename Dtype>
__global__ void ScatterAddRows(const int indexed, const int columns,
                               const Dtype* index, const Dtype* y_diff,
                               Dtype* x_diff) {
  __shared__ Dtype sums[kThreads];
  const int row = blockIdx.x, threads = blockDim.x, thread = threadIdx.x;
  const int width = columns < threads ? columns : threads;
  const int parts = threads / width;
  const int part = thread / width;
  for (int first = 0; first < columns; first += width) {
    const int column = first + thread % width;
    const bool is_used = part < parts && column < columns;
    Dtype sum = 0;
    for (int m = part; is_used && m < indexed; m += parts) {
      if (int(index[m]) == row) { sum += y_diff[m * columns + column]; }
    }
    sums[thread] = sum;
    __syncthreads();
    if (part == 0 && is_used) {
      for (int p = 1; p < parts; ++p) { sum += sums[p * width + thread]; }
      x_diff[row * columns + column] = sum;
    }
    __syncthreads();  // before the next columns overwrite the sums
  }
}

}  // namespace gpu
}  // namespace caffe

#endif  // DNNH_LAYERS_GPU_BATCH_REINDEX_KERNELS_HPP_
