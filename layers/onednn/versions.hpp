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

/// Attributes of a primitive with operations behind it. Its temporary memory is
/// what Run gives it: oneDNN would take that of the thread that made it, which
/// another may be using.
inline dnnl::primitive_attr Attributes(
    const dnnl::post_ops& behind = dnnl::post_ops()) {
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  attributes.set_post_ops(behind);
  return attributes;
}

#if DNNL_VERSION_MAJOR >= 3

inline memory::dims DimsOf(const memory::desc& layout) {
  return layout.get_dims();
}
inline memory::data_type TypeOf(const memory::desc& layout) {
  return layout.get_data_type();
}

template <typename Primitive, typename... Arguments>
typename Primitive::primitive_desc DescribeForward(
    const dnnl::post_ops& behind, const Arguments&... arguments) {
  return {Engine(), arguments..., Attributes(behind)};
}
template <typename Primitive, typename Forward, typename... Arguments>
typename Primitive::primitive_desc DescribeBackward(
    const Forward& forward, const Arguments&... arguments) {
  return {Engine(), arguments..., forward, Attributes()};
}

inline void Append(dnnl::algorithm function, float alpha, float beta,
                   dnnl::post_ops* post_ops) {
  post_ops->append_eltwise(function, alpha, beta);
}

#else

inline memory::dims DimsOf(const memory::desc& layout) { return layout.dims(); }
inline memory::data_type TypeOf(const memory::desc& layout) {
  return layout.data_type();
}

template <typename Primitive, typename... Arguments>
typename Primitive::primitive_desc DescribeForward(
    const dnnl::post_ops& behind, const Arguments&... arguments) {
  return {typename Primitive::desc(arguments...), Attributes(behind), Engine()};
}
template <typename Primitive, typename Forward, typename... Arguments>
typename Primitive::primitive_desc DescribeBackward(
    const Forward& forward, const Arguments&... arguments) {
  return {typename Primitive::desc(arguments...), Attributes(), Engine(),
          forward};
}

inline void Append(dnnl::algorithm function, float alpha, float beta,
                   dnnl::post_ops* post_ops) {
  post_ops->append_eltwise(1, function, alpha, beta);
}

#endif

}  // namespace onednn
}  // namespace caffe

#endif  // DNNH_LAYERS_ONEDNN_VERSIONS_HPP_
