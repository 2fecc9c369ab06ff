#ifndef DNNH_LAYERS_ONEDNN_ONEDNN_HPP_
#define DNNH_LAYERS_ONEDNN_ONEDNN_HPP_

#include <string>
#include <type_traits>
#include <unordered_map>
#include <vector>

#include "caffe/blob.hpp"
#include "caffe/layer.hpp"
#include "caffe/proto/caffe.pb.h"
#include "caffe/syncedmem.hpp"

#include "layers/onednn/elements.hpp"
#include "layers/onednn/versions.hpp"
#include "layers/replace_layer.hpp"

namespace caffe {

/**
 * What the layers of this folder share. They replace Caffe's layers of the same
 * types, in float on the CPU, and compute the same with oneDNN, or with loops
 * of our own over its layouts.
 *
 * Between them values stay in oneDNN's own layout, with blocks of channels or
 * the channels last; see cmake/patches/syncedmem.patch. Each layer keeps the
 * memory that it writes to, so that no blob is allocated once the shapes are
 * known.
 *
 * Call cpu_data() again after each pass: in blobs between these layers, an
 * older pointer may see stale values. Call mutable_cpu_data() for each change
 * of a FusedConvolution's weights: it prepares them once, and does not see what
 * is written through an older pointer.
 *
 * With DNNH_ONEDNN=0 in the environment all layers are Caffe's own. `engine:
 * CAFFE` selects Caffe's own for one layer, if its parameters have an engine.
 * With DNNH_BFLOAT16=1, convolutions multiply in bfloat16 if the processor has
 * instructions for it, and values between these layers have that type too;
 * weights, their gradients and all plain values stay float. Winograd's
 * algorithm, which AMX makes unnecessary, multiplies in float, and so do 1x1
 * convolutions of 1x1 images, whose outputs are float.
 */
namespace onednn {

/// Runs a primitive and waits for it. It gets temporary memory of the calling
/// thread, which all primitives share.
void Run(const dnnl::primitive& primitive,
         std::unordered_map<int, memory> arguments);

memory::dims Dims(const Blob<float>& blob);

/// The layout of Caffe's blobs: the last axis is dense.
memory::desc Plain(const memory::dims& dims,
                   memory::data_type type = memory::data_type::f32);

/// The layout that oneDNN chooses, for the descriptions of primitives.
memory::desc Any(const memory::dims& dims,
                 memory::data_type type = memory::data_type::f32);

/// Calls `use` with a value of the C++ type of the elements: float or Bfloat16.
template <typename Use>
void WithElements(const memory::desc& layout, const Use& use) {
  TypeOf(layout) == memory::data_type::bf16 ? use(Bfloat16()) : use(float());
}

/// Calls `loop` with a number of elements and a pointer to the first in each
/// memory, all of one layout, for ranges of elements in several threads.
template <typename Loop, typename... Memories>
void ForElements(const memory::desc& layout, const Loop& loop,
                 const Memories&... memories) {
  WithElements(layout, [&](auto element) {
    using Element = decltype(element);
    const int64_t count = layout.get_size() / sizeof(Element);
    ForRanges(count, [&](int64_t begin, int64_t length) {
      loop(length,
           static_cast<Element*>(memories.get_data_handle()) + begin...);
    });
  });
}

/// Whether a processor has an instruction set. The values of cpu_isa are sets
/// of bits, not an order: AVX2 with VNNI is greater than any of AVX-512.
inline bool Includes(dnnl::cpu_isa processor, dnnl::cpu_isa wanted) {
  const int bits = static_cast<int>(wanted);
  return (static_cast<int>(processor) & bits) == bits;
}

/// Whether this processor has an instruction set and oneDNN may use it.
inline bool Has(dnnl::cpu_isa wanted) {
  return Includes(dnnl::get_effective_cpu_isa(), wanted);
}

/// Whether this processor multiplies matrices of such values (AMX).
inline bool HasAmxFor(memory::data_type type) {
  return type == memory::data_type::bf16 && Has(dnnl::cpu_isa::avx512_core_amx);
}

/// The floats in a vector of this processor.
inline int LanesOfProcessor() {
  return Has(dnnl::cpu_isa::avx512_core) ? 16 : 8;
}

/// Images in blocks of as many channels as a vector of the processor has
/// floats.
memory::desc BlockedLayout(const memory::dims& dims, memory::data_type type);

/// Whether images have the channels last, in whole vectors of the processor.
/// oneDNN chooses that layout for AMX. False for 1x1 images.
bool HasChannelsLast(const memory::desc& layout);

/// Calls `use` with the number of channels in a block of a layout, 8 or 16, as
/// a std::integral_constant; false if it has no blocks. With the channels last,
/// blocks are vectors of the processor.
template <typename Use>
bool WithLanes(const memory::desc& layout, const Use& use) {
  const auto is = [&](memory::format_tag tag) {
    return layout == memory::desc(DimsOf(layout), TypeOf(layout), tag);
  };
  const bool has_channels_last = HasChannelsLast(layout);
  if (is(memory::format_tag::nChw16c)
      || (has_channels_last && LanesOfProcessor() == 16)) {
    use(std::integral_constant<int, 16>());
  } else if (is(memory::format_tag::nChw8c) || has_channels_last) {
    use(std::integral_constant<int, 8>());
  } else {
    return false;
  }
  return true;
}

/// A layout like that of other images, for images of other sizes or types.
memory::desc LayoutLike(const memory::desc& other, const memory::dims& dims,
                        memory::data_type type);

/// Plain values in place, without a copy.
memory Wrap(const memory::dims& dims, const float* values);

/// Values that are computed when they are first read.
class Deferred : public AlternateLayout {
 public:
  const memory& Get() const {
    if (!computed_) { computed_ = Compute(); }
    return computed_;
  }
  bool is_computed() const { return bool(computed_); }
  virtual memory::desc layout() const = 0;
  void CopyTo(void* plain) const override;

