// Bindings of the kernel means' block kernels, and the choice of instruction set.
#include <pybind11/pybind11.h>

#include "cpu.h"
#include "rbf_witness_kernel.h"  // the scalar path

namespace py = pybind11;

namespace dftfast {
namespace {

const RbfKernels& kernels() {
#if defined(__x86_64__)
  if (isa() >= Isa::avx512) return avx512::rbf_kernels;
  if (isa() >= Isa::avx2) return avx2::rbf_kernels;
#endif
  return scalar::rbf_kernels;
}

template <class T>
T* at(uintptr_t address) {
  return reinterpret_cast<T*>(address);
}

RbfTile tile(uintptr_t dots, int64_t rows, int64_t columns, int64_t row, int64_t column,
             uintptr_t x, uintptr_t y, int64_t d, uintptr_t x_norm, uintptr_t y_norm,
             uintptr_t rate, int64_t k, bool exclude_diagonal, int threads) {
  return {at<float>(dots),
          rows,
          columns,
          row,
          column,
          at<const float>(x),
          at<const float>(y),
          d,
          at<const float>(x_norm),
          at<const float>(y_norm),
          at<const float>(rate),
          k,
          exclude_diagonal,
          threads};
}

}  // namespace

void bind_rbf_witness(py::module_& m) {
  py::class_<RbfTile>(m, "RbfTile").def(py::init(&tile));
  auto release = py::call_guard<py::gil_scoped_release>();
  m.def(
      "rbf_values", [](const RbfTile& t, uintptr_t sums) { kernels().values(t, at<double>(sums)); },
      release);
  m.def(
      "rbf_weights",
      [](const RbfTile& t, uintptr_t factor, uintptr_t row_sums) {
        kernels().weights(t, at<const float>(factor), at<float>(row_sums));
      },
      release);
}

}  // namespace dftfast
