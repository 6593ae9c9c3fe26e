// Attention of single tokens over a paged bf16 cache laid out for the decoder step, compiled for
// each instruction set.
//
// A block holds, for each kv head, 16 tokens' keys [D / 2][16 tokens][2], then their values
// [8 pairs of tokens][D][2], so that scores and weighted sums are the same products as those with
// packed weights. All query heads of a kv head are taken together: a key or value is read from
// memory once a token. Nothing here depends on what else is in the step.
#pragma once

#include <cmath>

#include "packed_product_kernel.h"

namespace dftfast {
namespace DFTFAST_SIMD {

constexpr int64_t kBlock = 16;  // tokens of a cache block
constexpr int64_t kAhead = 4;   // blocks between a prefetch and its use
constexpr int64_t kMaxHeadDim = 256;

struct PagedCache {  // of one layer
  bfloat16* data;
  int64_t kv_heads, head_dim;

  bfloat16* keys(int64_t block, int64_t kv_head) const {
    return data + (block * kv_heads + kv_head) * 2 * kBlock * head_dim;
  }
  bfloat16* values(int64_t block, int64_t kv_head) const {
    return keys(block, kv_head) + kBlock * head_dim;
  }

  // k, v: [kv_heads, head_dim] of the token that goes to `slot`.
  void store(int64_t slot, const bfloat16* k, const bfloat16* v) const {
    const int64_t block = slot / kBlock, offset = slot % kBlock;
    for (int64_t head = 0; head < kv_heads; ++head, k += head_dim, v += head_dim) {
      bfloat16* key = keys(block, head) + 2 * offset;
      bfloat16* value = values(block, head) + offset / 2 * 2 * head_dim + offset % 2;
      for (int64_t i = 0; i < head_dim / 2; ++i)
        std::memcpy(key + 2 * kBlock * i, k + 2 * i, 2 * sizeof(bfloat16));
      for (int64_t i = 0; i < head_dim; ++i) value[2 * i] = v[i];
    }
  }
};

// Scores of R heads against the keys of one block: scores[r][0..15].
template <int R>
void score_block(const Input* q, int64_t head_dim, const bfloat16* key, int64_t ahead, float scale,
                 float* scores, int64_t stride) {
  constexpr int V = kBlock / Floats::width < kVectors ? kBlock / Floats::width : kVectors;
  for (int64_t token = 0; token < kBlock; token += V * Floats::width) {
    Floats dots[R][V];
    clear(dots);
    accumulate<V>(dots, q, head_dim, head_dim / 2, key + 2 * token, 2 * kBlock, ahead);
    for (int r = 0; r < R; ++r)
      for (int v = 0; v < V; ++v)
        (dots[r][v] * Floats::all(scale)).store(scores + r * stride + token + v * Floats::width);
  }
}

// Scores -> softmax without its denominator, rounded to bf16. Returns the denominator: the sum of
// what was rounded.
inline float exponentials(float* scores, int64_t length, int64_t padded, Input* weights) {
  for (int64_t i = length; i < padded; ++i) scores[i] = -__builtin_inff();
  Floats top = Floats::all(-__builtin_inff()), total = Floats::all(0);
  for (int64_t i = 0; i < padded; i += Floats::width) top = max(top, Floats::load(scores + i));
  const Floats highest = Floats::all(top.max());
  for (int64_t i = 0; i < padded; i += Floats::width) {
    store_rounded(exp(Floats::load(scores + i) - highest), weights + i);
    total = total + Floats::load(weights + i);
  }
  return total.sum();
}

// R query heads of one kv head over `length` cached tokens. q, out: [R, head_dim]; scores:
// R·padded, padded = length rounded up to whole blocks; weights: as many.
template <int R>
void attend(const PagedCache& cache, int64_t kv_head, const bfloat16* q, const int32_t* blocks,
            int64_t length, float* scores, Input* weights, bfloat16* out) {
  constexpr int V = 2, kColumns = V * Floats::width;
  const int64_t D = cache.head_dim, count = (length + kBlock - 1) / kBlock, padded = count * kBlock;
  const auto key = [&](int64_t b) { return cache.keys(blocks[b], kv_head); };
  const auto value = [&](int64_t b) { return cache.values(blocks[b], kv_head); };
  Input room[R * kMaxHeadDim];
  const Input* queries = as_inputs(q, R * D, room);
  for (int64_t b = 0; b < count; ++b) {
    const int64_t next = b + kAhead;
    const bfloat16* soon = next < count ? key(next) : value(std::min(next - count, count - 1));
    score_block<R>(queries, D, key(b), soon - key(b), 1.f / std::sqrt((float)D),
                   scores + b * kBlock, padded);
  }
  float total[R];
  for (int r = 0; r < R; ++r)
    total[r] = exponentials(scores + r * padded, length, padded, weights + r * padded);

  // The last block, zero where it holds no token yet: 0·NaN must not count.
  bfloat16 last[kBlock * kMaxHeadDim];
  std::memcpy(last, value(count - 1), kBlock * D * sizeof(bfloat16));
  for (int64_t t = length - (count - 1) * kBlock; t < kBlock; ++t)
    for (int64_t i = 0; i < D; ++i) last[(t / 2 * D + i) * 2 + t % 2] = {0};
  for (int64_t column = 0; column < D; column += kColumns) {
    Floats mean[R][V];
    clear(mean);
    for (int64_t b = 0; b < count; ++b) {
      const bfloat16* now = b + 1 < count ? value(b) : last;
      const int64_t ahead = b + kAhead < count ? value(b + kAhead) - now : 0;
      accumulate<V>(mean, weights + b * kBlock, padded, kBlock / 2, now + 2 * column, 2 * D, ahead);
    }
    for (int r = 0; r < R; ++r)
      for (int v = 0; v < V; ++v)
        (mean[r][v] * Floats::all(1 / total[r])).store(out + r * D + column + v * Floats::width);
  }
}

}  // namespace DFTFAST_SIMD
}  // namespace dftfast
