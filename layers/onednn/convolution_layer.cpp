#include <string>
#include <vector>

#include "caffe/layers/conv_layer.hpp"

#include "layers/onednn/convolution.hpp"

namespace caffe {

/// Convolution of images, with groups and dilation; see onednn.hpp.
class OnednnConvolutionLayer
    : public onednn::ConvolutionOfImages<ConvolutionLayer<float>> {
 public:
  explicit OnednnConvolutionLayer(const LayerParameter& param)
      : ConvolutionOfImages(param) {}

 protected:
  onednn::ConvolutionOptions Options() override {
    return {bias_term_, phase_ == TRAIN, true, nullptr};
  }

  std::string UnsupportedReason(const vector<Blob<float>*>& bottom,
                                const vector<Blob<float>*>& top) override {
    return bottom.size() > 1
        ? "it has several bottoms"
        : ConvolutionOfImages::UnsupportedReason(bottom, top);
  }

  void ForwardOnednn(const vector<Blob<float>*>& bottom,
                     const vector<Blob<float>*>& top) override {
    // Weights change in every iteration.
    convolution()->Forward(
        bottom[0]->data().get(),
        convolution()->Prepare(blobs_[0]->cpu_data(), nullptr), bias(),
        top[0]->data().get());
  }

  void BackwardOnednn(const vector<Blob<float>*>& top,
                      const vector<bool>& propagate_down,
                      const vector<Blob<float>*>& bottom) override {
    Blob<float>* weights = param_propagate_down_[0] ? blobs_[0].get() : nullptr;
    Blob<float>* bias =
        bias_term_ && param_propagate_down_[1] ? blobs_[1].get() : nullptr;
    if (weights || bias) {
      convolution()->BackwardWeights(bottom[0]->data().get(),
                                     top[0]->diff().get(), weights, bias);
    }
    if (propagate_down[0]) {
      convolution()->BackwardData(top[0]->diff().get(), blobs_[0]->cpu_data(),
                                  bottom[0]->diff().get());
    }
  }
};

static ReplaceLayer<float, OnednnConvolutionLayer> replace_convolution(
    "Convolution");

}  // namespace caffe
