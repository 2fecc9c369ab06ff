#include "layers/triplet_ranking_loss_layer.hpp"

#include <vector>

#include "layers/owner.hpp"

namespace caffe {

template <typename Dtype>
void TripletRankingLossLayer<Dtype>::LayerSetUp(
    const vector<Blob<Dtype>*>& bottom, const vector<Blob<Dtype>*>& top) {
  LossLayer<Dtype>::LayerSetUp(bottom, top);
  margin_ = this->layer_param_.triplet_ranking_loss_param().margin();
  SetUpTripletLoss(this->type(), "triplet_ranking_loss_param", margin_,
                   top.size(), &this->layer_param_);
}

template <typename Dtype>
void TripletRankingLossLayer<Dtype>::Reshape(const vector<Blob<Dtype>*>& bottom,
                                             const vector<Blob<Dtype>*>& top) {
  for (int i = 0; i < 3; ++i) {
    CHECK_GE(bottom[i]->num_axes(), 1)
        << OwnerOf(*this) << ": bottom " << i
        << " is a single number; codes are N x q, for example 64 x 48";
  }
  for (int i = 1; i < 3; ++i) {
    CHECK(bottom[i]->shape() == bottom[0]->shape())
        << OwnerOf(*this) << ": bottom " << i << " has shape "
        << bottom[i]->shape_string() << ", bottom 0 has shape "
        << bottom[0]->shape_string()
        << "; the three codes must have the same shape N x q, for"
        << " example 64 x 48";
  }
  CHECK_GT(bottom[0]->count(), 0)
      << OwnerOf(*this) << ": the codes have shape "
      << bottom[0]->shape_string() << ", which has no values; give at least"
      << " one triplet and one bit, for example 1 x 1";
  const vector<int> scalar(0);
  for (size_t i = 0; i < top.size(); ++i) { top[i]->Reshape(scalar); }
  hinge_.Reshape(vector<int>(1, bottom[0]->shape(0)));
}

template <typename Dtype>
void TripletRankingLossLayer<Dtype>::Forward_cpu(
    const vector<Blob<Dtype>*>& bottom, const vector<Blob<Dtype>*>& top) {
  const int num = hinge_.count();
  const int bits = bottom[0]->count() / num;
  const Dtype* query = bottom[0]->cpu_data();     // num x bits
  const Dtype* positive = bottom[1]->cpu_data();  // num x bits
  const Dtype* negative = bottom[2]->cpu_data();  // num x bits
  Dtype* hinge = hinge_.mutable_cpu_data();       // num
  Dtype loss = 0;
  int active = 0;
  for (int n = 0; n < num; ++n) {
    Dtype sum = 0;
    for (int i = n * bits; i < (n + 1) * bits; ++i) {
      sum += TripletTerm(query[i], positive[i], negative[i]);
    }
    hinge[n] = sum + margin_;
    if (!HingeIsActive(hinge[n])) { continue; }
    loss += hinge[n];
    active += 1;
  }
  top[0]->mutable_cpu_data()[0] = loss / num;
  if (top.size() == 2) { top[1]->mutable_cpu_data()[0] = Dtype(active) / num; }
}

template <typename Dtype>
void TripletRankingLossLayer<Dtype>::Backward_cpu(
    const vector<Blob<Dtype>*>& top, const vector<bool>& propagate_down,
    const vector<Blob<Dtype>*>& bottom) {
  const int num = hinge_.count();
  const int bits = bottom[0]->count() / num;
  const Dtype* query = bottom[0]->cpu_data();
  const Dtype* positive = bottom[1]->cpu_data();
  const Dtype* negative = bottom[2]->cpu_data();
  const Dtype* hinge = hinge_.cpu_data();
  const Dtype scale = top[0]->cpu_diff()[0] / num;  // lambda / N
  for (int member = 0; member < 3; ++member) {
    if (!propagate_down[member]) { continue; }
    Dtype* diff = bottom[member]->mutable_cpu_diff();
    for (int n = 0; n < num; ++n) {
      const bool active = HingeIsActive(hinge[n]);
      for (int i = n * bits; i < (n + 1) * bits; ++i) {
        const Dtype gradient =
            TripletTermGradient(member, query[i], positive[i], negative[i]);
        diff[i] = active ? scale * gradient : Dtype(0);
      }
    }
  }
}

#ifdef CPU_ONLY
STUB_GPU(TripletRankingLossLayer);
#endif

INSTANTIATE_CLASS(TripletRankingLossLayer);
REGISTER_LAYER_CLASS(TripletRankingLoss);

}  // namespace caffe
