#include <omp.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "layers/onednn/onednn_test.hpp"

namespace caffe {

using dnnl::memory;

// A chain as in our nets, in place, with Caffe's own layers in between.
TEST_F(OnednnLayersTest, ChainsWithCaffesOwnLayers) {
  const auto block = [](int i, const std::string& bottom, int outputs) {
    const std::string n = std::to_string(i);
    const std::string in_place =
        " bottom: 'conv" + n + "' top: 'conv" + n + "'";
    return "layer { name: 'conv" + n + "' type: 'Convolution' bottom: '"
        + bottom + "' top: 'conv" + n + "' convolution_param { num_output: "
        + std::to_string(outputs) + " kernel_size: 3 pad: 1"
        + " weight_filler { type: 'msra' } } }" + " layer { name: 'bn" + n
        + "' type: 'BatchNorm'" + in_place + " }" + " layer { name: 'scale" + n
        + "' type: 'Scale'" + in_place + " scale_param { bias_term: true } }"
        + " layer { name: 'relu" + n + "' type: 'ReLU'" + in_place + " } ";
  };
  const std::string net =
      block(1, "x", 24)
      + "layer { name: 'pool' type: 'Pooling' bottom: 'conv1' top: 'pool'"
        " pooling_param { pool: MAX kernel_size: 3 stride: 2 } }"
        " layer { name: 'power' type: 'Power' bottom: 'pool' top: 'power'"
        " power_param { scale: 2 shift: 0.5 } } "
      + block(2, "power", 20) + block(3, "power", 20)   // the blob is split
      + "layer { name: 'sum' type: 'Eltwise' bottom: 'conv2' bottom: 'conv3'"
        " top: 'sum' }"
        " layer { name: 'ave' type: 'Pooling' bottom: 'sum' top: 'y'"
        " pooling_param { pool: AVE kernel_size: 4 } }";
  const auto onednn_net = Make(net, true, {3, 3, 9, 9}, TRAIN);
  const auto stock = Make(net, false, {3, 3, 9, 9}, TRAIN);
  for (int pass = 0; pass < 3; ++pass) {
    onednn_net->ClearParamDiffs();
    stock->ClearParamDiffs();
    Pass(onednn_net.get(), true, 10 * pass);
    Pass(stock.get(), true, 10 * pass);
    // Reads plain values of blobs on the way.
    for (const char* name : {"conv1", "pool", "conv2", "sum", "y"}) {
      ExpectNear(*onednn_net->blob_by_name(name), *stock->blob_by_name(name),
                 false, name);
    }
    EXPECT_NEAR(onednn_net->blob_by_name("conv1")->asum_diff(),
                stock->blob_by_name("conv1")->asum_diff(),
                1e-4 * stock->blob_by_name("conv1")->asum_diff());
    for (size_t i = 0; i < onednn_net->params().size(); ++i) {
      const double sum = stock->params()[i]->sumsq_diff();
      EXPECT_NEAR(onednn_net->params()[i]->sumsq_diff(), sum, 1e-3 * sum + 1e-6)
          << "param " << i;
    }
  }
}

// In place from the input on, nothing below reads the gradient in Backward.
TEST_F(OnednnLayersTest, GradientsOutlastTheNextForward) {
  for (const std::string type : {"Scale", "BatchNorm"}) {
    const std::string layers = "layer { name: 's' type: '" + type
        + "' bottom: 'x' top: 'x' } "
          "layer { name: 'r' type: 'ReLU' bottom: 'x' top: 'x' } "
          "layer { name: 'p' type: 'Pooling' bottom: 'x' top: 'y'"
          " pooling_param { pool: AVE kernel_size: 2 } }";
    const auto onednn_net = Make(layers, true, {2, 16, 4, 4}, TRAIN);
    const auto stock = Make(layers, false, {2, 16, 4, 4}, TRAIN);
    for (Net<float>* net : {onednn_net.get(), stock.get()}) {
      Pass(net, true, 1);
      Pass(net, false, 20);
    }
    ExpectNear(*onednn_net->blob_by_name("x"), *stock->blob_by_name("x"), true,
               type);
  }
}

TEST_F(OnednnLayersTest, ValuesToBeOverwrittenAreNotComputed) {
  struct Unread : public AlternateLayout {
    void CopyTo(void*) const override { ADD_FAILURE() << "computed"; }
  };
  SyncedMemory values(4 * sizeof(float));
  values.write_alternate_layout(std::make_shared<Unread>());
  const memory plain = onednn::Write(&values, onednn::Plain({1, 4}), nullptr);
  static_cast<float*>(plain.get_data_handle())[3] = 7;
  EXPECT_EQ(static_cast<const float*>(values.cpu_data())[3], 7);
}

// Also where Caffe's own code would run: its Backward would write elsewhere.
TEST_F(OnednnLayersTest, BadWindowsWithoutAMaximum) {
  const std::string message =
      "layer 'p': some windows are outside of the image .* round_mode: FLOOR";
  const std::string options = "pool: MAX kernel_size: 1 stride: 2";
  EXPECT_DEATH(Make(Pooling(options), true, {1, 8, 3, 2}, TRAIN), message);
  const std::string with_mask =
      "layer { name: 'p' type: 'Pooling' bottom: 'x' top: 'y' top: 'mask'"
      " pooling_param { "
      + options + " } }";
  EXPECT_DEATH(Make(with_mask, true, {1, 8, 3, 2}, TRAIN), message);
  EXPECT_DEATH(Make(Pooling("pool: MAX kernel_size: 17 stride: 40"), true,
                    {1, 8, 18, 18}, TRAIN),
               message);
}

TEST_F(OnednnLayersTest, MoreAxesThanOnednnHas) {
  const std::string layers =
      "layer { name: 'r' type: 'ReLU' bottom: 'x' top: 'r' } "
      "layer { name: 'e' type: 'Eltwise' bottom: 'x' bottom: 'r' top: 'y' }";
  vector<int> shape(13, 1);
  shape[12] = 5;
  const auto onednn_net = Make(layers, true, shape, TRAIN);
  const auto stock = Make(layers, false, shape, TRAIN);
  for (Net<float>* net : {onednn_net.get(), stock.get()}) {
    Pass(net, true, 1);
  }
  ExpectNear(*onednn_net->blob_by_name("y"), *stock->blob_by_name("y"), false,
             "y");
  ExpectNear(*onednn_net->blob_by_name("x"), *stock->blob_by_name("x"), true,
             "x");
}

// Changes of plain values from outside take effect.
TEST_F(OnednnLayersTest, PlainValuesMayBeChangedInBetween) {
  const std::string layers =
      "layer { name: 'c' type: 'Convolution' bottom: 'x' top: 'c'"
      " convolution_param { num_output: 16 kernel_size: 1 } }"
      " layer { name: 'r' type: 'ReLU' bottom: 'c' top: 'y' }";
  const auto net = Make(layers, true, {2, 16, 4, 4}, TEST);
  Fill(net->blob_by_name("x").get(), false, 1);
  net->Forward();
  Blob<float>* middle = net->blob_by_name("c").get();
  EXPECT_TRUE(middle->data()->plain_is_stale()) << "no values stay blocked";
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
// oneDNN's layout, keeps its values.
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
  ASSERT_TRUE(net->blob_by_name("c")->data()->plain_is_stale())
      << "no values stay blocked";
  net->blob_by_name("x")->Reshape({1, 16, 4, 4});
  net->Reshape();
  net->ForwardFrom(2);
  ASSERT_EQ(y.count(), 256);
  for (int i = 0; i < 256; ++i) {
    ASSERT_NEAR(y.cpu_data()[i], first[i], 1e-5) << i;
    ASSERT_NE(first[i], 0) << "the comparison is void";
  }
}

// A pointer to the values of an input stays valid.
TEST_F(OnednnLayersTest, InputsMayBeWrittenThroughAPointerThatWasKept) {
  for (const std::string& layer :
       {Convolution("num_output: 16 kernel_size: 1"),
        std::string("layer { name: 's' type: 'Scale' bottom: 'x' top: 'y' }"),
        std::string("layer { name: 'n' type: 'BatchNorm' bottom: 'x'"
                    " top: 'y' }")}) {
    const auto onednn_net = Make(layer, true, {2, 16, 3, 3}, TRAIN);
    const auto stock = Make(layer, false, {2, 16, 3, 3}, TRAIN);
    float* kept[2] = {onednn_net->blob_by_name("x")->mutable_cpu_data(),
                      stock->blob_by_name("x")->mutable_cpu_data()};
    for (int pass = 0; pass < 3; ++pass) {
      for (float* values : kept) {
        for (int i = 0; i < 288; ++i) { values[i] = (i * 37 + pass * i) % 11; }
      }
      onednn_net->Forward();
      stock->Forward();
      ExpectNear(*onednn_net->blob_by_name("y"), *stock->blob_by_name("y"),
                 false, layer);
    }
  }
}

// A net that has diverged must not look healthy.
TEST_F(OnednnLayersTest, NaNStaysNaN) {
  const std::string relu =
      "layer { name: 'r' type: 'ReLU' bottom: 'y' top: 'y' }";
  for (const std::string& layers :
       {std::string("layer { name: 'r' type: 'ReLU' bottom: 'x' top: 'y' }"),
        Convolution("num_output: 16 kernel_size: 1") + relu,
        Convolution("num_output: 16 kernel_size: 1")
            + "layer { name: 'k' type: 'Clip' bottom: 'y' top: 'y'"
              " clip_param { min: 0 max: 6 } }"}) {
    const auto net = Make(layers, true, {2, 16, 3, 3}, TRAIN);
    Fill(net->blob_by_name("x").get(), false, 1);
    net->blob_by_name("x")->mutable_cpu_data()[0] = NAN;
    net->Forward();
    EXPECT_TRUE(std::isnan(net->blob_by_name("y")->cpu_data()[0])) << layers;
  }
}

TEST_F(OnednnLayersTest, NaNStaysNaNInOurLoops) {
  if (!onednn::Has(dnnl::cpu_isa::avx2)) {
    GTEST_SKIP() << "Winograd's algorithm needs AVX2";
  }
  const std::string convolution =
      Convolution("num_output: 32 kernel_size: 3 pad: 1");
  std::string fused = convolution;
  fused.replace(fused.find("'Convolution'"), 13, "'FusedConvolution'");
  fused.replace(fused.rfind('}'), 1, "clip_param { min: 0 max: 6 } }");
  for (const std::string& layers :
       {convolution, fused,
        convolution
            + "layer { name: 's' type: 'Scale' bottom: 'y' top: 'y' }"
              "layer { name: 'r' type: 'ReLU' bottom: 'y' top: 'y' }"}) {
    const auto net = Make(layers, true, {2, 32, 8, 8}, TEST);
    Fill(net->blob_by_name("x").get(), false, 1);
    net->blob_by_name("x")->mutable_cpu_data()[0] = NAN;
    net->Forward();
    EXPECT_TRUE(std::isnan(net->blob_by_name("y")->cpu_data()[0])) << layers;
  }
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

// Our own loops run on any processor in all layouts and types, whatever oneDNN
// chooses for its convolutions there.
TEST_F(OnednnLayersTest, BlocksOfAllKinds) {
  const std::string normalized =
      "layer { name: 'n' type: 'BatchNorm' bottom: 'x' top: 'y' }"
      "layer { name: 's' type: 'Scale' bottom: 'y' top: 'y' }"
      "layer { name: 'r' type: 'ReLU' bottom: 'y' top: 'y' }";
  const std::vector<std::string> all_layers = {
      Pooling("kernel_size: 3 stride: 2"),
      Pooling("pool: AVE kernel_size: 3 stride: 2"), normalized};
  for (auto tag : {memory::format_tag::nChw8c, memory::format_tag::nChw16c,
                   memory::format_tag::nhwc}) {
    for (auto type : {memory::data_type::f32, memory::data_type::bf16}) {
      const bool is_float = type == memory::data_type::f32;
      for (const std::string& layers : all_layers) {
        for (int channels : {20, 48}) {  // with and without whole blocks only
          const std::vector<int> shape = {3, channels, 9, 8};
          const auto onednn_net = Make(layers, true, shape, TRAIN);
          const auto stock = Make(layers, false, shape, TRAIN);
          Blob<float>* x = onednn_net->blob_by_name("x").get();
          Fill(x, false, 1);
          memory blocked(memory::desc(onednn::Dims(*x), type, tag),
                         onednn::Engine());
          onednn::Reorder(onednn::Wrap(onednn::Dims(*x), x->cpu_data()),
                          blocked);
          onednn::Put(x->data().get(), blocked);
          stock->blob_by_name("x")->CopyFrom(*x);
          onednn::Put(x->data().get(), blocked);
          for (Net<float>* net : {onednn_net.get(), stock.get()}) {
            net->Forward();
            Fill(net->blob_by_name("y").get(), true, 2);
            net->Backward();
          }
          const Blob<float>& y = *onednn_net->blob_by_name("y");
          EXPECT_TRUE(x->diff()->plain_is_stale());
          if (channels == 48) {  // as they are, without a copy
            Blob<float> gradient(shape);
            gradient.data()->write_alternate_layout(
                x->diff()->alternate_layout());
            EXPECT_TRUE(onednn::Values(gradient).get_desc()
                        == blocked.get_desc())
                << layers;
          }
          ExpectNear(y, *stock->blob_by_name("y"), false, "y of " + layers,
                     is_float ? 1e-6 : 1. / 256);
          ExpectNear(*x, *stock->blob_by_name("x"), true,
                     "gradient of x of " + layers, is_float ? 1e-5 : 1. / 100);
        }
      }
    }
  }
}

// All layers in bfloat16: equal to its 8 bits, except where rounding changes
// the sign of a value near 0 before ReLU. Weights and their gradients are
// float.
TEST_F(OnednnLayersTest, Bfloat16IsNearCaffesOwn) {
  if (!onednn::Has(dnnl::cpu_isa::avx512_core_bf16)) {
    GTEST_SKIP() << "this processor has no instructions for bfloat16";
  }
  const std::string layers =
      "layer { name: 'c' type: 'Convolution' bottom: 'x' top: 'c'"
      " convolution_param { num_output: 32 kernel_size: 3 pad: 1 weight_filler "
      "{"
      " type: 'msra' } } }"
      "layer { name: 'n' type: 'BatchNorm' bottom: 'c' top: 'c' }"
      "layer { name: 's' type: 'Scale' bottom: 'c' top: 'c' scale_param {"
      " bias_term: true } }"
      "layer { name: 'r' type: 'ReLU' bottom: 'c' top: 'c' relu_param {"
      " negative_slope: 0.1 } }"
      "layer { name: 'p' type: 'Pooling' bottom: 'c' top: 'p' pooling_param {"
      " pool: AVE kernel_size: 3 stride: 2 } }"
      "layer { name: 'd' type: 'Dropout' bottom: 'p' top: 'p' }"
      "layer { name: 'q' type: 'Pooling' bottom: 'p' top: 'q' pooling_param {"
      " kernel_size: 3 stride: 1 pad: 1 } }"
      "layer { name: 'e' type: 'Eltwise' bottom: 'p' bottom: 'q' top: 'e' }"
      "layer { name: 'c2' type: 'Convolution' bottom: 'e' top: 'y'"
      " convolution_param { num_output: 16 kernel_size: 1 weight_filler {"
      " type: 'msra' } } }";
  setenv("DNNH_BFLOAT16", "1", 1);
  const auto onednn_net = Make(layers, true, {8, 16, 12, 12}, TRAIN);
  unsetenv("DNNH_BFLOAT16");
  const auto stock = Make(layers, false, {8, 16, 12, 12}, TRAIN);
  for (unsigned pass = 0; pass < 2; ++pass) {
    Pass(onednn_net.get(), true, pass);
    Pass(stock.get(), true, pass);
    EXPECT_TRUE(onednn_net->blob_by_name("c")->data()->plain_is_stale());
    const float* y = onednn_net->blob_by_name("y")->cpu_data();
    const int count = onednn_net->blob_by_name("y")->count();
    EXPECT_TRUE(std::all_of(y, y + count, [](float value) {
      return __builtin_bit_cast(uint32_t, value) << 16 == 0;
    })) << "the values are not bfloat16";
    ExpectNear(*onednn_net->blob_by_name("y"), *stock->blob_by_name("y"), false,
               "y", 0.02);
    for (size_t i = 0; i < onednn_net->params().size(); ++i) {
      if (i == 1) { continue; }  // a bias before a normalization: rounding only
      ExpectNear(*onednn_net->params()[i], *stock->params()[i], true,
                 "gradient " + std::to_string(i), 0.08);
    }
    ExpectNear(*onednn_net->blob_by_name("x"), *stock->blob_by_name("x"), true,
               "gradient of x", 0.15);
  }
}

// Convolutions that compute the normalization that they read, of whole batches
// and, of large images, in parts; the last one of all at once with AMX, where
// oneDNN has reference code alone for a part of them.
TEST_F(OnednnLayersTest, Bfloat16ReadsNormalizations) {
  if (!onednn::Has(dnnl::cpu_isa::avx512_core_bf16)) {
    GTEST_SKIP() << "this processor has no instructions for bfloat16";
  }
  const auto normalized = [](int channels) {
    return "layer { name: 'a' type: 'Convolution' bottom: 'x' top: 'a'"
           " convolution_param { kernel_size: 1 bias_term: false weight_filler {"
           " type: 'gaussian' std: 0.1 } num_output: "
        + std::to_string(channels)
        + " } } layer { name: 'n' type: 'BatchNorm' bottom: 'a' top: 'a' }"
          "layer { name: 's' type: 'Scale' bottom: 'a' top: 'a' scale_param {"
          " bias_term: true } }"
          "layer { name: 'r' type: 'ReLU' bottom: 'a' top: 'a' relu_param {"
          " negative_slope: 0.1 } }";
  };
  const auto reader = [](const std::string& options) {
    std::string layer = Convolution(options);
    return layer.replace(layer.find("bottom: 'x'"), 11, "bottom: 'a'");
  };
  const int threads = omp_get_max_threads();
  omp_set_num_threads(1);
  for (const char* options :
       {"num_output: 48 kernel_size: 1", "num_output: 32 kernel_size: 3 pad: 1",
        "num_output: 16 kernel_size: 3 stride: 2 bias_term: false",
        "num_output: 32 kernel_size: 3 pad: 1 group: 4"}) {
    const std::string layers = normalized(32) + reader(options);
    for (Phase phase : {TRAIN, TEST}) {
      Compare(layers, {3, 8, 9, 8}, phase, true, kBfloat16);
    }
    Compare(layers, {6, 8, 64, 64}, TRAIN, true, kBfloat16);
  }
  Compare(normalized(384) + reader("num_output: 96 kernel_size: 1"),
          {64, 8, 8, 8}, TRAIN, true, kBfloat16);
  omp_set_num_threads(threads);
}

TEST_F(OnednnLayersTest, Bfloat16FusedConvolutions) {
  if (!onednn::Has(dnnl::cpu_isa::avx512_core_bf16)) {
    GTEST_SKIP() << "this processor has no instructions for bfloat16";
  }
  CompareFusedConvolutions(kBfloat16);
}

// Products are float; values are rounded where they are written.
TEST_F(OnednnLayersTest, WinogradsConvolutionInBfloat16) {
  if (!onednn::Has(dnnl::cpu_isa::avx512_core_bf16)
      || onednn::HasAmxFor(memory::data_type::bf16)) {
    GTEST_SKIP() << "this processor has no instructions for bfloat16, or AMX";
  }
  const std::string layer = Convolution("num_output: 48 kernel_size: 3 pad: 1");
  setenv("DNNH_BFLOAT16", "1", 1);
  const auto onednn_net = Make(layer, true, {4, 32, 14, 15}, TRAIN);
  unsetenv("DNNH_BFLOAT16");
  const auto stock = Make(layer, false, {4, 32, 14, 15}, TRAIN);
  Pass(onednn_net.get(), true, 1);
  Pass(stock.get(), true, 1);
  const double kRounding = 1. / 256;  // of a value that is summed, at most
  ExpectNear(*onednn_net->blob_by_name("y"), *stock->blob_by_name("y"), false,
             "y", kRounding);
  for (size_t i = 0; i < onednn_net->params().size(); ++i) {
    ExpectNear(*onednn_net->params()[i], *stock->params()[i], true,
               "gradient " + std::to_string(i), kRounding);
  }
  ExpectNear(*onednn_net->blob_by_name("x"), *stock->blob_by_name("x"), true,
             "gradient of x", kRounding);
}

}  // namespace caffe
