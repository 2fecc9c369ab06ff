#include <omp.h>

#include <algorithm>
#include <string>
#include <typeinfo>
#include <vector>

#include "caffe/layers/conv_layer.hpp"
#include "caffe/layers/pooling_layer.hpp"
#include "caffe/layers/relu_layer.hpp"

#include "layers/onednn/convolution.hpp"
#include "layers/onednn/onednn_test.hpp"

namespace caffe {

using dnnl::memory;

TEST_F(OnednnLayersTest, ReplaceCaffesOwn) {
  LayerParameter param;
  for (const char* type :
       {"Convolution", "ReLU", "Pooling", "BatchNorm", "Scale", "Dropout",
        "Eltwise", "Split", "Clip", "FusedConvolution"}) {
    param.set_type(type);
    param.clear_bottom();
    param.add_bottom("x");
    param.mutable_convolution_param()->set_num_output(1);
    const auto replacement = LayerRegistry<float>::CreateLayer(param);
    setenv("DNNH_ONEDNN", "0", 1);
    const auto stock = LayerRegistry<float>::CreateLayer(param);
    unsetenv("DNNH_ONEDNN");
    EXPECT_NE(typeid(*replacement), typeid(*stock)) << type;
  }
  param.mutable_convolution_param()->set_engine(
      ConvolutionParameter_Engine_CAFFE);
  param.mutable_pooling_param()->set_engine(PoolingParameter_Engine_CAFFE);
  param.mutable_relu_param()->set_engine(ReLUParameter_Engine_CAFFE);
  const auto stock = [&](const char* type) -> const std::type_info& {
    param.set_type(type);
    const auto layer = LayerRegistry<float>::CreateLayer(param);
    const Layer<float>& created = *layer;
    return typeid(created);
  };
  EXPECT_EQ(stock("Convolution"), typeid(ConvolutionLayer<float>));
  EXPECT_EQ(stock("Pooling"), typeid(PoolingLayer<float>));
  EXPECT_EQ(stock("ReLU"), typeid(ReLULayer<float>));
}

TEST_F(OnednnLayersTest, InstructionSets) {
  using dnnl::cpu_isa;
  EXPECT_TRUE(
      onednn::Includes(cpu_isa::avx512_core_bf16, cpu_isa::avx512_core));
  EXPECT_TRUE(onednn::Includes(cpu_isa::avx512_core, cpu_isa::avx2));
  EXPECT_FALSE(
      onednn::Includes(cpu_isa::avx512_core, cpu_isa::avx512_core_bf16));
  EXPECT_TRUE(
      onednn::Includes(cpu_isa::avx512_core_amx, cpu_isa::avx512_core_bf16));
  EXPECT_FALSE(
      onednn::Includes(cpu_isa::avx512_core_bf16, cpu_isa::avx512_core_amx));
  EXPECT_TRUE(onednn::Includes(cpu_isa::avx2_vnni, cpu_isa::avx2));
  EXPECT_FALSE(onednn::Includes(cpu_isa::avx2_vnni, cpu_isa::avx512_core));
  EXPECT_FALSE(onednn::Includes(cpu_isa::sse41, cpu_isa::avx2));
}

TEST_F(OnednnLayersTest, Convolutions) {
  const char* cases[] = {
      "num_output: 16 kernel_size: 3",
      "num_output: 5 kernel_size: 1",
      "num_output: 192 kernel_size: 5 pad: 2",
      "num_output: 20 kernel_size: 3 stride: 2 pad: 1",
      "num_output: 7 kernel_h: 2 kernel_w: 3 pad_h: 1 stride_h: 1 stride_w: 2",
      "num_output: 9 kernel_size: 3 dilation: 2 pad: 2",
      "num_output: 8 kernel_size: 3 bias_term: false",
      "num_output: 32 kernel_size: 3 axis: 1",
  };
  for (const char* options : cases) {
    for (int channels : {1, 3, 16, 21}) {
      Compare(Convolution(options), {2, channels, 9, 8});
    }
    ExpectOnednn(
        "layer { name: 'c2' type: 'Convolution' bottom: 'c' top: 'y'"
        " convolution_param { "
        + std::string(options) + " } }");
  }
  Compare(Convolution("num_output: 32 kernel_size: 3 group: 4"), {3, 16, 7, 7});
  for (int channels : {16, 32}) {  // in place, behind one that is not
    const std::string outputs = std::to_string(channels);
    Compare(Convolution("kernel_size: 1 num_output: " + outputs)
                + "layer { name: 'd' type: 'Convolution' bottom: 'y' top: 'y'"
                  " convolution_param { kernel_size: 3 pad: 1 num_output: "
                + outputs + " } }",
            {2, 8, 9, 8}, TEST, false);
  }
  Compare(Convolution("num_output: 6 kernel_size: 3 group: 3"), {3, 6, 7, 7});
}

TEST_F(OnednnLayersTest, ConvolutionsOfOnePixel) {
  for (const char* options :
       {"num_output: 24 kernel_size: 1",
        "num_output: 24 kernel_size: 1 bias_term: false",
        "num_output: 24 kernel_size: 1 stride: 2",
        // By oneDNN:
        "num_output: 24 kernel_size: 1 group: 3",
        "num_output: 24 kernel_size: 3 pad: 1",
        "num_output: 24 kernel_size: 1 pad: 1",
        "num_output: 24 kernel_size: 1 pad: 1 stride: 3"}) {
    Compare(Convolution(options), {5, 21, 1, 1});
  }
  Compare(Convolution("num_output: 24 kernel_size: 2"), {5, 21, 2, 2});
  // Behind others, which leave their values in blocks, or deferred.
  for (const char* outputs : {"24", "32"}) {
    Compare("layer { name: 'a' type: 'Convolution' bottom: 'x' top: 'a'"
            " convolution_param { kernel_size: 1 bias_term: false weight_filler {"
            " type: 'gaussian' std: 0.1 } num_output: "
                + std::string(outputs)
                + " } }"
                  "layer { name: 'p' type: 'Pooling' bottom: 'a' top: 'p'"
                  " pooling_param { pool: AVE global_pooling: true } }"
                  "layer { name: 'n' type: 'BatchNorm' bottom: 'p' top: 'p' }"
                  "layer { name: 's' type: 'Scale' bottom: 'p' top: 'p' }"
                  "layer { name: 'r' type: 'ReLU' bottom: 'p' top: 'p' }"
                  "layer { name: 'b' type: 'Convolution' bottom: 'p' top: 'y'"
                  " convolution_param { kernel_size: 1 num_output: 7"
                  " weight_filler { type: 'gaussian' std: 0.1 } } }",
            {16, 21, 2, 2});
  }
  Compare(FusedConvolution("num_output: 24 kernel_size: 1",
                           "clip_param { min: -2 max: 3 }"),
          {5, 21, 1, 1}, TEST, false);
}

// In place as otherwise. (Caffe's own layer computes something else in place.)
TEST_F(OnednnLayersTest, ConvolutionsOfOnePixelInPlace) {
  const auto y_of = [](const std::string& between) {
    const std::string layer =
        " convolution_param { kernel_size: 1 num_output: 24"
        " weight_filler { type: 'gaussian' std: 1 } } } ";
    const auto net =
        Make("layer { name: 'c' type: 'Convolution' bottom: 'x' top: '"
                 + between + "'" + layer
                 + "layer { name: 'd' type: 'Convolution' top: 'y' bottom: '"
                 + between + "'" + layer,
             true, {5, 21, 1, 1}, TEST);
    Pass(net.get(), false, 1);
    const float* y = net->blob_by_name("y")->cpu_data();
    return std::vector<float>(y, y + 5 * 24);
  };
  EXPECT_EQ(y_of("y"), y_of("z"));
}

// By Winograd's algorithm, in tiles that end beyond the images, with more tiles
// than are computed at once, in a block of channels and in several.
TEST_F(OnednnLayersTest, WinogradsConvolutions) {
  for (const char* options :
       {"num_output: 32 kernel_size: 3 pad: 1", "num_output: 48 kernel_size: 3",
        "num_output: 64 kernel_size: 3 pad: 2",
        "num_output: 32 kernel_size: 3 pad: 1 bias_term: false",
        "num_output: 32 kernel_size: 5 pad: 2",
        "num_output: 48 kernel_size: 5 bias_term: false",
        "num_output: 64 kernel_size: 5 pad: 4"}) {
    for (int channels : {32, 48}) {
      Compare(Convolution(options), {2, channels, 8, 8});
      Compare(Convolution(options), {3, channels, 11, 10});
      Compare(Convolution(options), {1, channels, 32, 37});
      Compare(Convolution(options), {2, channels, 11, 10}, TEST);
    }
  }
}

// Each thread adds up the gradients of its tiles; some have none.
TEST_F(OnednnLayersTest, OnThreads) {
  const int threads = omp_get_max_threads();
  omp_set_num_threads(3);
  Compare(Convolution("num_output: 32 kernel_size: 5 pad: 2"), {2, 32, 24, 25});
  Compare(Convolution("num_output: 32 kernel_size: 3 pad: 1"), {1, 32, 8, 8});
  Compare(Convolution("num_output: 32 kernel_size: 1 bias_term: false")
              + "layer { name: 'n' type: 'BatchNorm' bottom: 'y' top: 'y' }"
                "layer { name: 's' type: 'Scale' bottom: 'y' top: 'y' }"
                "layer { name: 'r' type: 'ReLU' bottom: 'y' top: 'y' relu_param"
                " { negative_slope: 0.1 } }",
          {3, 8, 6, 7});
  omp_set_num_threads(threads);
}

// In height and width, and of layers that run again on their own outputs.
TEST_F(OnednnLayersTest, ShapesThatChange) {
  const std::string layers =
      Convolution("num_output: 32 kernel_size: 3 pad: 1 bias_term: false")
      + "layer { name: 'n' type: 'BatchNorm' bottom: 'y' top: 'y' }"
        "layer { name: 's' type: 'Scale' bottom: 'y' top: 'y' scale_param {"
        " filler { value: 2 } } }"
        "layer { name: 'r' type: 'ReLU' bottom: 'y' top: 'y' relu_param {"
        " negative_slope: 0.1 } }";
  const auto onednn_net = Make(layers, true, {2, 32, 8, 8}, TRAIN);
  const auto stock = Make(layers, false, {2, 32, 8, 8}, TRAIN);
  const auto run = [&](std::vector<int> shape, bool again) {
    for (Net<float>* net : {onednn_net.get(), stock.get()}) {
      net->blob_by_name("x")->Reshape(shape);
      net->Reshape();
      net->ClearParamDiffs();
      Fill(net->blob_by_name("x").get(), false, 1);
      net->Forward();
      if (again) { net->ForwardFrom(2); }
      net->blob_by_name("y")
          ->cpu_data();  // may not change what it follows from
      Fill(net->blob_by_name("y").get(), true, 2);
      net->Backward();
    }
    ExpectNear(*onednn_net->blob_by_name("y"), *stock->blob_by_name("y"), false,
               "y");
    ExpectNear(*onednn_net->blob_by_name("x"), *stock->blob_by_name("x"), true,
               "gradient of x", 1e-4);
    ExpectNear(*onednn_net->params()[0], *stock->params()[0], true,
               "gradient of the weights", 1e-4);
  };
  run({2, 32, 8, 8}, false);
  run({2, 32, 12, 9}, false);
  run({3, 32, 9, 8}, true);
  run({2, 32, 8, 8}, false);
}

TEST_F(OnednnLayersTest, WhichConvolutionsAreWinograds) {
  const onednn::ConvolutionShape three = {
      {2, 32, 8, 8}, {64, 32, 3, 3}, {2, 64, 8, 8}, {1, 1}, {0, 0}, {1, 1}};
  onednn::ConvolutionShape five = three, one = three, strided = three,
                           dilated = three, grouped = three, few = three,
                           odd = three, far = three, uneven = three,
                           small = three;
  five.weights = {64, 32, 5, 5}, five.pads = {2, 2};
  one.weights = {64, 32, 1, 1}, one.pads = {0, 0};
  strided.strides = {2, 2}, strided.output = {2, 64, 4, 4};
  dilated.dilations = {1, 1}, dilated.output = {2, 64, 6, 6};
  grouped.weights = {2, 32, 16, 3, 3};
  few.source[1] = few.weights[1] = 16;
  odd.output[1] = odd.weights[0] = 36;
  far.pads = {3, 3}, far.output = {2, 64, 12, 12};
  uneven.weights = {64, 32, 3, 5}, uneven.pads = {1, 2};
  small.source = {2, 32, 5, 5}, small.output = {2, 64, 5, 5};
  const auto is_winograds = [](const onednn::ConvolutionShape& shape,
                               memory::data_type type) {
    const onednn::ConvolutionOptions options = {true, true, true, NULL};
    return onednn::MakeWinogradConvolution(shape, type, options) != nullptr;
  };
  const bool wide = onednn::Has(dnnl::cpu_isa::avx2);
  EXPECT_EQ(is_winograds(three, memory::data_type::f32), wide);
  EXPECT_EQ(is_winograds(three, memory::data_type::bf16),
            wide && !onednn::HasAmxFor(memory::data_type::bf16));
  EXPECT_EQ(is_winograds(five, memory::data_type::f32), wide);
  EXPECT_FALSE(is_winograds(five, memory::data_type::bf16));
  for (const auto& shape :
       {one, strided, dilated, grouped, few, odd, far, uneven, small}) {
    EXPECT_FALSE(is_winograds(shape, memory::data_type::f32));
  }
}

TEST_F(OnednnLayersTest, FusedConvolutions) {
  CompareFusedConvolutions(kFloat);
  ExpectOnednn(
      "layer { name: 'f' type: 'FusedConvolution' bottom: 'c' top: 'y'"
      " convolution_param { num_output: 32 kernel_size: 3 } }",
      TEST);
}

// Weights are prepared again where another shape takes another algorithm.
TEST_F(OnednnLayersTest, FusedConvolutionsOfShapesThatChange) {
  const std::string layer =
      FusedConvolution("num_output: 32 kernel_size: 3 pad: 1", "");
  if (onednn::Has(dnnl::cpu_isa::avx2)) {
    for (int size : {8, 5}) {
      const onednn::ConvolutionShape shape = {{2, 32, size, size},
                                              {32, 32, 3, 3},
                                              {2, 32, size, size},
                                              {1, 1},
                                              {0, 0},
                                              {1, 1}};
      const onednn::ConvolutionOptions options = {true, false, false, NULL};
      const auto winograds = onednn::MakeWinogradConvolution(
          shape, memory::data_type::f32, options);
      ASSERT_EQ(winograds != nullptr, size == 8);
    }
  }
  const auto ours = Make(layer, true, {2, 32, 8, 8}, TEST);
  const auto stock = Make(layer, false, {2, 32, 8, 8}, TEST);
  for (int size : {8, 5, 8}) {
    for (Net<float>* net : {ours.get(), stock.get()}) {
      net->blob_by_name("x")->Reshape({2, 32, size, size});
      Pass(net, false, size);
    }
    ExpectNear(*ours->blob_by_name("y"), *stock->blob_by_name("y"), false,
               "size " + std::to_string(size));
  }
}

TEST_F(OnednnLayersTest, Poolings) {
  for (const char* method : {"pool: MAX ", "pool: AVE "}) {
    for (const char* options :
         {"kernel_size: 2 stride: 2", "kernel_size: 3 stride: 2",
          "kernel_size: 3 stride: 1 pad: 1", "kernel_size: 3 stride: 2 pad: 1",
          "kernel_size: 2 stride: 3 round_mode: FLOOR",
          "kernel_h: 3 kernel_w: 2 stride_h: 2 stride_w: 1 pad_h: 1 pad_w: 0",
          "kernel_size: 3 stride: 2 round_mode: FLOOR",
          "global_pooling: true"}) {
      for (int size : {6, 7, 8}) {
        for (int channels : {3, 16, 21}) {
          for (Phase phase : {TRAIN, TEST}) {
            Compare(Pooling(std::string(method) + options),
                    {2, channels, size, size + 1}, phase);
          }
        }
      }
    }
    for (const char* options : {"kernel_size: 1", "global_pooling: true"}) {
      for (int channels : {16, 21}) {
        Compare(Pooling(std::string(method) + options), {2, channels, 1, 1});
      }
    }
    ExpectOnednn(
        "layer { name: 'p' type: 'Pooling' bottom: 'c' top: 'y'"
        " pooling_param { kernel_size: 3 stride: 2 "
        + std::string(method) + "} }");
  }
}

TEST_F(OnednnLayersTest, PoolingsOfLargeWindows) {
  Compare(Pooling("pool: MAX kernel_size: 16"), {2, 16, 17, 18});
  Compare(Pooling("pool: MAX kernel_size: 17"), {2, 16, 17, 18});
  Compare(Pooling("pool: AVE kernel_size: 17"), {2, 16, 17, 18});
}

// A layer behind changes their top in place.
TEST_F(OnednnLayersTest, PoolingsOfNetsThatEncode) {
  for (const char* method : {"pool: MAX ", "pool: AVE "}) {
    Compare(Pooling(std::string(method) + "kernel_size: 2 stride: 2")
                + "layer { name: 's' type: 'Scale' bottom: 'y' top: 'y'"
                  " scale_param { filler { type: 'gaussian' } } }",
            {2, 16, 6, 6}, TEST);
  }
}

// A net that has diverged must not look sound.
TEST_F(OnednnLayersTest, PoolingsKeepNaN) {
  for (int at : {0, 1, 3}) {  // of the first window
    for (const char* method : {"pool: MAX ", "pool: AVE "}) {
      const auto net =
          Make(Pooling(std::string(method) + "kernel_size: 2 stride: 2"), true,
               {1, 8, 2, 4}, TRAIN);
      Fill(net->blob_by_name("x").get(), false, 1);
      net->blob_by_name("x")->mutable_cpu_data()[at / 2 * 4 + at % 2] = NAN;
      net->Forward();
      const float* y = net->blob_by_name("y")->cpu_data();
      EXPECT_TRUE(std::isnan(y[0])) << method << at;
      EXPECT_TRUE(std::isfinite(y[1])) << method << at;
    }
  }
}

TEST_F(OnednnLayersTest, ReLUs) {
  for (const char* options : {"", "relu_param { negative_slope: 0.1 }",
                              "relu_param { negative_slope: -0.5 }"}) {
    const std::string relu = std::string("type: 'ReLU' ") + options;
    Compare("layer { name: 'r' bottom: 'x' top: 'y' " + relu + " }",
            {2, 3, 4, 5});
    Compare("layer { name: 'r' bottom: 'x' top: 'y' " + relu + " }", {4, 9});
    if (std::string(options).find('-') != std::string::npos) { continue; }
    // The larger one is split into ranges (elements.hpp).
    for (int size : {6, 40}) {
      Compare(Convolution("num_output: 20 kernel_size: 3 ")
                  + "layer { name: 'r' bottom: 'y' top: 'y' " + relu + " }",
              {2, 8, size, size});
    }
    ExpectOnednn("layer { name: 'r' bottom: 'c' top: 'y' " + relu + " }");
  }
}

TEST_F(OnednnLayersTest, Clips) {
  const std::string clip = " type: 'Clip' clip_param { min: -0.5 max: 1.5 } } ";
  Compare("layer { name: 'k' bottom: 'x' top: 'y'" + clip, {2, 3, 4, 5});
  Compare("layer { name: 'k' bottom: 'x' top: 'y'" + clip, {4, 9});
  for (int outputs : {32, 20}) {
    for (int size : {6, 40}) {
      Compare(
          "layer { name: 'c' type: 'Convolution' bottom: 'x' top: 'c'"
          " convolution_param { kernel_size: 1 num_output: "
              + std::to_string(outputs)
              + " } } layer { name: 'k' bottom: 'c' top: 'y'" + clip,
          {2, 8, size, size});
    }
  }
  Compare(Convolution("num_output: 32 kernel_size: 3")
              + "layer { name: 'k' bottom: 'y' top: 'y'" + clip,
          {2, 8, 6, 6});
  ExpectOnednn("layer { name: 'k' bottom: 'c' top: 'y'" + clip);
  Compare(
      "layer { name: 'k' bottom: 'x' top: 'y' type: 'Clip'"
      " clip_param { min: 1 max: -1 } }",
      {4, 9});
}

// The masks are those of Caffe's own layer, as the seed is the same.
TEST_F(OnednnLayersTest, Dropouts) {
  const std::string dropout =
      " type: 'Dropout' dropout_param { dropout_ratio: 0.3 } } ";
  for (Phase phase : {TRAIN, TEST}) {
    Compare("layer { name: 'd' bottom: 'x' top: 'y'" + dropout, {2, 3, 4, 5},
            phase);
    Compare("layer { name: 'd' bottom: 'x' top: 'y'" + dropout, {700, 90},
            phase);
    for (int outputs : {32, 20}) {
      Compare(
          Convolution("kernel_size: 3 num_output: " + std::to_string(outputs))
              + "layer { name: 'd' bottom: 'y' top: 'y'" + dropout,
          {2, 8, 30, 30}, phase);
    }
  }
  ExpectOnednn("layer { name: 'd' bottom: 'c' top: 'y'" + dropout);
  // In place there is nothing to do in TEST; values must stay in their layout.
  const auto net =
      Make(Convolution("num_output: 32 kernel_size: 3")
               + "layer { name: 'd' bottom: 'y' top: 'y'" + dropout,
           true, {2, 8, 6, 6}, TEST);
  net->Forward();
  EXPECT_TRUE(net->blob_by_name("y")->data()->plain_is_stale()
              || !onednn::Has(dnnl::cpu_isa::avx2));
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
      const std::string options =
          std::string(" scale_param { bias_term: ") + bias + " } }";
      Compare(scale + " bottom: 'x' top: 'y'" + options, shape);
      Compare(batch_norm + " bottom: 'x' top: 'y' batch_norm_param {"
              " moving_average_fraction: 0.9 } } "
              + scale + " bottom: 'y' top: 'y'" + options, shape);
    }
  }
  ExpectOnednn(batch_norm + " bottom: 'c' top: 'y' }");
  ExpectOnednn(scale
               + " bottom: 'c' top: 'y' scale_param { bias_term: true } }");
  // Caffe's own code runs if the bottom is not a batch of images.
  Compare(batch_norm + " bottom: 'x' top: 'y' }", {8, 12});
  Compare(scale + " bottom: 'x' top: 'y' scale_param { axis: 1 } }", {8, 12});
  Compare(scale + " bottom: 'x' top: 'y' scale_param { axis: 2 } }",
          {8, 3, 4, 5});
}

