#include <vector>

#include "caffe/util/math_functions.hpp"

#include "layers/divide_and_encode_layer.hpp"

namespace caffe {

// y, num x bits: thread k is value (n, i) = (k / bits, k % bits) and adds its
// slice in the order of the features, as the CPU does.
template <typename Dtype>
__global__ void EncodeSlices(const int count, const int bits,
                             const int features, const FeatureSlices slices,
                             const Dtype* x, const Dtype* weights,
                             const Dtype* bias, Dtype* y) {
  CUDA_KERNEL_LOOP(k, count) {
    const int n = k / bits;
    const int i = k % bits;
    Dtype sum = bias ? bias[i] : Dtype(0);
    for (int j = slices.begin(i); j < slices.begin(i + 1); ++j) {
      sum += weights[j] * x[n * features + j];
    }
    y[k] = sum;
  }
}

// weights_diff, features: thread j adds over the batch in order, so that no
// atomics are needed and the sum is the same in every run.
template <typename Dtype>
__global__ void EncodeWeightsGradient(const int features, const int num,
                                      const int bits,
                                      const FeatureSlices slices,
                                      const Dtype* x, const Dtype* y_diff,
                                      Dtype* weights_diff) {
  CUDA_KERNEL_LOOP(j, features) {
    const int i = slices.bit(j);
    Dtype sum = weights_diff[j];
    for (int n = 0; n < num; ++n) {
      sum += x[n * features + j] * y_diff[n * bits + i];
    }
    weights_diff[j] = sum;
  }
}

// bias_diff, bits: thread i adds over the batch in order.
template <typename Dtype>
__global__ void EncodeBiasGradient(const int bits, const int num,
                                   const Dtype* y_diff, Dtype* bias_diff) {
  CUDA_KERNEL_LOOP(i, bits) {
    Dtype sum = bias_diff[i];
    for (int n = 0; n < num; ++n) { sum += y_diff[n * bits + i]; }
    bias_diff[i] = sum;
  }
}

// x_diff, num x features: thread k is feature (n, j) = (k / features,
// k % features).
template <typename Dtype>
__global__ void EncodeFeaturesGradient(const int count, const int features,
                                       const int bits,
                                       const FeatureSlices slices,
                                       const Dtype* weights,
                                       const Dtype* y_diff, Dtype* x_diff) {
  CUDA_KERNEL_LOOP(k, count) {
    const int n = k / features;
    const int j = k % features;
    x_diff[k] = weights[j] * y_diff[n * bits + slices.bit(j)];
  }
}

template <typename Dtype>
void DivideAndEncodeLayer<Dtype>::Forward_gpu(
    const vector<Blob<Dtype>*>& bottom, const vector<Blob<Dtype>*>& top) {
  const int count = top[0]->count();
  if (count == 0) { return; }
  EncodeSlices<Dtype><<<CAFFE_GET_BLOCKS(count), CAFFE_CUDA_NUM_THREADS>>>(
      count, bits_, features_, slices(), bottom[0]->gpu_data(),
      this->blobs_[0]->gpu_data(),
      bias_term_ ? this->blobs_[1]->gpu_data() : NULL,
      top[0]->mutable_gpu_data());
  CUDA_POST_KERNEL_CHECK;
}

template <typename Dtype>
void DivideAndEncodeLayer<Dtype>::Backward_gpu(
    const vector<Blob<Dtype>*>& top, const vector<bool>& propagate_down,
    const vector<Blob<Dtype>*>& bottom) {
  const int num = top[0]->shape(0);
  if (num == 0) { return; }
  const Dtype* y_diff = top[0]->gpu_diff();
  if (this->param_propagate_down_[0]) {
    EncodeWeightsGradient<Dtype>
        <<<CAFFE_GET_BLOCKS(features_), CAFFE_CUDA_NUM_THREADS>>>(
            features_, num, bits_, slices(), bottom[0]->gpu_data(), y_diff,
            this->blobs_[0]->mutable_gpu_diff());
    CUDA_POST_KERNEL_CHECK;
  }
  if (bias_term_ && this->param_propagate_down_[1]) {
    EncodeBiasGradient<Dtype>
        <<<CAFFE_GET_BLOCKS(bits_), CAFFE_CUDA_NUM_THREADS>>>(
            bits_, num, y_diff, this->blobs_[1]->mutable_gpu_diff());
    CUDA_POST_KERNEL_CHECK;
  }
  if (propagate_down[0]) {
    const int count = bottom[0]->count();
    EncodeFeaturesGradient<Dtype>
        <<<CAFFE_GET_BLOCKS(count), CAFFE_CUDA_NUM_THREADS>>>(
            count, features_, bits_, slices(), this->blobs_[0]->gpu_data(),
            y_diff, bottom[0]->mutable_gpu_diff());
    CUDA_POST_KERNEL_CHECK;
  }
}

INSTANTIATE_LAYER_GPU_FUNCS(DivideAndEncodeLayer);

}  // namespace caffe
