#ifndef DNNH_TESTS_LAYERS_DATA_TRIPLET_DATA_TEST_HPP_
#define DNNH_TESTS_LAYERS_DATA_TRIPLET_DATA_TEST_HPP_

#include <hdf5.h>
#include <hdf5_hl.h>

#include <memory>
#include <string>
#include <vector>

#include "layers/data/image_lmdb.hpp"
#include "layers/data/triplet_data_layer.hpp"
#include "layers/layer_test.hpp"

namespace caffe {

const int kImages = 60;
const int kClasses = 4;

// Images with their number in the first byte. They have one channel, so that a
// crop of one pixel in TEST shows it.
inline std::vector<Datum> NumberedImages() {
  std::vector<Datum> images;
  for (int i = 0; i < kImages; ++i) {
    images.push_back(RawImage(1, 3, 4, i, i % kClasses));
  }
  return images;
}

#ifdef USE_HDF5
inline void WriteTriplets(const std::string& file,
                          const std::vector<int>& triplets, long long images) {
  const hid_t id =
      H5Fcreate(file.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
  const hsize_t shape[2] = {triplets.size() / 3, 3};
  CHECK_GE(H5LTmake_dataset_int(id, "triplets", 2, shape, triplets.data()), 0);
  CHECK_GE(H5LTset_attribute_long_long(id, "/", "images", &images, 1), 0);
  H5Fclose(id);
}
#endif

// A database of NumberedImages, and TripletData layers that read it.
template <typename D>
class TripletDataTest : public LayerTest<D> {
 protected:
  typedef typename D::Dtype Dtype;
  typedef TripletDataLayer<Dtype> Layer;
  typedef std::vector<std::vector<Dtype>> Batches;

  void SetUp() override {
    LayerTest<D>::SetUp();
    WriteLmdb(folder_ / "db", NumberedImages());
  }

  LayerParameter Param(const std::string& options,
                       const std::string& others = "") {
    LayerParameter param = this->Parse(
        "name: 'images' phase: TRAIN param { lr_mult: 0 decay_mult: 0 }"
        " triplet_data_param { source: '"
        + (folder_ / "db") + "' }");
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
  // The images and the labels of the next `count` batches.
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
  // The number of each image in the last batch.
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

}  // namespace caffe

#endif  // DNNH_TESTS_LAYERS_DATA_TRIPLET_DATA_TEST_HPP_
