#include <string>
#include <vector>

#include "caffe/net.hpp"
#include "caffe/sgd_solvers.hpp"

#include "layers/layer_test.hpp"
#include "layers/piecewise_threshold_layer.hpp"
#include "layers/temporary_folder.hpp"

namespace caffe {

template <typename D>
class PiecewiseThresholdLayerTest : public LayerTest<D> {
 protected:
  typedef typename D::Dtype Dtype;

  void SetUp() override {
    LayerTest<D>::SetUp();
    values_.Reshape(vector<int>{2, 3});
    bottom_ = {&values_};
    top_ = {&codes_};
  }

  static LayerParameter Param(const std::string& fields,
                              const std::string& phase = "TEST") {
    return LayerTest<D>::Parse("name: 'cut' phase: " + phase
                               + " piecewise_threshold_param { " + fields
                               + " }");
  }

  Blob<Dtype> values_, codes_;
  vector<Blob<Dtype>*> bottom_, top_;
};

TYPED_TEST_SUITE(PiecewiseThresholdLayerTest, Devices, DeviceNames);

// Corners: epsilon 0.25 makes 0.25 and 0.75, exact in binary; both belong to
// the identity piece, for the value and for the gradient.
TYPED_TEST(PiecewiseThresholdLayerTest, PiecesAndCorners) {
  typedef typename TypeParam::Dtype Dtype;
  const Dtype below = std::nextafter(Dtype(0.25), Dtype(0));
  const Dtype above = std::nextafter(Dtype(0.75), Dtype(1));
  const Dtype expected[6] = {0, 0.25, 0.5, 0.75, 1, 1};
  const Dtype slope[6] = {0, 1, 1, 1, 0, 0};
  for (bool in_place : {false, true}) {
    this->Copy({below, 0.25, 0.5, 0.75, above, 1}, &this->values_);
    PiecewiseThresholdLayer<Dtype> layer(this->Param("epsilon: 0.25"));
    const vector<Blob<Dtype>*>& top = in_place ? this->bottom_ : this->top_;
    layer.SetUp(this->bottom_, top);
    layer.Forward(this->bottom_, top);
    for (int i = 0; i < 6; ++i) {
      EXPECT_EQ(top[0]->cpu_data()[i], expected[i]) << i;
      top[0]->mutable_cpu_diff()[i] = i + 1;
    }
    layer.Backward(top, {true}, this->bottom_);
    for (int i = 0; i < 6; ++i) {
      EXPECT_EQ(this->values_.cpu_diff()[i], slope[i] * (i + 1)) << i;
    }
  }
}

// A sigmoid does not output these. Eq. 6 rounds them, and the slope there is 0.
TYPED_TEST(PiecewiseThresholdLayerTest, ValuesOutsideOfZeroToOne) {
  typedef typename TypeParam::Dtype Dtype;
  const Dtype expected[6] = {0, 0, 0.5, 1, 1, 1};
  const Dtype slope[6] = {0, 1, 1, 1, 0, 0};
  this->Copy({-0.2, 0, 0.5, 1, 1.2, 7}, &this->values_);
  PiecewiseThresholdLayer<Dtype> layer((LayerParameter()));
  layer.SetUp(this->bottom_, this->top_);
  layer.Forward(this->bottom_, this->top_);
  for (int i = 0; i < 6; ++i) {
    EXPECT_EQ(this->codes_.cpu_data()[i], expected[i]) << i;
    this->codes_.mutable_cpu_diff()[i] = i + 1;
  }
  layer.Backward(this->top_, {true}, this->bottom_);
  for (int i = 0; i < 6; ++i) {
    EXPECT_EQ(this->values_.cpu_diff()[i], slope[i] * (i + 1)) << i;
  }
}

TYPED_TEST(PiecewiseThresholdLayerTest, EpsilonOneHalfIsTheIdentity) {
  typedef typename TypeParam::Dtype Dtype;
  this->Copy({0, 0.01, 0.4, 0.6, 0.99, 1}, &this->values_);
  PiecewiseThresholdLayer<Dtype> layer((LayerParameter()));
  layer.SetUp(this->bottom_, this->top_);
  layer.Forward(this->bottom_, this->top_);
  for (int i = 0; i < 6; ++i) {
    EXPECT_EQ(this->codes_.cpu_data()[i], this->values_.cpu_data()[i]);
  }
}

TYPED_TEST(PiecewiseThresholdLayerTest, NaNStaysNaN) {
  typedef typename TypeParam::Dtype Dtype;
  this->Copy({NAN, 0, 0, 0, 0, 0}, &this->values_);
  PiecewiseThresholdLayer<Dtype> layer(this->Param("epsilon: 0.25"));
  layer.SetUp(this->bottom_, this->top_);
  layer.Forward(this->bottom_, this->top_);
  EXPECT_TRUE(std::isnan(this->codes_.cpu_data()[0]));
}

TYPED_TEST(PiecewiseThresholdLayerTest, Gradients) {
  typedef typename TypeParam::Dtype Dtype;
  // Steps of 1e-2 stay clear of the corners 0.3 and 0.7.
  this->Copy({0.05, 0.2, 0.35, 0.5, 0.65, 0.9}, &this->values_);
  PiecewiseThresholdLayer<Dtype> layer(this->Param("epsilon: 0.2"));
  layer.SetUp(this->bottom_, this->top_);
  layer.set_param_propagate_down(0, false);  // as a net does: lr_mult is 0
  this->CheckGradients(&layer, this->bottom_, this->top_);
}

TYPED_TEST(PiecewiseThresholdLayerTest, PropagateDownOff) {
  typedef typename TypeParam::Dtype Dtype;
  this->FillUniform(0.4, 0.6, &this->values_);
  PiecewiseThresholdLayer<Dtype> layer((LayerParameter()));
  layer.SetUp(this->bottom_, this->top_);
  layer.Forward(this->bottom_, this->top_);
  caffe_set(6, Dtype(9), this->values_.mutable_cpu_diff());
  layer.Backward(this->top_, {false}, this->bottom_);
  EXPECT_EQ(this->values_.asum_diff(), 54);
}

TYPED_TEST(PiecewiseThresholdLayerTest, BatchSizeMayChange) {
  typedef typename TypeParam::Dtype Dtype;
  PiecewiseThresholdLayer<Dtype> layer(this->Param("epsilon: 0.25"));
  this->FillUniform(0, 1, &this->values_);
  layer.SetUp(this->bottom_, this->top_);
  for (int num : {50, 1}) {
    this->values_.Reshape(vector<int>{num, 3});
    this->FillUniform(0.3, 0.7, &this->values_);
    layer.Reshape(this->bottom_, this->top_);
    layer.Forward(this->bottom_, this->top_);
    ASSERT_EQ(this->codes_.shape(), this->values_.shape());
    caffe_set(3 * num, Dtype(1), this->codes_.mutable_cpu_diff());
    layer.Backward(this->top_, {true}, this->bottom_);
    EXPECT_EQ(this->values_.asum_diff(), 3 * num);
  }
}

TYPED_TEST(PiecewiseThresholdLayerTest, BadInput) {
  typedef typename TypeParam::Dtype Dtype;
  const char* cases[][2] = {
      {"epsilon: 0", "'cut': epsilon is 0, .*epsilon: 0.5"},
      {"epsilon: 0.6", "'cut': epsilon is 0.6, .*at most 0.5"},
      {"epsilon: nan", "'cut': epsilon is -?nan"},
      {"gamma: 0", "'cut': gamma is 0, .*gamma: 0.8"},
      {"gamma: 1.25", "'cut': gamma is 1.25, .*at most 1"},
      {"stepsize: 0", "'cut': stepsize is 0, .*stepsize: 20000"}};
  for (const auto& bad : cases) {
    PiecewiseThresholdLayer<Dtype> layer(this->Param(bad[0]));
    EXPECT_DEATH(layer.SetUp(this->bottom_, this->top_), bad[1]) << bad[0];
  }
  for (double count : {-1., std::nan("")}) {
    PiecewiseThresholdLayer<Dtype> layer(this->Parse("name: 'th'"));
    layer.SetUp(this->bottom_, this->top_);
    layer.blobs()[0]->mutable_cpu_data()[0] = count;
    EXPECT_DEATH(layer.Forward(this->bottom_, this->top_),
                 "'th': the number of training iterations is not 0 or more");
  }
  PiecewiseThresholdLayer<Dtype> given(
      this->Parse("name: 'th' blobs { shape { dim: 2 } data: 1 data: 1 }"));
  EXPECT_DEATH(given.SetUp(this->bottom_, this->top_),
               "'th': blob 0 has shape 2 .*needs 1 ");
}

// --- the schedule, in a solver ----------------------------------------------

std::vector<const char*> SnapshotFormats() {
#ifdef USE_HDF5
  return {"BINARYPROTO", "HDF5"};
#else
  return {"BINARYPROTO"};
#endif
}

// One weight w per input, a sigmoid, the threshold and a Euclidean loss: enough
// of a net to train. epsilon is halved after every 3 training iterations.
template <typename D>
class PiecewiseThresholdScheduleTest : public LayerTest<D> {
 protected:
  typedef typename D::Dtype Dtype;

