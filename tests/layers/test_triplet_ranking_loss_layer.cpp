#include <string>
#include <vector>

#include "caffe/net.hpp"

#include "layers/layer_test.hpp"
#include "layers/triplet_ranking_loss_layer.hpp"

namespace caffe {

template <typename D>
class TripletRankingLossLayerTest : public LayerTest<D> {
 protected:
  typedef typename D::Dtype Dtype;
  typedef TripletRankingLossLayer<Dtype> LossLayerType;

  void SetUp() override {
    LayerTest<D>::SetUp();
    bottom_ = {&query_, &positive_, &negative_};
    top_ = {&loss_, &active_};
  }

  void Reshape(int num, int bits) {
    for (Blob<Dtype>* blob : bottom_) { blob->Reshape(vector<int>{num, bits}); }
  }

  // The hinge's arguments and their mean positive part, by plain loops.
  vector<double> PlainHinges(double margin) const {
    const int num = query_.shape(0), bits = query_.shape(1);
    vector<double> hinges;
    for (int n = 0; n < num; ++n) {
      double hinge = margin;
      for (int i = 0; i < bits; ++i) {
        const double b = query_.cpu_data()[n * bits + i];
        const double positive = positive_.cpu_data()[n * bits + i];
        const double negative = negative_.cpu_data()[n * bits + i];
        hinge += std::pow(b - positive, 2) - std::pow(b - negative, 2);
      }
      hinges.push_back(hinge);
    }
    return hinges;
  }

  // Draws codes again until every hinge is at least `distance` away from its
  // corner, so that no step of a difference crosses it.
  void FillAwayFromCorner(double margin, double distance) {
    for (int tries = 0; tries < 1000; ++tries) {
      for (Blob<Dtype>* blob : bottom_) { this->FillUniform(0, 1, blob); }
      bool away = true, active = false, inactive = false;
      for (double hinge : PlainHinges(margin)) {
        away &= std::abs(hinge) > distance;
        active |= hinge > 0;
        inactive |= hinge < 0;
      }
      if (away && active && inactive) { return; }
    }
    FAIL() << "no such draw";
  }

