#include "layers/cudnn_engines.hpp"

#include <string>

#include "caffe/layer.hpp"
#include "caffe/layer_factory.hpp"

#include "layers/replace_layer.hpp"

namespace caffe {

#ifdef USE_CUDNN

namespace {

template <typename Parameter>
void UseCaffe(Parameter* param) {
  if (param->engine() == Parameter::DEFAULT) {
    param->set_engine(Parameter::CAFFE);
  }
}

// Calls ChooseEngine before the creator of a type.
template <typename Dtype, int kType>
struct CreateWithEngine {
  static shared_ptr<Layer<Dtype>> Create(
      const LayerParameter& param,
      typename LayerRegistry<Dtype>::Creator previous) {
    return previous(ChooseEngine(param));
  }
};
template <typename Dtype, int kType>
using ChoosesEngine = WrapCreator<Dtype, CreateWithEngine<Dtype, kType>>;

#ifndef USE_ONEDNN
// Otherwise ReplaceLayer calls ChooseEngine.
const ChoosesEngine<float, 0> float_convolution("Convolution");
const ChoosesEngine<float, 1> float_pooling("Pooling");
const ChoosesEngine<float, 2> float_relu("ReLU");
#endif
const ChoosesEngine<double, 0> convolution("Convolution");
const ChoosesEngine<double, 1> pooling("Pooling");
const ChoosesEngine<double, 2> relu("ReLU");
const ChoosesEngine<double, 3> deconvolution("Deconvolution");
const ChoosesEngine<double, 4> lrn("LRN");
const ChoosesEngine<double, 5> sigmoid("Sigmoid");
const ChoosesEngine<double, 6> softmax("Softmax");
const ChoosesEngine<double, 7> tanh("TanH");
const ChoosesEngine<float, 3> float_deconvolution("Deconvolution");
const ChoosesEngine<float, 4> float_lrn("LRN");
const ChoosesEngine<float, 5> float_sigmoid("Sigmoid");
const ChoosesEngine<float, 6> float_softmax("Softmax");
const ChoosesEngine<float, 7> float_tanh("TanH");

}  // namespace

LayerParameter ChooseEngine(const LayerParameter& param) {
  LayerParameter chosen(param);
  const std::string& type = param.type();
  if (Caffe::mode() != Caffe::CPU && type != "Pooling") { return chosen; }
  if (type == "Convolution" || type == "Deconvolution") {
    UseCaffe(chosen.mutable_convolution_param());
  } else if (type == "Pooling") {
    UseCaffe(chosen.mutable_pooling_param());
  } else if (type == "ReLU") {
    UseCaffe(chosen.mutable_relu_param());
  } else if (type == "LRN") {
    UseCaffe(chosen.mutable_lrn_param());
  } else if (type == "Sigmoid") {
    UseCaffe(chosen.mutable_sigmoid_param());
  } else if (type == "Softmax") {
    UseCaffe(chosen.mutable_softmax_param());
  } else if (type == "TanH") {
    UseCaffe(chosen.mutable_tanh_param());
  }
  return chosen;
}

#else

LayerParameter ChooseEngine(const LayerParameter& param) { return param; }

#endif

}  // namespace caffe
