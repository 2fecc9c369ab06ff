#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "caffe/layer_factory.hpp"
#include "caffe/util/math_functions.hpp"

#ifdef DNNH_SERIAL_KERNELS
#include "layers/gpu/serial_grid.hpp"
#endif
#include "layers/layer_test.hpp"

namespace caffe {

// Each layer that has kernels of its own, beside its CPU implementation: the
// tops, and the gradients of bottoms and weights.
template <typename D>
class GpuLayersTest : public LayerTest<D> {
 protected:
  typedef typename D::Dtype Dtype;
  typedef std::vector<std::unique_ptr<Blob<Dtype>>> Blobs;

  // What a layer computes.
  struct Results {
    Blobs bottoms, tops, weights;
  };

  // The bottoms are uniform in [low, high], the weights in [0.5, 1.5].
  void SetRange(double low, double high) {
    low_ = low;
    high_ = high;
  }
  // Many values of the bottoms are exactly 0 or 1.
  void SetClipped() { is_clipped_ = true; }
  void SetLearning(const std::vector<bool>& learns) { learns_ = learns; }
  // Bottom 1 has rows of bottom 0.
  void SetIndexed() { is_indexed_ = true; }
  // How far results may be apart. Sums are added up in another order.
  void SetTolerance(double of_float) { of_float_ = of_float; }

