#include <hdf5.h>
#include <hdf5_hl.h>

#include <fstream>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "caffe/net.hpp"

#include "layers/image_lmdb.hpp"
#include "layers/layer_test.hpp"
#include "layers/triplet_data_layer.hpp"

namespace caffe {

namespace {

const int kImages = 60;
const int kClasses = 4;

// Images that carry their number in the first byte, of one channel so that a
// crop of one pixel in TEST shows it.
std::vector<Datum> Images() {
  std::vector<Datum> images;
  for (int i = 0; i < kImages; ++i) {
    images.push_back(RawImage(1, 3, 4, i, i % kClasses));
  }
  return images;
}

void WriteList(const std::string& file, const std::vector<int>& triplets,
               long long images) {
  const hid_t id = H5Fcreate(file.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT,
                             H5P_DEFAULT);
  const hsize_t shape[2] = {triplets.size() / 3, 3};
  CHECK_GE(H5LTmake_dataset_int(id, "triplets", 2, shape, triplets.data()), 0);
  CHECK_GE(H5LTset_attribute_long_long(id, "/", "images", &images, 1), 0);
  H5Fclose(id);
}

}  // namespace

template <typename D>
class TripletDataLayerTest : public LayerTest<D> {
 protected:
  typedef typename D::Dtype Dtype;
  typedef TripletDataLayer<Dtype> Layer;
  typedef std::vector<std::vector<Dtype> > Batches;

  void SetUp() override {
    LayerTest<D>::SetUp();
    WriteLmdb(folder_ / "db", Images());
  }

  LayerParameter Param(const std::string& options,
                       const std::string& others = "") {
    LayerParameter param = this->Parse(
        "name: 'images' phase: TRAIN param { lr_mult: 0 decay_mult: 0 }"
        " triplet_data_param { source: '" + (folder_ / "db") + "' }");
    const LayerParameter more =
        this->Parse("triplet_data_param { " + options + " } " + others);
    if (more.param_size()) { param.clear_param(); }
    param.MergeFrom(more);
    return param;
  }
  std::unique_ptr<Layer> Make(const std::string& options,
                              const std::string& others = "") {
    std::unique_ptr<Layer> layer(new Layer(Param(options, others)));
    layer->SetUp({}, {&images_, &labels_});
    return layer;
  }
  // What the next `count` batches bring, values and labels.
  Batches Run(Layer* layer, int count) {
    Batches batches;
    for (int i = 0; i < count; ++i) {
      layer->Forward({}, {&images_, &labels_});
      std::vector<Dtype> batch(images_.cpu_data(),
                               images_.cpu_data() + images_.count());
      batch.insert(batch.end(), labels_.cpu_data(),
                   labels_.cpu_data() + labels_.count());
      batches.push_back(batch);
    }
    return batches;
  }
  // The numbers of the images in the batch.
  std::vector<int> Numbers() {
    std::vector<int> numbers;
    for (int i = 0; i < images_.shape(0); ++i) {
      numbers.push_back(images_.cpu_data()[i * images_.count(1)]);
    }
    return numbers;
  }

