#include "layers/fused_convolution_layer.hpp"

#include <string>
#include <vector>

#include "layers/onednn/convolution.hpp"

namespace caffe {

/**
 * A convolution and clipping in one pass; see onednn.hpp.
 *
 * The weights are prepared once, and again where mutable_cpu_data() has been
 * called since. oneDNN, unlike our own convolutions, clips a NaN to a number:
 * dnnh.nets.fusion checks the weights.
 */
class OnednnFusedConvolutionLayer
    : public onednn::ConvolutionOfImages<FusedConvolutionLayer<float>> {
 public:
  explicit OnednnFusedConvolutionLayer(const LayerParameter& param)
      : ConvolutionOfImages(param) {}

 protected:
  onednn::ConvolutionOptions Options() override {
    return {
        bias_term_, false, false,
        layer_param_.has_clip_param() ? &layer_param_.clip_param() : nullptr};
  }

  std::string UnsupportedReason(const vector<Blob<float>*>& bottom,
                                const vector<Blob<float>*>& top) override {
    weights_ = onednn::memory();  // those of another shape
    return ConvolutionOfImages::UnsupportedReason(bottom, top);
  }

  void ForwardOnednn(const vector<Blob<float>*>& bottom,
                     const vector<Blob<float>*>& top) override {
    const SyncedMemory& weights = *blobs_[0]->data();
    if (!weights_ || prepared_ != &weights || writes_ != weights.writes()) {
      weights_ = onednn::memory();
      convolution()->Prepare(blobs_[0]->cpu_data(), &weights_);
      prepared_ = &weights;
      writes_ = weights.writes();
    }
    convolution()->Forward(bottom[0]->data().get(), weights_, bias(),
                           top[0]->data().get());
  }

 private:
  onednn::memory weights_;  // prepared, of ...
  const SyncedMemory* prepared_ = nullptr;
  size_t writes_ = 0;  // ... when it had been written so often
};

static ReplaceLayer<float, OnednnFusedConvolutionLayer>
    replace_fused_convolution("FusedConvolution");

}  // namespace caffe
