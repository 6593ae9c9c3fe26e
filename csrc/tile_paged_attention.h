// Attention over the paged cache of paged_attention_kernel.h by AMX tiles: its keys are, as they
// lie, the right side of the product with the queries, and its values that with the weights. Heads
// of a multiple of 32 numbers.
#pragma once

#include "paged_attention_kernel.h"
#include "tile_softmax.h"
#include "tiles.h"

namespace dftfast {
namespace DFTFAST_SIMD {

constexpr int64_t kTileQueries = 16;
constexpr int64_t kAtOnce = 4;  // blocks, or vectors of a value, that have a tile of sums each

// What queries of a kv head read: `count` blocks, the last one with zeros where it holds no token.
struct CachedHead {
  const PagedCache& cache;
  int64_t kv_head, count;
  const int32_t* blocks;
  const bfloat16* last_values;

  const bfloat16* key(int64_t b) const {
    return cache.keys(blocks[std::min(b, count - 1)], kv_head);
  }
  const bfloat16* value(int64_t b) const {
    return b + 1 < count ? cache.values(blocks[b], kv_head) : last_values;
  }
  void fetch(const bfloat16* lines) const {
    for (int64_t i = 0; i < kBlock * cache.head_dim; i += 32) __builtin_prefetch(lines + i, 0, 2);
  }
};

inline void shape_for_queries(int rows) {
  alignas(64) TileShapes shapes;
  for (int tile : {0, 1, 2, 3, 4}) shapes.set(tile, rows);  // sums, queries
  shapes.set(5, 16);                                        // keys: 16 pairs of a head's numbers
  shapes.set(6, kBlock / 2);                                // values: pairs of tokens
  shapes.set(7, rows, 2 * kBlock);                          // weights of a block
  DFTFAST_TILE_SHAPES(&shapes);
}

// scores [rows, row] of q [rows, head_dim] and the keys, four blocks at once; past the end the last
// one again.
inline void tile_scores(const bfloat16* q, const CachedHead& head, float* scores, int64_t row) {
  DFTFAST_TILE_SEE_MEMORY();
  const int64_t D = head.cache.head_dim;
  for (int64_t b = 0; b < head.count; b += kAtOnce) {
    const bfloat16 *key0 = head.key(b), *key1 = head.key(b + 1), *key2 = head.key(b + 2),
                   *key3 = head.key(b + 3);
    for (int64_t i = b + kAtOnce; i < std::min(head.count, b + 2 * kAtOnce); ++i)
      head.fetch(head.key(i));
    DFTFAST_TILE_ZERO(0);
    DFTFAST_TILE_ZERO(1);
    DFTFAST_TILE_ZERO(2);
    DFTFAST_TILE_ZERO(3);
    for (int64_t i = 0; i < D; i += 32) {
      DFTFAST_TILE_LOAD(4, q + i, 2 * D);
      DFTFAST_TILE_LOAD(5, key0 + i * kBlock, 64);
      DFTFAST_TILE_MULTIPLY(0, 4, 5);
      DFTFAST_TILE_LOAD(5, key1 + i * kBlock, 64);
      DFTFAST_TILE_MULTIPLY(1, 4, 5);
      DFTFAST_TILE_LOAD(5, key2 + i * kBlock, 64);
      DFTFAST_TILE_MULTIPLY(2, 4, 5);
      DFTFAST_TILE_LOAD(5, key3 + i * kBlock, 64);
      DFTFAST_TILE_MULTIPLY(3, 4, 5);
    }
    float* out = scores + b * kBlock;
    DFTFAST_TILE_STORE(0, out, 4 * row);
    DFTFAST_TILE_STORE(1, out + kBlock, 4 * row);
    DFTFAST_TILE_STORE(2, out + 2 * kBlock, 4 * row);
    DFTFAST_TILE_STORE(3, out + 3 * kBlock, 4 * row);
  }
}

// mean [rows, 64] = weights [rows, row] times the values, 64 numbers of them from `column` on, or
// the 32 that are left.
inline void tile_mean(const bfloat16* weights, int64_t row, const CachedHead& head, int64_t column,
                      float* mean) {
  DFTFAST_TILE_SEE_MEMORY();
  const int64_t D = head.cache.head_dim;
  const bool wide = column + 64 <= D;
  DFTFAST_TILE_ZERO(0);
  DFTFAST_TILE_ZERO(1);
  DFTFAST_TILE_ZERO(2);
  DFTFAST_TILE_ZERO(3);
  for (int64_t b = 0; b < head.count; ++b) {
    if (column == 0 && b + kAhead < head.count) head.fetch(head.value(b + kAhead));
    const bfloat16* value = head.value(b) + 2 * column;
    DFTFAST_TILE_LOAD(7, weights + b * kBlock, 2 * row);
    DFTFAST_TILE_LOAD(6, value, 4 * D);
    DFTFAST_TILE_MULTIPLY(0, 7, 6);
    DFTFAST_TILE_LOAD(6, value + 32, 4 * D);
    DFTFAST_TILE_MULTIPLY(1, 7, 6);
    if (wide) {
      DFTFAST_TILE_LOAD(6, value + 64, 4 * D);
      DFTFAST_TILE_MULTIPLY(2, 7, 6);
      DFTFAST_TILE_LOAD(6, value + 96, 4 * D);
      DFTFAST_TILE_MULTIPLY(3, 7, 6);
    }
  }
  DFTFAST_TILE_STORE(0, mean, 256);
  DFTFAST_TILE_STORE(1, mean + 16, 256);
  DFTFAST_TILE_STORE(2, mean + 32, 256);
  DFTFAST_TILE_STORE(3, mean + 48, 256);
}

// As `attend` does, `rows` queries (heads times tokens) at most kTileQueries, with the tiles
// shaped for them. Scores and weights: kTileQueries times the cached tokens, rounded up to kAtOnce
// blocks.
inline void tile_attend(const PagedCache& cache, int64_t kv_head, const Queries& queries,
                        int64_t rows, const int32_t* blocks, float* scores, bfloat16* weights) {
  const int64_t D = cache.head_dim, heads = queries.heads, tokens = rows / heads;
  const int64_t longest = queries.seen + tokens - 1, count = (longest + kBlock - 1) / kBlock;
  const int64_t row = (count + kAtOnce - 1) / kAtOnce * kAtOnce * kBlock;
  alignas(64) bfloat16 q[kTileQueries * kMaxHeadDim];
  for (int64_t t = 0; t < tokens; ++t)
    copy_inputs(queries.q + t * queries.q_stride, heads * D, q + t * heads * D);
  alignas(64) bfloat16 last[kBlock * kMaxHeadDim];
  copy_last_values(cache.values(blocks[count - 1], kv_head), longest - (count - 1) * kBlock, D,
                   last);
  const CachedHead head{cache, kv_head, count, blocks, last};

  tile_scores(q, head, scores, row);
  float total[kTileQueries];
  const float scale = 1 / std::sqrt(static_cast<float>(D));
  for (int64_t r = 0; r < rows; ++r)
    total[r] = tile_softmax(scores + r * row, queries.seen + r / heads, count * kBlock, scale,
                            weights + r * row)
                   .total;
  alignas(64) float mean[kTileQueries * 64];
  for (int64_t column = 0; column < D; column += 64) {
    tile_mean(weights, row, head, column, mean);
    for (int64_t r = 0; r < rows; ++r) {
      bfloat16* out = queries.out + r / heads * queries.out_stride + r % heads * D + column;
      const Floats factor = Floats::all(1 / total[r]);
      for (int64_t i = 0; i < std::min<int64_t>(64, D - column); i += 16)
        (Floats::load(mean + r * 64 + i) * factor).store(out + i);
    }
  }
}

}  // namespace DFTFAST_SIMD
}  // namespace dftfast
