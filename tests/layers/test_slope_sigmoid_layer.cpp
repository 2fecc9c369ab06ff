#include <cmath>
#include <string>
#include <vector>

#include "layers/layer_test.hpp"
#include "layers/slope_sigmoid_layer.hpp"

namespace caffe {

template <typename D>
class SlopeSigmoidLayerTest : public LayerTest<D> {
 protected:
  typedef typename D::Dtype Dtype;

  void SetUp() override {
    LayerTest<D>::SetUp();
    values_.Reshape({2, 3});
    this->Copy({-1, -0.2, 0, 0.1, 0.5, 2}, &values_);
  }

  static LayerParameter Param(const std::string& fields,
                              const std::string& phase = "TEST") {
    return LayerTest<D>::Parse("name: 'steep' phase: " + phase
                               + " slope_sigmoid_param { " + fields + " }");
  }

  // The largest difference of the codes from a sigmoid with this slope.
  double DifferenceFrom(double slope) const {
    double largest = 0;
    for (int i = 0; i < values_.count(); ++i) {
      const double code = 1 / (1 + std::exp(-slope * values_.cpu_data()[i]));
      EXPECT_TRUE(std::isfinite(codes_.cpu_data()[i]));
      largest = std::max(largest, std::abs(code - codes_.cpu_data()[i]));
    }
    return largest;
  }

  Blob<Dtype> values_, codes_;
  const vector<Blob<Dtype>*> bottom_ = {&values_};
  const vector<Blob<Dtype>*> top_ = {&codes_};
};

TYPED_TEST_SUITE(SlopeSigmoidLayerTest, Devices, DeviceNames);

TYPED_TEST(SlopeSigmoidLayerTest, SlopeGrowsAfterEveryStepsize) {
  typedef typename TypeParam::Dtype Dtype;
  SlopeSigmoidLayer<Dtype> layer(
      this->Param("slope: 2 gamma: 3 stepsize: 2", "TRAIN"));
  layer.SetUp(this->bottom_, this->top_);
  for (const double slope : {2, 2, 6, 6, 18}) {
    for (int pass = 0; pass < 2; ++pass) {  // two passes, as with iter_size 2
      layer.Forward(this->bottom_, this->top_);
      EXPECT_LT(this->DifferenceFrom(slope), 1e-6) << slope;
    }
    layer.blobs()[0]->mutable_cpu_diff()[0] = 0;  // ends an iteration
  }
  EXPECT_EQ(layer.blobs()[0]->cpu_data()[0], 5);
}

TYPED_TEST(SlopeSigmoidLayerTest, TestPhaseHasTheSlopeOfTheCount) {
  typedef typename TypeParam::Dtype Dtype;
  SlopeSigmoidLayer<Dtype> layer(this->Param("slope: 2 gamma: 3 stepsize: 2"));
  layer.SetUp(this->bottom_, this->top_);
  layer.blobs()[0]->mutable_cpu_data()[0] = 3;
  layer.Forward(this->bottom_, this->top_);
  EXPECT_LT(this->DifferenceFrom(6), 1e-6);
  EXPECT_EQ(layer.blobs()[0]->cpu_data()[0], 3);
}

TYPED_TEST(SlopeSigmoidLayerTest, RestartsWithTheFirstSlope) {
  typedef typename TypeParam::Dtype Dtype;
  SlopeSigmoidLayer<Dtype> layer(
      this->Param("slope: 2 gamma: 3 stepsize: 2", "TRAIN"));
  layer.SetUp(this->bottom_, this->top_);
  layer.blobs()[0]->mutable_cpu_data()[0] = 7;
  dynamic_cast<Scheduled&>(layer).Restart();
  layer.Forward(this->bottom_, this->top_);
  EXPECT_LT(this->DifferenceFrom(2), 1e-6);
}

TYPED_TEST(SlopeSigmoidLayerTest, Gradients) {
  typedef typename TypeParam::Dtype Dtype;
  SlopeSigmoidLayer<Dtype> layer(this->Param("slope: 1.5"));
  layer.SetUp(this->bottom_, this->top_);
  layer.set_param_propagate_down(0, false);  // as a net does: lr_mult is 0
  this->CheckGradients(&layer, this->bottom_, this->top_);
}

TYPED_TEST(SlopeSigmoidLayerTest, InPlace) {
  typedef typename TypeParam::Dtype Dtype;
  SlopeSigmoidLayer<Dtype> layer(this->Param("slope: 1.5"));
  layer.SetUp(this->bottom_, this->top_);
  layer.Forward(this->bottom_, this->top_);
  caffe_set(6, Dtype(2), this->codes_.mutable_cpu_diff());
  layer.Backward(this->top_, {true}, this->bottom_);
  const vector<Dtype> expected(this->values_.cpu_diff(),
                               this->values_.cpu_diff() + 6);
  layer.Forward(this->bottom_, this->bottom_);
  caffe_set(6, Dtype(2), this->values_.mutable_cpu_diff());
  layer.Backward(this->bottom_, {true}, this->bottom_);
  for (int i = 0; i < 6; ++i) {
    EXPECT_EQ(this->values_.cpu_data()[i], this->codes_.cpu_data()[i]) << i;
    EXPECT_EQ(this->values_.cpu_diff()[i], expected[i]) << i;
  }
}

TYPED_TEST(SlopeSigmoidLayerTest, FarValuesSaturate) {
  typedef typename TypeParam::Dtype Dtype;
  this->Copy({-1e9, 1e9, -800, 800, 0, NAN}, &this->values_);
  SlopeSigmoidLayer<Dtype> layer(this->Param("slope: 5"));
  layer.SetUp(this->bottom_, this->top_);
  layer.Forward(this->bottom_, this->top_);
  const Dtype expected[5] = {0, 1, 0, 1, 0.5};
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(this->codes_.cpu_data()[i], expected[i]) << i;
  }
  EXPECT_TRUE(std::isnan(this->codes_.cpu_data()[5]));
}

TYPED_TEST(SlopeSigmoidLayerTest, BadInput) {
  typedef typename TypeParam::Dtype Dtype;
  const char* cases[][2] = {
      {"slope: 0", "'steep': slope is 0, .*slope: 5"},
      {"slope: nan", "'steep': slope is -?nan"},
      {"slope: inf", "'steep': slope is inf"},
      {"gamma: 0.9", "'steep': gamma is 0.9, .*at least 1"},
      {"gamma: inf", "'steep': gamma is inf"},
      {"stepsize: 0", "'steep': stepsize is 0, .*stepsize: 10000"}};
  for (const auto& bad : cases) {
    SlopeSigmoidLayer<Dtype> layer(this->Param(bad[0]));
    EXPECT_DEATH(layer.SetUp(this->bottom_, this->top_), bad[1]) << bad[0];
  }
}

}  // namespace caffe
