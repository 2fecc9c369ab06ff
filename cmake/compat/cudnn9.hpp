// Adapts Caffe's cuDNN layers for convolution and deconvolution to cuDNN 9.
// Force-included there. It replaces functions that these layers call:
//
// Choice of algorithm: the functions for it were removed in cuDNN 8. Here all
// algorithms are measured when a shape is first seen, and the fastest is kept.
// Another run may choose another one, which rounds differently. With
// DNNH_DETERMINISTIC=1 in the environment, nothing is measured: cuDNN's
// heuristics for the card rank the algorithms, and only those are considered
// that give the same result each time.
//
// Arithmetic: cuDNN multiplies floats in TF32 (10 of 23 bits) by default. Here
// it uses float, and TF32 with DNNH_TF32=1 in the environment.
//
// Workspace: Caffe allows 8 MiB, too little for current cards. The limit here
// is a 512th of the card's memory, at most 128 MiB, since each layer keeps
// three workspaces per group. Sizes are rounded up to 256 bytes: Caffe places
// workspaces side by side, and cuDNN needs them aligned. If a workspace cannot
// be allocated, Caffe continues without one, with algorithms that may round
// differently each time. The CUDA error is cleared here; otherwise it would end
// the process at the next kernel.
#ifndef DNNH_COMPAT_CUDNN9_HPP_
#define DNNH_COMPAT_CUDNN9_HPP_

#include <cuda_runtime.h>
#include <cudnn.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <map>
#include <mutex>
#include <string>
#include <vector>

