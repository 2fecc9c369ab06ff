#include <vector>

#include "layers/gpu/launch.hpp"
#include "layers/triplet_ranking_loss_layer.hpp"

#include "layers/gpu/triplet_ranking_loss_kernels.hpp"

namespace caffe {

template <typename Dtype>
void TripletRankingLossLayer<Dtype>::Forward_gpu(
    const vector<Blob<Dtype>*>& bottom, const vector<Blob<Dtype>*>& top) {
  const int num = hinge_.count();
  const int bits = bottom[0]->count() / num;
  gpu::ForEach(gpu::TripletHinge<Dtype>, num, num, bits, bottom[0]->gpu_data(),
               bottom[1]->gpu_data(), bottom[2]->gpu_data(), margin_,
               hinge_.mutable_gpu_data());
  // On the GPU, so that the host waits once: where Layer::Forward takes the
  // loss.
  gpu::ForEachBlock(gpu::TripletSummary<Dtype>, 1, num, hinge_.gpu_data(),
                    top[0]->mutable_gpu_data(),
                    top.size() == 2 ? top[1]->mutable_gpu_data() : NULL);
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
    gpu::ForEach(gpu::TripletGradient<Dtype>, count, count, count / num, member,
                 bottom[0]->gpu_data(), bottom[1]->gpu_data(),
                 bottom[2]->gpu_data(), hinge_.gpu_data(), scale,
                 bottom[member]->mutable_gpu_diff());
  }
}

INSTANTIATE_LAYER_GPU_FUNCS(TripletRankingLossLayer);

}  // namespace caffe
