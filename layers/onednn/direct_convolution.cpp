#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <unordered_map>

#include "layers/onednn/add_elements.hpp"
#include "layers/onednn/convolution.hpp"
#include "layers/onednn/normalization.hpp"

namespace caffe {
namespace onednn {

namespace {

/// In the phase TEST, too: for inference oneDNN would choose layouts with the
/// channels last, which are slower in float (docs/performance.md).
constexpr auto kForward = dnnl::prop_kind::forward_training;
constexpr auto kDirect = dnnl::algorithm::convolution_direct;

/// Whether a primitive is oneDNN's reference code, which is slower than
/// Caffe's.
template <typename PrimitiveDesc>
bool IsReference(const PrimitiveDesc& desc) {
  return std::string(desc.impl_info_str()).find("ref") != std::string::npos;
}

dnnl::post_ops Clipping(const ClipParameter* clip) {
  dnnl::post_ops behind;
  if (clip && clip->min() == 0 && std::isinf(clip->max())) {
    Append(dnnl::algorithm::eltwise_relu, 0, 0, &behind);  // the faster one
  } else if (clip) {
    Append(dnnl::algorithm::eltwise_clip, clip->min(), clip->max(), &behind);
  }
  return behind;
}

// Bytes of deferred values that a thread computes at once before they are
// convolved, so that its cache has them until then.
constexpr int64_t kBytesAtOnce = 2 << 20;

/// A batch of so many images in the layout of a larger one.
memory::desc BatchLayout(const memory::desc& layout, int64_t images) {
  memory::dims dims = DimsOf(layout);
  const memory::dims first(dims.size());
  dims[0] = images;
  return layout.submemory_desc(dims, first);
}

/// So many images from `first` on, without a copy.
memory BatchAt(int64_t first, int64_t count, const memory& images) {
  const memory::desc layout = images.get_desc();
  const int64_t all = DimsOf(layout)[0];
  if (count == all) { return images; }
  return memory(BatchLayout(layout, count), Engine(),
                static_cast<char*>(images.get_data_handle())
                    + layout.get_size() / all * first);
}

/// Memory for a batch of deferred values; of the calling thread, valid until
/// the next call.
memory BatchMemory(const memory::desc& layout) {
  static thread_local memory kept;
  return Reuse(layout, &kept);
}

/// Deferred values are computed for a few images at a time, or for all at once
/// where oneDNN would have reference code alone for a few.
class DirectConvolution : public Convolution {
 public:
  DirectConvolution(const ConvolutionShape& shape, memory::data_type type,
                    const ConvolutionOptions& options)
      : shape_(shape), has_backward_(options.has_backward),
        clipping_(Clipping(options.clip)) {
    // Images are plain, and oneDNN reads so few channels as fast in that
    // layout, but not with AMX.
    const bool is_plain = shape.source[1] <= 4 && !HasAmxFor(type);
    const memory::desc source =
        is_plain ? Plain(shape.source, type) : Any(shape.source, type);
    const memory::desc weights = Any(shape.weights, type);
    const memory::desc bias =
        options.has_bias ? Plain({shape.output[1]}) : memory::desc();
    const memory::desc output = Any(shape.output, type);
    forward_desc_ = ForwardDesc(source, weights, bias, output);
    Primitives& all = primitives_[shape.source[0]];
    all.forward = dnnl::convolution_forward(forward_desc_);
    is_reference_ = IsReference(forward_desc_);
    if (!has_backward_) { return; }
    weights_desc_ =
        WeightsDesc(forward_desc_, source, Any(shape.weights), bias, output);
    all.weights = dnnl::convolution_backward_weights(weights_desc_);
    data_desc_ = DescribeBackward<dnnl::convolution_backward_data>(
        forward_desc_, kDirect, Any(shape.source, type), weights, output,
        shape.strides, shape.dilations, shape.pads, shape.pads);
    data_ = dnnl::convolution_backward_data(data_desc_);
    is_reference_ |= options.is_trained
        && (IsReference(weights_desc_) || IsReference(data_desc_));
  }

