#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "caffe/layers/pooling_layer.hpp"

#include "layers/onednn/normalization.hpp"
#include "layers/onednn/planes.hpp"
#include "layers/onednn/vectors.hpp"
#include "layers/owner.hpp"

namespace caffe {

using dnnl::memory;

namespace {

/// From begin up to, but without, end.
struct Range {
  int begin, end;
};

/// The windows along one side of an image.
struct Windows {
  Windows() : side(0), kernel(0) {}
  Windows(int side, int count, int kernel, int stride, int pad)
      : side(side), kernel(kernel), windows_of(side, Range{count, 0}) {
    for (int i = 0; i < count; ++i) {
      const int first = i * stride - pad;
      starts.push_back(first);
      pixels.push_back({std::max(first, 0), std::min(first + kernel, side)});
      // Caffe's averages count the padding, but not what lies past it.
      sizes.push_back(std::min(first + kernel, side + pad) - first);
      for (int p = pixels[i].begin; p < pixels[i].end; ++p) {
        windows_of[p].begin = std::min(windows_of[p].begin, i);
        windows_of[p].end = i + 1;
      }
    }
  }

  int count() const { return starts.size(); }
  bool all_have_pixels() const {
    return std::all_of(pixels.begin(), pixels.end(), [](const Range& range) {
      return range.begin < range.end;
    });
  }

