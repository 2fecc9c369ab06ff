#include <vector>

#include "caffe/util/math_functions.hpp"

#include "layers/piecewise_threshold_layer.hpp"

namespace caffe {

// g(s), element by element; s and g may be the same blob.
template <typename Dtype>
__global__ void PiecewiseThresholdForward(const int count, const Dtype* s,
                                          const Dtype epsilon, Dtype* g) {
  CUDA_KERNEL_LOOP(i, count) { g[i] = PiecewiseThreshold(s[i], epsilon); }
}

template <typename Dtype>
__global__ void PiecewiseThresholdBackward(const int count, const Dtype* s,
                                           const Dtype epsilon,
                                           const Dtype* top_diff,
                                           Dtype* bottom_diff) {
  CUDA_KERNEL_LOOP(i, count) {
    bottom_diff[i] = PiecewiseInside(s[i], epsilon) ? top_diff[i] : Dtype(0);
  }
}

template <typename Dtype>
void PiecewiseThresholdLayer<Dtype>::Forward_gpu(
    const vector<Blob<Dtype>*>& bottom, const vector<Blob<Dtype>*>& top) {
  Schedule();
  const int count = bottom[0]->count();
  if (count == 0) { return; }
  PiecewiseThresholdForward<Dtype>
      <<<CAFFE_GET_BLOCKS(count), CAFFE_CUDA_NUM_THREADS>>>(
          count, bottom[0]->gpu_data(), epsilon_, top[0]->mutable_gpu_data());
  CUDA_POST_KERNEL_CHECK;
}

template <typename Dtype>
void PiecewiseThresholdLayer<Dtype>::Backward_gpu(
    const vector<Blob<Dtype>*>& top, const vector<bool>& propagate_down,
    const vector<Blob<Dtype>*>& bottom) {
  const int count = bottom[0]->count();
  if (!propagate_down[0] || count == 0) { return; }
  PiecewiseThresholdBackward<Dtype>
      <<<CAFFE_GET_BLOCKS(count), CAFFE_CUDA_NUM_THREADS>>>(
          count, bottom[0]->gpu_data(), epsilon_, top[0]->gpu_diff(),
          bottom[0]->mutable_gpu_diff());
  CUDA_POST_KERNEL_CHECK;
}

INSTANTIATE_LAYER_GPU_FUNCS(PiecewiseThresholdLayer);

}  // namespace caffe
