#include <string>
#include <vector>

#include "layers/layer_test.hpp"
#include "layers/resize_layer.hpp"

namespace caffe {

template <typename D>
class ResizeLayerTest : public LayerTest<D> {
 protected:
  typedef typename D::Dtype Dtype;

  LayerParameter Param(int size) {
    return this->Parse(
        "name: 'larger' resize_param { size: " + std::to_string(size) + " }");
  }

  Blob<Dtype> images_, resized_;
  const vector<Blob<Dtype>*> bottom_ = {&images_}, top_ = {&resized_};
};

TYPED_TEST_SUITE(ResizeLayerTest, Devices, DeviceNames);

// Two pixels become four, at -0.25, 0.25, 0.75 and 1.25 between them; at
// either end the weights of what lies outside go to the two pixels.
TYPED_TEST(ResizeLayerTest, WorkedByHand) {
  typedef typename TypeParam::Dtype Dtype;
  this->images_.Reshape({1, 1, 1, 2});
  this->Copy({0, 1}, &this->images_);
  ResizeLayer<Dtype> layer(this->Param(4));
  layer.SetUp(this->bottom_, this->top_);
  layer.Forward(this->bottom_, this->top_);
  // Cubic(0.25) = 0.8671875, Cubic(0.75) = 0.2265625, Cubic(1.25) = -0.0703125
  const double outside = -0.0703125 / (0.8671875 - 0.0703125);
  const double inside = 0.2265625 / (0.8671875 + 0.2265625);
  const double expected[4] = {outside, inside, 1 - inside, 1 - outside};
  ASSERT_EQ(this->resized_.shape(), (vector<int>{1, 1, 4, 4}));
  for (int i = 0; i < 16; ++i) {
    EXPECT_NEAR(this->resized_.cpu_data()[i], expected[i % 4], 1e-6) << i;
  }
}

TYPED_TEST(ResizeLayerTest, ConstantsStayAndChannelsAreApart) {
  typedef typename TypeParam::Dtype Dtype;
  this->images_.Reshape({2, 3, 5, 7});
  for (int i = 0; i < this->images_.count(); ++i) {
    this->images_.mutable_cpu_data()[i] = i / 35;
  }
  for (int size : {3, 11}) {
    ResizeLayer<Dtype> layer(this->Param(size));
    layer.SetUp(this->bottom_, this->top_);
    layer.Forward(this->bottom_, this->top_);
    for (int i = 0; i < this->resized_.count(); ++i) {
      EXPECT_NEAR(this->resized_.cpu_data()[i], i / (size * size), 1e-5);
    }
  }
}

// Of eight pixels in two, each is in the average: the kernel is four times as
// wide.
TYPED_TEST(ResizeLayerTest, SmallerImagesAreAverages) {
  typedef typename TypeParam::Dtype Dtype;
  this->images_.Reshape({1, 1, 1, 8});
  this->Copy({1, 0, 0, 0, 0, 0, 0, 0}, &this->images_);
  ResizeLayer<Dtype> layer(this->Param(2));
  layer.SetUp(this->bottom_, this->top_);
  layer.Forward(this->bottom_, this->top_);
  // Cubic(d) at distances of 1.5, 0.5, 0.5, 1.5, 2.5, ... pixels over 4.
  const double sum = 0.727539 + 0.963867 + 0.963867 + 0.727539 + 0.389648
      + 0.090820 - 0.047852 - 0.073242;
  EXPECT_NEAR(this->resized_.cpu_data()[0], 0.727539 / sum, 1e-5);
  EXPECT_NEAR(this->resized_.cpu_data()[1], -0.073242 / sum, 1e-5);
}

TYPED_TEST(ResizeLayerTest, SameSizeIsTheIdentity) {
  typedef typename TypeParam::Dtype Dtype;
  this->images_.Reshape({2, 3, 6, 6});
  this->FillUniform(0, 255, &this->images_);
  ResizeLayer<Dtype> layer(this->Param(6));
  layer.SetUp(this->bottom_, this->top_);
  layer.Forward(this->bottom_, this->top_);
  for (int i = 0; i < this->images_.count(); ++i) {
    EXPECT_NEAR(this->resized_.cpu_data()[i], this->images_.cpu_data()[i],
                1e-3);
  }
}

TYPED_TEST(ResizeLayerTest, Gradients) {
  typedef typename TypeParam::Dtype Dtype;
  this->images_.Reshape({1, 2, 4, 3});
  this->FillUniform(-1, 1, &this->images_);
  for (int size : {2, 5}) {
    ResizeLayer<Dtype> layer(this->Param(size));
    layer.SetUp(this->bottom_, this->top_);
    this->CheckGradients(&layer, this->bottom_, this->top_);
  }
}

TYPED_TEST(ResizeLayerTest, SizeMayChange) {
  typedef typename TypeParam::Dtype Dtype;
  ResizeLayer<Dtype> layer(this->Param(5));
  this->images_.Reshape({1, 1, 2, 3});
  layer.SetUp(this->bottom_, this->top_);
  this->images_.Reshape({2, 1, 7, 4});
  caffe_set(56, Dtype(3), this->images_.mutable_cpu_data());
  layer.Reshape(this->bottom_, this->top_);
  layer.Forward(this->bottom_, this->top_);
  ASSERT_EQ(this->resized_.shape(), (vector<int>{2, 1, 5, 5}));
  for (int i = 0; i < 50; ++i) {
    EXPECT_NEAR(this->resized_.cpu_data()[i], 3, 1e-5);
  }
}

TYPED_TEST(ResizeLayerTest, BadInput) {
  typedef typename TypeParam::Dtype Dtype;
  this->images_.Reshape({1, 1, 2, 2});
  for (int size : {0, 4097}) {
    ResizeLayer<Dtype> layer(this->Param(size));
    EXPECT_DEATH(layer.SetUp(this->bottom_, this->top_),
                 "'larger': size is (0|4097), .*from 1 to 4096.*size: 129");
  }
  ResizeLayer<Dtype> layer(this->Param(5));
  EXPECT_DEATH(layer.SetUp(this->bottom_, this->bottom_),
               "'larger': top and bottom are one blob; .*name another top");
  for (const vector<int>& shape :
       {vector<int>{4, 4}, vector<int>{1, 1, 0, 3}}) {
    this->images_.Reshape(shape);
    EXPECT_DEATH(layer.SetUp(this->bottom_, this->top_),
                 "'larger': the images have shape .*N x C x H x W");
  }
}

}  // namespace caffe
