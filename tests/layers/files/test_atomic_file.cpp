#include <sys/resource.h>
#include <sys/stat.h>

#include <csignal>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include <google/protobuf/text_format.h>

#include "caffe/caffe.hpp"
#include "caffe/util/hdf5.hpp"
#include "caffe/util/io.hpp"
#include "gtest/gtest.h"

#include "layers/files/atomic_file.hpp"
#include "layers/temporary_folder.hpp"

namespace caffe {

namespace {

std::string Content(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(file), {});
}

bool Exists(const std::string& path) { return boost::filesystem::exists(path); }

// The process of a death test shall write to the folder of this one.
void ForkDeathTests() { ::testing::FLAGS_gtest_death_test_style = "fast"; }

// Writes fail beyond so many bytes, as where a disk is full.
void LimitFileSize(rlim_t bytes) {
  std::signal(SIGXFSZ, SIG_IGN);
  const rlimit limit = {bytes, bytes};
  CHECK_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

}  // namespace

TEST(AtomicFileTest, ReplacesTheFile) {
  const TemporaryFolder folder;
  const std::string path = folder / "file";
  std::ofstream(path) << "a longer content from before";
  std::ofstream(path + ".partial") << "what a killed run left";
  WriteFileAtomically(path, "new", 3);
  EXPECT_EQ(Content(path), "new");
  EXPECT_FALSE(Exists(path + ".partial"));
}

TEST(AtomicFileTest, LinksAndDevicesStay) {
  const TemporaryFolder folder;
  std::ofstream(folder / "target") << "old";
  boost::filesystem::create_symlink(folder / "target", folder / "link");
  WriteFileAtomically(folder / "link", "new", 3);
  EXPECT_TRUE(boost::filesystem::is_symlink(folder / "link"));
  EXPECT_EQ(Content(folder / "target"), "new");
  boost::filesystem::create_symlink("later", folder / "link_to_link");
  boost::filesystem::create_symlink("target2", folder / "later");
  WriteFileAtomically(folder / "link_to_link", "new", 3);
  EXPECT_TRUE(boost::filesystem::is_symlink(folder / "later"));
  EXPECT_EQ(Content(folder / "target2"), "new");
  WriteFileAtomically("/dev/null", "new", 3);
  struct stat status;
  ASSERT_EQ(stat("/dev/null", &status), 0);
  EXPECT_TRUE(S_ISCHR(status.st_mode));
}

TEST(AtomicFileTest, TheUmaskGivesTheMode) {
  const TemporaryFolder folder;
  const mode_t before = umask(002);
  WriteFileAtomically(folder / "file", "new", 3);
  umask(before);
  struct stat status;
  ASSERT_EQ(stat((folder / "file").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0664u);
}

TEST(AtomicFileTest, BadFolder) {
  const TemporaryFolder folder;
  EXPECT_DEATH(WriteFileAtomically(folder / "none/file", "new", 3),
               "none/file cannot be written \\(No such file or directory\\);"
               " its folder must exist");
}

TEST(AtomicFileTest, FullDiskKeepsTheOldFile) {
  ForkDeathTests();
  const TemporaryFolder folder;
  const std::string path = folder / "file", large(100000, 'x');
  std::ofstream(path) << "old";
  EXPECT_DEATH(
      {
        LimitFileSize(50000);
        WriteFileAtomically(path, large.data(), large.size());
      },
      "file could not be written \\(File too large\\); nothing is left of it");
  EXPECT_EQ(Content(path), "old");
  EXPECT_FALSE(Exists(path + ".partial"));
}

// Caffe reads all values of a data set into the room of one.
TEST(AtomicFileTest, BadHDF5Values) {
  const hid_t file = CreateHDF5InMemory();
  const hsize_t many[] = {1000000}, huge[] = {4294967298};  // 2^32 + 2
  const std::vector<int> numbers(many[0]);
  H5LTmake_dataset_int(file, "numbers", 1, many, numbers.data());
  hdf5_save_int(file, "number", 7);
  hdf5_save_string(file, "text", "seven");
  const hid_t type = H5Tcopy(H5T_C_S1);
  H5Tset_size(type, 8);  // no zero at its end
  H5LTmake_dataset(file, "texts", 1, many, type,
                   std::vector<char>(8 * many[0], 'x').data());
  const hid_t space = H5Screate_simple(1, huge, NULL);
  H5Dclose(H5Dcreate2(file, "huge", H5T_NATIVE_FLOAT, space, H5P_DEFAULT,
                      H5P_DEFAULT, H5P_DEFAULT));
  EXPECT_EQ(hdf5_load_int(file, "number"), 7);
  EXPECT_EQ(hdf5_load_string(file, "text"), "seven");
  for (const std::string name : {"numbers", "text", "none"}) {
    EXPECT_DEATH(hdf5_load_int(file, name),
                 "HDF5 dataset " + name + " is not one whole number");
  }
  for (const std::string name : {"texts", "number", "none"}) {
    EXPECT_DEATH(hdf5_load_string(file, name),
                 "HDF5 dataset " + name + " is not one string");
  }
  Blob<float> blob(std::vector<int>(1, 2));
  EXPECT_DEATH(hdf5_load_nd_dataset(file, "huge", 0, 4, &blob),
               "HDF5 dataset huge is too large for a blob");
  H5Sclose(space);
  H5Tclose(type);
  H5Fclose(file);
}

TEST(AtomicFileTest, HDF5HasTheSameValues) {
  const TemporaryFolder folder;
  const std::string path = folder / "file.h5";
  Blob<float> written(2, 3, 5, 7), read;
  for (int i = 0; i < written.count(); ++i) {
    written.mutable_cpu_data()[i] = 0.5f * i;
  }
  hid_t file = CreateHDF5InMemory();
  hdf5_save_nd_dataset(file, "values", written);
  WriteHDF5Atomically(file, path);
  EXPECT_FALSE(Exists("memory"));
  file = H5Fopen(path.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT);
  hdf5_load_nd_dataset(file, "values", 4, 4, &read, true);
  H5Fclose(file);
  ASSERT_EQ(read.shape(), written.shape());
  for (int i = 0; i < written.count(); ++i) {
    EXPECT_EQ(read.cpu_data()[i], written.cpu_data()[i]);
  }
}

// Snapshots of a solver, in both formats.
class SnapshotTest : public ::testing::TestWithParam<const char*> {
 protected:
  // A net of one layer with weights, outputs x inputs.
  shared_ptr<Solver<float>> Solve(int outputs, const std::string& name,
                                  const std::string& type = "SGD") {
    SolverParameter parameters;
    CHECK(google::protobuf::TextFormat::ParseFromString(
        "type: '" + type
            + "' base_lr: 0.1 momentum: 0.9 lr_policy: 'fixed' max_iter: 5"
              " display: 0"
              " snapshot_after_train: false snapshot_format: "
            + std::string(GetParam()) + " snapshot_prefix: '" + (folder_ / name)
            + "' net_param { name: 'small'"
              " layer { name: 'data' type: 'DummyData' top: 'data'"
              "   dummy_data_param { shape { dim: 2 dim: 3 }"
              "     data_filler { type: 'constant' value: 1 } } }"
              " layer { name: 'ip' type: 'InnerProduct' bottom: 'data'"
              "   top: 'ip' inner_product_param { num_output: "
            + std::to_string(outputs)
            + "     weight_filler { type: 'gaussian' std: 1 } } }"
              " layer { name: 'loss' type: 'Reduction' bottom: 'ip' top: 'loss'"
              "   loss_weight: 1 } }",
        &parameters));
    return shared_ptr<Solver<float>>(
        SolverRegistry<float>::CreateSolver(parameters));
  }

  std::string Name(const std::string& suffix,
                   const std::string& name = "snapshot") const {
    const bool hdf5 = GetParam() == std::string("HDF5");
    return (folder_ / name) + "_iter_2" + suffix + (hdf5 ? ".h5" : "");
  }

  void Truncate(const std::string& path, int bytes) const {
    boost::filesystem::resize_file(path,
                                   boost::filesystem::file_size(path) - bytes);
  }

  const TemporaryFolder folder_;
};

TEST_P(SnapshotTest, Resumes) {
  const auto solver = this->Solve(4, "snapshot");
  solver->Step(2);
  solver->Snapshot();
  EXPECT_FALSE(Exists(Name(".caffemodel") + ".partial"));
  EXPECT_FALSE(Exists(Name(".solverstate") + ".partial"));
  solver->Step(3);
  const auto resumed = this->Solve(4, "snapshot");
  resumed->Restore(Name(".solverstate").c_str());
  EXPECT_EQ(resumed->iter(), 2);
  resumed->Step(3);
  const Blob<float>& expected = *solver->net()->learnable_params()[0];
  const Blob<float>& weights = *resumed->net()->learnable_params()[0];
  for (int i = 0; i < weights.count(); ++i) {
    EXPECT_EQ(weights.cpu_data()[i], expected.cpu_data()[i]);
  }
}

TEST_P(SnapshotTest, FullDiskKeepsTheOldSnapshot) {
  ForkDeathTests();
  const auto solver = this->Solve(2000, "snapshot");
  solver->Step(2);
  solver->Snapshot();
  const std::string model = Content(Name(".caffemodel"));
  const std::string state = Content(Name(".solverstate"));
  EXPECT_DEATH(
      {
        LimitFileSize(10000);
        solver->Snapshot();
      },
      "snapshot_iter_2.caffemodel.*could not be written \\(File too large\\)");
  EXPECT_EQ(Content(Name(".caffemodel")), model);
  EXPECT_EQ(Content(Name(".solverstate")), state);
  EXPECT_FALSE(Exists(Name(".caffemodel") + ".partial"));
}

// Adam's state is twice as large as the model, which the limit admits.
TEST_P(SnapshotTest, FullDiskKeepsTheOldState) {
  ForkDeathTests();
  const auto solver = this->Solve(2000, "snapshot", "Adam");
  solver->Step(2);
  solver->Snapshot();
  const std::string model = Content(Name(".caffemodel"));
  const std::string state = Content(Name(".solverstate"));
  ASSERT_GT(state.size(), model.size() + 8192);
  EXPECT_DEATH(
      {
        LimitFileSize(model.size() + 4096);
        solver->Snapshot();
      },
      "snapshot_iter_2.solverstate.*could not be written \\(File too large\\)");
  EXPECT_EQ(Content(Name(".solverstate")), state);
  EXPECT_FALSE(Exists(Name(".solverstate") + ".partial"));
}

TEST_P(SnapshotTest, BadTruncatedState) {
  const auto solver = this->Solve(50, "snapshot");
  solver->Step(2);
  solver->Snapshot();
  Truncate(Name(".solverstate"), 100);
  EXPECT_DEATH(
      this->Solve(50, "snapshot")->Restore(Name(".solverstate").c_str()),
      "snapshot_iter_2.solverstate");
}

TEST_P(SnapshotTest, BadTruncatedModel) {
  const auto solver = this->Solve(50, "snapshot");
  solver->Step(2);
  solver->Snapshot();
  Truncate(Name(".caffemodel"), 100);
  EXPECT_DEATH(
      this->Solve(50, "snapshot")->Restore(Name(".solverstate").c_str()),
      "snapshot_iter_2.caffemodel");
}

TEST_P(SnapshotTest, BadStateOfAnotherNet) {
  const auto solver = this->Solve(4, "snapshot");
  solver->Step(2);
  solver->Snapshot();
  const auto other = this->Solve(5, "other");
  other->Step(2);
  other->Snapshot();
  // The weights fit, the history does not.
  boost::filesystem::rename(Name(".caffemodel", "other"), Name(".caffemodel"));
  EXPECT_DEATH(this->Solve(5, "other")->Restore(Name(".solverstate").c_str()),
               GetParam() == std::string("HDF5")
                   ? "shape mismatch"
                   : "snapshot_iter_2.solverstate has history blob 0 of another"
                     " shape than the net's 5 3");
}

// A model that was cut between two layers is valid to protobuf.
TEST_P(SnapshotTest, BadModelWithoutALayer) {
  const auto solver = this->Solve(4, "snapshot");
  solver->Step(2);
  solver->Snapshot();
  if (GetParam() == std::string("HDF5")) {
    const hid_t model =
        H5Fopen(Name(".caffemodel").c_str(), H5F_ACC_RDWR, H5P_DEFAULT);
    CHECK_GE(H5Ldelete(model, "data/ip", H5P_DEFAULT), 0);
    H5Fclose(model);
  } else {
    NetParameter model;
    CHECK(ReadProtoFromBinaryFile(Name(".caffemodel"), &model));
    for (LayerParameter& layer : *model.mutable_layer()) {
      layer.clear_blobs();
    }
    WriteProtoToBinaryFile(model, Name(".caffemodel"));
  }
  EXPECT_DEATH(
      this->Solve(4, "snapshot")->Restore(Name(".solverstate").c_str()),
      "snapshot_iter_2.caffemodel.* has no weights of the layer 'ip'");
}

TEST_P(SnapshotTest, BadWeightsOfAnotherNet) {
  const auto solver = this->Solve(4, "snapshot");
  solver->Step(2);
  solver->Snapshot();
  NetParameter param;
  solver->net()->ToProto(&param);
  param.mutable_layer(1)->set_name("other");
  Net<float> other(param);
  EXPECT_DEATH(other.CopyTrainedLayersFrom(Name(".caffemodel")),
               "nothing can be copied; they are of another net");
  // A count of iterations, which is set to 0, is no weight.
  LayerParameter* threshold = param.add_layer();
  threshold->set_name("threshold");
  threshold->set_type("PiecewiseThreshold");
  threshold->add_bottom(param.layer(1).top(0));
  threshold->add_top("codes");
  Net<float> with_count(param);
  if (std::string(GetParam()) == "HDF5") {
    with_count.ToHDF5(Name(".caffemodel"));
  } else {
    NetParameter model;
    with_count.ToProto(&model);
    WriteProtoToBinaryFile(model, Name(".caffemodel"));
  }
  param.mutable_layer(1)->set_name("another");
  Net<float> sharing_the_count(param);
  EXPECT_DEATH(sharing_the_count.CopyTrainedLayersFrom(Name(".caffemodel")),
               "nothing can be copied; they are of another net");
}

INSTANTIATE_TEST_SUITE_P(Formats, SnapshotTest,
                         ::testing::Values("BINARYPROTO", "HDF5"),
                         [](const auto& info) { return info.param; });

}  // namespace caffe
