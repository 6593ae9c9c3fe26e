// Causal attention over packed documents by AMX tiles, in bf16 with sums in fp32, and its gradients
// (Dao, "FlashAttention-2", 2023, section 3.1). Heads of a multiple of 32 numbers.
//
// A task is one document and one key head; the query heads that share it are rows, token by token.
#pragma once

#include "attention_shared.h"
#include "tile_operands.h"
#include "tile_softmax.h"

namespace dftfast {
namespace DFTFAST_SIMD {
namespace {

constexpr int64_t kForwardRows = 32;    // queries of a block
constexpr int64_t kBackwardRows = 128;  // more: every block adds to all gradients of keys
constexpr int64_t kBackwardKeys = 256;  // whose scores stay in the second-level cache

inline bfloat16* take_pairs(float*& memory, int64_t numbers) {
  return reinterpret_cast<bfloat16*>(take_buffer(memory, (numbers + 1) / 2));
}

// The sizes of a task in whole tiles.
struct TileShape {
  int64_t group, dim, past, keys, rows;  // rows: of a block of queries

  TileShape(const Heads& heads, int64_t length, int64_t earlier, int64_t most_rows)
      : group(heads.query / heads.key),
        dim(heads.dim),
        past(earlier),
        keys(round_up(length, kTileStep)),
        rows(std::min(most_rows, round_up((length - past) * group, kTileStep))) {}

