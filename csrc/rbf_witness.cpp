// Bindings of the kernel means' block kernels, and the choice of instruction set.
#include "bindings.h"
#include "rbf_witness_kernel.h"  // the scalar path

namespace py = pybind11;

namespace dftfast {
namespace {

const RbfKernels& kernels() { return widest(DFTFAST_UP_TO_AVX512(rbf_kernels)); }

RbfTile tile(Address dots, int64_t rows, int64_t columns, int64_t row, int64_t column, Address x,
             Address y, int64_t d, Address x_norm, Address y_norm, Address rate, int64_t k,
             bool exclude_diagonal, int threads) {
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
  m.def(
      "rbf_values", [](const RbfTile& t, Address sums) { kernels().values(t, at<double>(sums)); },
      WithoutTheGil());
  m.def(
      "rbf_weights",
      [](const RbfTile& t, Address factor, Address row_sums) {
        kernels().weights(t, at<const float>(factor), at<float>(row_sums));
      },
      WithoutTheGil());
}

}  // namespace dftfast