  Blob<Dtype> query_, positive_, negative_, loss_, active_;
  vector<Blob<Dtype>*> bottom_, top_;
};

TYPED_TEST_SUITE(TripletRankingLossLayerTest, Devices, DeviceNames);

TYPED_TEST(TripletRankingLossLayerTest, WorkedByHand) {
  typedef typename TypeParam::Dtype Dtype;
  this->Reshape(2, 2);
  // Triplet 0: |b - b+|^2 = 0.25 + 0 and |b - b-|^2 = 0 + 0.25: hinge 1.
  // Triplet 1: 0 and 1 + 0.49: hinge -0.49, inactive.
  this->Copy({0.5, 0.5, 0, 0.3}, &this->query_);
  this->Copy({1.0, 0.5, 0, 0.3}, &this->positive_);
  this->Copy({0.5, 1.0, 1, 1.0}, &this->negative_);
  TripletRankingLossLayer<Dtype> layer((LayerParameter()));
  layer.SetUp(this->bottom_, this->top_);
  layer.Forward(this->bottom_, this->top_);
  EXPECT_NEAR(this->loss_.cpu_data()[0], 1.0 / 2, 1e-6);
  EXPECT_NEAR(this->active_.cpu_data()[0], 1.0 / 2, 1e-6);

  this->loss_.mutable_cpu_diff()[0] = 1;
  layer.Backward(this->top_, {true, true, true}, this->bottom_);
  // 2/N (b- - b+), 2/N (b+ - b), 2/N (b - b-), with N = 2.
  const Dtype expected[3][4] = {
      {-0.5, 0.5, 0, 0}, {0.5, 0, 0, 0}, {0, -0.5, 0, 0}};
  for (int member = 0; member < 3; ++member) {
    for (int i = 0; i < 4; ++i) {
      EXPECT_NEAR(this->bottom_[member]->cpu_diff()[i], expected[member][i],
                  1e-6)
          << "member " << member << ", value " << i;
    }
  }
}

TYPED_TEST(TripletRankingLossLayerTest, ForwardIsThePlainMean) {
  typedef typename TypeParam::Dtype Dtype;
  this->Reshape(5, 7);
  const double margin = 0.4;
  this->FillAwayFromCorner(margin, 1e-3);
  TripletRankingLossLayer<Dtype> layer(
      this->Parse("triplet_ranking_loss_param { margin: 0.4 }"));
  layer.SetUp(this->bottom_, this->top_);
  layer.Forward(this->bottom_, this->top_);
  double loss = 0, active = 0;
  for (double hinge : this->PlainHinges(margin)) {
    loss += std::max(0.0, hinge) / 5;
    active += (hinge > 0) / 5.0;
  }
  EXPECT_NEAR(this->loss_.cpu_data()[0], loss, 1e-5);
  EXPECT_NEAR(this->active_.cpu_data()[0], active, 1e-6);
}

TYPED_TEST(TripletRankingLossLayerTest, Gradients) {
  typedef typename TypeParam::Dtype Dtype;
  this->Reshape(4, 3);
  // A step of 1e-2 moves a hinge by at most 4e-2 (a slope of at most 2, twice).
  this->FillAwayFromCorner(0.3, 0.08);
  TripletRankingLossLayer<Dtype> layer(
      this->Parse("triplet_ranking_loss_param { margin: 0.3 }"));
  layer.SetUp(this->bottom_, this->top_);
  this->CheckGradients(&layer, this->bottom_, this->top_);
}

TYPED_TEST(TripletRankingLossLayerTest, NoGradientAtTheCorner) {
  typedef typename TypeParam::Dtype Dtype;
  this->Reshape(1, 1);
  // |0 - 0|^2 - |0 - 1|^2 + 1 = 0 exactly.
  this->Copy({0}, &this->query_);
  this->Copy({0}, &this->positive_);
  this->Copy({1}, &this->negative_);
  TripletRankingLossLayer<Dtype> layer((LayerParameter()));
  layer.SetUp(this->bottom_, this->top_);
  layer.Forward(this->bottom_, this->top_);
  EXPECT_EQ(this->loss_.cpu_data()[0], 0);
  EXPECT_EQ(this->active_.cpu_data()[0], 0);
  this->loss_.mutable_cpu_diff()[0] = 1;
  layer.Backward(this->top_, {true, true, true}, this->bottom_);
  for (Blob<Dtype>* blob : this->bottom_) { EXPECT_EQ(blob->cpu_diff()[0], 0); }
}

TYPED_TEST(TripletRankingLossLayerTest, AllInactive) {
  typedef typename TypeParam::Dtype Dtype;
  this->Reshape(3, 4);
  caffe_set(12, Dtype(0), this->query_.mutable_cpu_data());
  caffe_set(12, Dtype(0), this->positive_.mutable_cpu_data());
  caffe_set(12, Dtype(1), this->negative_.mutable_cpu_data());
  TripletRankingLossLayer<Dtype> layer((LayerParameter()));
  layer.SetUp(this->bottom_, this->top_);
  layer.Forward(this->bottom_, this->top_);
  EXPECT_EQ(this->loss_.cpu_data()[0], 0);
  EXPECT_EQ(this->active_.cpu_data()[0], 0);
  this->loss_.mutable_cpu_diff()[0] = 1;
  for (Blob<Dtype>* blob : this->bottom_) {
    caffe_set(12, Dtype(9), blob->mutable_cpu_diff());
  }
  layer.Backward(this->top_, {true, true, true}, this->bottom_);
  for (Blob<Dtype>* blob : this->bottom_) {
    for (int i = 0; i < 12; ++i) { EXPECT_EQ(blob->cpu_diff()[i], 0); }
  }
}

TYPED_TEST(TripletRankingLossLayerTest, PropagateDownOffLeavesTheDiffAlone) {
  typedef typename TypeParam::Dtype Dtype;
  this->Reshape(2, 3);
  for (Blob<Dtype>* blob : this->bottom_) { this->FillUniform(0.4, 0.6, blob); }
  TripletRankingLossLayer<Dtype> layer((LayerParameter()));
  layer.SetUp(this->bottom_, this->top_);
  layer.Forward(this->bottom_, this->top_);
  this->loss_.mutable_cpu_diff()[0] = 1;
  for (int off = 0; off < 3; ++off) {
    vector<bool> propagate_down(3, true);
    propagate_down[off] = false;
    for (Blob<Dtype>* blob : this->bottom_) {
      caffe_set(6, Dtype(9), blob->mutable_cpu_diff());
    }
    layer.Backward(this->top_, propagate_down, this->bottom_);
    for (int member = 0; member < 3; ++member) {
      for (int i = 0; i < 6; ++i) {
        const Dtype diff = this->bottom_[member]->cpu_diff()[i];
        if (member == off) {
          EXPECT_EQ(diff, 9);
        } else {
          EXPECT_LT(diff, 1);
        }
      }
    }
  }
}

TYPED_TEST(TripletRankingLossLayerTest, BackwardTwiceGivesTheSame) {
  typedef typename TypeParam::Dtype Dtype;
  this->Reshape(3, 4);
  for (Blob<Dtype>* blob : this->bottom_) { this->FillUniform(0, 1, blob); }
  TripletRankingLossLayer<Dtype> layer((LayerParameter()));
  layer.SetUp(this->bottom_, this->top_);
  layer.Forward(this->bottom_, this->top_);
  this->loss_.mutable_cpu_diff()[0] = 1;
  layer.Backward(this->top_, {true, true, true}, this->bottom_);
  const vector<Dtype> once(this->query_.cpu_diff(),
                           this->query_.cpu_diff() + 12);
  layer.Backward(this->top_, {true, true, true}, this->bottom_);
  for (int i = 0; i < 12; ++i) {
    EXPECT_EQ(this->query_.cpu_diff()[i], once[i]);
  }
}

TYPED_TEST(TripletRankingLossLayerTest, BatchSizeMayChange) {
  typedef typename TypeParam::Dtype Dtype;
  TripletRankingLossLayer<Dtype> layer((LayerParameter()));
  this->Reshape(2, 3);
  for (Blob<Dtype>* blob : this->bottom_) { this->FillUniform(0, 1, blob); }
  layer.SetUp(this->bottom_, this->top_);
  layer.Forward(this->bottom_, this->top_);
  this->Reshape(5, 3);
  this->FillAwayFromCorner(1, 1e-3);
  layer.Reshape(this->bottom_, this->top_);
  layer.Forward(this->bottom_, this->top_);
  double loss = 0;
  for (double hinge : this->PlainHinges(1)) {
    loss += std::max(0.0, hinge) / 5;
  }
  EXPECT_NEAR(this->loss_.cpu_data()[0], loss, 1e-5);
}

TYPED_TEST(TripletRankingLossLayerTest, NaNStaysNaN) {
  typedef typename TypeParam::Dtype Dtype;
  this->Reshape(2, 1);
  this->Copy({0, NAN}, &this->query_);
  this->Copy({0, 0}, &this->positive_);
  this->Copy({1, 1}, &this->negative_);
  LayerParameter param;
  param.mutable_triplet_ranking_loss_param()->set_margin(0.5);
  TripletRankingLossLayer<Dtype> layer(param);
  layer.SetUp(this->bottom_, this->top_);
  layer.Forward(this->bottom_, this->top_);
  EXPECT_TRUE(std::isnan(this->loss_.cpu_data()[0]));
  EXPECT_EQ(this->top_[1]->cpu_data()[0], 0.5) << "hinges are NaN and -0.5";
  this->loss_.mutable_cpu_diff()[0] = 1;
  layer.Backward(this->top_, {true, true, true}, this->bottom_);
  EXPECT_EQ(this->query_.cpu_diff()[1], 1)
      << "2 (b- - b+) / N does not depend on b";
  EXPECT_TRUE(std::isnan(this->positive_.cpu_diff()[1]));
  EXPECT_TRUE(std::isnan(this->negative_.cpu_diff()[1]));
  for (Blob<Dtype>* blob : this->bottom_) { EXPECT_EQ(blob->cpu_diff()[0], 0); }
}

// In a net, the loss weight scales the gradients, and the second top neither
// adds to the loss nor needs a weight.
TYPED_TEST(TripletRankingLossLayerTest, LossWeightInANet) {
  typedef typename TypeParam::Dtype Dtype;
  const std::string codes =
      "force_backward: true "
      "layer { name: 'codes' type: 'Input' top: 'b' top: 'p' top: 'n'"
      "        input_param { shape { dim: 2 dim: 3 } } } "
      "layer { name: 'loss' type: 'TripletRankingLoss' bottom: 'b' bottom: 'p'"
      "        bottom: 'n' top: 'loss' top: 'active' ";
  vector<Dtype> gradients[2];
  Dtype losses[2];
  const std::string weights[2] = {"}", "loss_weight: 2.5 }"};
  for (int k = 0; k < 2; ++k) {
    NetParameter param;
    ASSERT_TRUE(google::protobuf::TextFormat::ParseFromString(
        codes + weights[k], &param));
    Net<Dtype> net(param);
    Caffe::set_random_seed(7);
    for (const char* name : {"b", "p", "n"}) {
      this->FillUniform(0.4, 0.6, net.blob_by_name(name).get());
    }
    losses[k] = net.ForwardBackward();
    EXPECT_EQ(net.blob_by_name("active")->cpu_data()[0], 1);
    const Blob<Dtype>& query = *net.blob_by_name("b");
    gradients[k].assign(query.cpu_diff(), query.cpu_diff() + query.count());
  }
  EXPECT_NEAR(losses[1], 2.5 * losses[0], 1e-5);
  for (size_t i = 0; i < gradients[0].size(); ++i) {
    EXPECT_NEAR(gradients[1][i], 2.5 * gradients[0][i], 1e-6);
    EXPECT_NE(gradients[0][i], 0);
  }
}

// Messages: the layer's name, both values, a legal example.
TYPED_TEST(TripletRankingLossLayerTest, BadInput) {
  typedef typename TypeParam::Dtype Dtype;
  this->Reshape(2, 3);
  this->negative_.Reshape(vector<int>{2, 4});
  TripletRankingLossLayer<Dtype> layer(this->Parse("name: 'rank'"));
  EXPECT_DEATH(
      layer.SetUp(this->bottom_, this->top_),
      "'rank': bottom 2 has shape 2 4 .* bottom 0 has shape 2 3 .* 64 x 48");
  this->Reshape(2, 3);
  for (const char* margin : {"0", "inf"}) {
    TripletRankingLossLayer<Dtype> wrong(
        this->Parse(std::string("name: 'rank' triplet_ranking_loss_param"
                                " { margin: ")
                    + margin + " }"));
    EXPECT_DEATH(wrong.SetUp(this->bottom_, this->top_),
                 "'rank': margin is (0|inf), it must be greater than 0.*"
                 "margin: 1");
  }
  TripletRankingLossLayer<Dtype> weighed(
      this->Parse("name: 'rank' loss_weight: 1 loss_weight: 0.5"));
  EXPECT_DEATH(weighed.SetUp(this->bottom_, this->top_),
               "'rank': top 1.* has loss_weight 0.5");
}

}  // namespace caffe
