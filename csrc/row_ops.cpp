// Bindings of the row kernels, and the choice of instruction set. dtype: as in dtype.h.
#include "bindings.h"
#include "row_ops_kernel.h"  // the scalar path

namespace py = pybind11;

namespace dftfast {
namespace {

const RowKernels& kernels() {
#if defined(__x86_64__)
  if (isa() >= Isa::avx512bf16) return avx512bf16::row_kernels;
#endif
  return DFTFAST_WIDEST(row_kernels);
}

void rms_norm(int dtype, Address x, Address residual, Address weight, Address y, Address total,
              int64_t rows, int64_t d, float eps, int threads) {
  kernels().rms_norm({Dtype(dtype), rows, d, eps, threads}, at(x), at(residual), at<float>(weight),
                     at(y), at(total));
}

void rms_norm_backward(int dtype, Address dy, Address dtotal, Address x, Address weight, Address dx,
                       Address dweight, int64_t rows, int64_t d, float eps, int threads) {
  kernels().rms_norm_backward({Dtype(dtype), rows, d, eps, threads}, at(dy), at(dtotal), at(x),
                              at<float>(weight), at(dx), at<float>(dweight));
}

void qk_norm_rope(int dtype, Address qkv, Address q_weight, Address k_weight, Address cos,
                  Address sin, Address q, Address k, Address v, int64_t tokens, int64_t heads,
                  int64_t kv_heads, int64_t head_dim, float eps, int threads) {
  kernels().qk_norm_rope({Dtype(dtype), tokens, heads, kv_heads, head_dim, eps, threads}, at(qkv),
                         at<float>(q_weight), at<float>(k_weight), at<float>(cos), at<float>(sin),
                         at(q), at(k), at(v));
}

void qk_norm_rope_backward(int dtype, Address dq, Address dk, Address dv, Address qkv,
                           Address q_weight, Address k_weight, Address cos, Address sin,
                           Address dqkv, Address dq_weight, Address dk_weight, int64_t tokens,
                           int64_t heads, int64_t kv_heads, int64_t head_dim, float eps,
                           int threads) {
  kernels().qk_norm_rope_backward({Dtype(dtype), tokens, heads, kv_heads, head_dim, eps, threads},
                                  at(dq), at(dk), at(dv), at(qkv), at<float>(q_weight),
                                  at<float>(k_weight), at<float>(cos), at<float>(sin), at(dqkv),
                                  at<float>(dq_weight), at<float>(dk_weight));
}

void swiglu(int dtype, Address gate_up, Address y, int64_t rows, int64_t width, int threads) {
  kernels().swiglu(Dtype(dtype), at(gate_up), at(y), rows, width, threads);
}

void swiglu_backward(int dtype, Address dy, Address gate_up, Address dgate_up, int64_t rows,
                     int64_t width, int threads) {
  kernels().swiglu_backward(Dtype(dtype), at(dy), at(gate_up), at(dgate_up), rows, width, threads);
}

}  // namespace

void bind_row_ops(py::module_& m) {
  m.def("rms_norm", &rms_norm, WithoutTheGil());
  m.def("rms_norm_backward", &rms_norm_backward, WithoutTheGil());
  m.def("qk_norm_rope", &qk_norm_rope, WithoutTheGil());
  m.def("qk_norm_rope_backward", &qk_norm_rope_backward, WithoutTheGil());
  m.def("swiglu", &swiglu, WithoutTheGil());
  m.def("swiglu_backward", &swiglu_backward, WithoutTheGil());
}

}  // namespace dftfast
