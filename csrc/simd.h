// Vectors of floats (floats.h), and what all kernels do with them: partial ones, and e^x.
#pragma once

#include "floats.h"

namespace dftfast {
namespace DFTFAST_SIMD {

// Zeros, vector by vector: GCC makes of `= {}` a `rep stos`, which takes as long as a hundred
// multiplications.
template <int R, int V>
inline void clear(Floats (&x)[R][V]) {
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) x[r][v] = Floats::all(0);
}

// The first n entries (n < width), the others `fill`; and back.
template <class T>
Floats load_part(const T* p, int n, float fill) {
  float lanes[Floats::width];
  T raw[Floats::width] = {};
  std::memcpy(raw, p, n * sizeof(T));
  Floats::load(raw).store(lanes);
  for (int i = n; i < Floats::width; ++i) lanes[i] = fill;
  return Floats::load(lanes);
}

template <class T>
void store_part(Floats x, T* p, int n) {
  T raw[Floats::width];
  x.store(raw);
  std::memcpy(p, raw, n * sizeof(T));
}

// e^x for x <= 88, to 2 units in the last place; 0 below -104; NaN stays NaN. Range reduction by
// powers of two and the polynomial of Cephes' expf (Moshier).
inline Floats exp(Floats x) {
  x = min(Floats::all(88.0f), max(Floats::all(-104.0f), x));
  Floats n = round(x * Floats::all(1.44269504088896341f));
  Floats r = fma(n, Floats::all(-0.693359375f), x);
  r = fma(n, Floats::all(2.12194440e-4f), r);
  Floats p = Floats::all(1.9875691500e-4f);
  p = fma(p, r, Floats::all(1.3981999507e-3f));
  p = fma(p, r, Floats::all(8.3334519073e-3f));
  p = fma(p, r, Floats::all(4.1665795894e-2f));
  p = fma(p, r, Floats::all(1.6666665459e-1f));
  p = fma(p, r, Floats::all(5.0000001201e-1f));
  p = fma(p, r * r, r + Floats::all(1.0f));
  return scale(p, n);
}

}  // namespace DFTFAST_SIMD
}  // namespace dftfast
