// The attention kernels, compiled once for each instruction set.
//
// A task is one document (or cached sequence) and one key head: its keys and values are widened to fp32 once, and the
// query heads that share them are the rows of its tiles, token by token. A block of queries sees its whole row of
// scores at once, so the softmax is exact and in two passes. A task alone writes its key head's gradients.
#pragma once

#include <cmath>
#include <cstdlib>
#include <new>

#include <omp.h>

#include "attention.h"
#include "tile_product.h"

namespace dftfast {
namespace DFTFAST_SIMD {
namespace {

constexpr float kInfinity = __builtin_inff();

struct Shape {
  int64_t group, dim, row, tokens, rows, keys;
  Shape(const Heads& heads, int64_t longest)
      : group(heads.query / heads.key), dim(heads.dim), row(whole(dim, kWidth)),
        tokens(std::max<int64_t>(1, 48 / group)), rows(tokens * group), keys(whole(longest, kPanel)) {}
};

// Calls task(i, memory) for every i, on threads that have `floats` of aligned memory each.
template <class Task>
void for_each(int64_t tasks, int threads, int64_t floats, const Task& task) {
  threads = static_cast<int>(std::max<int64_t>(1, std::min<int64_t>(threads, tasks)));
  floats = whole(floats, 16);
  float* memory = static_cast<float*>(std::aligned_alloc(64, std::max<int64_t>(64, threads * floats * 4)));
  if (!memory) throw std::bad_alloc();
#pragma omp parallel for num_threads(threads) schedule(dynamic)
  for (int64_t i = 0; i < tasks; ++i) task(i, memory + omp_get_thread_num() * floats);
  std::free(memory);
}

inline float* take(float*& memory, int64_t floats) {
  float* taken = memory;
  memory += whole(floats, 16);
  return taken;
}

// out [n, row] = factor * rows at(0), at(1), ... of x [.., dim]
template <class T, class At>
void widen(const T* x, const At& at, int64_t n, float factor, const Shape& s, float* out) {
  for (int64_t j = 0; j < n; ++j) {
    const T* from = x + at(j) * s.dim;
    for (int64_t i = 0; i < s.dim; i += kWidth) (get(from, i, s.dim) * Floats::all(factor)).store(out + j * s.row + i);
  }
}

// The same rows as columns, kPanel of them side by side.
template <class T, class At>
void transpose(const T* x, const At& at, int64_t n, const Shape& s, float* out) {
  float lanes[kWidth];
  for (int64_t j = 0; j < n; ++j) {
    const T* from = x + at(j) * s.dim;
    float* to = out + j / kPanel * s.dim * kPanel + j % kPanel;
    for (int64_t i = 0; i < s.dim; i += kWidth) {
      get(from, i, s.dim).store(lanes);
      for (int64_t lane = 0; lane < std::min<int64_t>(kWidth, s.dim - i); ++lane) to[(i + lane) * kPanel] = lanes[lane];
    }
  }
}

template <class T, class At>
void narrow(const float* rows, const At& at, int64_t n, float factor, const Shape& s, T* x) {
  for (int64_t j = 0; j < n; ++j) {
    T* to = x + at(j) * s.dim;
    for (int64_t i = 0; i < s.dim; i += kWidth) put(Floats::load(rows + j * s.row + i) * Floats::all(factor), to, i, s.dim);
  }
}

inline Right transposed(const float* x, const Shape& s) { return {x, kPanel, s.dim * kPanel}; }
inline Right straight(const float* x, const Shape& s) { return {x, s.row, kPanel}; }

// Scores -> weights that add up to one over the first `seen`, 0 from there to `columns`. Returns the log-sum-exp.
inline float softmax(float* scores, int64_t seen, int64_t columns) {
  Floats top = Floats::all(-kInfinity), sum = Floats::all(0);
  for (int64_t j = 0; j < seen; j += kWidth) top = max(top, get(scores, j, seen, -kInfinity));
  const float highest = top.max();
  for (int64_t j = 0; j < seen; j += kWidth) {
    const Floats e = exp(get(scores, j, seen, -kInfinity) - Floats::all(highest));
    e.store(scores + j);
    sum = sum + e;
  }
  const float total = sum.sum();
  for (int64_t j = 0; j < seen; j += kWidth) (Floats::load(scores + j) * Floats::all(1 / total)).store(scores + j);
  for (int64_t j = whole(seen, kWidth); j < columns; j += kWidth) Floats::all(0).store(scores + j);
  return highest + std::log(total);
}

inline int64_t attend_memory(const Shape& s) { return s.keys * (s.dim + s.row + s.rows) + 2 * s.rows * s.row + 64; }

// Queries see the first past + 1, past + 2, ... keys. head_at(r) numbers the rows of q and out, key_at(j) those of k
// and v; lse may be null.
template <class T, class HeadAt, class KeyAt>
void attend(const T* q, const T* k, const T* v, T* out, float* lse, const HeadAt& head_at, const KeyAt& key_at,
            int64_t queries, int64_t past, float scale, const Shape& s, float* memory) {
  float *keys = take(memory, s.keys * s.dim), *values = take(memory, s.keys * s.row);
  float *query = take(memory, s.rows * s.row), *result = take(memory, s.rows * s.row), *scores = memory;
  transpose(k, key_at, past + queries, s, keys);
  widen(v, key_at, past + queries, 1.0f, s, values);
  for (int64_t first = 0; first < queries; first += s.tokens) {
    const int64_t tokens = std::min(s.tokens, queries - first), rows = tokens * s.group, seen = past + first + tokens;
    const auto at = [&](int64_t r) { return head_at(first * s.group + r); };
    widen(q, at, rows, scale, s, query);
    product({query, s.row, 1}, transposed(keys, s), scores, s.keys, rows, seen, s.dim, false);
    for (int64_t r = 0; r < rows; ++r) {
      const float sum = softmax(scores + r * s.keys, past + first + r / s.group + 1, seen);
      if (lse) lse[at(r)] = sum;
    }
    product({scores, s.keys, 1}, straight(values, s), result, s.row, rows, s.dim, seen, false);
    narrow(result, at, rows, 1.0f, s, out);
  }
}

// p = exp(scores - lse) and scores' gradient p (dp - Σ p dp) in place of dp; both 0 from `seen` to `columns`.
inline void softmax_backward(float* scores, float* dp, float lse, int64_t seen, int64_t columns) {
  Floats sum = Floats::all(0);
  for (int64_t j = 0; j < seen; j += kWidth) {
    const Floats p = exp(get(scores, j, seen, -kInfinity) - Floats::all(lse));
    p.store(scores + j);
    sum = fma(p, get(dp, j, seen), sum);
  }
  const Floats mean = Floats::all(sum.sum());
  for (int64_t j = 0; j < seen; j += kWidth)
    (Floats::load(scores + j) * (get(dp, j, seen) - mean)).store(dp + j);
  for (int64_t j = whole(seen, kWidth); j < columns; j += kWidth) {
    Floats::all(0).store(scores + j);
    Floats::all(0).store(dp + j);
  }
}

template <class T, class HeadAt, class KeyAt>
void attend_backward(const T* dout, const T* q, const T* k, const T* v, const float* lse, T* dq, T* dk, T* dv,
                     const HeadAt& head_at, const KeyAt& key_at, int64_t length, const Shape& s, float* memory) {
  const float scale = 1 / std::sqrt(static_cast<float>(s.dim));
  float *columns_k = take(memory, s.keys * s.dim), *columns_v = take(memory, s.keys * s.dim);
  float *rows_k = take(memory, s.keys * s.row), *sum_k = take(memory, s.keys * s.row), *sum_v = take(memory, s.keys * s.row);
  float *query = take(memory, s.rows * s.row), *up = take(memory, s.rows * s.row), *result = take(memory, s.rows * s.row);
  float *p = take(memory, s.rows * s.keys), *ds = memory;
  transpose(k, key_at, length, s, columns_k);
  transpose(v, key_at, length, s, columns_v);
  widen(k, key_at, length, 1.0f, s, rows_k);
  std::fill_n(sum_k, length * s.row, 0.0f);
  std::fill_n(sum_v, length * s.row, 0.0f);
  for (int64_t first = 0; first < length; first += s.tokens) {
    const int64_t tokens = std::min(s.tokens, length - first), rows = tokens * s.group, seen = first + tokens;
    const auto at = [&](int64_t r) { return head_at(first * s.group + r); };
    widen(q, at, rows, scale, s, query);
    widen(dout, at, rows, 1.0f, s, up);
    product({query, s.row, 1}, transposed(columns_k, s), p, s.keys, rows, seen, s.dim, false);
    product({up, s.row, 1}, transposed(columns_v, s), ds, s.keys, rows, seen, s.dim, false);
    for (int64_t r = 0; r < rows; ++r)
      softmax_backward(p + r * s.keys, ds + r * s.keys, lse[at(r)], first + r / s.group + 1, seen);
    product({p, 1, s.keys}, straight(up, s), sum_v, s.row, seen, s.dim, rows, true);
    product({ds, 1, s.keys}, straight(query, s), sum_k, s.row, seen, s.dim, rows, true);
    product({ds, s.keys, 1}, straight(rows_k, s), result, s.row, rows, s.dim, seen, false);
    narrow(result, at, rows, scale, s, dq);
  }
  narrow(sum_k, key_at, length, 1.0f, s, dk);
  narrow(sum_v, key_at, length, 1.0f, s, dv);
}

// One query: keys and values are read once, where they lie.
template <class T, class HeadAt, class KeyAt>
void attend_once(const T* q, const T* k, const T* v, T* out, const HeadAt& head_at, const KeyAt& key_at, int64_t length,
                 float scale, const Shape& s, float* memory) {
  float *query = take(memory, s.rows * s.row), *result = take(memory, s.rows * s.row), *scores = memory;
  widen(q, head_at, s.group, scale, s, query);
  for (int64_t j = 0; j < length; ++j)
    for (int64_t g = 0; g < s.group; ++g) {
      Floats sum = Floats::all(0);
      for (int64_t i = 0; i < s.dim; i += kWidth)
        sum = fma(get(k + key_at(j) * s.dim, i, s.dim), Floats::load(query + g * s.row + i), sum);
      scores[g * s.keys + j] = sum.sum();
    }
  for (int64_t g = 0; g < s.group; ++g) softmax(scores + g * s.keys, length, length);
  std::fill_n(result, s.group * s.row, 0.0f);
  for (int64_t j = 0; j < length; ++j)
    for (int64_t i = 0; i < s.dim; i += kWidth) {
      const Floats value = get(v + key_at(j) * s.dim, i, s.dim);
      for (int64_t g = 0; g < s.group; ++g) {
        float* sum = result + g * s.row + i;
        fma(value, Floats::all(scores[g * s.keys + j]), Floats::load(sum)).store(sum);
      }
    }
  narrow(result, head_at, s.group, 1.0f, s, out);
}

int64_t longest(const Packed& p) {
  int64_t found = 0;
  for (int64_t i = 0; i < p.documents; ++i) found = std::max(found, p.offsets[i + 1] - p.offsets[i]);
  return found;
}

// Calls body(head_at, key_at, length, memory) for every document and key head.
template <class Body>
void for_documents(const Packed& p, const Shape& s, int64_t memory, const Body& body) {
  for_each(p.documents * p.heads.key, p.threads, memory, [&](int64_t task, float* own) {
    const int64_t head = task % p.heads.key, begin = p.offsets[task / p.heads.key];
    const auto head_at = [&](int64_t r) { return ((begin + r / s.group) * p.heads.key + head) * s.group + r % s.group; };
    const auto key_at = [&](int64_t j) { return (begin + j) * p.heads.key + head; };
    body(head_at, key_at, p.offsets[task / p.heads.key + 1] - begin, own);
  });
}

template <class T>
void forward(const Packed& p, const T* q, const T* k, const T* v, T* out, float* lse) {
  const Shape s(p.heads, longest(p));
  const float scale = 1 / std::sqrt(static_cast<float>(s.dim));
  for_documents(p, s, attend_memory(s), [&](const auto& head_at, const auto& key_at, int64_t length, float* memory) {
    attend(q, k, v, out, lse, head_at, key_at, length, 0, scale, s, memory);
  });
}

template <class T>
void backward(const Packed& p, const T* dout, const T* q, const T* k, const T* v, const float* lse, T* dq, T* dk, T* dv) {
  const Shape s(p.heads, longest(p));
  const int64_t memory = s.keys * (2 * s.dim + 3 * s.row + 2 * s.rows) + 3 * s.rows * s.row + 256;
  for_documents(p, s, memory, [&](const auto& head_at, const auto& key_at, int64_t length, float* own) {
    attend_backward(dout, q, k, v, lse, dq, dk, dv, head_at, key_at, length, s, own);
  });
}

template <class T>
void paged(const Paged& p, const T* q, const T* k, const T* v, T* out) {
  const Shape s(p.heads, p.sequences ? *std::max_element(p.lengths, p.lengths + p.sequences) : 0);
  for_each(p.sequences * p.heads.key, p.threads, attend_memory(s), [&](int64_t task, float* memory) {
    const int64_t sequence = task / p.heads.key, head = task % p.heads.key, length = p.lengths[sequence];
    const int64_t begin = p.query_offsets[sequence], queries = p.query_offsets[sequence + 1] - begin;
    const int32_t* pages = p.table + sequence * p.table_width;
    const auto head_at = [&](int64_t r) { return ((begin + r / s.group) * p.heads.key + head) * s.group + r % s.group; };
    const auto key_at = [&](int64_t j) { return (pages[j / p.page] * p.page + j % p.page) * p.heads.key + head; };
    if (queries == 1) attend_once(q, k, v, out, head_at, key_at, length, p.scale, s, memory);
    else if (queries) attend<T>(q, k, v, out, nullptr, head_at, key_at, queries, length - queries, p.scale, s, memory);
  });
}

}  // namespace

extern const AttentionKernels attention_kernels;
const AttentionKernels attention_kernels = {
    [](const Packed& p, const void* q, const void* k, const void* v, void* out, float* lse) {
      typed(p.dtype, [&](auto* t) {
        using T = std::remove_pointer_t<decltype(t)>;
        forward<T>(p, To<T>{q}, To<T>{k}, To<T>{v}, To<T>{out}, lse);
      });
    },
    [](const Packed& p, const void* dout, const void* q, const void* k, const void* v, const float* lse, void* dq,
       void* dk, void* dv) {
      typed(p.dtype, [&](auto* t) {
        using T = std::remove_pointer_t<decltype(t)>;
        backward<T>(p, To<T>{dout}, To<T>{q}, To<T>{k}, To<T>{v}, lse, To<T>{dq}, To<T>{dk}, To<T>{dv});
      });
    },
    [](const Paged& p, const void* q, const void* k_cache, const void* v_cache, void* out) {
      typed(p.dtype, [&](auto* t) {
        using T = std::remove_pointer_t<decltype(t)>;
        paged<T>(p, To<T>{q}, To<T>{k_cache}, To<T>{v_cache}, To<T>{out});
      });
    },
};

}  // namespace DFTFAST_SIMD
}  // namespace dftfast
