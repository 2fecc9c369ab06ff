#ifndef DNNH_LAYERS_CUDNN_ENGINES_HPP_
#define DNNH_LAYERS_CUDNN_ENGINES_HPP_

#include "caffe/proto/caffe.pb.h"

namespace caffe {

/**
 * @brief Replaces the default engine by `engine: CAFFE` where cuDNN would fail
 *        or give other results.
 *
 * In a build with cuDNN, Caffe creates cuDNN layers in CPU mode too, which end
 * the process if there is no GPU. Pooling is Caffe's own on the GPU too: cuDNN
 * counts in an average what extends past the edge of the image and Caffe does
 * not, so that a net would give other values than on the CPU; cuDNN has no
 * stochastic pooling; and for max pooling Caffe avoids cuDNN itself. In builds
 * without cuDNN nothing changes.
 */
LayerParameter ChooseEngine(const LayerParameter& param);

}  // namespace caffe

#endif  // DNNH_LAYERS_CUDNN_ENGINES_HPP_
