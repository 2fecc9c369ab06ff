#include <algorithm>
#include <limits>
#include <memory>
#include <type_traits>

#include "layers/onednn/convolution.hpp"
#include "layers/onednn/normalization.hpp"
#include "layers/onednn/winograd_tiles.hpp"

namespace caffe {

using dnnl::memory;

namespace winograd {

/// Images with their channels in blocks, and how they are divided into tiles:
/// the upper left value of tile (y, x) is (y * step - pad, x * step - pad).
struct TiledImages {
  int channels, height, width;
  int rows, columns;  // of tiles
  int step, pad;

  int64_t Tiles(int64_t images) const { return images * rows * columns; }
};

// As many as are transformed before they are multiplied, so that a cache has
// them until then.
constexpr int kTilesAtOnce = 64;

/// @param map of the images, if kMapped; null if not
/// @param points (kPoints, kTilesAtOnce, channels), of `count` tiles from
///        `first` on
template <typename Transform, int kLanes, bool kMapped, typename Element>
DNNH_WITH_AVX512 void ReadTiles(const Element* images,
                                const onednn::ChannelMap* map,
                                const TiledImages& of, int64_t first, int count,
                                float* points) {
  constexpr int kSize = Transform::kFrom;
  typedef typename Lanes<kLanes>::Type Vector;
  for (int block = 0; block < of.channels / kLanes; ++block) {
    Vector factor = {}, shift = {};
    if constexpr (kMapped) {
      Load<kLanes>(&map->factors[block * kLanes], &factor);
      Load<kLanes>(&map->shifts[block * kLanes], &shift);
    }
    for (int i = 0; i < count; ++i) {
      const int64_t tile = first + i, row = tile / of.columns;
      const int top = row % of.rows * of.step - of.pad;
      const int left = tile % of.columns * of.step - of.pad;
      const int64_t plane = row / of.rows * (of.channels / kLanes) + block;
      const Element* values = images + plane * of.height * of.width * kLanes;
      Vector in[kSize][kSize], out[kSide][kSide];
      for (int y = 0; y < kSize; ++y) {
        for (int x = 0; x < kSize; ++x) {
          const bool is_inside = top + y >= 0 && top + y < of.height
              && left + x >= 0 && left + x < of.width;
          in[y][x] = Vector{};
          if (is_inside) {
            Load<kLanes>(values + ((top + y) * of.width + left + x) * kLanes,
                         &in[y][x]);
            if constexpr (kMapped) {
              Map<Vector>(factor, shift, map->slope, &in[y][x]);
            }
          }
        }
      }
      TransformTile<Transform>(in, out);
      float* to = points + i * of.channels + block * kLanes;
      for (int point = 0; point < kPoints; ++point) {
        Store<kLanes>(out[point / kSide][point % kSide],
                      to + int64_t(point) * kTilesAtOnce * of.channels);
      }
    }
  }
}

/// @param points as those of ReadTiles
/// @param bias null without
template <typename Transform, int kLanes, typename Element>
DNNH_WITH_AVX512 void WriteTiles(const float* points, const TiledImages& of,
                                 int64_t first, int count, const float* bias,
                                 float min, float max, Element* images) {
  constexpr int kSize = Transform::kTo;
  typedef typename Lanes<kLanes>::Type Vector;
  for (int block = 0; block < of.channels / kLanes; ++block) {
    Vector shift = {};
    if (bias) { Load<kLanes>(bias + block * kLanes, &shift); }
    for (int i = 0; i < count; ++i) {
      const int64_t tile = first + i, row = tile / of.columns;
      const int top = row % of.rows * of.step;
      const int left = tile % of.columns * of.step;
      const int64_t plane = row / of.rows * (of.channels / kLanes) + block;
      Element* values = images + plane * of.height * of.width * kLanes;
      const float* from = points + i * of.channels + block * kLanes;
      Vector in[kSide][kSide], out[kSize][kSize];
      for (int point = 0; point < kPoints; ++point) {
        Load<kLanes>(from + int64_t(point) * kTilesAtOnce * of.channels,
                     &in[point / kSide][point % kSide]);
      }
      TransformTile<Transform>(in, out);
      for (int y = 0; y < kSize && top + y < of.height; ++y) {
        for (int x = 0; x < kSize && left + x < of.width; ++x) {
          Vector value = out[y][x] + shift;
          value = value < min ? Vector{} + min : value;  // a NaN stays one
          value = value > max ? Vector{} + max : value;
          Store<kLanes>(value,
                        values + ((top + y) * of.width + left + x) * kLanes);
        }
      }
    }
  }
}

/// Columns that are multiplied at once.
template <int kLanes>
constexpr int kPanel = 2 * kLanes;

/// Where the value (row, column) of a matrix is that is stored in panels: all
/// rows of the first kPanel columns, then all rows of the next. The last panel
/// may be narrower.
template <int kLanes>
DNNH_INLINE int64_t PanelOffset(int64_t column, int64_t columns, int64_t rows,
                                int64_t row) {
  const int64_t first = column / kPanel<kLanes> * kPanel<kLanes>;
  const int64_t width = std::min<int64_t>(kPanel<kLanes>, columns - first);
  return first * rows + row * width + column - first;
}

/// The factors of one row of weights, in panels.
/// @param weights that of column i at i * stride
template <int kKernel, int kLanes>
DNNH_WITH_AVX512 void ReadWeights(const float* weights, int64_t stride,
                                  bool is_rotated, int64_t columns,
                                  int64_t rows, int64_t row, float* factors) {
  constexpr int kTaps = kKernel * kKernel;
  typedef typename Lanes<kLanes>::Type Vector;
  for (int64_t column = 0; column < columns; column += kLanes) {
    Vector in[kKernel][kKernel], out[kSide][kSide];
    for (int tap = 0; tap < kTaps; ++tap) {
      float values[kLanes];
      const int from = is_rotated ? kTaps - 1 - tap : tap;
      for (int lane = 0; lane < kLanes; ++lane) {
        values[lane] = weights[(column + lane) * stride + from];
      }
      Load<kLanes>(values, &in[tap / kKernel][tap % kKernel]);
    }
    TransformTile<FactorTransform<kKernel>>(in, out);
    float* to = factors + PanelOffset<kLanes>(column, columns, rows, row);
    for (int point = 0; point < kPoints; ++point) {
      Store<kLanes>(out[point / kSide][point % kSide],
                    to + point * rows * columns);
    }
  }
}

/// kRows x kVectors vectors of a product; see Multiply.
template <int kLanes, int kRows, int kVectors>
DNNH_INLINE void MultiplyBlock(int64_t inner, const float* a, int64_t a_row,
                               int64_t a_inner, const float* b, int64_t b_inner,
                               bool adds, float* product, int64_t stride) {
  typedef typename Lanes<kLanes>::Type Vector;
  Vector sums[kRows][kVectors], columns[kVectors];
#pragma GCC unroll 8
  for (int row = 0; row < kRows; ++row) {
#pragma GCC unroll 2
    for (int i = 0; i < kVectors; ++i) { sums[row][i] = Vector{}; }
  }
  for (int64_t k = 0; k < inner; ++k) {
#pragma GCC unroll 2
    for (int i = 0; i < kVectors; ++i) {
      Load<kLanes>(b + k * b_inner + i * kLanes, &columns[i]);
    }
#pragma GCC unroll 8
    for (int row = 0; row < kRows; ++row) {
      const float value = a[row * a_row + k * a_inner];
#pragma GCC unroll 2
      for (int i = 0; i < kVectors; ++i) { sums[row][i] += value * columns[i]; }
    }
  }
#pragma GCC unroll 8
  for (int row = 0; row < kRows; ++row) {
#pragma GCC unroll 2
    for (int i = 0; i < kVectors; ++i) {
      float* to = product + row * stride + i * kLanes;
      if (adds) {
        Load<kLanes>(to, &columns[i]);
        sums[row][i] += columns[i];
      }
      Store<kLanes>(sums[row][i], to);
    }
  }
}

/// Rows of a product that stay in registers at once: there are 32 of AVX-512,
/// and 16 of AVX2.
template <int kLanes>
constexpr int kRowsAtOnce = kLanes == 16 ? 8 : 4;

/**
 * @brief product (rows, columns) = a b, or += a b.
 *
 * @param rows a multiple of kRowsAtOnce, columns one of kLanes
 * @param a a value of row i and inner index k at i * a_row + k * a_inner
 * @param b the panel that begins with column i at i * b_column; in it, the rows
 *        are b_inner apart, or as far as it is wide if that is 0
 */
template <int kLanes>
DNNH_WITH_AVX512 void Multiply(int64_t rows, int64_t columns, int64_t inner,
                               const float* a, int64_t a_row, int64_t a_inner,
                               const float* b, int64_t b_column,
                               int64_t b_inner, bool adds, float* product) {
  for (int64_t column = 0; column < columns; column += kPanel<kLanes>) {
    const float* panel = b + column * b_column;
    const bool is_whole = columns - column >= kPanel<kLanes>;
    for (int64_t row = 0; row < rows; row += kRowsAtOnce<kLanes>) {
      float* block = product + row * columns + column;
      if (is_whole) {
        MultiplyBlock<kLanes, kRowsAtOnce<kLanes>, 2>(
            inner, a + row * a_row, a_row, a_inner, panel,
            b_inner ? b_inner : kPanel<kLanes>, adds, block, columns);
      } else {
        MultiplyBlock<kLanes, kRowsAtOnce<kLanes>, 1>(
            inner, a + row * a_row, a_row, a_inner, panel,
            b_inner ? b_inner : kLanes, adds, block, columns);
      }
    }
  }
}

/// Adds the weights of one row of factors, (parts, kPoints, rows, channels).
template <int kKernel, int kLanes>
DNNH_WITH_AVX512 void AddWeights(const float* factors, int parts, int64_t part,
                                 int channels, int64_t stride, float* weights) {
  constexpr int kTaps = kKernel * kKernel;
  typedef typename Lanes<kLanes>::Type Vector;
  for (int c = 0; c < channels; c += kLanes) {
    Vector in[kSide][kSide], out[kKernel][kKernel];
    for (int point = 0; point < kPoints; ++point) {
      Vector sum = {};
      for (int i = 0; i < parts; ++i) {
        Vector value;
        Load<kLanes>(factors + i * part + point * stride + c, &value);
        sum += value;
      }
      in[point / kSide][point % kSide] = sum;
    }
    TransformTile<ResultTransform<kKernel>>(in, out);
    for (int tap = 0; tap < kTaps; ++tap) {
      float values[kLanes];
      Store<kLanes>(out[tap / kKernel][tap % kKernel], values);
      for (int lane = 0; lane < kLanes; ++lane) {
        weights[(c + lane) * kTaps + tap] += values[lane];
      }
    }
  }
}

/// Temporary memory of the calling thread.
float* Workspace(int64_t floats) {
  static thread_local memory kept;
  return static_cast<float*>(
      onednn::Reuse(onednn::Plain({floats}), &kept).get_data_handle());
}

/// Tiles that are shared out among threads, up to kTilesAtOnce at once.
struct Chunks {
  explicit Chunks(int64_t tiles, int64_t most = omp_get_max_threads())
      : tiles(tiles) {
    const int64_t share = (tiles - 1) / most / 8 * 8 + 8;  // whole rows
    size = std::min<int64_t>(kTilesAtOnce, share);
    threads = std::min(most, (tiles + size - 1) / size);
  }

