#ifndef DNNH_LAYERS_ONEDNN_ELEMENTWISE_LAYER_HPP_
#define DNNH_LAYERS_ONEDNN_ELEMENTWISE_LAYER_HPP_

#include <string>
#include <vector>

#include "layers/onednn/onednn.hpp"

namespace caffe {
namespace onednn {

/**
 * @brief A function of each value, on blobs in any layout, by loops of our own.
 *
 * @tparam Stock Caffe's own layer
 * @tparam Function is made from a LayerParameter, and has, for elements of type
 *         float and Bfloat16:
 *   - Apply(x, count, y): the values
 *   - Derive(x, dy, count, dx): the gradient by x; in place, x has the outputs
 *   - UnsupportedReason(): why Caffe's own code must run; empty if it need not
 */
template <typename Stock, typename Function>
class ElementwiseLayer : public OnednnLayer<Stock> {
 public:
  explicit ElementwiseLayer(const LayerParameter& param)
      : OnednnLayer<Stock>(param), function_(param) {}

 protected:
  std::string UnsupportedReason(const vector<Blob<float>*>& bottom,
                                const vector<Blob<float>*>& top) override {
    return bottom[0]->num_axes() < 1 ? "its bottom has no axes"
                                     : function_.UnsupportedReason();
  }

  void Forward_cpu(const vector<Blob<float>*>& bottom,
                   const vector<Blob<float>*>& top) override {
    if (!this->uses_onednn()) { return Stock::Forward_cpu(bottom, top); }
    const memory source = Values(*bottom[0]);
    const memory output =
        WriteAs(source, bottom[0] == top[0], top[0]->data().get(), &output_);
    WithElements(source.get_desc(), [&](auto element) {
      using Element = decltype(element);
      const Element* x = static_cast<const Element*>(source.get_data_handle());
      Element* y = static_cast<Element*>(output.get_data_handle());
      const int64_t count = source.get_desc().get_size() / sizeof(Element);
      ForRanges(count, [&](int64_t begin, int64_t length) {
        function_.Apply(x + begin, length, y + begin);
      });
    });
  }

  void Backward_cpu(const vector<Blob<float>*>& top,
                    const vector<bool>& propagate_down,
                    const vector<Blob<float>*>& bottom) override {
    if (!this->uses_onednn()) {
      return Stock::Backward_cpu(top, propagate_down, bottom);
    }
    if (!propagate_down[0]) { return; }
    // Has the layout of Forward.
    const memory source = Values(*bottom[0]);
    const memory top_diff = Read(top[0]->diff().get(), Dims(*top[0]),
                                 source.get_desc(), &top_diff_);
    const memory diff =
        WriteAs(top_diff, bottom[0] == top[0], bottom[0]->diff().get(), &diff_);
    WithElements(source.get_desc(), [&](auto element) {
      using Element = decltype(element);
      const Element* x = static_cast<const Element*>(source.get_data_handle());
      const Element* dy =
          static_cast<const Element*>(top_diff.get_data_handle());
      Element* dx = static_cast<Element*>(diff.get_data_handle());
      const int64_t count = source.get_desc().get_size() / sizeof(Element);
      ForRanges(count, [&](int64_t begin, int64_t length) {
        function_.Derive(x + begin, dy + begin, length, dx + begin);
      });
    });
  }

 private:
  const Function function_;
  memory output_, top_diff_, diff_;
};

}  // namespace onednn
}  // namespace caffe

#endif  // DNNH_LAYERS_ONEDNN_ELEMENTWISE_LAYER_HPP_
