#include "layers/divide_and_encode_layer.hpp"

#include <vector>

#include "caffe/filler.hpp"
#include "caffe/util/math_functions.hpp"

#include "layers/given_blobs.hpp"
#include "layers/owner.hpp"

namespace caffe {

template <typename Dtype>
void DivideAndEncodeLayer<Dtype>::LayerSetUp(const vector<Blob<Dtype>*>& bottom,
                                             const vector<Blob<Dtype>*>& top) {
  const DivideAndEncodeParameter& param =
      this->layer_param_.divide_and_encode_param();
  CHECK_GE(bottom[0]->num_axes(), 2)
      << OwnerOf(*this) << ": bottom 0 has shape " << bottom[0]->shape_string()
      << "; features are N x d, for example 64 x 2400";
  CHECK_NE(bottom[0], top[0])
      << OwnerOf(*this) << ": top and bottom are the same blob;"
      << " Backward needs the features, so give the top a different name";
  features_ = bottom[0]->shape(1);
  bits_ = param.num_output();
  bias_term_ = param.bias_term();
  CHECK(bits_ >= 1 && bits_ <= features_)
      << OwnerOf(*this) << ": num_output is " << bits_
      << " bits, but bottom 0 has " << features_ << " features; num_output"
      << " must be from 1 to the number of features, for example 48 bits of"
      << " 2400 features";
  if (this->blobs_.empty()) {
    this->blobs_.resize(bias_term_ ? 2 : 1);
    this->blobs_[0].reset(new Blob<Dtype>(vector<int>(1, features_)));
    // Fill each slice by itself, so that the fan-in is the length of the slice.
    shared_ptr<Filler<Dtype>> weight_filler(
        GetFiller<Dtype>(param.weight_filler()));
    Dtype* weights = this->blobs_[0]->mutable_cpu_data();
    for (int i = 0; i < bits_; ++i) {
      const int begin = slices().begin(i);
      Blob<Dtype> slice(vector<int>{1, slices().begin(i + 1) - begin});
      weight_filler->Fill(&slice);
      caffe_copy(slice.count(), slice.cpu_data(), weights + begin);
    }
    if (bias_term_) {
      this->blobs_[1].reset(new Blob<Dtype>(vector<int>(1, bits_)));
      shared_ptr<Filler<Dtype>> bias_filler(
          GetFiller<Dtype>(param.bias_filler()));
      bias_filler->Fill(this->blobs_[1].get());
    }
  }
  vector<vector<int>> shapes{{features_}};
  if (bias_term_) { shapes.push_back({bits_}); }
  CheckGivenBlobs(this->layer_param_, this->blobs_, shapes);
  this->param_propagate_down_.resize(this->blobs_.size(), true);
}

template <typename Dtype>
void DivideAndEncodeLayer<Dtype>::Reshape(const vector<Blob<Dtype>*>& bottom,
                                          const vector<Blob<Dtype>*>& top) {
  CHECK(bottom[0]->num_axes() >= 2 && bottom[0]->shape(1) == features_)
      << OwnerOf(*this) << ": bottom 0 has shape " << bottom[0]->shape_string()
      << ", the layer was set up for N x " << features_ << " features";
  CHECK_EQ(bottom[0]->count(1), features_)
      << OwnerOf(*this) << ": bottom 0 has shape " << bottom[0]->shape_string()
      << "; axes after the second must have size"
      << " 1, for example 64 x " << features_ << " x 1 x 1 (pool the features"
      << " globally first)";
  top[0]->Reshape(vector<int>{bottom[0]->shape(0), bits_});
}

template <typename Dtype>
void DivideAndEncodeLayer<Dtype>::Forward_cpu(
    const vector<Blob<Dtype>*>& bottom, const vector<Blob<Dtype>*>& top) {
  const int num = top[0]->shape(0);
  const FeatureSlices slices = this->slices();
  const Dtype* weights = this->blobs_[0]->cpu_data();
  const Dtype* bias = bias_term_ ? this->blobs_[1]->cpu_data() : NULL;
  for (int n = 0; n < num; ++n) {
    const Dtype* x = bottom[0]->cpu_data() + n * features_;
    Dtype* y = top[0]->mutable_cpu_data() + n * bits_;
    for (int i = 0; i < bits_; ++i) {
      Dtype sum = bias ? bias[i] : Dtype(0);
      for (int j = slices.begin(i); j < slices.begin(i + 1); ++j) {
        sum += weights[j] * x[j];
      }
      y[i] = sum;
    }
  }
}

template <typename Dtype>
void DivideAndEncodeLayer<Dtype>::Backward_cpu(
    const vector<Blob<Dtype>*>& top, const vector<bool>& propagate_down,
    const vector<Blob<Dtype>*>& bottom) {
  const int num = top[0]->shape(0);
  const FeatureSlices slices = this->slices();
  const Dtype* weights = this->blobs_[0]->cpu_data();
  for (int n = 0; n < num; ++n) {
    const Dtype* x = bottom[0]->cpu_data() + n * features_;
    const Dtype* y_diff = top[0]->cpu_diff() + n * bits_;
    if (this->param_propagate_down_[0]) {
      Dtype* weights_diff = this->blobs_[0]->mutable_cpu_diff();
      for (int i = 0; i < bits_; ++i) {
        for (int j = slices.begin(i); j < slices.begin(i + 1); ++j) {
          weights_diff[j] += x[j] * y_diff[i];
        }
      }
    }
    if (bias_term_ && this->param_propagate_down_[1]) {
      caffe_axpy(bits_, Dtype(1), y_diff, this->blobs_[1]->mutable_cpu_diff());
    }
    if (propagate_down[0]) {
      Dtype* x_diff = bottom[0]->mutable_cpu_diff() + n * features_;
      for (int i = 0; i < bits_; ++i) {
        for (int j = slices.begin(i); j < slices.begin(i + 1); ++j) {
          x_diff[j] = weights[j] * y_diff[i];
        }
      }
    }
  }
}

#ifdef CPU_ONLY
STUB_GPU(DivideAndEncodeLayer);
#endif

INSTANTIATE_CLASS(DivideAndEncodeLayer);
REGISTER_LAYER_CLASS(DivideAndEncode);

}  // namespace caffe
