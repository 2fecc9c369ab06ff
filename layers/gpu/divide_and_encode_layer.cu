#include <vector>

#include "layers/divide_and_encode_layer.hpp"
#include "layers/gpu/launch.hpp"

#include "layers/gpu/divide_and_encode_kernels.hpp"

namespace caffe {

template <typename Dtype>
void DivideAndEncodeLayer<Dtype>::Forward_gpu(
    const vector<Blob<Dtype>*>& bottom, const vector<Blob<Dtype>*>& top) {
  const int count = top[0]->count();
  if (count == 0) { return; }
  gpu::ForEach(gpu::EncodeSlices<Dtype>, count, count, bits_, features_,
               slices(), bottom[0]->gpu_data(), this->blobs_[0]->gpu_data(),
               bias_term_ ? this->blobs_[1]->gpu_data() : NULL,
               top[0]->mutable_gpu_data());
}

template <typename Dtype>
void DivideAndEncodeLayer<Dtype>::Backward_gpu(
    const vector<Blob<Dtype>*>& top, const vector<bool>& propagate_down,
    const vector<Blob<Dtype>*>& bottom) {
  const int num = top[0]->shape(0);
  if (num == 0) { return; }
  const Dtype* y_diff = top[0]->gpu_diff();
  if (this->param_propagate_down_[0]) {
    gpu::ForEach(gpu::EncodeWeightsGradient<Dtype>, features_, features_, num,
                 bits_, slices(), bottom[0]->gpu_data(), y_diff,
                 this->blobs_[0]->mutable_gpu_diff());
  }
  if (bias_term_ && this->param_propagate_down_[1]) {
    gpu::ForEach(gpu::EncodeBiasGradient<Dtype>, bits_, bits_, num, y_diff,
                 this->blobs_[1]->mutable_gpu_diff());
  }
  if (propagate_down[0]) {
    const int count = bottom[0]->count();
    gpu::ForEach(gpu::EncodeFeaturesGradient<Dtype>, count, count, features_,
                 bits_, slices(), this->blobs_[0]->gpu_data(), y_diff,
                 bottom[0]->mutable_gpu_diff());
  }
}

INSTANTIATE_LAYER_GPU_FUNCS(DivideAndEncodeLayer);

}  // namespace caffe
