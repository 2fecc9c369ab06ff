#ifndef DNNH_LAYERS_ONEDNN_ADD_ELEMENTS_HPP_
#define DNNH_LAYERS_ONEDNN_ADD_ELEMENTS_HPP_

#include <vector>

#include "layers/onednn/onednn.hpp"

namespace caffe {
namespace onednn {

/**
 * @brief The weighted sum of values in one layout, in any layout.
 *
 * @param sources values of the same layout; `sum` may be the first of them
 * @param coefficients as many
 * @param sum has that layout, too
 */
void Add(const std::vector<dnnl::memory>& sources,
         const std::vector<float>& coefficients, const dnnl::memory& sum);

}  // namespace onednn
}  // namespace caffe

#endif  // DNNH_LAYERS_ONEDNN_ADD_ELEMENTS_HPP_
