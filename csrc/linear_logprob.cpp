// Bindings of the language-model head's block kernels, and the choice of instruction set.
#include <stdexcept>
#include <string>

#include "bindings.h"
#include "linear_logprob_kernel.h"  // the scalar path

namespace py = pybind11;

namespace dftfast {
namespace {

const LogprobKernels& kernels(int dtype) {
  return widest(DFTFAST_UP_TO_AVX512(logprob_kernels))[dtype];
}

LogprobTile tile(Address logits, int64_t rows, int64_t vocab, Address target, double temperature,
                 int threads) {
  const float inverse_temperature = static_cast<float>(1 / temperature);
  return {at(logits), rows, vocab, at<const int64_t>(target), inverse_temperature, threads};
}

void check_targets(Address target, int64_t size, int64_t vocab) {
  for (int64_t i = 0; i < size; ++i) {
    int64_t token = at<const int64_t>(target)[i];
    if (token < 0 || token >= vocab)
      throw std::invalid_argument(
          "target " + std::to_string(token) + " at position " + std::to_string(i) +
          " is outside the vocabulary of " + std::to_string(vocab) +
          "; give tokens without loss any valid target and a token_weight of 0");
  }
}

void forward(int dtype, Address logits, int64_t rows, int64_t vocab, Address target,
             double temperature, Address logprob, Address entropy, Address lse, int threads) {
  kernels(dtype).forward(tile(logits, rows, vocab, target, temperature, threads),
                         at<float>(logprob), at<float>(entropy), at<float>(lse));
}

void backward(int dtype, Address logits, int64_t rows, int64_t vocab, Address target,
              double temperature, Address lse, Address entropy, Address grad_logprob,
              Address grad_entropy, int threads) {
  kernels(dtype).backward(tile(logits, rows, vocab, target, temperature, threads), at<float>(lse),
                          at<float>(entropy), at<float>(grad_logprob), at<float>(grad_entropy));
}

void forward_backward(int dtype, Address logits, int64_t rows, int64_t vocab, Address target,
                      double temperature, Address logprob, Address entropy, Address lse,
                      Address grad_logprob, int threads) {
  kernels(dtype).forward_backward(tile(logits, rows, vocab, target, temperature, threads),
                                  at<float>(logprob), at<float>(entropy), at<float>(lse),
                                  at<float>(grad_logprob));
}

}  // namespace

void bind_linear_logprob(py::module_& m) {
  m.def("check_targets", &check_targets, WithoutTheGil());
  m.def("logprob_tile_forward", &forward, WithoutTheGil());
  m.def("logprob_tile_backward", &backward, WithoutTheGil());
  m.def("logprob_tile_forward_backward", &forward_backward, WithoutTheGil());
}

}  // namespace dftfast
