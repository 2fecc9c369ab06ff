#include <string>
#include <vector>

#include "caffe/layer_factory.hpp"
#include "caffe/layers/conv_layer.hpp"

#include "layers/fused_convolution_layer.hpp"
#include "layers/layer_test.hpp"

namespace caffe {

template <typename D>
class FusedConvolutionLayerTest : public LayerTest<D> {
 protected:
  typedef typename D::Dtype Dtype;

  void SetUp() override {
    LayerTest<D>::SetUp();
    images_.Reshape({2, 3, 5, 4});
    this->FillUniform(-1, 1, &images_);
  }

  LayerParameter Param(const std::string& clip, Phase phase = TEST) {
    LayerParameter param = this->Parse(
        "name: 'c' convolution_param { num_output: 4 kernel_size: 3 pad: 1"
        " weight_filler { type: 'xavier' } bias_filler { type: 'gaussian' } } "
        + clip);
    param.set_phase(phase);
    return param;
  }

  Blob<Dtype> images_, outputs_;
  const vector<Blob<Dtype>*> bottom_ = {&images_}, top_ = {&outputs_};
};

TYPED_TEST_SUITE(FusedConvolutionLayerTest, Devices, DeviceNames);

TYPED_TEST(FusedConvolutionLayerTest, ConvolvesAndClips) {
  typedef typename TypeParam::Dtype Dtype;
  ConvolutionLayer<Dtype> convolution(this->Param(""));
  Blob<Dtype> expected;
  convolution.SetUp(this->bottom_, {&expected});
  convolution.Forward(this->bottom_, {&expected});
  const double infinity = std::numeric_limits<double>::infinity();
  const struct {
    const char* clip;
    double min, max;
  } cases[] = {{"", -infinity, infinity},
               {"clip_param { min: 0 max: inf }", 0, infinity},
               {"clip_param { min: -0.25 max: 0.5 }", -0.25, 0.5}};
  for (const auto& of : cases) {
    FusedConvolutionLayer<Dtype> layer(this->Param(of.clip));
    layer.SetUp(this->bottom_, this->top_);
    for (int i = 0; i < 2; ++i) {
      layer.blobs()[i]->CopyFrom(*convolution.blobs()[i]);
    }
    layer.Forward(this->bottom_, this->top_);
    ASSERT_EQ(this->outputs_.shape(), expected.shape());
    for (int i = 0; i < expected.count(); ++i) {
      const double value = expected.cpu_data()[i];
      EXPECT_NEAR(this->outputs_.cpu_data()[i],
                  std::min(std::max(value, of.min), of.max), 1e-6)
          << of.clip;
    }
  }
}

TYPED_TEST(FusedConvolutionLayerTest, TakesNewWeights) {
  typedef typename TypeParam::Dtype Dtype;
  LayerParameter param = this->Param("");
  param.set_type("FusedConvolution");
  const shared_ptr<Layer<Dtype>> layer =  // oneDNN's, of floats
      LayerRegistry<Dtype>::CreateLayer(param);
  layer->SetUp(this->bottom_, this->top_);
  layer->Forward(this->bottom_, this->top_);
  for (bool shared : {false, true}) {
    ConvolutionLayer<Dtype> convolution(this->Param(""));
    Blob<Dtype> expected;
    convolution.SetUp(this->bottom_, {&expected});
    convolution.Forward(this->bottom_, {&expected});
    for (int i = 0; i < 2; ++i) {
      if (shared) {
        layer->blobs()[i]->ShareData(*convolution.blobs()[i]);
      } else {
        layer->blobs()[i]->CopyFrom(*convolution.blobs()[i]);
      }
    }
    layer->Forward(this->bottom_, this->top_);
    for (int i = 0; i < expected.count(); ++i) {
      ASSERT_NEAR(this->outputs_.cpu_data()[i], expected.cpu_data()[i], 1e-5);
    }
  }
}

TYPED_TEST(FusedConvolutionLayerTest, WhatCannotBe) {
  typedef typename TypeParam::Dtype Dtype;
  const auto set_up = [this](const LayerParameter& param) {
    FusedConvolutionLayer<Dtype>(param).SetUp(this->bottom_, this->top_);
  };
  EXPECT_DEATH(set_up(this->Param("", TRAIN)),
               "FusedConvolution layer 'c' has no gradients");
  EXPECT_DEATH(set_up(this->Param("clip_param { min: 6 max: 0 }")),
               "clips from 6 to 0; the first must not be greater");
}

}  // namespace caffe
