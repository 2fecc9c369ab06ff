#ifndef DNNH_TESTS_LAYERS_ONEDNN_ONEDNN_TEST_HPP_
#define DNNH_TESTS_LAYERS_ONEDNN_ONEDNN_TEST_HPP_

#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "caffe/net.hpp"

#include "layers/layer_test.hpp"
#include "layers/onednn/onednn.hpp"

namespace caffe {

// Compares each layer with Caffe's own of the same type, in nets that differ in
// nothing else. Chains of layers matter most: there, values stay in oneDNN's
// layout.
class OnednnLayersTest : public ::testing::Test {
 protected:
  void SetUp() override {
    Caffe::set_mode(Caffe::CPU);
    ASSERT_TRUE(onednn::IsOn());
  }

  // A net from `layers`, which read the blob "x" and end in "y".
  static std::unique_ptr<Net<float>> Make(const std::string& layers,
                                          bool use_onednn,
                                          const std::vector<int>& shape,
                                          Phase phase) {
    setenv("DNNH_ONEDNN", use_onednn ? "1" : "0", 1);
    Caffe::set_random_seed(7);
    NetParameter param;
    std::string dims;
    for (int dim : shape) { dims += " dim: " + std::to_string(dim); }
    const std::string text =
        "force_backward: true layer { name: 'x' type:"
        " 'Input' top: 'x' input_param { shape {"
        + dims + " } } } " + layers;
    CHECK(google::protobuf::TextFormat::ParseFromString(text, &param)) << text;
    param.mutable_state()->set_phase(phase);
    std::unique_ptr<Net<float>> net(new Net<float>(param));
    unsetenv("DNNH_ONEDNN");
    return net;
  }

  static void Fill(Blob<float>* blob, bool diff, unsigned seed) {
    Caffe::set_random_seed(seed);
    float* values = diff ? blob->mutable_cpu_diff() : blob->mutable_cpu_data();
    caffe_rng_gaussian<float>(blob->count(), 0, 1, values);
  }

  // `tolerance` is relative to the greatest value, or, in norm, to all values:
  // where rounding changes the sign of a value before ReLU, a gradient is far
  // from Caffe's own. The default is for sums of some thousand products in
  // another order.
  static void ExpectNear(const Blob<float>& a, const Blob<float>& b, bool diff,
                         const std::string& what, double tolerance = 2e-5,
                         bool in_norm = false) {
    ASSERT_EQ(a.shape(), b.shape()) << what;
    const float* values = diff ? a.cpu_diff() : a.cpu_data();
    const float* expected = diff ? b.cpu_diff() : b.cpu_data();
    double scale = 0, worst = 0, squares = 0, error = 0;
    for (int i = 0; i < a.count(); ++i) {
      const double apart = double(values[i]) - expected[i];
      scale = std::max(scale, std::abs(double(expected[i])));
      worst = std::max(worst, std::abs(apart));
      squares += double(expected[i]) * expected[i];
      error += apart * apart;
      ASSERT_TRUE(std::isfinite(values[i]) && std::isfinite(expected[i]))
          << what;
    }
    if (in_norm) { worst = std::sqrt(error), scale = std::sqrt(squares); }
    EXPECT_LE(worst, tolerance * scale)
        << what << (in_norm ? ", norm " : ", greatest value ") << scale;
  }

  static void Pass(Net<float>* net, bool backward, unsigned seed,
                   bool reads = false) {
    Fill(net->blob_by_name("x").get(), false, seed);
    net->Forward();
    if (reads) { net->blob_by_name("y")->cpu_data(); }
    if (!backward) { return; }
    Fill(net->blob_by_name("y").get(), true, seed + 1);
    net->Backward();
  }

  // How far values and gradients may be from Caffe's own, see ExpectNear.
  struct Tolerances {
    double values, weights, input;
    bool in_norm;
  };
  static constexpr Tolerances kFloat = {2e-5, 2e-5, 2e-5, false};
  static constexpr Tolerances kBfloat16 = {0.01, 0.06, 0.1, true};

