#ifndef DNNH_LAYERS_SLOPE_SIGMOID_LAYER_HPP_
#define DNNH_LAYERS_SLOPE_SIGMOID_LAYER_HPP_

#include <vector>

#include "caffe/blob.hpp"
#include "caffe/layer.hpp"
#include "caffe/layers/neuron_layer.hpp"
#include "caffe/proto/caffe.pb.h"

#include "layers/scheduled.hpp"

namespace caffe {

/**
 * @brief A sigmoid that becomes steeper in training, towards a step at 0.
 *
 * @f$ b(v) = \frac{1}{1 + e^{-\beta v}} @f$
 *
 * The "tanh-like" layer of Zhang, Lin, Zhang, Zuo, Zhang, "Bit-Scalable Deep
 * Hashing With Regularized Similarity Learning", IEEE TIP 2015, is 2b - 1. The
 * defaults are those of the authors' code.
 *
 * Blob 0, shape (1), is the number of training iterations begun so far
 * (layers/iteration_count.hpp). It runs on the host in GPU mode, too.
 *
 * @param bottom input Blob vector (length 1)
 *   -# any shape: the values v
 * @param top output Blob vector (length 1)
 *   -# the same shape: b(v); may be the bottom itself
 */
template <typename Dtype>
class SlopeSigmoidLayer : public NeuronLayer<Dtype>, public Scheduled {
 public:
  /**
   * @param param provides SlopeSigmoidParameter slope_sigmoid_param:
   *   - slope (\b optional, default 5): beta at the start, above 0.
   *   - gamma (\b optional, default 1.1): the factor of a step, at least 1.
   *   - stepsize (\b optional, default 10000): training iterations between
   *     two steps.
   */
  explicit SlopeSigmoidLayer(const LayerParameter& param)
      : NeuronLayer<Dtype>(param), slope_() {}
  virtual void LayerSetUp(const vector<Blob<Dtype>*>& bottom,
                          const vector<Blob<Dtype>*>& top);

  virtual inline const char* type() const { return "SlopeSigmoid"; }
  void Restart() override { this->blobs_[0]->mutable_cpu_data()[0] = 0; }

 protected:
  virtual void Forward_cpu(const vector<Blob<Dtype>*>& bottom,
                           const vector<Blob<Dtype>*>& top);
  virtual void Backward_cpu(const vector<Blob<Dtype>*>& top,
                            const vector<bool>& propagate_down,
                            const vector<Blob<Dtype>*>& bottom);

  // beta of the last Forward, used by Backward too.
  Dtype slope_;
};

}  // namespace caffe

#endif  // DNNH_LAYERS_SLOPE_SIGMOID_LAYER_HPP_
