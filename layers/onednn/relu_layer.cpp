#include <string>

#include "caffe/layers/relu_layer.hpp"

#include "layers/onednn/elementwise_layer.hpp"

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

// A loop of our own: oneDNN turns a NaN into 0, which hides a training that has
// diverged; Caffe keeps it. In place, as in all our nets, Derive sees the
// outputs instead of the inputs; their sign is the same.
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

/// x, or negative_slope x below 0; see onednn.hpp.
class OnednnReLULayer
    : public onednn::ElementwiseLayer<ReLULayer<float>, Relu> {
 public:
  using ElementwiseLayer::ElementwiseLayer;
  static bool IsWanted(const LayerParameter& param) {
    return onednn::IsOn()
        && param.relu_param().engine() == ReLUParameter_Engine_DEFAULT;
  }
};

static ReplaceLayer<float, OnednnReLULayer> replace_relu("ReLU");

}  // namespace caffe
