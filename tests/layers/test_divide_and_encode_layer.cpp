#include <string>
#include <vector>

#include "layers/divide_and_encode_layer.hpp"
#include "layers/layer_test.hpp"

namespace caffe {

// 7 features in 3 slices: 7 = 3 * 2 + 1, so the first slice has 3, the
// others 2.
const int kFeatures = 7, kBits = 3;
const int kSliceOf[kFeatures] = {0, 0, 0, 1, 1, 2, 2};
const char kUnequal[] =
    "divide_and_encode_param { num_output: 3 bias_term: true"
    " weight_filler { type: 'uniform' min: -1 max: 1 }"
    " bias_filler { type: 'uniform' min: -1 max: 1 } }";

TEST(FeatureSlicesTest, EveryFeatureHasItsBit) {
  for (int bits = 1; bits <= 12; ++bits) {
    for (int features = bits; features <= 40; ++features) {
      const FeatureSlices slices(features, bits);
      ASSERT_EQ(slices.begin(0), 0);
      ASSERT_EQ(slices.begin(bits), features);
      for (int i = 0; i < bits; ++i) {
        const int length = slices.begin(i + 1) - slices.begin(i);
        // Footnote 4: with d = q s + c, c slices of s + 1, then q - c of s.
        ASSERT_EQ(length, features / bits + (i < features % bits));
        for (int j = slices.begin(i); j < slices.begin(i + 1); ++j) {
          ASSERT_EQ(slices.bit(j), i);
        }
      }
    }
  }
}

template <typename D>
class DivideAndEncodeLayerTest : public LayerTest<D> {
 protected:
  typedef typename D::Dtype Dtype;

  void SetUp() override {
    LayerTest<D>::SetUp();
    Reshape(4);
    bottom_ = {&features_};
    top_ = {&values_};
  }

  void Reshape(int num) {
    features_.Reshape(vector<int>{num, kFeatures});
    this->FillUniform(-1, 1, &features_);
  }

  void ExpectPlainValues(const DivideAndEncodeLayer<Dtype>& layer) {
    const Dtype* weights =
        const_cast<DivideAndEncodeLayer<Dtype>&>(layer).blobs()[0]->cpu_data();
    const Dtype* bias =
        const_cast<DivideAndEncodeLayer<Dtype>&>(layer).blobs()[1]->cpu_data();
    ASSERT_EQ(values_.shape(), (vector<int>{features_.shape(0), kBits}));
    for (int n = 0; n < features_.shape(0); ++n) {
      double expected[kBits];
      for (int i = 0; i < kBits; ++i) { expected[i] = bias[i]; }
      for (int j = 0; j < kFeatures; ++j) {
        expected[kSliceOf[j]] +=
            double(weights[j]) * features_.cpu_data()[n * kFeatures + j];
      }
      for (int i = 0; i < kBits; ++i) {
        EXPECT_NEAR(values_.cpu_data()[n * kBits + i], expected[i], 1e-5);
      }
    }
  }

