// A vector of floats in the instruction set that the including file is compiled for. Everything
// lives in a namespace of that set's name, so that the linker never takes one file's inline
// function for another's.
#pragma once

#include <cstdint>
#include <cstring>

#if defined(__AVX2__)
#include <immintrin.h>
#endif

#if defined(__AMX_BF16__) || defined(DFTFAST_MODEL_TILES)
#define DFTFAST_TILES
#define DFTFAST_SIMD amx
#elif defined(__AVX512BF16__)
#define DFTFAST_SIMD avx512bf16
#elif defined(__AVX512F__)
#define DFTFAST_SIMD avx512
#elif defined(__AVX2__)
#define DFTFAST_SIMD avx2
#else
#define DFTFAST_SIMD scalar
#endif

namespace dftfast {

struct bfloat16 {
  uint16_t bits;
};
struct float16 {
  uint16_t bits;
};

namespace DFTFAST_SIMD {

#if defined(__AVX512F__)

struct Floats {
  static constexpr int width = 16;
  __m512 v;
  static Floats all(float x) { return {_mm512_set1_ps(x)}; }
  static Floats load(const float* p) { return {_mm512_loadu_ps(p)}; }
  static Floats load(const bfloat16* p) {
    __m256i h = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
    return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(h), 16))};
  }
  static Floats load(const float16* p) {
    return {_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)))};
  }
  void store(float* p) const { _mm512_storeu_ps(p, v); }
  void store(bfloat16* p) const {
#if defined(__AVX512BF16__)  // subnormal numbers become zero
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), (__m256i)_mm512_cvtneps_pbh(v));
#else
    __m512i u = _mm512_srli_epi32(_mm512_castps_si512(rounded(p).v), 16);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtepi32_epi16(u));
#endif
  }
  // As it comes back from a store to bf16.
  Floats rounded(const bfloat16*) const {
#if defined(__AVX512BF16__)
    const __m256i h = (__m256i)_mm512_cvtneps_pbh(v);
    return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(h), 16))};
#else
    const __m512i u = _mm512_castps_si512(v);
    const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(u, 16), _mm512_set1_epi32(1));
    const __m512i up = _mm512_add_epi32(u, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
    const __m512i r = _mm512_and_si512(up, _mm512_set1_epi32(0xffff0000));
    const __mmask16 nan = _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q);
    return {_mm512_castsi512_ps(_mm512_mask_mov_epi32(r, nan, _mm512_set1_epi32(0x7fc00000)))};
