#include "layers/data/affine_warp.hpp"

#ifdef USE_OPENCV

#include <opencv2/imgproc/imgproc.hpp>

namespace caffe {

Pixels Planes(const Pixels& image) {
  Pixels planes;
  planes.channels = image.channels;
  planes.height = image.height;
  planes.width = image.width;
  planes.decoded.create(image.channels * image.height, image.width, CV_8UC1);
  uint8_t* value = planes.decoded.data;
  for (int c = 0; c < image.channels; ++c) {
    for (int y = 0; y < image.height; ++y) {
      for (int x = 0; x < image.width; ++x) {
        *value++ = image.data[c * image.channel_step + y * image.row_step
                              + x * image.column_step];
      }
    }
  }
  planes.data = planes.decoded.data;
  planes.channel_step = static_cast<ptrdiff_t>(image.height) * image.width;
  planes.row_step = image.width;
  planes.column_step = 1;
  return planes;
}

cv::Mat Plane(const Pixels& image, int channel) {
  return image.decoded.rowRange(channel * image.height,
                                (channel + 1) * image.height);
}

void WarpAboutCentre(const cv::Matx22d& map, const cv::Vec2d& moved,
                     Pixels* image) {
  const cv::Vec2d centre((image->width - 1) / 2., (image->height - 1) / 2.);
  const cv::Vec2d shift = centre - map * centre + moved;
  const cv::Matx23d to_source(map(0, 0), map(0, 1), shift[0],  //
                              map(1, 0), map(1, 1), shift[1]);
  for (int c = 0; c < image->channels; ++c) {
    const cv::Mat plane = Plane(*image, c);
    cv::warpAffine(plane.clone(), plane, to_source, plane.size(),
                   cv::INTER_LINEAR | cv::WARP_INVERSE_MAP,
                   cv::BORDER_REFLECT_101);
  }
}

}  // namespace caffe

#endif  // USE_OPENCV