  TemporaryFolder folder_;
  Blob<Dtype> images_, labels_;
};

TYPED_TEST_SUITE(TripletDataLayerTest, Devices, DeviceNames);

TYPED_TEST(TripletDataLayerTest, DrawsByTheLabels) {
  const auto layer = this->Make("batch_size: 7");
  EXPECT_EQ(this->images_.shape(), (std::vector<int>{21, 1, 3, 4}));
  EXPECT_EQ(this->labels_.shape(), std::vector<int>(1, 21));
  std::set<std::vector<int> > seen;
  for (int batch = 0; batch < 40; ++batch) {
    this->Run(layer.get(), 1);
    const std::vector<int> numbers = this->Numbers();
    for (int t = 0; t < 7; ++t) {
      const int query = numbers[t];
      const int similar = numbers[7 + t];
      const int dissimilar = numbers[14 + t];
      EXPECT_EQ(query % kClasses, similar % kClasses);
      EXPECT_NE(query, similar);
      EXPECT_NE(query % kClasses, dissimilar % kClasses);
      seen.insert({query, similar, dissimilar});
    }
    for (int i = 0; i < 21; ++i) {
      EXPECT_EQ(this->labels_.cpu_data()[i], numbers[i] % kClasses);
      const Datum image = RawImage(1, 3, 4, numbers[i], 0);
      for (int j = 0; j < 12; ++j) {
        EXPECT_EQ(this->images_.cpu_data()[12 * i + j],
                  static_cast<unsigned char>(image.data()[j]));
      }
    }
  }
  EXPECT_GT(seen.size(), 270u) << "triplets come again";
}

TYPED_TEST(TripletDataLayerTest, FollowsAList) {
  const std::vector<int> list = {0, 4, 1,  5, 9, 2,  7, 3, 8,  59, 55, 0,
                                 2, 2, 2};
  WriteList(this->folder_ / "list.h5", list, kImages);
  const auto layer = this->Make(
      "batch_size: 2 triplets: '" + (this->folder_ / "list.h5") + "'");
  int row = 0;
  for (int batch = 0; batch < 7; ++batch) {
    this->Run(layer.get(), 1);
    const std::vector<int> numbers = this->Numbers();
    for (int t = 0; t < 2; ++t, row = (row + 1) % 5) {
      for (int member = 0; member < 3; ++member) {
        EXPECT_EQ(numbers[2 * member + t], list[3 * row + member]);
      }
    }
  }
}

// Nothing is drawn by labels then, so that an image need not have one.
TYPED_TEST(TripletDataLayerTest, FollowsAListToImagesWithoutLabels) {
  std::vector<Datum> images = Images();
  for (Datum& image : images) {
    image.clear_label();
    image.add_float_data(0);
  }
  WriteLmdb(this->folder_ / "unlabelled", images);
  WriteList(this->folder_ / "list.h5", {7, 3, 8}, kImages);
  const auto layer = this->Make(
      "batch_size: 1 triplets: '" + (this->folder_ / "list.h5") + "' source: '"
      + (this->folder_ / "unlabelled") + "'");
  this->Run(layer.get(), 1);
  EXPECT_EQ(this->Numbers(), (std::vector<int>{7, 3, 8}));
}

// As pycaffe may do; what comes after must not read more than there is.
TYPED_TEST(TripletDataLayerTest, TopsHaveTheirShapeWhateverWasDoneToThem) {
  const auto layer = this->Make("batch_size: 2");
  this->images_.Reshape({50, 1, 3, 4});
  this->labels_.Reshape({50});
  this->Run(layer.get(), 1);
  EXPECT_EQ(this->images_.shape(), (std::vector<int>{6, 1, 3, 4}));
  EXPECT_EQ(this->labels_.shape(), std::vector<int>(1, 6));
}

TYPED_TEST(TripletDataLayerTest, DrawsClassesTimesImages) {
  const auto layer = this->Make("classes: 3 images_per_class: 5");
  std::set<int> seen;
  for (int batch = 0; batch < 30; ++batch) {
    this->Run(layer.get(), 1);
    ASSERT_EQ(this->images_.shape(0), 15);
    const std::vector<int> numbers = this->Numbers();
    EXPECT_EQ(std::set<int>(numbers.begin(), numbers.end()).size(), 15u);
    std::set<int> classes;
    for (int i = 0; i < 15; ++i) {
      EXPECT_EQ(this->labels_.cpu_data()[i], numbers[i] % kClasses);
      EXPECT_EQ(numbers[i] % kClasses, numbers[i / 5 * 5] % kClasses);
      classes.insert(numbers[i] % kClasses);
    }
    EXPECT_EQ(classes.size(), 3u);
    seen.insert(numbers.begin(), numbers.end());
  }
  EXPECT_EQ(seen.size(), static_cast<size_t>(kImages));
}

TYPED_TEST(TripletDataLayerTest, DrawsTripletsAmongImages) {
  const auto layer = this->Make("batch_size: 40 images: 9");
  EXPECT_EQ(this->images_.shape(), (std::vector<int>{9, 1, 3, 4}));
  EXPECT_EQ(this->labels_.shape(), std::vector<int>(1, 120));
  std::set<int> seen;
  for (int batch = 0; batch < 40; ++batch) {
    this->Run(layer.get(), 1);
    const std::vector<int> numbers = this->Numbers();
    ASSERT_EQ(std::set<int>(numbers.begin(), numbers.end()).size(), 9u);
    seen.insert(numbers.begin(), numbers.end());
    std::set<int> used;
    for (int t = 0; t < 40; ++t) {
      int place[3], classes[3];
      for (int member = 0; member < 3; ++member) {
        place[member] = this->labels_.cpu_data()[40 * member + t];
        ASSERT_GE(place[member], 0);
        ASSERT_LT(place[member], 9);
        classes[member] = numbers[place[member]] % kClasses;
        used.insert(place[member]);
      }
      EXPECT_NE(place[0], place[1]);
      EXPECT_EQ(classes[0], classes[1]);
      EXPECT_NE(classes[0], classes[2]);
    }
    EXPECT_GT(used.size(), 6u);
  }
  EXPECT_EQ(seen.size(), static_cast<size_t>(kImages));
}

// Labels then are no classes: an approximate code may be 0 in all bits.
TYPED_TEST(TripletDataLayerTest, DrawsImagesAlone) {
  std::vector<Datum> images;
  for (int i = 0; i < 8; ++i) {
    Datum datum = RawImage(1, 3, 4, i, 0);
    datum.clear_label();
    for (int bit = 0; bit < 3; ++bit) { datum.add_float_data(i >> bit & 1); }
    images.push_back(datum);
  }
  WriteLmdb(this->folder_ / "coded", images);
  const auto layer = this->Make(
      "source: '" + (this->folder_ / "coded") + "' images: 5");
  EXPECT_EQ(this->images_.shape(), (std::vector<int>{5, 1, 3, 4}));
  EXPECT_EQ(this->labels_.shape(), (std::vector<int>{5, 3}));
  std::vector<int> times(8);
  for (int batch = 0; batch < 400; ++batch) {
    this->Run(layer.get(), 1);
    const std::vector<int> numbers = this->Numbers();
    ASSERT_EQ(std::set<int>(numbers.begin(), numbers.end()).size(), 5u);
    for (int i = 0; i < 5; ++i) {
      ++times[numbers[i]];
      for (int bit = 0; bit < 3; ++bit) {
        ASSERT_EQ(this->labels_.cpu_data()[3 * i + bit], numbers[i] >> bit & 1);
      }
    }
  }
  // Each in five of eight batches: 250 of 400, give or take 10.
  for (int i = 0; i < 8; ++i) { EXPECT_NEAR(times[i], 250, 50); }
}

TYPED_TEST(TripletDataLayerTest, MultiHotLabels) {
  std::vector<Datum> images;
  for (int i = 0; i < 6; ++i) {
    Datum datum = RawImage(1, 3, 4, i, 0);
    datum.clear_label();
    for (int c = 0; c < 3; ++c) { datum.add_float_data(c == i / 2); }
    images.push_back(datum);
  }
  images[0].set_float_data(1, 1);       // the first image has classes 0 and 1
  WriteLmdb(this->folder_ / "hot", images);
  const auto layer = this->Make(
      "source: '" + (this->folder_ / "hot") + "' batch_size: 200");
  EXPECT_EQ(this->labels_.shape(), (std::vector<int>{600, 3}));
  this->Run(layer.get(), 9);          // every slot was used before
  const std::vector<int> numbers = this->Numbers();
  std::set<int> similar_to_first;
  for (int i = 0; i < 600; ++i) {
    for (int c = 0; c < 3; ++c) {
      EXPECT_EQ(this->labels_.cpu_data()[3 * i + c],
                images[numbers[i]].float_data(c));
    }
    if (i < 200 && numbers[i] == 0) {
      similar_to_first.insert(numbers[200 + i]);
      EXPECT_GE(numbers[400 + i], 4);
    }
  }
  EXPECT_EQ(similar_to_first, (std::set<int>{1, 2, 3}));
}

TYPED_TEST(TripletDataLayerTest, ThreadsChangeNothing) {
  const std::string transform =
      "transform_param { crop_size: 3 mirror: true }";
  for (const char* options : {"batch_size: 5 pad: 2 seed: 9 ",
                              "classes: 2 images_per_class: 4 pad: 2 ",
                              "batch_size: 9 images: 6 pad: 2 seed: 3 "}) {
    const auto one = this->Make(options, transform);
    const auto expected = this->Run(one.get(), 40);
    const auto four = this->Make(
        std::string(options) + "threads: 4 prefetch: 2", transform);
    EXPECT_EQ(this->Run(four.get(), 40), expected);
  }
}

TYPED_TEST(TripletDataLayerTest, TheSeedDecides) {
  const auto first = this->Run(this->Make("batch_size: 5").get(), 3);
  EXPECT_EQ(this->Run(this->Make("batch_size: 5 seed: 0").get(), 3), first);
  EXPECT_NE(this->Run(this->Make("batch_size: 5 seed: 1").get(), 3), first);
  EXPECT_NE(first[0], first[1]);
}

// Images of one batch are mirrored one by one, not alike.
TYPED_TEST(TripletDataLayerTest, EachImageIsTransformedOnItsOwn) {
  typedef typename TypeParam::Dtype Dtype;
  const auto layer = this->Make("batch_size: 5 pad: 2",
                                "transform_param { crop_size: 3 mirror: true }");
  const auto plain = this->Make("batch_size: 5");
  std::set<std::vector<Dtype> > views;
  for (int batch = 0; batch < 30; ++batch) {
    plain->Forward({}, {&this->images_, &this->labels_});
    const std::vector<int> numbers = this->Numbers();
    layer->Forward({}, {&this->images_, &this->labels_});
    for (int i = 0; i < 15; ++i) {
      // 89 from pixel to pixel, if seen from left to right.
      const Dtype* values = this->images_.cpu_data() + 9 * i;
      std::vector<Dtype> view;
      for (int j = 0; j < 9; ++j) {
        view.push_back(static_cast<unsigned char>(
            static_cast<int>(values[j]) - numbers[i]));
      }
      views.insert(view);
    }
    EXPECT_GT(views.size(), 4u) << "the first batch has one view";
  }
  // Rows 210, 101, 012, 121 (210 comes twice); columns 210, 101, 012, 123,
  // 232, 321, and the same mirrored.
  EXPECT_EQ(views.size(), 4u * 6) << "not every view was seen";
}

// After distort_until, batches are those of TEST.
TYPED_TEST(TripletDataLayerTest, DistortsUntilItIsToldTo) {
  const std::string train = "transform_param { crop_size: 3 mirror: true }";
  const std::string test = train + " phase: TEST";
  for (const std::string how : {"", "warp: 0.3 ", "jitter: 0.3 ", "erase: 2 "}) {
    const std::string batch = "batch_size: 5 pad: 1 " + how;
    const std::string until = batch + "distort_until: 4";
    const auto tested = this->Run(this->Make(batch, test).get(), 6);
    const auto distorted = this->Run(this->Make(batch, train).get(), 6);
    const auto settled = this->Run(this->Make(until, train).get(), 6);
    for (int i = 0; i < 6; ++i) {
      ASSERT_NE(tested[i], distorted[i]) << how << i;
      EXPECT_EQ(settled[i], i < 4 ? distorted[i] : tested[i]) << how << i;
    }
    // The number of the batch decides, wherever a training is resumed.
    const auto resumed = this->Make(until, train);
    resumed->blobs()[0]->mutable_cpu_data()[0] = 3;
    const auto rest = this->Run(resumed.get(), 2);
    EXPECT_EQ(rest[0], distorted[3]) << how;
    EXPECT_EQ(rest[1], tested[4]) << how;
  }
}

TYPED_TEST(TripletDataLayerTest, GoesOnWhereTheSnapshotWas) {
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
  this->Run(resumed.get(), 2);          // ahead already, at the wrong place
  ASSERT_EQ(snapshot.blobs_size(), 1);
  resumed->blobs()[0]->FromProto(snapshot.blobs(0));
  EXPECT_EQ(this->Run(resumed.get(), 5), (std::vector<std::vector<Dtype> >(
      expected.begin() + 7, expected.end())));
}

TYPED_TEST(TripletDataLayerTest, SolversShareTheWork) {
  for (const char* kind : {"", "list"}) {
    std::string list;
    if (*kind) {
      std::vector<int> triplets;
      for (int i = 0; i < 3 * 17; ++i) { triplets.push_back(i); }
      WriteList(this->folder_ / "list.h5", triplets, kImages);
      list = " triplets: '" + (this->folder_ / "list.h5") + "'";
    }
    const auto alone = this->Make("batch_size: 6" + list);
    std::vector<std::vector<int> > expected, together;
    for (int batch = 0; batch < 4; ++batch) {
      this->Run(alone.get(), 1);
      expected.push_back(this->Numbers());
    }
    Caffe::set_solver_count(3);
    together.assign(4, std::vector<int>(18));
    for (int rank = 0; rank < 3; ++rank) {
      Caffe::set_solver_rank(rank);
      const auto layer = this->Make("batch_size: 2" + list);
      for (int batch = 0; batch < 4; ++batch) {
        this->Run(layer.get(), 1);
        const std::vector<int> numbers = this->Numbers();
        for (int member = 0; member < 3; ++member) {
          std::copy_n(numbers.begin() + 2 * member, 2,
                      together[batch].begin() + 6 * member + 2 * rank);
        }
      }
    }
    Caffe::set_solver_count(1);
    Caffe::set_solver_rank(0);
    EXPECT_EQ(together, expected);
  }
}

TYPED_TEST(TripletDataLayerTest, SolversShareTheClasses) {
  std::vector<std::set<int> > classes(12);       // of a batch, of both solvers
  std::set<int> of_rank[2];
  Caffe::set_solver_count(2);
  for (int rank = 0; rank < 2; ++rank) {
    Caffe::set_solver_rank(rank);
    const auto layer = this->Make("classes: 2 images_per_class: 3");
    for (std::set<int>& batch : classes) {
      this->Run(layer.get(), 1);
      for (int number : this->Numbers()) {
        batch.insert(number % kClasses);
        of_rank[rank].insert(number % kClasses);
      }
    }
    EXPECT_EQ(of_rank[rank].size(), 4u) << "solver " << rank << " never sees a class";
  }
  Caffe::set_solver_count(1);
  Caffe::set_solver_rank(0);
  for (const std::set<int>& batch : classes) { EXPECT_EQ(batch.size(), 4u); }
}

// What cannot be shared out is drawn by each solver for itself.
TYPED_TEST(TripletDataLayerTest, SolversDrawDifferentImages) {
  for (const char* options : {
           "images: 5", "batch_size: 9 images: 6",
           "classes: 3 images_per_class: 3"}) {        // of 4: not enough for two
    std::set<std::vector<int> > drawn;
    Caffe::set_solver_count(2);
    for (int rank = 0; rank < 2; ++rank) {
      Caffe::set_solver_rank(rank);
      const auto layer = this->Make(options);
      this->Run(layer.get(), 3);
      drawn.insert(this->Numbers());
    }
    Caffe::set_solver_count(1);
    Caffe::set_solver_rank(0);
    EXPECT_EQ(drawn.size(), 2u) << options;
  }
}

// In TEST the blob is shared with a net that trains.
TYPED_TEST(TripletDataLayerTest, EveryTestSeesTheSame) {
  const auto test = this->Make("batch_size: 5", "phase: TEST");
  const auto first = this->Run(test.get(), 3);
  EXPECT_EQ(test->blobs()[0]->cpu_data()[0], 0) << "counted in TEST";
  EXPECT_NE(first[0], first[1]);
  test->blobs()[0]->mutable_cpu_data()[0] = 500;
  EXPECT_EQ(this->Run(test.get(), 3), first);
  test->blobs()[0]->mutable_cpu_data()[0] = 501;
  EXPECT_EQ(this->Run(test.get(), 3), first);
}

// No gradient is asked of what comes after, down to the pixels.
TYPED_TEST(TripletDataLayerTest, TheNetIsNotDifferentiatedToThePixels) {
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

TYPED_TEST(TripletDataLayerTest, EndsAtAnyTime) {
  for (int i = 0; i < 30; ++i) {
    const auto layer = this->Make("batch_size: 5 threads: 3");
    this->Run(layer.get(), i % 4);
  }
}

TYPED_TEST(TripletDataLayerTest, BadOptions) {
  EXPECT_DEATH(this->Make("source: ''"), "'images' has no source, for example");
  EXPECT_DEATH(this->Make("batch_size: 0"), "batch_size is 0, it must be");
  EXPECT_DEATH(this->Make("batch_size: 4000000000"),
               "batch_size is 4000000000, too large");
  EXPECT_DEATH(this->Make("batch_size: 2000000000"),
               "a batch has 7.2e\\+10 values, more than a blob");
  EXPECT_DEATH(this->Make("batch_size: 5 images: 2"),
               "images: 2 is how many .* at least 1, or 3 for triplets");
  EXPECT_DEATH(this->Make("batch_size: 5 images: 0"), "images: 0 is how many");
  EXPECT_DEATH(this->Make("batch_size: 5 images: 61"),
               "a batch has 61 different images and .*db 60");
  EXPECT_DEATH(this->Make("images: 61"), "61 different images and .*db 60");
  EXPECT_DEATH(this->Make("images: 9 classes: 2 images_per_class: 2"),
               "leave out batch_size, triplets and images");
  EXPECT_DEATH(this->Make("batch_size: 5 images: 9 triplets: 'x'"), "no list");
  EXPECT_DEATH(this->Make("classes: 3"), "classes is 3 and images_per_class 0");
  EXPECT_DEATH(this->Make("classes: 3 images_per_class: 2 batch_size: 6"),
               "leave out batch_size, triplets and images");
  EXPECT_DEATH(this->Make("classes: 5 images_per_class: 2"),
               "a batch has 5 classes and .*db 4");
  EXPECT_DEATH(this->Make("classes: 2 images_per_class: 16"),
               "16 images of a class and .*db has 15 of class 0");
  EXPECT_DEATH(this->Make("batch_size: 1 threads: 0"), "threads is 0");
  EXPECT_DEATH(this->Make("batch_size: 1 prefetch: 0"), "prefetch is 0");
  EXPECT_DEATH(this->Make("batch_size: 1", "param { lr_mult: 1 }"),
               "write param \\{ lr_mult: 0 decay_mult: 0 \\}");
  const auto layer = this->Make("batch_size: 1");
  layer->blobs()[0]->mutable_cpu_data()[0] = 1 << 24;
  EXPECT_DEATH(this->Run(layer.get(), 1), "number of the batch is 1.*e\\+07");
}

TYPED_TEST(TripletDataLayerTest, BadLists) {
  const std::string file = this->folder_ / "list.h5";
  const std::string options = "batch_size: 1 triplets: '" + file + "'";
  EXPECT_DEATH(this->Make(options), "'images': .*list.h5 is not there or no"
               " HDF5 file; write the list with .*--layout indexed");
  std::ofstream(file) << "not HDF5";
  EXPECT_DEATH(this->Make(options), "is not there or no HDF5 file");
  WriteList(file, {0, 4, 1, 5, 60, 2}, kImages);
  EXPECT_DEATH(this->Make(options),
               "triplet 1 of .*list.h5 names image 60; the image database has"
               " 60, from 0 on");
  WriteList(file, {0, -4, 1}, kImages);
  EXPECT_DEATH(this->Make(options), "triplet 0 of .* names image -4");
  WriteList(file, {0, 4, 1}, 61);
  EXPECT_DEATH(this->Make(options),
               "is of 61 images and the image database has 60");
  hid_t id = H5Fcreate(file.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
  const hsize_t one[2] = {1, 3};
  const long long far[3] = {0, 4, 1 + (1LL << 32)};
  H5LTmake_dataset(id, "triplets", 2, one, H5T_NATIVE_LLONG, far);
  H5Fclose(id);
  EXPECT_DEATH(this->Make(options), "triplet 0 of .* names image 2147483647");
  // A small file that says that it is large: of its chunks none is there.
  id = H5Fcreate(file.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
  const hsize_t huge[2] = {1000000000000, 3}, chunk[2] = {1000, 3};
  const hid_t space = H5Screate_simple(2, huge, NULL);
  const hid_t chunked = H5Pcreate(H5P_DATASET_CREATE);
  H5Pset_chunk(chunked, 2, chunk);
  H5Dclose(H5Dcreate2(id, "triplets", H5T_STD_I32LE, space, H5P_DEFAULT, chunked,
                      H5P_DEFAULT));
  H5Pclose(chunked);
  H5Sclose(space);
  H5Fclose(id);
  EXPECT_DEATH(this->Make(options),
               "says that it has 1000000000000 triplets; at most 715827882");
  id = H5Fcreate(file.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
  const hsize_t shape[2] = {2, 2};
  const int values[4] = {0, 1, 2, 3};
  H5LTmake_dataset_int(id, "triplets", 2, shape, values);
  H5Fclose(id);
  EXPECT_DEATH(this->Make(options), "no data set `triplets` of whole numbers,"
               " shape \\(count, 3\\)");
}

TYPED_TEST(TripletDataLayerTest, BadDatabases) {
  const auto open = [this](const std::vector<Datum>& images) {
    const std::string folder = this->folder_ / "bad";
    WriteLmdb(folder, images);
    this->Make("batch_size: 1 source: '" + folder + "'");
  };
  std::vector<Datum> images = Images();
  EXPECT_DEATH(this->Make("source: 'nowhere' batch_size: 1"),
               "'images': there is no image database nowhere .*make_triplets");
  EXPECT_DEATH(open({}), "bad is empty; write it with");
  EXPECT_DEATH(open({images[0], images[1], images[4]}),
               "image 1 \\(key '00000001'\\) of .*bad has no similar image");
  EXPECT_DEATH(open({images[0], images[4]}),
               "image 0 \\(key '00000000'\\) of .*bad has no dissimilar image");
  images[5].clear_label();
  EXPECT_DEATH(open(images), "key '00000005'\\) of .*bad has no label");
  images[5].add_float_data(1);
  EXPECT_DEATH(open(images), "has 0 or 1 for each of 1 classes and the first"
               " image a single label");
  images[5] = RawImage(1, 4, 4, 5, 1);
  EXPECT_DEATH(open(images), "image 5 .* is 1 x 4 x 4 and the first one"
               " 1 x 3 x 4");
  images[5].set_height(3);
  EXPECT_DEATH(open(images), "has 16 bytes for 1 x 3 x 4 values");
  images[5].clear_data();
  EXPECT_DEATH(open(images), "image 5 .* is no Datum with an image");
  Datum hot = RawImage(1, 3, 4, 0, 0);
  hot.add_float_data(0.5);
  EXPECT_DEATH(open({hot}), "has 0.5 for class 0; multi-hot labels are 0 or 1");
  hot.set_float_data(0, 0);
  EXPECT_DEATH(open({hot}), "has no label: 0 for all 1 classes");
  WriteLmdb(this->folder_ / "text", std::vector<std::string>{"\xff\xff text"});
  EXPECT_DEATH(this->Make("batch_size: 1 source: '" + (this->folder_ / "text")
               + "'"), "image 0 .*text is no Datum");
}

TYPED_TEST(TripletDataLayerTest, CutDatabase) {
  const std::string file = this->folder_ / "db/data.mdb";
  boost::filesystem::resize_file(file, boost::filesystem::file_size(file) / 2);
  EXPECT_DEATH(this->Make("batch_size: 1"), "db/data.mdb is cut: it has");
  boost::filesystem::resize_file(file, 100);
  EXPECT_DEATH(this->Make("batch_size: 1"), "db is no LMDB that can be read");
}

// The broken image is met in the middle of training, on a thread.
TYPED_TEST(TripletDataLayerTest, BrokenImage) {
  std::vector<Datum> images = Images();
  images[7].set_encoded(true);
  WriteLmdb(this->folder_ / "broken", images);
  EXPECT_DEATH({
    const auto layer = this->Make(
        "batch_size: 20 source: '" + (this->folder_ / "broken") + "'");
    this->Run(layer.get(), 20);
  }, "'images': image 7 \\(key '00000007'\\) of .*broken is broken: OpenCV");
  // A JPEG without an end, but for that of the thumbnail in its header.
  images[7].set_data(std::string("\xff\xd8\xff\xe1\x00\x06\xff\xd9..\xff\xda"
                                 "\x00\x03.pixels", 22));
  WriteLmdb(this->folder_ / "cut", images);
  EXPECT_DEATH({
    const auto layer = this->Make(
        "batch_size: 20 source: '" + (this->folder_ / "cut") + "'");
    this->Run(layer.get(), 20);
  }, "image 7 .*is broken: it is a JPEG that ends too early");
}

}  // namespace caffe
