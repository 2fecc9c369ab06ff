#include <vector>

#include "layers/gpu/launch.hpp"
#include "layers/piecewise_threshold_layer.hpp"

#include "layers/gpu/piecewise_threshold_kernels.hpp"

namespace caffe {

template <typename Dtype>
void PiecewiseThresholdLayer<Dtype>::Forward_gpu(
    const vector<Blob<Dtype>*>& bottom, const vector<Blob<Dtype>*>& top) {
  Schedule();
  const int count = bottom[0]->count();
  gpu::ForEach(gpu::PiecewiseThresholdForward<Dtype>, count, count,
               bottom[0]->gpu_data(), epsilon_, top[0]->mutable_gpu_data());
}

template <typename Dtype>
void PiecewiseThresholdLayer<Dtype>::Backward_gpu(
    const vector<Blob<Dtype>*>& top, const vector<bool>& propagate_down,
    const vector<Blob<Dtype>*>& bottom) {
  if (!propagate_down[0]) { return; }
  const int count = bottom[0]->count();
  gpu::ForEach(gpu::PiecewiseThresholdBackward<Dtype>, count, count,
               bottom[0]->gpu_data(), epsilon_, top[0]->gpu_diff(),
               bottom[0]->mutable_gpu_diff());
}

INSTANTIATE_LAYER_GPU_FUNCS(PiecewiseThresholdLayer);

}  // namespace caffe
