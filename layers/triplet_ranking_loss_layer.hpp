#ifndef DNNH_LAYERS_TRIPLET_RANKING_LOSS_LAYER_HPP_
#define DNNH_LAYERS_TRIPLET_RANKING_LOSS_LAYER_HPP_

#include <vector>

#include "caffe/blob.hpp"
#include "caffe/layer.hpp"
#include "caffe/layers/loss_layer.hpp"
#include "caffe/proto/caffe.pb.h"

#include "layers/host_device.hpp"
#include "layers/triplet_loss.hpp"

namespace caffe {

/**
 * @brief What one bit adds to the hinge's argument:
 *        (b - b^+)^2 - (b - b^-)^2, one term of the norms in eq. 2.
 */
template <typename Dtype>
DNNH_HOST_DEVICE inline Dtype TripletTerm(Dtype query, Dtype positive,
                                          Dtype negative) {
  const Dtype to_positive = query - positive;
  const Dtype to_negative = query - negative;
  return to_positive * to_positive - to_negative * to_negative;
}

/**
 * @brief The derivative of TripletTerm by one of its three arguments:
 *        2 (b^- - b^+) by b, 2 (b^+ - b) by b^+, 2 (b - b^-) by b^-.
 *
 * Eq. 3 of the paper prints the third with the opposite sign; this one is the
 * derivative of eq. 2.
 *
 * @param member 0 for the query b, 1 for the positive b^+, 2 for the
 *        negative b^-
 */
template <typename Dtype>
DNNH_HOST_DEVICE inline Dtype TripletTermGradient(int member, Dtype query,
                                                  Dtype positive,
                                                  Dtype negative) {
  switch (member) {
    case 0: return 2 * (negative - positive);
    case 1: return 2 * (positive - query);
    default: return 2 * (query - negative);
  }
}

/**
 * @brief Triplet ranking loss: the code b of a query should be nearer, by a
 *        margin, to the code b^+ of its positive than to the code b^- of its
 *        negative.
 *
 * @f$ E = \frac{1}{N} \sum_{n=1}^N \max(0,
 *       \|b_n - b^+_n\|_2^2 - \|b_n - b^-_n\|_2^2 + m) @f$
 *
 * Lai, Pan, Liu, Yan, "Simultaneous Feature Learning and Hash Coding with Deep
 * Neural Networks", CVPR 2015, eq. 2 (there for one triplet and m = 1). The
 * mean is over the N triplets of the batch, as in Caffe's own losses.
 *
 * @param bottom input Blob vector (length 3)
 *   -# @f$ (N \times q) @f$ the codes b of the queries
 *   -# @f$ (N \times q) @f$ the codes b^+ of the positives
 *   -# @f$ (N \times q) @f$ the codes b^- of the negatives
 *   (each N x ..., with q the product of the further axes)
 * @param top output Blob vector (length 1 or 2)
 *   -# @f$ (1) @f$ the loss
 *   -# @f$ (1) @f$ optional: the share of triplets whose hinge is active
 */
template <typename Dtype>
class TripletRankingLossLayer : public LossLayer<Dtype> {
 public:
  /**
   * @param param provides TripletRankingLossParameter
   *     triplet_ranking_loss_param:
   *   - margin (\b optional, default 1): m above, greater than 0.
   */
  explicit TripletRankingLossLayer(const LayerParameter& param)
      : LossLayer<Dtype>(param), margin_() {}
  virtual void LayerSetUp(const vector<Blob<Dtype>*>& bottom,
                          const vector<Blob<Dtype>*>& top);
  virtual void Reshape(const vector<Blob<Dtype>*>& bottom,
                       const vector<Blob<Dtype>*>& top);

  virtual inline const char* type() const { return "TripletRankingLoss"; }
  virtual inline int ExactNumBottomBlobs() const { return 3; }
  virtual inline int ExactNumTopBlobs() const { return -1; }
  virtual inline int MinTopBlobs() const { return 1; }
  virtual inline int MaxTopBlobs() const { return 2; }
  // Unlike the losses with labels, every bottom can take a gradient.
  virtual inline bool AllowForceBackward(const int bottom_index) const {
    return true;
  }

 protected:
  virtual void Forward_cpu(const vector<Blob<Dtype>*>& bottom,
                           const vector<Blob<Dtype>*>& top);
  virtual void Forward_gpu(const vector<Blob<Dtype>*>& bottom,
                           const vector<Blob<Dtype>*>& top);
  /**
   * @brief Where the hinge is active (its argument above 0), with
   *        lambda the loss weight:
   *   - to b:   @f$ \frac{2 \lambda}{N} (b^- - b^+) @f$
   *   - to b^+: @f$ \frac{2 \lambda}{N} (b^+ - b) @f$
   *   - to b^-: @f$ \frac{2 \lambda}{N} (b - b^-) @f$
   *
   * Zero below the hinge's corner and exactly at it.
   */
  virtual void Backward_cpu(const vector<Blob<Dtype>*>& top,
                            const vector<bool>& propagate_down,
                            const vector<Blob<Dtype>*>& bottom);
  virtual void Backward_gpu(const vector<Blob<Dtype>*>& top,
                            const vector<bool>& propagate_down,
                            const vector<Blob<Dtype>*>& bottom);

  Dtype margin_;
  // (N): the hinge's argument for each triplet. Backward needs it to know which
  // triplets are active.
  Blob<Dtype> hinge_;
};

}  // namespace caffe

#endif  // DNNH_LAYERS_TRIPLET_RANKING_LOSS_LAYER_HPP_
