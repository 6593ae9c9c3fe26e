// The part of lora_linear that is not a matrix product.
#include "bindings.h"
#include "philox.h"

namespace py = pybind11;

namespace dftfast {
namespace {

// factor[i] = 0 with the given probability, else 1 / (1 - probability). Element i's draw is
// counter (i, 0).
void dropout_factor(Address address, int64_t n, float probability, uint64_t seed, int threads) {
  float* factor = at<float>(address);
  const float kept = 1 / (1 - probability);
#pragma omp parallel for num_threads(threads)
  for (int64_t i = 0; i < n; ++i) {
    const float draw = static_cast<float>(philox_word(seed, i, 0) >> 8) * 0x1p-24f;
    factor[i] = draw >= probability ? kept : 0;
  }
}

}  // namespace

void bind_lora_linear(py::module_& m) { m.def("dropout_factor", &dropout_factor, WithoutTheGil()); }

}  // namespace dftfast
