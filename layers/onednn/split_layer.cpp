#include <string>
#include <vector>

#include "caffe/layers/split_layer.hpp"

#include "layers/onednn/add_elements.hpp"
#include "layers/onednn/onednn.hpp"

namespace caffe {

using dnnl::memory;

/**
 * @brief Adds the gradients of a blob that several layers read, in any layout;
 *        see onednn.hpp. Forward is Caffe's own: the tops share the values.
 */
class OnednnSplitLayer : public onednn::OnednnLayer<SplitLayer<float>> {
 public:
  using OnednnLayer::OnednnLayer;

 protected:
  std::string UnsupportedReason(const vector<Blob<float>*>& bottom,
                                const vector<Blob<float>*>& top) override {
    return "";
  }

  void BackwardOnednn(const vector<Blob<float>*>& top,
                      const vector<bool>& propagate_down,
                      const vector<Blob<float>*>& bottom) override {
    if (!propagate_down[0]) { return; }
    top_diffs_.resize(top.size());
    // Has the layout of Forward.
    const memory::desc layout = onednn::LayoutOf(*bottom[0]);
    vector<memory> diffs;
    for (size_t i = 0; i < top.size(); ++i) {
      diffs.push_back(onednn::Read(top[i]->diff().get(), onednn::Dims(*top[i]),
                                   layout, &top_diffs_[i]));
    }
    onednn::Add(diffs, vector<float>(top.size(), 1),
                onednn::Write(bottom[0]->diff().get(), layout, &diff_));
  }

 private:
  vector<memory> top_diffs_;
  memory diff_;
};

static ReplaceLayer<float, OnednnSplitLayer> replace_split("Split");

}  // namespace caffe
