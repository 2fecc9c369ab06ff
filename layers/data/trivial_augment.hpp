#ifndef DNNH_LAYERS_DATA_TRIVIAL_AUGMENT_HPP_
#define DNNH_LAYERS_DATA_TRIVIAL_AUGMENT_HPP_

#include "layers/data/image_database.hpp"
#include "layers/data/random_stream.hpp"

namespace caffe {

/// The operations of TrivialAugment, in the order of their numbers. What a seed
/// means depends on it: new ones come last.
enum class Operation {
  IDENTITY,
  BRIGHTNESS,
  CONTRAST,
  SATURATION,
  SHARPNESS,
  POSTERIZE,
  SOLARIZE,
  AUTOCONTRAST,
  EQUALIZE,
  ROTATE,
  SHEAR_X,
  SHEAR_Y,
  TRANSLATE_X,
  TRANSLATE_Y
};
const int kOperations = 14;

/**
 * @brief Applies one operation to an image.
 *
 * @param amount -1 to 1, of the paper's wide ranges:
 *   - brightness, contrast, saturation, sharpness: times 1 + 0.99 amount
 *   - posterize: to 8 - 6 |amount| bits
 *   - solarize: values from 256 (1 - |amount|) on
 *   - rotate: by 135 amount degrees
 *   - shear: by 0.99 amount
 *   - translate: by the width or height times amount
 *   - autocontrast, equalize: not used
 *
 * Reflection fills what lies outside of the image.
 */
Pixels Apply(Operation operation, double amount, const Pixels& image);

/**
 * @brief One operation, drawn uniformly, with a strength drawn uniformly: data
 *        augmentation without settings to tune.
 *
 * Müller, Hutter, "TrivialAugment: Tuning-free Yet State-of-the-Art Data
 * Augmentation", ICCV 2021. Grey is the mean of the channels here, whose order
 * does not matter then.
 *
 * @param strength the share of the paper's wide ranges that is used, 0 to 1
 */
Pixels TrivialAugment(const Pixels& image, double strength,
                      RandomStream* random);

}  // namespace caffe

#endif  // DNNH_LAYERS_DATA_TRIVIAL_AUGMENT_HPP_
