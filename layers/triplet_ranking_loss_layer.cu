#include <vector>

#include "caffe/util/math_functions.hpp"

#include "layers/triplet_ranking_loss_layer.hpp"

namespace caffe {

// hinge[n] = sum over the bits of TripletTerm, plus the margin. One thread per
// triplet adds its bits in order, as the CPU does: no atomics, and the same sum
// in every run.
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

// diff of one member of the triplets, num x bits; thread i is value
// (n, bit) = (i / bits, i % bits).
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

template <typename Dtype>
void TripletRankingLossLayer<Dtype>::Forward_gpu(
    const vector<Blob<Dtype>*>& bottom, const vector<Blob<Dtype>*>& top) {
  const int num = hinge_.count();
  const int bits = bottom[0]->count() / num;
  TripletHinge<Dtype><<<CAFFE_GET_BLOCKS(num), CAFFE_CUDA_NUM_THREADS>>>(
      num, bits, bottom[0]->gpu_data(), bottom[1]->gpu_data(),
      bottom[2]->gpu_data(), margin_, hinge_.mutable_gpu_data());
  CUDA_POST_KERNEL_CHECK;
  // Copies the N hinges to the host, where the solver reads the loss anyway.
  Summarize(top);
}

template <typename Dtype>
void TripletRankingLossLayer<Dtype>::Backward_gpu(
    const vector<Blob<Dtype>*>& top, const vector<bool>& propagate_down,
    const vector<Blob<Dtype>*>& bottom) {
  const int num = hinge_.count();
  const int count = bottom[0]->count();
  const Dtype scale = top[0]->cpu_diff()[0] / num;  // lambda / N
  for (int member = 0; member < 3; ++member) {
    if (!propagate_down[member]) { continue; }
    TripletGradient<Dtype><<<CAFFE_GET_BLOCKS(count), CAFFE_CUDA_NUM_THREADS>>>(
        count, count / num, member, bottom[0]->gpu_data(),
        bottom[1]->gpu_data(), bottom[2]->gpu_data(), hinge_.gpu_data(), scale,
        bottom[member]->mutable_gpu_diff());
    CUDA_POST_KERNEL_CHECK;
  }
}

INSTANTIATE_LAYER_GPU_FUNCS(TripletRankingLossLayer);

}  // namespace caffe
