#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "caffe/layers/batch_norm_layer.hpp"
#include "caffe/layers/conv_layer.hpp"
#include "caffe/layers/pooling_layer.hpp"
#include "caffe/layers/relu_layer.hpp"
#include "caffe/layers/scale_layer.hpp"
#include "caffe/net.hpp"

#include "layers/layer_test.hpp"
#include "layers/onednn.hpp"

namespace caffe {

namespace {

// Each layer beside Caffe's own of the same type, in nets that differ in
// nothing else. Chains of layers are what matters: that is where values stay in
// another layout.
class OnednnLayersTest : public ::testing::Test {
 protected:
  void SetUp() override {
    Caffe::set_mode(Caffe::CPU);
    ASSERT_TRUE(onednn::IsOn());
  }

  // A net from `layers`, which read the blob "x" and end in "y".
  static std::unique_ptr<Net<float> > Make(const std::string& layers, bool ours,
      const std::vector<int>& shape, Phase phase) {
    setenv("DNNH_ONEDNN", ours ? "1" : "0", 1);
    Caffe::set_random_seed(7);
    NetParameter param;
    std::string dims;
    for (int dim : shape) { dims += " dim: " + std::to_string(dim); }
    const std::string text = "force_backward: true layer { name: 'x' type:"
        " 'Input' top: 'x' input_param { shape {" + dims + " } } } " + layers;
    CHECK(google::protobuf::TextFormat::ParseFromString(text, &param)) << text;
    param.mutable_state()->set_phase(phase);
    std::unique_ptr<Net<float> > net(new Net<float>(param));
    unsetenv("DNNH_ONEDNN");
    return net;
  }

  static void Fill(Blob<float>* blob, bool diff, unsigned seed) {
    Caffe::set_random_seed(seed);
    float* values = diff ? blob->mutable_cpu_diff() : blob->mutable_cpu_data();
    caffe_rng_gaussian<float>(blob->count(), 0, 1, values);
  }

  // `tolerance` is a share of the greatest value: sums of some thousand products
  // in another order, unless said otherwise.
  static void ExpectNear(const Blob<float>& a, const Blob<float>& b, bool diff,
                         const std::string& what, double tolerance = 2e-5) {
    ASSERT_EQ(a.shape(), b.shape()) << what;
    const float* values = diff ? a.cpu_diff() : a.cpu_data();
    const float* expected = diff ? b.cpu_diff() : b.cpu_data();
    double scale = 0, worst = 0;
    for (int i = 0; i < a.count(); ++i) {
      scale = std::max(scale, std::abs(double(expected[i])));
      worst = std::max(worst, std::abs(double(values[i]) - expected[i]));
      ASSERT_TRUE(std::isfinite(values[i])) << what;
    }
    EXPECT_LE(worst, tolerance * scale) << what << ", of at most " << scale;
  }

  static void Pass(Net<float>* net, bool backward, unsigned seed) {
    Fill(net->blob_by_name("x").get(), false, seed);
    net->Forward();
    if (!backward) { return; }
    Fill(net->blob_by_name("y").get(), true, seed + 1);
    net->Backward();
  }