  static SolverParameter Solver(const std::string& fields = "") {
    SolverParameter param;
    CHECK(google::protobuf::TextFormat::ParseFromString(
        std::string(
            "base_lr: 0.1 lr_policy: 'fixed' momentum: 0.9"
            " weight_decay: 0.01 max_iter: 1000 snapshot_after_train: false"
            " net_param {"
            "  layer { name: 'data' type: 'DummyData' top: 'x' top: 'y'"
            "    dummy_data_param { shape { dim: 4 dim: 6 } shape { dim: 4 "
            "dim: 3 }"
            "      data_filler { type: 'constant' value: 0.5 }"
            "      data_filler { type: 'constant' value: 1 } } }"
            "  layer { name: 'encode' type: 'DivideAndEncode' bottom: 'x' top: "
            "'e'"
            "    divide_and_encode_param { num_output: 3"
            "      weight_filler { type: 'gaussian' std: 0.1 } } }"
            "  layer { name: 'sigmoid' type: 'Sigmoid' bottom: 'e' top: 'e' }"
            "  layer { name: 'cut' type: 'PiecewiseThreshold' bottom: 'e' top: "
            "'c'"
            "    piecewise_threshold_param { epsilon: 0.5 gamma: 0.5 stepsize: "
            "3 } }"
            "  layer { name: 'loss' type: 'EuclideanLoss' bottom: 'c' bottom: "
            "'y'"
            "    top: 'loss' } }")
            + fields,
        &param))
        << fields;
    param.set_solver_mode(D::mode == Caffe::GPU
                              ? SolverParameter_SolverMode_GPU
                              : SolverParameter_SolverMode_CPU);
    return param;
  }

