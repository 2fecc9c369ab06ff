#include <memory>
#include <string>
#include <vector>

#include "caffe/layers/relu_layer.hpp"

#include "layers/onednn/elementwise_layer.hpp"
#include "layers/onednn/normalization.hpp"

namespace caffe {

namespace {

// Computes both cases, so that the compiler selects instead of branching.
template <typename Element>
DNNH_WITH_AVX2 void Rectify(const Element* x, float slope, int64_t count,
                            Element* y) {
  for (int64_t i = 0; i < count; ++i) {
    const float value = x[i], below = slope * value;
    y[i] = value < 0 ? below : value;
  }
}

template <typename Element>
DNNH_WITH_AVX2 void DeriveRectified(const Element* x, const Element* dy,
                                    float slope, int64_t count, Element* dx) {
  for (int64_t i = 0; i < count; ++i) {
    const float value = x[i];
    dx[i] = dy[i] * (value > 0 ? 1.f : value <= 0 ? slope : 0.f);
  }
}

// A loop of our own: oneDNN turns a NaN into 0, which hides a training run that
// has diverged; Caffe keeps it. In place, Derive sees the outputs instead of
// the inputs; their sign is the same.
class Relu {
 public:
  explicit Relu(const LayerParameter& param)
      : slope_(param.relu_param().negative_slope()) {}

  template <typename Element>
  void Apply(const Element* x, int64_t count, Element* y) const {
    Rectify(x, slope_, count, y);
  }
  template <typename Element>
  void Derive(const Element* x, const Element* dy, int64_t count,
              Element* dx) const {
    DeriveRectified(x, dy, slope_, count, dx);
  }
  // With a negative slope the sign of the outputs is not that of the inputs.
  std::string UnsupportedReason() const {
    return slope_ < 0 ? "its slope is negative" : "";
  }

 private:
  const float slope_;
};

}  // namespace

/// x, or negative_slope x below 0; see onednn.hpp, and normalization.hpp for
/// those behind a batch normalization or scale.
class OnednnReLULayer
    : public onednn::ElementwiseLayer<ReLULayer<float>, Relu> {
 public:
  explicit OnednnReLULayer(const LayerParameter& param)
      : ElementwiseLayer(param), output_(std::make_shared<onednn::memory>()) {}
  static bool IsWanted(const LayerParameter& param) {
    return onednn::IsOn()
        && param.relu_param().engine() == ReLUParameter_Engine_DEFAULT;
  }

 protected:
  void ForwardOnednn(const vector<Blob<float>*>& bottom,
                     const vector<Blob<float>*>& top) override {
    const auto inputs =
        bottom[0] == top[0] ? onednn::LinearValuesOf(*bottom[0]) : nullptr;
    outputs_ = inputs ? inputs->map() : onednn::ChannelMap();
    if (!inputs) { return ElementwiseLayer::ForwardOnednn(bottom, top); }
    outputs_.slope = layer_param_.relu_param().negative_slope();
    onednn::Defer(true, top[0]->data().get(),
                  std::make_shared<onednn::DeferredValues>(outputs_, output_));
  }

  void BackwardOnednn(const vector<Blob<float>*>& top,
                      const vector<bool>& propagate_down,
                      const vector<Blob<float>*>& bottom) override {
    if (!outputs_.source) {
      return ElementwiseLayer::BackwardOnednn(top, propagate_down, bottom);
    }
    if (!propagate_down[0]) { return; }
    SyncedMemory* diff = bottom[0]->diff().get();
    const onednn::memory of_outputs = onednn::Read(
        diff, onednn::Dims(*bottom[0]), outputs_.source.get_desc(), &gradient_);
    onednn::Defer(
        true, diff,
        std::make_shared<onednn::DeferredGradient>(of_outputs, outputs_));
  }

 private:
  onednn::ChannelMap outputs_;  // no source if the last pass stored values
  const std::shared_ptr<onednn::memory> output_;
  onednn::memory gradient_;
};

static ReplaceLayer<float, OnednnReLULayer> replace_relu("ReLU");

}  // namespace caffe