 protected:
  virtual memory Compute() const = 0;

 private:
  mutable memory computed_;
};

/// Computes the values if they are deferred. All functions below that read
/// values do that.
void Resolve(SyncedMemory* values);

/// The values in their current layout.
memory Values(const Blob<float>& blob);

/// The layout of what Values returns; computes nothing.
memory::desc LayoutOf(const Blob<float>& blob);

/**
 * @brief The values in the wanted layout.
 *
 * @param scratch memory of the caller, used if they must be reordered; may be
 *        null if the wanted layout is plain
 */
memory Read(SyncedMemory* values, const memory::dims& dims,
            const memory::desc& wanted, memory* scratch);

/**
 * @brief Returns memory in the given layout to write all values to.
 *
 * @param buffer memory of the caller, used if the layout is not plain; may be
 *        null otherwise
 */
memory Write(SyncedMemory* values, const memory::desc& layout, memory* buffer);

/// Where to overwrite values in place: `memory`, which Read or Values returned.
memory Overwrite(SyncedMemory* values, const memory& memory);

/// Where to write the results of a pass over `source`, in its layout: over it
/// if the pass is in place, otherwise as by Write.
memory WriteAs(const memory& source, bool in_place, SyncedMemory* values,
               memory* buffer);

/// Declares that `memory` holds the values now.
void Put(SyncedMemory* values, const memory& memory);

/// Allocates `memory` in the given layout, unless it has it.
void Fit(const memory::desc& layout, memory* memory);

/// Memory in a layout: that of `kept`, or what replaces it there if it is too
/// small. It is valid until the next call.
memory Reuse(const memory::desc& layout, memory* kept);

/// Temporary memory of the calling thread, valid until the next call. All
/// layers share it: what runs while it is in use must not call this.
memory Scratch(const memory::desc& layout);

/// Copies from one layout to another.
void Reorder(memory from, memory to);

/// Adds gradients in memory, in any layout, to those of a blob: Caffe
/// accumulates the gradients of weights, and the solver clears them.
void AddToDiff(const memory& gradient, Blob<float>* blob);

/// Whether layers created now use oneDNN: on the CPU, and not switched off.
bool IsOn();

/// The type in which layers created now compute: bf16 if it is switched on and
/// the processor has it, otherwise f32.
memory::data_type Arithmetic();

/// Logs why a layer uses Caffe's own code.
void LogFallback(const LayerParameter& param, const std::string& reason);

/**
 * @brief A layer that uses oneDNN if it can, and Caffe's code otherwise.
 *
 * @tparam Stock Caffe's own layer
 */
template <typename Stock>
class OnednnLayer : public Stock {
 public:
  explicit OnednnLayer(const LayerParameter& param)
      : Stock(param), uses_onednn_(false), logged_(false) {}

  /// Whether to create this layer; those with a parameter `engine` hide it.
  static bool IsWanted(const LayerParameter& param) { return onednn::IsOn(); }

  void Reshape(const vector<Blob<float>*>& bottom,
               const vector<Blob<float>*>& top) override {
    Stock::Reshape(bottom, top);
    if (is_shape_known_ && bottom[0]->shape() == shape_) { return; }
    is_shape_known_ = true;
    shape_ = bottom[0]->shape();
    const int axes = bottom[0]->num_axes();
    const std::string reason = bottom[0]->count() == 0 ? "its bottom is empty"
        : axes < 1 || axes > DNNL_MAX_NDIMS
        ? "its bottom has no axes, or more than oneDNN has"
        : UnsupportedReason(bottom, top);
    uses_onednn_ = reason.empty();
    if (uses_onednn_ || logged_) { return; }
    logged_ = true;
    LogFallback(this->layer_param_, reason);
  }

 protected:
  /// Why oneDNN cannot compute this layer for these shapes; empty if it can.
  virtual std::string UnsupportedReason(const vector<Blob<float>*>& bottom,
                                        const vector<Blob<float>*>& top) = 0;

  /// The passes with oneDNN; Caffe's own if a layer has none.
  virtual void ForwardOnednn(const vector<Blob<float>*>& bottom,
                             const vector<Blob<float>*>& top) {
    Stock::Forward_cpu(bottom, top);
  }
  virtual void BackwardOnednn(const vector<Blob<float>*>& top,
                              const vector<bool>& propagate_down,
                              const vector<Blob<float>*>& bottom) {
    Stock::Backward_cpu(top, propagate_down, bottom);
  }

  void Forward_cpu(const vector<Blob<float>*>& bottom,
                   const vector<Blob<float>*>& top) final {
    uses_onednn_ ? ForwardOnednn(bottom, top) : Stock::Forward_cpu(bottom, top);
  }
  void Backward_cpu(const vector<Blob<float>*>& top,
                    const vector<bool>& propagate_down,
                    const vector<Blob<float>*>& bottom) final {
    uses_onednn_ ? BackwardOnednn(top, propagate_down, bottom)
                 : Stock::Backward_cpu(top, propagate_down, bottom);
  }

 private:
  bool uses_onednn_, logged_;
  bool is_shape_known_ = false;
  vector<int> shape_;  // of the bottom for which uses_onednn_ was set
};

}  // namespace onednn

}  // namespace caffe

#endif  // DNNH_LAYERS_ONEDNN_ONEDNN_HPP_