  /// Calls body(first, count, workspace) for all.
  template <typename Body>
  void ForEach(int64_t floats, const Body& body) const {
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t first = 0; first < tiles; first += size) {
      body(first, std::min(size, tiles - first), Workspace(floats));
    }
  }

  int64_t tiles, size;
  int threads;
};

}  // namespace winograd

namespace onednn {

namespace {

using winograd::FactorTransform;
using winograd::kPoints;
using winograd::kSide;
using winograd::kTilesAtOnce;
using winograd::ResultTransform;
using winograd::SourceTransform;
using winograd::TiledImages;

template <int kKernel>
class WinogradConvolution : public Convolution {
 public:
  WinogradConvolution(const ConvolutionShape& shape, memory::data_type type,
                      const ConvolutionOptions& options)
      : shape_(shape), source_desc_(BlockedLayout(shape.source, type)),
        output_desc_(BlockedLayout(shape.output, type)),
        outputs_(shape.weights[0]), channels_(shape.weights[1]) {
    if (options.clip) {
      min_ = options.clip->min();
      max_ = options.clip->max();
    }
  }

  memory Prepare(const float* weights, memory* kept) override {
    return Factors(weights, false, kept);
  }

  void Forward(SyncedMemory* source, const memory& prepared, const float* bias,
               SyncedMemory* output) override {
    const Source in = ReadSource(source, source_desc_, &source_);
    Convolve(in, shape_.pads[0], prepared, bias, min_, max_,
             Write(output, output_desc_, &output_));
  }

