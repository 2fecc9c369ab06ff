#include "layers/onednn/normalization.hpp"

#include <algorithm>
#include <memory>
#include <utility>

#include "layers/onednn/vectors.hpp"

namespace caffe {
namespace onednn {

namespace {

template <int kLanes, typename Element>
DNNH_WITH_AVX512 void MapPlane(const Element* x, int64_t count,
                               const float* factors, const float* shifts,
                               float slope, Element* y) {
  typename Lanes<kLanes>::Type factor, shift, value;
  Load<kLanes>(factors, &factor);
  Load<kLanes>(shifts, &shift);
  for (int64_t i = 0; i < count * kLanes; i += kLanes) {
    Load<kLanes>(x + i, &value);
    value = factor * value + shift;
    Store<kLanes>(value < 0 ? slope * value : value, y + i);  // a NaN stays one
  }
}

template <int kLanes, typename Element>
DNNH_WITH_AVX512 void MomentsOfPlane(const Element* x, int64_t count,
                                     float* means, float* squares) {
  typename Lanes<kLanes>::Type value, mean = {}, square = {};
  for (int64_t i = 0; i < count * kLanes; i += kLanes) {
    Load<kLanes>(x + i, &value);
    mean += value;
  }
  mean /= float(count);
  for (int64_t i = 0; i < count * kLanes; i += kLanes) {
    Load<kLanes>(x + i, &value);
    square += (value - mean) * (value - mean);
  }
  Store<kLanes>(mean, means);
  Store<kLanes>(square, squares);
}

/// The derivative of a ReLU times a gradient.
template <typename Vector>
DNNH_INLINE void Derive(const Vector& value, float slope, Vector* gradient) {
  const Vector below = value <= 0 ? slope * *gradient : Vector{};
  *gradient = value > 0 ? *gradient : below;
}

template <int kLanes, typename Element>
DNNH_WITH_AVX512 void SumPlane(const Element* x, const Element* dy,
                               int64_t count, const float* factors,
                               const float* shifts, float slope,
                               const float* by_factors, const float* by_shifts,
                               float* sums, float* products) {
  typedef typename Lanes<kLanes>::Type Vector;
  Vector factor, shift, by_factor, by_shift, value, gradient;
  Load<kLanes>(factors, &factor);
  Load<kLanes>(shifts, &shift);
  Load<kLanes>(by_factors, &by_factor);
  Load<kLanes>(by_shifts, &by_shift);
  Vector sum = {}, product = {};
  for (int64_t i = 0; i < count * kLanes; i += kLanes) {
    Load<kLanes>(x + i, &value);
    Load<kLanes>(dy + i, &gradient);
    Derive<Vector>(factor * value + shift, slope, &gradient);
    sum += gradient;
    product += gradient * (by_factor * value + by_shift);
  }
  Store<kLanes>(sum, sums);
  Store<kLanes>(product, products);
}

template <int kLanes, typename Element>
DNNH_WITH_AVX512 void CombinePlane(const Element* x, const Element* dy,
                                   int64_t count, const float* factors,
                                   const float* shifts, float slope,
                                   const float* per_gradient,
                                   const float* per_source,
                                   const float* constants, Element* to) {
  typedef typename Lanes<kLanes>::Type Vector;
  Vector factor, shift, for_gradient, for_source, constant, value, gradient;
  Load<kLanes>(factors, &factor);
  Load<kLanes>(shifts, &shift);
  Load<kLanes>(per_gradient, &for_gradient);
  Load<kLanes>(per_source, &for_source);
  Load<kLanes>(constants, &constant);
  for (int64_t i = 0; i < count * kLanes; i += kLanes) {
    Load<kLanes>(x + i, &value);
    Load<kLanes>(dy + i, &gradient);
    Derive<Vector>(factor * value + shift, slope, &gradient);
    Store<kLanes>(for_gradient * gradient + (for_source * value + constant),
                  to + i);
  }
}

bool IsInBlocks(const memory::desc& layout, int lanes) {
  return layout
      == memory::desc(DimsOf(layout), TypeOf(layout),
                      lanes == 16 ? memory::format_tag::nChw16c
                                  : memory::format_tag::nChw8c);
}

int LanesOf(const memory::desc& layout) {
  return IsInBlocks(layout, 16) ? 16 : 8;
}

int64_t PaddedChannels(const memory::desc& layout) {
  const int lanes = LanesOf(layout);
  return (DimsOf(layout)[1] + lanes - 1) / lanes * lanes;
}

int64_t Pixels(const memory::desc& layout) {
  const memory::dims dims = DimsOf(layout);
  return dims[2] * dims[3];
}

// Calls use(lanes, element, plane, channel, begin) for all planes of blocks: of
// which channel the first is, and where its values begin.
template <typename Use>
void ForPlanes(const memory::desc& layout, const Use& use) {
  const int64_t blocks = PaddedChannels(layout) / LanesOf(layout);
  const int64_t planes = DimsOf(layout)[0] * blocks, pixels = Pixels(layout);
  WithElements(layout, [&](auto element) {
    const auto run = [&](auto lanes) {
      constexpr int kLanes = decltype(lanes)::value;
#pragma omp parallel for schedule(static)
      for (int64_t plane = 0; plane < planes; ++plane) {
        use(lanes, element, plane, plane % blocks * kLanes,
            plane * pixels * kLanes);
      }
    };
    if (LanesOf(layout) == 16) {
      run(std::integral_constant<int, 16>());
    } else {
      run(std::integral_constant<int, 8>());
    }
  });
}

template <typename Element>
Element* ValuesAt(const memory& values, int64_t begin) {
  return static_cast<Element*>(values.get_data_handle()) + begin;
}

}  // namespace

memory::desc BlockedLayoutOf(const Blob<float>& blob) {
  const memory::desc layout = Values(blob).get_desc();
  if (IsInBlocks(layout, 16) || IsInBlocks(layout, 8)) { return layout; }
  static const bool wide = Has(dnnl::cpu_isa::avx512_core);
  return memory::desc(
      Dims(blob), TypeOf(layout),
      wide ? memory::format_tag::nChw16c : memory::format_tag::nChw8c);
}

PerChannel PaddedFor(const memory::desc& layout, const float* values) {
  PerChannel padded(values, values + DimsOf(layout)[1]);
  padded.resize(PaddedChannels(layout));
  return padded;
}

PerChannel PaddedFor(const memory::desc& layout, float value) {
  PerChannel padded(DimsOf(layout)[1], value);
  padded.resize(PaddedChannels(layout));
  return padded;
}

void ComputeMoments(const memory& values, float* means, float* variances) {
  const memory::desc layout = values.get_desc();
  const int64_t images = DimsOf(layout)[0], channels = DimsOf(layout)[1];
  const int64_t stride = PaddedChannels(layout), pixels = Pixels(layout);
  // Of each image; the sum of squares is that of deviations from its own mean.
  PerChannel mean(images * stride), square(images * stride);
  ForPlanes(
      layout,
      [&](auto lanes, auto element, int64_t plane, int64_t, int64_t begin) {
        constexpr int kLanes = decltype(lanes)::value;
        MomentsOfPlane<kLanes>(ValuesAt<decltype(element)>(values, begin),
                               pixels, &mean[plane * kLanes],
                               &square[plane * kLanes]);
      });
  for (int64_t c = 0; c < channels; ++c) {
    double sum = 0, squares = 0;
    for (int64_t i = 0; i < images; ++i) { sum += mean[i * stride + c]; }
    const double overall = sum / images;
    for (int64_t i = 0; i < images; ++i) {
      const double deviation = mean[i * stride + c] - overall;
      squares += square[i * stride + c] + pixels * deviation * deviation;
    }
    means[c] = overall;
    variances[c] = squares / (images * pixels);
  }
}

void Rectify(const ChannelMap& map, float slope, const memory& to) {
  const memory::desc layout = map.source.get_desc();
  ForPlanes(
      layout,
      [&](auto lanes, auto element, int64_t, int64_t channel, int64_t begin) {
        using Element = decltype(element);
        MapPlane<decltype(lanes)::value>(
            ValuesAt<const Element>(map.source, begin), Pixels(layout),
            &map.factors[channel], &map.shifts[channel], slope,
            ValuesAt<Element>(to, begin));
      });
}

memory DeferredValues::Compute() const {
  Fit(map_.source.get_desc(), buffer_.get());
  Rectify(map_, 1, *buffer_);
  return *buffer_;
}

DeferredGradient::DeferredGradient(const memory& of_outputs,
                                   const ChannelMap& outputs, float slope)
    : of_outputs_(of_outputs), outputs_(outputs), slope_(slope),
      factors_(PaddedFor(outputs.source.get_desc(), 1.f)) {}

// As if by a ReLU of ones.
DeferredGradient::DeferredGradient(const memory& of_values,
                                   const memory& values)
    : DeferredGradient(of_values,
                       {values, PaddedFor(values.get_desc(), 0.f),
                        PaddedFor(values.get_desc(), 1.f)},
                       1) {}

std::shared_ptr<DeferredGradient> DeferredGradient::Scaled(
    const PerChannel& factors, std::shared_ptr<const GradientSums> sums) const {
  auto scaled = std::make_shared<DeferredGradient>(*this);
  scaled->factors_ = factors;
  scaled->sums_ = std::move(sums);
  return scaled;
}

GradientSums DeferredGradient::Sum(const ChannelMap& map) const {
  const memory::desc layout = source().get_desc();
  const int64_t images = DimsOf(layout)[0], stride = PaddedChannels(layout);
  PerChannel gradients(images * stride), products(images * stride);
  ForPlanes(layout,
            [&](auto lanes, auto element, int64_t plane, int64_t channel,
                int64_t begin) {
              using Element = decltype(element);
              constexpr int kLanes = decltype(lanes)::value;
              SumPlane<kLanes>(
                  ValuesAt<const Element>(source(), begin),
                  ValuesAt<const Element>(of_outputs_, begin), Pixels(layout),
                  &outputs_.factors[channel], &outputs_.shifts[channel], slope_,
                  &map.factors[channel], &map.shifts[channel],
                  &gradients[plane * kLanes], &products[plane * kLanes]);
            });
  const auto over_images = [&](const PerChannel& parts) {
    PerChannel sums(stride);
    for (int64_t c = 0; c < stride; ++c) {
      double sum = 0;
      for (int64_t i = 0; i < images; ++i) { sum += parts[i * stride + c]; }
      sums[c] = sum;
    }
    return sums;
  };
  return {over_images(gradients), over_images(products)};
}

void DeferredGradient::Combine(const PerChannel& per_gradient,
                               const PerChannel& per_source,
                               const PerChannel& shifts,
                               const memory& to) const {
  const memory::desc layout = source().get_desc();
  ForPlanes(
      layout,
      [&](auto lanes, auto element, int64_t, int64_t channel, int64_t begin) {
        using Element = decltype(element);
        CombinePlane<decltype(lanes)::value>(
            ValuesAt<const Element>(source(), begin),
            ValuesAt<const Element>(of_outputs_, begin), Pixels(layout),
            &outputs_.factors[channel], &outputs_.shifts[channel], slope_,
            &per_gradient[channel], &per_source[channel], &shifts[channel],
            ValuesAt<Element>(to, begin));
      });
}

memory DeferredGradient::Compute() const {
  const PerChannel zeros = PaddedFor(source().get_desc(), 0.f);
  Combine(factors_, zeros, zeros, of_outputs_);
  return of_outputs_;
}

void Defer(bool may_wait, SyncedMemory* values,
           std::shared_ptr<Deferred> deferred) {
  values->write_alternate_layout(std::move(deferred));
  if (!may_wait) { Resolve(values); }
}

std::shared_ptr<DeferredValues> DeferredValuesOf(const Blob<float>& blob) {
  const auto deferred = std::dynamic_pointer_cast<DeferredValues>(
      blob.data()->alternate_layout());
  return deferred && DimsOf(deferred->map().source.get_desc()) == Dims(blob)
      ? deferred
      : nullptr;
}

std::shared_ptr<DeferredGradient> GradientOf(const Blob<float>& blob,
                                             const memory& source,
                                             memory* buffer) {
  auto deferred = std::dynamic_pointer_cast<DeferredGradient>(
      blob.diff()->alternate_layout());
  if (deferred && !deferred->is_computed()
      && deferred->source().get_data_handle() == source.get_data_handle()) {
    return deferred;
  }
  return std::make_shared<DeferredGradient>(
      Read(blob.diff().get(), Dims(blob), source.get_desc(), buffer), source);
}

}  // namespace onednn
}  // namespace caffe
