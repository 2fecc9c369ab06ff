#include "layers/data/trivial_augment.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#ifdef USE_OPENCV
#include <opencv2/imgproc/imgproc.hpp>
#endif

#include "layers/data/affine_warp.hpp"

namespace caffe {

#ifndef USE_OPENCV

// ImageTransform refuses trivial_augment.
Pixels Apply(Operation operation, double amount, const Pixels& image) {
  return Pixels();
}

#else

namespace {

// from + factor (value - from), for each value.
uint8_t Blend(double from, double value, double factor) {
  return cv::saturate_cast<uint8_t>(from + factor * (value - from));
}

// Blends each pixel with its grey, or with the grey of the whole image.
void BlendWithGrey(bool is_of_image, double factor, Pixels* image) {
  const ptrdiff_t area = image->channel_step;
  uint8_t* values = image->decoded.data;
  std::vector<double> grey(area, 0);
  for (ptrdiff_t i = 0; i < area * image->channels; ++i) {
    grey[i % area] += double(values[i]) / image->channels;
  }
  if (is_of_image) {
    double mean = 0;
    for (double pixel : grey) { mean += pixel / area; }
    grey.assign(area, mean);
  }
  for (ptrdiff_t i = 0; i < area * image->channels; ++i) {
    values[i] = Blend(grey[i % area], values[i], factor);
  }
}

// Blends with a smoothed image, but for the outermost pixels.
void Sharpen(double factor, Pixels* image) {
  if (image->height < 3 || image->width < 3) { return; }
  const cv::Matx33f kernel =
      (1 / 13.f) * cv::Matx33f(1, 1, 1, 1, 5, 1, 1, 1, 1);
  for (int c = 0; c < image->channels; ++c) {
    cv::Mat plane = Plane(*image, c), smooth;
    cv::filter2D(plane, smooth, CV_32F, kernel);
    for (int y = 1; y + 1 < image->height; ++y) {
      for (int x = 1; x + 1 < image->width; ++x) {
        uint8_t& value = plane.at<uint8_t>(y, x);
        value = Blend(smooth.at<float>(y, x), value, factor);
      }
    }
  }
}

// Replaces each value by that of a table.
template <typename Table>
void Map(const Table& table, const cv::Mat& plane) {
  std::array<uint8_t, 256> values;
  for (int v = 0; v < 256; ++v) {
    values[v] = cv::saturate_cast<uint8_t>(table(v));
  }
  cv::LUT(plane, cv::Mat(1, 256, CV_8UC1, values.data()), plane);
}

// The least value becomes 0, the greatest 255.
void Autocontrast(const cv::Mat& plane) {
  double least, most;
  cv::minMaxLoc(plane, &least, &most);
  if (most == least) { return; }
  Map([&](int v) { return (v - least) * 255 / (most - least); }, plane);
}

}  // namespace

Pixels Apply(Operation operation, double amount, const Pixels& image) {
  Pixels result = Planes(image);
  const double factor = 1 + 0.99 * amount, size = std::abs(amount);
  const double angle = 135 * amount * CV_PI / 180;
  const cv::Vec2d nowhere(0, 0);
  const cv::Matx22d unchanged = cv::Matx22d::eye();
  cv::Mat all = result.decoded;
  switch (operation) {
    case Operation::IDENTITY: break;
    case Operation::BRIGHTNESS:
      Map([&](int v) { return factor * v; }, all);
      break;
    case Operation::CONTRAST: BlendWithGrey(true, factor, &result); break;
    case Operation::SATURATION: BlendWithGrey(false, factor, &result); break;
    case Operation::SHARPNESS: Sharpen(factor, &result); break;
    case Operation::POSTERIZE: {
      const int dropped = static_cast<int>(std::lround(6 * size));
      Map([&](int v) { return v >> dropped << dropped; }, all);
      break;
    }
    case Operation::SOLARIZE:
      Map([&](int v) { return v >= 256 * (1 - size) ? 255 - v : v; }, all);
      break;
    case Operation::AUTOCONTRAST:
      for (int c = 0; c < result.channels; ++c) {
        Autocontrast(Plane(result, c));
      }
      break;
    case Operation::EQUALIZE:
      for (int c = 0; c < result.channels; ++c) {
        cv::Mat plane = Plane(result, c);
        cv::equalizeHist(plane, plane);
      }
      break;
    case Operation::ROTATE:
      WarpAboutCentre(cv::Matx22d(std::cos(angle), std::sin(angle),  //
                                  -std::sin(angle), std::cos(angle)),
                      nowhere, &result);
      break;
    case Operation::SHEAR_X:
      WarpAboutCentre(cv::Matx22d(1, 0.99 * amount, 0, 1), nowhere, &result);
      break;
    case Operation::SHEAR_Y:
      WarpAboutCentre(cv::Matx22d(1, 0, 0.99 * amount, 1), nowhere, &result);
      break;
    case Operation::TRANSLATE_X:
      WarpAboutCentre(unchanged, cv::Vec2d(amount * result.width, 0), &result);
      break;
    case Operation::TRANSLATE_Y:
      WarpAboutCentre(unchanged, cv::Vec2d(0, amount * result.height), &result);
      break;
  }
  return result;
}

#endif

Pixels TrivialAugment(const Pixels& image, double strength,
                      RandomStream* random) {
  const Operation operation =
      static_cast<Operation>(random->Below(kOperations));
  return Apply(operation, strength * random->Balanced(), image);
}

}  // namespace caffe
