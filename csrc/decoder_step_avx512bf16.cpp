// The decoder's forward pass with AVX512-BF16 products on packed weights.
//
// Every output of a product is one accumulator over the inner dimension in order, and every (token, head) attends by
// itself, so a token's result does not depend on what else is in the step. Values are rounded to bf16 where the
// PyTorch decoder rounds them.
#include <algorithm>
#include <cmath>
#include <limits>
#include <type_traits>

#include "decoder_step.h"
#include "simd_avx512.h"

namespace dftfast {
namespace {

constexpr int64_t kPanel = 64;  // outputs of a packed panel: four vectors
constexpr int64_t kRows = 6;    // rows of a tile: 24 accumulators
constexpr int64_t kBlock = 16;  // tokens of a cache block
constexpr int64_t kFewRows = 8;  // row by row work of fewer is done before other threads would wake

void store_bf16(uint16_t* p, __m512 x) { _mm256_storeu_si256((__m256i*)p, (__m256i)_mm512_cvtneps_pbh(x)); }

__m512 round_bf16(__m512 x) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(x)), 16));
}

void store(uint16_t* p, __m512 x, __mmask16 mask) {
  _mm256_mask_storeu_epi16(p, mask, (__m256i)_mm512_cvtneps_pbh(x));
}
void store(float* p, __m512 x, __mmask16 mask) { _mm512_mask_storeu_ps(p, mask, x); }

template <int R, class Out>
void tile(const uint16_t* x, int64_t in, const uint16_t* w, const uint16_t* bias, Out* y, int64_t out, int64_t first) {
  __m512 acc[R][4];
  for (int r = 0; r < R; ++r)
    for (int v = 0; v < 4; ++v) acc[r][v] = _mm512_setzero_ps();
  for (int64_t k = 0; k < in; k += 2, w += 2 * kPanel) {
    __m512bh wv[4];
    for (int v = 0; v < 4; ++v) wv[v] = (__m512bh)_mm512_loadu_si512(w + 32 * v);
    for (int r = 0; r < R; ++r) {
      int32_t pair;
      std::memcpy(&pair, x + r * in + k, 4);
      const __m512bh a = (__m512bh)_mm512_set1_epi32(pair);
      for (int v = 0; v < 4; ++v) acc[r][v] = _mm512_dpbf16_ps(acc[r][v], wv[v], a);
    }
  }
  for (int v = 0; v < 4; ++v) {
    const int64_t column = first + 16 * v;
    const __mmask16 mask = (__mmask16)((1u << std::clamp<int64_t>(out - column, 0, 16)) - 1);
    if (!mask) break;
    __m512 b = _mm512_setzero_ps();
    if (bias) {
      const __m256i bits = _mm256_maskz_loadu_epi16(mask, bias + column);
      b = _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16));
    }
    for (int r = 0; r < R; ++r) store(y + r * out + column, _mm512_add_ps(acc[r][v], b), mask);
  }
}

// y[rows, out] = x[rows, in] Wᵀ + bias.
template <class Out>
void product(const uint16_t* x, int64_t rows, int64_t in, const uint16_t* w, const uint16_t* bias, int64_t out, Out* y,
             int threads) {
  const int64_t panels = (out + kPanel - 1) / kPanel, tiles = (rows + kRows - 1) / kRows;
  const int64_t parts = panels < 16 * threads && tiles >= 2 * threads ? threads : 1;
#pragma omp parallel for num_threads(threads) schedule(dynamic, 1)
  for (int64_t task = 0; task < panels * parts; ++task) {
    const int64_t panel = task / parts, part = task % parts;
    const uint16_t* packed = w + panel * kPanel * in;
    for (int64_t t = tiles * part / parts; t < tiles * (part + 1) / parts; ++t) {
      const int64_t row = t * kRows;
      const auto run = [&](auto count) {
        tile<count.value>(x + row * in, in, packed, bias, y + row * out, out, panel * kPanel);
      };
      switch (std::min(kRows, rows - row)) {
        case 1: run(std::integral_constant<int, 1>{}); break;
        case 2: run(std::integral_constant<int, 2>{}); break;
        case 3: run(std::integral_constant<int, 3>{}); break;
        case 4: run(std::integral_constant<int, 4>{}); break;
        case 5: run(std::integral_constant<int, 5>{}); break;
        default: run(std::integral_constant<int, 6>{});
      }
    }
  }
}