// In place, batch normalization, scale and ReLU are computed together
// (normalization.hpp), whatever is between or behind them.
TEST_F(OnednnLayersTest, NormalizationsInOnePass) {
  const std::string batch_norm =
      "layer { name: 'n' type: 'BatchNorm' bottom: 'y' top: 'y' } ";
  const std::string scale =
      "layer { name: 's' type: 'Scale' bottom: 'y' top: 'y' scale_param {"
      " bias_term: true } } ";
  const std::string second =
      "layer { name: 't' type: 'Scale' bottom: 'y' top: 'y' } ";
  const std::string relu =
      "layer { name: 'r' type: 'ReLU' bottom: 'y' top: 'y' relu_param {"
      " negative_slope: 0.1 } } ";
  const std::string second_relu =
      "layer { name: 'q' type: 'ReLU' bottom: 'y' top: 'y' relu_param {"
      " negative_slope: 0.3 } } ";
  const std::string tanh =
      "layer { name: 'h' type: 'TanH' bottom: 'y' top: 'y' } ";
  const std::string clip =
      "layer { name: 'k' type: 'Clip' bottom: 'y' top: 'y' clip_param {"
      " min: 0 max: 0.5 } } ";
  for (const std::string& layers :
       {batch_norm + scale + relu, batch_norm + relu, scale + relu,
        batch_norm + scale, batch_norm + scale + second + relu,
        batch_norm + second + scale, batch_norm + tanh + scale + relu,
        batch_norm + scale + tanh, batch_norm + batch_norm + relu,
        batch_norm + relu + second_relu, batch_norm + clip}) {
    std::string named = layers;  // two layers of a net have two names
    const size_t again = named.rfind("name: 'n'");
    if (again != named.find("name: 'n'")) {
      named.replace(again, 9, "name: 'm'");
    }
    for (int outputs : {32, 20}) {
      const std::string net =
          Convolution("bias_term: false kernel_size: 1 num_output: "
                      + std::to_string(outputs))
          + named;
      for (int size : {7, 1}) {
        Compare(net, {16, 8, size, size});
        Compare(net, {16, 8, size, size}, TEST);
      }
    }
  }
  // Backward, Caffe's own ReLU would take the signs that the scale has changed.
  Compare(
      Convolution("num_output: 32 kernel_size: 1") + batch_norm + relu + second,
      {3, 8, 6, 7}, TRAIN, false);
}

