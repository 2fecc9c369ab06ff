#ifndef DNNH_LAYERS_REPLACE_LAYER_HPP_
#define DNNH_LAYERS_REPLACE_LAYER_HPP_

#include "caffe/layer_factory.hpp"

#include "layers/cudnn_engines.hpp"

namespace caffe {

/**
 * @brief Registers a layer in place of the one that has its type so far:
 *        Caffe's own, or another replacement.
 *
 * @tparam Replacement is created if Replacement::IsWanted(param), the previous
 *         layer otherwise
 */
template <typename Dtype, typename Replacement>
class ReplaceLayer {
 public:
  explicit ReplaceLayer(const char* type) {
    typename LayerRegistry<Dtype>::Creator& creator =
        LayerRegistry<Dtype>::Registry()[type];
    PreviousCreator() = creator;
    creator = &Create;
  }

 private:
  static typename LayerRegistry<Dtype>::Creator& PreviousCreator() {
    static typename LayerRegistry<Dtype>::Creator creator;
    return creator;
  }
  static shared_ptr<Layer<Dtype>> Create(const LayerParameter& param) {
    return Replacement::IsWanted(param)
        ? shared_ptr<Layer<Dtype>>(new Replacement(param))
        : PreviousCreator()(ChooseEngine(param));
  }
};

}  // namespace caffe

#endif  // DNNH_LAYERS_REPLACE_LAYER_HPP_
