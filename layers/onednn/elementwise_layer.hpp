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
    return function_.UnsupportedReason();
  }

  void ForwardOnednn(const vector<Blob<float>*>& bottom,
                     const vector<Blob<float>*>& top) override {
    const memory source = Values(*bottom[0]);
    const memory output =
        WriteAs(source, bottom[0] == top[0], top[0]->data().get(), &output_);
    const auto apply = [&](int64_t count, auto* x, auto* y) {
      function_.Apply(x, count, y);
    };
    ForElements(source.get_desc(), apply, source, output);
  }

  void BackwardOnednn(const vector<Blob<float>*>& top,
                      const vector<bool>& propagate_down,
                      const vector<Blob<float>*>& bottom) override {
    if (!propagate_down[0]) { return; }
    // Has the layout of Forward.
    const memory source = Values(*bottom[0]);
    const memory top_diff = Read(top[0]->diff().get(), Dims(*top[0]),
                                 source.get_desc(), &top_diff_);
    const memory diff =
        WriteAs(top_diff, bottom[0] == top[0], bottom[0]->diff().get(), &diff_);
    const auto derive = [&](int64_t count, auto* x, auto* dy, auto* dx) {
      function_.Derive(x, dy, count, dx);
    };
    ForElements(source.get_desc(), derive, source, top_diff, diff);
  }

 private:
  const Function function_;
  memory output_, top_diff_, diff_;
};

}  // namespace onednn
}  // namespace caffe

#endif  // DNNH_LAYERS_ONEDNN_ELEMENTWISE_LAYER_HPP_
