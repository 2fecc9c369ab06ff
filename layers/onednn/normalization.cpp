#include "layers/onednn/normalization.hpp"

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "layers/onednn/planes.hpp"
#include "layers/onednn/vectors.hpp"

namespace caffe {
namespace onednn {

namespace {

// Pixels whose values are added up in float before their sum is.
constexpr int64_t kSummedAtOnce = 256;

template <int kLanes, typename Element>
DNNH_WITH_AVX512 void MapPlane(Plane<const Element> x, int64_t count,
                               const float* factors, const float* shifts,
                               float slope, Plane<Element> y) {
  typedef typename Lanes<kLanes>::Type Vector;
  Vector factor, shift, value;
  Load<kLanes>(factors, &factor);
  Load<kLanes>(shifts, &shift);
  for (int64_t i = 0; i < count; ++i) {
    Load<kLanes>(x.At(i), &value);
    Map<Vector>(factor, shift, slope, &value);
    Store<kLanes>(value, y.At(i));
  }
}

template <int kLanes, typename Element>
DNNH_WITH_AVX512 void MomentsOfPlane(Plane<const Element> x, int64_t count,
                                     float* means, float* squares) {
  typedef typename Lanes<kLanes>::Type Vector;
  Vector value, mean = {}, square = {};
  for (int64_t i = 0; i < count; i += kSummedAtOnce) {
    Vector sum = {};
    for (int64_t j = i; j < std::min(i + kSummedAtOnce, count); ++j) {
      Load<kLanes>(x.At(j), &value);
      sum += value;
    }
    mean += sum;
  }
  mean /= float(count);
  for (int64_t i = 0; i < count; i += kSummedAtOnce) {
    Vector sum = {};
    for (int64_t j = i; j < std::min(i + kSummedAtOnce, count); ++j) {
      Load<kLanes>(x.At(j), &value);
      sum += (value - mean) * (value - mean);
    }
    square += sum;
  }
  Store<kLanes>(mean, means);
  Store<kLanes>(square, squares);
}

/// The derivative of a ReLU times a gradient. With slope 1, whatever the value.
template <typename Vector>
DNNH_INLINE void Derive(const Vector& value, float slope, Vector* gradient) {
  if (slope == 1) { return; }
  const Vector below = value <= 0 ? slope * *gradient : Vector{};
  *gradient = value > 0 ? *gradient : below;
}

template <int kLanes, typename Element>
DNNH_WITH_AVX512 void SumPlane(Plane<const Element> x, Plane<const Element> dy,
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
  for (int64_t i = 0; i < count; i += kSummedAtOnce) {
    Vector part = {}, product_part = {};
    for (int64_t j = i; j < std::min(i + kSummedAtOnce, count); ++j) {
      Load<kLanes>(x.At(j), &value);
      Load<kLanes>(dy.At(j), &gradient);
      Derive<Vector>(factor * value + shift, slope, &gradient);
      part += gradient;
      product_part += gradient * (by_factor * value + by_shift);
    }
    sum += part;
    product += product_part;
  }
  Store<kLanes>(sum, sums);
  Store<kLanes>(product, products);
}

template <int kLanes, typename Element>
DNNH_WITH_AVX512 void CombinePlane(Plane<const Element> x,
                                   Plane<const Element> dy, int64_t count,
                                   const float* factors, const float* shifts,
                                   float slope, const float* per_gradient,
                                   const float* per_source,
                                   const float* constants, Plane<Element> to) {
  typedef typename Lanes<kLanes>::Type Vector;
  Vector factor, shift, for_gradient, for_source = {}, constant = {};
  Vector value, gradient;
  Load<kLanes>(factors, &factor);
  Load<kLanes>(shifts, &shift);
  Load<kLanes>(per_gradient, &for_gradient);
  if (per_source) {
    Load<kLanes>(per_source, &for_source);
    Load<kLanes>(constants, &constant);
  }
  for (int64_t i = 0; i < count; ++i) {
    Load<kLanes>(x.At(i), &value);
    Load<kLanes>(dy.At(i), &gradient);
    Derive<Vector>(factor * value + shift, slope, &gradient);
    gradient *= for_gradient;
    if (per_source) { gradient += for_source * value + constant; }
    Store<kLanes>(gradient, to.At(i));
  }
}

/// The sums over all images of a value of each channel.
std::vector<double> SumImages(const PerChannel& values, int64_t channels) {
  std::vector<double> sums(channels);
  for (size_t i = 0; i < values.size(); i += channels) {
    for (int64_t c = 0; c < channels; ++c) { sums[c] += values[i + c]; }
  }
  return sums;
}

}  // namespace

memory ReadBlocked(const Blob<float>& blob, memory* buffer) {
  const memory::desc layout = Values(blob).get_desc();
  const bool is_in_blocks = WithLanes(layout, [](auto) {});
  return Read(blob.data().get(), Dims(blob),
              is_in_blocks ? layout : BlockedLayout(Dims(blob), TypeOf(layout)),
              buffer);
}

PerChannel PaddedFor(const memory::desc& layout, float value) {
  PerChannel padded(DimsOf(layout)[1], value);
  padded.resize(PaddedChannels(layout));
  return padded;
}

void ComputeMoments(const memory& values, float* means, float* variances) {
  const memory::desc layout = values.get_desc();
  const int64_t images = DimsOf(layout)[0], stride = PaddedChannels(layout);
  const int64_t pixels = Pixels(layout);
  // Of each image; the sum of squares is that of deviations from its own mean.
  PerChannel mean(images * stride), square(images * stride);
  const Planes x(values);
  ForPlanes(layout, [&](auto lanes, auto element, int64_t plane, int64_t) {
    constexpr int kLanes = decltype(lanes)::value;
    MomentsOfPlane<kLanes>(x.At<const decltype(element), kLanes>(plane), pixels,
                           &mean[plane * kLanes], &square[plane * kLanes]);
  });
  const std::vector<double> sums = SumImages(mean, stride);
  std::vector<double> squares = SumImages(square, stride);
  for (int64_t i = 0; i < images; ++i) {
    for (int64_t c = 0; c < stride; ++c) {
      const double deviation = mean[i * stride + c] - sums[c] / images;
      squares[c] += pixels * deviation * deviation;
    }
  }
  for (int64_t c = 0; c < DimsOf(layout)[1]; ++c) {
    means[c] = sums[c] / images;
    variances[c] = squares[c] / (images * pixels);
  }
}

ChannelMap IdentityOf(const memory& values) {
  const memory::desc layout = values.get_desc();
  return {values, PaddedFor(layout, 1.f), PaddedFor(layout, 0.f)};
}

void Compute(const ChannelMap& map, const memory& to) {
  const memory::desc layout = map.source.get_desc();
  const int64_t pixels = Pixels(layout);
  const Planes x(map.source), y(to);
  ForPlanes(layout,
            [&](auto lanes, auto element, int64_t plane, int64_t channel) {
              using Element = decltype(element);
              constexpr int kLanes = decltype(lanes)::value;
              MapPlane<kLanes>(x.At<const Element, kLanes>(plane), pixels,
                               &map.factors[channel], &map.shifts[channel],
                               map.slope, y.At<Element, kLanes>(plane));
            });
}

memory DeferredValues::Compute() const {
  // A layer that runs again on its own outputs: Backward needs what they follow
  // from.
  if (*buffer_ && buffer_->get_data_handle() == map_.source.get_data_handle()) {
    *buffer_ = memory();
  }
  Fit(layout(), buffer_.get());
  onednn::Compute(map_, *buffer_);
  return *buffer_;
}

DeferredGradient::DeferredGradient(const memory& of_outputs,
                                   const ChannelMap& outputs)
    : of_outputs_(of_outputs), outputs_(outputs),
      factors_(PaddedFor(outputs.source.get_desc(), 1.f)) {}

DeferredGradient::DeferredGradient(const memory& of_values,
                                   const memory& values)
    : DeferredGradient(of_values, IdentityOf(values)) {}

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
  const int64_t pixels = Pixels(layout);
  PerChannel gradients(images * stride), products(images * stride);
  const Planes x(source()), dy(of_outputs_);
  ForPlanes(
      layout, [&](auto lanes, auto element, int64_t plane, int64_t channel) {
        using Element = decltype(element);
        constexpr int kLanes = decltype(lanes)::value;
        SumPlane<kLanes>(x.At<const Element, kLanes>(plane),
                         dy.At<const Element, kLanes>(plane), pixels,
                         &outputs_.factors[channel], &outputs_.shifts[channel],
                         outputs_.slope, &map.factors[channel],
                         &map.shifts[channel], &gradients[plane * kLanes],
                         &products[plane * kLanes]);
      });
  const std::vector<double> sums = SumImages(gradients, stride);
  const std::vector<double> sums_of_products = SumImages(products, stride);
  return {PerChannel(sums.begin(), sums.end()),
          PerChannel(sums_of_products.begin(), sums_of_products.end())};
}

void DeferredGradient::Combine(const PerChannel& per_gradient,
                               const PerChannel* per_source,
                               const PerChannel* constants,
                               const memory& to) const {
  const memory::desc layout = source().get_desc();
  const int64_t pixels = Pixels(layout);
  const Planes x(source()), dy(of_outputs_), dx(to);
  ForPlanes(
      layout, [&](auto lanes, auto element, int64_t plane, int64_t channel) {
        using Element = decltype(element);
        constexpr int kLanes = decltype(lanes)::value;
        CombinePlane<kLanes>(x.At<const Element, kLanes>(plane),
                             dy.At<const Element, kLanes>(plane), pixels,
                             &outputs_.factors[channel],
                             &outputs_.shifts[channel], outputs_.slope,
                             &per_gradient[channel],
                             per_source ? &(*per_source)[channel] : nullptr,
                             constants ? &(*constants)[channel] : nullptr,
                             dx.At<Element, kLanes>(plane));
      });
}

memory DeferredGradient::Compute() const {
  Combine(factors_, nullptr, nullptr, of_outputs_);
  return of_outputs_;
}

void Defer(bool may_wait, SyncedMemory* values,
           std::shared_ptr<Deferred> deferred) {
  values->write_alternate_layout(std::move(deferred));
  if (!may_wait) { Resolve(values); }
}

Source ReadSource(SyncedMemory* values, const memory::desc& wanted,
                  memory* buffer) {
  const auto deferred = DeferredValuesOf(*values, DimsOf(wanted));
  if (deferred && deferred->map().source.get_desc() == wanted) {
    return {deferred->map().source, deferred};
  }
  return {Read(values, DimsOf(wanted), wanted, buffer), nullptr};
}

std::shared_ptr<DeferredValues> DeferredValuesOf(const SyncedMemory& values,
                                                 const memory::dims& dims) {
  const auto deferred =
      std::dynamic_pointer_cast<DeferredValues>(values.alternate_layout());
  return deferred && DimsOf(deferred->map().source.get_desc()) == dims
      ? deferred
      : nullptr;
}

ChannelMap MapOf(const Blob<float>& blob, memory* buffer) {
  const auto deferred = DeferredValuesOf(*blob.data(), Dims(blob));
  if (deferred) { return deferred->map(); }
  return IdentityOf(ReadBlocked(blob, buffer));
}

std::shared_ptr<DeferredValues> LinearValuesOf(const Blob<float>& blob) {
  const auto deferred = DeferredValuesOf(*blob.data(), Dims(blob));
  return deferred && deferred->map().slope == 1 ? deferred : nullptr;
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