namespace dnnh_compat {

inline size_t WorkspaceLimit() {
  size_t unused = 0, total = 0;
  if (cudaMemGetInfo(&unused, &total) != cudaSuccess) { return 8 << 20; }
  return std::min<size_t>(total / 512, size_t(128) << 20);
}

// The key of a choice: the card, shapes, strides and the arithmetic.
using Shapes = std::vector<int>;

inline void Append(cudnnTensorDescriptor_t tensor, Shapes* shapes) {
  cudnnDataType_t type;
  std::array<int, 8> values;
  cudnnGetTensor4dDescriptor(tensor, &type, &values[0], &values[1], &values[2],
                             &values[3], &values[4], &values[5], &values[6],
                             &values[7]);
  shapes->push_back(type);
  shapes->insert(shapes->end(), values.begin(), values.end());
}

struct Convolution {
  cudnnHandle_t handle;
  cudnnTensorDescriptor_t bottom, top;
  cudnnFilterDescriptor_t filter;
  cudnnConvolutionDescriptor_t convolution;
};

inline Shapes ShapesOf(const Convolution& of) {
  Shapes shapes(1);
  cudaGetDevice(&shapes[0]);
  Append(of.bottom, &shapes);
  Append(of.top, &shapes);
  cudnnDataType_t type;
  cudnnTensorFormat_t format;
  cudnnConvolutionMode_t mode;
  cudnnMathType_t math;
  std::array<int, 4> sizes;
  cudnnGetFilter4dDescriptor(of.filter, &type, &format, &sizes[0], &sizes[1],
                             &sizes[2], &sizes[3]);
  shapes.insert(shapes.end(), sizes.begin(), sizes.end());
  std::array<int, 6> steps;
  cudnnGetConvolution2dDescriptor(of.convolution, &steps[0], &steps[1],
                                  &steps[2], &steps[3], &steps[4], &steps[5],
                                  &mode, &type);
  shapes.insert(shapes.end(), steps.begin(), steps.end());
  cudnnGetConvolutionMathType(of.convolution, &math);
  shapes.push_back(math);
  return shapes;
}

inline bool IsOn(const char* variable) {
  const char* setting = std::getenv(variable);
  return setting && std::string(setting) == "1";
}

// What cuDNN is asked, for each direction. Measure has it time all algorithms,
// Rank asks for its expectations; both sort them, the fastest first. Size fails
// for an algorithm that does not run.
inline cudnnStatus_t Measure(const Convolution& of, int room, int* count,
                             cudnnConvolutionFwdAlgoPerf_t* measured) {
  return cudnnFindConvolutionForwardAlgorithm(of.handle, of.bottom, of.filter,
                                              of.convolution, of.top, room,
                                              count, measured);
}
inline cudnnStatus_t Rank(const Convolution& of, int room, int* count,
                          cudnnConvolutionFwdAlgoPerf_t* expected) {
  return cudnnGetConvolutionForwardAlgorithm_v7(of.handle, of.bottom, of.filter,
                                                of.convolution, of.top, room,
                                                count, expected);
}
inline cudnnStatus_t Size(const Convolution& of,
                          cudnnConvolutionFwdAlgo_t algorithm, size_t* bytes) {
  return cudnnGetConvolutionForwardWorkspaceSize(of.handle, of.bottom,
                                                 of.filter, of.convolution,
                                                 of.top, algorithm, bytes);
}

inline cudnnStatus_t Measure(const Convolution& of, int room, int* count,
                             cudnnConvolutionBwdFilterAlgoPerf_t* measured) {
  return cudnnFindConvolutionBackwardFilterAlgorithm(
      of.handle, of.bottom, of.top, of.convolution, of.filter, room, count,
      measured);
}
inline cudnnStatus_t Rank(const Convolution& of, int room, int* count,
                          cudnnConvolutionBwdFilterAlgoPerf_t* expected) {
  return cudnnGetConvolutionBackwardFilterAlgorithm_v7(
      of.handle, of.bottom, of.top, of.convolution, of.filter, room, count,
      expected);
}
inline cudnnStatus_t Size(const Convolution& of,
                          cudnnConvolutionBwdFilterAlgo_t algorithm,
                          size_t* bytes) {
  return cudnnGetConvolutionBackwardFilterWorkspaceSize(
      of.handle, of.bottom, of.top, of.convolution, of.filter, algorithm,
      bytes);
}

inline cudnnStatus_t Measure(const Convolution& of, int room, int* count,
                             cudnnConvolutionBwdDataAlgoPerf_t* measured) {
  return cudnnFindConvolutionBackwardDataAlgorithm(of.handle, of.filter, of.top,
                                                   of.convolution, of.bottom,
                                                   room, count, measured);
}
inline cudnnStatus_t Rank(const Convolution& of, int room, int* count,
                          cudnnConvolutionBwdDataAlgoPerf_t* expected) {
  return cudnnGetConvolutionBackwardDataAlgorithm_v7(
      of.handle, of.filter, of.top, of.convolution, of.bottom, room, count,
      expected);
}
inline cudnnStatus_t Size(const Convolution& of,
                          cudnnConvolutionBwdDataAlgo_t algorithm,
                          size_t* bytes) {
  return cudnnGetConvolutionBackwardDataWorkspaceSize(
      of.handle, of.filter, of.top, of.convolution, of.bottom, algorithm,
      bytes);
}

// The choice for some shapes, and the size of its workspace.
template <typename Algo>
struct Choice {
  Algo algorithm;
  size_t bytes;
};

// The first of the ranked algorithms that fits: one that runs with the layer's
// arithmetic, in a workspace within the limit and, if asked for, with the same
// result each time. cuDNN lists an algorithm without tensor cores under
// CUDNN_DEFAULT_MATH alone.
template <typename Perf, typename Algo>
bool TakeFirst(const Convolution& of, const Perf* ranked, int count,
               cudnnMathType_t math, bool is_deterministic,
               Choice<Algo>* chosen) {
  const size_t limit = WorkspaceLimit();
  for (int i = 0; i < count; ++i) {
    const bool is_listed =
        std::any_of(ranked, ranked + count, [&](const Perf& other) {
          return other.algo == ranked[i].algo && other.mathType == math;
        });
    const bool is_of_math = ranked[i].mathType == math
        || (ranked[i].mathType == CUDNN_DEFAULT_MATH && !is_listed);
    size_t bytes = 0;
    if (ranked[i].status == CUDNN_STATUS_SUCCESS && is_of_math
        && (!is_deterministic || ranked[i].determinism == CUDNN_DETERMINISTIC)
        && Size(of, ranked[i].algo, &bytes) == CUDNN_STATUS_SUCCESS
        && bytes <= limit) {
      *chosen = {ranked[i].algo, (bytes + 255) / 256 * 256};
      return true;
    }
  }
  return false;
}

// The algorithms that were chosen, by shapes; one table for each direction.
template <typename Algo>
std::map<Shapes, Choice<Algo>>* Known() {
  static std::map<Shapes, Choice<Algo>> known;
  return &known;
}
inline std::mutex* KnownMutex() {
  static std::mutex mutex;
  return &mutex;
}

// The algorithm for a convolution: measured, unless it must be deterministic.
template <typename Perf, typename Algo>
cudnnStatus_t Choose(const Convolution& of, Algo* algorithm) {
  const Shapes shapes = ShapesOf(of);
  const std::lock_guard<std::mutex> lock(*KnownMutex());
  std::map<Shapes, Choice<Algo>>* known = Known<Algo>();
  const auto cached = known->find(shapes);
  if (cached != known->end()) {
    *algorithm = cached->second.algorithm;
    return CUDNN_STATUS_SUCCESS;
  }
  std::array<Perf, 16> ranked;
  const int room = ranked.size();
  const cudnnMathType_t math = cudnnMathType_t(shapes.back());
  int count = 0;
  Choice<Algo> chosen;
  bool is_chosen = !IsOn("DNNH_DETERMINISTIC")
      && Measure(of, room, &count, ranked.data()) == CUDNN_STATUS_SUCCESS
      && TakeFirst(of, ranked.data(), count, math, false, &chosen);
  // Measuring takes memory, of which there may be too little.
  cudaGetLastError();
  if (!is_chosen) {
    const cudnnStatus_t status = Rank(of, room, &count, ranked.data());
    if (status != CUDNN_STATUS_SUCCESS) { return status; }
    is_chosen = TakeFirst(of, ranked.data(), count, math, true, &chosen);
  }
  if (!is_chosen) { return CUDNN_STATUS_NOT_SUPPORTED; }
  (*known)[shapes] = chosen;
  *algorithm = chosen.algorithm;
  return CUDNN_STATUS_SUCCESS;
}

// The size of a workspace, in whole 256 bytes. Caffe asks before every pass,
// and cuDNN takes long to answer: that of a chosen algorithm is known already.
template <typename Algo>
cudnnStatus_t WorkspaceSize(const Convolution& of, Algo algorithm,
                            size_t* bytes) {
  {
    const std::lock_guard<std::mutex> lock(*KnownMutex());
    const auto cached = Known<Algo>()->find(ShapesOf(of));
    if (cached != Known<Algo>()->end()
        && cached->second.algorithm == algorithm) {
      *bytes = cached->second.bytes;
      return CUDNN_STATUS_SUCCESS;
    }
  }
  const cudnnStatus_t status = Size(of, algorithm, bytes);
  *bytes = (*bytes + 255) / 256 * 256;
  return status;
}

// What Caffe calls: each direction has its own order of arguments.

inline cudnnStatus_t ForwardAlgorithm(cudnnHandle_t handle,
                                      cudnnTensorDescriptor_t bottom,
                                      cudnnFilterDescriptor_t filter,
                                      cudnnConvolutionDescriptor_t convolution,
                                      cudnnTensorDescriptor_t top,
                                      int /*preference*/, size_t /*limit*/,
                                      cudnnConvolutionFwdAlgo_t* chosen) {
  return Choose<cudnnConvolutionFwdAlgoPerf_t>(
      {handle, bottom, top, filter, convolution}, chosen);
}

inline cudnnStatus_t BackwardFilterAlgorithm(
    cudnnHandle_t handle, cudnnTensorDescriptor_t bottom,
    cudnnTensorDescriptor_t top, cudnnConvolutionDescriptor_t convolution,
    cudnnFilterDescriptor_t filter, int /*preference*/, size_t /*limit*/,
    cudnnConvolutionBwdFilterAlgo_t* chosen) {
  return Choose<cudnnConvolutionBwdFilterAlgoPerf_t>(
      {handle, bottom, top, filter, convolution}, chosen);
}

inline cudnnStatus_t BackwardDataAlgorithm(
    cudnnHandle_t handle, cudnnFilterDescriptor_t filter,
    cudnnTensorDescriptor_t top, cudnnConvolutionDescriptor_t convolution,
    cudnnTensorDescriptor_t bottom, int /*preference*/, size_t /*limit*/,
    cudnnConvolutionBwdDataAlgo_t* chosen) {
  return Choose<cudnnConvolutionBwdDataAlgoPerf_t>(
      {handle, bottom, top, filter, convolution}, chosen);
}

inline cudnnStatus_t ForwardWorkspaceSize(
    cudnnHandle_t handle, cudnnTensorDescriptor_t bottom,
    cudnnFilterDescriptor_t filter, cudnnConvolutionDescriptor_t convolution,
    cudnnTensorDescriptor_t top, cudnnConvolutionFwdAlgo_t algorithm,
    size_t* bytes) {
  return WorkspaceSize({handle, bottom, top, filter, convolution}, algorithm,
                       bytes);
}

inline cudnnStatus_t BackwardFilterWorkspaceSize(
    cudnnHandle_t handle, cudnnTensorDescriptor_t bottom,
    cudnnTensorDescriptor_t top, cudnnConvolutionDescriptor_t convolution,
    cudnnFilterDescriptor_t filter, cudnnConvolutionBwdFilterAlgo_t algorithm,
    size_t* bytes) {
  return WorkspaceSize({handle, bottom, top, filter, convolution}, algorithm,
                       bytes);
}

inline cudnnStatus_t BackwardDataWorkspaceSize(
    cudnnHandle_t handle, cudnnFilterDescriptor_t filter,
    cudnnTensorDescriptor_t top, cudnnConvolutionDescriptor_t convolution,
    cudnnTensorDescriptor_t bottom, cudnnConvolutionBwdDataAlgo_t algorithm,
    size_t* bytes) {
  return WorkspaceSize({handle, bottom, top, filter, convolution}, algorithm,
                       bytes);
}

template <typename Value>
cudaError_t Malloc(Value** memory, size_t bytes) {
  const cudaError_t status = cudaMalloc(memory, bytes);
  if (status != cudaSuccess) { cudaGetLastError(); }
  return status;
}

inline cudnnStatus_t SetConvolution(cudnnConvolutionDescriptor_t convolution,
                                    int pad_h, int pad_w, int stride_h,
                                    int stride_w, int dilation_h,
                                    int dilation_w, cudnnConvolutionMode_t mode,
                                    cudnnDataType_t type) {
  const cudnnStatus_t status = cudnnSetConvolution2dDescriptor(
      convolution, pad_h, pad_w, stride_h, stride_w, dilation_h, dilation_w,
      mode, type);
  if (status != CUDNN_STATUS_SUCCESS) { return status; }
  return cudnnSetConvolutionMathType(
      convolution, IsOn("DNNH_TF32") ? CUDNN_DEFAULT_MATH : CUDNN_FMA_MATH);
}

}  // namespace dnnh_compat

