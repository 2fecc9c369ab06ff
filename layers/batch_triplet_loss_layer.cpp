#include "layers/batch_triplet_loss_layer.hpp"

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "caffe/util/math_functions.hpp"

#include "layers/batch_labels.hpp"
#include "layers/owner.hpp"
#include "layers/triplet_loss.hpp"

namespace caffe {

template <typename Dtype>
void BatchTripletLossLayer<Dtype>::LayerSetUp(
    const vector<Blob<Dtype>*>& bottom, const vector<Blob<Dtype>*>& top) {
  LossLayer<Dtype>::LayerSetUp(bottom, top);
  const BatchTripletLossParameter& param =
      this->layer_param_.batch_triplet_loss_param();
  margin_ = param.margin();
  average_active_ = param.average_active();
  adjacency_ = param.adjacency();
  CHECK(adjacency_ >= 0 && std::isfinite(adjacency_))
      << OwnerOf(*this) << ": adjacency is " << adjacency_
      << ", it must be 0 or more and finite, for example"
      << " batch_triplet_loss_param { adjacency: 0.1 }";
  SetUpTripletLoss(this->type(), "batch_triplet_loss_param", margin_,
                   top.size(), &this->layer_param_);
}

template <typename Dtype>
void BatchTripletLossLayer<Dtype>::Reshape(const vector<Blob<Dtype>*>& bottom,
                                           const vector<Blob<Dtype>*>& top) {
  CheckLabelShapes(OwnerOf(*this), *bottom[0], *bottom[1]);
  for (Blob<Dtype>* blob : top) { blob->Reshape(vector<int>(0)); }
  uses_.Reshape({bottom[0]->shape(0), bottom[0]->shape(0)});
}

template <typename Dtype>
Dtype BatchTripletLossLayer<Dtype>::divisor() const {
  return std::max(1., average_active_ ? active_ : triplets_);
}

template <typename Dtype>
void BatchTripletLossLayer<Dtype>::Forward_cpu(
    const vector<Blob<Dtype>*>& bottom, const vector<Blob<Dtype>*>& top) {
  const int num = bottom[0]->shape(0), bits = bottom[0]->count(1);
  const Dtype* codes = bottom[0]->cpu_data();  // num x bits
  Dtype* uses = uses_.mutable_cpu_data();      // num x num
  caffe_set(uses_.count(), Dtype(0), uses);
  CheckLabels(OwnerOf(*this), *bottom[1]);
  triplets_ = active_ = 0;
  double sum = 0, similar_pairs = 0, similar_sum = 0;
  vector<int> positives, negatives;
  vector<Dtype> distances(num);  // from the query
  for (int i = 0; i < num; ++i) {
    positives.clear();
    negatives.clear();
    for (int j = 0; j < num; ++j) {
      if (j == i) { continue; }
      (CommonLabels(*bottom[1], i, j) ? positives : negatives).push_back(j);
      distances[j] = 0;
      for (int b = 0; b < bits; ++b) {
        const Dtype difference = codes[i * bits + b] - codes[j * bits + b];
        distances[j] += difference * difference;
      }
    }
    similar_pairs += positives.size();
    for (int j : positives) {
      similar_sum += distances[j];
      for (int k : negatives) {
        const Dtype hinge = distances[j] - distances[k] + margin_;
        if (!HingeIsActive(hinge)) { continue; }
        sum += hinge;
        active_ += 1;
        uses[i * num + j] += 1;
        uses[i * num + k] -= 1;
      }
    }
    triplets_ += double(positives.size()) * negatives.size();
  }
  top[0]->mutable_cpu_data()[0] = sum / divisor();
  if (adjacency_ > 0 && similar_pairs > 0) {
    AddAdjacency(similar_sum, similar_pairs, *bottom[1], top[0]);
  }
  if (top.size() == 2) {
    top[1]->mutable_cpu_data()[0] = active_ / std::max(1., triplets_);
  }
}

template <typename Dtype>
void BatchTripletLossLayer<Dtype>::AddAdjacency(double sum, double pairs,
                                                const Blob<Dtype>& labels,
                                                Blob<Dtype>* loss) {
  loss->mutable_cpu_data()[0] += adjacency_ * sum / pairs;
  const int num = uses_.shape(0);
  const Dtype use = adjacency_ * divisor() / pairs;
  for (int i = 0; i < num; ++i) {
    for (int j = 0; j < num; ++j) {
      if (j != i && CommonLabels(labels, i, j)) {
        uses_.mutable_cpu_data()[i * num + j] += use;
      }
    }
  }
}

template <typename Dtype>
void BatchTripletLossLayer<Dtype>::Backward_cpu(
    const vector<Blob<Dtype>*>& top, const vector<bool>& propagate_down,
    const vector<Blob<Dtype>*>& bottom) {
  CHECK(!propagate_down[1]) << OwnerOf(*this) << " has no gradient for labels";
  if (!propagate_down[0]) { return; }
  const int num = bottom[0]->shape(0), bits = bottom[0]->count(1);
  const Dtype* codes = bottom[0]->cpu_data();
  const Dtype* uses = uses_.cpu_data();
  Dtype* diff = bottom[0]->mutable_cpu_diff();
  // The distance of i and j depends on both: 2 (b_i - b_j) by b_i.
  const Dtype scale = 2 * top[0]->cpu_diff()[0] / divisor();
  caffe_set(bottom[0]->count(), Dtype(0), diff);
  for (int i = 0; i < num; ++i) {
    for (int j = 0; j < num; ++j) {
      const Dtype weight = scale * (uses[i * num + j] + uses[j * num + i]);
      if (weight == 0) { continue; }
      for (int b = 0; b < bits; ++b) {
        diff[i * bits + b] +=
            weight * (codes[i * bits + b] - codes[j * bits + b]);
      }
    }
  }
}

INSTANTIATE_CLASS(BatchTripletLossLayer);
REGISTER_LAYER_CLASS(BatchTripletLoss);

}  // namespace caffe
