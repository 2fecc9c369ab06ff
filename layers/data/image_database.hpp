#ifndef DNNH_LAYERS_DATA_IMAGE_DATABASE_HPP_
#define DNNH_LAYERS_DATA_IMAGE_DATABASE_HPP_

#include <lmdb.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#ifdef USE_OPENCV
#include <opencv2/core/core.hpp>
#endif

#include "caffe/proto/caffe.pb.h"

namespace caffe {

/// The pixels of one image. Value (c, y, x) is at
/// data[c * channel_step + y * row_step + x * column_step].
struct Pixels {
  int channels, height, width;
  const uint8_t* data;
  ptrdiff_t channel_step, row_step, column_step;

  Datum datum;  // owns the pixels of a raw image
#ifdef USE_OPENCV
  cv::Mat decoded;  // owns those of an encoded one
#endif
};

/**
 * @brief An LMDB of labelled images, memory-mapped, read by any number of
 *        threads at once.
 *
 * A record is a Datum: `data` has the image, either its bytes plane by plane
 * (channels x height x width) or, with `encoded` set, a JPEG, PNG or other file
 * that OpenCV reads. `label` has its class, or `float_data` a 0 or 1 for each
 * class (multi-hot). All images have the same size. Images are numbered from 0
 * in the order of their keys. Every record is read once at the start, for its
 * label and size.
 *
 * The database must not be written to while it is open (it is opened without a
 * lock). Its folder may be replaced by another, as tools/make_triplets.py does.
 *
 * An error in the database ends the program with a sentence that begins with
 * `owner` and names the file and the key.
 */
class ImageDatabase {
 public:
  /// @param owner e.g. "TripletData layer 'images'"
  /// @param source the LMDB's folder
  /// @param decoding the channels of an encoded image (force_color,
  ///        force_gray; neither: those of the file)
  /// @param order of an encoded image's channels; raw bytes keep their order
  ImageDatabase(const std::string& owner, const std::string& source,
                const TransformationParameter& decoding,
                TripletDataParameter::ChannelOrder order);
  ~ImageDatabase();
  ImageDatabase(const ImageDatabase&) = delete;
  ImageDatabase& operator=(const ImageDatabase&) = delete;

  /// The LMDB's folder.
  const std::string& source() const { return source_; }
  int size() const { return static_cast<int>(records_.size()); }
  int channels() const { return channels_; }
  int height() const { return height_; }
  int width() const { return width_; }

  /// The number of classes of multi-hot labels; 0 for single labels.
  int classes() const { return classes_; }
  /// The labels of each image.
  const std::vector<std::vector<int>>& labels() const { return labels_; }

  /// Reads and decodes an image.
  void Read(int index, Pixels* pixels) const;

  /// "image 3 (key '00000003') of data/x_lmdb", for messages.
  std::string Describe(int index) const;

 private:
  struct Record {
    MDB_val key, value;
  };

  void Open();
  void ReadRecords();
  void ReadLabels(int index, const Datum& datum);
  void Unpack(int index, Pixels* pixels) const;
  void Decode(int index, Pixels* pixels) const;
  void CheckSize(int index, const Pixels& pixels) const;

  const std::string owner_;
  const std::string source_;
  const int decoding_;  // cv::ImreadModes
  const bool rgb_;      // OpenCV gives BGR
  MDB_env* environment_;
  MDB_txn* transaction_;         // open as long as records_ are used
  std::vector<Record> records_;  // they point into the mapped file
  std::vector<std::vector<int>> labels_;
  int classes_, channels_, height_, width_;
};

}  // namespace caffe

#endif  // DNNH_LAYERS_DATA_IMAGE_DATABASE_HPP_
