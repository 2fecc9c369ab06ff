#include "layers/onednn.hpp"

#include <cstdlib>
#include <memory>
#include <string>
#include <unordered_map>

namespace caffe {
namespace onednn {

using dnnl::memory;

namespace {

class BlockedValues : public OtherLayout {
 public:
  explicit BlockedValues(const memory& values) : values_(values) {}
  const memory& values() const { return values_; }
  void CopyTo(void* plain) const override {
    const memory::desc layout = values_.get_desc();
    Reorder(values_, Wrap(layout.dims(), static_cast<float*>(plain)));
  }

 private:
  const memory values_;
};

// Null where the values are not at hand in another layout, or have another
// shape there: a blob can be given a new one without being touched.
const BlockedValues* BlockedOf(const SyncedMemory& values, const memory::dims& dims) {
  const BlockedValues* blocked =
      dynamic_cast<const BlockedValues*>(values.other_layout().get());
  return blocked && blocked->values().get_desc().dims() == dims ? blocked : NULL;
}

}  // namespace

const dnnl::engine& Engine() {
  static const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  return engine;
}

void Run(const dnnl::primitive& primitive,
         const std::unordered_map<int, memory>& arguments) {
  static thread_local dnnl::stream stream(Engine());
  primitive.execute(stream, arguments);
  stream.wait();
}

memory::dims Dims(const Blob<float>& blob) {
  return memory::dims(blob.shape().begin(), blob.shape().end());
}

memory::desc Plain(const memory::dims& dims) {
  memory::dims strides(dims.size(), 1);
  for (int i = static_cast<int>(dims.size()) - 2; i >= 0; --i) {
    strides[i] = strides[i + 1] * dims[i + 1];
  }
  return memory::desc(dims, memory::data_type::f32, strides);
}

memory::desc Any(const memory::dims& dims) {
  return memory::desc(dims, memory::data_type::f32, memory::format_tag::any);
}

memory Wrap(const memory::dims& dims, const float* values) {
  return memory(Plain(dims), Engine(), const_cast<float*>(values));
}

memory::desc LayoutOf(const SyncedMemory& values, const memory::dims& dims) {
  const BlockedValues* blocked = BlockedOf(values, dims);
  return blocked ? blocked->values().get_desc() : Plain(dims);
}

memory::desc Blocked(const memory::desc& layout) {
  if (layout != Plain(layout.dims())) { return layout; }
  return memory::desc(layout.dims(), memory::data_type::f32,
                      memory::format_tag::nChw16c);
}

memory Read(SyncedMemory* values, const memory::dims& dims,
            const memory::desc& wanted, memory* scratch) {
  const BlockedValues* blocked = BlockedOf(*values, dims);
  if (blocked && blocked->values().get_desc() == wanted) {
    return blocked->values();
  }
  const bool plain_is_old = values->plain_is_old();
  const memory source = blocked && plain_is_old ? blocked->values()
      : Wrap(dims, static_cast<const float*>(values->cpu_data()));
  if (source.get_desc() == wanted) { return source; }
  Fit(wanted, scratch);
  Reorder(source, *scratch);
  const auto other = std::make_shared<BlockedValues>(*scratch);
  if (blocked && plain_is_old) {
    values->write_other_layout(other);
  } else {
    values->add_other_layout(other);
  }
  return *scratch;
}

memory Write(SyncedMemory* values, const memory::desc& layout, memory* buffer) {
  if (layout == Plain(layout.dims())) {
    return Wrap(layout.dims(),
                static_cast<const float*>(values->mutable_cpu_data()));
  }
  Fit(layout, buffer);
  Put(values, *buffer);
  return *buffer;
}

void Put(SyncedMemory* values, const memory& written) {
  values->write_other_layout(std::make_shared<BlockedValues>(written));
}

void Fit(const memory::desc& layout, memory* fitted) {
  if (*fitted && fitted->get_desc() == layout) { return; }
  *fitted = memory();                 // the old one goes first
  try {
    *fitted = memory(layout, Engine());
  } catch (const dnnl::error& error) {
    LOG(FATAL) << "there is no memory for " << layout.get_size() << " bytes of a"
        << " layer's values (" << error.what() << "); make the batch smaller";
  }
}

void Reorder(memory from, memory to) {
  Run(dnnl::reorder(from, to), {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}});
}

void LogFallback(const LayerParameter& param, const std::string& reason) {
  LOG(INFO) << param.type() << " layer '" << param.name()
      << "' stays with Caffe's own code: " << reason;
}

bool IsOn() {
  const char* choice = std::getenv("DNNH_ONEDNN");
  return Caffe::mode() == Caffe::CPU && !(choice && std::string(choice) == "0");
}

}  // namespace onednn
}  // namespace caffe
