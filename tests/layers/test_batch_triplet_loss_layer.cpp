#include <array>
#include <cmath>
#include <string>
#include <vector>

#include "layers/batch_triplet_loss_layer.hpp"
#include "layers/layer_test.hpp"
#include "layers/triplet_ranking_loss_layer.hpp"

namespace caffe {

template <typename D>
class BatchTripletLossLayerTest : public LayerTest<D> {
 protected:
  typedef typename D::Dtype Dtype;

  // Codes of images with the given labels, `classes` values for each image.
  void Reshape(const vector<Dtype>& labels, int classes, int bits) {
    this->FillBatch(labels, classes, bits, &codes_, &labels_);
  }

  // Of two codes, squared.
  double Distance(int i, int j) const {
    const int bits = codes_.shape(1);
    const Dtype* codes = codes_.cpu_data();
    double sum = 0;
    for (int b = 0; b < bits; ++b) {
      sum += std::pow(codes[bits * i + b] - codes[bits * j + b], 2);
    }
    return sum;
  }

  // As Reshape, of one label an image. Some hinges are active and others are
  // not, and none is near 0, where the loss has no gradient.
  void ReshapeAwayFromCorner(const vector<Dtype>& labels, int bits,
                             double margin) {
    for (int tries = 0; tries < 10000; ++tries) {
      Reshape(labels, 1, bits);
      const int num = labels.size();
      bool away = true, active = false, inactive = false;
      for (int i = 0; i < num; ++i) {
        for (int j = 0; j < num; ++j) {
          for (int k = 0; k < num; ++k) {
            if (j == i || labels[j] != labels[i] || labels[k] == labels[i]) {
              continue;
            }
            const double hinge = Distance(i, j) - Distance(i, k) + margin;
            away &= std::abs(hinge) > 0.08;  // twice what a step moves it
            active |= hinge > 0;
            inactive |= hinge < 0;
          }
        }
      }
      if (away && active && inactive) { return; }
    }
    FAIL() << "no such draw";
  }

  // The same loss by TripletRankingLoss over a list of triplets; `gradient`
  // gets the sum of its gradients by the codes.
  Dtype ByTriplets(const vector<std::array<int, 3>>& triplets, Dtype margin,
                   vector<Dtype>* gradient, Dtype* active) {
    const int bits = codes_.shape(1);
    Blob<Dtype> members[3], loss, share;
    const vector<Blob<Dtype>*> bottom = {&members[0], &members[1], &members[2]};
    const vector<Blob<Dtype>*> top = {&loss, &share};
    for (int m = 0; m < 3; ++m) {
      members[m].Reshape({static_cast<int>(triplets.size()), bits});
      for (size_t t = 0; t < triplets.size(); ++t) {
        std::copy_n(codes_.cpu_data() + triplets[t][m] * bits, bits,
                    members[m].mutable_cpu_data() + t * bits);
      }
    }
    LayerParameter param;
    param.mutable_triplet_ranking_loss_param()->set_margin(margin);
    TripletRankingLossLayer<Dtype> layer(param);
    layer.SetUp(bottom, top);
    layer.Forward(bottom, top);
    loss.mutable_cpu_diff()[0] = 1;
    layer.Backward(top, {true, true, true}, bottom);
    gradient->assign(codes_.count(), 0);
    for (int m = 0; m < 3; ++m) {
      for (size_t t = 0; t < triplets.size(); ++t) {
        for (int b = 0; b < bits; ++b) {
          (*gradient)[triplets[t][m] * bits + b] +=
              members[m].cpu_diff()[t * bits + b];
        }
      }
    }
    *active = share.cpu_data()[0];
    return loss.cpu_data()[0];
  }

  void ExpectTheLossOf(const vector<std::array<int, 3>>& triplets) {
    for (bool average_active : {false, true}) {
      LayerParameter param;
      param.mutable_batch_triplet_loss_param()->set_margin(0.2);
      param.mutable_batch_triplet_loss_param()->set_average_active(
          average_active);
      BatchTripletLossLayer<Dtype> layer(param);
      layer.SetUp(bottom_, top_);
      layer.Forward(bottom_, top_);
      vector<Dtype> gradient;
      Dtype active = 0;
      Dtype loss = ByTriplets(triplets, 0.2, &gradient, &active);
      EXPECT_GT(active, 0);
      EXPECT_LT(active, 1);
      const Dtype factor = average_active ? 1 / active : 1;
      EXPECT_NEAR(loss_.cpu_data()[0], factor * loss, 1e-5);
      EXPECT_NEAR(share_.cpu_data()[0], active, 1e-5);
      loss_.mutable_cpu_diff()[0] = 2.5;
      layer.Backward(top_, {true, false}, bottom_);
      for (int i = 0; i < codes_.count(); ++i) {
        EXPECT_NEAR(codes_.cpu_diff()[i], 2.5 * factor * gradient[i], 1e-4)
            << i;
      }
    }
  }

