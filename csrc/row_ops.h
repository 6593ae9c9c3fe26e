// The element-wise ops of a decoder layer: RMSNorm, QK-norm with rotary positions, SwiGLU.
//
// Arithmetic is fp32; rows are dealt to threads in equal runs, and the weights' gradients summed
// in that order.
#pragma once

#include <cstdint>

#include "dtype.h"

namespace dftfast {

struct NormShape {
  Dtype dtype;  // of everything but weights and their gradients, which are fp32
  int64_t rows, d;
  float eps;
  int threads;
};

struct RopeShape {  // rows of qkv are [H + 2 Hk, D]; cos and sin [T, D / 2]
  Dtype dtype;
  int64_t tokens, heads, kv_heads, head_dim;
  float eps;
  int threads;
};

struct RowKernels {
  // total = x + residual (where given, rounded), y = round(total / rms(total)) * weight
  void (*rms_norm)(const NormShape&, const void* x, const void* residual, const float* weight,
                   void* y, void* total);
  // dx += dtotal where given; dweight may be null
  void (*rms_norm_backward)(const NormShape&, const void* dy, const void* dtotal, const void* x,
                            const float* weight, void* dx, float* dweight);
  void (*qk_norm_rope)(const RopeShape&, const void* qkv, const float* q_weight,
                       const float* k_weight, const float* cos, const float* sin, void* q, void* k,
                       void* v);
  // the weights' gradients are null where not asked for
  void (*qk_norm_rope_backward)(const RopeShape&, const void* dq, const void* dk, const void* dv,
                                const void* qkv, const float* q_weight, const float* k_weight,
                                const float* cos, const float* sin, void* dqkv, float* dq_weight,
                                float* dk_weight);
  void (*swiglu)(Dtype, const void* gate_up, void* y, int64_t rows, int64_t width, int threads);
  void (*swiglu_backward)(Dtype, const void* dy, const void* gate_up, void* dgate_up, int64_t rows,
                          int64_t width, int threads);
};

namespace scalar {
extern const RowKernels row_kernels;
}
namespace avx2 {
extern const RowKernels row_kernels;
}
namespace avx512 {
extern const RowKernels row_kernels;
}
namespace avx512bf16 {
extern const RowKernels row_kernels;
}

}  // namespace dftfast
