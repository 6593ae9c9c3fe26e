// Two bf16 numbers in every float lane of a vector, and their dot products in fp32.
#pragma once

#include "simd.h"

namespace dftfast {
namespace DFTFAST_SIMD {

struct Pairs {
#if defined(__AVX512F__)
  __m512i v;
  static Pairs load(const bfloat16* p) { return {_mm512_loadu_si512(p)}; }
  static Pairs all(int32_t pair) { return {_mm512_set1_epi32(pair)}; }
  Floats first() const { return {_mm512_castsi512_ps(_mm512_slli_epi32(v, 16))}; }
  Floats second() const { return {_mm512_castsi512_ps(_mm512_and_si512(v, _mm512_set1_epi32(0xffff0000)))}; }
#elif defined(__AVX2__)
  __m256i v;
  static Pairs load(const bfloat16* p) { return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))}; }
  static Pairs all(int32_t pair) { return {_mm256_set1_epi32(pair)}; }
  Floats first() const { return {_mm256_castsi256_ps(_mm256_slli_epi32(v, 16))}; }
  Floats second() const { return {_mm256_castsi256_ps(_mm256_and_si256(v, _mm256_set1_epi32(0xffff0000)))}; }
#else
  bfloat16 v[2];
  static Pairs load(const bfloat16* p) { return {{p[0], p[1]}}; }
  Floats first() const { return Floats::load(v); }
  Floats second() const { return Floats::load(v + 1); }
#endif

  // The same two numbers in every lane.
  static Pairs all(const bfloat16* p) {
#if defined(__AVX2__)
    int32_t pair;
    std::memcpy(&pair, p, 4);
    return all(pair);
#else
    return load(p);
#endif
  }
};

// c + a.first·b.first + a.second·b.second in every lane.
inline Floats dot(Pairs a, Pairs b, Floats c) {
#if defined(__AVX512BF16__)
  return {_mm512_dpbf16_ps(c.v, (__m512bh)a.v, (__m512bh)b.v)};
#else
  return fma(a.second(), b.second(), fma(a.first(), b.first(), c));
#endif
}

// As it comes back from a store to bf16.
inline Floats rounded(Floats x) {
  bfloat16 lanes[Floats::width];
  x.store(lanes);
  return Floats::load(lanes);
}

}  // namespace DFTFAST_SIMD
}  // namespace dftfast