  bool is_reference() const { return is_reference_; }

  memory Prepare(const float* weights, memory* kept) override {
    return Weights(forward_desc_.weights_desc(), weights, kept);
  }

  void Forward(SyncedMemory* source, const memory& prepared, const float* bias,
               SyncedMemory* output) override {
    const Source in = ReadSource(source, forward_desc_.src_desc(), &source_);
    const memory out = Write(output, forward_desc_.dst_desc(), &output_);
    std::unordered_map<int, memory> arguments = {{DNNL_ARG_WEIGHTS, prepared}};
    if (bias) { arguments[DNNL_ARG_BIAS] = Wrap({shape_.output[1]}, bias); }
    ForBatches(in, [&](int64_t first, int64_t count, const memory& batch) {
      arguments[DNNL_ARG_SRC] = batch;
      arguments[DNNL_ARG_DST] = BatchAt(first, count, out);
      Run(PrimitivesFor(count).forward, arguments);
    });
  }

  void BackwardData(SyncedMemory* output_diff, const float* weights,
                    SyncedMemory* source_diff) override {
    Run(data_,
        {{DNNL_ARG_DIFF_DST,
          Read(output_diff, shape_.output, data_desc_.diff_dst_desc(),
               &output_diff_for_data_)},
         {DNNL_ARG_DIFF_SRC,
          Write(source_diff, data_desc_.diff_src_desc(), &source_diff_)},
         {DNNL_ARG_WEIGHTS,
          Weights(data_desc_.weights_desc(), weights, nullptr)}});
  }

  void BackwardWeights(SyncedMemory* source, SyncedMemory* output_diff,
                       Blob<float>* weights, Blob<float>* bias) override {
    const Source in =
        ReadSource(source, weights_desc_.src_desc(), &source_for_weights_);
    const memory diffs = Read(output_diff, shape_.output,
                              weights_desc_.diff_dst_desc(), &output_diff_);
    const memory::desc layout = weights_desc_.diff_weights_desc();
    const int64_t floats = layout.get_size() / sizeof(float);
    const memory both = Scratch(Plain({2 * floats}));
    float* const values = static_cast<float*>(both.get_data_handle());
    const memory sum(layout, Engine(), values);
    const memory of_batch(layout, Engine(), values + floats);
    std::unordered_map<int, memory> arguments;
    const memory::desc bias_desc = weights_desc_.diff_bias_desc();
    if (bias_desc.get_size()) {
      Fit(bias_desc, &bias_diff_);
      arguments[DNNL_ARG_DIFF_BIAS] = bias_diff_;
    }
    ForBatches(in, [&](int64_t first, int64_t count, const memory& batch) {
      arguments[DNNL_ARG_SRC] = batch;
      arguments[DNNL_ARG_DIFF_DST] = BatchAt(first, count, diffs);
      arguments[DNNL_ARG_DIFF_WEIGHTS] = first ? of_batch : sum;
      Run(PrimitivesFor(count).weights, arguments);
      if (first) { Add({sum, of_batch}, {1, 1}, sum); }
      if (bias) { AddToDiff(bias_diff_, bias); }
    });
    if (weights) { AddToDiff(sum, weights); }
  }

 private:
  typedef dnnl::convolution_forward::primitive_desc ForwardDescription;
  typedef dnnl::convolution_backward_weights::primitive_desc WeightsDescription;

  // For batches of one size.
  struct Primitives {
    dnnl::primitive forward, weights;
    bool is_reference;
  };

  ForwardDescription ForwardDesc(const memory::desc& source,
                                 const memory::desc& weights,
                                 const memory::desc& bias,
                                 const memory::desc& output) const {
    return DescribeForward<dnnl::convolution_forward>(
        clipping_, kForward, kDirect, source, weights, bias, output,
        shape_.strides, shape_.dilations, shape_.pads, shape_.pads);
  }

