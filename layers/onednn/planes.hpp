#ifndef DNNH_LAYERS_ONEDNN_PLANES_HPP_
#define DNNH_LAYERS_ONEDNN_PLANES_HPP_

#include <cstdint>

#include "layers/onednn/onednn.hpp"
#include "layers/onednn/vectors.hpp"

namespace caffe {

/// A block of channels of an image: `step` values lie between a pixel's first
/// and the next one's.
template <typename Element>
struct Plane {
  Element* first;
  int64_t step;

  DNNH_INLINE Element* At(int64_t pixel) const { return first + pixel * step; }
};

namespace onednn {

/// Channels up to whole blocks, of 8 or 16.
inline int64_t PaddedChannels(const memory::desc& layout) {
  int64_t channels = 0;
  CHECK(WithLanes(layout, [&](auto lanes) {
    channels = (DimsOf(layout)[1] + lanes - 1) / lanes * lanes;
  }));
  return channels;
}

inline int64_t Pixels(const memory::desc& layout) {
  const memory::dims dims = DimsOf(layout);
  return dims[2] * dims[3];
}

/// Calls use(lanes, element, plane, channel) on all threads, for each block of
/// channels of each image: `plane` counts them, and `channel` is the first
/// channel of the block.
template <typename Use>
void ForPlanes(const memory::desc& layout, const Use& use) {
  WithElements(layout, [&](auto element) {
    const bool is_in_blocks = WithLanes(layout, [&](auto lanes) {
      const int64_t blocks = PaddedChannels(layout) / lanes;
      const int64_t planes = DimsOf(layout)[0] * blocks;
#pragma omp parallel for schedule(static)
      for (int64_t plane = 0; plane < planes; ++plane) {
        use(lanes, element, plane, plane % blocks * lanes);
      }
    });
    CHECK(is_in_blocks);
  });
}

/// The planes of images, as ForPlanes counts them.
class Planes {
 public:
  /// @param images may be empty if At is not called
  explicit Planes(const memory& images) {
    if (!images) { return; }
    values_ = images.get_data_handle();
    const memory::desc layout = images.get_desc();
    pixels_ = Pixels(layout);
    if (HasChannelsLast(layout)) { channels_ = DimsOf(layout)[1]; }
  }

  template <typename Element, int kLanes>
  Plane<Element> At(int64_t plane) const {
    Element* const values = static_cast<Element*>(values_);
    if (!channels_) { return {values + plane * pixels_ * kLanes, kLanes}; }
    const int64_t blocks = channels_ / kLanes;
    return {
        values + plane / blocks * pixels_ * channels_ + plane % blocks * kLanes,
        channels_};
  }

 private:
  void* values_ = nullptr;
  int64_t pixels_ = 0, channels_ = 0;  // no channels if these are in blocks
};

}  // namespace onednn
}  // namespace caffe

#endif  // DNNH_LAYERS_ONEDNN_PLANES_HPP_
