#ifndef DNNH_LAYERS_TRIPLET_LOSS_HPP_
#define DNNH_LAYERS_TRIPLET_LOSS_HPP_

#include <cmath>
#include <string>

#include "caffe/common.hpp"
#include "caffe/proto/caffe.pb.h"

#include "layers/host_device.hpp"

namespace caffe {

/**
 * @brief Whether a triplet's hinge is active: its argument is above 0.
 *
 * A NaN is active: a net that has diverged must not look perfect.
 */
template <typename Dtype>
DNNH_HOST_DEVICE inline bool HingeIsActive(Dtype hinge) {
  return !(hinge <= 0);
}

/// Ends the program if a margin is not above 0 and finite.
inline void CheckMargin(const std::string& owner, double margin,
                        const std::string& example) {
  CHECK(margin > 0 && std::isfinite(margin))
      << owner << ": margin is " << margin << ", it must be greater than 0"
      << " and finite, for example " << example;
}

/**
 * @brief Checks the options that all triplet losses share, and excludes the
 *        share of active triplets from the loss.
 *
 * That share is top 1. It is for monitoring and has no gradient.
 *
 * @param type of the layer, for messages
 * @param field of LayerParameter that has the margin, for messages
 * @param tops the number of tops, 1 or 2
 */
inline void SetUpTripletLoss(const std::string& type, const std::string& field,
                             double margin, int tops, LayerParameter* param) {
  const std::string owner = type + " layer '" + param->name() + "'";
  CheckMargin(owner, margin, field + " { margin: 1 }");
  if (tops < 2) { return; }
  if (param->loss_weight_size() == 1) { param->add_loss_weight(0); }
  CHECK_EQ(param->loss_weight(1), 0)
      << owner << ": top 1, the share of active"
      << " triplets, has loss_weight " << param->loss_weight(1)
      << " but no gradient; remove its loss_weight or set it to 0";
}

}  // namespace caffe

#endif  // DNNH_LAYERS_TRIPLET_LOSS_HPP_
