#include "layers/piecewise_threshold_layer.hpp"

#include <vector>

#include "layers/iteration_count.hpp"
#include "layers/owner.hpp"

namespace caffe {

template <typename Dtype>
void PiecewiseThresholdLayer<Dtype>::LayerSetUp(
    const vector<Blob<Dtype>*>& bottom, const vector<Blob<Dtype>*>& top) {
  NeuronLayer<Dtype>::LayerSetUp(bottom, top);
  const PiecewiseThresholdParameter& param =
      this->layer_param_.piecewise_threshold_param();
  const char* example =
      "for example piecewise_threshold_param"
      " { epsilon: 0.5 gamma: 0.8 stepsize: 20000 }";
  CHECK(param.epsilon() > 0 && param.epsilon() <= 0.5)
      << OwnerOf(*this) << ": epsilon is " << param.epsilon()
      << ", it must be above 0 and at most 0.5, " << example;
  CHECK(param.gamma() > 0 && param.gamma() <= 1)
      << OwnerOf(*this) << ": gamma is " << param.gamma()
      << ", it must be above 0 and at most 1, " << example;
  CHECK_GE(param.stepsize(), 1)
      << OwnerOf(*this) << ": stepsize is " << param.stepsize()
      << ", it must be at least 1 training iteration, " << example;
  SetUpIterationCount(&this->layer_param_, &this->blobs_);
}

template <typename Dtype>
void PiecewiseThresholdLayer<Dtype>::Schedule() {
  const PiecewiseThresholdParameter& param =
      this->layer_param_.piecewise_threshold_param();
  const Dtype iteration =
      CountIteration(this->layer_param_, this->phase_, this->blobs_[0].get());
  const Dtype epsilon = StepSchedule<Dtype>(param.epsilon(), param.gamma(),
                                            param.stepsize(), iteration);
  LOG_IF(INFO,
         this->phase_ == TRAIN && epsilon != epsilon_ && Caffe::root_solver())
      << OwnerOf(*this) << ": epsilon = " << epsilon << " from iteration "
      << iteration;
  epsilon_ = epsilon;
}

template <typename Dtype>
void PiecewiseThresholdLayer<Dtype>::Forward_cpu(
    const vector<Blob<Dtype>*>& bottom, const vector<Blob<Dtype>*>& top) {
  Schedule();
  const int count = bottom[0]->count();
  const Dtype* s = bottom[0]->cpu_data();
  Dtype* g = top[0]->mutable_cpu_data();
  for (int i = 0; i < count; ++i) { g[i] = PiecewiseThreshold(s[i], epsilon_); }
}

template <typename Dtype>
void PiecewiseThresholdLayer<Dtype>::Backward_cpu(
    const vector<Blob<Dtype>*>& top, const vector<bool>& propagate_down,
    const vector<Blob<Dtype>*>& bottom) {
  if (!propagate_down[0]) { return; }
  const int count = bottom[0]->count();
  const Dtype* s = bottom[0]->cpu_data();  // g(s) if in place
  const Dtype* top_diff = top[0]->cpu_diff();
  Dtype* bottom_diff = bottom[0]->mutable_cpu_diff();
  for (int i = 0; i < count; ++i) {
    bottom_diff[i] = PiecewiseInside(s[i], epsilon_) ? top_diff[i] : Dtype(0);
  }
}

#ifdef CPU_ONLY
STUB_GPU(PiecewiseThresholdLayer);
#endif

INSTANTIATE_CLASS(PiecewiseThresholdLayer);
REGISTER_LAYER_CLASS(PiecewiseThreshold);

}  // namespace caffe
