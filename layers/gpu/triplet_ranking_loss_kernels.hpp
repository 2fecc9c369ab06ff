#ifndef DNNH_LAYERS_GPU_TRIPLET_RANKING_LOSS_KERNELS_HPP_
#define DNNH_LAYERS_GPU_TRIPLET_RANKING_LOSS_KERNELS_HPP_

#include "layers/gpu/block_sum.hpp"
#include "layers/triplet_ranking_loss_layer.hpp"

namespace caffe {
namespace gpu {

/// hinge[n] = sum over the bits of TripletTerm, plus the margin. A thread adds
/// the bits of a triplet in order, as the CPU does.
template <typename Dtype>
__global__ void TripletHinge(const int num, const int bits, const Dtype* query,
                             const Dtype* positive, const Dtype* negative,
                             const Dtype margin, Dtype* hinge) {
  CUDA_KERNEL_LOOP(n, num) {
    Dtype sum = 0;
    for (int i = n * bits; i < (n + 1) * bits; ++i) {
      sum += TripletTerm(query[i], positive[i], negative[i]);
    }
    hinge[n] = sum + margin;
  }
}

/// The mean of the active hinges over all triplets, and the share of active
/// triplets if `active` is not null. For a single block.
template <typename Dtype>
__global__ void TripletSummary(const int num, const Dtype* hinge, Dtype* loss,
                               Dtype* active) {
  Dtype sum = 0, count = 0;
  for (int n = threadIdx.x; n < num; n += blockDim.x) {
    if (!HingeIsActive(hinge[n])) { continue; }
    sum += hinge[n];
    count += 1;
  }
  sum = BlockSum(sum);
  count = BlockSum(count);
  if (threadIdx.x > 0) { return; }
  *loss = sum / num;
  if (active) { *active = count / num; }
}

/// diff of one member of the triplets, num x bits; value i is
/// (n, bit) = (i / bits, i % bits).
template <typename Dtype>
__global__ void TripletGradient(const int count, const int bits,
                                const int member, const Dtype* query,
                                const Dtype* positive, const Dtype* negative,
                                const Dtype* hinge, const Dtype scale,
                                Dtype* diff) {
  CUDA_KERNEL_LOOP(i, count) {
    const Dtype gradient =
        TripletTermGradient(member, query[i], positive[i], negative[i]);
    diff[i] = HingeIsActive(hinge[i / bits]) ? scale * gradient : Dtype(0);
  }
}

}  // namespace gpu
}  // namespace caffe

#endif  // DNNH_LAYERS_GPU_TRIPLET_RANKING_LOSS_KERNELS_HPP_