// What reads them computes them as it reads: all images at once or, of 6 and 7
// large ones, 4 and then the rest. They are not stored.
TEST_F(OnednnLayersTest, WhatReadsNormalizations) {
  const std::string normalized =
      "layer { name: 'a' type: 'Convolution' bottom: 'x' top: 'a'"
      " convolution_param { num_output: 32 kernel_size: 1 bias_term: false"
      " weight_filler { type: 'gaussian' std: 0.1 } } } "
      "layer { name: 'n' type: 'BatchNorm' bottom: 'a' top: 'a' } "
      "layer { name: 's' type: 'Scale' bottom: 'a' top: 'a' scale_param {"
      " bias_term: true } } "
      "layer { name: 'r' type: 'ReLU' bottom: 'a' top: 'a' relu_param {"
      " negative_slope: 0.1 } } ";
  const std::string two =
      "layer { name: 'c' type: 'Convolution' bottom: 'x' top: 'c'"
      " convolution_param { num_output: 8 kernel_size: 1 weight_filler {"
      " type: 'gaussian' std: 0.1 } } } "
      "layer { name: 'd' type: 'Convolution' bottom: 'a' top: 'd'"
      " convolution_param { num_output: 8 kernel_size: 1 weight_filler {"
      " type: 'gaussian' std: 0.1 } } } "
      "layer { name: 'e' type: 'Eltwise' bottom: 'c' bottom: 'd' top: 'y' }";
  const std::string readers[] = {
      Convolution("num_output: 8 kernel_size: 1"),
      Convolution("num_output: 32 kernel_size: 3 pad: 1"),  // Winograd's
      Convolution("num_output: 16 kernel_size: 3 stride: 2 bias_term: false"),
      Pooling("kernel_size: 3 stride: 2"),
      Pooling("pool: AVE kernel_size: 3 stride: 2 pad: 1"),
      two,
  };
  const int threads = omp_get_max_threads();
  omp_set_num_threads(1);  // more of them read more than 4 images at once
  for (std::string reader : readers) {
    reader.replace(reader.find("bottom: 'x'"), 11, "bottom: 'a'");
    Compare(normalized + reader, {3, 8, 9, 8});
    Compare(normalized + reader, {3, 8, 9, 8}, TEST);
    Compare(normalized + reader, {6, 8, 64, 64});
    if (!onednn::Has(dnnl::cpu_isa::avx2)) { continue; }
    const auto net = Make(normalized + reader, true, {6, 8, 64, 64}, TRAIN);
    Pass(net.get(), true, 1);
    const auto* deferred = dynamic_cast<onednn::Deferred*>(
        net->blob_by_name("a")->data()->alternate_layout().get());
    EXPECT_TRUE(deferred && !deferred->is_computed()) << reader;
  }
  for (std::string reader : {readers[0], readers[1]}) {
    reader.replace(reader.find("bottom: 'x'"), 11, "bottom: 'a'");
    reader.replace(reader.find("'Convolution'"), 13, "'FusedConvolution'");
    reader.replace(reader.rfind('}'), 1, "clip_param { min: 0 max: inf } }");
    Compare(normalized + reader, {6, 8, 64, 64}, TEST, false);
  }
  omp_set_num_threads(threads);
}

