#include "layers/onednn/onednn.hpp"

#include <cstdlib>
#include <memory>
#include <string>
#include <unordered_map>

namespace caffe {
namespace onednn {

namespace {

// A setting from the environment; empty if it is not set.
std::string Setting(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

class BlockedValues : public AlternateLayout {
 public:
  explicit BlockedValues(const memory& values) : values_(values) {}
  const memory& values() const { return values_; }
  void CopyTo(void* plain) const override {
    const memory::desc layout = values_.get_desc();
    Reorder(values_, Wrap(DimsOf(layout), static_cast<float*>(plain)));
  }

 private:
  const memory values_;
};

// Null if the values are plain, or are blocked in another shape: a blob can be
// reshaped without its values being touched.
const BlockedValues* BlockedOf(const SyncedMemory& values,
                               const memory::dims& dims) {
  const BlockedValues* blocked =
      dynamic_cast<const BlockedValues*>(values.alternate_layout().get());
  return blocked && DimsOf(blocked->values().get_desc()) == dims ? blocked
                                                                 : NULL;
}

// The bytes of temporary memory that a primitive needs.
int64_t ScratchpadBytes(const dnnl::primitive& primitive) {
  const auto layout = dnnl_primitive_desc_query_md(
      primitive.get_primitive_desc(), dnnl_query_scratchpad_md, 0);
  return layout ? dnnl_memory_desc_get_size(layout) : 0;
}

}  // namespace

const dnnl::engine& Engine() {
  static const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  return engine;
}

void Run(const dnnl::primitive& primitive,
         std::unordered_map<int, memory> arguments) {
  static thread_local dnnl::stream stream(Engine());
  static thread_local memory scratchpad;
  if (const int64_t bytes = ScratchpadBytes(primitive)) {
    arguments[DNNL_ARG_SCRATCHPAD] =
        Reuse(Plain({bytes}, memory::data_type::u8), &scratchpad);
  }
  primitive.execute(stream, arguments);
  stream.wait();
}

memory::dims Dims(const Blob<float>& blob) {
  return memory::dims(blob.shape().begin(), blob.shape().end());
}

memory::desc Plain(const memory::dims& dims, memory::data_type type) {
  memory::dims strides(dims.size(), 1);
  for (int i = static_cast<int>(dims.size()) - 2; i >= 0; --i) {
    strides[i] = strides[i + 1] * dims[i + 1];
  }
  return memory::desc(dims, type, strides);
}

memory::desc Any(const memory::dims& dims, memory::data_type type) {
  return memory::desc(dims, type, memory::format_tag::any);
}

memory::desc BlockedLayout(const memory::dims& dims, memory::data_type type) {
  return memory::desc(dims, type,
                      LanesOfProcessor() == 16 ? memory::format_tag::nChw16c
                                               : memory::format_tag::nChw8c);
}

bool HasChannelsLast(const memory::desc& layout) {
  const memory::dims dims = DimsOf(layout);
  // In 1x1 images they would be plain values, too: descriptions are equal if
  // they differ in strides of axes of size 1 only.
  return dims.size() == 4 && dims[1] % LanesOfProcessor() == 0
      && dims[2] * dims[3] > 1
      && layout == memory::desc(dims, TypeOf(layout), memory::format_tag::nhwc);
}

memory::desc LayoutLike(const memory::desc& other, const memory::dims& dims,
                        memory::data_type type) {
  if (HasChannelsLast(other)) {
    return dims[2] * dims[3] > 1
        ? memory::desc(dims, type, memory::format_tag::nhwc)
        : BlockedLayout(dims, type);
  }
  memory::desc layout;
  CHECK(WithLanes(other, [&](auto lanes) {
    layout = memory::desc(
        dims, type,
        lanes == 16 ? memory::format_tag::nChw16c : memory::format_tag::nChw8c);
  }));
  return layout;
}

memory Wrap(const memory::dims& dims, const float* values) {
  return memory(Plain(dims), Engine(), const_cast<float*>(values));
}

void Deferred::CopyTo(void* plain) const {
  const memory& values = Get();
  Reorder(values, Wrap(DimsOf(values.get_desc()), static_cast<float*>(plain)));
}

void Resolve(SyncedMemory* values) {
  // Held until the end, as it is replaced.
  const auto deferred =
      std::dynamic_pointer_cast<Deferred>(values->alternate_layout());
  if (deferred) { Put(values, deferred->Get()); }
}

memory Values(const Blob<float>& blob) {
  Resolve(blob.data().get());
  const memory::dims dims = Dims(blob);
  const BlockedValues* blocked = BlockedOf(*blob.data(), dims);
  return blocked ? blocked->values() : Wrap(dims, blob.cpu_data());
}

memory::desc LayoutOf(const Blob<float>& blob) {
  const auto* deferred =
      dynamic_cast<const Deferred*>(blob.data()->alternate_layout().get());
  return deferred && DimsOf(deferred->layout()) == Dims(blob)
      ? deferred->layout()
      : Values(blob).get_desc();
}

memory Read(SyncedMemory* values, const memory::dims& dims,
            const memory::desc& wanted, memory* scratch) {
  Resolve(values);
  const BlockedValues* blocked = BlockedOf(*values, dims);
  if (blocked && blocked->values().get_desc() == wanted) {
    return blocked->values();
  }
  const bool from_blocked =
      blocked && values->plain_is_stale() && wanted != Plain(dims);
  memory source = from_blocked
      ? blocked->values()
      : Wrap(dims, static_cast<const float*>(values->cpu_data()));
  if (source.get_desc() == wanted) { return source; }
  // The copy is not kept with the blob: Caffe's layers and pycaffe may write
  // through a pointer that they hold, which would go unnoticed.
  Fit(wanted, scratch);
  Reorder(source, *scratch);
  return *scratch;
}

memory Overwrite(SyncedMemory* values, const memory& source) {
  if (source.get_desc() == Plain(DimsOf(source.get_desc()))) {
    values->mutable_cpu_data();
  } else {
    Put(values, source);
  }
  return source;
}

memory Write(SyncedMemory* values, const memory::desc& layout, memory* buffer) {
  if (layout == Plain(DimsOf(layout))) {
    return Wrap(DimsOf(layout),
                static_cast<const float*>(values->overwrite_cpu_data()));
  }
  Fit(layout, buffer);
  Put(values, *buffer);
  return *buffer;
}

memory WriteAs(const memory& source, bool in_place, SyncedMemory* values,
               memory* buffer) {
  return in_place ? Overwrite(values, source)
                  : Write(values, source.get_desc(), buffer);
}

void Put(SyncedMemory* values, const memory& written) {
  values->write_alternate_layout(std::make_shared<BlockedValues>(written));
}

void Fit(const memory::desc& layout, memory* fitted) {
  if (*fitted && fitted->get_desc() == layout) { return; }
  *fitted = memory();  // free the old one first
  try {
    *fitted = memory(layout, Engine());
  } catch (const dnnl::error& error) {
    LOG(FATAL) << "cannot allocate " << layout.get_size() << " bytes for the"
               << " values of a layer (" << error.what()
               << "); decrease the batch size, or the number of threads";
  }
}

memory Reuse(const memory::desc& layout, memory* kept) {
  const int64_t bytes = layout.get_size();
  if (!*kept || int64_t(kept->get_desc().get_size()) < bytes) {
    Fit(Plain({bytes}, memory::data_type::u8), kept);
  }
  return memory(layout, Engine(), kept->get_data_handle());
}

memory Scratch(const memory::desc& layout) {
  static thread_local memory scratch;
  return Reuse(layout, &scratch);
}

void Reorder(memory from, memory to) {
  Run(dnnl::reorder(from, to, Attributes()),
      {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}});
}

void AddToDiff(const memory& gradient, Blob<float>* blob) {
  dnnl::post_ops sum;
  sum.append_sum();
  const memory diff =
      Wrap(DimsOf(gradient.get_desc()), blob->mutable_cpu_diff());
  Run(dnnl::reorder(gradient, diff, Attributes(sum)),
      {{DNNL_ARG_FROM, gradient}, {DNNL_ARG_TO, diff}});
}

void LogFallback(const LayerParameter& param, const std::string& reason) {
  LOG(INFO) << param.type() << " layer '" << param.name()
            << "' uses Caffe's own code: " << reason;
}

bool IsOn() {
  return Caffe::mode() == Caffe::CPU && Setting("DNNH_ONEDNN") != "0";
}

memory::data_type Arithmetic() {
  const std::string setting = Setting("DNNH_BFLOAT16");
  if (setting.empty() || setting == "0") { return memory::data_type::f32; }
  if (Has(dnnl::cpu_isa::avx512_core_bf16)) { return memory::data_type::bf16; }
  LOG_FIRST_N(WARNING, 1)
      << "DNNH_BFLOAT16 has no effect: this processor has no"
      << " instructions for bfloat16 (AVX512_BF16)";
  return memory::data_type::f32;
}

}  // namespace onednn
}  // namespace caffe
