// Bindings of the row kernels, and the choice of instruction set. dtype: as in dtype.h.
#include "bindings.h"
#include "row_ops_kernel.h"  // the scalar path

namespace py = pybind11;

namespace dftfast {
namespace {

const RowKernels& kernels() { return widest(DFTFAST_UP_TO_AVX512BF16(row_kernels)); }

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

RopeShape rope_shape(int dtype, int64_t tokens, int64_t heads, int64_t kv_heads, int64_t head_dim,
                     int64_t angles, float eps, int threads) {
  return {Dtype(dtype), tokens, heads, kv_heads, head_dim, angles, eps, threads};
}

Heads dense(const RopeShape& s, Address q, Address k, Address v) {
  return {at(q), at(k), at(v), s.heads * s.head_dim, s.kv_heads * s.head_dim};
}

Heads packed(const RopeShape& s, Address qkv) {
  const int64_t bytes = (s.dtype == Dtype::float32 ? 4 : 2) * s.head_dim;
  const int64_t stride = (s.heads + 2 * s.kv_heads) * s.head_dim;
  return {at(qkv), at(qkv + s.heads * bytes), at(qkv + (s.heads + s.kv_heads) * bytes), stride,
          stride};
}

void qk_norm_rope(int dtype, Address qkv, Address q_weight, Address k_weight, Address cos,
                  Address sin, Address q, Address k, Address v, int64_t tokens, int64_t heads,
                  int64_t kv_heads, int64_t head_dim, float eps, int threads) {
  const auto s = rope_shape(dtype, tokens, heads, kv_heads, head_dim, tokens, eps, threads);
  kernels().qk_norm_rope(s, packed(s, qkv), at<float>(q_weight), at<float>(k_weight),
                         at<float>(cos), at<float>(sin), dense(s, q, k, v));
}

void qk_norm_rope_backward(int dtype, Address dq, Address dk, Address dv, Address qkv,
                           Address q_weight, Address k_weight, Address cos, Address sin,
                           Address dqkv, Address dq_weight, Address dk_weight, int64_t tokens,
                           int64_t heads, int64_t kv_heads, int64_t head_dim, float eps,
                           int threads) {
  const auto s = rope_shape(dtype, tokens, heads, kv_heads, head_dim, tokens, eps, threads);
  kernels().qk_norm_rope_backward(s, dense(s, dq, dk, dv), packed(s, qkv), at<float>(q_weight),
                                  at<float>(k_weight), at<float>(cos), at<float>(sin),
                                  packed(s, dqkv), at<float>(dq_weight), at<float>(dk_weight));
}

void rope(int dtype, Address q, Address k, Address q_weight, Address k_weight, Address cos,
          Address sin, Address q_out, Address k_out, int64_t tokens, int64_t heads,
          int64_t kv_heads, int64_t head_dim, int64_t angles, float eps, int threads) {
  const auto s = rope_shape(dtype, tokens, heads, kv_heads, head_dim, angles, eps, threads);
  kernels().qk_norm_rope(s, dense(s, q, k, 0), at<float>(q_weight), at<float>(k_weight),
                         at<float>(cos), at<float>(sin), dense(s, q_out, k_out, 0));
}

void rope_backward(int dtype, Address dq_out, Address dk_out, Address q, Address k,
                   Address q_weight, Address k_weight, Address cos, Address sin, Address dq,
                   Address dk, Address dq_weight, Address dk_weight, int64_t tokens, int64_t heads,
                   int64_t kv_heads, int64_t head_dim, int64_t angles, float eps, int threads) {
  const auto s = rope_shape(dtype, tokens, heads, kv_heads, head_dim, angles, eps, threads);
  kernels().qk_norm_rope_backward(s, dense(s, dq_out, dk_out, 0), dense(s, q, k, 0),
                                  at<float>(q_weight), at<float>(k_weight), at<float>(cos),
                                  at<float>(sin), dense(s, dq, dk, 0), at<float>(dq_weight),
                                  at<float>(dk_weight));
}

void swiglu(int dtype, Address gate, Address up, Address y, int64_t rows, int64_t width,
            int64_t stride, int threads) {
  kernels().swiglu(Dtype(dtype), {at(gate), at(up), stride}, at(y), rows, width, threads);
}

void swiglu_backward(int dtype, Address dy, Address gate, Address up, Address dgate, Address dup,
                     int64_t rows, int64_t width, int64_t stride, int threads) {
  kernels().swiglu_backward(Dtype(dtype), at(dy), {at(gate), at(up), stride},
                            {at(dgate), at(dup), stride}, rows, width, threads);
}

}  // namespace

void bind_row_ops(py::module_& m) {
  m.def("rms_norm", &rms_norm, WithoutTheGil());
  m.def("rms_norm_backward", &rms_norm_backward, WithoutTheGil());
  m.def("qk_norm_rope", &qk_norm_rope, WithoutTheGil());
  m.def("qk_norm_rope_backward", &qk_norm_rope_backward, WithoutTheGil());
  m.def("rope", &rope, WithoutTheGil());
  m.def("rope_backward", &rope_backward, WithoutTheGil());
  m.def("swiglu", &swiglu, WithoutTheGil());
  m.def("swiglu_backward", &swiglu_backward, WithoutTheGil());
}

}  // namespace dftfast
