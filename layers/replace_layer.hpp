#ifndef DNNH_LAYERS_REPLACE_LAYER_HPP_
#define DNNH_LAYERS_REPLACE_LAYER_HPP_

#include "caffe/layer_factory.hpp"

#include "layers/cudnn_engines.hpp"

namespace caffe {

/**
 * @brief Registers a creator of layers in place of the one that has a type so
 *        far: Caffe's own, or another wrapper.
 *
 * @tparam Wrapper is used once for each type; Wrapper::Create(param, previous)
 *         gets the creator that it replaces
 */
template <typename Dtype, typename Wrapper>
class WrapCreator {
 public:
  typedef typename LayerRegistry<Dtype>::Creator Creator;

  explicit WrapCreator(const char* type) {
    Creator& creator = LayerRegistry<Dtype>::Registry()[type];
    Previous() = creator;
    creator = &Create;
  }

 private:
  static Creator& Previous() {
    static Creator creator;
    return creator;
  }
  static shared_ptr<Layer<Dtype>> Create(const LayerParameter& param) {
    return Wrapper::Create(param, Previous());
  }
};

/// Creates a Replacement if Replacement::IsWanted(param), the previous layer
/// otherwise.
template <typename Dtype, typename Replacement>
struct CreateReplacement {
  static shared_ptr<Layer<Dtype>> Create(
      const LayerParameter& param,
      typename LayerRegistry<Dtype>::Creator previous) {
    return Replacement::IsWanted(param)
        ? shared_ptr<Layer<Dtype>>(new Replacement(param))
        : previous(ChooseEngine(param));
  }
};

template <typename Dtype, typename Replacement>
using ReplaceLayer = WrapCreator<Dtype, CreateReplacement<Dtype, Replacement>>;

}  // namespace caffe

#endif  // DNNH_LAYERS_REPLACE_LAYER_HPP_
