#ifndef DNNH_LAYERS_CUDNN_ENGINES_HPP_
#define DNNH_LAYERS_CUDNN_ENGINES_HPP_

#include "caffe/proto/caffe.pb.h"

namespace caffe {

/**
 * @brief `engine: CAFFE` in place of the default where cuDNN would be wrong.
 *
 * In a build with cuDNN, Caffe makes cuDNN layers in CPU mode too, which end the
 * process where there is no GPU. And pooling is Caffe's own on the GPU too: cuDNN
 * counts in an average what hangs over the edge of the image where Caffe does
 * not, so that a net would give other values than on the CPU; it has no stochastic
 * pooling; and Caffe keeps from it for the maximum itself. In builds without cuDNN
 * nothing changes.
 */
LayerParameter ChooseEngine(const LayerParameter& param);

}  // namespace caffe

#endif  // DNNH_LAYERS_CUDNN_ENGINES_HPP_
