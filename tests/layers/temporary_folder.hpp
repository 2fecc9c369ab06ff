#ifndef DNNH_TESTS_LAYERS_TEMPORARY_FOLDER_HPP_
#define DNNH_TESTS_LAYERS_TEMPORARY_FOLDER_HPP_

#include <boost/filesystem.hpp>
#include <string>

namespace caffe {

// A temporary folder for one test, removed with the object.
class TemporaryFolder {
 public:
  TemporaryFolder()
      : path_(boost::filesystem::temp_directory_path()
              / boost::filesystem::unique_path("dnnh-%%%%%%%%")) {
    boost::filesystem::create_directory(path_);
  }
  ~TemporaryFolder() { boost::filesystem::remove_all(path_); }
  std::string operator/(const std::string& name) const {
    return (path_ / name).string();
  }

 private:
  const boost::filesystem::path path_;
};

}  // namespace caffe

#endif  // DNNH_TESTS_LAYERS_TEMPORARY_FOLDER_HPP_
