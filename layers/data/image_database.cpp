#include "layers/data/image_database.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <sstream>
#include <string>
#include <vector>

#ifdef USE_OPENCV
#include <opencv2/imgcodecs/imgcodecs.hpp>
#endif

#include "caffe/common.hpp"

#include "layers/files/lmdb_pages.hpp"

namespace caffe {

namespace {

#ifdef USE_OPENCV
// The file's own channels, 8 bits each. The EXIF orientation is ignored, as it
// is when the net encodes the same file.
int DecodingFlags(const TransformationParameter& param) {
  if (param.force_color()) {
    return cv::IMREAD_COLOR | cv::IMREAD_IGNORE_ORIENTATION;
  }
  return param.force_gray()
      ? cv::IMREAD_GRAYSCALE | cv::IMREAD_IGNORE_ORIENTATION
      : cv::IMREAD_UNCHANGED;
}
#else
int DecodingFlags(const TransformationParameter& param) { return 0; }
#endif

// OpenCV pads a truncated JPEG and reports no error. This skips the segments by
// their length (one may hold a thumbnail with an end marker of its own), up to
// the scan. After it there must be an end marker; what follows that is ignored.
bool IsTruncatedJpeg(const std::string& file) {
  const unsigned char* bytes =
      reinterpret_cast<const unsigned char*>(file.data());
  const size_t size = file.size();
  if (size < 2 || bytes[0] != 0xff || bytes[1] != 0xd8) { return false; }
  const unsigned char scan = 0xda;
  size_t at = 2;
  while (at + 4 <= size && bytes[at] == 0xff && bytes[at + 1] != scan) {
    const bool fill = bytes[at + 1] == 0xff;  // fill bytes before a marker
    at += fill ? 1 : 2 + 256 * bytes[at + 2] + bytes[at + 3];
  }
  for (; at + 2 <= size; ++at) {
    if (bytes[at] == 0xff && bytes[at + 1] == 0xd9) { return false; }
  }
  return true;
}

// Whether Caffe's convert_imageset wrote an image, of bytes plane by plane. Its
// keys are eight digits, "_" and the path.
bool IsBlueFirst(const MDB_val& key, const Pixels& pixels) {
  const char* text = static_cast<const char*>(key.mv_data);
  return !pixels.datum.encoded() && pixels.channels == 3 && key.mv_size > 9
      && text[8] == '_' && std::all_of(text, text + 8, [](char c) {
           return '0' <= c && c <= '9';
         });
}

}  // namespace

ImageDatabase::ImageDatabase(const std::string& owner,
                             const std::string& source,
                             const TransformationParameter& decoding,
                             TripletDataParameter::ChannelOrder order)
    : owner_(owner), source_(source), decoding_(DecodingFlags(decoding)),
      rgb_(order == TripletDataParameter::RGB), environment_(NULL),
      transaction_(NULL), classes_(0), channels_(0), height_(0), width_(0) {
  CHECK(!(decoding.force_color() && decoding.force_gray()))
      << owner_ << ": force_color and force_gray are both set; choose one";
  Open();
  ReadRecords();
}

ImageDatabase::~ImageDatabase() {
  mdb_txn_abort(transaction_);
  mdb_env_close(environment_);
}

void ImageDatabase::Open() {
  const char* remedy = "; write it with 'python tools/make_triplets.py'";
  struct stat file;
  CHECK_EQ(stat((source_ + "/data.mdb").c_str(), &file), 0)
      << owner_ << ": there is no image database " << source_ << " ("
      << std::strerror(errno) << ")" << remedy;
  const std::string damage = LmdbDamage(source_);
  CHECK(damage.empty()) << owner_ << ": " << source_ << "/data.mdb " << damage
                        << remedy;
  CHECK_EQ(mdb_env_create(&environment_), MDB_SUCCESS);
  // Without a lock file, the folder may be read-only, and several nets of one
  // process can open the database. make_triplets.py replaces a database by
  // renaming a new one over it; the old one stays readable until it is closed.
  int status = mdb_env_open(environment_, source_.c_str(),
                            MDB_RDONLY | MDB_NOLOCK | MDB_NOTLS, 0);
  CHECK_EQ(status, MDB_SUCCESS)
      << owner_ << ": " << source_ << " is not a readable LMDB ("
      << mdb_strerror(status) << ")" << remedy;
  status = mdb_txn_begin(environment_, NULL, MDB_RDONLY, &transaction_);
  CHECK_EQ(status, MDB_SUCCESS)
      << owner_ << ": " << source_ << " cannot be read ("
      << mdb_strerror(status) << ")" << remedy;
}

void ImageDatabase::ReadRecords() {
  MDB_dbi database;
  MDB_cursor* cursor = NULL;
  int status = mdb_dbi_open(transaction_, NULL, 0, &database);
  if (status == MDB_SUCCESS) {
    status = mdb_cursor_open(transaction_, database, &cursor);
  }
  Record record;
  Pixels pixels;
  while (status == MDB_SUCCESS) {
    status = mdb_cursor_get(cursor, &record.key, &record.value, MDB_NEXT);
    if (status != MDB_SUCCESS) { break; }
    CHECK_LT(records_.size(),
             static_cast<size_t>(std::numeric_limits<int>::max()))
        << owner_ << ": " << source_
        << " has more images than an int can count";
    const int index = size();
    records_.push_back(record);
    if (index == 0) {  // all others must have the size of the first
      Unpack(0, &pixels);
      if (pixels.datum.encoded()) { Decode(0, &pixels); }
      channels_ = pixels.channels;
      height_ = pixels.height;
      width_ = pixels.width;
      LOG_IF(WARNING, IsBlueFirst(record.key, pixels))
          << owner_ << ": " << source_
          << " was written by convert_imageset: its"
          << " planes are blue, green and red, and a net learns from them in"
          << " this order, but is given red first when it encodes; write the"
          << " database with 'python tools/make_triplets.py', or with"
          << " 'convert_imageset --encoded'";
    } else {
      Unpack(index, &pixels);
      // The record of an encoded image may state its size.
      const Datum& datum = pixels.datum;
      CHECK(!datum.encoded() || datum.height() == 0 || datum.width() == 0
            || (datum.height() == height_ && datum.width() == width_))
          << owner_ << ": " << Describe(index) << " is " << datum.height()
          << " x " << datum.width() << ", but the first image is " << height_
          << " x " << width_ << "; all images need the same size";
    }
    ReadLabels(index, pixels.datum);
  }
  if (cursor) { mdb_cursor_close(cursor); }
  CHECK_EQ(status, MDB_NOTFOUND)
      << owner_ << ": " << source_ << " cannot be read after image "
      << size() - 1 << " (" << mdb_strerror(status)
      << "); write it again with 'python tools/make_triplets.py'";
  CHECK_GT(size(), 0)
      << owner_ << ": " << source_
      << " is empty; write it with 'python tools/make_triplets.py'";
}

void ImageDatabase::ReadLabels(int index, const Datum& datum) {
  const bool multi_hot = datum.float_data_size() > 0;
  CHECK(multi_hot || datum.has_label())
      << owner_ << ": " << Describe(index)
      << " has no label; write each image with its label: a class in `label`,"
      << " or a 0 or 1 for each class in `float_data`";
  const int classes = datum.float_data_size();
  if (index == 0) { classes_ = classes; }
  CHECK_EQ(classes, classes_)
      << owner_ << ": " << Describe(index) << " has "
      << (classes
              ? "multi-hot labels of " + std::to_string(classes) + " classes"
              : std::string("a single label"))
      << ", but the first image has "
      << (classes_
              ? "multi-hot labels of " + std::to_string(classes_) + " classes"
              : std::string("a single label"))
      << "; all images need labels of the same kind";
  std::vector<int> labels;
  if (!multi_hot) {
    // Blobs have labels as floats, which tell no more integers apart.
    CHECK(std::abs(int64_t{datum.label()}) <= 1 << 24)
        << owner_ << ": " << Describe(index) << " has the label "
        << datum.label() << "; number the classes from 0";
    labels.push_back(datum.label());
  }
  for (int i = 0; i < classes; ++i) {
    const float value = datum.float_data(i);
    CHECK(value == 0 || value == 1)
        << owner_ << ": " << Describe(index) << " has " << value
        << " for class " << i << "; multi-hot labels are"
        << " 0 or 1";
    if (value == 1) { labels.push_back(i); }
  }
  labels_.push_back(labels);
}

void ImageDatabase::Read(int index, Pixels* pixels) const {
  Unpack(index, pixels);
  if (pixels->datum.encoded()) { Decode(index, pixels); }
}

// Parses a record. For a raw image, this gives the pixels as well.
void ImageDatabase::Unpack(int index, Pixels* pixels) const {
  const MDB_val& value = records_[index].value;
  Datum& datum = pixels->datum;
  CHECK(value.mv_size <= static_cast<size_t>(std::numeric_limits<int>::max())
        && datum.ParseFromArray(value.mv_data, value.mv_size)
        && !datum.data().empty())
      << owner_ << ": " << Describe(index)
      << " is not a Datum with an image; write the database again with"
      << " 'python tools/make_triplets.py'";
  if (datum.encoded()) { return; }
  pixels->channels = datum.channels();
  pixels->height = datum.height();
  pixels->width = datum.width();
  const double expected =
      static_cast<double>(datum.channels()) * datum.height() * datum.width();
  CHECK(datum.channels() > 0 && datum.height() > 0 && datum.width() > 0
        && datum.data().size() == expected)
      << owner_ << ": " << Describe(index) << " has " << datum.data().size()
      << " bytes for " << datum.channels() << " x " << datum.height() << " x "
      << datum.width() << " values; write the database again with"
      << " 'python tools/make_triplets.py'";
  pixels->data = reinterpret_cast<const uint8_t*>(datum.data().data());
  pixels->channel_step = static_cast<ptrdiff_t>(datum.height()) * datum.width();
  pixels->row_step = datum.width();
  pixels->column_step = 1;
  CheckSize(index, *pixels);
}

#ifndef USE_OPENCV

void ImageDatabase::Decode(int index, Pixels* pixels) const {
  LOG(FATAL) << owner_ << ": " << Describe(index) << " is an image file; this"
             << " build has no OpenCV to decode it: store pixels";
}

#else

void ImageDatabase::Decode(int index, Pixels* pixels) const {
  const std::string& file = pixels->datum.data();
  std::string problem = "OpenCV cannot read it";
  pixels->decoded.release();
  if (IsTruncatedJpeg(file)) {
    problem = "it is a truncated JPEG";
  } else {
    try {
      pixels->decoded =
          cv::imdecode(cv::Mat(1, static_cast<int>(file.size()), CV_8UC1,
                               const_cast<char*>(file.data())),
                       decoding_);
    } catch (const cv::Exception& error) { problem = error.err; }
  }
  const cv::Mat& image = pixels->decoded;
  CHECK(!image.empty()) << owner_ << ": " << Describe(index) << " cannot be"
                        << " decoded: " << problem
                        << "; replace it or remove it";
  CHECK(image.depth() == CV_8U
        && (image.channels() == 1 || image.channels() == 3))
      << owner_ << ": " << Describe(index) << " has " << image.channels()
      << " channels of " << image.elemSize1() * 8
      << " bits; 1 or 3 of 8 bits are supported, and"
      << " transform_param { force_color: true } converts to 3";
  const bool reversed = rgb_ && image.channels() == 3;
  pixels->channels = image.channels();
  pixels->height = image.rows;
  pixels->width = image.cols;
  pixels->data = image.data + (reversed ? 2 : 0);
  pixels->channel_step = reversed ? -1 : 1;
  pixels->row_step = image.step;
  pixels->column_step = image.channels();
  CheckSize(index, *pixels);
}

#endif

void ImageDatabase::CheckSize(int index, const Pixels& pixels) const {
  if (channels_ == 0) { return; }  // the first image
  CHECK(pixels.channels == channels_ && pixels.height == height_
        && pixels.width == width_)
      << owner_ << ": " << Describe(index) << " is " << pixels.channels << " x "
      << pixels.height << " x " << pixels.width << ", but the first image is "
      << channels_ << " x " << height_ << " x " << width_
      << "; all images need the same size and"
      << " number of channels";
}

std::string ImageDatabase::Describe(int index) const {
  const MDB_val& key = records_[index].key;
  std::ostringstream text;
  text << "image " << index << " (key '";
  const char* bytes = static_cast<const char*>(key.mv_data);
  for (size_t i = 0; i < key.mv_size; ++i) {
    const bool plain = bytes[i] >= ' ' && bytes[i] <= '~';
    text << (plain ? bytes[i] : '?');
  }
  text << "') of " << source_;
  return text.str();
}

}  // namespace caffe