  // The convolution of the gradient with the weights rotated.
  void BackwardData(SyncedMemory* output_diff, const float* weights,
                    SyncedMemory* source_diff) override {
    const Source in = {
        Read(output_diff, shape_.output, output_desc_, &output_diff_), nullptr};
    Convolve(in, kKernel - 1 - shape_.pads[0], Factors(weights, true, nullptr),
             nullptr, -kInfinity, kInfinity,
             Write(source_diff, source_desc_, &source_diff_));
  }

  void BackwardWeights(SyncedMemory* source, SyncedMemory* output_diff,
                       Blob<float>* weights, Blob<float>* bias) override {
    const Source in = ReadSource(source, source_desc_, &source_);
    const memory out =
        Read(output_diff, shape_.output, output_desc_, &output_diff_);
    const TiledImages outputs = Tiled(out, 0);
    const TiledImages sources =
        Tiled(in.images, shape_.pads[0], outputs.rows, outputs.columns);
    const int64_t floats = int64_t(kPoints) * kTilesAtOnce;
    // Of each thread: the gradients of the factors, then of the biases.
    const int64_t size = kPoints * outputs_ * channels_;
    const int64_t part = size + outputs_;
    const int64_t threads = std::min<int64_t>(
        omp_get_max_threads(), std::max<int64_t>(1, kMostSums / part));
    const winograd::Chunks chunks(outputs.Tiles(shape_.output[0]), threads);
    const memory sums = Scratch(Plain({chunks.threads, part}));
    float* parts = static_cast<float*>(sums.get_data_handle());
#pragma omp parallel for schedule(static) num_threads(chunks.threads)
    for (int i = 0; i < chunks.threads; ++i) {
      std::fill(parts + i * part, parts + (i + 1) * part, 0.f);
    }
    Dispatch([&](auto element, auto lanes) {
      using Element = decltype(element);
      constexpr int kLanes = decltype(lanes)::value;
      chunks.ForEach(
          floats * (channels_ + outputs_),
          [&](int64_t first, int count, float* points) {
            float* diffs = points + floats * channels_;
            ReadTilesOf<Element, kLanes>(in, sources, first, count, points);
            winograd::ReadTiles<FactorTransform<kStep>, kLanes, false>(
                static_cast<const Element*>(out.get_data_handle()), nullptr,
                outputs, first, count, diffs);
            float* sum = parts + omp_get_thread_num() * part;
            for (int point = 0; point < kPoints; ++point) {
              winograd::Multiply<kLanes>(
                  outputs_, channels_, count,
                  diffs + point * kTilesAtOnce * outputs_, 1, outputs_,
                  points + point * kTilesAtOnce * channels_, 1, channels_, true,
                  sum + point * outputs_ * channels_);
            }
            AddSums(diffs, count, sum + size);
          });
    });
    if (weights) {
      float* diff = weights->mutable_cpu_diff();
      Dispatch([&](auto element, auto lanes) {
#pragma omp parallel for schedule(static)
        for (int64_t k = 0; k < outputs_; ++k) {
          winograd::AddWeights<kKernel, decltype(lanes)::value>(
              parts + k * channels_, chunks.threads, part, channels_,
              outputs_ * channels_, diff + k * channels_ * kTaps);
        }
      });
    }
    if (bias) {
      for (int i = 0; i < chunks.threads; ++i) {
        caffe_axpy<float>(outputs_, 1, parts + i * part + size,
                          bias->mutable_cpu_diff());
      }
    }
  }

