#include "layers/slope_sigmoid_layer.hpp"

#include <cmath>
#include <vector>

#include "layers/iteration_count.hpp"
#include "layers/owner.hpp"

namespace caffe {

template <typename Dtype>
void SlopeSigmoidLayer<Dtype>::LayerSetUp(const vector<Blob<Dtype>*>& bottom,
                                          const vector<Blob<Dtype>*>& top) {
  NeuronLayer<Dtype>::LayerSetUp(bottom, top);
  const SlopeSigmoidParameter& param = this->layer_param_.slope_sigmoid_param();
  const char* example =
      "for example slope_sigmoid_param"
      " { slope: 5 gamma: 1.1 stepsize: 10000 }";
  CHECK(param.slope() > 0 && std::isfinite(param.slope()))
      << OwnerOf(*this) << ": slope is " << param.slope()
      << ", it must be above 0, " << example;
  CHECK(param.gamma() >= 1 && std::isfinite(param.gamma()))
      << OwnerOf(*this) << ": gamma is " << param.gamma()
      << ", it must be at least 1, " << example;
  CHECK_GE(param.stepsize(), 1)
      << OwnerOf(*this) << ": stepsize is " << param.stepsize()
      << ", it must be at least 1 training iteration, " << example;
  SetUpIterationCount(&this->layer_param_, &this->blobs_);
}

template <typename Dtype>
void SlopeSigmoidLayer<Dtype>::Forward_cpu(const vector<Blob<Dtype>*>& bottom,
                                           const vector<Blob<Dtype>*>& top) {
  const SlopeSigmoidParameter& param = this->layer_param_.slope_sigmoid_param();
  const Dtype iteration =
      CountIteration(this->layer_param_, this->phase_, this->blobs_[0].get());
  slope_ = StepSchedule<Dtype>(param.slope(), param.gamma(), param.stepsize(),
                               iteration);
  const int count = bottom[0]->count();
  const Dtype* v = bottom[0]->cpu_data();
  Dtype* b = top[0]->mutable_cpu_data();
  for (int i = 0; i < count; ++i) { b[i] = 1 / (1 + std::exp(-slope_ * v[i])); }
}

template <typename Dtype>
void SlopeSigmoidLayer<Dtype>::Backward_cpu(
    const vector<Blob<Dtype>*>& top, const vector<bool>& propagate_down,
    const vector<Blob<Dtype>*>& bottom) {
  if (!propagate_down[0]) { return; }
  const int count = top[0]->count();
  const Dtype* b = top[0]->cpu_data();
  const Dtype* top_diff = top[0]->cpu_diff();
  Dtype* bottom_diff = bottom[0]->mutable_cpu_diff();
  for (int i = 0; i < count; ++i) {
    bottom_diff[i] = top_diff[i] * slope_ * b[i] * (1 - b[i]);
  }
}

INSTANTIATE_CLASS(SlopeSigmoidLayer);
REGISTER_LAYER_CLASS(SlopeSigmoid);

}  // namespace caffe