// y = x / rms(x) * weight, for n a multiple of 16.
void rms_norm_row(const uint16_t* x, const uint16_t* weight, float eps, int64_t n, uint16_t* y) {
  __m512 squares = _mm512_setzero_ps();
  for (int64_t i = 0; i < n; i += 16) squares = _mm512_fmadd_ps(load_bf16(x + i), load_bf16(x + i), squares);
  const __m512 scale = _mm512_set1_ps(1.f / std::sqrt(_mm512_reduce_add_ps(squares) / n + eps));
  for (int64_t i = 0; i < n; i += 16)
    store_bf16(y + i, _mm512_mul_ps(round_bf16(_mm512_mul_ps(load_bf16(x + i), scale)), load_bf16(weight + i)));
}

void rotate_row(uint16_t* x, const float* cos, const float* sin, int64_t half) {
  for (int64_t i = 0; i < half; i += 16) {
    const __m512 a = load_bf16(x + i), b = load_bf16(x + half + i);
    const __m512 c = _mm512_loadu_ps(cos + i), s = _mm512_loadu_ps(sin + i);
    store_bf16(x + i, _mm512_fmsub_ps(a, c, _mm512_mul_ps(b, s)));
    store_bf16(x + half + i, _mm512_fmadd_ps(b, c, _mm512_mul_ps(a, s)));
  }
}

// The sums of 16 vectors, as one vector.
__m512 sums_of(const __m512 (&a)[16]) {
  __m512 t[8], u[4];
  for (int i = 0; i < 8; ++i)
    t[i] = _mm512_add_ps(_mm512_unpacklo_ps(a[2 * i], a[2 * i + 1]), _mm512_unpackhi_ps(a[2 * i], a[2 * i + 1]));
  for (int i = 0; i < 4; ++i) {
    const __m512d x = _mm512_castps_pd(t[2 * i]), y = _mm512_castps_pd(t[2 * i + 1]);
    u[i] = _mm512_add_ps(_mm512_castpd_ps(_mm512_unpacklo_pd(x, y)), _mm512_castpd_ps(_mm512_unpackhi_pd(x, y)));
  }
  const auto halves = [](__m512 x, __m512 y) {
    return _mm512_add_ps(_mm512_shuffle_f32x4(x, y, 0x88), _mm512_shuffle_f32x4(x, y, 0xDD));
  };
  return halves(halves(u[0], u[1]), halves(u[2], u[3]));
}