  // Two passes, so that gradients accumulate, on the shape and then on another;
  // in every second one, y is read before Backward.
  static void Compare(const std::string& layers, std::vector<int> shape,
                      Phase phase = TRAIN, bool backward = true,
                      const Tolerances& near = kFloat) {
    if (&near == &kBfloat16) { setenv("DNNH_BFLOAT16", "1", 1); }
    const auto onednn_net = Make(layers, true, shape, phase);
    unsetenv("DNNH_BFLOAT16");
    const auto stock = Make(layers, false, shape, phase);
    for (size_t i = 0; i < onednn_net->params().size(); ++i) {
      Fill(onednn_net->params()[i].get(), false, 50 + i);
    }
    for (const auto& layer : onednn_net->layers()) {
      if (std::string(layer->type()) != "BatchNorm") { continue; }
      Blob<float>* variances = layer->blobs()[1].get();
      caffe_abs(variances->count(), variances->cpu_data(),
                variances->mutable_cpu_data());
      layer->blobs()[2]->mutable_cpu_data()[0] = 3;  // a count of batches
    }
    for (size_t i = 0; i < stock->params().size(); ++i) {
      stock->params()[i]->CopyFrom(*onednn_net->params()[i]);
    }
    for (unsigned pass = 0; pass < 4; ++pass) {
      if (pass == 2) {
        shape[0] += 1;
        for (Net<float>* net : {onednn_net.get(), stock.get()}) {
          net->blob_by_name("x")->Reshape(shape);
          net->Reshape();
        }
      }
      if (pass % 2 == 0) {
        onednn_net->ClearParamDiffs();
        stock->ClearParamDiffs();
      }
      Pass(onednn_net.get(), backward, 100 * pass + 1, pass % 2 == 1);
      Pass(stock.get(), backward, 100 * pass + 1);
      const std::string where = layers + ", pass " + std::to_string(pass);
      ExpectNear(*onednn_net->blob_by_name("y"), *stock->blob_by_name("y"),
                 false, "y of " + where, near.values, near.in_norm);
      for (size_t i = 0; i < onednn_net->params().size(); ++i) {
        ExpectNear(*onednn_net->params()[i], *stock->params()[i], false,
                   "blob " + std::to_string(i) + " of " + where, near.values,
                   near.in_norm);
        if (backward) {
          ExpectNear(*onednn_net->params()[i], *stock->params()[i], true,
                     "gradient " + std::to_string(i) + " of " + where,
                     near.weights, near.in_norm);
        }
      }
      if (backward) {
        ExpectNear(*onednn_net->blob_by_name("x"), *stock->blob_by_name("x"),
                   true, "gradient of x of " + where, near.input, near.in_norm);
      }
    }
  }

  // Of several kinds, with and without a clip.
  static void CompareFusedConvolutions(const Tolerances& near) {
    for (const char* clip : {"", "clip_param { min: 0 max: inf }",
                             "clip_param { min: -10 max: 25 }"}) {
      for (const char* options :
           {"num_output: 32 kernel_size: 3 pad: 1",
            "num_output: 5 kernel_size: 1",
            "num_output: 16 kernel_size: 3 group: 16 stride: 2 pad: 1",
            "num_output: 16 kernel_size: 5 pad: 2 bias_term: false"}) {
        const std::string layer = FusedConvolution(options, clip);
        for (int channels : {16, 32}) {  // 32: by Winograd's algorithm
          Compare(layer, {2, channels, 9, 8}, TEST, false, near);
        }
      }
    }
  }

  // A layer from "c" to "y" uses oneDNN if it leaves its values in oneDNN's
  // layout after a convolution that does. Otherwise Compare would compare
  // Caffe's code with itself. (On older processors oneDNN's convolutions are
  // plain.)
  static void ExpectOnednn(const std::string& layer, Phase phase = TRAIN) {
    if (!onednn::Has(dnnl::cpu_isa::avx2)) { return; }
    const auto net = Make(
        "layer { name: 'c' type: 'Convolution' bottom: 'x' top: 'c'"
        " convolution_param { num_output: 16 kernel_size: 3 } } "
            + layer,
        true, {2, 16, 9, 8}, phase);
    net->Forward();
    EXPECT_TRUE(net->blob_by_name("y")->data()->plain_is_stale()) << layer;
  }

  static std::string Convolution(const std::string& options) {
    return "layer { name: 'c' type: 'Convolution' bottom: 'x' top: 'y'"
           " convolution_param { weight_filler { type: 'gaussian' std: 0.1 }"
           " bias_filler { type: 'gaussian' std: 1 } "
        + options + " } } ";
  }
  // `clip` is its clip_param; empty without.
  static std::string FusedConvolution(const std::string& options,
                                      const std::string& clip) {
    std::string layer = Convolution(options);
    layer.replace(layer.find("'Convolution'"), 13, "'FusedConvolution'");
    return layer.replace(layer.rfind('}'), 1, clip + " }");
  }
  static std::string Pooling(const std::string& options) {
    return "layer { name: 'p' type: 'Pooling' bottom: 'x' top: 'y'"
           " pooling_param { "
        + options + " } } ";
  }
};

}  // namespace caffe

#endif  // DNNH_TESTS_LAYERS_ONEDNN_ONEDNN_TEST_HPP_
