#include "layers/code_monitor_layer.hpp"

#include <algorithm>
#include <set>
#include <vector>

#include "layers/owner.hpp"

namespace caffe {

template <typename Dtype>
void CodeMonitorLayer<Dtype>::LayerSetUp(const vector<Blob<Dtype>*>& bottom,
                                         const vector<Blob<Dtype>*>& top) {
  CHECK_EQ(this->phase_, TRAIN)
      << OwnerOf(*this)
      << " is for training only; add include { phase: TRAIN } to it";
}

template <typename Dtype>
void CodeMonitorLayer<Dtype>::Reshape(const vector<Blob<Dtype>*>& bottom,
                                      const vector<Blob<Dtype>*>& top) {
  CHECK(bottom[0]->num_axes() >= 1 && bottom[0]->count() > 0)
      << OwnerOf(*this) << ": bottom 0 has shape " << bottom[0]->shape_string()
      << "; codes are N x q with at least one value, for example 192 x 48";
  const vector<int> scalar(0);
  for (size_t i = 0; i < top.size(); ++i) { top[i]->Reshape(scalar); }
}

template <typename Dtype>
void CodeMonitorLayer<Dtype>::Forward_cpu(const vector<Blob<Dtype>*>& bottom,
                                          const vector<Blob<Dtype>*>& top) {
  const int num = bottom[0]->shape(0);
  const int bits = bottom[0]->count(1);
  const Dtype* values = bottom[0]->cpu_data();  // num x bits
  vector<int> ones(bits, 0);
  std::set<vector<bool>> codes;
  int clipped = 0;
  for (int n = 0; n < num; ++n) {
    vector<bool> code(bits);
    for (int i = 0; i < bits; ++i) {
      const Dtype value = values[n * bits + i];
      code[i] = value > Dtype(0.5);
      ones[i] += code[i];
      clipped += value == 0 || value == 1;
    }
    codes.insert(code);
  }
  const int lowest = *std::min_element(ones.begin(), ones.end());
  const int highest = *std::max_element(ones.begin(), ones.end());
  top[0]->mutable_cpu_data()[0] = Dtype(lowest) / num;
  top[1]->mutable_cpu_data()[0] = Dtype(highest) / num;
  top[2]->mutable_cpu_data()[0] = codes.size();
  top[3]->mutable_cpu_data()[0] = Dtype(clipped) / (num * bits);
}

template <typename Dtype>
void CodeMonitorLayer<Dtype>::Backward_cpu(const vector<Blob<Dtype>*>& top,
                                           const vector<bool>& propagate_down,
                                           const vector<Blob<Dtype>*>& bottom) {
  CHECK(!propagate_down[0]) << OwnerOf(*this) << " has no gradient; remove the"
                            << " loss_weight of its tops";
}

#ifdef CPU_ONLY
STUB_GPU_FORWARD(CodeMonitorLayer, Forward);
#endif

INSTANTIATE_CLASS(CodeMonitorLayer);
REGISTER_LAYER_CLASS(CodeMonitor);

}  // namespace caffe
