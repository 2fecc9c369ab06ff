#ifndef DNNH_TESTS_LAYERS_GPU_SERIAL_LAUNCH_HPP_
#define DNNH_TESTS_LAYERS_GPU_SERIAL_LAUNCH_HPP_

// Takes the place of layers/gpu/launch.hpp where there is no GPU: kernels are
// functions, and run on the CPU, thread by thread.
#define DNNH_LAYERS_GPU_LAUNCH_HPP_

#include <pthread.h>

#include <thread>
#include <vector>

#include "layers/gpu/serial_grid.hpp"

#undef __global__
#undef __device__
#undef __shared__
#define __global__
#define __device__
#define __shared__ static  // blocks run one after the other
#define __syncthreads() caffe::gpu::SyncThreads()

#undef CUDA_KERNEL_LOOP
#define CUDA_KERNEL_LOOP(i, n)                                 \
  for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < (n); \
       i += blockDim.x * gridDim.x)

namespace caffe {
namespace gpu {

struct Index {
  int x;
};
static thread_local Index threadIdx, blockIdx, blockDim, gridDim;

const int kThreads = 16;  // of a block, at most
const int kManyBlocks = 10;

static pthread_barrier_t barrier;  // of the block that runs
inline void SyncThreads() { pthread_barrier_wait(&barrier); }

// Grids (blocks, threads): results must not depend on them. Some do not divide
// what there is to do. See SerialGrid in serial_grid.hpp.
const Index kGrids[kSerialGrids][2] = {
    {{1}, {1}}, {{3}, {5}}, {{1}, {16}}, {{7}, {2}}};
// Threads of a block that work together, a power of two.
const int kBlocks[kSerialGrids] = {1, 4, 16, 2};

/// Runs a kernel thread by thread, with some grids from the last to the first:
/// no thread may depend on another.
template <typename... Parameters, typename... Arguments>
void ForEach(void (*kernel)(Parameters...), int count, Arguments... arguments) {
  if (count == 0) { return; }
  gridDim = kGrids[SerialGrid()][0];
  blockDim = kGrids[SerialGrid()][1];
  const int threads = gridDim.x * blockDim.x;
  for (int i = 0; i < threads; ++i) {
    const int thread = SerialGrid() % 2 ? threads - 1 - i : i;
    blockIdx.x = thread / blockDim.x;
    threadIdx.x = thread % blockDim.x;
    kernel(arguments...);
  }
}

/// Runs a kernel block by block, the threads of a block at the same time.
template <typename... Parameters, typename... Arguments>
void ForEachBlock(void (*kernel)(Parameters...), int blocks,
                  Arguments... arguments) {
  const int threads = kBlocks[SerialGrid()];
  for (int block = 0; block < blocks; ++block) {
    pthread_barrier_init(&barrier, NULL, threads);
    std::vector<std::thread> running;
    for (int thread = 0; thread < threads; ++thread) {
      running.emplace_back([=] {
        gridDim.x = blocks;
        blockDim.x = threads;
        blockIdx.x = block;
        threadIdx.x = thread;
        kernel(arguments...);
      });
    }
    for (std::thread& thread : running) { thread.join(); }
    pthread_barrier_destroy(&barrier);
  }
}

}  // namespace gpu
}  // namespace caffe

#endif  // DNNH_TESTS_LAYERS_GPU_SERIAL_LAUNCH_HPP_
