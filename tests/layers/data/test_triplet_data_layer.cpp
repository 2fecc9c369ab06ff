#include <set>
#include <string>
#include <vector>

#include "caffe/net.hpp"

#include "layers/data/triplet_data_test.hpp"

namespace caffe {

template <typename D>
class TripletDataLayerTest : public TripletDataTest<D> {};

TYPED_TEST_SUITE(TripletDataLayerTest, Devices, DeviceNames);

// pycaffe may reshape the tops. The next layer must not read past their end.
TYPED_TEST(TripletDataLayerTest, TopsGetTheirShapeBack) {
  const auto layer = this->Make("batch_size: 2");
  this->images_.Reshape({50, 1, 3, 4});
  this->labels_.Reshape({50});
  this->Run(layer.get(), 1);
  EXPECT_EQ(this->images_.shape(), (std::vector<int>{6, 1, 3, 4}));
  EXPECT_EQ(this->labels_.shape(), std::vector<int>(1, 6));
  // Enlarged once more, they do not lie in the layer's memory.
  this->images_.Reshape({50, 1, 3, 4});
  EXPECT_GE(this->images_.data()->size(), 600 * sizeof(float));
}

TYPED_TEST(TripletDataLayerTest, MultiHotLabels) {
  std::vector<Datum> images;
  for (int i = 0; i < 6; ++i) {
    Datum datum = RawImage(1, 3, 4, i, 0);
    datum.clear_label();
    for (int c = 0; c < 3; ++c) { datum.add_float_data(c == i / 2); }
    images.push_back(datum);
  }
  images[0].set_float_data(1, 1);  // the first image has classes 0 and 1
  WriteLmdb(this->folder_ / "hot", images);
  const auto layer =
      this->Make("source: '" + (this->folder_ / "hot") + "' batch_size: 200");
  EXPECT_EQ(this->labels_.shape(), (std::vector<int>{600, 3}));
  this->Run(layer.get(), 9);  // all slots have been used
  const std::vector<int> numbers = this->Numbers();
  std::set<int> positives_of_first;
  for (int i = 0; i < 600; ++i) {
    for (int c = 0; c < 3; ++c) {
      EXPECT_EQ(this->labels_.cpu_data()[3 * i + c],
                images[numbers[i]].float_data(c));
    }
    if (i < 200 && numbers[i] == 0) {
      positives_of_first.insert(numbers[200 + i]);
      EXPECT_GE(numbers[400 + i], 4);
    }
  }
  EXPECT_EQ(positives_of_first, (std::set<int>{1, 2, 3}));
}

TYPED_TEST(TripletDataLayerTest, ThreadsChangeNothing) {
  const std::string transform = "transform_param { crop_size: 3 mirror: true }";
  for (const char* options : {"batch_size: 5 pad: 2 seed: 9 ",
                              "classes: 2 images_per_class: 4 pad: 2 ",
                              "batch_size: 9 images: 6 pad: 2 seed: 3 "}) {
    const auto one = this->Make(options, transform);
    const auto expected = this->Run(one.get(), 40);
    const auto four =
        this->Make(std::string(options) + "threads: 4 prefetch: 2", transform);
    EXPECT_EQ(this->Run(four.get(), 40), expected);
  }
}

TYPED_TEST(TripletDataLayerTest, TheSeedDecides) {
  const auto first = this->Run(this->Make("batch_size: 5").get(), 3);
  EXPECT_EQ(this->Run(this->Make("batch_size: 5 seed: 0").get(), 3), first);
  EXPECT_NE(this->Run(this->Make("batch_size: 5 seed: 1").get(), 3), first);
  EXPECT_NE(first[0], first[1]);
}

// Images of one batch are flipped and cropped independently.
TYPED_TEST(TripletDataLayerTest, EachImageIsAugmentedOnItsOwn) {
  typedef typename TypeParam::Dtype Dtype;
  const auto layer = this->Make(
      "batch_size: 5 pad: 2", "transform_param { crop_size: 3 mirror: true }");
  const auto plain = this->Make("batch_size: 5");
  std::set<std::vector<Dtype>> views;
  for (int batch = 0; batch < 30; ++batch) {
    plain->Forward({}, {&this->images_, &this->labels_});
    const std::vector<int> numbers = this->Numbers();
    layer->Forward({}, {&this->images_, &this->labels_});
    for (int i = 0; i < 15; ++i) {
      // Adjacent pixels differ by 89, from left to right.
      const Dtype* values = this->images_.cpu_data() + 9 * i;
      std::vector<Dtype> view;
      for (int j = 0; j < 9; ++j) {
        view.push_back(static_cast<unsigned char>(static_cast<int>(values[j])
                                                  - numbers[i]));
      }
      views.insert(view);
    }
    EXPECT_GT(views.size(), 4u)
        << "all images of the first batch are cropped alike";
  }
  // Rows 210, 101, 012, 121 (210 occurs twice); columns 210, 101, 012, 123,
  // 232, 321, and the same flipped.
  EXPECT_EQ(views.size(), 4u * 6) << "not every view was seen";
}

// From batch augment_until on, images are as in TEST.
TYPED_TEST(TripletDataLayerTest, AugmentsUntilAugmentUntil) {
  const std::string train = "transform_param { crop_size: 3 mirror: true }";
  const std::string test = train + " phase: TEST";
  for (const std::string how :
       {"", "random_affine: 0.3 ", "color_jitter: 0.3 ", "cutout: 2 "}) {
    const std::string batch = "batch_size: 5 pad: 1 " + how;
    const std::string until = batch + "augment_until: 4";
    const auto tested = this->Run(this->Make(batch, test).get(), 6);
    const auto augmented = this->Run(this->Make(batch, train).get(), 6);
    const auto switched_off = this->Run(this->Make(until, train).get(), 6);
    for (int i = 0; i < 6; ++i) {
      ASSERT_NE(tested[i], augmented[i]) << how << i;
      EXPECT_EQ(switched_off[i], i < 4 ? augmented[i] : tested[i]) << how << i;
    }
    // The number of the batch decides, even in training that was resumed.
    const auto resumed = this->Make(until, train);
    resumed->blobs()[0]->mutable_cpu_data()[0] = 3;
    const auto rest = this->Run(resumed.get(), 2);
    EXPECT_EQ(rest[0], augmented[3]) << how;
    EXPECT_EQ(rest[1], tested[4]) << how;
  }
}

TYPED_TEST(TripletDataLayerTest, ResumesFromASnapshot) {
  typedef typename TypeParam::Dtype Dtype;
  const std::string options = "batch_size: 5 threads: 3";
  const auto whole = this->Make(options);
  const auto expected = this->Run(whole.get(), 12);

  LayerParameter snapshot;
  {
    const auto interrupted = this->Make(options);
    this->Run(interrupted.get(), 7);
    interrupted->ToProto(&snapshot);
  }
  const auto resumed = this->Make(options);
  this->Run(resumed.get(), 2);  // prefetches the wrong batches
  ASSERT_EQ(snapshot.blobs_size(), 1);
  resumed->blobs()[0]->FromProto(snapshot.blobs(0));
  EXPECT_EQ(
      this->Run(resumed.get(), 5),
      (std::vector<std::vector<Dtype>>(expected.begin() + 7, expected.end())));
}

TYPED_TEST(TripletDataLayerTest, RestartsWithTheFirstBatch) {
  typedef typename TypeParam::Dtype Dtype;
  const std::string options =
      "batch_size: 5 threads: 3 cutout: 2 augment_until: 3";
  const auto layer = this->Make(options);
  const auto expected = this->Run(layer.get(), 5);
  dynamic_cast<Scheduled&>(*layer).Restart();
  EXPECT_EQ(this->Run(layer.get(), 5), expected);
}

// In TEST the blob is shared with the TRAIN net.
TYPED_TEST(TripletDataLayerTest, EveryTestSeesTheSameBatches) {
  const auto test = this->Make("batch_size: 5", "phase: TEST");
  const auto first = this->Run(test.get(), 3);
  EXPECT_EQ(test->blobs()[0]->cpu_data()[0], 0) << "counted in TEST";
  EXPECT_NE(first[0], first[1]);
  test->blobs()[0]->mutable_cpu_data()[0] = 500;
  EXPECT_EQ(this->Run(test.get(), 3), first);
  test->blobs()[0]->mutable_cpu_data()[0] = 501;
  EXPECT_EQ(this->Run(test.get(), 3), first);
}

// Layers after it are not asked for a gradient by the pixels.
TYPED_TEST(TripletDataLayerTest, NoGradientForPixels) {
  typedef typename TypeParam::Dtype Dtype;
  NetParameter param;
  param.mutable_state()->set_phase(TRAIN);
  *param.add_layer() = this->Param("batch_size: 5");
  param.mutable_layer(0)->set_type("TripletData");
  param.mutable_layer(0)->add_top("images");
  *param.add_layer() = this->Parse(
      "name: 'fc' type: 'InnerProduct' bottom: 'images' top: 'loss'"
      " loss_weight: 1 inner_product_param { num_output: 1 }");
  Net<Dtype> net(param);
  EXPECT_FALSE(net.layer_need_backward()[0]);
  EXPECT_TRUE(net.layer_need_backward()[1]);
  EXPECT_FALSE(net.bottom_need_backward()[1][0]);
}

TYPED_TEST(TripletDataLayerTest, StopsAtAnyTime) {
  for (int i = 0; i < 30; ++i) {
    const auto layer = this->Make("batch_size: 5 threads: 3");
    this->Run(layer.get(), i % 4);
  }
}

}  // namespace caffe
