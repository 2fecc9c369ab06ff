#include "layers/fused_convolution_layer.hpp"

#include <vector>

#include "layers/clipped.hpp"
#include "layers/owner.hpp"

namespace caffe {

template <typename Dtype>
void FusedConvolutionLayer<Dtype>::LayerSetUp(
    const vector<Blob<Dtype>*>& bottom, const vector<Blob<Dtype>*>& top) {
  CHECK_EQ(this->phase_, TEST)
      << OwnerOf(*this) << " has no"
      << " gradients; train with a layer of type Convolution";
  const ClipParameter& clip = this->layer_param_.clip_param();
  CHECK(!this->layer_param_.has_clip_param() || clip.min() <= clip.max())
      << OwnerOf(*this) << " clips"
      << " from " << clip.min() << " to " << clip.max() << "; the first must"
      << " not be greater, for example clip_param { min: 0 max: 6 }";
  ConvolutionLayer<Dtype>::LayerSetUp(bottom, top);
}

template <typename Dtype>
void FusedConvolutionLayer<Dtype>::Forward_cpu(
    const vector<Blob<Dtype>*>& bottom, const vector<Blob<Dtype>*>& top) {
  ConvolutionLayer<Dtype>::Forward_cpu(bottom, top);
  if (!this->layer_param_.has_clip_param()) { return; }
  const Dtype min = this->layer_param_.clip_param().min();
  const Dtype max = this->layer_param_.clip_param().max();
  Dtype* y = top[0]->mutable_cpu_data();
  for (int i = 0; i < top[0]->count(); ++i) { y[i] = Clipped(y[i], min, max); }
}

template <typename Dtype>
void FusedConvolutionLayer<Dtype>::Forward_gpu(
    const vector<Blob<Dtype>*>& bottom, const vector<Blob<Dtype>*>& top) {
  Forward_cpu(bottom, top);
}

template <typename Dtype>
void FusedConvolutionLayer<Dtype>::Backward_cpu(
    const vector<Blob<Dtype>*>& top, const vector<bool>& propagate_down,
    const vector<Blob<Dtype>*>& bottom) {
  NOT_IMPLEMENTED;
}

template <typename Dtype>
void FusedConvolutionLayer<Dtype>::Backward_gpu(
    const vector<Blob<Dtype>*>& top, const vector<bool>& propagate_down,
    const vector<Blob<Dtype>*>& bottom) {
  NOT_IMPLEMENTED;
}

INSTANTIATE_CLASS(FusedConvolutionLayer);
REGISTER_LAYER_CLASS(FusedConvolution);

}  // namespace caffe
