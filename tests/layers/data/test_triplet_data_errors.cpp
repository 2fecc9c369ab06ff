#include <fstream>
#include <string>
#include <vector>

#include "layers/data/triplet_data_test.hpp"

namespace caffe {

// Messages: the layer, the values, the file and the key.
template <typename D>
class TripletDataErrorsTest : public TripletDataTest<D> {};

TYPED_TEST_SUITE(TripletDataErrorsTest, Devices, DeviceNames);

TYPED_TEST(TripletDataErrorsTest, BadOptions) {
  EXPECT_DEATH(this->Make("source: ''"), "'images' has no source, for example");
  EXPECT_DEATH(this->Make("batch_size: 0"), "batch_size is 0, it must be");
  EXPECT_DEATH(this->Make("batch_size: 4000000000"),
               "batch_size is 4000000000, too large");
  EXPECT_DEATH(this->Make("batch_size: 2000000000"),
               "a batch has 7.2e\\+10 values, more than a blob");
  EXPECT_DEATH(this->Make("batch_size: 5 images: 2"),
               "images: 2 is the number .* at least 1, or 3 for triplets");
  EXPECT_DEATH(this->Make("batch_size: 5 images: 0"),
               "images: 0 is the number of images");
  EXPECT_DEATH(this->Make("batch_size: 5 images: 61"),
               "a batch has 61 different images, but .*db has only 60");
  EXPECT_DEATH(this->Make("images: 61"),
               "61 different images, but .*db has only 60");
  EXPECT_DEATH(this->Make("images: 9 classes: 2 images_per_class: 2"),
               "remove batch_size, triplet_file and images");
  EXPECT_DEATH(this->Make("batch_size: 5 images: 9 triplet_file: 'x'"),
               "no triplet_file");
  EXPECT_DEATH(this->Make("classes: 3"),
               "classes is 3 and images_per_class is 0");
  EXPECT_DEATH(this->Make("classes: 3 images_per_class: 2 batch_size: 6"),
               "remove batch_size, triplet_file and images");
  EXPECT_DEATH(this->Make("classes: 5 images_per_class: 2"),
               "a batch has 5 classes, but .*db has only 4");
  EXPECT_DEATH(this->Make("classes: 2 images_per_class: 16"),
               "16 images of a class, but .*db has only 15 of class 0");
  EXPECT_DEATH(this->Make("batch_size: 1 threads: 0"), "threads is 0");
  EXPECT_DEATH(this->Make("batch_size: 1 prefetch: 0"), "prefetch is 0");
  EXPECT_DEATH(this->Make("batch_size: 1", "param { lr_mult: 1 }"),
               "add param \\{ lr_mult: 0 decay_mult: 0 \\}");
  const auto layer = this->Make("batch_size: 1");
  layer->blobs()[0]->mutable_cpu_data()[0] = 1 << 24;
  EXPECT_DEATH(this->Run(layer.get(), 1), "number of the batch is 1.*e\\+07");
}

TYPED_TEST(TripletDataErrorsTest, BadLists) {
  const std::string file = this->folder_ / "list.h5";
  const std::string options = "batch_size: 1 triplet_file: '" + file + "'";
  EXPECT_DEATH(this->Make(options),
               "'images': .*list.h5 does not exist or is not"
               " an HDF5 file; write the file with .*--sampling listed");
  std::ofstream(file) << "not HDF5";
  EXPECT_DEATH(this->Make(options), "does not exist or is not an HDF5 file");
  WriteTriplets(file, {0, 4, 1, 5, 60, 2}, kImages);
  EXPECT_DEATH(
      this->Make(options),
      "triplet 1 of .*list.h5 names image 60, but the image database has"
      " images 0 to 59");
  WriteTriplets(file, {0, -4, 1}, kImages);
  EXPECT_DEATH(this->Make(options), "triplet 0 of .* names image -4");
  WriteTriplets(file, {0, 4, 1}, 61);
  EXPECT_DEATH(this->Make(options),
               "was made for 61 images, but the image database has 60");
  hid_t id = H5Fcreate(file.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
  const hsize_t one[2] = {1, 3};
  const long long far[3] = {0, 4, 1 + (1LL << 32)};
  H5LTmake_dataset(id, "triplets", 2, one, H5T_NATIVE_LLONG, far);
  H5Fclose(id);
  EXPECT_DEATH(this->Make(options), "triplet 0 of .* names image 2147483647");
  // More numbers than are read.
  WriteTriplets(file, {0, 4, 1}, kImages);
  id = H5Fopen(file.c_str(), H5F_ACC_RDWR, H5P_DEFAULT);
  const std::vector<long long> many(64, kImages);
  H5LTset_attribute_long_long(id, "/", "images", many.data(), many.size());
  H5Fclose(id);
  EXPECT_DEATH(
      this->Make(options),
      "attribute `images` of .*list.h5 is not one whole number; write the");
  id = H5Fopen(file.c_str(), H5F_ACC_RDWR, H5P_DEFAULT);
  H5LTset_attribute_string(id, "/", "images", "60");
  H5Fclose(id);
  EXPECT_DEATH(this->Make(options), "is not one whole number");
  // Values in another file that this one names.
  id = H5Fcreate(file.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
  H5Lcreate_external("other.h5", "triplets", id, "triplets", H5P_DEFAULT,
                     H5P_DEFAULT);
  H5Fclose(id);
  EXPECT_DEATH(this->Make(options), "no data set `triplets` of integers");
  // Fewer triplets than the limit, of which the file has none.
  id = H5Fcreate(file.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
  const hsize_t many_rows[2] = {700000000, 3};
  const hid_t rows = H5Screate_simple(2, many_rows, NULL);
  H5Dclose(H5Dcreate2(id, "triplets", H5T_STD_I32LE, rows, H5P_DEFAULT,
                      H5P_DEFAULT, H5P_DEFAULT));
  H5Sclose(rows);
  H5Fclose(id);
  EXPECT_DEATH(this->Make(options),
               "declares 700000000 triplets, but has only 0 bytes of them");
  EXPECT_DEATH(this->Make("batch_size: 1 triplet_file: '/dev/zero'"),
               "/dev/zero is not a regular file; write the file");
  // A small file that declares a large data set, none of whose chunks exist.
  id = H5Fcreate(file.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
  const hsize_t huge[2] = {1000000000000, 3}, chunk[2] = {1000, 3};
  const hid_t space = H5Screate_simple(2, huge, NULL);
  const hid_t chunked = H5Pcreate(H5P_DATASET_CREATE);
  H5Pset_chunk(chunked, 2, chunk);
  H5Dclose(H5Dcreate2(id, "triplets", H5T_STD_I32LE, space, H5P_DEFAULT,
                      chunked, H5P_DEFAULT));
  H5Pclose(chunked);
  H5Sclose(space);
  H5Fclose(id);
  EXPECT_DEATH(
      this->Make(options),
      "declares 1000000000000 triplets, more than the limit of 715827882");
  id = H5Fcreate(file.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
  const hsize_t shape[2] = {2, 2};
  const int values[4] = {0, 1, 2, 3};
  H5LTmake_dataset_int(id, "triplets", 2, shape, values);
  H5Fclose(id);
  EXPECT_DEATH(this->Make(options),
               "no data set `triplets` of integers,"
               " shape \\(count, 3\\)");
}

TYPED_TEST(TripletDataErrorsTest, BadDatabases) {
  const auto open = [this](const std::vector<Datum>& images) {
    const std::string folder = this->folder_ / "bad";
    WriteLmdb(folder, images);
    this->Make("batch_size: 1 source: '" + folder + "'");
  };
  std::vector<Datum> images = NumberedImages();
  EXPECT_DEATH(this->Make("source: 'nowhere' batch_size: 1"),
               "'images': there is no image database nowhere .*make_triplets");
  EXPECT_DEATH(open({}), "bad is empty; write it with");
  EXPECT_DEATH(open({images[0], images[1], images[4]}),
               "image 1 \\(key '00000001'\\) of .*bad has no positive");
  EXPECT_DEATH(open({images[0], images[4]}),
               "image 0 \\(key '00000000'\\) of .*bad has no negative");
  images[5].set_label((1 << 24) + 1);
  EXPECT_DEATH(open(images), "key '00000005'\\) of .*has the label 16777217");
  images[5].clear_label();
  EXPECT_DEATH(open(images), "key '00000005'\\) of .*bad has no label");
  images[5].add_float_data(1);
  EXPECT_DEATH(open(images),
               "has multi-hot labels of 1 classes, but the first"
               " image has a single label");
  images[5] = RawImage(1, 4, 4, 5, 1);
  EXPECT_DEATH(open(images),
               "image 5 .* is 1 x 4 x 4, but the first image"
               " is 1 x 3 x 4");
  images[5].set_height(3);
  EXPECT_DEATH(open(images), "has 16 bytes for 1 x 3 x 4 values");
  images[5].clear_data();
  EXPECT_DEATH(open(images), "image 5 .* is not a Datum with an image");
  Datum hot = RawImage(1, 3, 4, 0, 0);
  hot.add_float_data(0.5);
  EXPECT_DEATH(open({hot}), "has 0.5 for class 0; multi-hot labels are 0 or 1");
  hot.set_float_data(0, 0);
  EXPECT_DEATH(open({hot}), "has no label: 0 for all 1 classes");
  WriteLmdb(this->folder_ / "text", std::vector<std::string>{"\xff\xff text"});
  EXPECT_DEATH(
      this->Make("batch_size: 1 source: '" + (this->folder_ / "text") + "'"),
      "image 0 .*text is not a Datum");
}

TYPED_TEST(TripletDataErrorsTest, TruncatedDatabase) {
  const std::string file = this->folder_ / "db/data.mdb";
  boost::filesystem::resize_file(file, boost::filesystem::file_size(file) / 2);
  EXPECT_DEATH(this->Make("batch_size: 1"), "db/data.mdb is truncated: it has");
  boost::filesystem::resize_file(file, 100);
  EXPECT_DEATH(this->Make("batch_size: 1"), "db/data.mdb is truncated");
}

// Caffe's convert_imageset stores what OpenCV decodes: blue first.
TYPED_TEST(TripletDataErrorsTest, PlanesOfConvertImageset) {
  const std::string folder = this->folder_ / "converted";
  const std::vector<Datum> color(60, RawImage(3, 6, 6, 1, 0));
  std::vector<Datum> images = color;
  for (size_t i = 0; i < images.size(); ++i) { images[i].set_label(i % 4); }
  const auto log_of = [&](const std::string& suffix) {
    boost::filesystem::remove_all(folder);
    WriteLmdb(folder, images, suffix);
    testing::internal::CaptureStderr();
    this->Make("batch_size: 1 source: '" + folder + "'");
    return testing::internal::GetCapturedStderr();
  };
  EXPECT_NE(log_of("_photos/a.jpg")
                .find("converted was written by"
                      " convert_imageset: its planes are"),
            std::string::npos);
  EXPECT_EQ(log_of("").find("convert_imageset"), std::string::npos);
}

// The image is decoded during training, on a thread.
TYPED_TEST(TripletDataErrorsTest, UndecodableImage) {
  std::vector<Datum> images = NumberedImages();
  images[7].set_encoded(true);
  WriteLmdb(this->folder_ / "undecodable", images);
  EXPECT_DEATH(
      {
        const auto layer = this->Make("batch_size: 20 source: '"
                                      + (this->folder_ / "undecodable") + "'");
        this->Run(layer.get(), 20);
      },
      "'images': image 7 \\(key '00000007'\\) of .*undecodable cannot be "
      "decoded: OpenCV");
  // A JPEG without an end marker, except that of the thumbnail in its header.
  images[7].set_data(
      std::string("\xff\xd8\xff\xe1\x00\x06\xff\xd9..\xff\xda"
                  "\x00\x03.pixels",
                  21));
  WriteLmdb(this->folder_ / "truncated", images);
  EXPECT_DEATH(
      {
        const auto layer = this->Make("batch_size: 20 source: '"
                                      + (this->folder_ / "truncated") + "'");
        this->Run(layer.get(), 20);
      },
      "image 7 .*cannot be decoded: it is a truncated JPEG");
}

}  // namespace caffe