  int side, kernel;          // in pixels
  vector<int> starts;        // of each window; negative in the padding
  vector<Range> pixels;      // of the image, in each window
  vector<int> sizes;         // by which the average of each window divides
  vector<Range> windows_of;  // each pixel
};

// Positions of maxima are kept in a byte.
constexpr int kMostPositions = 256;

/// @param positions of the maximum in each window
template <int kLanes, typename Element>
DNNH_WITH_AVX512 void FindMaxima(Plane<const Element> x, const float* factors,
                                 const float* shifts, float slope,
                                 const Windows& rows, const Windows& columns,
                                 Plane<Element> y, Plane<uint8_t> positions) {
  typedef typename Lanes<kLanes>::Type Vector;
  typedef typename Lanes<kLanes>::Whole Whole;
  const int width = columns.side, kernel = columns.kernel;
  Vector factor, shift, value;
  Load<kLanes>(factors, &factor);
  Load<kLanes>(shifts, &shift);
  for (int row = 0; row < rows.count(); ++row) {
    const Range down = rows.pixels[row];
    const int top = (down.begin - rows.starts[row]) * kernel;
    for (int column = 0; column < columns.count(); ++column) {
      const Range along = columns.pixels[column];
      const int first = top + along.begin - columns.starts[column];
      Vector most = Vector{} - std::numeric_limits<float>::infinity();
      Whole position = Whole{} + first, last_nan = Whole{} + kMostPositions;
      for (int i = 0; i < down.end - down.begin; ++i) {
        const int64_t from = (down.begin + i) * width + along.begin;
        for (int j = 0; j < along.end - along.begin; ++j) {
          Load<kLanes>(x.At(from + j), &value);
          Map<Vector>(factor, shift, slope, &value);
          // NaNs are found apart, so that each choice depends on one
          // comparison: GCC 12 splits vectors into single values for two.
          const Whole here = Whole{} + (first + i * kernel + j);
          position = value <= most ? position : here;
          most = value <= most ? most : value;
          // NOLINTNEXTLINE(misc-redundant-expression): false for a NaN
          last_nan = value == value ? last_nan : here;
        }
      }
      position = last_nan < kMostPositions ? last_nan : position;
      most = last_nan < kMostPositions ? Vector{} + std::nanf("") : most;
      const int64_t window = row * columns.count() + column;
      Store<kLanes>(most, y.At(window));
      Store<kLanes>(position, positions.At(window));
    }
  }
}

template <int kLanes, typename Element>
DNNH_WITH_AVX512 void DeriveMaxima(Plane<const Element> dy,
                                   Plane<const uint8_t> positions,
                                   const Windows& rows, const Windows& columns,
                                   Plane<Element> dx) {
  typedef typename Lanes<kLanes>::Type Vector;
  const int width = columns.side, kernel = columns.kernel;
  const int pooled_width = columns.count();
  const int* starts = columns.starts.data();
  const Range* windows = columns.windows_of.data();
  Vector gradient;
  typename Lanes<kLanes>::Whole position;
  for (int i = 0; i < rows.side; ++i) {
    const Range down = rows.windows_of[i];
    for (int j = 0; j < width; ++j) {
      const Range along = windows[j];
      Vector sum = {};
      for (int row = down.begin; row < down.end; ++row) {
        const int before = (i - rows.starts[row]) * kernel + j;
        for (int column = along.begin; column < along.end; ++column) {
          const int64_t at = row * pooled_width + column;
          Load<kLanes>(dy.At(at), &gradient);
          Load<kLanes>(positions.At(at), &position);
          sum += position == before - starts[column] ? gradient : Vector{};
        }
      }
      Store<kLanes>(sum, dx.At(i * width + j));
    }
  }
}

template <int kLanes, typename Element>
DNNH_WITH_AVX512 void Average(Plane<const Element> x, const float* factors,
                              const float* shifts, float slope,
                              const Windows& rows, const Windows& columns,
                              Plane<Element> y) {
  typedef typename Lanes<kLanes>::Type Vector;
  Vector factor, shift, value;
  Load<kLanes>(factors, &factor);
  Load<kLanes>(shifts, &shift);
  for (int row = 0; row < rows.count(); ++row) {
    for (int column = 0; column < columns.count(); ++column) {
      Vector sum = {};
      for (int i = rows.pixels[row].begin; i < rows.pixels[row].end; ++i) {
        const Range along = columns.pixels[column];
        for (int j = along.begin; j < along.end; ++j) {
          Load<kLanes>(x.At(i * columns.side + j), &value);
          Map<Vector>(factor, shift, slope, &value);
          sum += value;
        }
      }
      Store<kLanes>(sum * (1.f / (rows.sizes[row] * columns.sizes[column])),
                    y.At(row * columns.count() + column));
    }
  }
}

template <int kLanes, typename Element>
DNNH_WITH_AVX512 void DeriveAverages(Plane<const Element> dy,
                                     const Windows& rows,
                                     const Windows& columns,
                                     Plane<Element> dx) {
  typename Lanes<kLanes>::Type gradient;
  for (int i = 0; i < rows.side; ++i) {
    for (int j = 0; j < columns.side; ++j) {
      typename Lanes<kLanes>::Type sum = {};
      for (int row = rows.windows_of[i].begin; row < rows.windows_of[i].end;
           ++row) {
        const Range along = columns.windows_of[j];
        for (int column = along.begin; column < along.end; ++column) {
          Load<kLanes>(dy.At(row * columns.count() + column), &gradient);
          sum += gradient * (1.f / (rows.sizes[row] * columns.sizes[column]));
        }
      }
      Store<kLanes>(sum, dx.At(i * columns.side + j));
    }
  }
}

}  // namespace

/**
 * @brief Max and average pooling of images in blocks of channels, or with the
 *        channels last; see onednn.hpp.
 *
 * Loops of our own: oneDNN's max pooling for training is several times slower
 * in blocks of 8 channels, those of AVX2. Images in another layout are copied
 * into blocks. A NaN stays one; Caffe's own layer skips it.
 */
class OnednnPoolingLayer : public onednn::OnednnLayer<PoolingLayer<float>> {
 public:
  using OnednnLayer::OnednnLayer;
  static bool IsWanted(const LayerParameter& param) {
    return onednn::IsOn()
        && param.pooling_param().engine() == PoolingParameter_Engine_DEFAULT;
  }

