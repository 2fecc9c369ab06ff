#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <unordered_map>

#include "caffe/util/math_functions.hpp"

#include "layers/onednn/convolution.hpp"
#include "layers/onednn/normalization.hpp"

namespace caffe {
namespace onednn {

namespace {

/// In the phase TEST, too: for inference oneDNN would choose layouts with the
/// channels last, which are slower here (docs/performance.md).
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

// Bytes of images that are computed at once before they are convolved, so that
// a cache has them until then.
constexpr int64_t kBytesAtOnce = 2 << 20;

/// A batch of so many images in the layout of a larger one.
memory::desc Batch(const memory::desc& layout, int64_t images) {
  memory::dims dims = DimsOf(layout);
  const memory::dims first(dims.size());
  dims[0] = images;
  return layout.submemory_desc(dims, first);
}

/// So many images from `first` on, without a copy.
memory BatchAt(int64_t first, const memory& images, int64_t count) {
  const memory::desc layout = images.get_desc();
  const int64_t bytes_of_image = layout.get_size() / DimsOf(layout)[0];
  return memory(
      Batch(layout, count), Engine(),
      static_cast<char*>(images.get_data_handle()) + first * bytes_of_image);
}

/// Deferred values are computed for some images at once, never for all.
class DirectConvolution : public Convolution {
 public:
  DirectConvolution(const ConvolutionShape& shape, memory::data_type type,
                    const ConvolutionOptions& options)
      : shape_(shape), has_backward_(options.has_backward),
        behind_(Clipping(options.clip)) {
    // Images are plain, and oneDNN reads so few channels as fast in that
    // layout.
    const memory::desc source = shape.source[1] <= 4 ? Plain(shape.source, type)
                                                     : Any(shape.source, type);
    const memory::desc weights = Any(shape.weights, type);
    const memory::desc bias =
        options.has_bias ? Plain({shape.output[1]}) : memory::desc();
    const memory::desc output = Any(shape.output, type);
    forward_desc_ = DescribeForward<dnnl::convolution_forward>(
        behind_, kForward, kDirect, source, weights, bias, output,
        shape.strides, shape.dilations, shape.pads, shape.pads);
    all_.images = shape.source[0];
    all_.forward = dnnl::convolution_forward(forward_desc_);
    is_reference_ = IsReference(forward_desc_);
    if (!has_backward_) { return; }
    weights_desc_ = DescribeBackward<dnnl::convolution_backward_weights>(
        forward_desc_, kDirect, source, Any(shape.weights), bias, output,
        shape.strides, shape.dilations, shape.pads, shape.pads);
    all_.weights = dnnl::convolution_backward_weights(weights_desc_);
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
    const memory outputs = Write(output, forward_desc_.dst_desc(), &output_);
    std::unordered_map<int, memory> arguments = {{DNNL_ARG_WEIGHTS, prepared}};
    if (bias) { arguments[DNNL_ARG_BIAS] = Wrap({shape_.output[1]}, bias); }
    ForBatches(source, forward_desc_.src_desc(), &source_,
               [&](const Passes& some, int64_t first, const memory& batch) {
                 arguments[DNNL_ARG_SRC] = batch;
                 arguments[DNNL_ARG_DST] = BatchAt(first, outputs, some.images);
                 Run(some.forward, arguments);
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
    const memory diffs = Read(output_diff, shape_.output,
                              weights_desc_.diff_dst_desc(), &output_diff_);
    const memory::desc layout = weights_desc_.diff_weights_desc();
    const int64_t floats = layout.get_size() / sizeof(float);
    // The sum, and what is added to it.
    const memory both = Scratch(Plain({2 * floats}));
    float* const sum = static_cast<float*>(both.get_data_handle());
    float* const added = sum + floats;
    std::unordered_map<int, memory> arguments;
    const memory::desc bias_desc = weights_desc_.diff_bias_desc();
    if (bias_desc.get_size()) {
      Fit(bias_desc, &bias_diff_);
      arguments[DNNL_ARG_DIFF_BIAS] = bias_diff_;
    }
    ForBatches(source, weights_desc_.src_desc(), &source_for_weights_,
               [&](const Passes& some, int64_t first, const memory& batch) {
                 arguments[DNNL_ARG_SRC] = batch;
                 arguments[DNNL_ARG_DIFF_DST] =
                     BatchAt(first, diffs, some.images);
                 arguments[DNNL_ARG_DIFF_WEIGHTS] =
                     memory(layout, Engine(), first ? added : sum);
                 Run(some.weights, arguments);
                 if (first) { caffe_axpy<float>(floats, 1, added, sum); }
                 if (bias) { AddToDiff(bias_diff_, bias); }
               });
    if (weights) { AddToDiff(memory(layout, Engine(), sum), weights); }
  }

 private:
  // Primitives for so many images at once.
  struct Passes {
    int64_t images = 0;
    dnnl::primitive forward, weights;
  };

  // Calls use(passes, first image, batch) for all images at once or, if they
  // are deferred, for some after the other.
  template <typename Use>
  void ForBatches(SyncedMemory* source, const memory::desc& layout,
                  memory* buffer, const Use& use) {
    const auto deferred = DeferredValuesIn(layout, *source);
    if (!deferred) {
      return use(all_, 0, Read(source, shape_.source, layout, buffer));
    }
    static thread_local memory kept;
    if (!some_.images) { some_ = MakeSome(layout); }
    ChannelMap map = deferred->map();
    for (int64_t first = 0; first < all_.images; first += some_.images) {
      map.source = BatchAt(first, deferred->map().source, some_.images);
      const memory batch = Reuse(map.source.get_desc(), &kept);
      Compute(map, batch);
      use(some_, first, batch);
    }
  }

  // In the layouts of all_.
  Passes MakeSome(const memory::desc& source) const {
    Passes some;
    some.images = std::min(
        all_.images,
        std::max<int64_t>(kBytesAtOnce * all_.images / source.get_size(), 1));
    while (all_.images % some.images) { --some.images; }
    const auto batch = [&](const memory::desc& layout) {
      return Batch(layout, some.images);
    };
    const auto forward = DescribeForward<dnnl::convolution_forward>(
        behind_, kForward, kDirect, batch(forward_desc_.src_desc()),
        forward_desc_.weights_desc(), forward_desc_.bias_desc(),
        batch(forward_desc_.dst_desc()), shape_.strides, shape_.dilations,
        shape_.pads, shape_.pads);
    some.forward = dnnl::convolution_forward(forward);
    if (!has_backward_) { return some; }
    some.weights = dnnl::convolution_backward_weights(
        DescribeBackward<dnnl::convolution_backward_weights>(
            forward, kDirect, batch(weights_desc_.src_desc()),
            weights_desc_.diff_weights_desc(), weights_desc_.diff_bias_desc(),
            batch(weights_desc_.diff_dst_desc()), shape_.strides,
            shape_.dilations, shape_.pads, shape_.pads));
    return some;
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
  const dnnl::post_ops behind_;
  bool is_reference_;
  dnnl::convolution_forward::primitive_desc forward_desc_;
  dnnl::convolution_backward_weights::primitive_desc weights_desc_;
  dnnl::convolution_backward_data::primitive_desc data_desc_;
  Passes all_, some_;
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