TEST_F(OnednnLayersTest, NormalizationsWaitForWhoReads) {
  const auto net =
      Make(Convolution("num_output: 32 kernel_size: 3")
               + "layer { name: 'n' type: 'BatchNorm' bottom: 'y' top: 'y' } "
                 "layer { name: 's' type: 'Scale' bottom: 'y' top: 'y'"
                 " scale_param { filler { value: 2 } } } "
                 "layer { name: 'r' type: 'ReLU' bottom: 'y' top: 'y'"
                 " relu_param { negative_slope: 0.5 } }",
           true, {2, 16, 6, 6}, TRAIN);
  const auto waits = [](const SyncedMemory& values) {
    return dynamic_cast<onednn::Deferred*>(values.alternate_layout().get())
        != nullptr;
  };
  const Blob<float>& y = *net->blob_by_name("y");
  Fill(net->blob_by_name("x").get(), false, 1);
  net->ForwardTo(3);
  EXPECT_TRUE(waits(*y.data()));
  net->ForwardFrom(4);
  EXPECT_TRUE(waits(*y.data()));
  Fill(net->blob_by_name("y").get(), true, 2);
  net->BackwardFromTo(4, 3);
  EXPECT_TRUE(waits(*y.diff()));
  net->BackwardFromTo(2, 2);
  EXPECT_FALSE(waits(*y.diff()));
  // Read between: the values of the scale, and the same ones again.
  net->ForwardTo(3);
  const std::vector<float> read(y.cpu_data(), y.cpu_data() + y.count());
  EXPECT_LT(*std::min_element(read.begin(), read.end()), 0);
  net->ForwardFrom(4);
  for (int i = 0; i < y.count(); ++i) {
    ASSERT_FLOAT_EQ(y.cpu_data()[i], std::max(read[i], 0.5f * read[i]));
  }
  // Gradients that are read between, as Caffe's debug_info does.
  const Blob<float>& x = *net->blob_by_name("x");
  Fill(net->blob_by_name("y").get(), true, 2);
  net->Backward();
  const std::vector<float> expected(x.cpu_diff(), x.cpu_diff() + x.count());
  Fill(net->blob_by_name("y").get(), true, 2);
  for (int layer = 4; layer > 0; --layer) {
    net->BackwardFromTo(layer, layer);
    EXPECT_GT(y.asum_diff(), 0);
  }
  for (int i = 0; i < x.count(); ++i) {
    ASSERT_NEAR(x.cpu_diff()[i], expected[i], 1e-5);
  }
}

