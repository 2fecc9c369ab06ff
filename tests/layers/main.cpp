#include <cstdlib>

#include <glog/logging.h>
#include <gtest/gtest.h>

int main(int argc, char** argv) {
  // Tests say themselves what is to be on.
  unsetenv("DNNH_BFLOAT16");
  unsetenv("DNNH_ONEDNN");
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
