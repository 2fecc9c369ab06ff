#include "layers/resize_layer.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

#include "caffe/util/math_functions.hpp"

namespace caffe {

namespace {

// Keys, equation 4, with a = -0.5.
double Cubic(double x) {
  x = std::abs(x);
  if (x < 1) { return (1.5 * x - 2.5) * x * x + 1; }
  return x < 2 ? ((-0.5 * x + 2.5) * x - 4) * x + 2 : 0;
}

// The weights of `from` inputs in each of `to` outputs.
template <typename Dtype>
void SetWeights(int from, int to, Blob<Dtype>* weights) {
  weights->Reshape({to, from});
  Dtype* row = weights->mutable_cpu_data();
  const double step = double(from) / to, width = std::max(step, 1.);
  for (int i = 0; i < to; ++i, row += from) {
    const double centre = (i + 0.5) * step;
    double sum = 0;
    for (int j = 0; j < from; ++j) { sum += Cubic((j + 0.5 - centre) / width); }
    for (int j = 0; j < from; ++j) {
      row[j] = Cubic((j + 0.5 - centre) / width) / sum;
    }
  }
}

}  // namespace

template <typename Dtype>
void ResizeLayer<Dtype>::LayerSetUp(const vector<Blob<Dtype>*>& bottom,
                                    const vector<Blob<Dtype>*>& top) {
  const uint32_t size = this->layer_param_.resize_param().size();
  CHECK(size >= 1 && size <= 4096)
      << "Resize layer '" << this->layer_param_.name() << "': size is " << size
      << ", it must be from 1 to 4096, for example resize_param { size: 129 }";
}

template <typename Dtype>
void ResizeLayer<Dtype>::Reshape(const vector<Blob<Dtype>*>& bottom,
                                 const vector<Blob<Dtype>*>& top) {
  CHECK_NE(bottom[0], top[0])
      << "Resize layer '" << this->layer_param_.name() << "': top and bottom"
      << " are one blob; it cannot work in place, name another top";
  CHECK(bottom[0]->num_axes() == 4 && bottom[0]->count(2) > 0)
      << "Resize layer '" << this->layer_param_.name() << "': the images have"
      << " shape " << bottom[0]->shape_string()
      << "; it must be N x C x H x W, for example 64 x 3 x 32 x 32";
  const int size = this->layer_param_.resize_param().size();
  top[0]->Reshape({bottom[0]->shape(0), bottom[0]->shape(1), size, size});
  SetWeights(bottom[0]->shape(2), size, &rows_);
  SetWeights(bottom[0]->shape(3), size, &columns_);
  half_.Reshape({size, bottom[0]->shape(3)});
}

template <typename Dtype>
void ResizeLayer<Dtype>::Forward_cpu(const vector<Blob<Dtype>*>& bottom,
                                     const vector<Blob<Dtype>*>& top) {
  const int height = bottom[0]->shape(2), width = bottom[0]->shape(3);
  const int size = top[0]->shape(2), channels = bottom[0]->count(0, 2);
  for (int c = 0; c < channels; ++c) {
    caffe_cpu_gemm<Dtype>(CblasNoTrans, CblasNoTrans, size, width, height, 1,
                          rows_.cpu_data(),
                          bottom[0]->cpu_data() + c * height * width, 0,
                          half_.mutable_cpu_data());
    caffe_cpu_gemm<Dtype>(CblasNoTrans, CblasTrans, size, size, width, 1,
                          half_.cpu_data(), columns_.cpu_data(), 0,
                          top[0]->mutable_cpu_data() + c * size * size);
  }
}

template <typename Dtype>
void ResizeLayer<Dtype>::Backward_cpu(const vector<Blob<Dtype>*>& top,
                                      const vector<bool>& propagate_down,
                                      const vector<Blob<Dtype>*>& bottom) {
  if (!propagate_down[0]) { return; }
  const int height = bottom[0]->shape(2), width = bottom[0]->shape(3);
  const int size = top[0]->shape(2), channels = bottom[0]->count(0, 2);
  for (int c = 0; c < channels; ++c) {
    caffe_cpu_gemm<Dtype>(CblasNoTrans, CblasNoTrans, size, width, size, 1,
                          top[0]->cpu_diff() + c * size * size,
                          columns_.cpu_data(), 0, half_.mutable_cpu_data());
    caffe_cpu_gemm<Dtype>(CblasTrans, CblasNoTrans, height, width, size, 1,
                          rows_.cpu_data(), half_.cpu_data(), 0,
                          bottom[0]->mutable_cpu_diff() + c * height * width);
  }
}

INSTANTIATE_CLASS(ResizeLayer);
REGISTER_LAYER_CLASS(Resize);

}  // namespace caffe