  void Compare(const std::string& fields,
               const std::vector<std::vector<int>>& shapes, int tops,
               bool in_place = false) {
    const Results cpu = Run(Caffe::CPU, fields, shapes, tops, in_place);
#ifdef DNNH_SERIAL_KERNELS
    for (int grid = 0; grid < gpu::kSerialGrids; ++grid) {
      gpu::SerialGrid() = grid;
#else
    {
      const int grid = 0;
#endif
      const Results gpu = Run(D::mode, fields, shapes, tops, in_place);
      const std::string what = fields + (in_place ? " in place" : "")
          + ", grid " + std::to_string(grid);
      ExpectNear(cpu.bottoms, gpu.bottoms, what + ", bottom");
      ExpectNear(cpu.tops, gpu.tops, what + ", top");
      ExpectNear(cpu.weights, gpu.weights, what + ", weights");
    }
  }

 private:
  Results Run(Caffe::Brew mode, const std::string& fields,
              const std::vector<std::vector<int>>& shapes, int tops,
              bool in_place) {
    Caffe::set_random_seed(7);
    Caffe::set_mode(mode);
    Results results;
    std::vector<Blob<Dtype>*> bottom, top;
    for (size_t i = 0; i < shapes.size(); ++i) {
      results.bottoms.emplace_back(new Blob<Dtype>(shapes[i]));
      bottom.push_back(results.bottoms.back().get());
      this->FillUniform(low_, high_, bottom.back());
      Dtype* values = bottom.back()->mutable_cpu_data();
      for (int k = 0; k < bottom.back()->count() && is_clipped_; ++k) {
        values[k] = std::min<Dtype>(1, std::max<Dtype>(0, values[k]));
      }
    }
    if (is_indexed_) { TakeIndexes(shapes[0][0], bottom[1]); }
    for (int i = 0; i < tops && !in_place; ++i) {
      results.tops.emplace_back(new Blob<Dtype>());
      top.push_back(results.tops.back().get());
    }
    if (in_place) { top = bottom; }
    const shared_ptr<Layer<Dtype>> layer =
        LayerRegistry<Dtype>::CreateLayer(this->Parse(fields));
    layer->SetUp(bottom, top);
    for (size_t i = 0; i < learns_.size(); ++i) {
      layer->set_param_propagate_down(i, learns_[i]);
    }
    for (const shared_ptr<Blob<Dtype>>& weights : layer->blobs()) {
      this->FillUniform(0.5, 1.5, weights.get());
    }
    // Twice: statistics go on, and gradients of weights add up.
    for (int pass = 0; pass < 2; ++pass) {
      if (in_place) { this->FillUniform(low_, high_, bottom[0]); }
      layer->Forward(bottom, top);
      if (in_place) { results.tops.push_back(CopyOf(top[0])); }
      if (layer->layer_param().type() == "CodeMonitor") { continue; }
      for (Blob<Dtype>* blob : top) {
        caffe_rng_uniform<Dtype>(blob->count(), -1, 1,
                                 blob->mutable_cpu_diff());
      }
      std::vector<bool> propagate_down(bottom.size(), true);
      if (is_indexed_) { propagate_down[1] = false; }
      layer->Backward(top, propagate_down, bottom);
    }
    for (const shared_ptr<Blob<Dtype>>& weights : layer->blobs()) {
      results.weights.push_back(CopyOf(weights.get()));
    }
    return results;
  }

  static std::unique_ptr<Blob<Dtype>> CopyOf(Blob<Dtype>* blob) {
    std::unique_ptr<Blob<Dtype>> copy(new Blob<Dtype>(blob->shape()));
    const int count = blob->count();
    std::copy(blob->cpu_data(), blob->cpu_data() + count,
              copy->mutable_cpu_data());
    std::copy(blob->cpu_diff(), blob->cpu_diff() + count,
              copy->mutable_cpu_diff());
    return copy;
  }

  static void TakeIndexes(int rows, Blob<Dtype>* blob) {
    for (int i = 0; i < blob->count(); ++i) {
      // Row 1 is taken by none.
      const int row = (7 * i + i / 5) % rows;
      blob->mutable_cpu_data()[i] = row == 1 ? 0 : row;
    }
  }

  void ExpectNear(const Blobs& cpu, const Blobs& gpu, const std::string& what) {
    const double tolerance =
        sizeof(Dtype) == sizeof(float) ? of_float_ : of_float_ * 1e-8;
    ASSERT_EQ(cpu.size(), gpu.size());
    for (size_t i = 0; i < cpu.size(); ++i) {
      ASSERT_EQ(cpu[i]->shape(), gpu[i]->shape()) << what << i;
      for (int k = 0; k < cpu[i]->count(); ++k) {
        const double value = cpu[i]->cpu_data()[k];
        ASSERT_NEAR(value, gpu[i]->cpu_data()[k],
                    tolerance * (1 + std::abs(value)))
            << what << i << ", value " << k;
        const double gradient = cpu[i]->cpu_diff()[k];
        ASSERT_NEAR(gradient, gpu[i]->cpu_diff()[k],
                    tolerance * (1 + std::abs(gradient)))
            << what << i << ", gradient " << k;
      }
    }
  }

  double low_ = -1, high_ = 1, of_float_ = 1e-5;
  bool is_clipped_ = false, is_indexed_ = false;
  std::vector<bool> learns_;  // which blobs get gradients; empty: all
};

// Large shapes take the serial launcher too long.
#ifdef DNNH_SERIAL_KERNELS
const bool kIsOnGpu = false;
#else
const bool kIsOnGpu = true;
#endif

TYPED_TEST_SUITE(GpuLayersTest, GpuDevices, DeviceNames);

TYPED_TEST(GpuLayersTest, DivideAndEncode) {
  for (const char* bias : {"bias_term: false", "bias_term: true"}) {
    const std::string fields = std::string(
                                   "type: 'DivideAndEncode'"
                                   " divide_and_encode_param { ")
        + bias + " num_output: ";
    this->Compare(fields + "3 }", {{5, 11, 1, 1}}, 1);  // unequal slices
    this->Compare(fields + "4 }", {{1, 4}}, 1);         // a feature each
    this->Compare(fields + "48 }", {{13, 2400}}, 1);
  }
}

TYPED_TEST(GpuLayersTest, PiecewiseThreshold) {
  this->SetRange(0, 1);
  const std::string fields =
      "type: 'PiecewiseThreshold' piecewise_threshold_param { epsilon: 0.3 }";
  for (const bool in_place : {false, true}) {
    this->Compare(fields, {{1, 1}}, 1, in_place);
    this->Compare(fields, {{37, 29}}, 1, in_place);
  }
}

TYPED_TEST(GpuLayersTest, TripletRankingLoss) {
  const std::string fields =
      "type: 'TripletRankingLoss' loss_weight: 2 triplet_ranking_loss_param"
      " { margin: 0.5 }";
  for (const int tops : {1, 2}) {
    this->Compare(fields, {{1, 1}, {1, 1}, {1, 1}}, tops);
    this->Compare(fields, {{70, 9}, {70, 9}, {70, 9}}, tops);
    this->Compare(fields, {{1300, 5}, {1300, 5}, {1300, 5}}, tops);
  }
}

TYPED_TEST(GpuLayersTest, CodeMonitor) {
  this->SetRange(-0.5, 1.5);
  this->SetClipped();
  const std::string fields = "type: 'CodeMonitor' phase: TRAIN";
  this->Compare(fields, {{1, 1}}, 4);
  this->Compare(fields, {{40, 3}}, 4);  // many are the same
  this->Compare(fields, {{70, 37}}, 4);
}

TYPED_TEST(GpuLayersTest, BatchNorm) {
  this->SetTolerance(1e-4);
  for (const char* phase : {"TRAIN", "TEST"}) {
    const std::string fields = std::string("type: 'BatchNorm' phase: ") + phase
        + " batch_norm_param { moving_average_fraction: 0.9 }";
    for (const bool in_place : {false, true}) {
      this->SetRange(-1, 1);
      this->Compare(fields, {{5, 3, 4, 7}}, 1, in_place);
      this->Compare(fields, {{20, 2, 5, 5}}, 1, in_place);
      this->Compare(fields, {{33, 12}}, 1, in_place);
      if (kIsOnGpu) { this->Compare(fields, {{64, 40, 16, 16}}, 1, in_place); }
      this->SetRange(99, 101);  // the mean is far from 0
      this->Compare(fields, {{9, 3, 5, 5}}, 1, in_place);
    }
  }
}

TYPED_TEST(GpuLayersTest, Scale) {
  this->SetTolerance(1e-4);
  for (const char* bias : {"bias_term: true", "bias_term: false"}) {
    const std::string fields =
        std::string("type: 'Scale' scale_param { ") + bias;
    for (const bool in_place : {false, true}) {
      this->Compare(fields + " }", {{5, 3, 4, 7}}, 1, in_place);
      this->Compare(fields + " }", {{20, 2, 5, 5}}, 1, in_place);
      this->Compare(fields + " }", {{33, 12}}, 1, in_place);
      this->Compare(fields + " num_axes: 2 }", {{3, 4, 5, 2}}, 1, in_place);
      if (kIsOnGpu) {
        this->Compare(fields + " }", {{64, 40, 16, 16}}, 1, in_place);
      }
    }
  }
}

TYPED_TEST(GpuLayersTest, ScaleWithFrozenParameters) {
  this->SetTolerance(1e-4);
  for (const std::vector<bool>& learns : std::vector<std::vector<bool>>{
           {false, true}, {true, false}, {false, false}}) {
    this->SetLearning(learns);
    for (const bool in_place : {false, true}) {
      this->Compare("type: 'Scale' scale_param { bias_term: true }",
                    {{5, 3, 4, 7}}, 1, in_place);
    }
  }
}

TYPED_TEST(GpuLayersTest, BatchReindex) {
  this->SetIndexed();
  for (const int columns : {2, 3, 5}) {  // threads share the rows
    this->Compare("type: 'BatchReindex'", {{6, columns}, {23}}, 1);
  }
  this->Compare("type: 'BatchReindex'", {{6, 48}, {200}}, 1);
  if (kIsOnGpu) {
    this->Compare("type: 'BatchReindex'", {{64, 48}, {6400}}, 1);
  }
  this->Compare("type: 'BatchReindex'", {{3, 700}, {17}}, 1);
  this->Compare("type: 'BatchReindex'", {{4, 2, 3}, {1}}, 1);
}

// The CPU stops at a wrong index; on the GPU its row is NaN.
TYPED_TEST(GpuLayersTest, WrongIndexGivesNaN) {
  typedef typename TypeParam::Dtype Dtype;
  Blob<Dtype> rows(vector<int>{2, 3}), index(vector<int>{4}), top;
  this->FillUniform(0, 1, &rows);
  this->Copy({0, 2, -1, 1}, &index);
  const shared_ptr<Layer<Dtype>> layer =
      LayerRegistry<Dtype>::CreateLayer(this->Parse("type: 'BatchReindex'"));
  layer->SetUp({&rows, &index}, {&top});
  layer->Forward({&rows, &index}, {&top});
  for (int i = 0; i < top.count(); ++i) {
    EXPECT_EQ(std::isnan(top.cpu_data()[i]), i / 3 == 1 || i / 3 == 2) << i;
  }
}

}  // namespace caffe
