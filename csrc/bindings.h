// What the bindings share: addresses from Python, and the choice of a kernel's instruction set.
#pragma once

#include <pybind11/pybind11.h>

#include "cpu.h"

namespace dftfast {

using Address = uintptr_t;

template <class T = void>
T* at(Address address) {
  return reinterpret_cast<T*>(address);
}

// Kernels that come in a scalar, an AVX2 and an AVX-512 variant: those of this processor.
template <class Kernels>
const Kernels& widest(const Kernels& scalar, const Kernels& avx2, const Kernels& avx512) {
  return isa() >= Isa::avx512 ? avx512 : isa() >= Isa::avx2 ? avx2 : scalar;
}

#if defined(__x86_64__)
#define DFTFAST_WIDEST(kernels) widest(scalar::kernels, avx2::kernels, avx512::kernels)
#else
#define DFTFAST_WIDEST(kernels) scalar::kernels
#endif

using WithoutTheGil = pybind11::call_guard<pybind11::gil_scoped_release>;

}  // namespace dftfast