  // Two passes, so that gradients add up, on the shape and then on another.
  static void Compare(const std::string& layers, std::vector<int> shape,
                      Phase phase = TRAIN, bool backward = true) {
    const auto ours = Make(layers, true, shape, phase);
    const auto stock = Make(layers, false, shape, phase);
    for (size_t i = 0; i < ours->params().size(); ++i) {
      Fill(ours->params()[i].get(), false, 50 + i);
      if (i == 2 && layers.find("'BatchNorm'") != std::string::npos) {
        ours->params()[i]->mutable_cpu_data()[0] = 3;   // a count of batches
      }
      if (layers.find("'BatchNorm'") != std::string::npos && i == 1) {
        caffe_abs(ours->params()[i]->count(), ours->params()[i]->cpu_data(),
                  ours->params()[i]->mutable_cpu_data());   // variances
      }
      stock->params()[i]->CopyFrom(*ours->params()[i]);
    }
    for (unsigned pass = 0; pass < 4; ++pass) {
      if (pass == 2) {
        shape[0] += 1;
        for (Net<float>* net : {ours.get(), stock.get()}) {
          net->blob_by_name("x")->Reshape(shape);
          net->Reshape();
        }
      }
      if (pass % 2 == 0) {
        ours->ClearParamDiffs();
        stock->ClearParamDiffs();
      }
      Pass(ours.get(), backward, 100 * pass + 1);
      Pass(stock.get(), backward, 100 * pass + 1);
      const std::string where = layers + ", pass " + std::to_string(pass);
      ExpectNear(*ours->blob_by_name("y"), *stock->blob_by_name("y"), false,
                 "y of " + where);
      for (size_t i = 0; i < ours->params().size(); ++i) {
        ExpectNear(*ours->params()[i], *stock->params()[i], false,
                   "blob " + std::to_string(i) + " of " + where);
        if (backward) {
          ExpectNear(*ours->params()[i], *stock->params()[i], true,
                     "gradient " + std::to_string(i) + " of " + where);
        }
      }
      if (backward) {
        ExpectNear(*ours->blob_by_name("x"), *stock->blob_by_name("x"), true,
                   "gradient of x of " + where);
      }
    }
  }

  // A layer from "c" to "y" that leaves its values in oneDNN's layout behind a
  // convolution that does is oneDNN's, and not Caffe's beside itself. (For older
  // processors oneDNN's convolutions are plain.)
  static void ExpectOurs(const std::string& layer) {
    if (!onednn::Has(dnnl::cpu_isa::avx2)) { return; }
    const auto net = Make(
        "layer { name: 'c' type: 'Convolution' bottom: 'x' top: 'c'"
        " convolution_param { num_output: 16 kernel_size: 3 } } " + layer, true,
        {2, 16, 9, 8}, TRAIN);
    net->Forward();
    EXPECT_TRUE(net->blob_by_name("y")->data()->plain_is_old()) << layer;
  }

