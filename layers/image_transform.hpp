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
 * transform_param, and `pad` of triplet_data_param:
 *   - pad adds so many pixels on each side, the image mirrored in its outermost
 *     pixels (dcb|abcd|cba); it needs a crop_size
 *   - crop_size: a square, anywhere in TRAIN, the middle in TEST
 *   - mirror: left and right change places in half of all images
 *   - mean_value (one, or one a channel) is subtracted, then comes scale
 */
class ImageTransform {
 public:
  /// @param owner e.g. "TripletData layer 'images'", for messages
  ImageTransform(const std::string& owner, const TransformationParameter& param,
                 int pad, Phase phase, const ImageDatabase& images);

  int channels() const { return channels_; }
  int height() const { return height_; }     // of the output
  int width() const { return width_; }

  /// Writes channels x height x width values. Draws, in this order: whether to
  /// mirror, the row and the column where the crop begins.
  template <typename Dtype>
  void Apply(const Pixels& image, RandomStream* random, Dtype* values) const;

 private:
  const TransformationParameter param_;
  const bool random_crop_;
  const int channels_;
  int height_, width_;
  int rows_, columns_;           // places where a crop can begin
  // Where each row and column of the padded image is in the image.
  std::vector<int> source_row_, source_column_;
  std::vector<float> mean_;      // of each channel
};

}  // namespace caffe

#endif  // DNNH_LAYERS_IMAGE_TRANSFORM_HPP_
