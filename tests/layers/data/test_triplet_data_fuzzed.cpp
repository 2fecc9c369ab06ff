#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <fstream>
#include <functional>
#include <iterator>
#include <random>
#include <string>
#include <vector>

#include <opencv2/imgcodecs/imgcodecs.hpp>

#include "layers/data/triplet_data_test.hpp"

namespace caffe {

// Damaged records and lists: a layer reads them, or ends with a sentence
// (abort), never by a signal or by what a sanitizer finds.
class FuzzedTripletDataTest
    : public TripletDataTest<Device<float, Caffe::CPU>> {
 protected:
  // What is wrong with how a process that reads ends; empty if nothing is.
  std::string Ending(const std::function<void()>& read) {
    const std::string log_path = folder_ / "stderr";
    const pid_t process = fork();
    if (process == 0) {
      dup2(open(log_path.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600),
           STDERR_FILENO);
      alarm(60);
      try {
        read();
      } catch (...) { _exit(3); }
      _exit(0);
    }
    int status = 0;
    CHECK_EQ(waitpid(process, &status, 0), process);
    if (WIFSIGNALED(status) && WTERMSIG(status) != SIGABRT) {
      return "signal " + std::to_string(WTERMSIG(status));
    }
    if (WIFEXITED(status) && WEXITSTATUS(status) != 0) {
      return "exit status " + std::to_string(WEXITSTATUS(status));
    }
    if (WIFSIGNALED(status)) {
      ++aborted_;
      std::ifstream file(log_path);
      const std::string text(std::istreambuf_iterator<char>(file), {});
      // An exception on a thread and a damaged heap abort, too.
      if (text.find("TripletData layer 'images'") == std::string::npos) {
        return "abort: " + text;
      }
    }
    return "";
  }

  void Damage(std::string* bytes) {
    const int edits = 1 + random_() % 4;
    for (int i = 0; i < edits && !bytes->empty(); ++i) {
      const size_t at = random_() % bytes->size();
      switch (random_() % 4) {
        case 0: (*bytes)[at] ^= 1 << random_() % 8; break;
        case 1: (*bytes)[at] = "\x00\x7f\xff\x80"[random_() % 4]; break;
        case 2: bytes->resize(at); break;
        default: bytes->insert(at, bytes->substr(at, random_() % 20));
      }
    }
  }

  // A valid record with another field.
  void Damage(Datum* datum) {
    const int numbers[] = {-1, 0, 1, 2, 5, 1 << 20, 2147483647};
    const int number = numbers[random_() % 7];
    switch (random_() % 6) {
      case 0: datum->set_channels(number); break;
      case 1: datum->set_height(number); break;
      case 2: datum->set_width(number); break;
      case 3: datum->set_encoded(!datum->encoded()); break;
      case 4: datum->add_float_data(number); break;
      default: datum->mutable_data()->resize(16 + random_() % 50);
    }
  }

  std::mt19937 random_{1};
  int aborted_ = 0;
};

TEST_F(FuzzedTripletDataTest, Records) {
  for (const std::string format : {"", ".png", ".jpg"}) {
    std::vector<Datum> whole;
    for (int i = 0; i < kImages; ++i) {
      // Too large for the room that a string has in itself, where no sanitizer
      // sees what is read beyond it.
      Datum datum = RawImage(1, 6, 8, i, i % kClasses);
      if (!format.empty()) {
        std::vector<uint8_t> file;
        cv::Mat image(6, 8, CV_8UC1, &(*datum.mutable_data())[0]);
        cv::imencode(format, image, file);
        datum.set_data(std::string(file.begin(), file.end()));
        datum.set_encoded(true);
      }
      whole.push_back(datum);
    }
    aborted_ = 0;
    const int inputs = 60;
    for (int i = 0; i < inputs; ++i) {
      // One record, or all in the same way: the first says what others are.
      const bool is_all = i % 3 == 0;
      const std::mt19937 before = random_;
      std::vector<std::string> records;
      for (size_t j = 0; j < whole.size(); ++j) {
        Datum datum = whole[j];
        const bool is_damaged = is_all || j == i % 3u;
        if (is_all) { random_ = before; }
        if (is_damaged && i % 2 == 0) { Damage(&datum); }
        records.push_back(datum.SerializeAsString());
        if (is_damaged && i % 2 == 1) { Damage(&records.back()); }
      }
      boost::filesystem::remove_all(folder_ / "db");
      WriteLmdb(folder_ / "db", records);
      EXPECT_EQ(
          Ending([this] { Run(Make("batch_size: 40 threads: 2").get(), 3); }),
          "")
          << "input " << i << ", format '" << format << "'";
    }
    EXPECT_GT(aborted_, inputs / 10) << format;
    EXPECT_LT(aborted_, inputs) << format;
  }
}

TEST_F(FuzzedTripletDataTest, Lists) {
  const std::string file = folder_ / "list.h5";
  std::vector<int> triplets;
  for (int i = 0; i < 40; ++i) {
    triplets.insert(triplets.end(), {i, i + 4, i + 1});
  }
  WriteTriplets(file, triplets, kImages);
  std::ifstream stream(file, std::ios::binary);
  const std::string whole(std::istreambuf_iterator<char>(stream), {});
  for (int i = 0; i < 120; ++i) {
    std::string damaged = whole;
    Damage(&damaged);
    std::ofstream(file, std::ios::binary) << damaged;
    EXPECT_EQ(Ending([&] {
                Run(Make("batch_size: 4 triplet_file: '" + file + "'").get(),
                    3);
              }),
              "")
        << "input " << i;
  }
  EXPECT_GT(aborted_, 20);
}

}  // namespace caffe
