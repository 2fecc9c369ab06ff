#include <string>
#include <vector>

#include "caffe/layers/relu_layer.hpp"

#include "layers/onednn/onednn.hpp"

namespace caffe {

using dnnl::memory;

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
DNNH_WITH_AVX2 void Derive(const Element* x, const Element* dy, float slope,
                           int64_t count, Element* dx) {
  for (int64_t i = 0; i < count; ++i) {
    const float value = x[i];
    dx[i] = dy[i] * (value > 0 ? 1.f : value <= 0 ? slope : 0.f);
  }
}

}  // namespace

/**
 * @brief ReLU on blobs in any layout: x, or negative_slope x below 0.
 *
 * A loop of our own: oneDNN turns a NaN into 0, which hides a training that has
 * diverged; Caffe keeps it. In place, as in all our nets, Backward sees the
 * outputs instead of the inputs; their sign is the same.
 */
class OnednnReLULayer : public onednn::OnednnLayer<ReLULayer<float>> {
 public:
  explicit OnednnReLULayer(const LayerParameter& param)
      : OnednnLayer(param), slope_(param.relu_param().negative_slope()) {}
  static bool IsWanted(const LayerParameter& param) {
    return onednn::IsOn()
        && param.relu_param().engine() == ReLUParameter_Engine_DEFAULT;
  }

 protected:
  // With a negative slope the sign of the outputs is not that of the inputs.
  std::string UnsupportedReason(const vector<Blob<float>*>& bottom,
                                const vector<Blob<float>*>& top) override {
    return slope_ < 0               ? "its slope is negative"
        : bottom[0]->num_axes() < 1 ? "its bottom has no axes"
                                    : "";
  }

  void Forward_cpu(const vector<Blob<float>*>& bottom,
                   const vector<Blob<float>*>& top) override {
    if (!uses_onednn()) { return ReLULayer<float>::Forward_cpu(bottom, top); }
    const memory source = onednn::Values(*bottom[0]);
    const memory output = onednn::WriteAs(source, bottom[0] == top[0],
                                          top[0]->data().get(), &output_);
    onednn::WithElements(source.get_desc(), [&](auto element) {
      using Element = decltype(element);
      const Element* x = static_cast<const Element*>(source.get_data_handle());
      Element* y = static_cast<Element*>(output.get_data_handle());
      const int64_t count = source.get_desc().get_size() / sizeof(Element);
      ForRanges(count, [&](int64_t begin, int64_t length) {
        Rectify(x + begin, slope_, length, y + begin);
      });
    });
  }

  void Backward_cpu(const vector<Blob<float>*>& top,
                    const vector<bool>& propagate_down,
                    const vector<Blob<float>*>& bottom) override {
    if (!uses_onednn()) {
      return ReLULayer<float>::Backward_cpu(top, propagate_down, bottom);
    }
    if (!propagate_down[0]) { return; }
    // Has the layout of Forward.
    const memory source = onednn::Values(*bottom[0]);
    const memory top_diff =
        onednn::Read(top[0]->diff().get(), onednn::Dims(*top[0]),
                     source.get_desc(), &top_diff_);
    const memory diff = onednn::WriteAs(top_diff, bottom[0] == top[0],
                                        bottom[0]->diff().get(), &diff_);
    onednn::WithElements(source.get_desc(), [&](auto element) {
      using Element = decltype(element);
      const Element* x = static_cast<const Element*>(source.get_data_handle());
      const Element* dy =
          static_cast<const Element*>(top_diff.get_data_handle());
      Element* dx = static_cast<Element*>(diff.get_data_handle());
      const int64_t count = source.get_desc().get_size() / sizeof(Element);
      ForRanges(count, [&](int64_t begin, int64_t length) {
        Derive(x + begin, dy + begin, slope_, length, dx + begin);
      });
    });
  }

 private:
  const float slope_;
  memory output_, top_diff_, diff_;
};

static ReplaceLayer<float, OnednnReLULayer> replace_relu("ReLU");

}  // namespace caffe
