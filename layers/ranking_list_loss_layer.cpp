#include "layers/ranking_list_loss_layer.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "caffe/util/math_functions.hpp"

#include "layers/batch_labels.hpp"
#include "layers/owner.hpp"
#include "layers/triplet_loss.hpp"

namespace caffe {

namespace {

// Z of NDCG: the discounted gain of a list in the order of relevance. The
// query's own entry is negative, and comes last. Divided by 2^most, the power
// of the greatest relevance, which many labels in common would make infinite.
double IdealGain(std::vector<int> relevance, int most) {
  std::sort(relevance.begin(), relevance.end(), std::greater<int>());
  double gain = 0;
  for (size_t p = 0; p < relevance.size() && relevance[p] > 0; ++p) {
    gain +=
        (std::exp2(relevance[p] - most) - std::exp2(-most)) / std::log(p + 2.);
  }
  return gain;
}

}  // namespace

template <typename Dtype>
void RankingListLossLayer<Dtype>::LayerSetUp(const vector<Blob<Dtype>*>& bottom,
                                             const vector<Blob<Dtype>*>& top) {
  LossLayer<Dtype>::LayerSetUp(bottom, top);
  const RankingListLossParameter& param =
      this->layer_param_.ranking_list_loss_param();
  const char* example = "ranking_list_loss_param { margin: 5 balance: 1 }";
  CheckMargin(OwnerOf(*this), param.margin(), example);
  CHECK(param.balance() >= 0 && std::isfinite(param.balance()))
      << OwnerOf(*this) << ": balance is " << param.balance()
      << ", it must be 0 or more and finite, for example " << example;
}

template <typename Dtype>
void RankingListLossLayer<Dtype>::Reshape(const vector<Blob<Dtype>*>& bottom,
                                          const vector<Blob<Dtype>*>& top) {
  CheckLabelShapes(OwnerOf(*this), *bottom[0], *bottom[1]);
  top[0]->Reshape(vector<int>(0));
  const int num = bottom[0]->shape(0), bits = bottom[0]->count(1);
  codes_.Reshape({num, bits});
  inner_.Reshape({num, num});
  gains_.Reshape({num, num});
  balance_.Reshape({bits});
}

template <typename Dtype>
double RankingListLossLayer<Dtype>::ListLoss(const std::vector<int>& relevance,
                                             int i) {
  const int num = relevance.size();
  const Dtype margin = this->layer_param_.ranking_list_loss_param().margin();
  const Dtype* inner = inner_.cpu_data() + i * num;
  Dtype* gains = gains_.mutable_cpu_data() + i * num;
  const int most = *std::max_element(relevance.begin(), relevance.end());
  double sum = 0, pairs = 0;
  for (int j = 0; j < num; ++j) {
    for (int k = 0; k < num; ++k) {
      if (k == i || relevance[j] <= relevance[k]) { continue; }
      pairs += 1;
      const Dtype hinge = (inner[k] - inner[j]) / 2 + margin;
      if (!HingeIsActive(hinge)) { continue; }
      const Dtype weight =
          std::exp2(relevance[j] - most) - std::exp2(relevance[k] - most);
      sum += weight * hinge;
      gains[j] -= weight / 2;
      gains[k] += weight / 2;
    }
  }
  if (pairs == 0) { return 0; }
  const double scale = 1 / (pairs * IdealGain(relevance, most));
  caffe_scal(num, Dtype(scale / num), gains);
  return scale * sum;
}

template <typename Dtype>
void RankingListLossLayer<Dtype>::Forward_cpu(
    const vector<Blob<Dtype>*>& bottom, const vector<Blob<Dtype>*>& top) {
  const int num = codes_.shape(0), bits = codes_.shape(1);
  CheckLabels(OwnerOf(*this), *bottom[1]);
  for (int i = 0; i < codes_.count(); ++i) {
    codes_.mutable_cpu_data()[i] = 2 * bottom[0]->cpu_data()[i] - 1;
  }
  const Dtype* codes = codes_.cpu_data();
  caffe_cpu_gemm<Dtype>(CblasNoTrans, CblasTrans, num, num, bits, 1, codes,
                        codes, 0, inner_.mutable_cpu_data());
  caffe_set(gains_.count(), Dtype(0), gains_.mutable_cpu_data());
  double sum = 0;
  std::vector<int> relevance(num);
  for (int i = 0; i < num; ++i) {
    for (int j = 0; j < num; ++j) {
      relevance[j] = j == i ? -1 : CommonLabels(*bottom[1], i, j);
    }
    sum += ListLoss(relevance, i);
  }
  caffe_set(bits, Dtype(0), balance_.mutable_cpu_data());
  for (int i = 0; i < num; ++i) {
    caffe_axpy(bits, Dtype(1) / num, codes + i * bits,
               balance_.mutable_cpu_data());
  }
  const Dtype alpha = this->layer_param_.ranking_list_loss_param().balance();
  top[0]->mutable_cpu_data()[0] = sum / num
      + alpha / 2
          * caffe_cpu_dot(bits, balance_.cpu_data(), balance_.cpu_data());
}

template <typename Dtype>
void RankingListLossLayer<Dtype>::Backward_cpu(
    const vector<Blob<Dtype>*>& top, const vector<bool>& propagate_down,
    const vector<Blob<Dtype>*>& bottom) {
  CHECK(!propagate_down[1]) << OwnerOf(*this) << " has no gradient for labels";
  if (!propagate_down[0]) { return; }
  const int num = codes_.shape(0), bits = codes_.shape(1);
  const Dtype* codes = codes_.cpu_data();
  const Dtype* gains = gains_.cpu_data();
  Dtype* diff = bottom[0]->mutable_cpu_diff();
  const Dtype scale = 2 * top[0]->cpu_diff()[0];  // 2: of h = 2b - 1
  // The inner product of i and j depends on both.
  caffe_cpu_gemm<Dtype>(CblasNoTrans, CblasNoTrans, num, bits, num, scale,
                        gains, codes, 0, diff);
  caffe_cpu_gemm<Dtype>(CblasTrans, CblasNoTrans, num, bits, num, scale, gains,
                        codes, 1, diff);
  const Dtype alpha = this->layer_param_.ranking_list_loss_param().balance();
  for (int i = 0; i < num; ++i) {
    caffe_axpy(bits, scale * alpha / num, balance_.cpu_data(), diff + i * bits);
  }
}

INSTANTIATE_CLASS(RankingListLossLayer);
REGISTER_LAYER_CLASS(RankingListLoss);

}  // namespace caffe
