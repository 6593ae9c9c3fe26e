// The gradients of attention over packed documents. A task alone writes its key head's gradients.
#pragma once

#include <algorithm>
#include <cmath>

#include "attention_shared.h"

namespace dftfast {
namespace DFTFAST_SIMD {
namespace {

// p = exp(scores - lse) and scores' gradient p (dp - delta) in place of dp; both 0 from `seen` to
// `columns`.
inline void softmax_backward(float* scores, float* dp, float lse, float delta, int64_t seen,
                             int64_t columns) {
  for (int64_t j = 0; j < seen; j += kWidth) {
    const Floats p = exp(load_at(scores, j, seen, -kInfinity) - Floats::all(lse));
    p.store(scores + j);
    (p * (load_at(dp, j, seen) - Floats::all(delta))).store(dp + j);
  }
  for (int64_t j = round_up(seen, kWidth); j < columns; j += kWidth) {
    Floats::all(0).store(scores + j);
    Floats::all(0).store(dp + j);
  }
}

template <class T>
void attend_backward(const T* dout, const T* q, const T* k, const T* v, const T* out,
                     const float* lse, T* dq, T* dk, T* dv, const Task& task, const Shape& s,
                     float* memory) {
  const auto key_at = [&](int64_t j) { return task.key_at(j); };
  const auto gradient_at = [&](int64_t j) { return task.gradient_at(j); };
  const int64_t length = task.length, past = task.past;
  const float scale = 1 / std::sqrt(static_cast<float>(s.dim));
  float* columns_k = take_buffer(memory, s.keys * s.dim);
  float* columns_v = take_buffer(memory, s.keys * s.dim);
  float* rows_k = take_buffer(memory, s.keys * s.row);
  float* sum_k = take_buffer(memory, s.keys * s.row);
  float* sum_v = take_buffer(memory, s.keys * s.row);
  float* query = take_buffer(memory, s.rows * s.row);
  float* up = take_buffer(memory, s.rows * s.row);
  float* result = take_buffer(memory, s.rows * s.row);
  float* p = take_buffer(memory, s.rows * s.keys);
  float* ds = memory;
  transpose(k, key_at, length, s, columns_k);
  transpose(v, key_at, length, s, columns_v);
  widen(k, key_at, length, 1.0f, s, rows_k);
  std::fill_n(sum_k, length * s.row, 0.0f);
  std::fill_n(sum_v, length * s.row, 0.0f);
  for (int64_t first = 0; first < task.queries(); first += s.tokens) {
    const int64_t tokens = std::min(s.tokens, task.queries() - first);
    const int64_t rows = tokens * s.group, seen = past + first + tokens;
    const auto at = [&](int64_t r) { return task.head_at(first * s.group + r); };
    widen(q, at, rows, scale, s, query);
    widen(dout, at, rows, 1.0f, s, up);
    product({query, s.row, 1}, as_transposed_panels(columns_k, s), p, s.keys, rows, seen, s.dim,
            false);
    product({up, s.row, 1}, as_transposed_panels(columns_v, s), ds, s.keys, rows, seen, s.dim,
            false);
    for (int64_t r = 0; r < rows; ++r)
      softmax_backward(p + r * s.keys, ds + r * s.keys, lse[at(r)],
                       row_product(dout + at(r) * s.dim, out + at(r) * s.dim, s.dim),
                       past + first + r / s.group + 1, seen);
    product({p, 1, s.keys}, as_row_panels(up, s), sum_v, s.row, seen, s.dim, rows, true);
    product({ds, 1, s.keys}, as_row_panels(query, s), sum_k, s.row, seen, s.dim, rows, true);
    product({ds, s.keys, 1}, as_row_panels(rows_k, s), result, s.row, rows, s.dim, seen, false);
    narrow(result, at, rows, scale, s, dq);
  }
  narrow(sum_k, gradient_at, length, 1.0f, s, dk);
  narrow(sum_v, gradient_at, length, 1.0f, s, dv);
}

template <class T>
void backward(const Packed& p, const T* dout, const T* q, const T* k, const T* v, const T* out,
              const float* lse, T* dq, T* dk, T* dv) {
  const Shape s(p.heads, longest_document(p));
  const int64_t memory = s.keys * (2 * s.dim + 3 * s.row + 2 * s.rows) + 3 * s.rows * s.row + 256;
  const KeyGradients<T> keys(p, dk), values(p, dv);
  for_each_document(p, memory, [&](const Task& task, float* own) {
    attend_backward(dout, q, k, v, out, lse, dq, keys.data(), values.data(), task, s, own);
  });
  keys.add_up();
  values.add_up();
}

}  // namespace
}  // namespace DFTFAST_SIMD
}  // namespace dftfast
