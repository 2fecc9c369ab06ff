#ifndef DNNH_LAYERS_DATA_AFFINE_WARP_HPP_
#define DNNH_LAYERS_DATA_AFFINE_WARP_HPP_

#ifdef USE_OPENCV

#include <opencv2/core/core.hpp>

#include "layers/data/image_database.hpp"

namespace caffe {

/// A copy of an image whose channels are planes, one below the other, that own
/// their memory.
Pixels Planes(const Pixels& image);

/// A channel of such an image; shares its memory.
cv::Mat Plane(const Pixels& image, int channel);

/**
 * @brief Warps an image about its centre. Reflection fills what lies outside.
 *
 * @param map takes an offset from the centre of the result to one in the image
 * @param moved is added to that offset, in pixels
 * @param image as Planes makes it
 */
void WarpAboutCentre(const cv::Matx22d& map, const cv::Vec2d& moved,
                     Pixels* image);

}  // namespace caffe

#endif  // USE_OPENCV

#endif  // DNNH_LAYERS_DATA_AFFINE_WARP_HPP_
