#include <string>
#include <vector>

#include "caffe/layers/eltwise_layer.hpp"

#include "layers/onednn/add_elements.hpp"
#include "layers/onednn/onednn.hpp"

namespace caffe {

using dnnl::memory;

/// Sums of blobs in any layout, that of the first bottom; see onednn.hpp.
class OnednnEltwiseLayer : public onednn::OnednnLayer<EltwiseLayer<float>> {
 public:
  using OnednnLayer::OnednnLayer;

 protected:
  std::string UnsupportedReason(const vector<Blob<float>*>& bottom,
                                const vector<Blob<float>*>& top) override {
    return op_ == EltwiseParameter_EltwiseOp_SUM ? "" : "it is not a sum";
  }

  void ForwardOnednn(const vector<Blob<float>*>& bottom,
                     const vector<Blob<float>*>& top) override {
    sources_.resize(bottom.size());
    vector<memory> sources = {onednn::Values(*bottom[0])};
    const memory::desc layout = sources[0].get_desc();
    for (size_t i = 1; i < bottom.size(); ++i) {
      sources.push_back(onednn::Read(bottom[i]->data().get(),
                                     onednn::Dims(*bottom[i]), layout,
                                     &sources_[i]));
    }
    onednn::Add(sources, coeffs_,
                onednn::WriteAs(sources[0], bottom[0] == top[0],
                                top[0]->data().get(), &output_));
  }

  void BackwardOnednn(const vector<Blob<float>*>& top,
                      const vector<bool>& propagate_down,
                      const vector<Blob<float>*>& bottom) override {
    diffs_.resize(bottom.size());
    const memory top_diff =
        onednn::Read(top[0]->diff().get(), onednn::Dims(*top[0]),
                     onednn::LayoutOf(*top[0]), &top_diff_);
    for (size_t i = 0; i < bottom.size(); ++i) {
      if (!propagate_down[i]) { continue; }
      onednn::Add({top_diff}, {coeffs_[i]},
                  onednn::WriteAs(top_diff, bottom[i] == top[0],
                                  bottom[i]->diff().get(), &diffs_[i]));
    }
  }

 private:
  vector<memory> sources_, diffs_;
  memory output_, top_diff_;
};

static ReplaceLayer<float, OnednnEltwiseLayer> replace_eltwise("Eltwise");

}  // namespace caffe
