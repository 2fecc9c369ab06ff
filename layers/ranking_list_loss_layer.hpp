#ifndef DNNH_LAYERS_RANKING_LIST_LOSS_LAYER_HPP_
#define DNNH_LAYERS_RANKING_LIST_LOSS_LAYER_HPP_

#include <vector>

#include "caffe/blob.hpp"
#include "caffe/layer.hpp"
#include "caffe/layers/loss_layer.hpp"
#include "caffe/proto/caffe.pb.h"

namespace caffe {

/**
 * @brief The ranking loss of deep semantic ranking based hashing (DSRH): each
 *        image of a batch is a query, the others are its ranking list.
 *
 * @f$ E = \frac{1}{N} \sum_i \frac{1}{P_i} \sum_{(j, k):\, r_{ij} > r_{ik}}
 *       \omega_i(j, k) \max(0, d(h_i, h_j) - d(h_i, h_k) + \rho)
 *       + \frac{\alpha}{2} \left\| \frac{1}{N} \sum_i h_i \right\|_2^2 @f$
 *
 * with @f$ h = 2b - 1 @f$, @f$ d(g, h) = \frac{1}{2} (q - g^T h) @f$, which is
 * the Hamming distance where codes are binary, and the labels @f$ r_{ij} @f$
 * that i and j have in common. The weights are those of NDCG,
 * @f$ \omega_i(j, k) = (2^{r_{ij}} - 2^{r_{ik}}) / Z_i @f$, where
 * @f$ Z_i = \sum_p (2^{r_p} - 1) / \log(1 + p) @f$ is over the positions p of
 * the list in the order of relevance. @f$ P_i @f$ is the number of pairs
 * (j, k); a query without one counts 0.
 *
 * Zhao, Huang, Wang, Tan, "Deep Semantic Ranking Based Hashing for Multi-Label
 * Image Retrieval", CVPR 2015 (arXiv 1501.06272). There the loss is a sum. Here
 * it is a mean over queries and over pairs, so that a learning rate suits any
 * size of batch. The defaults are those of the authors' code. The loss runs on
 * the host in GPU mode, too.
 *
 * @param bottom input Blob vector (length 2)
 *   -# @f$ (N \times q) @f$ the codes b, from 0 to 1
 *   -# @f$ (N) @f$ their labels, or @f$ (N \times C) @f$ 1 for each label that
 *      an image has and 0 for the others
 * @param top output Blob vector (length 1)
 *   -# @f$ (1) @f$ the loss
 */
template <typename Dtype>
class RankingListLossLayer : public LossLayer<Dtype> {
 public:
  /**
   * @param param provides RankingListLossParameter ranking_list_loss_param:
   *   - margin (\b optional, default 5): rho above, in bits, greater than 0.
   *   - balance (\b optional, default 1): alpha above, 0 or more.
   */
  explicit RankingListLossLayer(const LayerParameter& param)
      : LossLayer<Dtype>(param) {}
  virtual void LayerSetUp(const vector<Blob<Dtype>*>& bottom,
                          const vector<Blob<Dtype>*>& top);
  virtual void Reshape(const vector<Blob<Dtype>*>& bottom,
                       const vector<Blob<Dtype>*>& top);

  virtual inline const char* type() const { return "RankingListLoss"; }

 protected:
  virtual void Forward_cpu(const vector<Blob<Dtype>*>& bottom,
                           const vector<Blob<Dtype>*>& top);
  virtual void Backward_cpu(const vector<Blob<Dtype>*>& top,
                            const vector<bool>& propagate_down,
                            const vector<Blob<Dtype>*>& bottom);

  // Query i's part of the loss, without the factor 1 / N; relevance[j] is
  // r_ij, below 0 for i itself. Sets row i of gains_.
  double ListLoss(const std::vector<int>& relevance, int i);

  Blob<Dtype> codes_;    // (N x q): h
  Blob<Dtype> inner_;    // (N x N): h_i^T h_j
  Blob<Dtype> gains_;    // (N x N): the derivative of E by h_i^T h_j
  Blob<Dtype> balance_;  // (q): the mean of h
};

}  // namespace caffe

#endif  // DNNH_LAYERS_RANKING_LIST_LOSS_LAYER_HPP_
