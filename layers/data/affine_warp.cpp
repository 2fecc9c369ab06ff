#include "layers/data/affine_warp.hpp"

#ifdef USE_OPENCV

#include <opencv2/imgproc/imgproc.hpp>

namespace caffe {

void WarpAboutCentre(const cv::Mat& from, const cv::Mat& to,
                     const cv::Matx22d& map, const cv::Vec2d& moved) {
  const cv::Vec2d centre((from.cols - 1) / 2., (from.rows - 1) / 2.);
  const cv::Vec2d shift = centre - map * centre + moved;
  const cv::Matx23d to_source(map(0, 0), map(0, 1), shift[0],  //
                              map(1, 0), map(1, 1), shift[1]);
  cv::warpAffine(from, to, to_source, from.size(),
                 cv::INTER_LINEAR | cv::WARP_INVERSE_MAP,
                 cv::BORDER_REFLECT_101);
}

}  // namespace caffe

#endif  // USE_OPENCV
