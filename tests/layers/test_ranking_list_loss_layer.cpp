#include <algorithm>
#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "layers/layer_test.hpp"
#include "layers/ranking_list_loss_layer.hpp"

namespace caffe {

template <typename D>
class RankingListLossLayerTest : public LayerTest<D> {
 protected:
  typedef typename D::Dtype Dtype;

  void Reshape(const vector<Dtype>& labels, int classes, int bits) {
    this->FillBatch(labels, classes, bits, &codes_, &labels_);
  }

  LayerParameter Param(const std::string& fields) {
    return this->Parse("name: 'list' ranking_list_loss_param { " + fields
                       + " }");
  }

  Dtype Loss(const std::string& fields) {
    RankingListLossLayer<Dtype> layer(Param(fields));
    layer.SetUp(bottom_, top_);
    layer.Forward(bottom_, top_);
    return loss_.cpu_data()[0];
  }

  // The code of image i, from -1 to 1.
  vector<double> Code(int i) const {
    const int bits = codes_.shape(1);
    vector<double> code;
    for (int b = 0; b < bits; ++b) {
      code.push_back(2. * codes_.cpu_data()[i * bits + b] - 1);
    }
    return code;
  }

  double Distance(int i, int j) const {
    const vector<double> a = Code(i), b = Code(j);
    double inner = 0;
    for (size_t k = 0; k < a.size(); ++k) { inner += a[k] * b[k]; }
    return (a.size() - inner) / 2;
  }

  // The paper's loss of one query, by definition, for its list of images and
  // their relevance.
  double ListLoss(int query, const vector<int>& images,
                  const vector<int>& relevance, double margin) const {
    vector<int> ideal(relevance);
    std::sort(ideal.begin(), ideal.end(), std::greater<int>());
    double gain = 0;
    for (size_t p = 1; p <= ideal.size(); ++p) {
      gain += (std::pow(2, ideal[p - 1]) - 1) / std::log(1. + p);
    }
    double sum = 0;
    int pairs = 0;
    for (size_t j = 0; j < images.size(); ++j) {
      for (size_t k = 0; k < images.size(); ++k) {
        if (relevance[j] <= relevance[k]) { continue; }
        const double weight =
            (std::pow(2, relevance[j]) - std::pow(2, relevance[k])) / gain;
        sum += weight
            * std::max(0.,
                       Distance(query, images[j]) - Distance(query, images[k])
                           + margin);
        ++pairs;
      }
    }
    return pairs ? sum / pairs : 0;
  }

