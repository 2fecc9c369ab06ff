#ifndef DNNH_LAYERS_SCHEDULED_HPP_
#define DNNH_LAYERS_SCHEDULED_HPP_

namespace caffe {

/**
 * @brief A layer that counts training iterations in a blob, and changes with
 *        the count.
 *
 * A solver state restores the count. A net in the TRAIN phase that copies
 * weights from a model file (`caffe train -weights`) starts a new training run:
 * cmake/patches/training.patch then calls Restart.
 */
class Scheduled {
 public:
  virtual ~Scheduled() {}
  /// Sets the count to 0.
  virtual void Restart() = 0;
};

}  // namespace caffe

#endif  // DNNH_LAYERS_SCHEDULED_HPP_
