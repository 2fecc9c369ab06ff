#include <glog/logging.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <memory>

#include "layers/temporary_folder.hpp"

int main(int argc, char** argv) {
  // Each test sets these itself.
  unsetenv("DNNH_BFLOAT16");
  unsetenv("DNNH_ONEDNN");
  // The children of death tests run this too, and do not remove what their
  // fixtures wrote. All of it goes into one folder, which the parent removes.
  std::unique_ptr<caffe::TemporaryFolder> folder;
  if (!getenv("DNNH_TEST_FOLDER")) {
    folder.reset(new caffe::TemporaryFolder);
    setenv("TMPDIR", (*folder / "").c_str(), 1);
    setenv("DNNH_TEST_FOLDER", "1", 1);
  }
  ::testing::InitGoogleTest(&argc, argv);
  // A death test needs a fresh process, because Caffe may have started threads.
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  google::InitGoogleLogging(argv[0]);
  // Keep the layers' INFO lines out of the tests' output.
  FLAGS_minloglevel = google::WARNING;
  FLAGS_logtostderr = true;
  return RUN_ALL_TESTS();
}
