#ifndef DNNH_LAYERS_OWNER_HPP_
#define DNNH_LAYERS_OWNER_HPP_

#include <string>

#include "caffe/layer.hpp"

namespace caffe {

/// Type and name of a layer, for messages: "Resize layer 'resize'".
template <typename Dtype>
std::string OwnerOf(const Layer<Dtype>& layer) {
  return std::string(layer.type()) + " layer '" + layer.layer_param().name()
      + "'";
}

}  // namespace caffe

#endif  // DNNH_LAYERS_OWNER_HPP_
