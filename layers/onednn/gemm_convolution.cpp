#include <algorithm>
#include <memory>

#include "caffe/util/math_functions.hpp"

#include "layers/clipped.hpp"
#include "layers/onednn/convolution.hpp"

namespace caffe {
namespace onednn {

namespace {

/// A convolution of 1x1 images: X W^T + b, of plain values, by BLAS. oneDNN 2.6
/// takes several times as long, most of all for gradients.
class GemmConvolution : public Convolution {
 public:
  GemmConvolution(const ConvolutionShape& shape,
                  const ConvolutionOptions& options)
      : shape_(shape), images_(shape.source[0]), channels_(shape.source[1]),
        outputs_(shape.output[1]), clip_(options.clip) {}

  memory Prepare(const float* weights, memory* kept) override {
    const memory plain = Wrap(shape_.weights, weights);
    if (kept) { *kept = plain; }
    return plain;
  }

  void Forward(SyncedMemory* source, const memory& prepared, const float* bias,
               SyncedMemory* output) override {
    const float* x = ReadPlain(source, shape_.source);
    if (source == output) { x = Copy(x, shape_.source); }
    float* y = WritePlain(output, shape_.output);
    for (int i = 0; bias && i < images_; ++i) {
      std::copy(bias, bias + outputs_, y + int64_t(i) * outputs_);
    }
    caffe_cpu_gemm<float>(
        CblasNoTrans, CblasTrans, images_, outputs_, channels_, 1, x,
        static_cast<float*>(prepared.get_data_handle()), bias ? 1 : 0, y);
    for (int64_t i = 0; clip_ && i < int64_t(images_) * outputs_; ++i) {
      y[i] = Clipped(y[i], clip_->min(), clip_->max());
    }
  }

  void BackwardData(SyncedMemory* output_diff, const float* weights,
                    SyncedMemory* source_diff) override {
    const float* dy = ReadPlain(output_diff, shape_.output);
    if (output_diff == source_diff) { dy = Copy(dy, shape_.output); }
    caffe_cpu_gemm<float>(CblasNoTrans, CblasNoTrans, images_, channels_,
                          outputs_, 1, dy, weights, 0,
                          WritePlain(source_diff, shape_.source));
  }

  void BackwardWeights(SyncedMemory* source, SyncedMemory* output_diff,
                       Blob<float>* weights, Blob<float>* bias) override {
    const float* dy = ReadPlain(output_diff, shape_.output);
    if (weights) {
      caffe_cpu_gemm<float>(CblasTrans, CblasNoTrans, outputs_, channels_,
                            images_, 1, dy, ReadPlain(source, shape_.source), 1,
                            weights->mutable_cpu_diff());
    }
    for (int i = 0; bias && i < images_; ++i) {
      caffe_axpy<float>(outputs_, 1, dy + int64_t(i) * outputs_,
                        bias->mutable_cpu_diff());
    }
  }

 private:
  static const float* ReadPlain(SyncedMemory* values,
                                const memory::dims& dims) {
    return static_cast<float*>(
        Read(values, dims, Plain(dims), nullptr).get_data_handle());
  }
  static float* WritePlain(SyncedMemory* values, const memory::dims& dims) {
    return static_cast<float*>(
        Write(values, Plain(dims), nullptr).get_data_handle());
  }
  // Of what would be overwritten in place.
  static const float* Copy(const float* values, const memory::dims& dims) {
    const memory copy = Scratch(Plain(dims));
    Reorder(Wrap(dims, values), copy);
    return static_cast<float*>(copy.get_data_handle());
  }

  const ConvolutionShape shape_;
  const int images_, channels_, outputs_;
  const ClipParameter* const clip_;
};

}  // namespace

std::unique_ptr<Convolution> MakeGemmConvolution(
    const ConvolutionShape& shape, const ConvolutionOptions& options) {
  const memory::dims one = {1, 1}, none = {0, 0};
  const auto is_one = [&](const memory::dims& dims) {
    return memory::dims(dims.end() - 2, dims.end()) == one;
  };
  const bool is_gemm = shape.weights.size() == 4 && is_one(shape.source)
      && is_one(shape.weights) && shape.pads == none;
  return is_gemm ? std::make_unique<GemmConvolution>(shape, options) : nullptr;
}

}  // namespace onednn
}  // namespace caffe
