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
  is_new_.Reshape(vector<int>(1, num));
  ones_.Reshape(vector<int>(1, bits));
  const Dtype* values = bottom[0]->gpu_data();
  gpu::ForEach(gpu::FindNewCodes<Dtype>, num, num, bits, values,
               is_new_.mutable_gpu_data());
  gpu::ForEachBlock(gpu::SummarizeCodes<Dtype>, 1, num, bits, values,
                    is_new_.gpu_data(), ones_.mutable_gpu_data(),
                    top[0]->mutable_gpu_data(), top[1]->mutable_gpu_data(),
                    top[2]->mutable_gpu_data(), top[3]->mutable_gpu_data());
}

template void CodeMonitorLayer<float>::Forward_gpu(
    const vector<Blob<float>*>& bottom, const vector<Blob<float>*>& top);
template void CodeMonitorLayer<double>::Forward_gpu(
    const vector<Blob<double>*>& bottom, const vector<Blob<double>*>& top);

}  // namespace caffe