// Attention of one query head over `length` cached positions. `scores` holds length rounded up to whole blocks.
template <int D>
void attend_head(const uint16_t* q, const uint16_t* keys, const uint16_t* values, const int32_t* blocks, int64_t length,
                 int64_t stride, float scale, float* scores, uint16_t* out) {
  __m512bh query[D / 32];
  for (int i = 0; i < D / 32; ++i) query[i] = (__m512bh)_mm512_loadu_si512(q + 32 * i);
  const int64_t padded = (length + kBlock - 1) / kBlock * kBlock;
  __m512 highest = _mm512_set1_ps(-std::numeric_limits<float>::infinity());
  for (int64_t p = 0; p < padded; p += kBlock) {
    const uint16_t* key = keys + blocks[p / kBlock] * kBlock * stride;
    __m512 dots[16];
    for (int j = 0; j < 16; ++j) {
      dots[j] = _mm512_setzero_ps();
      for (int i = 0; i < D / 32; ++i)
        dots[j] = _mm512_dpbf16_ps(dots[j], (__m512bh)_mm512_loadu_si512(key + j * stride + 32 * i), query[i]);
    }
    const __mmask16 seen = (__mmask16)((1u << std::min<int64_t>(16, length - p)) - 1);
    __m512 s = _mm512_mul_ps(sums_of(dots), _mm512_set1_ps(scale));
    s = _mm512_mask_mov_ps(_mm512_set1_ps(-std::numeric_limits<float>::infinity()), seen, s);
    highest = _mm512_max_ps(highest, s);
    _mm512_storeu_ps(scores + p, s);
  }
  const __m512 top = _mm512_set1_ps(_mm512_reduce_max_ps(highest));
  __m512 total = _mm512_setzero_ps(), acc[D / 16];
  for (int64_t p = 0; p < padded; p += kBlock) {
    const __m512 e = exp16(_mm512_sub_ps(_mm512_loadu_ps(scores + p), top));
    total = _mm512_add_ps(total, e);
    _mm512_storeu_ps(scores + p, e);
  }
  for (auto& a : acc) a = _mm512_setzero_ps();
  for (int64_t p = 0; p < padded; p += kBlock) {
    const uint16_t* value = values + blocks[p / kBlock] * kBlock * stride;
    for (int64_t j = 0; j < std::min<int64_t>(kBlock, length - p); ++j) {
      const __m512 weight = _mm512_set1_ps(scores[p + j]);
      for (int i = 0; i < D / 16; ++i) acc[i] = _mm512_fmadd_ps(weight, load_bf16(value + j * stride + 16 * i), acc[i]);
    }
  }
  const __m512 norm = _mm512_set1_ps(1.f / _mm512_reduce_add_ps(total));
  for (int i = 0; i < D / 16; ++i) store_bf16(out + 16 * i, _mm512_mul_ps(acc[i], norm));
}

}  // namespace

// Panels of 64 outputs; in each, for every pair of inputs, the 64 outputs' two weights side by side. `in` is even.
void pack_matrix_avx512bf16(const uint16_t* weight, int64_t out, int64_t in, uint16_t* packed, int threads) {
  const int64_t panels = (out + kPanel - 1) / kPanel;
#pragma omp parallel for num_threads(threads)
  for (int64_t panel = 0; panel < panels; ++panel)
    for (int64_t k = 0; k < in; k += 2)
      for (int64_t j = 0; j < kPanel; ++j) {
        const int64_t row = panel * kPanel + j;
        uint16_t* pair = packed + panel * kPanel * in + k * kPanel + 2 * j;
        if (row < out)
          std::memcpy(pair, weight + row * in + k, 4);
        else
          pair[0] = pair[1] = 0;
      }
}

void packed_product_avx512bf16(const uint16_t* x, int64_t rows, int64_t in, const uint16_t* packed,
                               const uint16_t* bias, int64_t out, uint16_t* y, int threads) {
  product(x, rows, in, packed, bias, out, y, threads);
}

void packed_product_avx512bf16(const uint16_t* x, int64_t rows, int64_t in, const uint16_t* packed,
                               const uint16_t* bias, int64_t out, float* y, int threads) {
  product(x, rows, in, packed, bias, out, y, threads);
}