  static PiecewiseThresholdLayer<Dtype>* Threshold(
      const shared_ptr<Net<Dtype>>& net) {
    return static_cast<PiecewiseThresholdLayer<Dtype>*>(
        net->layer_by_name("cut").get());
  }
  static Dtype Count(const shared_ptr<Net<Dtype>>& net) {
    return Threshold(net)->blobs()[0]->cpu_data()[0];
  }
  // epsilon after `count` iterations, measured from outside: the largest
  // distance from 0.5 at which the layer is still the identity, to 1e-3. It
  // uses a layer in TEST, which does not change the count.
  static Dtype Epsilon(const Dtype count) {
    LayerParameter param = LayerTest<D>::Parse(
        "phase: TEST piecewise_threshold_param"
        " { epsilon: 0.5 gamma: 0.5 stepsize: 3 }");
    PiecewiseThresholdLayer<Dtype> layer(param);
    // Excludes 1 itself, which stays 1 for any epsilon.
    Blob<Dtype> values(vector<int>(1, 500)), codes;
    for (int i = 0; i < 500; ++i) {
      values.mutable_cpu_data()[i] = 0.5 + i * 1e-3;
    }
    layer.SetUp({&values}, {&codes});
    layer.blobs()[0]->mutable_cpu_data()[0] = count;
    layer.Forward({&values}, {&codes});
    Dtype epsilon = 0;
    for (int i = 0; i < 500; ++i) {
      if (codes.cpu_data()[i] == values.cpu_data()[i]) { epsilon = i * 1e-3; }
    }
    return epsilon;
  }
};

TYPED_TEST_SUITE(PiecewiseThresholdScheduleTest, Devices, DeviceNames);

TYPED_TEST(PiecewiseThresholdScheduleTest, DecaysAfterEveryStepsize) {
  const double expected[] = {0.5, 0.5, 0.5, 0.25, 0.25, 0.25, 0.125, 0.125};
  for (int count = 0; count < 8; ++count) {
    EXPECT_NEAR(this->Epsilon(count), expected[count], 1.01e-3) << count;
  }
}

// The TRAIN pass of iteration k uses the epsilon for k completed iterations.
// The output of the threshold in the train net shows it.
TYPED_TEST(PiecewiseThresholdScheduleTest, TrainingUsesTheIterationsEpsilon) {
  typedef typename TypeParam::Dtype Dtype;
  SGDSolver<Dtype> solver(this->Solver());
  PiecewiseThresholdLayer<Dtype>* layer = this->Threshold(solver.net());
  Blob<Dtype> values(vector<int>(1, 1)), codes;
  for (int iteration = 0; iteration < 7; ++iteration) {
    const Dtype epsilon = 0.5 * std::pow(0.5, iteration / 3);
    for (int pass = 0; pass < 2; ++pass) {  // two passes, as with iter_size 2
      values.mutable_cpu_data()[0] = 0.5 + 0.98 * epsilon;
      layer->Reshape({&values}, {&codes});
      layer->Forward({&values}, {&codes});
      EXPECT_EQ(codes.cpu_data()[0], values.cpu_data()[0]);
      if (epsilon < 0.5) {
        values.mutable_cpu_data()[0] = 0.5 + 1.02 * epsilon;
        layer->Forward({&values}, {&codes});
        EXPECT_EQ(codes.cpu_data()[0], 1);
      }
    }
    EXPECT_EQ(this->Count(solver.net()), iteration + 1);
    solver.net()->ClearParamDiffs();  // ends an iteration
  }
}

TYPED_TEST(PiecewiseThresholdScheduleTest, CountsTrainingIterations) {
  typedef typename TypeParam::Dtype Dtype;
  SGDSolver<Dtype> solver(this->Solver());
  EXPECT_EQ(this->Count(solver.net()), 0);
  solver.Step(5);
  EXPECT_EQ(this->Count(solver.net()), 5);
}

TYPED_TEST(PiecewiseThresholdScheduleTest, IterSizeIsOneIteration) {
  typedef typename TypeParam::Dtype Dtype;
  for (const char* fields :
       {"iter_size: 4", "iter_size: 4 clip_gradients: 1e-3"}) {
    SGDSolver<Dtype> solver(this->Solver(fields));
    solver.Step(5);
    EXPECT_EQ(this->Count(solver.net()), 5) << fields;
  }
}

TYPED_TEST(PiecewiseThresholdScheduleTest, TestPhaseDoesNotCount) {
  typedef typename TypeParam::Dtype Dtype;
  SGDSolver<Dtype> solver(this->Solver("test_iter: 3 test_interval: 1"));
  solver.Step(4);
  EXPECT_EQ(this->Count(solver.net()), 4);
  // The TEST net reads the count of the TRAIN net.
  EXPECT_EQ(this->Count(solver.test_nets()[0]), 4);
}

// No type of solver, with decay and clipping, changes the count.
TYPED_TEST(PiecewiseThresholdScheduleTest, SolversDoNotMoveTheCount) {
  typedef typename TypeParam::Dtype Dtype;
  for (const char* type :
       {"SGD", "Nesterov", "AdaGrad", "RMSProp", "AdaDelta", "Adam"}) {
    SolverParameter param = this->Solver("clip_gradients: 1e-3");
    param.set_type(type);
    if (std::string(type) == "AdaGrad" || std::string(type) == "RMSProp") {
      param.set_momentum(0);
    }
    if (std::string(type) == "RMSProp") { param.set_rms_decay(0.9); }
    shared_ptr<caffe::Solver<Dtype>> solver(
        SolverRegistry<Dtype>::CreateSolver(param));
    solver->Step(10);
    EXPECT_EQ(this->Count(solver->net()), 10) << type;
  }
}

// With clip_gradients, training with a threshold that is the identity equals
// training without the layer: the mark does not contribute to the norm.
TYPED_TEST(PiecewiseThresholdScheduleTest, ClippingDoesNotSeeTheMark) {
  typedef typename TypeParam::Dtype Dtype;
  SolverParameter with = this->Solver("clip_gradients: 1e-2");
  SolverParameter without = with;
  const int threshold = 3;
  ASSERT_EQ(with.net_param().layer(threshold).type(), "PiecewiseThreshold");
  with.mutable_net_param()
      ->mutable_layer(threshold)
      ->mutable_piecewise_threshold_param()
      ->set_gamma(1);
  without.mutable_net_param()->mutable_layer(threshold)->set_type("Split");
  vector<Dtype> weights[2];
  for (int k = 0; k < 2; ++k) {
    Caffe::set_random_seed(3);
    SGDSolver<Dtype> solver(k ? with : without);
    solver.Step(3);
    const Blob<Dtype>& blob =
        *solver.net()->layer_by_name("encode")->blobs()[0];
    weights[k].assign(blob.cpu_data(), blob.cpu_data() + blob.count());
  }
  EXPECT_EQ(weights[0], weights[1]);
}

// Weights are copied for a new training: epsilon starts anew. A net in TEST
// encodes as the trained one does.
TYPED_TEST(PiecewiseThresholdScheduleTest, WeightsStartTheScheduleAnew) {
  typedef typename TypeParam::Dtype Dtype;
  const TemporaryFolder folder;
  for (const char* format : SnapshotFormats()) {
    const std::string prefix = folder / format;
    const SolverParameter param =
        this->Solver(std::string("snapshot_format: ") + format
                     + " snapshot_prefix: '" + prefix + "'");
    SGDSolver<Dtype> trained(param);
    trained.Step(4);
    trained.Snapshot();
    const std::string model = prefix + "_iter_4.caffemodel"
        + (std::string(format) == "HDF5" ? ".h5" : "");
    SolverParameter fine_tuning = param;
    fine_tuning.add_weights(model);
    SGDSolver<Dtype> fine_tuned(fine_tuning);
    EXPECT_EQ(this->Count(fine_tuned.net()), 0) << format;
    const Blob<Dtype>& expected =
        *trained.net()->layer_by_name("encode")->blobs()[0];
    const Blob<Dtype>& weights =
        *fine_tuned.net()->layer_by_name("encode")->blobs()[0];
    for (int i = 0; i < weights.count(); ++i) {
      EXPECT_EQ(weights.cpu_data()[i], expected.cpu_data()[i]) << format;
    }
    fine_tuned.Step(2);
    EXPECT_EQ(this->Count(fine_tuned.net()), 2) << format;
    NetParameter deployed = param.net_param();
    deployed.mutable_state()->set_phase(TEST);
    const shared_ptr<Net<Dtype>> net(new Net<Dtype>(deployed));
    net->CopyTrainedLayersFrom(model);
    EXPECT_EQ(this->Count(net), 4) << format;
  }
}

// After a snapshot and a resume, the count continues, and the final weights are
// equal to the last bit, as this net has no dropout and its data no position.
TYPED_TEST(PiecewiseThresholdScheduleTest, ResumesExactly) {
  typedef typename TypeParam::Dtype Dtype;
  const TemporaryFolder folder;
  const std::string prefix = folder / "net";
  for (const char* format : SnapshotFormats()) {
    const std::string fields = std::string("snapshot_format: ") + format
        + " snapshot_prefix: '" + prefix + "'";
    Caffe::set_random_seed(3);
    SGDSolver<Dtype> whole(this->Solver(fields));
    whole.Step(4);
    whole.Snapshot();
    whole.Step(5);

    Caffe::set_random_seed(99);  // other initial weights, to be replaced
    SGDSolver<Dtype> resumed(this->Solver(fields));
    resumed.Restore((prefix + "_iter_4.solverstate"
                     + (std::string(format) == "HDF5" ? ".h5" : ""))
                        .c_str());
    EXPECT_EQ(this->Count(resumed.net()), 4);
    resumed.Step(5);
    EXPECT_EQ(this->Count(resumed.net()), 9);
    const Blob<Dtype>& expected =
        *whole.net()->layer_by_name("encode")->blobs()[0];
    const Blob<Dtype>& weights =
        *resumed.net()->layer_by_name("encode")->blobs()[0];
    for (int i = 0; i < weights.count(); ++i) {
      EXPECT_EQ(weights.cpu_data()[i], expected.cpu_data()[i]) << format;
      EXPECT_NE(weights.cpu_data()[i], 0);
    }
  }
}

}  // namespace caffe
