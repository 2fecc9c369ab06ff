#ifndef DNNH_LAYERS_ONEDNN_PLANES_HPP_
#define DNNH_LAYERS_ONEDNN_PLANES_HPP_

#include <cstdint>

#include "layers/onednn/onednn.hpp"

namespace caffe {
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

/// Where a plane of images in blocks of so many lanes begins.
template <typename Element, int kLanes>
Element* PlaneOf(const memory& images, int64_t plane) {
  return static_cast<Element*>(images.get_data_handle())
      + plane * Pixels(images.get_desc()) * kLanes;
}

}  // namespace onednn
}  // namespace caffe

#endif  // DNNH_LAYERS_ONEDNN_PLANES_HPP_
