#ifndef DNNH_LAYERS_GPU_CHANNEL_KERNELS_HPP_
#define DNNH_LAYERS_GPU_CHANNEL_KERNELS_HPP_

#include <vector>

#include "caffe/blob.hpp"

#include "layers/gpu/block_sum.hpp"
#include "layers/host_device.hpp"

namespace caffe {
namespace gpu {

/// A batch of num x channels x spatial values.
struct ChannelShape {
  int num, channels, spatial;

  DNNH_HOST_DEVICE int count() const { return num * channels * spatial; }
  /// The channel of a value.
  DNNH_HOST_DEVICE int channel(int i) const { return i / spatial % channels; }
  /// In how many parts a channel is added up, a block each.
  int parts() const {
    const int wanted = (kManyBlocks + channels - 1) / channels;
    return wanted < num ? wanted : num;
  }
};

/**
 * @brief Two sums of each channel, in parts: of f, and of f g.
 *
 * Block (c, p) = (block / parts, block % parts) stores those of part p of
 * channel c in sums[block] and sums[blocks + block].
 *
 * @param is_shifted subtract a channel's first value of f from f and g:
 *        subtracting a typical value avoids cancellation
 */
template <typename Dtype>
__global__ void PartialChannelSums(const ChannelShape shape, const int parts,
                                   const bool is_shifted, const Dtype* f,
                                   const Dtype* g, Dtype* sums) {
  const int channel = blockIdx.x / parts;
  const int part = blockIdx.x % parts;
  const int begin = int64_t(part) * shape.num / parts;
  const int images = int64_t(part + 1) * shape.num / parts - begin;
  const Dtype shift = is_shifted ? f[channel * shape.spatial] : Dtype(0);
  Dtype sum = 0, products = 0;
  for (int k = threadIdx.x; k < images * shape.spatial; k += blockDim.x) {
    const int n = begin + k / shape.spatial;
    const int i =
        (n * shape.channels + channel) * shape.spatial + k % shape.spatial;
    const Dtype value = f[i] - shift;
    sum += value;
    products += value * (g[i] - shift);
  }
  sum = BlockSum(sum);
  products = BlockSum(products);
  if (threadIdx.x > 0) { return; }
  sums[blockIdx.x] = sum;
  sums[gridDim.x + blockIdx.x] = products;
}

/// Starts PartialChannelSums; `sums` gets the shape that it needs.
template <typename Dtype>
void StartPartialChannelSums(const ChannelShape& shape, bool is_shifted,
                             const Dtype* f, const Dtype* g,
                             Blob<Dtype>* sums) {
  const int blocks = shape.channels * shape.parts();
  sums->Reshape(vector<int>{2, blocks});
  ForEachBlock(PartialChannelSums<Dtype>, blocks, shape, shape.parts(),
               is_shifted, f, g, sums->mutable_gpu_data());
}

/// Adds the parts of a channel, in order.
template <typename Dtype>
__device__ inline Dtype AddParts(const Dtype* sums, int channel, int parts) {
  Dtype sum = 0;
  for (int part = 0; part < parts; ++part) {
    sum += sums[channel * parts + part];
  }
  return sum;
}

/// The two sums of each channel: `total` is 2 x channels.
template <typename Dtype>
__global__ void ReduceChannelSums(const int channels, const int parts,
                                  const Dtype* sums, Dtype* total) {
  CUDA_KERNEL_LOOP(k, 2 * channels) { total[k] = AddParts(sums, k, parts); }
}

/// Adds the two sums of each channel to `first` and `second`; either may be
/// null.
template <typename Dtype>
__global__ void AccumulateChannelSums(const int channels, const int parts,
                                      const Dtype* sums, Dtype* first,
                                      Dtype* second) {
  CUDA_KERNEL_LOOP(c, channels) {
    if (first) { first[c] += AddParts(sums, c, parts); }
    if (second) { second[c] += AddParts(sums, channels + c, parts); }
  }
}

/// y = x factor + shift, with a factor and, unless null, a shift for each
/// channel. Unless null, `copy` gets x: x and y may be the same.
template <typename Dtype>
__global__ void ScaleChannels(const ChannelShape shape, const Dtype* x,
                              const Dtype* factor, const Dtype* shift,
                              Dtype* copy, Dtype* y) {
  CUDA_KERNEL_LOOP(i, shape.count()) {
    const int c = shape.channel(i);
    const Dtype value = x[i];
    if (copy) { copy[i] = value; }
    y[i] = value * factor[c] + (shift ? shift[c] : Dtype(0));
  }
}

/// y = (x - mean) inverse_std; unless null, `copy` gets y too.
template <typename Dtype>
__global__ void NormalizeChannels(const ChannelShape shape, const Dtype* x,
                                  const Dtype* mean, const Dtype* inverse_std,
                                  Dtype* copy, Dtype* y) {
  CUDA_KERNEL_LOOP(i, shape.count()) {
    const int c = shape.channel(i);
    const Dtype value = (x[i] - mean[c]) * inverse_std[c];
    if (copy) { copy[i] = value; }
    y[i] = value;
  }
}

}  // namespace gpu
}  // namespace caffe

#endif  // DNNH_LAYERS_GPU_CHANNEL_KERNELS_HPP_