TEST_F(OnednnLayersTest, Sums) {
  const std::string sum =
      "layer { name: 'e' type: 'Eltwise' bottom: 'c' bottom: 'd' top: 'y'"
      " eltwise_param { ";
  const auto convolution = [](const std::string& name, int outputs) {
    return "layer { name: '" + name + "' type: 'Convolution' bottom: 'x' top: '"
        + name + "' convolution_param { kernel_size: 3 num_output: "
        + std::to_string(outputs) + " } } ";
  };
  for (const char* options :
       {"", "coeff: 1 coeff: -1", "coeff: 0.5 coeff: 2", "operation: MAX"}) {
    for (int outputs : {32, 20}) {
      for (int size : {6, 40}) {  // the larger one is split into ranges
        Compare(convolution("c", outputs) + convolution("d", outputs) + sum
                    + options + " } }",
                {2, 8, size, size});
      }
    }
  }
  // Three; one of them plain; plain values alone; in place.
  Compare(convolution("c", 32) + convolution("d", 32) + convolution("f", 32)
              + "layer { name: 'e' type: 'Eltwise' bottom: 'c' bottom: 'd'"
                " bottom: 'f' top: 'y' eltwise_param { coeff: 1 coeff: 2"
                " coeff: 3 } }",
          {2, 8, 6, 6});
  Compare(
      "layer { name: 'c' type: 'Convolution' bottom: 'x' top: 'c'"
      " convolution_param { kernel_size: 1 num_output: 8 } } "
      "layer { name: 'd' type: 'Power' bottom: 'x' top: 'd' } "
          + sum + " } }",
      {2, 8, 6, 6});
  Compare(
      "layer { name: 'c' type: 'Power' bottom: 'x' top: 'c' } "
      "layer { name: 'd' type: 'TanH' bottom: 'x' top: 'd' } "
          + sum + " } }",
      {3, 7});
  ExpectOnednn("layer { name: 'd' type: 'ReLU' bottom: 'c' top: 'd' } " + sum
               + " } }");
}

