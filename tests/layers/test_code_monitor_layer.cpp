#include <vector>

#include "caffe/net.hpp"

#include "layers/code_monitor_layer.hpp"
#include "layers/layer_test.hpp"

namespace caffe {

template <typename D>
class CodeMonitorLayerTest : public LayerTest<D> {
 protected:
  typedef typename D::Dtype Dtype;

  void SetUp() override {
    LayerTest<D>::SetUp();
    bottom_ = {&codes_};
    top_ = {&lowest_, &highest_, &distinct_, &clipped_};
  }

  Blob<Dtype> codes_, lowest_, highest_, distinct_, clipped_;
  vector<Blob<Dtype>*> bottom_, top_;
};

TYPED_TEST_SUITE(CodeMonitorLayerTest, Devices, DeviceNames);

TYPED_TEST(CodeMonitorLayerTest, WorkedByHand) {
  typedef typename TypeParam::Dtype Dtype;
  this->codes_.Reshape(vector<int>{4, 3});
  // 0.5 itself is not a 1. The means of the bits are 1/2, 3/4 and 1/4.
  this->Copy({1, 0.6, 0.5,     // 110
              0, 0.7, 0.1,     // 010
              0.9, 1, 0,       // 110
              0.2, 0.4, 0.7},  // 001
             &this->codes_);
  CodeMonitorLayer<Dtype> layer(this->Parse("phase: TRAIN"));
  layer.SetUp(this->bottom_, this->top_);
  layer.Forward(this->bottom_, this->top_);
  EXPECT_EQ(this->lowest_.cpu_data()[0], Dtype(0.25));
  EXPECT_EQ(this->highest_.cpu_data()[0], Dtype(0.75));
  EXPECT_EQ(this->distinct_.cpu_data()[0], 3);
  EXPECT_NEAR(this->clipped_.cpu_data()[0], 4.0 / 12, 1e-6);

  this->codes_.Reshape(vector<int>{2, 2});  // another batch: 10, 10
  this->Copy({0.9, 0.2, 0.8, 0.3}, &this->codes_);
  layer.Reshape(this->bottom_, this->top_);
  layer.Forward(this->bottom_, this->top_);
  EXPECT_EQ(this->lowest_.cpu_data()[0], 0);
  EXPECT_EQ(this->highest_.cpu_data()[0], 1);
  EXPECT_EQ(this->distinct_.cpu_data()[0], 1);
  EXPECT_EQ(this->clipped_.cpu_data()[0], 0);
}

// A net with force_backward must not request a gradient from the monitor.
TYPED_TEST(CodeMonitorLayerTest, ForceBackward) {
  typedef typename TypeParam::Dtype Dtype;
  NetParameter param;
  ASSERT_TRUE(google::protobuf::TextFormat::ParseFromString(
      "force_backward: true state { phase: TRAIN }"
      "layer { name: 'data' type: 'Input' top: 'x' top: 'y'"
      "  input_param { shape { dim: 2 dim: 3 } } }"
      "layer { name: 'watch' type: 'CodeMonitor' bottom: 'x'"
      "  top: 'low' top: 'high' top: 'codes' top: 'clipped' }"
      "layer { name: 'loss' type: 'EuclideanLoss' bottom: 'x' bottom: 'y'"
      "  top: 'loss' }",
      &param));
  Net<Dtype> net(param);
  this->FillUniform(0, 1, net.blob_by_name("x").get());
  net.ForwardBackward();
  EXPECT_GT(net.blob_by_name("x")->asum_diff(), 0);
}

TYPED_TEST(CodeMonitorLayerTest, BadInput) {
  typedef typename TypeParam::Dtype Dtype;
  this->codes_.Reshape(vector<int>{4, 3});
  CodeMonitorLayer<Dtype> test_phase(this->Parse("name: 'watch' phase: TEST"));
  EXPECT_DEATH(test_phase.SetUp(this->bottom_, this->top_),
               "'watch' is for training only; add include");
  this->codes_.Reshape(vector<int>{0, 3});
  CodeMonitorLayer<Dtype> empty(this->Parse("name: 'watch' phase: TRAIN"));
  EXPECT_DEATH(empty.SetUp(this->bottom_, this->top_),
               "'watch': bottom 0 has shape 0 3 .*192 x 48");
  this->codes_.Reshape(vector<int>{4, 3});
  empty.SetUp(this->bottom_, this->top_);
  EXPECT_DEATH(empty.Backward(this->top_, {true}, this->bottom_),
               "'watch' has no gradient");
}

}  // namespace caffe
