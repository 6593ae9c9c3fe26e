// Bindings of the row kernels, and the choice of instruction set. dtype: as in dtype.h.
#include <pybind11/pybind11.h>

#include "cpu.h"
#include "row_ops_kernel.h"  // the scalar path

namespace py = pybind11;

namespace dftfast {
namespace {

const RowKernels& kernels() {
#if defined(__x86_64__)
  if (isa() >= Isa::avx512) return avx512::row_kernels;
  if (isa() >= Isa::avx2) return avx2::row_kernels;
#endif
  return scalar::row_kernels;
}

void* p(uintptr_t address) { return reinterpret_cast<void*>(address); }
float* f(uintptr_t address) { return reinterpret_cast<float*>(address); }
using Address = uintptr_t;

void rms_norm(int dtype, Address x, Address residual, Address weight, Address y, Address total,
              int64_t rows, int64_t d, float eps, int threads) {
  kernels().rms_norm({Dtype(dtype), rows, d, eps, threads}, p(x), p(residual), f(weight), p(y),
                     p(total));
}

void rms_norm_backward(int dtype, Address dy, Address dtotal, Address x, Address weight, Address dx,
                       Address dweight, int64_t rows, int64_t d, float eps, int threads) {
  kernels().rms_norm_backward({Dtype(dtype), rows, d, eps, threads}, p(dy), p(dtotal), p(x),
                              f(weight), p(dx), f(dweight));
}

void qk_norm_rope(int dtype, Address qkv, Address q_weight, Address k_weight, Address cos,
                  Address sin, Address q, Address k, Address v, int64_t tokens, int64_t heads,
                  int64_t kv_heads, int64_t head_dim, float eps, int threads) {
  kernels().qk_norm_rope({Dtype(dtype), tokens, heads, kv_heads, head_dim, eps, threads}, p(qkv),
                         f(q_weight), f(k_weight), f(cos), f(sin), p(q), p(k), p(v));
}

void qk_norm_rope_backward(int dtype, Address dq, Address dk, Address dv, Address qkv,
                           Address q_weight, Address k_weight, Address cos, Address sin,
                           Address dqkv, Address dq_weight, Address dk_weight, int64_t tokens,
                           int64_t heads, int64_t kv_heads, int64_t head_dim, float eps,
                           int threads) {
  kernels().qk_norm_rope_backward({Dtype(dtype), tokens, heads, kv_heads, head_dim, eps, threads},
                                  p(dq), p(dk), p(dv), p(qkv), f(q_weight), f(k_weight), f(cos),
                                  f(sin), p(dqkv), f(dq_weight), f(dk_weight));
}

void swiglu(int dtype, Address gate_up, Address y, int64_t rows, int64_t width, int threads) {
  kernels().swiglu(Dtype(dtype), p(gate_up), p(y), rows, width, threads);
}

void swiglu_backward(int dtype, Address dy, Address gate_up, Address dgate_up, int64_t rows,
                     int64_t width, int threads) {
  kernels().swiglu_backward(Dtype(dtype), p(dy), p(gate_up), p(dgate_up), rows, width, threads);
}

}  // namespace

void bind_row_ops(py::module_& m) {
  auto release = py::call_guard<py::gil_scoped_release>();
  m.def("rms_norm", &rms_norm, release);
  m.def("rms_norm_backward", &rms_norm_backward, release);
  m.def("qk_norm_rope", &qk_norm_rope, release);
  m.def("qk_norm_rope_backward", &qk_norm_rope_backward, release);
  m.def("swiglu", &swiglu, release);
  m.def("swiglu_backward", &swiglu_backward, release);
}

}  // namespace dftfast
