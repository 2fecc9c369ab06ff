#ifndef DNNH_LAYERS_DATA_IMAGE_TRANSFORM_HPP_
#define DNNH_LAYERS_DATA_IMAGE_TRANSFORM_HPP_

#include <string>
#include <vector>

#include "caffe/proto/caffe.pb.h"

#include "layers/data/image_database.hpp"
#include "layers/data/random_stream.hpp"

namespace caffe {

/**
 * @brief Turns the pixels of an image into a net's input, as Caffe's own data
 *        layers do (pad, crop, flip, mean, scale), with data augmentation.
 *
 * From transform_param:
 *   - crop_size: a square, at a random position in TRAIN, the centre in TEST
 *   - mirror: a horizontal flip of half of all images, at random
 *   - mean_value (one, or one per channel) is subtracted, then scale multiplies
 *
 * From triplet_data_param:
 *   - pad: pixels added on each side by reflection about the outermost pixel
 *     (dcb|abcd|cba); needs a crop_size
 *   - random_affine: a random affine warp about the centre; reflection fills
 *     what lies outside of the image. In TRAIN only, as are:
 *   - color_jitter: a random contrast, about a pixel of 128, and a random shift
 *     of each channel
 *   - trivial_augment: one operation of TrivialAugment, before all others
 *   - cutout: a square of 128 (DeVries and Taylor, "Improved Regularization of
 *     Convolutional Neural Networks with Cutout", 2017)
 */
class ImageTransform {
 public:
  /// @param owner e.g. "TripletData layer 'images'", for messages
  ImageTransform(const std::string& owner, const TransformationParameter& param,
                 const TripletDataParameter& options, Phase phase,
                 const ImageDatabase& images);

  int channels() const { return channels_; }
  int height() const { return height_; }  // of the output
  int width() const { return width_; }

  /// Writes channels x height x width values. Draws, in this order: the
  /// operation of TrivialAugment and its strength; the four elements of the
  /// affine map; whether to flip; the first row and the first
  /// column of the crop; the contrast and each channel's shift; the row and the
  /// column of the centre of the Cutout square. What is off is not drawn.
  template <typename Dtype>
  void Apply(const Pixels& image, RandomStream* random, Dtype* values) const;

 private:
  // All that comes after TrivialAugment.
  template <typename Dtype>
  void WarpCropAndScale(const Pixels& image, RandomStream* random,
                        Dtype* values) const;
  // All that comes after the affine warp.
  template <typename Dtype>
  void CropAndScale(const Pixels& image, RandomStream* random,
                    Dtype* values) const;
  template <typename Dtype>
  void Cutout(RandomStream* random, Dtype* values) const;

  const TransformationParameter param_;
  const bool is_training_;
  const int channels_;
  int height_, width_;
  int rows_, columns_;  // numbers of possible first rows and columns of a crop
  // The row or column of the image for each one of the padded image.
  std::vector<int> source_row_, source_column_;
  std::vector<float> mean_;  // of each channel
  float random_affine_, color_jitter_, trivial_augment_;
  int cutout_;
};

}  // namespace caffe

#endif  // DNNH_LAYERS_DATA_IMAGE_TRANSFORM_HPP_