  static std::string Convolution(const std::string& options) {
    return "layer { name: 'c' type: 'Convolution' bottom: 'x' top: 'y'"
           " convolution_param { weight_filler { type: 'gaussian' std: 0.1 }"
           " bias_filler { type: 'gaussian' std: 1 } " + options + " } } ";
  }
  static std::string Pooling(const std::string& options) {
    return "layer { name: 'p' type: 'Pooling' bottom: 'x' top: 'y'"
           " pooling_param { " + options + " } } ";
  }
};

}  // namespace

TEST_F(OnednnLayersTest, AreOurs) {
  LayerParameter param;
  for (const char* type : {"Convolution", "ReLU", "Pooling", "BatchNorm",
                           "Scale", "Dropout"}) {
    param.set_type(type);
    param.clear_bottom();
    param.add_bottom("x");
    param.mutable_convolution_param()->set_num_output(1);
    const auto ours = LayerRegistry<float>::CreateLayer(param);
    setenv("DNNH_ONEDNN", "0", 1);
    const auto stock = LayerRegistry<float>::CreateLayer(param);
    unsetenv("DNNH_ONEDNN");
    EXPECT_NE(typeid(*ours), typeid(*stock)) << type;
  }
  param.set_type("Convolution");
  param.mutable_convolution_param()->set_engine(
      ConvolutionParameter_Engine_CAFFE);
  const auto stock = LayerRegistry<float>::CreateLayer(param);
  EXPECT_EQ(typeid(*stock), typeid(ConvolutionLayer<float>));
}

TEST_F(OnednnLayersTest, ProcessorsAreToldApart) {
  using dnnl::cpu_isa;
  EXPECT_TRUE(onednn::Includes(cpu_isa::avx512_core_bf16, cpu_isa::avx512_core));
  EXPECT_TRUE(onednn::Includes(cpu_isa::avx512_core, cpu_isa::avx2));
  EXPECT_FALSE(onednn::Includes(cpu_isa::avx512_core, cpu_isa::avx512_core_bf16));
  EXPECT_TRUE(onednn::Includes(cpu_isa::avx2_vnni, cpu_isa::avx2));
  EXPECT_FALSE(onednn::Includes(cpu_isa::avx2_vnni, cpu_isa::avx512_core));
  EXPECT_FALSE(onednn::Includes(cpu_isa::sse41, cpu_isa::avx2));
}

TEST_F(OnednnLayersTest, Convolutions) {
  for (const char* options : {
           "num_output: 16 kernel_size: 3", "num_output: 5 kernel_size: 1",
           "num_output: 192 kernel_size: 5 pad: 2",
           "num_output: 20 kernel_size: 3 stride: 2 pad: 1",
           "num_output: 7 kernel_h: 2 kernel_w: 3 pad_h: 1 pad_w: 0 stride_h: 1"
           " stride_w: 2",
           "num_output: 9 kernel_size: 3 dilation: 2 pad: 2",
           "num_output: 8 kernel_size: 3 bias_term: false",
           "num_output: 32 kernel_size: 3 axis: 1"}) {
    for (int channels : {1, 3, 16, 21}) {
      Compare(Convolution(options), {2, channels, 9, 8});
    }
    ExpectOurs("layer { name: 'c2' type: 'Convolution' bottom: 'c' top: 'y'"
               " convolution_param { " + std::string(options) + " } }");
  }
  Compare(Convolution("num_output: 32 kernel_size: 3 group: 4"), {3, 16, 7, 7});
  Compare(Convolution("num_output: 6 kernel_size: 3 group: 3"), {3, 6, 7, 7});
}

TEST_F(OnednnLayersTest, Poolings) {
  for (const char* method : {"pool: MAX ", "pool: AVE "}) {
    for (const char* options : {
             "kernel_size: 2 stride: 2", "kernel_size: 3 stride: 2",
             "kernel_size: 3 stride: 1 pad: 1",
             "kernel_size: 3 stride: 2 pad: 1",
             "kernel_size: 2 stride: 3 round_mode: FLOOR",
             "kernel_h: 3 kernel_w: 2 stride_h: 2 stride_w: 1 pad_h: 1 pad_w: 0",
             "kernel_size: 3 stride: 2 round_mode: FLOOR",
             "global_pooling: true"}) {
      for (int size : {6, 7, 8}) {
        for (int channels : {3, 16, 21}) {
          Compare(Pooling(std::string(method) + options),
                  {2, channels, size, size + 1});
        }
      }
    }
    ExpectOurs("layer { name: 'p' type: 'Pooling' bottom: 'c' top: 'y'"
               " pooling_param { kernel_size: 3 stride: 2 " + std::string(method)
               + "} }");
  }
}

TEST_F(OnednnLayersTest, ReLUs) {
  for (const char* options : {"", "relu_param { negative_slope: 0.1 }",
                              "relu_param { negative_slope: -0.5 }"}) {
    const std::string relu = std::string("type: 'ReLU' ") + options;
    Compare("layer { name: 'r' bottom: 'x' top: 'y' " + relu + " }",
            {2, 3, 4, 5});
    Compare("layer { name: 'r' bottom: 'x' top: 'y' " + relu + " }", {4, 9});
    if (std::string(options).find("-") != std::string::npos) { continue; }
    // The larger one is cut into ranges (elements.hpp).
    for (int size : {6, 40}) {
      Compare(Convolution("num_output: 20 kernel_size: 3 ")
              + "layer { name: 'r' bottom: 'y' top: 'y' " + relu + " }",
              {2, 8, size, size});
    }
    ExpectOurs("layer { name: 'r' bottom: 'c' top: 'y' " + relu + " }");
  }
}

// With Caffe's own masks, as the seed is the same.
TEST_F(OnednnLayersTest, Dropouts) {
  const std::string dropout =
      " type: 'Dropout' dropout_param { dropout_ratio: 0.3 } } ";
  for (Phase phase : {TRAIN, TEST}) {
    Compare("layer { name: 'd' bottom: 'x' top: 'y'" + dropout, {2, 3, 4, 5}, phase);
    Compare("layer { name: 'd' bottom: 'x' top: 'y'" + dropout, {700, 90}, phase);
    for (int outputs : {32, 20}) {
      Compare(Convolution("kernel_size: 3 num_output: " + std::to_string(outputs))
              + "layer { name: 'd' bottom: 'y' top: 'y'" + dropout,
              {2, 8, 30, 30}, phase);
    }
  }
  // In place there is nothing to do in TEST, and no reason to go back to plain.
  const auto net = Make(Convolution("num_output: 32 kernel_size: 3")
      + "layer { name: 'd' bottom: 'y' top: 'y'" + dropout, true, {2, 8, 6, 6}, TEST);
  net->Forward();
  EXPECT_TRUE(net->blob_by_name("y")->data()->plain_is_old()
              || !onednn::Has(dnnl::cpu_isa::avx2));
}

TEST_F(OnednnLayersTest, Bfloat16RoundsToTheNearest) {
  const auto round = [](float value) {
    Bfloat16 rounded;
    rounded = value;
    return static_cast<float>(rounded);
  };
  // 8 bits: between 1 and 2 in steps of 1/128.
  EXPECT_EQ(round(1 + 1 / 128.f), 1 + 1 / 128.f);
  EXPECT_EQ(round(1 + 1.1f / 256), 1 + 1 / 128.f);
  EXPECT_EQ(round(1 + 0.9f / 256), 1);
  EXPECT_EQ(round(1 + 1 / 256.f), 1) << "to even, down";
  EXPECT_EQ(round(1 + 3 / 256.f), 1 + 2 / 128.f) << "to even, up";
  EXPECT_EQ(round(-3.f), -3.f);
  EXPECT_TRUE(std::isinf(round(std::numeric_limits<float>::max())));
  EXPECT_TRUE(std::isnan(round(NAN)));
  EXPECT_TRUE(std::isnan(round(__builtin_bit_cast(float, 0x7f800001u))));
  EXPECT_TRUE(std::isnan(round(__builtin_bit_cast(float, 0xffffffffu))));
}

// All layers, in bfloat16: the same to its 8 bits, but where a value near 0 comes
// to lie on the other side in ReLU. Weights and their gradients are float.
TEST_F(OnednnLayersTest, Bfloat16IsNearCaffesOwn) {
  if (!onednn::Has(dnnl::cpu_isa::avx512_core_bf16)) {
    GTEST_SKIP() << "this processor has no instructions for bfloat16";
  }
  const std::string layers =
      "layer { name: 'c' type: 'Convolution' bottom: 'x' top: 'c'"
      " convolution_param { num_output: 32 kernel_size: 3 pad: 1 weight_filler {"
      " type: 'msra' } } }"
      "layer { name: 'n' type: 'BatchNorm' bottom: 'c' top: 'c' }"
      "layer { name: 's' type: 'Scale' bottom: 'c' top: 'c' scale_param {"
      " bias_term: true } }"
      "layer { name: 'r' type: 'ReLU' bottom: 'c' top: 'c' relu_param {"
      " negative_slope: 0.1 } }"
      "layer { name: 'p' type: 'Pooling' bottom: 'c' top: 'p' pooling_param {"
      " pool: AVE kernel_size: 3 stride: 2 } }"
      "layer { name: 'd' type: 'Dropout' bottom: 'p' top: 'p' }"
      "layer { name: 'c2' type: 'Convolution' bottom: 'p' top: 'y'"
      " convolution_param { num_output: 16 kernel_size: 1 weight_filler {"
      " type: 'msra' } } }";
  setenv("DNNH_BFLOAT16", "1", 1);
  const auto ours = Make(layers, true, {8, 16, 12, 12}, TRAIN);
  unsetenv("DNNH_BFLOAT16");
  const auto stock = Make(layers, false, {8, 16, 12, 12}, TRAIN);
  for (unsigned pass = 0; pass < 2; ++pass) {
    Pass(ours.get(), true, pass);
    Pass(stock.get(), true, pass);
    EXPECT_TRUE(ours->blob_by_name("c")->data()->plain_is_old());
    const float* y = ours->blob_by_name("y")->cpu_data();
    const int count = ours->blob_by_name("y")->count();
    EXPECT_TRUE(std::all_of(y, y + count, [](float value) {
      return __builtin_bit_cast(uint32_t, value) << 16 == 0;
    })) << "this was no bfloat16";
    ExpectNear(*ours->blob_by_name("y"), *stock->blob_by_name("y"), false, "y", 0.02);
    for (size_t i = 0; i < ours->params().size(); ++i) {
      if (i == 1) { continue; }    // a bias before a normalisation: all rounding
      ExpectNear(*ours->params()[i], *stock->params()[i], true,
                 "gradient " + std::to_string(i), 0.08);
    }
    ExpectNear(*ours->blob_by_name("x"), *stock->blob_by_name("x"), true,
               "gradient of x", 0.15);
  }
}

TEST_F(OnednnLayersTest, BatchNormsAndScales) {
  const std::string batch_norm = "layer { name: 'n' type: 'BatchNorm'";
  const std::string scale = "layer { name: 's' type: 'Scale'";
  for (int channels : {3, 16, 21}) {
    const std::vector<int> shape = {4, channels, 5, 6};
    Compare(batch_norm + " bottom: 'x' top: 'y' }", shape);
    Compare(batch_norm + " bottom: 'x' top: 'y' }", shape, TEST);
    Compare(batch_norm + " bottom: 'x' top: 'y' batch_norm_param {"
            " use_global_stats: true } }", shape);
    for (const char* bias : {"true", "false"}) {
      const std::string options = std::string(
          " scale_param { bias_term: ") + bias + " } }";
      Compare(scale + " bottom: 'x' top: 'y'" + options, shape);
      Compare(batch_norm + " bottom: 'x' top: 'y' batch_norm_param {"
              " moving_average_fraction: 0.9 } } "
              + scale + " bottom: 'y' top: 'y'" + options, shape);
    }
  }
  ExpectOurs(batch_norm + " bottom: 'c' top: 'y' }");
  ExpectOurs(scale + " bottom: 'c' top: 'y' scale_param { bias_term: true } }");
  // What is no batch of images is Caffe's.
  Compare(batch_norm + " bottom: 'x' top: 'y' }", {8, 12});
  Compare(scale + " bottom: 'x' top: 'y' scale_param { axis: 1 } }", {8, 12});
  Compare(scale + " bottom: 'x' top: 'y' scale_param { axis: 2 } }",
          {8, 3, 4, 5});
}

// Our nets' chain, in place as they are, with Caffe's own layers in between.
TEST_F(OnednnLayersTest, ChainsWithCaffesOwnLayers) {
  const auto block = [](int i, const std::string& bottom, int outputs) {
    const std::string n = std::to_string(i);
    return "layer { name: 'conv" + n + "' type: 'Convolution' bottom: '" + bottom
        + "' top: 'conv" + n + "' convolution_param { num_output: "
        + std::to_string(outputs) + " kernel_size: 3 pad: 1 weight_filler {"
        " type: 'msra' } } }"
        " layer { name: 'bn" + n + "' type: 'BatchNorm' bottom: 'conv" + n
        + "' top: 'conv" + n + "' }"
        " layer { name: 'scale" + n + "' type: 'Scale' bottom: 'conv" + n
        + "' top: 'conv" + n + "' scale_param { bias_term: true } }"
        " layer { name: 'relu" + n + "' type: 'ReLU' bottom: 'conv" + n
        + "' top: 'conv" + n + "' } ";
  };
  const std::string net =
      block(1, "x", 24)
      + "layer { name: 'pool' type: 'Pooling' bottom: 'conv1' top: 'pool'"
        " pooling_param { pool: MAX kernel_size: 3 stride: 2 } }"
        " layer { name: 'power' type: 'Power' bottom: 'pool' top: 'pool'"
        " power_param { scale: 2 shift: 0.5 } } "
      + block(2, "pool", 20) + block(3, "pool", 20)     // the blob is split
      + "layer { name: 'sum' type: 'Eltwise' bottom: 'conv2' bottom: 'conv3'"
        " top: 'sum' }"
        " layer { name: 'ave' type: 'Pooling' bottom: 'sum' top: 'y'"
        " pooling_param { pool: AVE kernel_size: 4 } }";
  const auto ours = Make(net, true, {3, 3, 9, 9}, TRAIN);
  const auto stock = Make(net, false, {3, 3, 9, 9}, TRAIN);
  for (int pass = 0; pass < 3; ++pass) {
    ours->ClearParamDiffs();
    stock->ClearParamDiffs();
    Pass(ours.get(), true, 10 * pass);
    Pass(stock.get(), true, 10 * pass);
    // Whatever is read, plain, on the way.
    for (const char* name : {"conv1", "pool", "conv2", "sum", "y"}) {
      ExpectNear(*ours->blob_by_name(name), *stock->blob_by_name(name), false,
                 name);
    }
    EXPECT_NEAR(ours->blob_by_name("conv1")->asum_diff(),
                stock->blob_by_name("conv1")->asum_diff(),
                1e-4 * stock->blob_by_name("conv1")->asum_diff());
    for (size_t i = 0; i < ours->params().size(); ++i) {
      const double sum = stock->params()[i]->sumsq_diff();
      EXPECT_NEAR(ours->params()[i]->sumsq_diff(), sum, 1e-3 * sum + 1e-6)
          << "param " << i;
    }
  }
}

// Values that are changed from outside are seen.
TEST_F(OnednnLayersTest, PlainValuesMayBeChangedInBetween) {
  const std::string layers =
      "layer { name: 'c' type: 'Convolution' bottom: 'x' top: 'c'"
      " convolution_param { num_output: 16 kernel_size: 1 } }"
      " layer { name: 'r' type: 'ReLU' bottom: 'c' top: 'y' }";
  const auto net = Make(layers, true, {2, 16, 4, 4}, TEST);
  Fill(net->blob_by_name("x").get(), false, 1);
  net->Forward();
  Blob<float>* middle = net->blob_by_name("c").get();
  EXPECT_TRUE(middle->data()->plain_is_old()) << "nothing stays blocked";
  caffe_set(middle->count(), 3.f, middle->mutable_cpu_data());
  net->ForwardFrom(2);
  for (int i = 0; i < middle->count(); ++i) {
    ASSERT_EQ(net->blob_by_name("y")->cpu_data()[i], 3);
  }
  // And a smaller batch in the same memory.
  net->blob_by_name("x")->Reshape({1, 16, 4, 4});
  net->Reshape();
  caffe_set(net->blob_by_name("c")->count(), 5.f,
            net->blob_by_name("c")->mutable_cpu_data());
  net->ForwardFrom(2);
  EXPECT_EQ(net->blob_by_name("y")->cpu_data()[255], 5);
}

// A smaller batch in the memory of a larger one, whose values are still in
// oneDNN's layout: it finds its own among them.
TEST_F(OnednnLayersTest, ABlobMayBecomeSmallerWithoutBeingTouched) {
  const std::string layers =
      "layer { name: 'c' type: 'Convolution' bottom: 'x' top: 'c'"
      " convolution_param { num_output: 16 kernel_size: 1"
      " weight_filler { type: 'gaussian' std: 0.3 } } }"
      " layer { name: 'r' type: 'Convolution' bottom: 'c' top: 'y'"
      " convolution_param { num_output: 16 kernel_size: 1"
      " weight_filler { type: 'gaussian' std: 0.3 } } }";
  const auto net = Make(layers, true, {2, 16, 4, 4}, TEST);
  Fill(net->blob_by_name("x").get(), false, 1);
  net->Forward();
  const Blob<float>& y = *net->blob_by_name("y");
  const std::vector<float> first(y.cpu_data(), y.cpu_data() + 256);
  ASSERT_TRUE(net->blob_by_name("c")->data()->plain_is_old()) << "nothing stays blocked";
  net->blob_by_name("x")->Reshape({1, 16, 4, 4});
  net->Reshape();
  net->ForwardFrom(2);
  ASSERT_EQ(y.count(), 256);
  for (int i = 0; i < 256; ++i) {
    ASSERT_NEAR(y.cpu_data()[i], first[i], 1e-5) << i;
    ASSERT_NE(first[i], 0) << "nothing is compared";
  }
}

// A pointer that somebody keeps to an input's values is as good as ever.
TEST_F(OnednnLayersTest, InputsMayBeWrittenThroughAPointerThatWasKept) {
  for (const std::string& layer : {
           Convolution("num_output: 16 kernel_size: 1"),
           std::string("layer { name: 's' type: 'Scale' bottom: 'x' top: 'y' }"),
           std::string("layer { name: 'n' type: 'BatchNorm' bottom: 'x'"
                       " top: 'y' }")}) {
    const auto ours = Make(layer, true, {2, 16, 3, 3}, TRAIN);
    const auto stock = Make(layer, false, {2, 16, 3, 3}, TRAIN);
    float* kept[2] = {ours->blob_by_name("x")->mutable_cpu_data(),
                      stock->blob_by_name("x")->mutable_cpu_data()};
    for (int pass = 0; pass < 3; ++pass) {
      for (float* values : kept) {
        for (int i = 0; i < 288; ++i) { values[i] = (i * 37 + pass * i) % 11; }
      }
      ours->Forward();
      stock->Forward();
      ExpectNear(*ours->blob_by_name("y"), *stock->blob_by_name("y"), false,
                 layer);
    }
  }
}

// What has diverged must not look healthy.
TEST_F(OnednnLayersTest, NaNStaysNaN) {
  const std::string relu = "layer { name: 'r' type: 'ReLU' bottom: 'y' top: 'y' }";
  for (const std::string& layers : {
           std::string("layer { name: 'r' type: 'ReLU' bottom: 'x' top: 'y' }"),
           Convolution("num_output: 16 kernel_size: 1") + relu}) {
    const auto net = Make(layers, true, {2, 16, 3, 3}, TRAIN);
    Fill(net->blob_by_name("x").get(), false, 1);
    net->blob_by_name("x")->mutable_cpu_data()[0] = NAN;
    net->Forward();
    EXPECT_TRUE(std::isnan(net->blob_by_name("y")->cpu_data()[0])) << layers;
  }
}

TEST_F(OnednnLayersTest, NoGradientWhereNoneIsAskedFor) {
  const auto net = Make(Convolution("num_output: 16 kernel_size: 3"), true,
                        {2, 16, 6, 6}, TRAIN);
  Pass(net.get(), false, 1);
  Layer<float>* layer = net->layer_by_name("c").get();
  layer->set_param_propagate_down(0, false);
  layer->set_param_propagate_down(1, true);
  net->ClearParamDiffs();
  Fill(net->blob_by_name("x").get(), true, 3);
  const float before = net->blob_by_name("x")->asum_diff();
  Fill(net->blob_by_name("y").get(), true, 2);
  layer->Backward({net->blob_by_name("y").get()}, {false},
                  {net->blob_by_name("x").get()});
  EXPECT_EQ(net->blob_by_name("x")->asum_diff(), before);
  EXPECT_EQ(net->params()[0]->asum_diff(), 0);
  EXPECT_GT(net->params()[1]->asum_diff(), 0);
}

}  // namespace caffe
