#ifndef DNNH_LAYERS_ONEDNN_HPP_
#define DNNH_LAYERS_ONEDNN_HPP_

#include <dnnl.hpp>

#include <string>
#include <unordered_map>
#include <vector>

#include "caffe/blob.hpp"
#include "caffe/layer.hpp"
#include "caffe/layer_factory.hpp"
#include "caffe/proto/caffe.pb.h"
#include "caffe/syncedmem.hpp"

#include "layers/cudnn_engines.hpp"
#include "layers/elements.hpp"

namespace caffe {

/**
 * What the layers in onednn_*.cpp share. They take the place of Caffe's layers
 * of the same type, in float on the CPU, and compute the same with oneDNN.
 *
 * Between them values stay in oneDNN's own layout, blocked by channels; see
 * cmake/AddOtherLayout.cmake. Each layer keeps the memory that it writes to, so
 * that no blob is allocated once the shapes are known.
 *
 * A pointer to a blob's plain values is good until the next pass: whoever keeps
 * one longer, and does not ask the blob again, sees old values in blobs between
 * these layers.
 *
 * With DNNH_ONEDNN=0 in the environment all layers are Caffe's own; `engine:
 * CAFFE` says so for one layer, where its parameters have an engine. With
 * DNNH_BFLOAT16=1, convolutions multiply in bfloat16 where the processor has
 * instructions for it, and what lies between these layers has that type too;
 * weights, their gradients and all plain values stay float.
 */
namespace onednn {

using dnnl::memory;

const dnnl::engine& Engine();

/// Runs a primitive and waits for it.
void Run(const dnnl::primitive& primitive,
         const std::unordered_map<int, memory>& arguments);

memory::dims Dims(const Blob<float>& blob);

/// The layout of Caffe's blobs: the last axis is dense.
memory::desc Plain(const memory::dims& dims,
                   memory::data_type type = memory::data_type::f32);

/// Any layout that oneDNN finds best, for the descriptions of primitives.
memory::desc Any(const memory::dims& dims,
                 memory::data_type type = memory::data_type::f32);

/// The same layout for values of another type.
memory::desc WithType(memory::desc layout, memory::data_type type);

/// Calls `use` with a value of the C++ type of the elements: float or Bfloat16.
template <typename Use>
void WithElements(const memory::desc& layout, const Use& use) {
  layout.data_type() == memory::data_type::bf16 ? use(Bfloat16()) : use(float());
}

/// Plain values where they lie.
memory Wrap(const memory::dims& dims, const float* values);

/// The layout in which a batch of images is at hand, if that is a blocked one;
/// else the one that oneDNN is fastest with.
memory::desc BlockedLayoutOf(const Blob<float>& blob);

/// The values in the layout in which they are at hand.
memory Values(const Blob<float>& blob);

/**
 * @brief The values in the wanted layout.
 *
 * @param scratch memory of the caller, used if they must be reordered
 */
memory Read(SyncedMemory* values, const memory::dims& dims,
                  const memory::desc& wanted, memory* scratch);

/**
 * @brief Where to write values in the given layout, all of them.
 *
 * @param buffer memory of the caller, used if the layout is not plain
 */
memory Write(SyncedMemory* values, const memory::desc& layout,
                   memory* buffer);

/// Where to write values over themselves: `memory`, which Read or Values gave.
memory Overwrite(SyncedMemory* values, const memory& memory);

/// Where to write the results of a pass over `source`, in its layout: over it where
/// the pass is in place, else as Write says.
memory WriteAs(const memory& source, bool in_place, SyncedMemory* values,
               memory* buffer);

/// Says that `memory` holds the values now.
void Put(SyncedMemory* values, const memory& memory);

/// Makes `memory` one of the given layout, unless it is.
void Fit(const memory::desc& layout, memory* memory);

/// Memory of the calling thread for what a layer needs at once; good until the
/// next call. All layers share it.
memory Scratch(const memory::desc& layout);

/// Copies from one layout to another.
void Reorder(memory from, memory to);

/// Adds plain gradients in memory, or in another layout, to those of a blob:
/// Caffe adds up the gradients of weights, and the solver clears them.
void AddToDiff(const memory& gradient, Blob<float>* blob);

/// Whether a processor has instructions. The values of cpu_isa are sets of bits: that
/// of AVX2 with VNNI is greater than any of AVX-512.
inline bool Includes(dnnl::cpu_isa processor, dnnl::cpu_isa wanted) {
  const int bits = static_cast<int>(wanted);
  return (static_cast<int>(processor) & bits) == bits;
}

/// Whether oneDNN has found instructions here, and may use them.
inline bool Has(dnnl::cpu_isa wanted) {
  return Includes(dnnl::get_effective_cpu_isa(), wanted);
}

/// Whether layers made now are to be ours: on the CPU, and not switched off.
bool IsOn();

/// What layers made now compute in: bf16 where it is asked for and the processor
/// has it, else f32.
memory::data_type Arithmetic();

/// Says in the log why a layer stays with Caffe's own code.
void LogFallback(const LayerParameter& param, const std::string& reason);

/// Whether a primitive is oneDNN's plain reference code, slower than Caffe's.
template <typename PrimitiveDesc>
bool IsReference(const PrimitiveDesc& desc) {
  return std::string(desc.impl_info_str()).find("ref") != std::string::npos;
}

/// Why a layer stays with Caffe's code where IsReference says so.
const char* const kReferenceOnly =
    "oneDNN has nothing but reference code for it here";

/**
 * @brief A layer of Caffe's that runs on oneDNN where it can.
 *
 * @tparam Stock Caffe's layer, whose code runs otherwise
 */
template <typename Stock>
class OnednnLayer : public Stock {
 public:
  explicit OnednnLayer(const LayerParameter& param)
      : Stock(param), is_ours_(false), said_(false) {}

