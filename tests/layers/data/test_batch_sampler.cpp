#include <set>
#include <string>
#include <vector>

#include "layers/data/triplet_data_test.hpp"

namespace caffe {

// What a batch contains, in each mode.
template <typename D>
class TripletDataSamplingTest : public TripletDataTest<D> {};

TYPED_TEST_SUITE(TripletDataSamplingTest, Devices, DeviceNames);

TYPED_TEST(TripletDataSamplingTest, OnlineTripletsFollowTheLabels) {
  const auto layer = this->Make("batch_size: 7");
  EXPECT_EQ(this->images_.shape(), (std::vector<int>{21, 1, 3, 4}));
  EXPECT_EQ(this->labels_.shape(), std::vector<int>(1, 21));
  std::set<std::vector<int>> seen;
  for (int batch = 0; batch < 40; ++batch) {
    this->Run(layer.get(), 1);
    const std::vector<int> numbers = this->Numbers();
    for (int t = 0; t < 7; ++t) {
      const int query = numbers[t];
      const int positive = numbers[7 + t];
      const int negative = numbers[14 + t];
      EXPECT_EQ(query % kClasses, positive % kClasses);
      EXPECT_NE(query, positive);
      EXPECT_NE(query % kClasses, negative % kClasses);
      seen.insert({query, positive, negative});
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
  EXPECT_GT(seen.size(), 270u) << "triplets are repeated";
}

TYPED_TEST(TripletDataSamplingTest, ListedTripletsComeInOrder) {
  const std::vector<int> list = {0, 4, 1, 5, 9, 2, 7, 3, 8, 59, 55, 0, 2, 2, 2};
  WriteTriplets(this->folder_ / "list.h5", list, kImages);
  const auto layer = this->Make("batch_size: 2 triplet_file: '"
                                + (this->folder_ / "list.h5") + "'");
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

// Listed triplets do not use labels, so that an image may have none.
TYPED_TEST(TripletDataSamplingTest, ListedTripletsNeedNoLabels) {
  std::vector<Datum> images = NumberedImages();
  for (Datum& image : images) {
    image.clear_label();
    image.add_float_data(0);
  }
  WriteLmdb(this->folder_ / "unlabelled", images);
  WriteTriplets(this->folder_ / "list.h5", {7, 3, 8}, kImages);
  const auto layer =
      this->Make("batch_size: 1 triplet_file: '" + (this->folder_ / "list.h5")
                 + "' source: '" + (this->folder_ / "unlabelled") + "'");
  this->Run(layer.get(), 1);
  EXPECT_EQ(this->Numbers(), (std::vector<int>{7, 3, 8}));
}

TYPED_TEST(TripletDataSamplingTest, ClassesTimesImages) {
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

TYPED_TEST(TripletDataSamplingTest, TripletsAmongImages) {
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
      int position[3], classes[3];
      for (int member = 0; member < 3; ++member) {
        position[member] = this->labels_.cpu_data()[40 * member + t];
        ASSERT_GE(position[member], 0);
        ASSERT_LT(position[member], 9);
        classes[member] = numbers[position[member]] % kClasses;
        used.insert(position[member]);
      }
      EXPECT_NE(position[0], position[1]);
      EXPECT_EQ(classes[0], classes[1]);
      EXPECT_NE(classes[0], classes[2]);
    }
    EXPECT_GT(used.size(), 6u);
  }
  EXPECT_EQ(seen.size(), static_cast<size_t>(kImages));
}

// Labels need not be classes here: a target code may be 0 in all bits.
TYPED_TEST(TripletDataSamplingTest, ImagesAlone) {
  std::vector<Datum> images;
  for (int i = 0; i < 8; ++i) {
    Datum datum = RawImage(1, 3, 4, i, 0);
    datum.clear_label();
    for (int bit = 0; bit < 3; ++bit) { datum.add_float_data(i >> bit & 1); }
    images.push_back(datum);
  }
  WriteLmdb(this->folder_ / "codes", images);
  const auto layer =
      this->Make("source: '" + (this->folder_ / "codes") + "' images: 5");
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

TYPED_TEST(TripletDataSamplingTest, SolversShareTheWork) {
  for (const char* kind : {"", "list"}) {
    std::string list;
    if (*kind) {
      std::vector<int> triplets;
      for (int i = 0; i < 3 * 17; ++i) { triplets.push_back(i); }
      WriteTriplets(this->folder_ / "list.h5", triplets, kImages);
      list = " triplet_file: '" + (this->folder_ / "list.h5") + "'";
    }
    const auto alone = this->Make("batch_size: 6" + list);
    std::vector<std::vector<int>> expected, together;
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

TYPED_TEST(TripletDataSamplingTest, SolversShareTheClasses) {
  std::vector<std::set<int>> classes(12);  // of each batch, of both solvers
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
    EXPECT_EQ(of_rank[rank].size(), 4u)
        << "solver " << rank << " does not see all classes";
  }
  Caffe::set_solver_count(1);
  Caffe::set_solver_rank(0);
  for (const std::set<int>& batch : classes) { EXPECT_EQ(batch.size(), 4u); }
}

// If there are not enough classes to divide, each solver draws its own.
TYPED_TEST(TripletDataSamplingTest, SolversDrawDifferentImages) {
  for (const char* options :
       {"images: 5", "batch_size: 9 images: 6",
        "classes: 3 images_per_class: 3"}) {  // of 4, not enough for two
    std::set<std::vector<int>> drawn;
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

}  // namespace caffe
