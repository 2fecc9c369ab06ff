#ifndef DNNH_LAYERS_ONEDNN_WINOGRAD_TILES_HPP_
#define DNNH_LAYERS_ONEDNN_WINOGRAD_TILES_HPP_

#include "layers/onednn/vectors.hpp"

namespace caffe {

/**
 * The transforms of Winograd's algorithm (Lavin and Gray, CVPR 2016) with tiles
 * of 6x6 values, interpolated at 0, 1, -1, 2, -2 and infinity: F(4x4, 3x3) and
 * F(2x2, 5x5), and those of their gradients, F(3x3, 4x4) and F(5x5, 2x2).
 *
 * All of them have the same B; G and A depend on a size k. They apply to
 * vectors, one value for each of some channels.
 */
namespace winograd {

constexpr int kSide = 6;
constexpr int kPoints = kSide * kSide;

/// B^T d: the source.
struct SourceTransform {
  static constexpr int kFrom = kSide, kTo = kSide;
  template <typename Vector>
  static DNNH_INLINE void Run(const Vector* d, Vector* out) {
    const Vector even1 = d[4] - 4 * d[2], odd1 = d[3] - 4 * d[1];
    const Vector even2 = d[4] - d[2], odd2 = 2 * (d[3] - d[1]);
    out[0] = 4 * d[0] - 5 * d[2] + d[4];
    out[1] = even1 + odd1;
    out[2] = even1 - odd1;
    out[3] = even2 + odd2;
    out[4] = even2 - odd2;
    out[5] = 4 * d[1] - 5 * d[3] + d[5];
  }
};

/// G g: the weights, or the gradient of the output; k values.
template <int k>
struct FactorTransform {
  static constexpr int kFrom = k, kTo = kSide;
  template <typename Vector>
  static DNNH_INLINE void Run(const Vector* g, Vector* out) {
    Vector even1 = g[0], odd1 = g[1], even2 = g[0], odd2 = 2 * g[1];
    if constexpr (k > 2) { even1 += g[2], even2 += 4 * g[2]; }
    if constexpr (k > 3) { odd1 += g[3], odd2 += 8 * g[3]; }
    if constexpr (k > 4) { even1 += g[4], even2 += 16 * g[4]; }
    out[0] = g[0] * (1.f / 4);
    out[1] = (even1 + odd1) * (-1.f / 6);
    out[2] = (even1 - odd1) * (-1.f / 6);
    out[3] = (even2 + odd2) * (1.f / 24);
    out[4] = (even2 - odd2) * (1.f / 24);
    out[5] = g[k - 1];
  }
};

/// A^T m: the output, or the gradient of the weights; k values.
template <int k>
struct ResultTransform {
  static constexpr int kFrom = kSide, kTo = k;
  template <typename Vector>
  static DNNH_INLINE void Run(const Vector* m, Vector* out) {
    const Vector sum1 = m[1] + m[2], difference1 = m[1] - m[2];
    const Vector sum2 = m[3] + m[4], difference2 = m[3] - m[4];
    out[0] = m[0] + sum1 + sum2;
    out[1] = difference1 + 2 * difference2;
    if constexpr (k > 2) { out[2] = sum1 + 4 * sum2; }
    if constexpr (k > 3) { out[3] = difference1 + 8 * difference2; }
    if constexpr (k > 4) { out[4] = sum1 + 16 * sum2; }
    out[k - 1] += m[5];
  }
};

/// A transform of columns, then of rows.
template <typename Transform, typename Vector>
DNNH_INLINE void TransformTile(
    const Vector (&in)[Transform::kFrom][Transform::kFrom],
    Vector (&out)[Transform::kTo][Transform::kTo]) {
  constexpr int kFrom = Transform::kFrom, kTo = Transform::kTo;
  Vector half[kTo][kFrom];
#pragma GCC unroll 6
  for (int x = 0; x < kFrom; ++x) {
    Vector column[kFrom], transformed[kTo];
#pragma GCC unroll 6
    for (int y = 0; y < kFrom; ++y) { column[y] = in[y][x]; }
    Transform::Run(column, transformed);
#pragma GCC unroll 6
    for (int y = 0; y < kTo; ++y) { half[y][x] = transformed[y]; }
  }
#pragma GCC unroll 6
  for (int y = 0; y < kTo; ++y) { Transform::Run(half[y], out[y]); }
}

}  // namespace winograd
}  // namespace caffe

#endif  // DNNH_LAYERS_ONEDNN_WINOGRAD_TILES_HPP_
