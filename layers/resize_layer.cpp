#include "layers/resize_layer.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

#include "layers/owner.hpp"

namespace caffe {

namespace {

// Keys, equation 4, with a = -0.5.
double Cubic(double x) {
  x = std::abs(x);
  if (x < 1) { return (1.5 * x - 2.5) * x * x + 1; }
  return x < 2 ? ((-0.5 * x + 2.5) * x - 4) * x + 2 : 0;
}

}  // namespace

template <typename Dtype>
vector<typename ResizeLayer<Dtype>::Taps> ResizeLayer<Dtype>::TapsOf(int from,
                                                                     int to) {
  vector<Taps> taps(to);
  const double step = double(from) / to, width = std::max(step, 1.);
  for (int i = 0; i < to; ++i) {
    const double centre = (i + 0.5) * step - 0.5;
    const int first = std::max(0, int(std::ceil(centre - 2 * width)));
    const int last = std::min(from - 1, int(std::floor(centre + 2 * width)));
    double sum = 0;
    for (int j = first; j <= last; ++j) { sum += Cubic((j - centre) / width); }
    taps[i].first = first;
    for (int j = first; j <= last; ++j) {
      taps[i].weights.push_back(Cubic((j - centre) / width) / sum);
    }
  }
  return taps;
}

template <typename Dtype>
void ResizeLayer<Dtype>::LayerSetUp(const vector<Blob<Dtype>*>& bottom,
                                    const vector<Blob<Dtype>*>& top) {
  const uint32_t size = this->layer_param_.resize_param().size();
  CHECK(size >= 1 && size <= 4096)
      << OwnerOf(*this) << ": size is " << size
      << ", it must be from 1 to 4096, for example resize_param { size: 129 }";
}

template <typename Dtype>
void ResizeLayer<Dtype>::Reshape(const vector<Blob<Dtype>*>& bottom,
                                 const vector<Blob<Dtype>*>& top) {
  CHECK_NE(bottom[0], top[0])
      << OwnerOf(*this) << ": top and bottom"
      << " are one blob; it cannot work in place, name another top";
  CHECK(bottom[0]->num_axes() == 4 && bottom[0]->count(2) > 0)
      << OwnerOf(*this) << ": the images have"
      << " shape " << bottom[0]->shape_string()
      << "; it must be N x C x H x W, for example 64 x 3 x 32 x 32";
  const int size = this->layer_param_.resize_param().size();
  top[0]->Reshape({bottom[0]->shape(0), bottom[0]->shape(1), size, size});
  rows_ = TapsOf(bottom[0]->shape(2), size);
  columns_ = TapsOf(bottom[0]->shape(3), size);
}

template <typename Dtype>
void ResizeLayer<Dtype>::Forward_cpu(const vector<Blob<Dtype>*>& bottom,
                                     const vector<Blob<Dtype>*>& top) {
  const int height = bottom[0]->shape(2), width = bottom[0]->shape(3);
  const int size = top[0]->shape(2), channels = bottom[0]->count(0, 2);
  const Dtype* bottom_data = bottom[0]->cpu_data();
  Dtype* top_data = top[0]->mutable_cpu_data();
#pragma omp parallel for
  for (int c = 0; c < channels; ++c) {
    const Dtype* x = bottom_data + c * height * width;
    Dtype* y = top_data + c * size * size;
    vector<Dtype> row(width);  // of R_h X
    for (const Taps& of_row : rows_) {
      std::fill(row.begin(), row.end(), 0);
      const Dtype* from = x + of_row.first * width;
      for (Dtype weight : of_row.weights) {
        for (int j = 0; j < width; ++j) { row[j] += weight * from[j]; }
        from += width;
      }
      for (const Taps& of_column : columns_) {
        Dtype sum = 0;
        const Dtype* value = &row[of_column.first];
        for (Dtype weight : of_column.weights) { sum += weight * *value++; }
        *y++ = sum;
      }
    }
  }
}

template <typename Dtype>
void ResizeLayer<Dtype>::Backward_cpu(const vector<Blob<Dtype>*>& top,
                                      const vector<bool>& propagate_down,
                                      const vector<Blob<Dtype>*>& bottom) {
  if (!propagate_down[0]) { return; }
  const int height = bottom[0]->shape(2), width = bottom[0]->shape(3);
  const int size = top[0]->shape(2), channels = bottom[0]->count(0, 2);
  const Dtype* top_diff = top[0]->cpu_diff();
  Dtype* bottom_diff = bottom[0]->mutable_cpu_diff();
#pragma omp parallel for
  for (int c = 0; c < channels; ++c) {
    const Dtype* dy = top_diff + c * size * size;
    Dtype* dx = bottom_diff + c * height * width;
    std::fill(dx, dx + height * width, 0);
    vector<Dtype> row(width);  // of the gradient of R_h X
    for (const Taps& of_row : rows_) {
      std::fill(row.begin(), row.end(), 0);
      for (const Taps& of_column : columns_) {
        Dtype* value = &row[of_column.first];
        for (Dtype weight : of_column.weights) { *value++ += weight * *dy; }
        ++dy;
      }
      Dtype* to = dx + of_row.first * width;
      for (Dtype weight : of_row.weights) {
        for (int j = 0; j < width; ++j) { to[j] += weight * row[j]; }
        to += width;
      }
    }
  }
}

INSTANTIATE_CLASS(ResizeLayer);
REGISTER_LAYER_CLASS(Resize);

}  // namespace caffe
