// Bindings of the language-model head's block kernels, and the choice of instruction set.
#include <pybind11/pybind11.h>

#include <stdexcept>
#include <string>

#include "cpu.h"
#include "linear_logprob_kernel.h"  // the scalar path

namespace py = pybind11;

namespace dftfast {
namespace {

const LogprobKernels& kernels(int dtype) {
#if defined(__x86_64__)
  if (isa() >= Isa::avx512) return avx512::logprob_kernels[dtype];
  if (isa() >= Isa::avx2) return avx2::logprob_kernels[dtype];
#endif
  return scalar::logprob_kernels[dtype];
}

LogprobTile tile(uintptr_t logits, int64_t rows, int64_t vocab, uintptr_t target,
                 double temperature, int threads) {
  const float inverse_temperature = static_cast<float>(1 / temperature);
  return {reinterpret_cast<void*>(logits),
          rows,
          vocab,
          reinterpret_cast<const int64_t*>(target),
          inverse_temperature,
          threads};
}

void check_targets(uintptr_t target, int64_t size, int64_t vocab) {
  for (int64_t i = 0; i < size; ++i) {
    int64_t token = reinterpret_cast<const int64_t*>(target)[i];
    if (token < 0 || token >= vocab)
      throw std::invalid_argument(
          "target " + std::to_string(token) + " at position " + std::to_string(i) +
          " is outside the vocabulary of " + std::to_string(vocab) +
          "; give tokens without loss any valid target and a token_weight of 0");
  }
}

void forward(int dtype, uintptr_t logits, int64_t rows, int64_t vocab, uintptr_t target,
             double temperature, uintptr_t logprob, uintptr_t entropy, uintptr_t lse, int threads) {
  kernels(dtype).forward(tile(logits, rows, vocab, target, temperature, threads),
                         reinterpret_cast<float*>(logprob), reinterpret_cast<float*>(entropy),
                         reinterpret_cast<float*>(lse));
}

void backward(int dtype, uintptr_t logits, int64_t rows, int64_t vocab, uintptr_t target,
              double temperature, uintptr_t lse, uintptr_t entropy, uintptr_t grad_logprob,
              uintptr_t grad_entropy, int threads) {
  auto floats = [](uintptr_t address) { return reinterpret_cast<const float*>(address); };
  kernels(dtype).backward(tile(logits, rows, vocab, target, temperature, threads), floats(lse),
                          floats(entropy), floats(grad_logprob), floats(grad_entropy));
}

}  // namespace

void bind_linear_logprob(py::module_& m) {
  auto release = py::call_guard<py::gil_scoped_release>();
  m.def("check_targets", &check_targets, release);
  m.def("logprob_tile_forward", &forward, release);
  m.def("logprob_tile_backward", &backward, release);
}

}  // namespace dftfast
