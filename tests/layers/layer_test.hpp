#ifndef DNNH_TESTS_LAYERS_LAYER_TEST_HPP_
#define DNNH_TESTS_LAYERS_LAYER_TEST_HPP_

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <string>
#include <vector>

#include "caffe/blob.hpp"
#include "caffe/common.hpp"
#include "caffe/layer.hpp"
#include "caffe/proto/caffe.pb.h"

#include "google/protobuf/text_format.h"

#include "layers/gpu/gpu_problem.hpp"

namespace caffe {

template <typename T, Caffe::Brew brew>
struct Device {
  typedef T Dtype;
  static const Caffe::Brew mode = brew;
};

typedef ::testing::Types<Device<float, Caffe::GPU>, Device<double, Caffe::GPU>>
    GpuDevices;

#if defined(DNNH_SERIAL_KERNELS)  // see gpu/serial_kernels.cpp
typedef GpuDevices Devices;
#elif defined(CPU_ONLY)
typedef ::testing::Types<Device<float, Caffe::CPU>, Device<double, Caffe::CPU>>
    Devices;
#else
typedef ::testing::Types<Device<float, Caffe::CPU>, Device<double, Caffe::CPU>,
                         Device<float, Caffe::GPU>, Device<double, Caffe::GPU>>
    Devices;
#endif

struct DeviceNames {
  template <typename D>
  static std::string GetName(int) {
    return std::string(D::mode == Caffe::GPU ? "GPU" : "CPU")
        + (sizeof(typename D::Dtype) == sizeof(double) ? "Double" : "Float");
  }
};

// A test that runs for float and double, on the CPU and, in a CUDA build, on
// the GPU. Without a GPU these are skipped with a reason. With DNNH_REQUIRE_GPU
// in the environment, whatever its value, they fail instead.
template <typename D>
class LayerTest : public ::testing::Test {
 public:
  typedef typename D::Dtype Dtype;

 protected:
  virtual void SetUp() {
    Caffe::set_random_seed(1701);
    if (D::mode == Caffe::GPU) {
#ifndef DNNH_SERIAL_KERNELS
      const std::string problem = GpuProblem(0);
      if (!problem.empty()) {
        ASSERT_EQ(std::getenv("DNNH_REQUIRE_GPU"), nullptr) << problem;
        GTEST_SKIP() << problem;
      }
#endif
    }
    Caffe::set_mode(D::mode);
  }

  static LayerParameter Parse(const std::string& text) {
    LayerParameter param;
    CHECK(google::protobuf::TextFormat::ParseFromString(text, &param)) << text;
    return param;
  }

  // Fills a blob with values drawn uniformly from [low, high].
  static void FillUniform(Dtype low, Dtype high, Blob<Dtype>* blob) {
    caffe_rng_uniform<Dtype>(blob->count(), low, high,
                             blob->mutable_cpu_data());
  }

  static void Copy(const std::vector<Dtype>& values, Blob<Dtype>* blob) {
    ASSERT_EQ(values.size(), static_cast<size_t>(blob->count()));
    std::copy(values.begin(), values.end(), blob->mutable_cpu_data());
  }

  // Fills a batch: codes between 0 and 1 of images with the given labels,
  // `classes` values for each image.
  static void FillBatch(const std::vector<Dtype>& values, int classes, int bits,
                        Blob<Dtype>* codes, Blob<Dtype>* labels) {
    const int num = values.size() / classes;
    codes->Reshape({num, bits});
    labels->Reshape(classes == 1 ? std::vector<int>{num}
                                 : std::vector<int>{num, classes});
    Copy(values, labels);
    FillUniform(0, 1, codes);
  }

  // Checks every gradient that `layer` gives against central differences of
  // E = sum over all of tops[0] of weight * top, with weights that differ from
  // element to element, so that no two errors cancel.
  //
  // In double precision a step of 1e-4 gives differences accurate to 1e-7 or
  // better for our at most quadratic functions. In float a step of 1e-2 keeps
  // rounding errors (1e-7 of E, divided by the step) below the tolerance.
  //
  // The last `labels` bottoms have no gradient.
  static void CheckGradients(Layer<Dtype>* layer,
                             const std::vector<Blob<Dtype>*>& bottom,
                             const std::vector<Blob<Dtype>*>& top,
                             int labels = 0) {
    const bool is_double = sizeof(Dtype) == sizeof(double);
    const Dtype step = is_double ? 1e-4 : 1e-2;
    const Dtype tolerance = is_double ? 1e-6 : 2e-3;
    std::vector<Blob<Dtype>*> inputs(bottom.begin(), bottom.end() - labels);
    std::vector<bool> propagate_down(inputs.size(), true);
    propagate_down.resize(bottom.size(), false);
    for (size_t i = 0; i < layer->blobs().size(); ++i) {
      // Skips blobs without a gradient (learning rate 0).
      if (layer->param_propagate_down(i)) {
        inputs.push_back(layer->blobs()[i].get());
      }
    }
    layer->Reshape(bottom, top);
    layer->Forward(bottom, top);
    Weigh(top[0]);
    for (size_t i = 0; i < layer->blobs().size(); ++i) {
      Blob<Dtype>* blob = layer->blobs()[i].get();
      caffe_set(blob->count(), Dtype(0), blob->mutable_cpu_diff());
    }
    layer->Backward(top, propagate_down, bottom);
    int nonzero = 0;
    for (size_t k = 0; k < inputs.size(); ++k) {
      const std::vector<Dtype> gradient(
          inputs[k]->cpu_diff(), inputs[k]->cpu_diff() + inputs[k]->count());
      for (int i = 0; i < inputs[k]->count(); ++i) {
        const Dtype value = inputs[k]->cpu_data()[i];
        inputs[k]->mutable_cpu_data()[i] = value + step;
        const Dtype above = Objective(layer, bottom, top);
        inputs[k]->mutable_cpu_data()[i] = value - step;
        const Dtype below = Objective(layer, bottom, top);
        inputs[k]->mutable_cpu_data()[i] = value;
        ASSERT_TRUE(std::isfinite(gradient[i]));
        EXPECT_NEAR(gradient[i], (above - below) / (2 * step), tolerance)
            << "blob " << k << ", element " << i;
        nonzero += std::abs(gradient[i]) > 10 * tolerance;
      }
    }
    EXPECT_GT(nonzero, 0) << "all gradients are nearly 0: nothing was tested";
  }

 private:
  // dE/dtop, the weights of E: 0.5, 0.8, 1.1, ... over and over.
  static void Weigh(Blob<Dtype>* top) {
    for (int i = 0; i < top->count(); ++i) {
      top->mutable_cpu_diff()[i] = 0.5 + 0.3 * (i % 5);
    }
  }

  static Dtype Objective(Layer<Dtype>* layer,
                         const std::vector<Blob<Dtype>*>& bottom,
                         const std::vector<Blob<Dtype>*>& top) {
    layer->Forward(bottom, top);
    Dtype sum = 0;
    for (int i = 0; i < top[0]->count(); ++i) {
      sum += top[0]->cpu_data()[i] * (0.5 + 0.3 * (i % 5));
    }
    return sum;
  }
};

}  // namespace caffe

#endif  // DNNH_TESTS_LAYERS_LAYER_TEST_HPP_