#define CUDNN_CONVOLUTION_FWD_SPECIFY_WORKSPACE_LIMIT 0
#define CUDNN_CONVOLUTION_BWD_FILTER_SPECIFY_WORKSPACE_LIMIT 0
#define CUDNN_CONVOLUTION_BWD_DATA_SPECIFY_WORKSPACE_LIMIT 0
#define cudnnGetConvolutionForwardAlgorithm dnnh_compat::ForwardAlgorithm
#define cudnnGetConvolutionBackwardFilterAlgorithm \
  dnnh_compat::BackwardFilterAlgorithm
#define cudnnGetConvolutionBackwardDataAlgorithm \
  dnnh_compat::BackwardDataAlgorithm
#define cudaMalloc dnnh_compat::Malloc
#define cudnnSetConvolution2dDescriptor dnnh_compat::SetConvolution
#define cudnnGetConvolutionForwardWorkspaceSize \
  dnnh_compat::ForwardWorkspaceSize
#define cudnnGetConvolutionBackwardFilterWorkspaceSize \
  dnnh_compat::BackwardFilterWorkspaceSize
#define cudnnGetConvolutionBackwardDataWorkspaceSize \
  dnnh_compat::BackwardDataWorkspaceSize

#endif  // DNNH_COMPAT_CUDNN9_HPP_
