// What the bindings share: addresses from Python, and the choice of a kernel's instruction set.
#pragma once

#include <pybind11/pybind11.h>

#include <algorithm>

#include "cpu.h"

namespace dftfast {

using Address = uintptr_t;

template <class T = void>
T* at(Address address) {
  return reinterpret_cast<T*>(address);
}

// The widest variant that this processor takes; they come in the order of Isa.
template <class Kernels, class... More>
const Kernels& widest(const Kernels& scalar, const More&... more) {
  const Kernels* variants[] = {&scalar, &more...};
  return *variants[std::min<size_t>(static_cast<size_t>(isa()), sizeof...(more))];
}

#if defined(__x86_64__)
#define DFTFAST_UP_TO_AVX512(kernels) scalar::kernels, avx2::kernels, avx512::kernels
#define DFTFAST_UP_TO_AVX512BF16(kernels) DFTFAST_UP_TO_AVX512(kernels), avx512bf16::kernels
#define DFTFAST_UP_TO_AMX(kernels) DFTFAST_UP_TO_AVX512BF16(kernels), amx::kernels
#define DFTFAST_AVX512_OR_AMX(kernels) DFTFAST_UP_TO_AVX512(kernels), avx512::kernels, amx::kernels
#else
#define DFTFAST_UP_TO_AVX512(kernels) scalar::kernels
#define DFTFAST_UP_TO_AVX512BF16(kernels) scalar::kernels
#define DFTFAST_UP_TO_AMX(kernels) scalar::kernels
#define DFTFAST_AVX512_OR_AMX(kernels) scalar::kernels
#endif

using WithoutTheGil = pybind11::call_guard<pybind11::gil_scoped_release>;

}  // namespace dftfast