 protected:
  std::string UnsupportedReason(const vector<Blob<float>*>& bottom,
                                const vector<Blob<float>*>& top) override {
    rows_ = Windows(height_, pooled_height_, kernel_h_, stride_h_, pad_h_);
    columns_ = Windows(width_, pooled_width_, kernel_w_, stride_w_, pad_w_);
    const bool all_have_pixels =
        rows_.all_have_pixels() && columns_.all_have_pixels();
    // Caffe's own Backward would write before the gradient.
    CHECK(all_have_pixels || !is_max())
        << OwnerOf(*this)
        << ": some windows are outside of the image and have no maximum; set"
        << " round_mode: FLOOR, or a smaller stride";
    if (layer_param_.pooling_param().pool()
            == PoolingParameter_PoolMethod_STOCHASTIC
        || top.size() > 1) {
      return "it is stochastic, or has a mask as its second top";
    }
    if (is_max() && kernel_h_ * kernel_w_ > kMostPositions) {
      return "it finds the maximum of windows of more than 256 values";
    }
    return all_have_pixels ? "" : "some windows are outside of the image";
  }

  void ForwardOnednn(const vector<Blob<float>*>& bottom,
                     const vector<Blob<float>*>& top) override {
    const onednn::ChannelMap map = onednn::MapOf(*bottom[0], &source_);
    layout_ = map.source.get_desc();
    const memory output =
        onednn::Write(top[0]->data().get(),
                      onednn::LayoutLike(layout_, onednn::Dims(*top[0]),
                                         onednn::TypeOf(layout_)),
                      &output_);
    if (is_max()) {
      onednn::Fit(onednn::LayoutLike(layout_, onednn::Dims(*top[0]),
                                     memory::data_type::u8),
                  &positions_);
    }
    const onednn::Planes x(map.source), y(output);
    const onednn::Planes positions(positions_);
    onednn::ForPlanes(
        layout_, [&](auto lanes, auto element, int64_t plane, int64_t channel) {
          using Element = decltype(element);
          constexpr int kLanes = decltype(lanes)::value;
          const auto from = x.At<const Element, kLanes>(plane);
          const auto to = y.At<Element, kLanes>(plane);
          const float* factors = &map.factors[channel];
          const float* shifts = &map.shifts[channel];
          if (is_max()) {
            FindMaxima<kLanes>(from, factors, shifts, map.slope, rows_,
                               columns_, to,
                               positions.At<uint8_t, kLanes>(plane));
          } else {
            Average<kLanes>(from, factors, shifts, map.slope, rows_, columns_,
                            to);
          }
        });
  }

  void BackwardOnednn(const vector<Blob<float>*>& top,
                      const vector<bool>& propagate_down,
                      const vector<Blob<float>*>& bottom) override {
    if (!propagate_down[0]) { return; }
    CHECK(output_) << OwnerOf(*this) << ": call Forward before Backward";
    const memory top_diff =
        onednn::Read(top[0]->diff().get(), onednn::Dims(*top[0]),
                     output_.get_desc(), &top_diff_);
    const memory diff = onednn::Write(bottom[0]->diff().get(), layout_, &diff_);
    const onednn::Planes dy(top_diff), dx(diff);
    const onednn::Planes positions(positions_);
    onednn::ForPlanes(
        layout_, [&](auto lanes, auto element, int64_t plane, int64_t) {
          using Element = decltype(element);
          constexpr int kLanes = decltype(lanes)::value;
          const auto from = dy.At<const Element, kLanes>(plane);
          const auto to = dx.At<Element, kLanes>(plane);
          if (is_max()) {
            DeriveMaxima<kLanes>(from,
                                 positions.At<const uint8_t, kLanes>(plane),
                                 rows_, columns_, to);
          } else {
            DeriveAverages<kLanes>(from, rows_, columns_, to);
          }
        });
  }

 private:
  bool is_max() const {
    return layer_param_.pooling_param().pool()
        == PoolingParameter_PoolMethod_MAX;
  }

  Windows rows_, columns_;
  memory::desc layout_;  // of the inputs in the last Forward
  memory source_, output_, diff_, top_diff_;
  memory positions_;  // of the maximum in each window
};

static ReplaceLayer<float, OnednnPoolingLayer> replace_pooling("Pooling");

}  // namespace caffe
