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

struct RopeShape {  // token t turns by row t mod `angles` of cos and sin [angles, D / 2]
  Dtype dtype;
  int64_t tokens, heads, kv_heads, head_dim, angles;
  float eps;
  int threads;
};

struct Heads {  // token t's heads [H, D] and [Hk, D] start t strides behind these; v may be null
  void *q, *k, *v;
  int64_t q_stride, kv_stride;
};

struct Gated {  // row i of both starts i strides behind these
  void *gate, *up;
  int64_t stride;
};

struct RowKernels {
  // total = x + residual (where given, rounded), y = round(total / rms(total)) * weight
  void (*rms_norm)(const NormShape&, const void* x, const void* residual, const float* weight,
                   void* y, void* total);
  // dx += dtotal where given; dweight may be null
  void (*rms_norm_backward)(const NormShape&, const void* dy, const void* dtotal, const void* x,
                            const float* weight, void* dx, float* dweight);
  // queries and keys to the dense `out`, normed where there are weights, and turned; values copied
  void (*qk_norm_rope)(const RopeShape&, const Heads& in, const float* q_weight,
                       const float* k_weight, const float* cos, const float* sin, const Heads& out);
  // `in` is read where there are weights; their gradients are null where not asked for
  void (*qk_norm_rope_backward)(const RopeShape&, const Heads& dout, const Heads& in,
                                const float* q_weight, const float* k_weight, const float* cos,
                                const float* sin, const Heads& din, float* dq_weight,
                                float* dk_weight);
  void (*swiglu)(Dtype, const Gated& in, void* y, int64_t rows, int64_t width, int threads);
  void (*swiglu_backward)(Dtype, const void* dy, const Gated& in, const Gated& din, int64_t rows,
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
