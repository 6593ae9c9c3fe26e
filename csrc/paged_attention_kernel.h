// Attention over a paged bf16 cache laid out for the decoder step, compiled for each instruction
// set.
//
// A block holds, for each kv head, 16 tokens' keys [D / 2][16 tokens][2], then their values
// [8 pairs of tokens][D][2], so that scores and weighted sums are the same products as those with
// packed weights. The query heads of a kv head are taken together, in a prompt those of several
// tokens: a key or value is read from memory once for them. Every sum takes its terms in the order
// of the cache, so nothing depends on what else is in the step; keys that a token does not see yet
// add zeros.
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

// Scores of R queries against the keys of B blocks: scores[r][0 .. 16·B). Several blocks at once,
// because a sum waits for its last addition: few queries have too few sums to keep the processor
// busy. Of each block, what lies at `soon` is prefetched.
template <int R, int B>
void score_blocks(const Input* q, int64_t head_dim, const bfloat16* const* key,
                  const bfloat16* const* soon, float scale, float* scores, int64_t stride) {
  for (int64_t token = 0; token < kBlock; token += Floats::width) {
    Floats dots[R][B];
    clear(dots);
    for (int64_t k = 0; k < head_dim / 2; ++k) {
      const int64_t at = 2 * (k * kBlock + token);
#pragma GCC unroll 2
      for (int part = 0; part < kParts; ++part) {
        decltype(weight_part(*key, 0)) keys[B];
#pragma GCC unroll 8
        for (int b = 0; b < B; ++b) {
          keys[b] = weight_part(key[b] + at, part);
          if (part == 0) __builtin_prefetch(soon[b] + at, 0, 2);
        }
#pragma GCC unroll 8
        for (int r = 0; r < R; ++r) {
          const auto input = input_part(q + r * head_dim + 2 * k, part);
#pragma GCC unroll 8
          for (int b = 0; b < B; ++b) dots[r][b] = multiply_add(keys[b], input, dots[r][b]);
        }
      }
    }
    for (int r = 0; r < R; ++r)
      for (int b = 0; b < B; ++b)
        (dots[r][b] * Floats::all(scale)).store(scores + r * stride + b * kBlock + token);
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

// mean[r] = Σ weights[r] value over the blocks, V vectors from `column` on.
template <int R, int V, class Value>
void mix_values(const Input* weights, int64_t count, const Value& value, int64_t head_dim,
                int64_t column, Floats (&mean)[R][V]) {
  Floats sum[R][V];
  clear(sum);
  for (int64_t b = 0; b < count; ++b) {
    const bfloat16* now = value(b) + 2 * column;
    const bfloat16* soon = value(std::min(b + kAhead, count - 1)) + 2 * column;
    for (int64_t k = 0; k < kBlock / 2; ++k) {
#pragma GCC unroll 2
      for (int part = 0; part < kParts; ++part) {
        decltype(weight_part(now, 0)) values[V];
#pragma GCC unroll 8
        for (int v = 0; v < V; ++v) {
          const int64_t at = 2 * (k * head_dim + v * Floats::width);
          values[v] = weight_part(now + at, part);
          if (part == 0) __builtin_prefetch(soon + at, 0, 2);
        }
#pragma GCC unroll 8
        for (int r = 0; r < R; ++r) {
          const auto weight = input_part(weights + (r * count + b) * kBlock + 2 * k, part);
#pragma GCC unroll 8
          for (int v = 0; v < V; ++v) sum[r][v] = multiply_add(values[v], weight, sum[r][v]);
        }
      }
    }
  }
  std::memcpy(mean, sum, sizeof(sum));
}

// The queries of one kv head that `attend` takes together: `heads` of each of some tokens that
// follow each other in a sequence. The first token sees `seen` cached tokens, each one more than
// the one before.
struct Queries {
  const bfloat16* q;
  bfloat16* out;
  int64_t heads, q_stride, out_stride, seen;  // strides from token to token
};

// A block's values with zeros from its token `held` on, which may be anything: 0·NaN must not
// count.
inline void copy_last_values(const bfloat16* values, int64_t held, int64_t head_dim,
                             bfloat16* out) {
  const int64_t pairs = (held + 1) / 2 * 2 * head_dim;
  std::memcpy(out, values, pairs * sizeof(bfloat16));
  std::memset(out + pairs, 0, (kBlock * head_dim - pairs) * sizeof(bfloat16));
  if (held % 2)
    for (int64_t i = pairs - 2 * head_dim; i < pairs; i += 2) out[i + 1] = {0};
}

// R queries over the cached tokens in `blocks`. Scores and weights: R·padded each, padded = what
// the last token sees, rounded up to whole blocks.
template <int R>
void attend(const PagedCache& cache, int64_t kv_head, const Queries& queries, const int32_t* blocks,
            float* scores, Input* weights) {
  const int64_t D = cache.head_dim, heads = queries.heads, tokens = R / heads;
  const int64_t longest = queries.seen + tokens - 1;
  const int64_t count = (longest + kBlock - 1) / kBlock, padded = count * kBlock;
  Input q[R * kMaxHeadDim];
  for (int64_t t = 0; t < tokens; ++t)
    copy_inputs(queries.q + t * queries.q_stride, heads * D, q + t * heads * D);
  const auto key = [&](int64_t b) { return cache.keys(blocks[b], kv_head); };
  bfloat16 last[kBlock * kMaxHeadDim];
  copy_last_values(cache.values(blocks[count - 1], kv_head), longest - (count - 1) * kBlock, D,
                   last);
  const auto value = [&](int64_t b) -> const bfloat16* {
    return b + 1 < count ? cache.values(blocks[b], kv_head) : last;
  };

  for (int64_t b = 0; b < count; b += kVectors) {
    const bfloat16 *now[kVectors], *soon[kVectors];
    const int64_t n = std::min<int64_t>(kVectors, count - b);
    for (int64_t i = 0; i < n; ++i) {
      const int64_t next = b + i + kAhead;
      now[i] = key(b + i);
      soon[i] = next < count ? key(next) : value(std::min(next - count, count - 1));
    }
    with_rows<kVectors>(n, [&](auto size) {
      score_blocks<R, size.value>(q, D, now, soon, 1.f / std::sqrt((float)D), scores + b * kBlock,
                                  padded);
    });
  }
  float total[R];
  for (int r = 0; r < R; ++r)
    total[r] =
        exponentials(scores + r * padded, queries.seen + r / heads, padded, weights + r * padded);
  const auto columns = [&](auto vectors, int64_t column) {
    Floats mean[R][vectors.value];
    mix_values(weights, count, value, D, column, mean);
    for (int r = 0; r < R; ++r) {
      bfloat16* out = queries.out + r / heads * queries.out_stride + r % heads * D + column;
      for (int v = 0; v < vectors.value; ++v)
        (mean[r][v] * Floats::all(1 / total[r])).store(out + v * Floats::width);
    }
  };
  constexpr int64_t kWide = kVectors * Floats::width, kNarrow = 2 * Floats::width;
  int64_t column = 0;
  for (; column + kWide <= D; column += kWide)
    columns(std::integral_constant<int, kVectors>{}, column);
  for (; column < D; column += kNarrow) columns(std::integral_constant<int, 2>{}, column);
}

}  // namespace DFTFAST_SIMD
}  // namespace dftfast
