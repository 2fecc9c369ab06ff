#include <glog/logging.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <memory>

#include "layers/temporary_folder.hpp"

int main(int argc, char** argv) {
  // Tests say themselves what is to be on.
  unsetenv("DNNH_BFLOAT16");
  unsetenv("DNNH_ONEDNN");
  // The children of death tests run this, too, and leave what their fixtures wrote:
  // all of it goes into one folder, which the first of them removes.
  std::unique_ptr<caffe::TemporaryFolder> folder;
  if (!getenv("DNNH_TEST_FOLDER")) {
    folder.reset(new caffe::TemporaryFolder);
    setenv("TMPDIR", (*folder / "").c_str(), 1);
    setenv("DNNH_TEST_FOLDER", "1", 1);
  }
  ::testing::InitGoogleTest(&argc, argv);
  // A CHECK that fails in a death test aborts; its child needs a fresh process
  // because Caffe may have started threads.
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  google::InitGoogleLogging(argv[0]);
  // The layers' INFO lines would bury the tests' own.
  FLAGS_minloglevel = google::WARNING;
  FLAGS_logtostderr = true;
  return RUN_ALL_TESTS();
}
