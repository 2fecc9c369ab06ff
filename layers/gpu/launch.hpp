#ifndef DNNH_LAYERS_GPU_LAUNCH_HPP_
#define DNNH_LAYERS_GPU_LAUNCH_HPP_

#include "caffe/util/device_alternate.hpp"

// How kernels are started. tests/layers/gpu/serial_launch.hpp has the same
// functions for a machine without a GPU, and takes this header's place there.
namespace caffe {
namespace gpu {

/// Threads of a block, a power of two.
const int kThreads = CAFFE_CUDA_NUM_THREADS;
/// Enough blocks to keep a GPU busy.
const int kManyBlocks = 1024;

/// Runs a kernel with at least one thread for each of `count` values.
template <typename... Parameters, typename... Arguments>
void ForEach(void (*kernel)(Parameters...), int count, Arguments... arguments) {
  if (count == 0) { return; }
  kernel<<<CAFFE_GET_BLOCKS(count), kThreads>>>(arguments...);
  CUDA_POST_KERNEL_CHECK;
}

/// Runs a kernel with a number of blocks, each of kThreads threads.
template <typename... Parameters, typename... Arguments>
void ForEachBlock(void (*kernel)(Parameters...), int blocks,
                  Arguments... arguments) {
  if (blocks == 0) { return; }
  kernel<<<blocks, kThreads>>>(arguments...);
  CUDA_POST_KERNEL_CHECK;
}

}  // namespace gpu
}  // namespace caffe

#endif  // DNNH_LAYERS_GPU_LAUNCH_HPP_
