// What is done to a block of logits [rows, vocab] between a language-model head's two products.
#pragma once

#include <cstdint>

namespace dftfast {

struct LogprobTile {
  void* logits;
  int64_t rows, vocab;
  const int64_t* target;
  float inverse_temperature;
  int threads;
};

struct LogprobKernels {
  // logits -> log-probability of the target, entropy and log-sum-exp of every row.
  void (*forward)(const LogprobTile&, float* logprob, float* entropy, float* lse);
  // logits -> gradient of Σ grad_logprob·logprob + grad_entropy·entropy by them, in place.
  // grad_entropy may be null.
  void (*backward)(const LogprobTile&, const float* lse, const float* entropy,
                   const float* grad_logprob, const float* grad_entropy);
  // Both, without a gradient by entropy.
  void (*forward_backward)(const LogprobTile&, float* logprob, float* entropy, float* lse,
                           const float* grad_logprob);
};

// For one instruction set: float32, bfloat16, float16.
namespace scalar {
extern const LogprobKernels logprob_kernels[3];
}
namespace avx2 {
extern const LogprobKernels logprob_kernels[3];
}
namespace avx512 {
extern const LogprobKernels logprob_kernels[3];
}

}  // namespace dftfast