// What a residual block does: a blob is read twice, and its gradients are
// added. (With 32 channels, the rounding of Winograd's algorithm would move
// some maxima.)
TEST_F(OnednnLayersTest, ResidualBlocks) {
  for (int channels : {16, 20}) {
    const std::string outputs = std::to_string(channels);
    const std::string block =
        "layer { name: 'c' type: 'Convolution' bottom: 'x' top: 'c'"
        " convolution_param { kernel_size: 5 pad: 2 num_output: " + outputs
        + " } } "
          "layer { name: 'd' type: 'Convolution' bottom: 'c' top: 'd'"
          " convolution_param { kernel_size: 5 pad: 2 num_output: " + outputs
        + " } } "
          "layer { name: 'r' type: 'ReLU' bottom: 'd' top: 'd' } "
          "layer { name: 'f' type: 'Pooling' bottom: 'c' top: 'f'"
          " pooling_param { kernel_size: 3 stride: 1 pad: 1 } } "
          "layer { name: 'e' type: 'Eltwise' bottom: 'c' bottom: 'd'"
          " bottom: 'f' top: 'y' }";
    Compare(block, {2, channels, 7, 6});
    if (!onednn::Has(dnnl::cpu_isa::avx2)) { continue; }
    const auto net = Make(block, true, {2, channels, 7, 6}, TRAIN);
    Pass(net.get(), true, 1);
    EXPECT_TRUE(net->blob_by_name("y")->data()->plain_is_stale());
    EXPECT_TRUE(net->blob_by_name("c")->diff()->plain_is_stale());
  }
}