  int64_t seen(int64_t row) const { return past + row / group + 1; }  // by a query
  // Floats that a task needs.
  int64_t forward_memory() const {
    const int64_t pairs = std::max(keys, rows) * dim + 2 * keys * dim + rows * keys;
    return pairs / 2 + rows * (dim + keys + kApart);
  }
  int64_t backward_memory() const {
    const int64_t most = std::min(keys, kBackwardKeys);
    const int64_t pairs = std::max(keys, rows) * dim + 3 * keys * dim + rows * (4 * dim + 3 * most);
    return pairs / 2 + rows * (2 * (most + kApart) + dim) + 2 * dim * (keys + kApart);
  }
};

// Rows at(0), at(1), ... of x = factor(r) * rows [count, dim]
template <class At, class Factor>
void scatter_rows(const float* rows, const At& at, int64_t count, int64_t dim, const Factor& factor,
                  bfloat16* x) {
  for (int64_t r = 0; r < count; ++r) {
    const Floats by = Floats::all(factor(r));
    for (int64_t i = 0; i < dim; i += 16)
      (Floats::load(rows + r * dim + i) * by).store(x + at(r) * dim + i);
  }
}

inline void tile_attend(const bfloat16* q, const bfloat16* k, const bfloat16* v, bfloat16* out,
                        float* lse, const Task& task, const TileShape& s, float* memory) {
  const FullTiles tiles;
  const auto key_at = [&](int64_t j) { return task.key_at(j); };
  const int64_t length = task.length, queries = task.queries() * s.group;
  const float scale = 1 / std::sqrt(static_cast<float>(s.dim));
  const int64_t D = s.dim, steps = s.keys / kTileStep, score_row = s.keys + kApart;
  bfloat16* rows = take_pairs(memory, std::max(s.keys, s.rows) * D);
  bfloat16* keys = take_pairs(memory, s.keys * D);
  bfloat16* values = take_pairs(memory, s.keys * D);
  bfloat16* weights = take_pairs(memory, s.rows * s.keys);
  float* result = take_buffer(memory, s.rows * D);
  float* scores = memory;
  gather_rows(k, key_at, length, s.keys, D, rows);
  as_columns(rows, s.keys, D, keys);
  gather_rows(v, key_at, length, s.keys, D, rows);
  as_summands(rows, s.keys, D, values);
  for (int64_t first = 0; first < queries; first += s.rows) {
    const int64_t count = std::min(s.rows, queries - first);
    const int64_t seen = round_up(s.seen(first + count - 1), kTileStep);
    const auto at = [&](int64_t r) { return task.head_at(first + r); };
    gather_rows(q, at, count, s.rows, D, rows);
    multiply_tiles<false>({rows, D}, {keys, D / kTileStep}, s.rows, seen, D / kTileStep, scores,
                          score_row);
    float total[kForwardRows];
    for (int64_t r = 0; r < count; ++r) {
      const RowSum sum = tile_softmax(scores + r * score_row, s.seen(first + r), seen, scale,
                                      weights + r * s.keys);
      total[r] = sum.total;
      lse[at(r)] = sum.top + std::log(sum.total);
    }
    multiply_tiles<false>({weights, s.keys}, {values, steps}, s.rows, D, seen / kTileStep, result,
                          D);
    scatter_rows(result, at, count, D, [&](int64_t r) { return 1 / total[r]; }, out);
  }
}

// Two rows of scores, and of the products of dout with the values.
struct RowPair {
  float *scores[2], *products[2];
  int64_t seen[2];
  float lse[2], delta[2];  // delta: Σ dout·out
};

// Weights and the gradients of the scores for `columns` keys: both in pairs, as the right side of a
// product has them, and the gradients row by row, too.
inline void tile_softmax_backward(const RowPair& p, int64_t columns, float scale, int64_t steps,
                                  bfloat16* weight_pairs, bfloat16* gradient_pairs,
                                  bfloat16* const* gradients) {
  const Floats factor = Floats::all(scale), log2e = Floats::all(kLog2e), none = Floats::all(0);
  for (int64_t j = 0; j < columns; j += 16) {
    Floats weight[2], gradient[2];
    for (int r = 0; r < 2; ++r) {
      const __mmask16 mask = first_lanes(p.seen[r] - j);
      const Floats log = Floats::load(p.scores[r] + j) * factor - Floats::all(p.lse[r]);
      weight[r] = power_of_two(min(none, log * log2e), mask);
      const Floats change = Floats::load(p.products[r] + j) - Floats::all(p.delta[r]);
      gradient[r] = {_mm512_maskz_mul_ps(mask, weight[r].v, change.v)};
      gradient[r].store(gradients[r] + j);
    }
    const int64_t tile = j / 16 * steps * kTile;
    _mm512_storeu_si512(weight_pairs + tile, paired(weight[0], weight[1]));
    _mm512_storeu_si512(gradient_pairs + tile, paired(gradient[0], gradient[1]));
  }
}

// sums [dim, row] of gradients, turned: x's rows at(j) = factor * column j
template <class At>
void scatter_columns(const float* sums, int64_t row, const At& at, int64_t count, int64_t dim,
                     float factor, bfloat16* x) {
  const Floats by = Floats::all(factor);
  for (int64_t j = 0; j < count; j += 16)
    for (int64_t i = 0; i < dim; i += 16) {
      __m512i lanes[16];
      for (int n = 0; n < 16; ++n) lanes[n] = _mm512_loadu_si512(sums + (i + n) * row + j);
      transpose(lanes);
      for (int n = 0; n < std::min<int64_t>(16, count - j); ++n)
        (Floats{_mm512_castsi512_ps(lanes[n])} * by).store(x + at(j + n) * dim + i);
    }
}

struct Gradients {
  bfloat16 *q, *k, *v;
};

inline void tile_attend_backward(const bfloat16* dout, const bfloat16* q, const bfloat16* k,
                                 const bfloat16* v, const bfloat16* out, const float* lse,
                                 const Gradients& d, const Task& task, const TileShape& s,
                                 float* memory) {
  const FullTiles tiles;
  const auto key_at = [&](int64_t j) { return task.key_at(j); };
  const auto gradient_at = [&](int64_t j) { return task.gradient_at(j); };
  const int64_t length = task.length, queries = task.queries() * s.group;
  const float scale = 1 / std::sqrt(static_cast<float>(s.dim));
  const int64_t D = s.dim, R = s.rows, steps = R / kTileStep, sum_row = s.keys + kApart;
  const int64_t most = std::min(s.keys, kBackwardKeys), score_row = most + kApart;
  bfloat16* keys = take_pairs(memory, s.keys * D);    // columns
  bfloat16* values = take_pairs(memory, s.keys * D);  // columns
  bfloat16* key_summands = take_pairs(memory, s.keys * D);
  bfloat16* rows = take_pairs(memory, std::max(s.keys, R) * D);
  bfloat16* query = rows;
  bfloat16* up = take_pairs(memory, R * D);
  bfloat16* summands = take_pairs(memory, R * D);
  bfloat16* query_turned = take_pairs(memory, R * D);
  bfloat16* up_turned = take_pairs(memory, R * D);
  bfloat16* weight_pairs = take_pairs(memory, R * most);
  bfloat16* gradient_pairs = take_pairs(memory, R * most);
  bfloat16* gradients = take_pairs(memory, R * most);
  float* scores = take_buffer(memory, R * score_row);
  float* products = take_buffer(memory, R * score_row);
  float* sum_q = take_buffer(memory, R * D);
  float* sum_k = take_buffer(memory, D * sum_row);
  float* sum_v = take_buffer(memory, D * sum_row);

  gather_rows(v, key_at, length, s.keys, D, rows);
  as_columns(rows, s.keys, D, values);
  gather_rows(k, key_at, length, s.keys, D, rows);
  as_columns(rows, s.keys, D, keys);
  as_summands(rows, s.keys, D, key_summands);
  std::memset(sum_k, 0, D * sum_row * sizeof(float));
  std::memset(sum_v, 0, D * sum_row * sizeof(float));
  for (int64_t first = 0; first < queries; first += R) {
    const int64_t count = std::min(R, queries - first);
    const auto at = [&](int64_t r) { return task.head_at(first + r); };
    gather_rows(q, at, count, R, D, query);
    as_summands(query, R, D, summands);
    turned(summands, R, D, query_turned);
    gather_rows(dout, at, count, R, D, up);
    as_summands(up, R, D, summands);
    turned(summands, R, D, up_turned);
    float row_lse[kBackwardRows] = {}, delta[kBackwardRows] = {};
    for (int64_t r = 0; r < count; ++r) {
      delta[r] = row_product(up + r * D, out + at(r) * D, D);
      row_lse[r] = lse[at(r)];
    }
    std::memset(sum_q, 0, R * D * sizeof(float));
    const int64_t seen = s.seen(first + count - 1);
    for (int64_t key = 0; key < seen; key += kBackwardKeys) {
      const int64_t columns = std::min(kBackwardKeys, round_up(seen - key, kTileStep));
      const int64_t before = key * D;  // in tiles of columns: whole tiles of D numbers a key
      multiply_tiles<false>({query, D}, {keys + before, D / kTileStep}, R, columns, D / kTileStep,
                            scores, score_row);
      multiply_tiles<false>({up, D}, {values + before, D / kTileStep}, R, columns, D / kTileStep,
                            products, score_row);
      for (int64_t r = 0; r < R; r += 2) {
        RowPair pair;
        bfloat16* to[2];
        for (int64_t n = 0; n < 2; ++n) {
          pair.scores[n] = scores + (r + n) * score_row;
          pair.products[n] = products + (r + n) * score_row;
          pair.seen[n] = r + n < count ? s.seen(first + r + n) - key : 0;
          pair.lse[n] = row_lse[r + n];
          pair.delta[n] = delta[r + n];
          to[n] = gradients + (r + n) * most;
        }
        tile_softmax_backward(pair, columns, scale, steps, weight_pairs + r * 16,
                              gradient_pairs + r * 16, to);
      }
      multiply_tiles<true>({up_turned, R}, {weight_pairs, steps}, D, columns, steps, sum_v + key,
                           sum_row);
      multiply_tiles<true>({query_turned, R}, {gradient_pairs, steps}, D, columns, steps,
                           sum_k + key, sum_row);
      multiply_tiles<true>({gradients, most},
                           {key_summands + key / kTileStep * kTile, s.keys / kTileStep}, R, D,
                           columns / kTileStep, sum_q, D);
    }
    scatter_rows(sum_q, at, count, D, [&](int64_t) { return scale; }, d.q);
  }
  scatter_columns(sum_k, sum_row, gradient_at, length, D, scale, d.k);
  scatter_columns(sum_v, sum_row, gradient_at, length, D, 1.0f, d.v);
}

inline void tile_forward(const Packed& p, const bfloat16* q, const bfloat16* k, const bfloat16* v,
                         bfloat16* out, float* lse) {
  const TileShape longest(p.heads, longest_document(p), 0, kForwardRows);
  for_each_document(p, longest.forward_memory(), [&](const Task& task, float* own) {
    tile_attend(q, k, v, out, lse, task, {p.heads, task.length, task.past, kForwardRows}, own);
  });
}

inline void tile_backward(const Packed& p, const bfloat16* dout, const bfloat16* q,
                          const bfloat16* k, const bfloat16* v, const bfloat16* out,
                          const float* lse, const Gradients& d) {
  const TileShape longest(p.heads, longest_document(p), 0, kBackwardRows);
  const KeyGradients<bfloat16> keys(p, d.k), values(p, d.v);
  for_each_document(p, longest.backward_memory(), [&](const Task& task, float* own) {
    tile_attend_backward(dout, q, k, v, out, lse, {d.q, keys.data(), values.data()}, task,
                         {p.heads, task.length, task.past, kBackwardRows}, own);
  });
  keys.add_up();
  values.add_up();
}

}  // namespace
}  // namespace DFTFAST_SIMD
}  // namespace dftfast
