#ifndef DNNH_LAYERS_BATCH_TRIPLET_LOSS_LAYER_HPP_
#define DNNH_LAYERS_BATCH_TRIPLET_LOSS_LAYER_HPP_

#include <vector>

#include "caffe/blob.hpp"
#include "caffe/layer.hpp"
#include "caffe/layers/loss_layer.hpp"
#include "caffe/proto/caffe.pb.h"

namespace caffe {

/**
 * @brief The triplet ranking loss over all triplets among the images of a
 *        batch: thousands for N images, where joined triplets would be N/3.
 *
 * @f$ E = \frac{1}{T} \sum_{(i, j, k)} \max(0,
 *       \|b_i - b_j\|_2^2 - \|b_i - b_k\|_2^2 + m)
 *       + \frac{\lambda}{P} \sum_{(i, j)} \|b_i - b_j\|_2^2 @f$
 *
 * over all i, j and k of which i and j are different images with a label in
 * common, and i and k have none. T is the number of these triplets or, with
 * average_active, of those whose hinge is active. P is the number of pairs
 * (i, j); their term is the adjacency regularization of Zhang, Lin, Zhang, Zuo,
 * Zhang, "Bit-Scalable Deep Hashing With Regularized Similarity Learning", IEEE
 * TIP 2015, with the similarity 1 for images with a label in common and 0 for
 * others.
 *
 * The loss is eq. 2 of Lai, Pan, Liu, Yan, CVPR 2015; all triplets of a batch
 * are "batch all" of Hermans, Beyer, Leibe, "In Defense of the Triplet Loss for
 * Person Re-Identification", 2017. It runs on the host in GPU mode too.
 *
 * @param bottom input Blob vector (length 2)
 *   -# @f$ (N \times q) @f$ the codes b
 *   -# @f$ (N) @f$ their labels, or @f$ (N \times C) @f$ 1 for each label that
 *      an image has and 0 for the others
 * @param top output Blob vector (length 1 or 2)
 *   -# @f$ (1) @f$ the loss; the mean over triplets is 0 if there are none
 *   -# @f$ (1) @f$ optional: the share of triplets whose hinge is active
 */
template <typename Dtype>
class BatchTripletLossLayer : public LossLayer<Dtype> {
 public:
  /**
   * @param param provides BatchTripletLossParameter batch_triplet_loss_param:
   *   - margin (\b optional, default 1): m above, greater than 0.
   *   - average_active (\b optional, default false)
   *   - adjacency (\b optional, default 0): lambda above, 0 or more
   */
  explicit BatchTripletLossLayer(const LayerParameter& param)
      : LossLayer<Dtype>(param), triplets_(0), active_(0) {}
  virtual void LayerSetUp(const vector<Blob<Dtype>*>& bottom,
                          const vector<Blob<Dtype>*>& top);
  virtual void Reshape(const vector<Blob<Dtype>*>& bottom,
                       const vector<Blob<Dtype>*>& top);

  virtual inline const char* type() const { return "BatchTripletLoss"; }
  virtual inline int ExactNumTopBlobs() const { return -1; }
  virtual inline int MinTopBlobs() const { return 1; }
  virtual inline int MaxTopBlobs() const { return 2; }

 protected:
  virtual void Forward_cpu(const vector<Blob<Dtype>*>& bottom,
                           const vector<Blob<Dtype>*>& top);
  virtual void Backward_cpu(const vector<Blob<Dtype>*>& top,
                            const vector<bool>& propagate_down,
                            const vector<Blob<Dtype>*>& bottom);

  // The divisor of the sum of hinges.
  Dtype divisor() const;
  // Adds the adjacency term, whose pairs have `sum` as squared distances, to
  // the loss and to uses_.
  void AddAdjacency(double sum, double pairs, const Blob<Dtype>& labels,
                    Blob<Dtype>* loss);

  Dtype margin_;
  bool average_active_;
  Dtype adjacency_;
  double triplets_, active_;  // in the batch
  // (N x N): the number of active triplets with query i and positive j, or
  // minus the number of those with query i and negative j. The adjacency term
  // counts as so many more triplets.
  Blob<Dtype> uses_;
};

}  // namespace caffe

#endif  // DNNH_LAYERS_BATCH_TRIPLET_LOSS_LAYER_HPP_