#endif
  }
  void store(float16* p) const {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p),
                        _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT));
  }
  // Bit i is set where a[i] > b[i] does not hold, NaN included.
  static unsigned not_greater(Floats a, Floats b) {
    return _mm512_cmp_ps_mask(a.v, b.v, _CMP_NGT_UQ);
  }
  float sum() const { return _mm512_reduce_add_ps(v); }
  // out[i] = x[i].sum() for four vectors.
  static void sums(const Floats* x, float* out) {
    const auto lanes = [](__m512 a, __m512 b) {
      return _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
    };
    const __m512 ab = lanes(x[0].v, x[1].v), cd = lanes(x[2].v, x[3].v);
    const __m512 s =
        _mm512_add_ps(_mm512_shuffle_ps(ab, cd, 0x44), _mm512_shuffle_ps(ab, cd, 0xee));
    const __m256 half = _mm256_add_ps(_mm512_castps512_ps256(s), _mm512_extractf32x8_ps(s, 1));
    _mm_storeu_ps(out, _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1)));
  }
  float max() const { return _mm512_reduce_max_ps(v); }
};
inline Floats operator+(Floats a, Floats b) { return {_mm512_add_ps(a.v, b.v)}; }
inline Floats operator-(Floats a, Floats b) { return {_mm512_sub_ps(a.v, b.v)}; }
inline Floats operator*(Floats a, Floats b) { return {_mm512_mul_ps(a.v, b.v)}; }
inline Floats operator/(Floats a, Floats b) { return {_mm512_div_ps(a.v, b.v)}; }
inline Floats fma(Floats a, Floats b, Floats c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
// b where either is NaN
inline Floats max(Floats a, Floats b) { return {_mm512_max_ps(a.v, b.v)}; }
inline Floats min(Floats a, Floats b) { return {_mm512_min_ps(a.v, b.v)}; }
inline Floats round(Floats a) { return {_mm512_roundscale_ps(a.v, _MM_FROUND_TO_NEAREST_INT)}; }
inline Floats scale(Floats a, Floats n) { return {_mm512_scalef_ps(a.v, n.v)}; }

#elif defined(__AVX2__)

struct Floats {
  static constexpr int width = 8;
  __m256 v;
  static Floats all(float x) { return {_mm256_set1_ps(x)}; }
  static Floats load(const float* p) { return {_mm256_loadu_ps(p)}; }
  static Floats load(const bfloat16* p) {
    __m128i h = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    return {_mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(h), 16))};
  }
  static Floats load(const float16* p) {
    return {_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)))};
  }
  void store(float* p) const { _mm256_storeu_ps(p, v); }
  void store(bfloat16* p) const {
    const __m256i u = _mm256_srli_epi32(_mm256_castps_si256(rounded(p).v), 16);
    const __m256i packed = _mm256_permute4x64_epi64(_mm256_packus_epi32(u, u), 0x08);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_castsi256_si128(packed));
  }
  // As it comes back from a store to bf16.
  Floats rounded(const bfloat16*) const {
    const __m256i u = _mm256_castps_si256(v);
    const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(u, 16), _mm256_set1_epi32(1));
    const __m256i up = _mm256_add_epi32(u, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
    const __m256 r = _mm256_castsi256_ps(_mm256_and_si256(up, _mm256_set1_epi32(0xffff0000)));
    const __m256 nan = _mm256_castsi256_ps(_mm256_set1_epi32(0x7fc00000));
    return {_mm256_blendv_ps(r, nan, _mm256_cmp_ps(v, v, _CMP_UNORD_Q))};
  }
  void store(float16* p) const {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT));
  }
  static unsigned not_greater(Floats a, Floats b) {
    return _mm256_movemask_ps(_mm256_cmp_ps(a.v, b.v, _CMP_NGT_UQ));
  }
  float sum() const {
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
  }
  static void sums(const Floats* x, float* out) {
    const auto lanes = [](__m256 a, __m256 b) {
      return _mm256_add_ps(_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
    };
    const __m256 ab = lanes(x[0].v, x[1].v), cd = lanes(x[2].v, x[3].v);
    const __m256 s =
        _mm256_add_ps(_mm256_shuffle_ps(ab, cd, 0x44), _mm256_shuffle_ps(ab, cd, 0xee));
    _mm_storeu_ps(out, _mm_add_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps(s, 1)));
  }
  float max() const {
    __m128 s = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    s = _mm_max_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_max_ss(s, _mm_movehdup_ps(s)));
  }
};
inline Floats operator+(Floats a, Floats b) { return {_mm256_add_ps(a.v, b.v)}; }
inline Floats operator-(Floats a, Floats b) { return {_mm256_sub_ps(a.v, b.v)}; }
inline Floats operator*(Floats a, Floats b) { return {_mm256_mul_ps(a.v, b.v)}; }
inline Floats operator/(Floats a, Floats b) { return {_mm256_div_ps(a.v, b.v)}; }
inline Floats fma(Floats a, Floats b, Floats c) { return {_mm256_fmadd_ps(a.v, b.v, c.v)}; }
inline Floats max(Floats a, Floats b) { return {_mm256_max_ps(a.v, b.v)}; }
inline Floats min(Floats a, Floats b) { return {_mm256_min_ps(a.v, b.v)}; }
inline Floats round(Floats a) {
  return {_mm256_round_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
}
// a * 2^n in two factors, so that neither leaves the range of a float for n in [-150, 128].
inline Floats scale(Floats a, Floats n) {
  __m256i whole = _mm256_cvtps_epi32(n.v), half = _mm256_srai_epi32(whole, 1);
  auto power = [](__m256i e) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(e, _mm256_set1_epi32(127)), 23));
  };
  return {_mm256_mul_ps(_mm256_mul_ps(a.v, power(half)), power(_mm256_sub_epi32(whole, half)))};
}

