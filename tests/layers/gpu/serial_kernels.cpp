// layers/gpu/*.cu, compiled as C++: the kernels and what starts them run on the
// CPU, on the memory of the CPU.
#include <cmath>
#include <cstring>
#include <vector>

#include "caffe/layers/batch_norm_layer.hpp"
#include "caffe/layers/batch_reindex_layer.hpp"
#include "caffe/layers/scale_layer.hpp"
#include "caffe/util/math_functions.hpp"

#include "layers/code_monitor_layer.hpp"
#include "layers/divide_and_encode_layer.hpp"
#include "layers/gpu/serial_launch.hpp"
#include "layers/piecewise_threshold_layer.hpp"
#include "layers/replace_layer.hpp"
#include "layers/triplet_ranking_loss_layer.hpp"

#define gpu_data cpu_data
#define mutable_gpu_data mutable_cpu_data
#define gpu_diff cpu_diff
#define mutable_gpu_diff mutable_cpu_diff

#include "layers/gpu/batch_norm_layer.cu"
#include "layers/gpu/batch_reindex_layer.cu"
#include "layers/gpu/code_monitor_layer.cu"
#include "layers/gpu/divide_and_encode_layer.cu"
#include "layers/gpu/piecewise_threshold_layer.cu"
#include "layers/gpu/scale_layer.cu"
#include "layers/gpu/triplet_ranking_loss_layer.cu"

namespace caffe {

// A build without CUDA refuses to copy in GPU mode.
template <>
void caffe_copy(const int count, const float* from, float* to) {
  if (from != to) { std::memcpy(to, from, count * sizeof(float)); }
}
template <>
void caffe_copy(const int count, const double* from, double* to) {
  if (from != to) { std::memcpy(to, from, count * sizeof(double)); }
}

int& gpu::SerialGrid() {
  static int grid = 1;
  return grid;
}

LayerParameter ChooseEngine(const LayerParameter& param) { return param; }

}  // namespace caffe