// A sum behind Winograd's algorithm, without ReLU and maxima.
TEST_F(OnednnLayersTest, SumsOfWinogradsConvolutions) {
  const auto convolution = [](const std::string& name, const char* bottom) {
    return "layer { name: '" + name + "' type: 'Convolution' bottom: '"
        + bottom + "' top: '" + name
        + "' convolution_param { kernel_size: 3 pad: 1 num_output: 32"
          " weight_filler { type: 'gaussian' std: 0.1 } } } ";
  };
  Compare(convolution("c", "x") + convolution("d", "c")
              + "layer { name: 'e' type: 'Eltwise' bottom: 'c' bottom: 'd'"
                " top: 'y' }",
          {2, 32, 9, 8});
}

TEST_F(OnednnLayersTest, NoGradientUnlessRequested) {
  for (int channels : {16, 32}) {  // 32: by Winograd's algorithm
    const auto net = Make(Convolution("num_output: 32 kernel_size: 3"), true,
                          {2, channels, 8, 8}, TRAIN);
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
    layer->set_param_propagate_down(0, true);
    layer->set_param_propagate_down(1, false);
    net->ClearParamDiffs();
    layer->Backward({net->blob_by_name("y").get()}, {false},
                    {net->blob_by_name("x").get()});
    EXPECT_GT(net->params()[0]->asum_diff(), 0);
    EXPECT_EQ(net->params()[1]->asum_diff(), 0);
  }
}

