#include "layers/data/triplet_list.hpp"

#include <hdf5.h>
#include <hdf5_hl.h>

#include <limits>
#include <string>
#include <vector>

#include "caffe/common.hpp"

namespace caffe {

std::vector<int> ReadTripletList(const std::string& owner,
                                 const std::string& file, int images) {
  const std::string remedy =
      "; write the file with 'python"
      " tools/make_triplets.py --sampling listed'";
  // Our own messages replace HDF5's; its handler is restored below.
  H5E_auto2_t report;
  void* report_data;
  H5Eget_auto2(H5E_DEFAULT, &report, &report_data);
  H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
  const hid_t id = H5Fopen(file.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT);
  CHECK_GE(id, 0) << owner << ": " << file
                  << " does not exist or is not an HDF5 file" << remedy;

  int rank = 0;
  hsize_t shape[2] = {0, 0};
  H5T_class_t type = H5T_NO_CLASS;
  size_t bytes = 0;
  const bool known = H5LTfind_dataset(id, "triplets") == 1
      && H5LTget_dataset_ndims(id, "triplets", &rank) >= 0 && rank == 2
      && H5LTget_dataset_info(id, "triplets", shape, &type, &bytes) >= 0;
  CHECK(known && type == H5T_INTEGER && shape[0] > 0 && shape[1] == 3)
      << owner << ": " << file << " has no data set `triplets` of integers,"
      << " shape (count, 3)" << remedy;
  if (H5LTfind_attribute(id, "images") == 1) {
    long long expected = -1;
    H5LTget_attribute_long_long(id, "/", "images", &expected);
    CHECK_EQ(expected, images)
        << owner << ": " << file << " was made for " << expected
        << " images, but the image database has " << images << remedy;
  }
  const hsize_t most = std::numeric_limits<int>::max() / 3;
  CHECK_LE(shape[0], most) << owner << ": " << file << " declares " << shape[0]
                           << " triplets, more than the limit of " << most
                           << remedy;
  // HDF5 clips numbers outside of int's range, which are no image either way.
  std::vector<int> indices(shape[0] * 3);
  CHECK_GE(H5LTread_dataset(id, "triplets", H5T_NATIVE_INT, indices.data()), 0)
      << owner << ": " << file << " cannot be read; it may be truncated"
      << remedy;
  H5Fclose(id);
  H5Eset_auto2(H5E_DEFAULT, report, report_data);

  for (size_t i = 0; i < indices.size(); ++i) {
    CHECK(indices[i] >= 0 && indices[i] < images)
        << owner << ": triplet " << i / 3 << " of " << file << " names image "
        << indices[i] << ", but the image database has images 0 to "
        << images - 1 << remedy;
  }
  return indices;
}

}  // namespace caffe