  Blob<Dtype> codes_, labels_, loss_;
  const vector<Blob<Dtype>*> bottom_ = {&codes_, &labels_};
  const vector<Blob<Dtype>*> top_ = {&loss_};
};

TYPED_TEST_SUITE(RankingListLossLayerTest, Devices, DeviceNames);

TYPED_TEST(RankingListLossLayerTest, ClassesAreTwoLevelsOfRelevance) {
  this->Reshape({7, 7, 3, 7, 9}, 1, 6);
  const double margin = 0.4;
  const double expected =
      (this->ListLoss(0, {1, 2, 3, 4}, {1, 0, 1, 0}, margin)
       + this->ListLoss(1, {0, 2, 3, 4}, {1, 0, 1, 0}, margin)
       + this->ListLoss(3, {0, 1, 2, 4}, {1, 1, 0, 0}, margin))
      / 5;  // 2 and 4 have no relevant image
  EXPECT_GT(expected, 0);
  EXPECT_NEAR(this->Loss("margin: 0.4 balance: 0"), expected, 1e-5);
}

TYPED_TEST(RankingListLossLayerTest, LabelsInCommonAreLevelsOfRelevance) {
  this->Reshape({1, 1, 0, 1, 1, 1, 1, 0, 0, 1, 0, 0, 0, 0, 1, 0}, 4, 6);
  const double margin = 0.4;
  const double expected = (this->ListLoss(0, {1, 2, 3}, {2, 1, 0}, margin)
                           + this->ListLoss(1, {0, 2, 3}, {2, 1, 1}, margin)
                           + this->ListLoss(2, {0, 1, 3}, {1, 1, 0}, margin)
                           + this->ListLoss(3, {0, 1, 2}, {0, 1, 0}, margin))
      / 4;
  EXPECT_GT(expected, 0);
  EXPECT_NEAR(this->Loss("margin: 0.4 balance: 0"), expected, 1e-5);
}

// 2^2000 is beyond a double. A relevance of 61, 60 and 0 gives the same
// weights, to within 2^-59.
TYPED_TEST(RankingListLossLayerTest, ManyLabelsInCommon) {
  typedef typename TypeParam::Dtype Dtype;
  vector<Dtype> labels(4 * 2000, 1);
  labels[2 * 2000] = 0;                                   // 1,999 labels
  std::fill(labels.begin() + 3 * 2000, labels.end(), 0);  // none
  this->Reshape(labels, 2000, 6);
  const double margin = 0.4;
  const double expected = (this->ListLoss(0, {1, 2, 3}, {61, 60, 0}, margin)
                           + this->ListLoss(1, {0, 2, 3}, {61, 60, 0}, margin)
                           + this->ListLoss(2, {0, 1, 3}, {60, 60, 0}, margin))
      / 4;
  EXPECT_GT(expected, 0);
  EXPECT_NEAR(this->Loss("margin: 0.4 balance: 0"), expected, 1e-5);
  RankingListLossLayer<Dtype> layer(this->Param("margin: 9 balance: 0"));
  layer.SetUp(this->bottom_, this->top_);
  this->CheckGradients(&layer, this->bottom_, this->top_, 1);
}

// Where codes are binary, the distance is Hamming's: with 3 bits between them,
// a margin of 5 is missed by 2.
TYPED_TEST(RankingListLossLayerTest, DistancesAreInBits) {
  this->Reshape({1, 1, 2}, 1, 4);
  this->Copy({0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 0}, &this->codes_);
  // Z is 1 / log 2, the single position.
  EXPECT_NEAR(this->Loss("margin: 5 balance: 0"), 2. / 3 * 2 * std::log(2.),
              1e-6);
  EXPECT_EQ(this->Loss("margin: 2 balance: 0"), 0);
}

TYPED_TEST(RankingListLossLayerTest, BalanceIsThatOfTheMeanCode) {
  this->Reshape({1, 2, 3}, 1, 2);  // no image is relevant to another
  this->Copy({1, 0.5, 1, 0, 0.25, 0.5}, &this->codes_);
  // The mean of 2b - 1 is (0.5, -1 / 3).
  EXPECT_NEAR(this->Loss("balance: 3"), 1.5 * (0.25 + 1. / 9), 1e-6);
}

TYPED_TEST(RankingListLossLayerTest, Gradients) {
  typedef typename TypeParam::Dtype Dtype;
  for (const char* fields : {"margin: 9 balance: 0", "margin: 9 balance: 2"}) {
    this->Reshape({1, 1, 0, 1, 1, 1, 1, 0, 0, 1, 0, 0, 0, 0, 1, 0}, 4, 5);
    RankingListLossLayer<Dtype> layer(this->Param(fields));
    layer.SetUp(this->bottom_, this->top_);
    layer.Forward(this->bottom_, this->top_);  // nothing of it stays
    this->CheckGradients(&layer, this->bottom_, this->top_, 1);
  }
}

// Pairs with an inactive hinge have no gradient.
TYPED_TEST(RankingListLossLayerTest, GradientsOfActivePairsOnly) {
  typedef typename TypeParam::Dtype Dtype;
  this->Reshape({1, 1, 2, 2}, 1, 3);
  // 0 and 1 are alike, 2 is far from both, 3 is near: pairs with 2 as the less
  // relevant image are inactive.
  this->Copy({0.1, 0.1, 0.2, 0.1, 0.2, 0.1, 0.9, 0.95, 0.9, 0.3, 0.2, 0.2},
             &this->codes_);
  RankingListLossLayer<Dtype> layer(this->Param("margin: 0.6 balance: 0"));
  layer.SetUp(this->bottom_, this->top_);
  this->CheckGradients(&layer, this->bottom_, this->top_, 1);
}

TYPED_TEST(RankingListLossLayerTest, BatchSizeMayChange) {
  typedef typename TypeParam::Dtype Dtype;
  RankingListLossLayer<Dtype> layer(this->Param("margin: 9"));
  this->Reshape({1, 1, 2}, 1, 4);
  layer.SetUp(this->bottom_, this->top_);
  layer.Forward(this->bottom_, this->top_);
  this->Reshape({1, 1, 1, 2, 2, 3, 3}, 1, 4);
  layer.Reshape(this->bottom_, this->top_);
  layer.Forward(this->bottom_, this->top_);
  const Dtype loss = this->loss_.cpu_data()[0];
  EXPECT_EQ(this->Loss("margin: 9"), loss);
  EXPECT_GT(loss, 0);
}

TYPED_TEST(RankingListLossLayerTest, NaNStaysNaN) {
  this->Reshape({1, 1, 2}, 1, 2);
  this->codes_.mutable_cpu_data()[3] = NAN;
  EXPECT_TRUE(std::isnan(this->Loss("balance: 0")));
}

TYPED_TEST(RankingListLossLayerTest, BadInput) {
  typedef typename TypeParam::Dtype Dtype;
  this->Reshape({1, 1, 2}, 1, 2);
  const char* cases[][2] = {
      {"margin: 0", "'list': margin is 0, .*margin: 5"},
      {"margin: nan", "'list': margin is -?nan"},
      {"margin: inf", "'list': margin is inf"},
      {"balance: inf", "'list': balance is inf"},
      {"balance: -1", "'list': balance is -1, it must be 0 or more"}};
  for (const auto& bad : cases) {
    RankingListLossLayer<Dtype> layer(this->Param(bad[0]));
    EXPECT_DEATH(layer.SetUp(this->bottom_, this->top_), bad[1]) << bad[0];
  }
  RankingListLossLayer<Dtype> layer(this->Param(""));
  this->labels_.Reshape({4});
  EXPECT_DEATH(layer.SetUp(this->bottom_, this->top_),
               "RankingListLoss layer 'list': the codes have shape 3 2 .* the "
               "labels 4 ");
  this->labels_.Reshape({3, 2});
  this->Copy({1, 0, 0, 1, 2, 0}, &this->labels_);
  layer.SetUp(this->bottom_, this->top_);
  EXPECT_DEATH(layer.Forward(this->bottom_, this->top_),
               "'list': a label is 2; labels of shape N x classes");
}

}  // namespace caffe
