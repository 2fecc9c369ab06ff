#ifndef DNNH_LAYERS_CLIPPED_HPP_
#define DNNH_LAYERS_CLIPPED_HPP_

namespace caffe {

/// The value, or the bound that it is beyond; a NaN stays one.
template <typename Dtype>
inline Dtype Clipped(Dtype value, Dtype min, Dtype max) {
  const Dtype raised = value < min ? min : value;
  return raised > max ? max : raised;
}

}  // namespace caffe

#endif  // DNNH_LAYERS_CLIPPED_HPP_
