#ifndef DNNH_LAYERS_DATA_RANDOM_STREAM_HPP_
#define DNNH_LAYERS_DATA_RANDOM_STREAM_HPP_

#include <cstdint>
#include <initializer_list>
#include <limits>

namespace caffe {

/// The first word of a stream's key, so that no two uses share a stream. The
/// values are part of what a seed means: they never change.
enum Purpose : uint64_t { TRIPLET = 0, CLASSES = 1, TRANSFORM = 2, BATCH = 3 };

/**
 * @brief Random numbers that depend on a key alone, such as (purpose, seed,
 *        batch, position): any thread can draw those of any position, at any
 *        time, and gets the same numbers.
 *
 * SplitMix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number
 * generators", OOPSLA 2014): its finalizer mixes the key's words into the
 * state. Not std::uniform_int_distribution, whose numbers differ between
 * standard libraries.
 */
class RandomStream {
 public:
  explicit RandomStream(std::initializer_list<uint64_t> key) : state_(0) {
    for (uint64_t word : key) { state_ = Mix(state_ + kGamma + word); }
  }

  /// Uniform over all 64-bit words.
  uint64_t Next() { return Mix(state_ += kGamma); }

  /// Uniform over 0..n-1, for n of at least 1.
  uint64_t Below(uint64_t n) {
    const uint64_t all = std::numeric_limits<uint64_t>::max();
    const uint64_t limit = all - all % n;  // the largest multiple of n
    uint64_t word;
    do { word = Next(); } while (word >= limit);
    return word % n;
  }

  /// Uniform over -1..1, in steps of 2^-52.
  double Balanced() { return (Next() >> 11) * 0x1p-52 - 1; }

 private:
  static const uint64_t kGamma = 0x9e3779b97f4a7c15;  // 2^64 / golden ratio

  static uint64_t Mix(uint64_t z) {
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }

  uint64_t state_;
};

}  // namespace caffe

#endif  // DNNH_LAYERS_DATA_RANDOM_STREAM_HPP_
