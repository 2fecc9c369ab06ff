#include <string>

#include "caffe/layers/clip_layer.hpp"

#include "layers/clipped.hpp"
#include "layers/onednn/elementwise_layer.hpp"

namespace caffe {

namespace {

template <typename Element>
DNNH_WITH_AVX2 void ClipValues(const Element* x, float min, float max,
                               int64_t count, Element* y) {
  for (int64_t i = 0; i < count; ++i) { y[i] = Clipped<float>(x[i], min, max); }
}

template <typename Element>
DNNH_WITH_AVX2 void DeriveClipped(const Element* x, const Element* dy,
                                  float min, float max, int64_t count,
                                  Element* dx) {
  for (int64_t i = 0; i < count; ++i) {
    const float value = x[i];
    dx[i] = dy[i] * (value >= min && value <= max ? 1.f : 0.f);
  }
}

// In place, the gradient passes where values were clipped, as in Caffe's own
// layer: in nets that are trained the top has a name of its own. Unlike there,
// a NaN does not become the lower bound, which would hide a training run that
// has diverged.
class Clip {
 public:
  explicit Clip(const LayerParameter& param)
      : min_(param.clip_param().min()), max_(param.clip_param().max()) {}

  template <typename Element>
  void Apply(const Element* x, int64_t count, Element* y) const {
    ClipValues(x, min_, max_, count, y);
  }
  template <typename Element>
  void Derive(const Element* x, const Element* dy, int64_t count,
              Element* dx) const {
    DeriveClipped(x, dy, min_, max_, count, dx);
  }
  std::string UnsupportedReason() const {
    return min_ <= max_ ? "" : "its min is above its max";
  }

 private:
  const float min_, max_;
};

}  // namespace

/// Values clipped to a range; see onednn.hpp.
class OnednnClipLayer
    : public onednn::ElementwiseLayer<ClipLayer<float>, Clip> {
 public:
  using ElementwiseLayer::ElementwiseLayer;
};

static ReplaceLayer<float, OnednnClipLayer> replace_clip("Clip");

}  // namespace caffe
