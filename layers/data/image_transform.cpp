#include "layers/data/image_transform.hpp"

#include <algorithm>
#include <cstdlib>
#include <string>
#include <vector>

#include "caffe/common.hpp"

#include "layers/data/affine_warp.hpp"
#include "layers/data/trivial_augment.hpp"

namespace caffe {

namespace {

const float kGrey = 128;

// For each position of a row of `size` pixels that is padded on both sides by
// reflection, the source pixel. The outermost pixel is the axis of reflection.
std::vector<int> Reflected(int size, int pad) {
  std::vector<int> source;
  for (int i = -pad; i < size + pad; ++i) {
    source.push_back(size - 1 - std::abs(size - 1 - std::abs(i)));
  }
  return source;
}

#ifndef USE_OPENCV

Pixels RandomAffine(const Pixels&, float, RandomStream*) {
  return Pixels();  // ImageTransform refuses random_affine
}

#else

// Applies a random affine warp about the centre of the image.
Pixels RandomAffine(const Pixels& image, float strength, RandomStream* random) {
  cv::Matx22d map = cv::Matx22d::eye();
  for (double& element : map.val) { element += strength * random->Balanced(); }
  Pixels warped = Planes(image);
  WarpAboutCentre(map, cv::Vec2d(0, 0), &warped);
  return warped;
}

#endif

}  // namespace

ImageTransform::ImageTransform(const std::string& owner,
                               const TransformationParameter& param,
                               const TripletDataParameter& options, Phase phase,
                               const ImageDatabase& images)
    : param_(param), is_training_(phase == TRAIN), channels_(images.channels()),
      random_affine_(phase == TRAIN ? options.random_affine() : 0),
      color_jitter_(phase == TRAIN ? options.color_jitter() : 0),
      trivial_augment_(phase == TRAIN ? options.trivial_augment() : 0),
      cutout_(phase == TRAIN ? static_cast<int>(options.cutout()) : 0) {
  CHECK(random_affine_ >= 0 && random_affine_ < 1)
      << owner << ": random_affine is " << random_affine_
      << ", it must be from 0 to below 1";
  CHECK(trivial_augment_ >= 0 && trivial_augment_ <= 1)
      << owner << ": trivial_augment is " << trivial_augment_
      << ", it must be from 0 to 1";
#ifndef USE_OPENCV
  CHECK_EQ(trivial_augment_, 0) << owner << ": this build has no OpenCV, which"
                                << " trivial_augment needs; set it to 0";
  CHECK_EQ(random_affine_, 0) << owner << ": this build has no OpenCV, which"
                              << " random_affine needs; set it to 0";
#endif
  CHECK(color_jitter_ >= 0 && color_jitter_ < 1)
      << owner << ": color_jitter is " << color_jitter_
      << ", it must be from 0 to below 1";
  CHECK(!param.has_mean_file())
      << owner << ": mean_file is not supported;"
      << " give the mean of each channel as mean_value";
  const int means = param.mean_value_size();
  CHECK(means <= 1 || means == channels_)
      << owner << ": there are " << means
      << " mean_values; give one, or one for each of " << channels_
      << " channels";
  mean_.assign(channels_, means ? param.mean_value(0) : 0.f);
  if (means > 1) {
    std::copy(param.mean_value().begin(), param.mean_value().end(),
              mean_.begin());
  }

  const int pad = static_cast<int>(options.pad());
  const int crop = static_cast<int>(param.crop_size());
  CHECK(pad == 0 || crop)
      << owner << ": pad: " << pad << " is for random"
      << " crops; give transform_param a crop_size, for example the image's "
      << images.height();
  CHECK(crop >= 0) << owner << ": crop_size: " << param.crop_size()
                   << " is larger than any image; decrease it";
  CHECK(pad >= 0 && pad < std::min(images.height(), images.width()))
      << owner << ": pad: " << pad << " reflects more pixels than an image of "
      << images.height() << " x " << images.width() << " has; decrease it";
  source_row_ = Reflected(images.height(), pad);
  source_column_ = Reflected(images.width(), pad);
  height_ = crop ? crop : images.height();
  width_ = crop ? crop : images.width();
  rows_ = static_cast<int>(source_row_.size()) - height_ + 1;
  columns_ = static_cast<int>(source_column_.size()) - width_ + 1;
  CHECK(rows_ > 0 && columns_ > 0)
      << owner << ": crop_size: " << param.crop_size()
      << " is larger than the images, " << images.height() << " x "
      << images.width() << " with " << pad << " more on each side";
  CHECK(cutout_ >= 0 && cutout_ <= std::min(height_, width_))
      << owner << ": cutout: " << options.cutout() << " covers whole images of "
      << height_ << " x " << width_ << "; decrease it";
}

template <typename Dtype>
void ImageTransform::Apply(const Pixels& image, RandomStream* random,
                           Dtype* values) const {
  if (trivial_augment_ > 0) {
    WarpCropAndScale(TrivialAugment(image, trivial_augment_, random), random,
                     values);
  } else {
    WarpCropAndScale(image, random, values);
  }
}

template <typename Dtype>
void ImageTransform::WarpCropAndScale(const Pixels& image, RandomStream* random,
                                      Dtype* values) const {
  if (random_affine_ > 0) {
    CropAndScale(RandomAffine(image, random_affine_, random), random, values);
  } else {
    CropAndScale(image, random, values);
  }
}

template <typename Dtype>
void ImageTransform::CropAndScale(const Pixels& image, RandomStream* random,
                                  Dtype* values) const {
  const bool mirror = param_.mirror() && random->Below(2);
  const int top = is_training_ ? random->Below(rows_) : (rows_ - 1) / 2;
  const int left = is_training_ ? random->Below(columns_) : (columns_ - 1) / 2;
  // The offset in a row of the image of each column of the output.
  std::vector<ptrdiff_t> offset(width_);
  for (int x = 0; x < width_; ++x) {
    const int column = left + (mirror ? width_ - 1 - x : x);
    offset[x] = source_column_[column] * image.column_step;
  }
  const Dtype scale = param_.scale();
  const Dtype contrast =
      color_jitter_ > 0 ? 1 + color_jitter_ * random->Balanced() : 1;
  Dtype* const first = values;
  for (int c = 0; c < channels_; ++c) {
    const Dtype mean = mean_[c];
    const Dtype shift =
        color_jitter_ > 0 ? kGrey * color_jitter_ * random->Balanced() : 0;
    for (int y = 0; y < height_; ++y) {
      const uint8_t* row = image.data + c * image.channel_step
          + source_row_[top + y] * image.row_step;
      for (int x = 0; x < width_; ++x) {
        const Dtype pixel = (row[offset[x]] - kGrey) * contrast + kGrey + shift;
        *values++ = (pixel - mean) * scale;
      }
    }
  }
  if (cutout_ > 0) { Cutout(random, first); }
}

template <typename Dtype>
void ImageTransform::Cutout(RandomStream* random, Dtype* values) const {
  const int top = static_cast<int>(random->Below(height_)) - cutout_ / 2;
  const int left = static_cast<int>(random->Below(width_)) - cutout_ / 2;
  for (int c = 0; c < channels_; ++c) {
    for (int y = std::max(top, 0); y < std::min(top + cutout_, height_); ++y) {
      Dtype* row = values + (c * height_ + y) * width_;
      std::fill(row + std::max(left, 0), row + std::min(left + cutout_, width_),
                Dtype((kGrey - mean_[c]) * param_.scale()));
    }
  }
}

template void ImageTransform::Apply(const Pixels&, RandomStream*, float*) const;
template void ImageTransform::Apply(const Pixels&, RandomStream*,
                                    double*) const;

}  // namespace caffe
