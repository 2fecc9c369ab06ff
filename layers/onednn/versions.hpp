#ifndef DNNH_LAYERS_ONEDNN_VERSIONS_HPP_
#define DNNH_LAYERS_ONEDNN_VERSIONS_HPP_

#include <dnnl.hpp>

/**
 * All that differs between oneDNN 2.6 and 3. Primitives are described with the
 * arguments of version 3, without the engine.
 */
namespace caffe {
namespace onednn {

using dnnl::memory;

const dnnl::engine& Engine();

using BatchNormForward = dnnl::batch_normalization_forward;
using BatchNormBackward = dnnl::batch_normalization_backward;

#if DNNL_VERSION_MAJOR >= 3

using PoolingForward = dnnl::pooling_forward;
using PoolingBackward = dnnl::pooling_backward;
constexpr bool kBackwardTakesShift = false;

inline memory::dims DimsOf(const memory::desc& layout) {
  return layout.get_dims();
}
inline memory::data_type TypeOf(const memory::desc& layout) {
  return layout.get_data_type();
}

template <typename Primitive, typename... Arguments>
typename Primitive::primitive_desc Describe(const Arguments&... arguments) {
  return {Engine(), arguments...};
}
template <typename Primitive, typename Forward, typename... Arguments>
typename Primitive::primitive_desc DescribeBackward(
    const Forward& forward, const Arguments&... arguments) {
  return {Engine(), arguments..., forward};
}

// All values of a batch normalization have one layout here.
inline BatchNormForward::primitive_desc DescribeBatchNorm(
    const memory::desc& layout, float epsilon,
    dnnl::normalization_flags flags) {
  return Describe<BatchNormForward>(dnnl::prop_kind::forward_training, layout,
                                    layout, epsilon, flags);
}
inline BatchNormBackward::primitive_desc DescribeBatchNormBackward(
    const BatchNormForward::primitive_desc& forward, dnnl::prop_kind kind,
    const memory::desc& layout, float epsilon,
    dnnl::normalization_flags flags) {
  return DescribeBackward<BatchNormBackward>(forward, kind, layout, layout,
                                             layout, epsilon, flags);
}

#else

// Those with the dilation among their arguments.
using PoolingForward = dnnl::pooling_v2_forward;
using PoolingBackward = dnnl::pooling_v2_backward;
// Version 2 counts the arguments of a batch normalization with this one.
constexpr bool kBackwardTakesShift = true;

inline memory::dims DimsOf(const memory::desc& layout) { return layout.dims(); }
inline memory::data_type TypeOf(const memory::desc& layout) {
  return layout.data_type();
}

template <typename Primitive, typename... Arguments>
typename Primitive::primitive_desc Describe(const Arguments&... arguments) {
  return {typename Primitive::desc(arguments...), Engine()};
}
template <typename Primitive, typename Forward, typename... Arguments>
typename Primitive::primitive_desc DescribeBackward(
    const Forward& forward, const Arguments&... arguments) {
  return {typename Primitive::desc(arguments...), Engine(), forward};
}

inline BatchNormForward::primitive_desc DescribeBatchNorm(
    const memory::desc& layout, float epsilon,
    dnnl::normalization_flags flags) {
  return Describe<BatchNormForward>(dnnl::prop_kind::forward_training, layout,
                                    epsilon, flags);
}
inline BatchNormBackward::primitive_desc DescribeBatchNormBackward(
    const BatchNormForward::primitive_desc& forward, dnnl::prop_kind kind,
    const memory::desc& layout, float epsilon,
    dnnl::normalization_flags flags) {
  return DescribeBackward<BatchNormBackward>(forward, kind, layout, layout,
                                             epsilon, flags);
}

#endif

}  // namespace onednn
}  // namespace caffe

#endif  // DNNH_LAYERS_ONEDNN_VERSIONS_HPP_
