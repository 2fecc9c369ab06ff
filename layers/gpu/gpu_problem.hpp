#ifndef DNNH_LAYERS_GPU_GPU_PROBLEM_HPP_
#define DNNH_LAYERS_GPU_GPU_PROBLEM_HPP_

#include <cstddef>
#include <string>

namespace caffe {

/**
 * @brief Why a GPU cannot be used, in a sentence; empty if it can. It is then
 *        the current device of the calling thread.
 *
 * @param device its number; the first is 0
 */
std::string GpuProblem(int device);

/// What to say where the current device has no more `bytes` of memory.
std::string GpuMemoryProblem(size_t bytes);

}  // namespace caffe

#endif  // DNNH_LAYERS_GPU_GPU_PROBLEM_HPP_