 private:
  static constexpr int kStep = kSide + 1 - kKernel;
  static constexpr int kTaps = kKernel * kKernel;
  static constexpr int64_t kMostSums = 1 << 26;  // floats, of all threads
  static constexpr float kInfinity = std::numeric_limits<float>::infinity();

  template <typename Element, int kLanes>
  static void ReadTilesOf(const Source& source, const TiledImages& tiled,
                          int64_t first, int count, float* points) {
    const auto* images =
        static_cast<const Element*>(source.images.get_data_handle());
    if (source.deferred) {
      winograd::ReadTiles<SourceTransform, kLanes, true>(
          images, &source.deferred->map(), tiled, first, count, points);
    } else {
      winograd::ReadTiles<SourceTransform, kLanes, false>(
          images, nullptr, tiled, first, count, points);
    }
  }

  static TiledImages Tiled(const memory& images, int pad, int rows = 0,
                           int columns = 0) {
    const memory::dims dims = DimsOf(images.get_desc());
    TiledImages tiled;
    tiled.channels = dims[1];
    tiled.height = dims[2];
    tiled.width = dims[3];
    tiled.rows = rows ? rows : (dims[2] + kStep - 1) / kStep;
    tiled.columns = columns ? columns : (dims[3] + kStep - 1) / kStep;
    tiled.step = kStep;
    tiled.pad = pad;
    return tiled;
  }

