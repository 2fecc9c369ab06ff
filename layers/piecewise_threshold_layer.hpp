#ifndef DNNH_LAYERS_PIECEWISE_THRESHOLD_LAYER_HPP_
#define DNNH_LAYERS_PIECEWISE_THRESHOLD_LAYER_HPP_

#include <vector>

#include "caffe/blob.hpp"
#include "caffe/layer.hpp"
#include "caffe/layers/neuron_layer.hpp"
#include "caffe/proto/caffe.pb.h"

#include "layers/host_device.hpp"
#include "layers/scheduled.hpp"

namespace caffe {

/// Whether s lies on the identity piece of eq. 6, its two corners included.
template <typename Dtype>
DNNH_HOST_DEVICE inline bool PiecewiseInside(Dtype s, Dtype epsilon) {
  return s >= Dtype(0.5) - epsilon && s <= Dtype(0.5) + epsilon;
}

/// g(s) of eq. 6. NaN stays NaN, so that a diverged net is noticed.
template <typename Dtype>
DNNH_HOST_DEVICE inline Dtype PiecewiseThreshold(Dtype s, Dtype epsilon) {
  if (s < Dtype(0.5) - epsilon) { return 0; }
  if (s > Dtype(0.5) + epsilon) { return 1; }
  return s;
}

/**
 * @brief Piece-wise threshold: rounds values that are nearly binary to 0 or 1
 *        and leaves those around 0.5 unchanged.
 *
 * @f$ g(s) = 0 @f$ for @f$ s < 0.5 - \epsilon @f$,
 * @f$ g(s) = s @f$ for @f$ 0.5 - \epsilon \le s \le 0.5 + \epsilon @f$,
 * @f$ g(s) = 1 @f$ for @f$ s > 0.5 + \epsilon @f$
 *
 * Lai, Pan, Liu, Yan, "Simultaneous Feature Learning and Hash Coding with Deep
 * Neural Networks", CVPR 2015, eq. 6; and section 4.1 for epsilon's schedule:
 * it starts at 0.5 and decays by 20 % after every 20,000 training iterations.
 *
 * Blob 0, shape (1), is the number of training iterations begun so far
 * (layers/iteration_count.hpp).
 *
 * @param bottom input Blob vector (length 1)
 *   -# any shape: the values s; in [0, 1] where the top is the bottom itself
 * @param top output Blob vector (length 1)
 *   -# the same shape: g(s); may be the bottom itself
 */
template <typename Dtype>
class PiecewiseThresholdLayer : public NeuronLayer<Dtype>, public Scheduled {
 public:
  /**
   * @param param provides PiecewiseThresholdParameter
   *     piecewise_threshold_param:
   *   - epsilon (\b optional, default 0.5): the initial value, in (0, 0.5].
   *   - gamma (\b optional, default 0.8): the decay factor, in (0, 1].
   *   - stepsize (\b optional, default 20000): training iterations between
   *     two decays.
   */
  explicit PiecewiseThresholdLayer(const LayerParameter& param)
      : NeuronLayer<Dtype>(param), epsilon_() {}
  virtual void LayerSetUp(const vector<Blob<Dtype>*>& bottom,
                          const vector<Blob<Dtype>*>& top);

  virtual inline const char* type() const { return "PiecewiseThreshold"; }
  void Restart() override { this->blobs_[0]->mutable_cpu_data()[0] = 0; }

 protected:
  virtual void Forward_cpu(const vector<Blob<Dtype>*>& bottom,
                           const vector<Blob<Dtype>*>& top);
  virtual void Forward_gpu(const vector<Blob<Dtype>*>& bottom,
                           const vector<Blob<Dtype>*>& top);
  /**
   * @brief The gradient is 1 on the identity piece, its corners included, and
   *        0 outside.
   *
   * In place, s is overwritten, and g(s) decides: for s in [0, 1] it lies on
   * that piece if and only if s does.
   */
  virtual void Backward_cpu(const vector<Blob<Dtype>*>& top,
                            const vector<bool>& propagate_down,
                            const vector<Blob<Dtype>*>& bottom);
  virtual void Backward_gpu(const vector<Blob<Dtype>*>& top,
                            const vector<bool>& propagate_down,
                            const vector<Blob<Dtype>*>& bottom);

  // Sets epsilon_ for this pass and, in TRAIN, counts iterations.
  void Schedule();

  // epsilon of the last Forward, used by Backward too.
  Dtype epsilon_;
};

}  // namespace caffe

#endif  // DNNH_LAYERS_PIECEWISE_THRESHOLD_LAYER_HPP_
