#include <algorithm>
#include <string>
#include <vector>

#include "caffe/layers/dropout_layer.hpp"
#include "caffe/util/math_functions.hpp"

#include "layers/onednn/onednn.hpp"
#include "layers/owner.hpp"

namespace caffe {

using dnnl::memory;

namespace {

template <typename Element>
DNNH_WITH_AVX2 void Mask(const Element* x, const Element* mask, float scale,
                         int64_t count, Element* y) {
  for (int64_t i = 0; i < count; ++i) { y[i] = x[i] * mask[i] * scale; }
}

}  // namespace

/**
 * @brief Dropout on blobs in any layout; see onednn.hpp.
 *
 * A loop of our own, as oneDNN 2.6 has no dropout. The mask is drawn as Caffe
 * draws it, value by value in plain order, so that a seed means the same; it is
 * then reordered into the layout and the type of the values.
 */
class OnednnDropoutLayer : public onednn::OnednnLayer<DropoutLayer<float>> {
 public:
  using OnednnLayer::OnednnLayer;

 protected:
  std::string UnsupportedReason(const vector<Blob<float>*>& bottom,
                                const vector<Blob<float>*>& top) override {
    return phase_ != TRAIN && bottom[0] != top[0]
        ? "in TEST it is a copy, unless in place"
        : "";
  }

  void ForwardOnednn(const vector<Blob<float>*>& bottom,
                     const vector<Blob<float>*>& top) override {
    if (phase_ != TRAIN) { return; }
    const memory source = onednn::Values(*bottom[0]);
    layout_ = source.get_desc();
    DrawMask(onednn::Dims(*bottom[0]));
    const memory output = onednn::WriteAs(source, bottom[0] == top[0],
                                          top[0]->data().get(), &output_);
    ApplyMask(source, output);
  }

  void BackwardOnednn(const vector<Blob<float>*>& top,
                      const vector<bool>& propagate_down,
                      const vector<Blob<float>*>& bottom) override {
    if (phase_ != TRAIN || !propagate_down[0]) { return; }
    CHECK(mask_) << OwnerOf(*this) << ": call Forward before Backward";
    const memory top_diff = onednn::Read(
        top[0]->diff().get(), onednn::Dims(*top[0]), layout_, &top_diff_);
    const memory diff = onednn::WriteAs(top_diff, bottom[0] == top[0],
                                        bottom[0]->diff().get(), &diff_);
    ApplyMask(top_diff, diff);
  }

 private:
  void DrawMask(const memory::dims& dims) {
    // Caffe draws four bytes per value, which is too much to keep.
    const int kChunk = 1 << 14;
    unsigned int drawn[kChunk];
    onednn::Fit(onednn::Plain(dims, memory::data_type::u8), &plain_mask_);
    uint8_t* mask = static_cast<uint8_t*>(plain_mask_.get_data_handle());
    const int64_t count = plain_mask_.get_desc().get_size();
    for (int64_t i = 0; i < count; i += kChunk) {
      const int length = std::min<int64_t>(kChunk, count - i);
      caffe_rng_bernoulli(length, 1. - threshold_, drawn);
      std::copy(drawn, drawn + length, mask + i);
    }
    onednn::Fit(layout_, &mask_);
    onednn::Reorder(plain_mask_, mask_);
  }

  void ApplyMask(const memory& from, const memory& to) const {
    const auto apply = [&](int64_t count, auto* x, auto* mask, auto* y) {
      Mask(x, mask, scale_, count, y);
    };
    onednn::ForElements(layout_, apply, from, mask_, to);
  }

  memory::desc layout_;       // of the values in the last Forward
  memory plain_mask_, mask_;  // 1 for values that are kept
  memory output_, top_diff_, diff_;
};

static ReplaceLayer<float, OnednnDropoutLayer> replace_dropout("Dropout");

}  // namespace caffe
