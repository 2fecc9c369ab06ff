#include "layers/data/triplet_list.hpp"

#include <hdf5.h>
#include <hdf5_hl.h>
#include <sys/stat.h>

#include <limits>
#include <string>
#include <vector>

#include "caffe/common.hpp"

namespace caffe {

#ifndef USE_HDF5

std::vector<int> ReadTripletList(const std::string& owner,
                                 const std::string& file, int images) {
  LOG(FATAL) << owner << ": " << file << " is an HDF5 file, which this build"
             << " cannot read; leave the list out, or build with HDF5";
  return {};
}

#else

namespace {

// HDF5 reads all values of an attribute, however many: its size comes first.
bool ReadNumber(hid_t file, const char* name, long long* number) {
  const hid_t attribute = H5Aopen(file, name, H5P_DEFAULT);
  const hid_t type = H5Aget_type(attribute);
  const hid_t space = H5Aget_space(attribute);
  const bool read = H5Tget_class(type) == H5T_INTEGER
      && H5Sget_simple_extent_npoints(space) == 1
      && H5Aread(attribute, H5T_NATIVE_LLONG, number) >= 0;
  H5Sclose(space);
  H5Tclose(type);
  H5Aclose(attribute);
  return read;
}

// Whether a data set's values are in the file itself, and not in another one
// that the file names.
bool IsInFile(hid_t file, const char* name) {
  H5L_info_t link;
  if (H5Lget_info(file, name, &link, H5P_DEFAULT) < 0
      || link.type != H5L_TYPE_HARD) {
    return false;
  }
  const hid_t dataset = H5Dopen2(file, name, H5P_DEFAULT);
  const hid_t properties = H5Dget_create_plist(dataset);
  const bool is_in_file = H5Pget_external_count(properties) == 0
      && H5Pget_layout(properties) != H5D_VIRTUAL;
  H5Pclose(properties);
  H5Dclose(dataset);
  return is_in_file;
}

hsize_t StoredBytes(hid_t file, const char* name) {
  const hid_t dataset = H5Dopen2(file, name, H5P_DEFAULT);
  const hsize_t bytes = H5Dget_storage_size(dataset);
  H5Dclose(dataset);
  return bytes;
}

// The most that deflate, HDF5's usual compression, saves.
const hsize_t kMostCompression = 1032;

}  // namespace

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
  struct stat status;
  CHECK(stat(file.c_str(), &status) != 0 || S_ISREG(status.st_mode))
      << owner << ": " << file << " is not a regular file" << remedy;
  const hid_t id = H5Fopen(file.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT);
  CHECK_GE(id, 0) << owner << ": " << file
                  << " does not exist or is not an HDF5 file" << remedy;

  int rank = 0;
  hsize_t shape[2] = {0, 0};
  H5T_class_t type = H5T_NO_CLASS;
  size_t bytes = 0;
  const bool known = IsInFile(id, "triplets")
      && H5LTget_dataset_ndims(id, "triplets", &rank) >= 0 && rank == 2
      && H5LTget_dataset_info(id, "triplets", shape, &type, &bytes) >= 0;
  CHECK(known && type == H5T_INTEGER && shape[0] > 0 && shape[1] == 3)
      << owner << ": " << file << " has no data set `triplets` of integers,"
      << " shape (count, 3)" << remedy;
  if (H5LTfind_attribute(id, "images") == 1) {
    long long expected = -1;
    CHECK(ReadNumber(id, "images", &expected))
        << owner << ": the attribute `images` of " << file
        << " is not one whole number" << remedy;
    CHECK_EQ(expected, images)
        << owner << ": " << file << " was made for " << expected
        << " images, but the image database has " << images << remedy;
  }
  const hsize_t most = std::numeric_limits<int>::max() / 3;
  CHECK_LE(shape[0], most) << owner << ": " << file << " declares " << shape[0]
                           << " triplets, more than the limit of " << most
                           << remedy;
  const hsize_t stored = StoredBytes(id, "triplets");
  CHECK_GE(stored, shape[0] * 3 * bytes / kMostCompression)
      << owner << ": " << file << " declares " << shape[0]
      << " triplets, but has only " << stored << " bytes of them" << remedy;
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

#endif

}  // namespace caffe
