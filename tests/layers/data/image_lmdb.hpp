#ifndef DNNH_TESTS_LAYERS_DATA_IMAGE_LMDB_HPP_
#define DNNH_TESTS_LAYERS_DATA_IMAGE_LMDB_HPP_

#include <lmdb.h>

#include <boost/filesystem.hpp>
#include <cstdio>
#include <string>
#include <vector>

#include "caffe/common.hpp"
#include "caffe/proto/caffe.pb.h"

#include "layers/temporary_folder.hpp"

namespace caffe {

// Writes values as an LMDB, with keys 00000000, 00000001, ..., each with a
// suffix.
inline void WriteLmdb(const std::string& folder,
                      const std::vector<std::string>& values,
                      const std::string& suffix = "") {
  boost::filesystem::create_directory(folder);
  MDB_env* environment;
  MDB_txn* transaction;
  MDB_dbi database;
  CHECK_EQ(mdb_env_create(&environment), 0);
  CHECK_EQ(mdb_env_set_mapsize(environment, 16 << 20), 0);
  CHECK_EQ(mdb_env_open(environment, folder.c_str(), 0, 0644), 0);
  CHECK_EQ(mdb_txn_begin(environment, NULL, 0, &transaction), 0);
  CHECK_EQ(mdb_dbi_open(transaction, NULL, 0, &database), 0);
  for (size_t i = 0; i < values.size(); ++i) {
    char number[9];
    std::snprintf(number, sizeof(number), "%08u", static_cast<unsigned>(i));
    std::string name = number + suffix;
    MDB_val key = {name.size(), &name[0]};
    MDB_val value = {values[i].size(), const_cast<char*>(values[i].data())};
    CHECK_EQ(mdb_put(transaction, database, &key, &value, 0), 0);
  }
  CHECK_EQ(mdb_txn_commit(transaction), 0);
  mdb_env_close(environment);
}

inline void WriteLmdb(const std::string& folder,
                      const std::vector<Datum>& images,
                      const std::string& suffix = "") {
  std::vector<std::string> values;
  for (const Datum& datum : images) {
    values.push_back(datum.SerializeAsString());
  }
  WriteLmdb(folder, values, suffix);
}

// A raw image whose first byte is `first` and whose others differ from their
// neighbours.
inline Datum RawImage(int channels, int height, int width, int first,
                      int label) {
  Datum datum;
  datum.set_channels(channels);
  datum.set_height(height);
  datum.set_width(width);
  datum.set_label(label);
  std::string bytes(channels * height * width, '\0');
  for (size_t i = 0; i < bytes.size(); ++i) {
    bytes[i] = static_cast<char>(first + 89 * i);
  }
  datum.set_data(bytes);
  return datum;
}

}  // namespace caffe

#endif  // DNNH_TESTS_LAYERS_DATA_IMAGE_LMDB_HPP_
