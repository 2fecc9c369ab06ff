#ifndef DNNH_LAYERS_ONEDNN_VECTORS_HPP_
#define DNNH_LAYERS_ONEDNN_VECTORS_HPP_

#include <cstdint>

#include "layers/onednn/elements.hpp"

namespace caffe {

/// A vector of so many floats.
template <int kLanes>
struct Lanes {
  typedef float Type __attribute__((vector_size(4 * kLanes)));
  typedef uint32_t Whole __attribute__((vector_size(4 * kLanes)));
  typedef uint16_t Half __attribute__((vector_size(2 * kLanes)));
  typedef uint8_t Byte __attribute__((vector_size(kLanes)));
};

#define DNNH_INLINE inline __attribute__((always_inline))

template <int kLanes>
DNNH_INLINE void Load(const float* from, typename Lanes<kLanes>::Type* vector) {
  __builtin_memcpy(vector, from, sizeof(*vector));
}
template <int kLanes>
DNNH_INLINE void Load(const Bfloat16* from,
                      typename Lanes<kLanes>::Type* vector) {
  typename Lanes<kLanes>::Half half;
  __builtin_memcpy(&half, from, sizeof(half));
  const auto whole =
      __builtin_convertvector(half, typename Lanes<kLanes>::Whole) << 16;
  __builtin_memcpy(vector, &whole, sizeof(*vector));
}

template <int kLanes>
DNNH_INLINE void Store(const typename Lanes<kLanes>::Type& vector, float* to) {
  __builtin_memcpy(to, &vector, sizeof(vector));
}
/// Rounds as Bfloat16 does.
template <int kLanes>
DNNH_INLINE void Store(const typename Lanes<kLanes>::Type& vector,
                       Bfloat16* to) {
  typename Lanes<kLanes>::Whole whole;
  __builtin_memcpy(&whole, &vector, sizeof(whole));
  const auto rounded = (whole & 0x7fffffff) > 0x7f800000
      ? whole | 0x400000
      : whole + 0x7fff + (whole >> 16 & 1);
  const auto half =
      __builtin_convertvector(rounded >> 16, typename Lanes<kLanes>::Half);
  __builtin_memcpy(to, &half, sizeof(half));
}

/// Whole numbers below 256.
template <int kLanes>
DNNH_INLINE void Load(const uint8_t* from,
                      typename Lanes<kLanes>::Whole* vector) {
  typename Lanes<kLanes>::Byte bytes;
  __builtin_memcpy(&bytes, from, sizeof(bytes));
  *vector = __builtin_convertvector(bytes, typename Lanes<kLanes>::Whole);
}
template <int kLanes>
DNNH_INLINE void Store(const typename Lanes<kLanes>::Whole& vector,
                       uint8_t* to) {
  const auto bytes =
      __builtin_convertvector(vector, typename Lanes<kLanes>::Byte);
  __builtin_memcpy(to, &bytes, sizeof(bytes));
}

/// value = factor * value + shift, times the slope where that is negative; a
/// NaN stays one.
template <typename Vector>
DNNH_INLINE void Map(const Vector& factor, const Vector& shift, float slope,
                     Vector* value) {
  *value = factor * *value + shift;
  *value = *value < 0 ? slope * *value : *value;
}

}  // namespace caffe

#endif  // DNNH_LAYERS_ONEDNN_VECTORS_HPP_
