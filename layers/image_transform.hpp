#ifndef DNNH_LAYERS_IMAGE_TRANSFORM_HPP_
#define DNNH_LAYERS_IMAGE_TRANSFORM_HPP_

#include <string>
#include <vector>

#include "caffe/proto/caffe.pb.h"

#include "layers/image_database.hpp"
#include "layers/random_stream.hpp"

namespace caffe {

/**
 * @brief Turns an image's bytes into a net's input, as Caffe's own data layers
 *        do: padded, cropped, mirrored, less the mean, times the scale.
 *
 * transform_param, and `pad`, `warp`, `jitter` and `erase` of triplet_data_param:
 *   - pad adds so many pixels on each side, the image mirrored in its outermost
 *     pixels (dcb|abcd|cba); it needs a crop_size
 *   - crop_size: a square, anywhere in TRAIN, the middle in TEST
 *   - mirror: left and right change places in half of all images
 *   - mean_value (one, or one a channel) is subtracted, then comes scale
 *   - warp turns, stretches and slants the image, which is mirrored in its
 *     outermost pixels where it does not reach; jitter changes contrast, about a
 *     pixel of 128, and shifts each channel; erase paints a square over with 128
 *     (DeVries and Taylor, "Improved Regularization of Convolutional Neural
 *     Networks with Cutout", 2017); all three in TRAIN alone
 */
class ImageTransform {
 public:
  /// @param owner e.g. "TripletData layer 'images'", for messages
  ImageTransform(const std::string& owner, const TransformationParameter& param,
                 const TripletDataParameter& options, Phase phase,
                 const ImageDatabase& images);

  int channels() const { return channels_; }
  int height() const { return height_; }     // of the output
  int width() const { return width_; }

  /// Writes channels x height x width values. Draws, in this order: the four
  /// numbers of the warp; whether to mirror, the row and the column where the
  /// crop begins; for jitter the contrast and each channel's shift; for erase
  /// the square's middle.
  template <typename Dtype>
  void Apply(const Pixels& image, RandomStream* random, Dtype* values) const;

 private:
  Pixels Warped(const Pixels& image, RandomStream* random) const;
  // All that comes after the warp.
  template <typename Dtype>
  void Place(const Pixels& image, RandomStream* random, Dtype* values) const;
  template <typename Dtype>
  void Erase(RandomStream* random, Dtype* values) const;

  const TransformationParameter param_;
  const bool is_training_;
  const int channels_;
  int height_, width_;
  int rows_, columns_;           // places where a crop can begin
  // Where each row and column of the padded image is in the image.
  std::vector<int> source_row_, source_column_;
  std::vector<float> mean_;      // of each channel
  float warp_, jitter_;
  int erase_;
};

}  // namespace caffe

#endif  // DNNH_LAYERS_IMAGE_TRANSFORM_HPP_
