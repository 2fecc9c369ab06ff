#ifndef DNNH_LAYERS_ONEDNN_NORMALIZATION_HPP_
#define DNNH_LAYERS_ONEDNN_NORMALIZATION_HPP_

#include <memory>
#include <utility>
#include <vector>

#include "layers/onednn/onednn.hpp"

namespace caffe {
namespace onednn {

/**
 * Batch normalization, scale and ReLU with fewer passes over memory, and less
 * of it, though they are three layers. In place, they store in the blob not
 * values but a factor and a shift for each channel (DeferredValues).
 * Convolutions of more than one pixel and poolings compute the values as they
 * read them, and do not store them. Any other reader of the blob makes it
 * compute and store them. Backward, the ReLU and the scale store how
 * the gradient follows from that of the outputs (DeferredGradient), and the
 * batch normalization computes it.
 *
 * Deferred values depend on memory of an earlier layer. Its next Forward
 * overwrites that memory, and also replaces what the blob holds.
 *
 * A gradient that is stored so depends on the values of the last Forward. Where
 * Backward ends between these layers, read it before the next Forward: that
 * computes it in time only if the Scale is in place at the input of the net.
 *
 * All values are images in blocks of 8 or 16 channels, or with the channels
 * last.
 */

/// Values for each channel, with zeros up to whole blocks.
typedef std::vector<float> PerChannel;

/// factors * source + shifts, times the slope where that is negative.
struct ChannelMap {
  memory source;
  PerChannel factors, shifts;
  float slope = 1;
};

/// The values of a map, in the memory of a layer.
class DeferredValues : public Deferred {
 public:
  DeferredValues(const ChannelMap& map, std::shared_ptr<memory> buffer)
      : map_(map), buffer_(std::move(buffer)) {}
  const ChannelMap& map() const { return map_; }
  memory::desc layout() const override { return map_.source.get_desc(); }

 protected:
  memory Compute() const override;

 private:
  const ChannelMap map_;
  const std::shared_ptr<memory> buffer_;
};

/// The sums over images and pixels of gradients, and of their products with the
/// values of a map.
struct GradientSums {
  PerChannel gradients, products;
};

/**
 * factors * (the gradient, times the slope where `outputs` is not positive).
 *
 * It is computed in place, over the gradient of the outputs; after that only
 * its values remain.
 */
class DeferredGradient : public Deferred {
 public:
  DeferredGradient(const memory& of_outputs, const ChannelMap& outputs);
  /// `of_values` itself.
  DeferredGradient(const memory& of_values, const memory& values);

  /// With other factors, and with its sums without them.
  std::shared_ptr<DeferredGradient> Scaled(
      const PerChannel& factors,
      std::shared_ptr<const GradientSums> sums) const;

  /// Without the factors, the products with the values of a map of the same
  /// source.
  GradientSums Sum(const ChannelMap& map) const;

  /// to = per_gradient * (it without factors) + per_source * source + constants
  /// @param per_source, constants both may be null
  void Combine(const PerChannel& per_gradient, const PerChannel* per_source,
               const PerChannel* constants, const memory& to) const;

  memory::desc layout() const override { return of_outputs_.get_desc(); }
  const memory& of_outputs() const { return of_outputs_; }
  const memory& source() const { return outputs_.source; }
  const PerChannel& factors() const { return factors_; }
  /// Null if it has not been scaled.
  const std::shared_ptr<const GradientSums>& sums() const { return sums_; }

 protected:
  memory Compute() const override;

 private:
  memory of_outputs_;
  ChannelMap outputs_;
  PerChannel factors_;
  std::shared_ptr<const GradientSums> sums_;
};

/// Stores deferred values in a blob; computes them at once unless they may
/// wait.
void Defer(bool may_wait, SyncedMemory* values,
           std::shared_ptr<Deferred> deferred);

/// The values of a batch of images in their own layout if ForPlanes takes it,
/// otherwise in blocks.
memory ReadBlocked(const Blob<float>& blob, memory* buffer);

/// The same value for each channel.
PerChannel PaddedFor(const memory::desc& layout, float value);

/// Mean and variance of each channel.
void ComputeMoments(const memory& values, float* means, float* variances);

/// The map of values to themselves.
ChannelMap IdentityOf(const memory& values);

/// Writes the values of a map.
void Compute(const ChannelMap& map, const memory& to);

/// Null if the values are not deferred, or have another shape.
std::shared_ptr<DeferredValues> DeferredValuesOf(const SyncedMemory& values,
                                                 const memory::dims& dims);

/// As DeferredValuesOf, and null if a ReLU has deferred them.
std::shared_ptr<DeferredValues> LinearValuesOf(const Blob<float>& blob);

/// Images, or what they follow from.
struct Source {
  memory images;
  std::shared_ptr<const DeferredValues> deferred;  // null if they do not wait
};

/// As Read, but values that are deferred, and follow from some in the wanted
/// layout, are left to the caller.
Source ReadSource(SyncedMemory* values, const memory::desc& wanted,
                  memory* buffer);

/// What the values of a batch of images follow from, or they themselves.
ChannelMap MapOf(const Blob<float>& blob, memory* buffer);

/// The gradient of a blob whose values follow from `source`.
std::shared_ptr<DeferredGradient> GradientOf(const Blob<float>& blob,
                                             const memory& source,
                                             memory* buffer);

}  // namespace onednn
}  // namespace caffe

#endif  // DNNH_LAYERS_ONEDNN_NORMALIZATION_HPP_
