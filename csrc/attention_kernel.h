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

constexpr int kHeads = kWidth == 16 ? 4 : 2;  // query heads that share the registers with four keys or vectors of values
constexpr int64_t kSoon = 16;                 // keys or values between a prefetch and its use: rows of a head lie far apart

// scores[h] of H queries and every key, four keys at a time; past the end the last one again, into the padding.
template <int H, class T>
void score(const float* query, const T* k, const int64_t* at, int64_t length, const Shape& s, float* scores) {
  for (int64_t j = 0; j < length; j += 4) {
    const T *key[4], *soon[4];
    for (int n = 0; n < 4; ++n) {
      key[n] = k + at[std::min(j + n, length - 1)] * s.dim;
      soon[n] = k + at[std::min(j + n + kSoon, length - 1)] * s.dim;
    }
    Floats sum[H][4];
    clear(sum);
    for (int64_t i = 0; i < s.dim; i += kWidth) {
      Floats part[4];
      for (int n = 0; n < 4; ++n) {
        part[n] = get(key[n], i, s.dim);
        __builtin_prefetch(soon[n] + i);
      }
      for (int h = 0; h < H; ++h) {
        const Floats q = Floats::load(query + h * s.row + i);
        for (int n = 0; n < 4; ++n) sum[h][n] = fma(part[n], q, sum[h][n]);
      }
    }
    for (int h = 0; h < H; ++h) Floats::sums(sum[h], scores + h * s.keys + j);
  }
}

// V vectors of out[h] = Σ_j weights[h][j] v_j, from column i on.
template <int H, int V, class T>
void weigh(const float* weights, const T* v, const int64_t* at, int64_t length, int64_t i, const Shape& s, float* out) {
  Floats sum[H][V];
  clear(sum);
  for (int64_t j = 0; j < length; ++j) {
    const T *row = v + at[j] * s.dim, *soon = v + at[std::min(j + kSoon, length - 1)] * s.dim;
    Floats part[V];
    for (int n = 0; n < V; ++n) {
      part[n] = get(row, i + n * kWidth, s.dim);
      __builtin_prefetch(soon + i + n * kWidth);
    }
    for (int h = 0; h < H; ++h) {
      const Floats weight = Floats::all(weights[h * s.keys + j]);
      for (int n = 0; n < V; ++n) sum[h][n] = fma(part[n], weight, sum[h][n]);
    }
  }
  for (int h = 0; h < H; ++h)
    for (int n = 0; n < V; ++n) sum[h][n].store(out + h * s.row + i + n * kWidth);
}

// One query of `heads` heads, H at most; keys and values are taken where they lie, in rows at[0], at[1], ...
template <int H = kHeads, class T>
void attend_heads(int64_t heads, const float* query, const T* k, const T* v, const int64_t* at, int64_t length,
                  const Shape& s, float* scores, float* result) {
  if constexpr (H > 1)
    if (heads < H) return attend_heads<H - 1>(heads, query, k, v, at, length, s, scores, result);
  score<H>(query, k, at, length, s, scores);
  for (int h = 0; h < H; ++h) softmax(scores + h * s.keys, length, length);
  int64_t i = 0;
  for (; i + 4 * kWidth <= s.dim; i += 4 * kWidth) weigh<H, 4>(scores, v, at, length, i, s, result);
  for (; i < s.dim; i += kWidth) weigh<H, 1>(scores, v, at, length, i, s, result);
}

template <class T, class HeadAt>
void attend_once(const T* q, const T* k, const T* v, T* out, const HeadAt& head_at, const int64_t* at, int64_t length,
                 float scale, const Shape& s, float* memory) {
  float *query = take(memory, s.rows * s.row), *result = take(memory, s.rows * s.row), *scores = memory;
  widen(q, head_at, s.group, scale, s, query);
  for (int64_t head = 0; head < s.group; head += kHeads)
    attend_heads(s.group - head, query + head * s.row, k, v, at, length, s, scores, result + head * s.row);
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
  for_each(p.sequences * p.heads.key, p.threads, 2 * s.keys + 16 + attend_memory(s), [&](int64_t task, float* memory) {
    const int64_t sequence = task / p.heads.key, head = task % p.heads.key, length = p.lengths[sequence];
    const int64_t begin = p.query_offsets[sequence], queries = p.query_offsets[sequence + 1] - begin;
    const int32_t* pages = p.table + sequence * p.table_width;
    const auto head_at = [&](int64_t r) { return ((begin + r / s.group) * p.heads.key + head) * s.group + r % s.group; };
    int64_t* rows = reinterpret_cast<int64_t*>(take(memory, 2 * s.keys));
    for (int64_t j = 0, page = 0; j < length; ++page)
      for (int64_t i = 0; i < p.page && j < length; ++i, ++j) rows[j] = (pages[page] * p.page + i) * p.heads.key + head;
    const auto key_at = [&](int64_t j) { return rows[j]; };
    if (queries == 1) attend_once(q, k, v, out, head_at, rows, length, p.scale, s, memory);
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