  WeightsDescription WeightsDesc(const ForwardDescription& forward,
                                 const memory::desc& source,
                                 const memory::desc& weights,
                                 const memory::desc& bias,
                                 const memory::desc& output) const {
    return DescribeBackward<dnnl::convolution_backward_weights>(
        forward, kDirect, source, weights, bias, output, shape_.strides,
        shape_.dilations, shape_.pads, shape_.pads);
  }

  // Calls use(first image, count, batch).
  template <typename Use>
  void ForBatches(const Source& source, const Use& use) {
    const int64_t all = shape_.source[0];
    if (!source.deferred) { return use(0, all, source.images); }
    const int64_t bytes_of_image = source.images.get_desc().get_size() / all;
    int64_t most = std::max<int64_t>(
        kBytesAtOnce * omp_get_max_threads() / bytes_of_image, 1);
    // The weights' layout is that of the whole batch. With AMX it may depend on
    // the number of images, and oneDNN then has reference code alone for a
    // part, which is hundreds of times slower.
    const auto is_slow = [this](int64_t count) {
      return count > 0 && PrimitivesFor(count).is_reference;
    };
    if (most < all && (is_slow(most) || is_slow(all % most))) { most = all; }
    ChannelMap map = source.deferred->map();
    for (int64_t first = 0; first < all; first += most) {
      const int64_t count = std::min(most, all - first);
      map.source = BatchAt(first, count, source.images);
      const memory batch = BatchMemory(map.source.get_desc());
      Compute(map, batch);
      use(first, count, batch);
    }
  }

  // In the layouts of those for all images.
  const Primitives& PrimitivesFor(int64_t images) {
    Primitives& made = primitives_[images];
    if (made.forward) { return made; }
    const auto batch = [&](const memory::desc& layout) {
      return BatchLayout(layout, images);
    };
    const auto forward = ForwardDesc(
        batch(forward_desc_.src_desc()), forward_desc_.weights_desc(),
        forward_desc_.bias_desc(), batch(forward_desc_.dst_desc()));
    made.forward = dnnl::convolution_forward(forward);
    made.is_reference = IsReference(forward);
    if (!has_backward_) { return made; }
    const auto weights = WeightsDesc(forward, batch(weights_desc_.src_desc()),
                                     weights_desc_.diff_weights_desc(),
                                     weights_desc_.diff_bias_desc(),
                                     batch(weights_desc_.diff_dst_desc()));
    made.weights = dnnl::convolution_backward_weights(weights);
    made.is_reference |= IsReference(weights);
    return made;
  }

  memory Weights(const memory::desc& layout, const float* weights,
                 memory* kept) {
    if (kept) { Fit(layout, kept); }
    const memory reordered = kept ? *kept : Scratch(layout);
    Reorder(Wrap(shape_.weights, weights), reordered);
    return reordered;
  }

  const ConvolutionShape shape_;
  const bool has_backward_;
  const dnnl::post_ops clipping_;
  bool is_reference_;
  ForwardDescription forward_desc_;
  WeightsDescription weights_desc_;
  dnnl::convolution_backward_data::primitive_desc data_desc_;
  std::unordered_map<int64_t, Primitives> primitives_;  // by images
  dnnl::primitive data_;
  memory output_, source_diff_;  // hold the results
  // Buffers for values that must be reordered.
  memory source_, source_for_weights_, output_diff_, output_diff_for_data_;
  memory bias_diff_;
};

}  // namespace

std::unique_ptr<Convolution> MakeDirectConvolution(
    const ConvolutionShape& shape, memory::data_type type,
    const ConvolutionOptions& options) {
  auto made = std::make_unique<DirectConvolution>(shape, type, options);
  return made->is_reference() ? nullptr : std::move(made);
}

}  // namespace onednn
}  // namespace caffe