#else

struct Floats {
  static constexpr int width = 1;
  float v;
  static Floats all(float x) { return {x}; }
  static Floats load(const float* p) { return {*p}; }
  static Floats load(const bfloat16* p) {
    uint32_t u = static_cast<uint32_t>(p->bits) << 16;
    float x;
    std::memcpy(&x, &u, 4);
    return {x};
  }
  static Floats load(const float16* p) {
    uint32_t sign = (p->bits & 0x8000u) << 16, rest = p->bits & 0x7fffu, u;
    float x;
    if (rest >= 0x7c00) {
      u = sign | 0x7f800000u | (rest & 0x3ffu) << 13;
    } else if (rest >= 0x400) {
      u = sign | ((rest << 13) + (112u << 23));
    } else {
      x = static_cast<float>(rest) * 0x1p-24f;
      return {sign ? -x : x};
    }
    std::memcpy(&x, &u, 4);
    return {x};
  }
  void store(float* p) const { *p = v; }
  void store(bfloat16* p) const {
    uint32_t u;
    std::memcpy(&u, &v, 4);
    p->bits = v != v ? 0x7fc0 : static_cast<uint16_t>((u + 0x7fff + (u >> 16 & 1)) >> 16);
  }
  // As it comes back from a store to bf16.
  Floats rounded(const bfloat16*) const {
    bfloat16 raw;
    store(&raw);
    return load(&raw);
  }
  void store(float16* p) const {
    uint32_t u;
    std::memcpy(&u, &v, 4);
    const uint16_t sign = u >> 16 & 0x8000;
    u &= 0x7fffffffu;
    if (u > 0x7f800000u) {
      p->bits = sign | 0x7e00;
    } else if (u >= 0x477ff000u) {  // rounds to 65536 or more
      p->bits = sign | 0x7c00;
    } else if (u >= 0x38800000u) {
      u -= 112u << 23;
      p->bits = sign | static_cast<uint16_t>((u + 0xfff + (u >> 13 & 1)) >> 13);
    } else {  // subnormal: adding 0.5 leaves the value in the low bits, rounded by the processor
      float x, half = 0.5f;
      std::memcpy(&x, &u, 4);
      x += half;
      std::memcpy(&u, &x, 4);
      p->bits = sign | static_cast<uint16_t>(u - 0x3f000000u);
    }
  }
  static unsigned not_greater(Floats a, Floats b) { return !(a.v > b.v); }
  float sum() const { return v; }
  static void sums(const Floats* x, float* out) { std::memcpy(out, x, 4 * sizeof(float)); }
  float max() const { return v; }
};
inline Floats operator+(Floats a, Floats b) { return {a.v + b.v}; }
inline Floats operator-(Floats a, Floats b) { return {a.v - b.v}; }
inline Floats operator*(Floats a, Floats b) { return {a.v * b.v}; }
inline Floats operator/(Floats a, Floats b) { return {a.v / b.v}; }
inline Floats fma(Floats a, Floats b, Floats c) { return {a.v * b.v + c.v}; }
inline Floats max(Floats a, Floats b) { return {a.v > b.v ? a.v : b.v}; }
inline Floats min(Floats a, Floats b) { return {a.v < b.v ? a.v : b.v}; }
inline Floats round(Floats a) { return {__builtin_rintf(a.v)}; }
inline Floats scale(Floats a, Floats n) {
  return {a.v != a.v ? a.v : __builtin_ldexpf(a.v, static_cast<int>(n.v))};
}

#endif

}  // namespace DFTFAST_SIMD
}  // namespace dftfast
