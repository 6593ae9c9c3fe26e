// The softmax between the two products of attention on tiles: weights in bf16.
#pragma once

#include "simd.h"

namespace dftfast {
namespace DFTFAST_SIMD {
namespace {

constexpr float kLog2e = 1.44269504088896341f;

// 2^x to 3e-7, for x up to 127; 0 in lanes that `mask` leaves out. The polynomial is the minimax
// one on [-1/2, 1/2].
inline Floats power_of_two(Floats x, __mmask16 mask) {
  const Floats n = round(x), f = x - n;
  Floats p = Floats::all(1.3276471e-3f);
  p = fma(p, f, Floats::all(9.6755419e-3f));
  p = fma(p, f, Floats::all(5.5507131e-2f));
  p = fma(p, f, Floats::all(2.4022120e-1f));
  p = fma(p, f, Floats::all(6.9314694e-1f));
  p = fma(p, f, Floats::all(1.0f));
  return {_mm512_maskz_scalef_ps(mask, p.v, n.v)};
}

// Bit i is set for i < n, any n.
inline __mmask16 first_lanes(int64_t n) {
  return n >= 16 ? 0xffff : n <= 0 ? 0 : static_cast<__mmask16>((1u << n) - 1);
}

// Scores -> softmax without its denominator, rounded to bf16, 0 from `seen` to `columns`. Returns
// the largest score and the denominator.
struct RowSum {
  float top, total;
};
inline RowSum tile_softmax(const float* scores, int64_t seen, int64_t columns, float scale,
                           bfloat16* weights) {
  Floats top = Floats::all(-__builtin_inff()), total = Floats::all(0);
  int64_t j = 0;
  for (; j + 16 <= seen; j += 16) top = max(top, Floats::load(scores + j));
  if (j < seen) {
    const __m512 rest = _mm512_mask_loadu_ps(top.v, first_lanes(seen - j), scores + j);
    top = max(top, Floats{rest});
  }
  const float highest = top.max();
  const Floats factor = Floats::all(scale * kLog2e), shift = Floats::all(highest);
  for (j = 0; j < columns; j += 16) {
    const Floats below = Floats::load(scores + j) - shift;  // exactly 0 for the largest
    const Floats e = power_of_two(below * factor, first_lanes(seen - j));
    total = total + e;
    e.store(weights + j);
  }
  return {highest * scale, total.sum()};
}

}  // namespace
}  // namespace DFTFAST_SIMD
}  // namespace dftfast
