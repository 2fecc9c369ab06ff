#ifndef DNNH_LAYERS_GIVEN_BLOBS_HPP_
#define DNNH_LAYERS_GIVEN_BLOBS_HPP_

#include <vector>

#include "caffe/blob.hpp"
#include "caffe/common.hpp"
#include "caffe/proto/caffe.pb.h"

namespace caffe {

/// Ends the program if a layer's blobs, which a prototxt may contain, do not
/// have the shapes that the layer needs.
template <typename Dtype>
void CheckGivenBlobs(const LayerParameter& param,
                     const std::vector<shared_ptr<Blob<Dtype>>>& blobs,
                     const std::vector<std::vector<int>>& shapes) {
  CHECK_EQ(blobs.size(), shapes.size())
      << param.type() << " layer '" << param.name() << "' has " << blobs.size()
      << " blobs in the prototxt and needs " << shapes.size()
      << "; leave them out of it, and give a model file";
  for (size_t i = 0; i < shapes.size(); ++i) {
    CHECK(blobs[i]->shape() == shapes[i])
        << param.type() << " layer '" << param.name() << "': blob " << i
        << " has shape " << blobs[i]->shape_string() << " in the prototxt and "
        << "needs " << Blob<Dtype>(shapes[i]).shape_string()
        << "; leave it out of it, and give a model file";
  }
}

}  // namespace caffe

#endif  // DNNH_LAYERS_GIVEN_BLOBS_HPP_
