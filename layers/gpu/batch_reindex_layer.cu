#include <cmath>
#include <vector>

#include "caffe/layers/batch_reindex_layer.hpp"

#include "layers/gpu/launch.hpp"
#include "layers/replace_layer.hpp"

#include "layers/gpu/batch_reindex_kernels.hpp"
#include "layers/owner.hpp"

namespace caffe {

/**
 * @brief Caffe's BatchReindex with kernels of its own on the GPU.
 *
 * Caffe's own layer copies the indexes to the host in each pass there, to check
 * them, and sorts them for Backward. Here they stay on the GPU, and rows that a
 * wrong index would take are NaN.
 */
template <typename Dtype>
class GpuBatchReindexLayer : public BatchReindexLayer<Dtype> {
 public:
  explicit GpuBatchReindexLayer(const LayerParameter& param)
      : BatchReindexLayer<Dtype>(param) {}
  static bool IsWanted(const LayerParameter& param) {
    return Caffe::mode() == Caffe::GPU;
  }

 protected:
  void Forward_gpu(const vector<Blob<Dtype>*>& bottom,
                   const vector<Blob<Dtype>*>& top) override {
    const int count = top[0]->count();
    if (count == 0) { return; }
    gpu::ForEach(gpu::GatherRows<Dtype>, count, count, bottom[0]->shape(0),
                 bottom[0]->count(1), bottom[0]->gpu_data(),
                 bottom[1]->gpu_data(), top[0]->mutable_gpu_data());
  }

  void Backward_gpu(const vector<Blob<Dtype>*>& top,
                    const vector<bool>& propagate_down,
                    const vector<Blob<Dtype>*>& bottom) override {
    CHECK(!propagate_down[1])
        << OwnerOf(*this) << " has no gradient for indexes";
    if (!propagate_down[0] || bottom[0]->count() == 0) { return; }
    gpu::ForEachBlock(gpu::ScatterAddRows<Dtype>, bottom[0]->shape(0),
                      bottom[1]->count(), bottom[0]->count(1),
                      bottom[1]->gpu_data(), top[0]->gpu_diff(),
                      bottom[0]->mutable_gpu_diff());
  }
};

static ReplaceLayer<float, GpuBatchReindexLayer<float>> replace_float_reindex(
    "BatchReindex");
static ReplaceLayer<double, GpuBatchReindexLayer<double>>
    replace_double_reindex("BatchReindex");

}  // namespace caffe
