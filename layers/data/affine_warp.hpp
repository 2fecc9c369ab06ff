#ifndef DNNH_LAYERS_DATA_AFFINE_WARP_HPP_
#define DNNH_LAYERS_DATA_AFFINE_WARP_HPP_

#ifdef USE_OPENCV

#include <opencv2/core/core.hpp>

namespace caffe {

/**
 * @brief Warps an image, or a single channel, about its centre. Reflection
 *        fills what lies outside.
 *
 * @param to has the size and type of `from`, and other memory
 * @param map takes an offset from the centre of the result to one in `from`
 * @param moved is added to that offset, in pixels
 */
void WarpAboutCentre(const cv::Mat& from, const cv::Mat& to,
                     const cv::Matx22d& map,
                     const cv::Vec2d& moved = cv::Vec2d(0, 0));

}  // namespace caffe

#endif  // USE_OPENCV

#endif  // DNNH_LAYERS_DATA_AFFINE_WARP_HPP_
