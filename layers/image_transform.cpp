#include "layers/image_transform.hpp"

#include <algorithm>
#include <cstdlib>
#include <string>
#include <vector>

#include <opencv2/imgproc/imgproc.hpp>

#include "caffe/common.hpp"

namespace caffe {

namespace {

const float kGrey = 128;

// For each place of a row of `size` pixels, padded on both sides, the pixel
// that stands there; the outermost pixel is the mirror's axis.
std::vector<int> Mirrored(int size, int pad) {
  std::vector<int> source;
  for (int i = -pad; i < size + pad; ++i) {
    source.push_back(size - 1 - std::abs(size - 1 - std::abs(i)));
  }
  return source;
}

}  // namespace

ImageTransform::ImageTransform(const std::string& owner,
    const TransformationParameter& param, const TripletDataParameter& options,
    Phase phase, const ImageDatabase& images)
    : param_(param), is_training_(phase == TRAIN), channels_(images.channels()),
      warp_(phase == TRAIN ? options.warp() : 0),
      jitter_(phase == TRAIN ? options.jitter() : 0),
      erase_(phase == TRAIN ? options.erase() : 0) {
  CHECK(warp_ >= 0 && warp_ < 1) << owner << ": warp is " << warp_
      << ", it must be from 0 to below 1";
  CHECK(jitter_ >= 0 && jitter_ < 1) << owner << ": jitter is " << jitter_
      << ", it must be from 0 to below 1";
  CHECK(!param.has_mean_file()) << owner << ": a mean_file is not read here;"
      << " give the mean of each channel as mean_value";
  const int means = param.mean_value_size();
  CHECK(means <= 1 || means == channels_) << owner << ": there are " << means
      << " mean_values; give one, or one for each of " << channels_
      << " channels";
  mean_.assign(channels_, means ? param.mean_value(0) : 0.f);
  if (means > 1) {
    std::copy(param.mean_value().begin(), param.mean_value().end(),
              mean_.begin());
  }

  const int pad = static_cast<int>(options.pad());
  const int crop = static_cast<int>(param.crop_size());
  CHECK(pad == 0 || crop) << owner << ": pad: " << pad << " is for random"
      << " crops; give transform_param a crop_size, for example the image's "
      << images.height();
  CHECK(pad >= 0 && pad < std::min(images.height(), images.width())) << owner
      << ": pad: " << pad << " mirrors more than an image of "
      << images.height() << " x " << images.width() << " has; make it smaller";
  source_row_ = Mirrored(images.height(), pad);
  source_column_ = Mirrored(images.width(), pad);
  height_ = crop ? crop : images.height();
  width_ = crop ? crop : images.width();
  rows_ = static_cast<int>(source_row_.size()) - height_ + 1;
  columns_ = static_cast<int>(source_column_.size()) - width_ + 1;
  CHECK(crop >= 0 && rows_ > 0 && columns_ > 0) << owner << ": crop_size: "
      << param.crop_size() << " is larger than the images, " << images.height()
      << " x " << images.width() << " with " << pad << " more on each side";
  CHECK(erase_ >= 0 && erase_ <= std::min(height_, width_)) << owner
      << ": erase: " << options.erase() << " paints over whole images of "
      << height_ << " x " << width_ << "; make it smaller";
}

template <typename Dtype>
void ImageTransform::Apply(const Pixels& image, RandomStream* random,
                           Dtype* values) const {
  if (warp_ > 0) {
    Place(Warped(image, random), random, values);
  } else {
    Place(image, random, values);
  }
}

template <typename Dtype>
void ImageTransform::Place(const Pixels& image, RandomStream* random,
                           Dtype* values) const {
  const bool mirror = param_.mirror() && random->Below(2);
  const int top = is_training_ ? random->Below(rows_) : (rows_ - 1) / 2;
  const int left = is_training_ ? random->Below(columns_) : (columns_ - 1) / 2;
  // Where each column of the output is in a row of the image.
  std::vector<ptrdiff_t> offset(width_);
  for (int x = 0; x < width_; ++x) {
    const int column = left + (mirror ? width_ - 1 - x : x);
    offset[x] = source_column_[column] * image.column_step;
  }
  const Dtype scale = param_.scale();
  const Dtype contrast = jitter_ > 0 ? 1 + jitter_ * random->Balanced() : 1;
  Dtype* const first = values;
  for (int c = 0; c < channels_; ++c) {
    const Dtype mean = mean_[c];
    const Dtype shift = jitter_ > 0 ? kGrey * jitter_ * random->Balanced() : 0;
    for (int y = 0; y < height_; ++y) {
      const uint8_t* row = image.data + c * image.channel_step
          + source_row_[top + y] * image.row_step;
      for (int x = 0; x < width_; ++x) {
        const Dtype pixel = (row[offset[x]] - kGrey) * contrast + kGrey + shift;
        *values++ = (pixel - mean) * scale;
      }
    }
  }
  if (erase_ > 0) { Erase(random, first); }
}

// What a random linear map about its middle makes of an image.
Pixels ImageTransform::Warped(const Pixels& image, RandomStream* random) const {
  cv::Matx22d map = cv::Matx22d::eye();
  for (double& number : map.val) { number += warp_ * random->Balanced(); }
  const cv::Vec2d middle((image.width - 1) / 2., (image.height - 1) / 2.);
  const cv::Vec2d shift = middle - map * middle;
  const cv::Matx23d to_source(map(0, 0), map(0, 1), shift[0],
                              map(1, 0), map(1, 1), shift[1]);
  const auto warp = [&](const cv::Mat& from, cv::Mat to) {
    cv::warpAffine(from, to, to_source, from.size(),
                   cv::INTER_LINEAR | cv::WARP_INVERSE_MAP,
                   cv::BORDER_REFLECT_101);
  };
  Pixels result;
  result.channels = image.channels;
  result.height = image.height;
  result.width = image.width;
  result.column_step = image.column_step;
  if (image.column_step == 1) {                 // plane by plane
    result.decoded.create(image.channels * image.height, image.width, CV_8UC1);
    for (int c = 0; c < image.channels; ++c) {
      const cv::Mat plane(image.height, image.width, CV_8UC1,
          const_cast<uint8_t*>(image.data + c * image.channel_step),
          image.row_step);
      warp(plane, result.decoded.rowRange(c * image.height,
                                          (c + 1) * image.height));
    }
    result.channel_step = static_cast<ptrdiff_t>(image.height) * image.width;
    result.data = result.decoded.data;
  } else {                                      // pixel by pixel
    result.decoded.create(image.decoded.size(), image.decoded.type());
    warp(image.decoded, result.decoded);
    result.channel_step = image.channel_step;
    result.data = result.decoded.data + (image.data - image.decoded.data);
  }
  result.row_step = result.decoded.step;
  return result;
}

template <typename Dtype>
void ImageTransform::Erase(RandomStream* random, Dtype* values) const {
  const int top = static_cast<int>(random->Below(height_)) - erase_ / 2;
  const int left = static_cast<int>(random->Below(width_)) - erase_ / 2;
  for (int c = 0; c < channels_; ++c) {
    for (int y = std::max(top, 0); y < std::min(top + erase_, height_); ++y) {
      Dtype* row = values + (c * height_ + y) * width_;
      std::fill(row + std::max(left, 0), row + std::min(left + erase_, width_),
                Dtype((kGrey - mean_[c]) * param_.scale()));
    }
  }
}

template void ImageTransform::Apply(const Pixels&, RandomStream*, float*) const;
template void ImageTransform::Apply(const Pixels&, RandomStream*,
                                    double*) const;

}  // namespace caffe
