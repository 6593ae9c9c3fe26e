// Attention over packed documents and over a paged cache.
//
// A block of queries sees its whole rows of scores at once: the softmax is exact, in two passes.
#pragma once

#include <algorithm>
#include <cmath>

#include "attention_shared.h"

namespace dftfast {
namespace DFTFAST_SIMD {
namespace {

// Scores -> weights that add up to one over the first `seen`, 0 from there to `columns`.
// Returns the log-sum-exp.
inline float softmax(float* scores, int64_t seen, int64_t columns) {
  Floats top = Floats::all(-kInfinity), sum = Floats::all(0);
  for (int64_t j = 0; j < seen; j += kWidth) top = max(top, load_at(scores, j, seen, -kInfinity));
  const float highest = top.max();
  for (int64_t j = 0; j < seen; j += kWidth) {
    const Floats e = exp(load_at(scores, j, seen, -kInfinity) - Floats::all(highest));
    e.store(scores + j);
    sum = sum + e;
  }
  const float total = sum.sum();
  for (int64_t j = 0; j < seen; j += kWidth)
    (Floats::load(scores + j) * Floats::all(1 / total)).store(scores + j);
  for (int64_t j = round_up(seen, kWidth); j < columns; j += kWidth)
    Floats::all(0).store(scores + j);
  return highest + std::log(total);
}

inline int64_t attend_memory(const Shape& s) {
  return s.keys * (s.dim + s.row + s.rows) + 2 * s.rows * s.row + 64;
}

// Queries see the first past + 1, past + 2, ... keys. head_at(r) numbers the rows of q and out,
// key_at(j) those of k and v; lse may be null.
template <class T, class HeadAt, class KeyAt>
void attend(const T* q, const T* k, const T* v, T* out, float* lse, const HeadAt& head_at,
            const KeyAt& key_at, int64_t queries, int64_t past, float scale, const Shape& s,
            float* memory) {
  float* keys = take_buffer(memory, s.keys * s.dim);
  float* values = take_buffer(memory, s.keys * s.row);
  float* query = take_buffer(memory, s.rows * s.row);
  float* result = take_buffer(memory, s.rows * s.row);
  float* scores = memory;
  transpose(k, key_at, past + queries, s, keys);
  widen(v, key_at, past + queries, 1.0f, s, values);
  for (int64_t first = 0; first < queries; first += s.tokens) {
    const int64_t tokens = std::min(s.tokens, queries - first);
    const int64_t rows = tokens * s.group, seen = past + first + tokens;
    const auto at = [&](int64_t r) { return head_at(first * s.group + r); };
    widen(q, at, rows, scale, s, query);
    product({query, s.row, 1}, as_transposed_panels(keys, s), scores, s.keys, rows, seen, s.dim,
            false);
    for (int64_t r = 0; r < rows; ++r) {
      const float sum = softmax(scores + r * s.keys, past + first + r / s.group + 1, seen);
      if (lse) lse[at(r)] = sum;
    }
    product({scores, s.keys, 1}, as_row_panels(values, s), result, s.row, rows, s.dim, seen, false);
    narrow(result, at, rows, 1.0f, s, out);
  }
}

// Query heads that share the registers with four keys or vectors of values.
constexpr int kHeads = kWidth == 16 ? 4 : 2;
// Keys or values between a prefetch and its use: rows of a head lie far apart.
constexpr int64_t kSoon = 16;

// scores[h] of H queries and every key, four keys at a time; past the end the last one again,
// into the padding.
template <int H, class T>
void score_keys(const float* query, const T* k, const int64_t* at, int64_t length, const Shape& s,
                float* scores) {
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
        part[n] = load_at(key[n], i, s.dim);
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
void sum_values(const float* weights, const T* v, const int64_t* at, int64_t length, int64_t i,
                const Shape& s, float* out) {
  Floats sum[H][V];
  clear(sum);
  for (int64_t j = 0; j < length; ++j) {
    const T *row = v + at[j] * s.dim, *soon = v + at[std::min(j + kSoon, length - 1)] * s.dim;
    Floats part[V];
    for (int n = 0; n < V; ++n) {
      part[n] = load_at(row, i + n * kWidth, s.dim);
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

// One query of `heads` heads, H at most; keys and values are taken where they lie, in rows
// at[0], at[1], ...
template <int H = kHeads, class T>
void attend_heads(int64_t heads, const float* query, const T* k, const T* v, const int64_t* at,
                  int64_t length, const Shape& s, float* scores, float* result) {
  if constexpr (H > 1)
    if (heads < H) return attend_heads<H - 1>(heads, query, k, v, at, length, s, scores, result);
  score_keys<H>(query, k, at, length, s, scores);
  for (int h = 0; h < H; ++h) softmax(scores + h * s.keys, length, length);
  int64_t i = 0;
  for (; i + 4 * kWidth <= s.dim; i += 4 * kWidth)
    sum_values<H, 4>(scores, v, at, length, i, s, result);
  for (; i < s.dim; i += kWidth) sum_values<H, 1>(scores, v, at, length, i, s, result);
}

template <class T, class HeadAt>
void attend_one_query(const T* q, const T* k, const T* v, T* out, const HeadAt& head_at,
                      const int64_t* at, int64_t length, float scale, const Shape& s,
                      float* memory) {
  float* query = take_buffer(memory, s.rows * s.row);
  float* result = take_buffer(memory, s.rows * s.row);
  float* scores = memory;
  widen(q, head_at, s.group, scale, s, query);
  for (int64_t head = 0; head < s.group; head += kHeads)
    attend_heads(s.group - head, query + head * s.row, k, v, at, length, s, scores,
                 result + head * s.row);
  narrow(result, head_at, s.group, 1.0f, s, out);
}

template <class T>
void forward(const Packed& p, const T* q, const T* k, const T* v, T* out, float* lse) {
  const Shape s(p.heads, longest_document(p));
  const float scale = 1 / std::sqrt(static_cast<float>(s.dim));
  for_each_document(p, attend_memory(s), [&](const Task& task, float* memory) {
    attend(
        q, k, v, out, lse, [&](int64_t r) { return task.head_at(r); },
        [&](int64_t j) { return task.key_at(j); }, task.queries(), task.past, scale, s, memory);
  });
}

template <class T>
void paged(const Paged& p, const T* q, const T* k, const T* v, T* out) {
  const Shape s(p.heads, p.sequences ? *std::max_element(p.lengths, p.lengths + p.sequences) : 0);
  const auto attend_sequence = [&](int64_t task, float* memory) {
    const int64_t sequence = task / p.heads.key, head = task % p.heads.key;
    const int64_t begin = p.query_offsets[sequence], length = p.lengths[sequence];
    const int64_t queries = p.query_offsets[sequence + 1] - begin;
    const int32_t* pages = p.table + sequence * p.table_width;
    const auto head_at = [&](int64_t r) {
      return ((begin + r / s.group) * p.heads.key + head) * s.group + r % s.group;
    };
    int64_t* rows = reinterpret_cast<int64_t*>(take_buffer(memory, 2 * s.keys));
    for (int64_t j = 0, page = 0; j < length; ++page)
      for (int64_t i = 0; i < p.page && j < length; ++i, ++j)
        rows[j] = (pages[page] * p.page + i) * p.heads.key + head;
    const auto key_at = [&](int64_t j) { return rows[j]; };
    if (queries == 1) attend_one_query(q, k, v, out, head_at, rows, length, p.scale, s, memory);
    else if (queries)
      attend<T>(q, k, v, out, nullptr, head_at, key_at, queries, length - queries, p.scale, s,
                memory);
  };
  const int64_t memory = 2 * s.keys + 16 + attend_memory(s);
  for_each_task(p.sequences * p.heads.key, p.threads, memory, attend_sequence);
}

}  // namespace
}  // namespace DFTFAST_SIMD
}  // namespace dftfast