  Blob<Dtype> features_, values_;
  vector<Blob<Dtype>*> bottom_, top_;
};

TYPED_TEST_SUITE(DivideAndEncodeLayerTest, Devices, DeviceNames);

TYPED_TEST(DivideAndEncodeLayerTest, UnequalSlices) {
  typedef typename TypeParam::Dtype Dtype;
  DivideAndEncodeLayer<Dtype> layer(this->Parse(kUnequal));
  layer.SetUp(this->bottom_, this->top_);
  EXPECT_EQ(layer.blobs()[0]->shape(), vector<int>(1, kFeatures));
  EXPECT_EQ(layer.blobs()[1]->shape(), vector<int>(1, kBits));
  layer.Forward(this->bottom_, this->top_);
  this->ExpectPlainValues(layer);
}

TYPED_TEST(DivideAndEncodeLayerTest, NoBiasByDefault) {
  typedef typename TypeParam::Dtype Dtype;
  DivideAndEncodeLayer<Dtype> layer(
      this->Parse("divide_and_encode_param { num_output: 3"
                  " weight_filler { type: 'constant' value: 1 } }"));
  layer.SetUp(this->bottom_, this->top_);
  ASSERT_EQ(layer.blobs().size(), 1u);
  layer.Forward(this->bottom_, this->top_);
  const Dtype* x = this->features_.cpu_data();
  EXPECT_NEAR(this->values_.cpu_data()[0], x[0] + x[1] + x[2], 1e-6);
  EXPECT_NEAR(this->values_.cpu_data()[1], x[3] + x[4], 1e-6);
  EXPECT_NEAR(this->values_.cpu_data()[2], x[5] + x[6], 1e-6);
}

TYPED_TEST(DivideAndEncodeLayerTest, Gradients) {
  typedef typename TypeParam::Dtype Dtype;
  DivideAndEncodeLayer<Dtype> layer(this->Parse(kUnequal));
  layer.SetUp(this->bottom_, this->top_);
  this->CheckGradients(&layer, this->bottom_, this->top_);
}

TYPED_TEST(DivideAndEncodeLayerTest, ABitReachesItsOwnSliceOnly) {
  typedef typename TypeParam::Dtype Dtype;
  DivideAndEncodeLayer<Dtype> layer(this->Parse(kUnequal));
  layer.SetUp(this->bottom_, this->top_);
  layer.Forward(this->bottom_, this->top_);
  for (int bit = 0; bit < kBits; ++bit) {
    caffe_set(this->values_.count(), Dtype(0),
              this->values_.mutable_cpu_diff());
    for (int n = 0; n < 4; ++n) {
      this->values_.mutable_cpu_diff()[n * kBits + bit] = 1;
    }
    for (const auto& blob : layer.blobs()) {
      caffe_set(blob->count(), Dtype(0), blob->mutable_cpu_diff());
    }
    layer.Backward(this->top_, {true}, this->bottom_);
    for (int j = 0; j < kFeatures; ++j) {
      const bool own = kSliceOf[j] == bit;
      EXPECT_EQ(layer.blobs()[0]->cpu_diff()[j] != 0, own) << "weight " << j;
      for (int n = 0; n < 4; ++n) {
        EXPECT_EQ(this->features_.cpu_diff()[n * kFeatures + j] != 0, own);
      }
    }
    for (int i = 0; i < kBits; ++i) {
      EXPECT_EQ(layer.blobs()[1]->cpu_diff()[i], i == bit ? 4 : 0);
    }
  }
}

TYPED_TEST(DivideAndEncodeLayerTest, ParameterGradientsAccumulate) {
  typedef typename TypeParam::Dtype Dtype;
  DivideAndEncodeLayer<Dtype> layer(this->Parse(kUnequal));
  layer.SetUp(this->bottom_, this->top_);
  layer.Forward(this->bottom_, this->top_);
  caffe_set(this->values_.count(), Dtype(1), this->values_.mutable_cpu_diff());
  for (const auto& blob : layer.blobs()) {
    caffe_set(blob->count(), Dtype(0), blob->mutable_cpu_diff());
  }
  layer.Backward(this->top_, {true}, this->bottom_);
  vector<Dtype> once(layer.blobs()[0]->cpu_diff(),
                     layer.blobs()[0]->cpu_diff() + kFeatures);
  layer.Backward(this->top_, {true}, this->bottom_);  // as with iter_size: 2
  for (int j = 0; j < kFeatures; ++j) {
    EXPECT_NEAR(layer.blobs()[0]->cpu_diff()[j], 2 * once[j], 1e-5);
  }
  for (int i = 0; i < kBits; ++i) {
    EXPECT_EQ(layer.blobs()[1]->cpu_diff()[i], 8);
  }
}

TYPED_TEST(DivideAndEncodeLayerTest, PropagateDownOff) {
  typedef typename TypeParam::Dtype Dtype;
  DivideAndEncodeLayer<Dtype> layer(this->Parse(kUnequal));
  layer.SetUp(this->bottom_, this->top_);
  layer.Forward(this->bottom_, this->top_);
  caffe_set(this->values_.count(), Dtype(1), this->values_.mutable_cpu_diff());
  caffe_set(this->features_.count(), Dtype(9),
            this->features_.mutable_cpu_diff());
  caffe_set(kFeatures, Dtype(9), layer.blobs()[0]->mutable_cpu_diff());
  caffe_set(kBits, Dtype(9), layer.blobs()[1]->mutable_cpu_diff());
  layer.set_param_propagate_down(0, false);
  layer.set_param_propagate_down(1, false);
  layer.Backward(this->top_, {false}, this->bottom_);
  EXPECT_EQ(this->features_.asum_diff(), 9 * 4 * kFeatures);
  EXPECT_EQ(layer.blobs()[0]->asum_diff(), 9 * kFeatures);
  EXPECT_EQ(layer.blobs()[1]->asum_diff(), 9 * kBits);
}

TYPED_TEST(DivideAndEncodeLayerTest, BatchSizeMayChange) {
  typedef typename TypeParam::Dtype Dtype;
  DivideAndEncodeLayer<Dtype> layer(this->Parse(kUnequal));
  layer.SetUp(this->bottom_, this->top_);
  for (int num : {9, 2}) {
    this->Reshape(num);
    layer.Reshape(this->bottom_, this->top_);
    layer.Forward(this->bottom_, this->top_);
    this->ExpectPlainValues(layer);
  }
}

// A filler sees the length of a slice as fan-in, not the number of features.
TYPED_TEST(DivideAndEncodeLayerTest, FanInIsTheSlice) {
  typedef typename TypeParam::Dtype Dtype;
  this->features_.Reshape(vector<int>{1, 2400, 1, 1});
  DivideAndEncodeLayer<Dtype> layer(
      this->Parse("divide_and_encode_param { num_output: 48"
                  " weight_filler { type: 'xavier' } }"));
  layer.SetUp(this->bottom_, this->top_);
  // xavier is uniform in +- sqrt(3 / fan-in), here of fan-in 50.
  const Dtype bound = std::sqrt(3.0 / 50);
  const Dtype* weights = layer.blobs()[0]->cpu_data();
  Dtype largest = 0;
  for (int j = 0; j < 2400; ++j) {
    largest = std::max(largest, std::abs(weights[j]));
  }
  EXPECT_LE(largest, bound);
  EXPECT_GT(largest, 0.95 * bound);
}

TYPED_TEST(DivideAndEncodeLayerTest, BadInput) {
  typedef typename TypeParam::Dtype Dtype;
  for (const char* bits : {"0", "8"}) {
    DivideAndEncodeLayer<Dtype> layer(this->Parse(
        std::string("name: 'enc' divide_and_encode_param { num_output: ") + bits
        + "}"));
    EXPECT_DEATH(layer.SetUp(this->bottom_, this->top_),
                 std::string("'enc': num_output is ") + bits
                     + " bits, but bottom 0 has 7 features.*48 bits of 2400");
  }
  DivideAndEncodeLayer<Dtype> in_place(
      this->Parse("name: 'enc' divide_and_encode_param { num_output: 7 }"));
  EXPECT_DEATH(in_place.SetUp(this->bottom_, this->bottom_),
               "'enc': top and bottom are the same blob; .*a different name");
  for (const char* blobs : {"blobs { shape { dim: 1 } data: 1 }",
                            "blobs { shape { dim: 1 } data: 1 } blobs { shape "
                            "{ dim: 1 } data: 1 }"}) {
    DivideAndEncodeLayer<Dtype> given(this->Parse(
        std::string(
            "type: 'DivideAndEncode' name: 'enc' divide_and_encode_param"
            " { num_output: 3 } ")
        + blobs));
    EXPECT_DEATH(given.SetUp(this->bottom_, this->top_),
                 "DivideAndEncode layer 'enc'.* in the prototxt .*leave");
  }
  this->features_.Reshape(vector<int>{4, kFeatures, 2, 1});
  DivideAndEncodeLayer<Dtype> wide(
      this->Parse("name: 'enc' divide_and_encode_param { num_output: 3 }"));
  EXPECT_DEATH(wide.SetUp(this->bottom_, this->top_),
               "'enc': bottom 0 has shape 4 7 2 1 .*; axes after the second");
  this->features_.Reshape(vector<int>(1, 5));
  EXPECT_DEATH(wide.SetUp(this->bottom_, this->top_),
               "'enc': bottom 0 has shape 5 .*N x d");
}

}  // namespace caffe