  // Calls use(element, lanes), of the layouts.
  template <typename Use>
  void Dispatch(const Use& use) {
    WithElements(source_desc_, [&](auto element) {
      WithLanes(source_desc_, [&](auto lanes) { use(element, lanes); });
    });
  }

  // The factors of the weights in panels: for Forward (kPoints, channels,
  // outputs), for BackwardData (kPoints, outputs, channels), of the rotated.
  memory Factors(const float* weights, bool is_backward, memory* kept) {
    const int64_t rows = is_backward ? outputs_ : channels_;
    const int64_t columns = is_backward ? channels_ : outputs_;
    const int64_t row_stride = (is_backward ? channels_ : 1) * kTaps;
    const int64_t column_stride = (is_backward ? 1 : channels_) * kTaps;
    const memory::desc layout = Plain({kPoints, rows, columns});
    if (kept) { Fit(layout, kept); }
    const memory factors = kept ? *kept : Scratch(layout);
    float* values = static_cast<float*>(factors.get_data_handle());
    Dispatch([&](auto element, auto lanes) {
#pragma omp parallel for schedule(static)
      for (int64_t row = 0; row < rows; ++row) {
        winograd::ReadWeights<kKernel, decltype(lanes)::value>(
            weights + row * row_stride, column_stride, is_backward, columns,
            rows, row, values);
      }
    });
    return factors;
  }