TEST_F(OnednnLayersTest, ScaleWithFrozenParameters) {
  const std::string layers =
      Convolution("num_output: 32 kernel_size: 3")
      + "layer { name: 's' type: 'Scale' bottom: 'y' top: 'y'"
        " scale_param { bias_term: true filler { value: 2 } } }";
  for (int learned : {0, 1, 2, 3}) {
    const auto onednn_net = Make(layers, true, {2, 16, 8, 8}, TRAIN);
    const auto stock = Make(layers, false, {2, 16, 8, 8}, TRAIN);
    for (Net<float>* net : {onednn_net.get(), stock.get()}) {
      for (int i : {0, 1}) {
        net->layer_by_name("s")->set_param_propagate_down(i, learned >> i & 1);
      }
      Pass(net, true, 1);
    }
    for (int i : {0, 1}) {
      const Blob<float>& blob = *onednn_net->layer_by_name("s")->blobs()[i];
      ExpectNear(blob, *stock->layer_by_name("s")->blobs()[i], true,
                 "gradient of blob " + std::to_string(i));
      EXPECT_EQ(blob.asum_diff() != 0, (learned >> i & 1) != 0);
    }
    ExpectNear(*onednn_net->blob_by_name("x"), *stock->blob_by_name("x"), true,
               "gradient of x");
  }
}

// A gradient that goes no further does not wait: the next Forward would change
// it.
TEST_F(OnednnLayersTest, GradientsThatEnd) {
  for (const char* type : {"BatchNorm", "Scale"}) {
    const auto net =
        Make(Convolution("num_output: 32 kernel_size: 3")
                 + "layer { name: 'n' type: '" + type
                 + "' bottom: 'y' top: 'y' }"
                   "layer { name: 'r' type: 'ReLU' bottom: 'y' top: 'y' }",
             true, {2, 16, 6, 6}, TRAIN);
    Pass(net.get(), false, 1);
    Blob<float>* y = net->blob_by_name("y").get();
    Fill(y, true, 2);
    net->BackwardFromTo(3, 3);
    net->layer_by_name("n")->Backward({y}, {false}, {y});
    EXPECT_EQ(
        dynamic_cast<onednn::Deferred*>(y->diff()->alternate_layout().get()),
        nullptr);
  }
}

}  // namespace caffe