void decoder_step_avx512bf16(const DecoderWeights& w, const DecoderStep& s, int threads) {
  const int64_t T = s.num_tokens, d = w.hidden, D = w.head_dim, H = w.heads, Hk = w.kv_heads, group = H / Hk;
  const int64_t width = (H + 2 * Hk) * D, plane = s.num_blocks * kBlock * Hk * D;
  std::vector<uint16_t> h(T * d), x(T * d), qkv(T * width), attended(T * H * D), wide(T * 2 * w.inner), act(T * w.inner);
  std::vector<int64_t> sequence(T), seen(T);
  int64_t longest = 0;
  for (int64_t i = 0; i < s.num_sequences; ++i)
    for (int64_t t = s.query_offsets[i]; t < s.query_offsets[i + 1]; ++t) {
      sequence[t] = i;
      seen[t] = s.lengths[i] - (s.query_offsets[i + 1] - 1 - t);
      longest = std::max(longest, seen[t]);
    }
  const auto each_row = [&](int64_t rows, auto&& body) {
#pragma omp parallel for num_threads(rows >= kFewRows ? threads : 1)
    for (int64_t t = 0; t < rows; ++t) body(t);
  };
  const auto add_row = [&](int64_t t) {  // h += x
    for (int64_t i = t * d; i < (t + 1) * d; i += 16)
      store_bf16(&h[i], _mm512_add_ps(load_bf16(&h[i]), load_bf16(&x[i])));
  };
  each_row(T, [&](int64_t t) { std::copy_n(w.embed + s.tokens[t] * d, d, &h[t * d]); });

  for (size_t layer = 0; layer < w.layers.size(); ++layer) {
    const LayerWeights& l = w.layers[layer];
    uint16_t* keys = s.cache + layer * 2 * plane;
    uint16_t* values = keys + plane;
    each_row(T, [&](int64_t t) { rms_norm_row(&h[t * d], l.input_norm, w.eps, d, &x[t * d]); });
    product(x.data(), T, d, l.qkv, l.qkv_bias, width, qkv.data(), threads);
    each_row(T, [&](int64_t t) {
      uint16_t* row = &qkv[t * width];
      for (int64_t head = 0; head < H + Hk; ++head) {
        uint16_t* part = row + head * D;
        const uint16_t* norm = head < H ? l.q_norm : l.k_norm;
        if (norm) rms_norm_row(part, norm, w.eps, D, part);
        rotate_row(part, s.cos + t * D / 2, s.sin + t * D / 2, D / 2);
      }
      if (s.slots[t] >= 0) {
        std::copy_n(row + H * D, Hk * D, keys + s.slots[t] * Hk * D);
        std::copy_n(row + (H + Hk) * D, Hk * D, values + s.slots[t] * Hk * D);
      }
    });
#pragma omp parallel num_threads(T * longest >= kFewRows * 64 ? threads : 1)
    {
      std::vector<float> scores(longest + kBlock);
#pragma omp for schedule(dynamic, 1) collapse(2)
      for (int64_t t = 0; t < T; ++t)
        for (int64_t kv = 0; kv < Hk; ++kv)
          for (int64_t head = kv * group; head < (kv + 1) * group; ++head) {
            const int32_t* blocks = s.table + sequence[t] * s.table_stride;
            const auto attend = D == 64 ? attend_head<64> : D == 128 ? attend_head<128> : attend_head<32>;
            attend(&qkv[t * width + head * D], keys + kv * D, values + kv * D, blocks, seen[t], Hk * D,
                   1.f / std::sqrt((float)D), scores.data(), &attended[(t * H + head) * D]);
          }
    }
    product(attended.data(), T, H * D, l.o, (const uint16_t*)nullptr, d, x.data(), threads);
    each_row(T, [&](int64_t t) {
      add_row(t);
      rms_norm_row(&h[t * d], l.post_norm, w.eps, d, &x[t * d]);
    });
    product(x.data(), T, d, l.gate_up, (const uint16_t*)nullptr, 2 * w.inner, wide.data(), threads);
    each_row(T, [&](int64_t t) {
      const uint16_t *gate = &wide[t * 2 * w.inner], *up = gate + w.inner;
      for (int64_t i = 0; i < w.inner; i += 16) {
        const __m512 g = load_bf16(gate + i), one = _mm512_set1_ps(1.f);
        const __m512 silu = _mm512_div_ps(g, _mm512_add_ps(one, exp16(_mm512_sub_ps(_mm512_setzero_ps(), g))));
        store_bf16(&act[t * w.inner + i], _mm512_mul_ps(round_bf16(silu), load_bf16(up + i)));
      }
    });
    product(act.data(), T, w.inner, l.down, (const uint16_t*)nullptr, d, x.data(), threads);
    each_row(T, add_row);
  }
  each_row(s.num_rows, [&](int64_t r) { rms_norm_row(&h[s.rows[r] * d], w.norm, w.eps, d, &x[r * d]); });
  product(x.data(), s.num_rows, d, w.head, (const uint16_t*)nullptr, w.vocab, s.logits, threads);
}

}  // namespace dftfast