  void Reshape(const vector<Blob<float>*>& bottom,
      const vector<Blob<float>*>& top) override {
    Stock::Reshape(bottom, top);
    if (is_known_ && bottom[0]->shape() == shape_) { return; }
    is_known_ = true;
    shape_ = bottom[0]->shape();
    const std::string reason = bottom[0]->count() == 0 ? "its bottom is empty"
                                                       : WhyNot(bottom, top);
    is_ours_ = reason.empty();
    if (!is_ours_) { FallBack(reason); }
  }

 protected:
  /// Why this layer stays with Caffe's code for these shapes; empty if not.
  virtual std::string WhyNot(const vector<Blob<float>*>& bottom,
                             const vector<Blob<float>*>& top) = 0;

  /// Makes the primitives; false if oneDNN has none. Caffe's code runs then.
  template <typename Make>
  bool Prepare(const Make& make) {
    try {
      if (make()) { return true; }
      FallBack(onednn::kReferenceOnly);
    } catch (const dnnl::error& error) {
      FallBack(error.what());
    }
    return false;
  }

  bool is_ours() const { return is_ours_; }

 private:
  void FallBack(const std::string& reason) {
    is_ours_ = false;
    if (!said_) { LogFallback(this->layer_param_, reason); }
    said_ = true;
  }

  bool is_ours_, said_;
  bool is_known_ = false;
  vector<int> shape_;       // of the bottom that is_ours_ is about
};

/**
 * @brief Puts our layer in the place of Caffe's, for float.
 *
 * @tparam Ours is made where IsOn() and Ours::IsAskedFor(param), Caffe's
 *         otherwise
 */
template <typename Ours>
class ReplaceLayer {
 public:
  explicit ReplaceLayer(const char* type) {
    LayerRegistry<float>::Creator& creator =
        LayerRegistry<float>::Registry()[type];
    CaffesOwn() = creator;
    creator = &Create;
  }

 private:
  static LayerRegistry<float>::Creator& CaffesOwn() {
    static LayerRegistry<float>::Creator creator;
    return creator;
  }
  static shared_ptr<Layer<float> > Create(const LayerParameter& param) {
    return IsOn() && Ours::IsAskedFor(param)
        ? shared_ptr<Layer<float> >(new Ours(param))
        : CaffesOwn()(ChooseEngine(param));
  }
};

}  // namespace onednn

}  // namespace caffe

#endif  // DNNH_LAYERS_ONEDNN_HPP_
