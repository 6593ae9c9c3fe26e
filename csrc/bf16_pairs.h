// Products, summed in fp32, of inputs with bf16 weights that lie in pairs, two in every float lane
// of a vector.
//
// A pair is taken in kParts multiplications: both at once where the processor multiplies pairs of
// bf16, else one after the other, the inputs having been widened to fp32 beforehand.
#pragma once

#include "simd.h"

namespace dftfast {
namespace DFTFAST_SIMD {

// Not beside tiles: Intel's processors, which have these, are faster with widened weights
// (cpu.cpp).
#if defined(__AVX512BF16__) && !defined(DFTFAST_TILES)

using Input = bfloat16;
constexpr int kParts = 1;

struct Pairs {
  __m512bh v;
};
inline Pairs weight_part(const bfloat16* w, int) { return {(__m512bh)_mm512_loadu_si512(w)}; }
inline Pairs input_part(const Input* x, int) {
  int32_t pair;
  std::memcpy(&pair, x, 4);
  return {(__m512bh)_mm512_set1_epi32(pair)};
}
inline Floats multiply_add(Pairs a, Pairs b, Floats c) { return {_mm512_dpbf16_ps(c.v, a.v, b.v)}; }

#else

using Input = float;
constexpr int kParts = 2;

inline Floats weight_part(const bfloat16* w, int part) {
#if defined(__AVX512F__)
  const __m512i pairs = _mm512_loadu_si512(w);
  return {_mm512_castsi512_ps(part ? _mm512_and_si512(pairs, _mm512_set1_epi32(0xffff0000))
                                   : _mm512_slli_epi32(pairs, 16))};
#elif defined(__AVX2__)
  const __m256i pairs = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(w));
  return {_mm256_castsi256_ps(part ? _mm256_and_si256(pairs, _mm256_set1_epi32(0xffff0000))
                                   : _mm256_slli_epi32(pairs, 16))};
#else
  return Floats::load(w + part);
#endif
}
inline Floats input_part(const Input* x, int part) { return Floats::all(x[part]); }
inline Floats multiply_add(Floats a, Floats b, Floats c) { return fma(a, b, c); }

#endif

// x [n] as inputs: x itself, or `room` filled from it.
inline const bfloat16* as_inputs(const bfloat16* x, int64_t, bfloat16*) { return x; }
inline const float* as_inputs(const bfloat16* x, int64_t n, float* room) {
  int64_t i = 0;
  for (; i + Floats::width <= n; i += Floats::width) Floats::load(x + i).store(room + i);
  if (i < n) store_part(load_part(x + i, n - i, 0), room + i, n - i);
  return room;
}

// x [n] as inputs, in `to` in any case.
inline void copy_inputs(const bfloat16* x, int64_t n, bfloat16* to) {
  std::memcpy(to, x, n * sizeof(bfloat16));
}
inline void copy_inputs(const bfloat16* x, int64_t n, float* to) { as_inputs(x, n, to); }

inline Floats rounded(Floats x) { return x.rounded(static_cast<const bfloat16*>(nullptr)); }

// Rounded to bf16, in the form of an input.
inline void store_rounded(Floats x, bfloat16* p) { x.store(p); }
inline void store_rounded(Floats x, float* p) { rounded(x).store(p); }

}  // namespace DFTFAST_SIMD
}  // namespace dftfast
