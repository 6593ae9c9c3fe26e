// Reading and writing rows of any length and dtype a vector at a time.
#pragma once

#include <type_traits>

#include "dtype.h"
#include "simd.h"

namespace dftfast {
namespace DFTFAST_SIMD {
namespace {

constexpr int kWidth = Floats::width;

template <class T>
Floats load_at(const T* p, int64_t i, int64_t n, float fill = 0.0f) {
  return n - i >= kWidth ? Floats::load(p + i) : load_part(p + i, static_cast<int>(n - i), fill);
}

template <class T>
void store_at(Floats x, T* p, int64_t i, int64_t n) {
  if (n - i >= kWidth) x.store(p + i);
  else store_part(x, p + i, static_cast<int>(n - i));
}

// Calls body with a pointer of the dtype's type, to deduce from.
template <class Body>
void with_element_type(Dtype dtype, const Body& body) {
  if (dtype == Dtype::float32) body(static_cast<float*>(nullptr));
  else if (dtype == Dtype::bfloat16) body(static_cast<bfloat16*>(nullptr));
  else body(static_cast<float16*>(nullptr));
}

template <class P>
struct As {  // untyped addresses -> P
  const void* p;
  operator P*() const { return const_cast<P*>(static_cast<const P*>(p)); }
};

}  // namespace
}  // namespace DFTFAST_SIMD
}  // namespace dftfast
