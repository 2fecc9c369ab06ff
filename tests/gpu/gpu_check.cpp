// What tests/gpu/on_gpu.py needs besides Caffe's own programs:
//   gpu_check database FOLDER < records    an LMDB of images
//   gpu_check encode DEPLOY WEIGHTS DATABASE GPU SECONDS CODES
// `records` is a line "images channels height width classes", then for each
// image its label, an int32, and its pixels, plane by plane. With classes above
// 0 labels are multi-hot. `encode` writes the codes, a byte per bit, and prints
// how many images it encodes a second. WEIGHTS - leaves the net as its fillers
// make it; GPU -1 is the CPU.
#include <chrono>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "caffe/caffe.hpp"
#include "caffe/util/db.hpp"
#include "caffe/util/format.hpp"

namespace {

const int kBatch = 100;  // as in dnnh.nets.encoder

void WriteDatabase(const std::string& folder) {
  int images, channels, height, width, classes;
  std::cin >> images >> channels >> height >> width >> classes;
  std::cin.get();  // the end of the line
  std::unique_ptr<caffe::db::DB> database(caffe::db::GetDB("lmdb"));
  database->Open(folder, caffe::db::NEW);
  std::unique_ptr<caffe::db::Transaction> transaction(
      database->NewTransaction());
  std::string pixels(size_t(channels) * height * width, '\0');
  for (int i = 0; i < images; ++i) {
    int32_t label = 0;
    std::cin.read(reinterpret_cast<char*>(&label), sizeof(label));
    std::cin.read(&pixels[0], pixels.size());
    CHECK(std::cin) << "the records end at image " << i << " of " << images;
    caffe::Datum datum;
    datum.set_channels(channels);
    datum.set_height(height);
    datum.set_width(width);
    datum.set_data(pixels);
    datum.set_label(label);
    for (int k = 0; k < classes; ++k) { datum.add_float_data(k == label); }
    transaction->Put(caffe::format_int(i, 8), datum.SerializeAsString());
    if (i % 1000 == 999) {
      transaction->Commit();
      transaction.reset(database->NewTransaction());
    }
  }
  transaction->Commit();
}

std::vector<std::string> ReadImages(const std::string& folder) {
  std::unique_ptr<caffe::db::DB> database(caffe::db::GetDB("lmdb"));
  database->Open(folder, caffe::db::READ);
  std::unique_ptr<caffe::db::Cursor> cursor(database->NewCursor());
  std::vector<std::string> images;
  for (; cursor->valid(); cursor->Next()) {
    caffe::Datum datum;
    CHECK(datum.ParseFromString(cursor->value()));
    images.push_back(datum.data());
  }
  return images;
}

void Encode(const std::string& deploy, const std::string& weights,
            const std::string& database, int gpu, double seconds,
            const std::string& codes_file) {
  if (gpu >= 0) {
    caffe::Caffe::SetDevice(gpu);
    caffe::Caffe::set_mode(caffe::Caffe::GPU);
  }
  caffe::Caffe::set_random_seed(1);
  caffe::Net<float> net(deploy, caffe::TEST);
  if (weights != "-") { net.CopyTrainedLayersFrom(weights); }
  const std::vector<std::string> images = ReadImages(database);
  caffe::Blob<float>* input = net.input_blobs()[0];
  input->Reshape(kBatch, input->shape(1), input->shape(2), input->shape(3));
  net.Reshape();
  CHECK_EQ(images[0].size(), size_t(input->count(1)));
  std::ofstream codes(codes_file, std::ios::binary);
  typedef std::chrono::steady_clock Clock;
  Clock::time_point start;
  long encoded = 0;
  double passed = 0;
  // The first pass writes the codes, and is not timed.
  for (int pass = 0; passed < seconds; ++pass) {
    if (pass == 1) {
      start = Clock::now();
      encoded = 0;
    }
    for (size_t first = 0; first + kBatch <= images.size(); first += kBatch) {
      float* values = input->mutable_cpu_data();
      for (int i = 0; i < kBatch; ++i) {
        for (const char pixel : images[first + i]) {
          *values++ = static_cast<unsigned char>(pixel);
        }
      }
      const caffe::Blob<float>* output = net.Forward()[0];
      const float* bits = output->cpu_data();
      for (int i = 0; i < output->count() && pass == 0; ++i) {
        codes.put(bits[i] > 0.5);
      }
      encoded += kBatch;
      if (pass > 0) {
        passed = std::chrono::duration<double>(Clock::now() - start).count();
        if (passed >= seconds) { break; }
      }
    }
  }
  std::printf("{\"images\": %ld, \"seconds\": %g, \"images_per_second\": %g}\n",
              encoded, passed, encoded / passed);
}

}  // namespace

int main(int argc, char** argv) {
  FLAGS_minloglevel = google::WARNING;
  FLAGS_logtostderr = true;
  google::InitGoogleLogging(argv[0]);
  const std::vector<std::string> words(argv + 1, argv + argc);
  if (words.size() == 2 && words[0] == "database") {
    WriteDatabase(words[1]);
  } else if (words.size() == 7 && words[0] == "encode") {
    Encode(words[1], words[2], words[3], std::stoi(words[4]),
           std::stod(words[5]), words[6]);
  } else {
    std::cerr << "see the first lines of tests/gpu/gpu_check.cpp" << std::endl;
    return 2;
  }
}
