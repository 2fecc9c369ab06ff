#include <vector>

#include "layers/code_monitor_layer.hpp"
#include "layers/gpu/launch.hpp"

#include "layers/gpu/code_monitor_kernels.hpp"

namespace caffe {

template <typename Dtype>
void CodeMonitorLayer<Dtype>::Forward_gpu(const vector<Blob<Dtype>*>& bottom,
                                          const vector<Blob<Dtype>*>& top) {
  const int num = bottom[0]->shape(0);
  const int bits = bottom[0]->count(1);
  is_first_.Reshape(vector<int>{num});
  ones_.Reshape(vector<int>{bits});
  const Dtype* values = bottom[0]->gpu_data();
  gpu::ForEach(gpu::MarkFirstOccurrences<Dtype>, num, num, bits, values,
               is_first_.mutable_gpu_data());
  gpu::ForEachBlock(gpu::SummarizeCodes<Dtype>, 1, num, bits, values,
                    is_first_.gpu_data(), ones_.mutable_gpu_data(),
                    top[0]->mutable_gpu_data(), top[1]->mutable_gpu_data(),
                    top[2]->mutable_gpu_data(), top[3]->mutable_gpu_data());
}

INSTANTIATE_LAYER_GPU_FORWARD(CodeMonitorLayer);

}  // namespace caffe