  void Convolve(const Source& source, int pad, const memory& factors,
                const float* bias, float min, float max, const memory& output) {
    const TiledImages outputs = Tiled(output, 0);
    const TiledImages sources =
        Tiled(source.images, pad, outputs.rows, outputs.columns);
    const int64_t floats = int64_t(kPoints) * kTilesAtOnce;
    const float* weights = static_cast<float*>(factors.get_data_handle());
    Dispatch([&](auto element, auto lanes) {
      using Element = decltype(element);
      constexpr int kLanes = decltype(lanes)::value;
      winograd::Chunks(outputs.Tiles(shape_.source[0]))
          .ForEach(
              floats * (channels_ + outputs_),
              [&](int64_t first, int count, float* points) {
                float* products = points + floats * sources.channels;
                ReadTilesOf<Element, kLanes>(source, sources, first, count,
                                             points);
                // Rows behind the last tile have values of no meaning.
                const int64_t rows = (count + winograd::kRowsAtOnce<kLanes> - 1)
                    / winograd::kRowsAtOnce<kLanes>
                    * winograd::kRowsAtOnce<kLanes>;
                const int64_t from = sources.channels, to = outputs.channels;
                for (int point = 0; point < kPoints; ++point) {
                  winograd::Multiply<kLanes>(
                      rows, to, from, points + point * kTilesAtOnce * from,
                      from, 1, weights + point * from * to, from, 0, false,
                      products + point * kTilesAtOnce * to);
                }
                winograd::WriteTiles<ResultTransform<kStep>, kLanes>(
                    products, outputs, first, count, bias, min, max,
                    static_cast<Element*>(output.get_data_handle()));
              });
    });
  }

  // Adds the gradients of all outputs of some tiles: 36 times their factors at
  // point (1, 1).
  void AddSums(const float* diffs, int count, float* sums) const {
    const float* at_ones = diffs + (kSide + 1) * kTilesAtOnce * outputs_;
    for (int i = 0; i < count; ++i) {
      for (int64_t k = 0; k < outputs_; ++k) {
        sums[k] += 36 * at_ones[i * outputs_ + k];
      }
    }
  }

  const ConvolutionShape shape_;
  const memory::desc source_desc_, output_desc_;
  const int64_t outputs_, channels_;
  float min_ = -kInfinity, max_ = kInfinity;
  memory output_, source_diff_;  // hold the results
  memory source_, output_diff_;  // buffers for values that must be reordered
};

bool IsFaster(const ConvolutionShape& shape, memory::data_type type) {
  // Otherwise our loops would be those compiled for SSE2, while oneDNN's code
  // always fits the processor.
#ifdef __x86_64__
  if (!DNNH_HAS_AVX512_LOOPS || !Has(dnnl::cpu_isa::avx2)) { return false; }
#endif
  if (HasAmxFor(type)) { return false; }  // direct convolution is faster
  const memory::dims one = {1, 1}, none = {0, 0};
  if (shape.weights.size() != 4 || shape.strides != one
      || shape.dilations != none) {
    return false;
  }
  const int64_t kernel = shape.weights[2], pad = shape.pads[0];
  // Products in bfloat16 take half the time of those in float, which are ours:
  // 0.36 times as many, as of 5x5 weights, are no faster then.
  if (kernel != 3 && (kernel != 5 || type != memory::data_type::f32)) {
    return false;
  }
  if (shape.weights[3] != kernel || shape.pads[1] != pad || pad >= kernel) {
    return false;
  }
  for (int64_t channels : {shape.weights[0], shape.weights[1]}) {
    // The transforms take too much of the time for few channels.
    if (channels < 32 || channels % 16) { return false; }
  }
  // Small images fill their tiles badly.
  const int64_t step = kSide + 1 - kernel;
  const int64_t height = shape.output[2], width = shape.output[3];
  const int64_t products =
      kPoints * ((height + step - 1) / step) * ((width + step - 1) / step);
  return products <= 0.6 * height * width * kernel * kernel;
}

}  // namespace

std::unique_ptr<Convolution> MakeWinogradConvolution(
    const ConvolutionShape& shape, memory::data_type type,
    const ConvolutionOptions& options) {
  if (!IsFaster(shape, type)) { return nullptr; }
  if (shape.weights[2] == 3) {
    return std::make_unique<WinogradConvolution<3>>(shape, type, options);
  }
  return std::make_unique<WinogradConvolution<5>>(shape, type, options);
}

}  // namespace onednn
}  // namespace caffe
