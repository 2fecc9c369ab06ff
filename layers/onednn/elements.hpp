#ifndef DNNH_LAYERS_ONEDNN_ELEMENTS_HPP_
#define DNNH_LAYERS_ONEDNN_ELEMENTS_HPP_

#include <algorithm>
#include <cstdint>

/**
 * Put before a function whose loops are compiled for AVX2 as well, or for
 * AVX-512 and for AVX2 with FMA; the version is selected at run time. (Loops
 * over single values are no faster with AVX-512: memory bandwidth bounds them.)
 */
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define DNNH_WITH_AVX2 __attribute__((target_clones("avx2", "default")))
#else
#define DNNH_WITH_AVX2
#endif
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) \
    && __GNUC__ >= 12
#define DNNH_WITH_AVX512 \
  __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#define DNNH_HAS_AVX512_LOOPS true
#else
#define DNNH_WITH_AVX512
#define DNNH_HAS_AVX512_LOOPS false
#endif

// Of omp.h, which comes with a compiler and which clang-tidy alone lacks.
extern "C" int omp_get_max_threads();
extern "C" int omp_get_thread_num();

namespace caffe {

/**
 * @brief The upper 16 bits of a float: its range, and 8 bits of precision.
 *
 * In oneDNN's format. Written so that compilers vectorize loops over it.
 */
struct Bfloat16 {
  /// Rounds to the nearest, ties to even; a NaN stays a NaN.
  Bfloat16& operator=(float value) {
    const uint32_t whole = __builtin_bit_cast(uint32_t, value);
    const uint32_t rounded = whole + 0x7fff + (whole >> 16 & 1);
    bits = static_cast<uint16_t>((value == value ? rounded : whole | 0x400000)
                                 >> 16);
    return *this;
  }
  operator float() const {
    return __builtin_bit_cast(float, static_cast<uint32_t>(bits) << 16);
  }

  uint16_t bits;
};

/// Calls loop(begin, length) for ranges that partition [0, count), on all
/// threads.
template <typename Loop>
void ForRanges(int64_t count, const Loop& loop) {
  const int64_t kLength = 1 << 14;
#pragma omp parallel for
  for (int64_t begin = 0; begin < count; begin += kLength) {
    loop(begin, std::min(kLength, count - begin));
  }
}

}  // namespace caffe

#endif  // DNNH_LAYERS_ONEDNN_ELEMENTS_HPP_