  Blob<Dtype> codes_, labels_, loss_, share_;
  const vector<Blob<Dtype>*> bottom_ = {&codes_, &labels_};
  const vector<Blob<Dtype>*> top_ = {&loss_, &share_};
};

TYPED_TEST_SUITE(BatchTripletLossLayerTest, Devices, DeviceNames);

TYPED_TEST(BatchTripletLossLayerTest, AllTripletsOfTheBatch) {
  this->Reshape({7, 7, 3, 7, 3}, 1, 6);
  this->ExpectTheLossOf({{0, 1, 2},
                         {0, 1, 4},
                         {0, 3, 2},
                         {0, 3, 4},
                         {1, 0, 2},
                         {1, 0, 4},
                         {1, 3, 2},
                         {1, 3, 4},
                         {3, 0, 2},
                         {3, 0, 4},
                         {3, 1, 2},
                         {3, 1, 4},
                         {2, 4, 0},
                         {2, 4, 1},
                         {2, 4, 3},
                         {4, 2, 0},
                         {4, 2, 1},
                         {4, 2, 3}});
}

TYPED_TEST(BatchTripletLossLayerTest, OneLabelInCommonIsEnough) {
  // 0 and 1 share the second label, 1 and 2 the third, 3 shares none.
  this->Reshape({1, 1, 0, 0, 0, 1, 1, 0, 0, 0, 1, 0, 0, 0, 0, 1}, 4, 6);
  this->ExpectTheLossOf(
      {{0, 1, 2}, {0, 1, 3}, {1, 0, 3}, {1, 2, 3}, {2, 1, 0}, {2, 1, 3}});
}

TYPED_TEST(BatchTripletLossLayerTest, ImagesWithoutALabelHaveNoneInCommon) {
  typedef typename TypeParam::Dtype Dtype;
  this->Reshape({0, 0, 0, 0, 1, 0, 1, 0}, 2, 4);
  BatchTripletLossLayer<Dtype> layer(
      this->Parse("batch_triplet_loss_param { margin: 9 }"));
  layer.SetUp(this->bottom_, this->top_);
  layer.Forward(this->bottom_, this->top_);
  EXPECT_EQ(this->share_.cpu_data()[0], 1);
  // Only 2 and 3 are queries, with the negatives 0 and 1: four triplets.
  double expected = 0;
  for (int i : {2, 3}) {
    for (int k : {0, 1}) {
      expected += (this->Distance(2, 3) - this->Distance(i, k) + 9) / 4;
    }
  }
  EXPECT_NEAR(this->loss_.cpu_data()[0], expected, 1e-4);
  this->CheckGradients(&layer, this->bottom_, {&this->loss_}, 1);
}

// Images 0, 1 and 3 share a label, and 2 and 4: eight pairs (i, j).
TYPED_TEST(BatchTripletLossLayerTest, AdjacencyIsTheMeanOverSimilarPairs) {
  typedef typename TypeParam::Dtype Dtype;
  for (const char* average : {"false", "true"}) {
    this->ReshapeAwayFromCorner({7, 7, 3, 7, 3}, 6, 0.3);
    const std::string fields =
        std::string("margin: 0.3 average_active: ") + average;
    BatchTripletLossLayer<Dtype> plain(
        this->Parse("batch_triplet_loss_param { " + fields + " }"));
    plain.SetUp(this->bottom_, this->top_);
    plain.Forward(this->bottom_, this->top_);
    const Dtype without = this->loss_.cpu_data()[0];
    BatchTripletLossLayer<Dtype> layer(this->Parse(
        "batch_triplet_loss_param { " + fields + " adjacency: 0.3 }"));
    layer.SetUp(this->bottom_, this->top_);
    layer.Forward(this->bottom_, this->top_);
    const double sum = 2
        * (this->Distance(0, 1) + this->Distance(0, 3) + this->Distance(1, 3)
           + this->Distance(2, 4));
    EXPECT_NEAR(this->loss_.cpu_data()[0], without + 0.3 * sum / 8, 1e-5);
    this->CheckGradients(&layer, this->bottom_, {&this->loss_}, 1);
  }
}

TYPED_TEST(BatchTripletLossLayerTest, BatchSizeMayChange) {
  typedef typename TypeParam::Dtype Dtype;
  BatchTripletLossLayer<Dtype> layer(
      this->Parse("batch_triplet_loss_param { margin: 9 }"));
  this->Reshape({1, 1, 2}, 1, 4);
  layer.SetUp(this->bottom_, this->top_);
  layer.Forward(this->bottom_, this->top_);
  this->Reshape({1, 1, 1, 2, 2, 3, 3}, 1, 4);
  layer.Reshape(this->bottom_, this->top_);
  layer.Forward(this->bottom_, this->top_);
  const Dtype loss = this->loss_.cpu_data()[0];
  BatchTripletLossLayer<Dtype> fresh(
      this->Parse("batch_triplet_loss_param { margin: 9 }"));
  fresh.SetUp(this->bottom_, this->top_);
  fresh.Forward(this->bottom_, this->top_);
  EXPECT_EQ(this->loss_.cpu_data()[0], loss);
  EXPECT_GT(loss, 0);
}

TYPED_TEST(BatchTripletLossLayerTest, NoTripletIsNoLoss) {
  typedef typename TypeParam::Dtype Dtype;
  for (const vector<Dtype>& labels :
       {vector<Dtype>{1, 2, 3}, vector<Dtype>{1, 1, 1}}) {
    this->Reshape(labels, 1, 4);
    BatchTripletLossLayer<Dtype> layer((LayerParameter()));
    layer.SetUp(this->bottom_, this->top_);
    layer.Forward(this->bottom_, this->top_);
    EXPECT_EQ(this->loss_.cpu_data()[0], 0);
    EXPECT_EQ(this->share_.cpu_data()[0], 0);
    this->loss_.mutable_cpu_diff()[0] = 1;
    caffe_set(12, Dtype(9), this->codes_.mutable_cpu_diff());
    layer.Backward(this->top_, {true, false}, this->bottom_);
    for (int i = 0; i < 12; ++i) { EXPECT_EQ(this->codes_.cpu_diff()[i], 0); }
  }
}

TYPED_TEST(BatchTripletLossLayerTest, NaNStaysNaN) {
  typedef typename TypeParam::Dtype Dtype;
  this->Reshape({1, 1, 2}, 1, 2);
  this->codes_.mutable_cpu_data()[3] = NAN;
  BatchTripletLossLayer<Dtype> layer((LayerParameter()));
  layer.SetUp(this->bottom_, this->top_);
  layer.Forward(this->bottom_, this->top_);
  EXPECT_TRUE(std::isnan(this->loss_.cpu_data()[0]));
}

TYPED_TEST(BatchTripletLossLayerTest, BadInput) {
  typedef typename TypeParam::Dtype Dtype;
  this->Reshape({1, 1, 2}, 1, 2);
  this->labels_.Reshape({4});
  BatchTripletLossLayer<Dtype> layer(this->Parse("name: 'all'"));
  EXPECT_DEATH(
      layer.SetUp(this->bottom_, this->top_),
      "'all': the codes have shape 3 2 .* the labels 4 .* 60 x 48 and 60");
  for (const vector<int>& shape : {vector<int>{3, 1}, vector<int>{3, 2, 2}}) {
    this->labels_.Reshape(shape);
    EXPECT_DEATH(
        layer.SetUp(this->bottom_, this->top_),
        "'all': the labels have shape 3 .*numbers of classes have shape N");
  }
  this->labels_.Reshape({3, 2});
  this->Copy({1, 0, 0, 1, 2, 0}, &this->labels_);
  layer.SetUp(this->bottom_, this->top_);
  EXPECT_DEATH(
      layer.Forward(this->bottom_, this->top_),
      "'all': a label is 2; labels of shape N x classes are multi-hot");
  BatchTripletLossLayer<Dtype> flat(
      this->Parse("name: 'all' batch_triplet_loss_param { margin: 0 }"));
  this->labels_.Reshape({3});
  EXPECT_DEATH(flat.SetUp(this->bottom_, this->top_),
               "'all': margin is 0, it must be greater than 0.*margin: 1");
  for (const char* adjacency : {"-1", "nan", "inf"}) {
    BatchTripletLossLayer<Dtype> negative(this->Parse(
        std::string("name: 'all' batch_triplet_loss_param { adjacency: ")
        + adjacency + " }"));
    EXPECT_DEATH(negative.SetUp(this->bottom_, this->top_),
                 "'all': adjacency is -?(1|nan|inf), .*adjacency: 0.1");
  }
}

}  // namespace caffe
