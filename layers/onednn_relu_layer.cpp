#include <vector>

#include "caffe/layers/relu_layer.hpp"

#include "layers/onednn.hpp"

namespace caffe {

using dnnl::memory;

/**
 * @brief ReLU on blobs in any layout; max(0, x), or negative_slope x below 0.
 *
 * In place, as in all our nets, Backward sees the outputs in place of the
 * inputs, which tell above from below just as well.
 */
class OnednnReLULayer : public ReLULayer<float> {
 public:
  explicit OnednnReLULayer(const LayerParameter& param)
      : ReLULayer<float>(param), slope_(param.relu_param().negative_slope()) {}
  static bool Takes(const LayerParameter& param) {
    return param.relu_param().engine() == ReLUParameter_Engine_DEFAULT
        && param.relu_param().negative_slope() >= 0;
  }

 protected:
  void Forward_cpu(const vector<Blob<float>*>& bottom,
      const vector<Blob<float>*>& top) override {
    if (bottom[0]->count() == 0) { return; }
    const memory::dims dims = onednn::Dims(*bottom[0]);
    const memory::desc layout = onednn::LayoutOf(*bottom[0]->data(), dims);
    Prepare(layout);
    const memory source = onednn::Read(bottom[0]->data().get(), dims, layout,
                                       NULL);
    memory output = source;
    if (bottom[0] != top[0]) {
      output = onednn::Write(top[0]->data().get(), layout, &output_);
    } else if (layout == onednn::Plain(dims)) {
      bottom[0]->mutable_cpu_data();
    } else {
      onednn::Put(bottom[0]->data().get(), source);
    }
    onednn::Run(forward_, {{DNNL_ARG_SRC, source}, {DNNL_ARG_DST, output}});
  }

  void Backward_cpu(const vector<Blob<float>*>& top,
      const vector<bool>& propagate_down,
      const vector<Blob<float>*>& bottom) override {
    if (!propagate_down[0] || bottom[0]->count() == 0) { return; }
    const memory::dims dims = onednn::Dims(*bottom[0]);
    // The inputs' layout, which is Forward's.
    const memory::desc layout = onednn::LayoutOf(*bottom[0]->data(), dims);
    Prepare(layout);
    const memory source = onednn::Read(bottom[0]->data().get(), dims, layout,
                                       NULL);
    const memory top_diff = onednn::Read(top[0]->diff().get(), dims, layout,
                                         &top_diff_);
    memory diff = top_diff;
    if (bottom[0] != top[0]) {
      diff = onednn::Write(bottom[0]->diff().get(), layout, &diff_);
    } else if (layout == onednn::Plain(dims)) {
      bottom[0]->mutable_cpu_diff();
    } else {
      onednn::Put(bottom[0]->diff().get(), top_diff);
    }
    onednn::Run(backward_, {{DNNL_ARG_SRC, source},
                            {DNNL_ARG_DIFF_DST, top_diff},
                            {DNNL_ARG_DIFF_SRC, diff}});
  }

 private:
  void Prepare(const memory::desc& layout) {
    if (layout == layout_) { return; }
    const dnnl::eltwise_forward::primitive_desc forward(
        {dnnl::prop_kind::forward_training, dnnl::algorithm::eltwise_relu,
         layout, slope_, 0}, onednn::Engine());
    forward_ = dnnl::eltwise_forward(forward);
    backward_ = dnnl::eltwise_backward({
        {dnnl::algorithm::eltwise_relu, layout, layout, slope_, 0},
        onednn::Engine(), forward});
    layout_ = layout;
  }

  const float slope_;
  memory::desc layout_;          // what the primitives are for
  dnnl::primitive forward_, backward_;
  memory output_, top_diff_, diff_;
};

static onednn::ReplaceLayer<OnednnReLULayer> replace_relu("ReLU");

}  // namespace caffe
