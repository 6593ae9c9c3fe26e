// The decoder's forward pass over a paged cache, compiled once for each instruction set.
//
// A token's result does not depend on what else is in the step. Values are rounded to bf16 where
// the PyTorch decoder rounds them.
#include <omp.h>

#include "decoder_step.h"
#include "paged_attention_kernel.h"
#if defined(DFTFAST_TILES)
#include "tile_packed_product.h"
#include "tile_paged_attention.h"
#endif

namespace dftfast {
namespace DFTFAST_SIMD {

constexpr int64_t kFewRows = 8;  // row by row work of fewer is done before other threads would wake

// y = x / rms(x) * weight, for n a multiple of 16.
inline void rms_norm_row(const bfloat16* x, const bfloat16* weight, float eps, int64_t n,
                         bfloat16* y) {
  Floats squares = Floats::all(0);
  for (int64_t i = 0; i < n; i += Floats::width)
    squares = fma(Floats::load(x + i), Floats::load(x + i), squares);
  const Floats factor = Floats::all(1.f / std::sqrt(squares.sum() / n + eps));
  for (int64_t i = 0; i < n; i += Floats::width)
    (rounded(Floats::load(x + i) * factor) * Floats::load(weight + i)).store(y + i);
}

inline void rotate_row(bfloat16* x, const float* cos, const float* sin, int64_t half) {
  for (int64_t i = 0; i < half; i += Floats::width) {
    const Floats a = Floats::load(x + i), b = Floats::load(x + half + i);
    const Floats c = Floats::load(cos + i), s = Floats::load(sin + i);
    (a * c - b * s).store(x + i);
    fma(b, c, a * s).store(x + half + i);
  }
}

inline void add_row(const bfloat16* x, int64_t n, bfloat16* y) {  // y += x
  for (int64_t i = 0; i < n; i += Floats::width)
    (Floats::load(y + i) + Floats::load(x + i)).store(y + i);
}

inline void swiglu_row(const bfloat16* gate, const bfloat16* up, int64_t n, bfloat16* y) {
  for (int64_t i = 0; i < n; i += Floats::width) {
    const Floats g = Floats::load(gate + i);
    const Floats silu = g / (Floats::all(1) + exp(Floats::all(0) - g));
    (rounded(silu) * Floats::load(up + i)).store(y + i);
  }
}

template <class F>
void each_row(int64_t rows, int threads, F&& body) {
#pragma omp parallel for num_threads(rows >= kFewRows ? threads : 1)
  for (int64_t t = 0; t < rows; ++t) body(t);
}

#if defined(DFTFAST_TILES)
template <class Out>
constexpr Product<Out>* matrix_product = tile_product<Out>;
inline bool attends_on_tiles(int64_t head_dim) { return head_dim % 32 == 0; }
inline int64_t most_queries(int64_t head_dim) {
  return attends_on_tiles(head_dim) ? kTileQueries : kRows;
}
#else
template <class Out>
constexpr Product<Out>* matrix_product = product<Out>;
inline int64_t most_queries(int64_t) { return kRows; }
#endif

// Tokens of one sequence that are attended for together, one after the other.
struct Run {
  int64_t sequence, token, tokens;
  int64_t seen;  // by the first token: cached ones, itself included
};

// All of a step, as many tokens in each as fill the rows of a tile with a kv head's query heads.
struct Runs {
  Scratch<Run> runs;
  int64_t queries;  // of a run and a kv head, at most
  int64_t count = 0, longest = 0;

  Runs(const DecoderStep& s, int64_t group, int64_t head_dim)
      : runs(s.num_tokens), queries(most_queries(head_dim)) {
    const int64_t at_once = std::max<int64_t>(1, queries / group);
    for (int64_t i = 0; i < s.num_sequences; ++i) {
      const int64_t end = s.query_offsets[i + 1];
      longest = std::max<int64_t>(longest, s.lengths[i]);
      for (int64_t t = s.query_offsets[i]; t < end; t += at_once)
        runs[count++] = {i, t, std::min(at_once, end - t), s.lengths[i] - (end - 1 - t)};
    }
  }
};

// What one thread attends with.
class Attention {
 public:
  Attention(const PagedCache& cache, float* scores, Input* weights)
      : cache_(cache), scores_(scores), weights_(weights) {}
  void operator()(int64_t kv_head, const Queries& queries, int64_t rows, const int32_t* blocks) {
#if defined(DFTFAST_TILES)
    if (attends_on_tiles(cache_.head_dim)) {
      if (rows != shaped_for_) shape_for_queries(static_cast<int>(rows));
      shaped_for_ = rows;
      return tile_attend(cache_, kv_head, queries, rows, blocks, scores_,
                         reinterpret_cast<bfloat16*>(weights_));
    }
#endif
    with_rows(rows, [&](auto size) {
      attend<size.value>(cache_, kv_head, queries, blocks, scores_, weights_);
    });
  }
#if defined(DFTFAST_TILES)
  ~Attention() { DFTFAST_TILE_RELEASE(); }
#endif

 private:
  [[maybe_unused]] int64_t shaped_for_ = 0;
  const PagedCache& cache_;
  float* scores_;
  Input* weights_;
};

// out: [T, heads·head_dim]; a row of qkv begins with its queries.
inline void attend_all(const DecoderWeights& w, const DecoderStep& s, const Runs& runs,
                       const PagedCache& cache, const bfloat16* qkv, bfloat16* out, int threads) {
  const int64_t D = w.head_dim, H = w.heads, Hk = w.kv_heads, group = H / Hk;
  if (s.num_tokens * runs.longest < kFewRows * 64) threads = 1;
  const int64_t room = runs.queries * (runs.longest + 4 * kBlock);
  const Scratch<float> all_scores(room, threads);
  const Scratch<Input> all_weights(room, threads);
#pragma omp parallel num_threads(threads)
  {
    Attention attention(cache, all_scores.of(omp_get_thread_num()),
                        all_weights.of(omp_get_thread_num()));
#pragma omp for schedule(dynamic, 1) collapse(2)
    for (int64_t i = 0; i < runs.count; ++i)
      for (int64_t kv = 0; kv < Hk; ++kv)
        for (int64_t first = 0; first < group; first += runs.queries) {
          const Run& run = runs.runs[i];
          const int64_t heads = std::min(runs.queries, group - first);
          const int64_t head = kv * group + first;
          const Queries queries{qkv + (run.token * (H + 2 * Hk) + head) * D,
                                out + (run.token * H + head) * D,
                                heads,
                                (H + 2 * Hk) * D,
                                H * D,
                                run.seen};
          attention(kv, queries, heads * run.tokens, s.table + run.sequence * s.table_stride);
        }
  }
}

inline void decoder_step(const DecoderWeights& w, const DecoderStep& s, int threads) {
  const int64_t T = s.num_tokens, d = w.hidden, D = w.head_dim, H = w.heads, Hk = w.kv_heads;
  const int64_t width = (H + 2 * Hk) * D;
  const bfloat16* none = nullptr;
  const Scratch<bfloat16> h(T * d), x(T * d), qkv(T * width), attended(T * H * D),
      wide(T * 2 * w.inner), act(T * w.inner);
  const Runs runs(s, H / Hk, D);
  each_row(T, threads, [&](int64_t t) {
    std::memcpy(&h[t * d], w.embed + s.tokens[t] * d, d * sizeof(bfloat16));
  });

  for (int64_t layer = 0; layer < w.num_layers; ++layer) {
    const LayerWeights& l = w.layers[layer];
    const PagedCache cache{s.cache + layer * s.num_blocks * Hk * 2 * kBlock * D, Hk, D};
    each_row(T, threads,
             [&](int64_t t) { rms_norm_row(&h[t * d], l.input_norm, w.eps, d, &x[t * d]); });
    matrix_product<bfloat16>(x.data(), T, d, l.qkv, l.qkv_bias, width, qkv.data(), threads);
    each_row(T, threads, [&](int64_t t) {
      bfloat16* row = &qkv[t * width];
      for (int64_t head = 0; head < H + Hk; ++head) {
        bfloat16* part = row + head * D;
        const bfloat16* norm = head < H ? l.q_norm : l.k_norm;
        if (norm) rms_norm_row(part, norm, w.eps, D, part);
        rotate_row(part, s.cos + t * D / 2, s.sin + t * D / 2, D / 2);
      }
      if (s.slots[t] >= 0) cache.store(s.slots[t], row + H * D, row + (H + Hk) * D);
    });
    attend_all(w, s, runs, cache, qkv.data(), attended.data(), threads);
    matrix_product<bfloat16>(attended.data(), T, H * D, l.o, none, d, x.data(), threads);
    each_row(T, threads, [&](int64_t t) {
      add_row(&x[t * d], d, &h[t * d]);
      rms_norm_row(&h[t * d], l.post_norm, w.eps, d, &x[t * d]);
    });
    matrix_product<bfloat16>(x.data(), T, d, l.gate_up, none, 2 * w.inner, wide.data(), threads);
    each_row(T, threads, [&](int64_t t) {
      const bfloat16* gate = &wide[t * 2 * w.inner];
      swiglu_row(gate, gate + w.inner, w.inner, &act[t * w.inner]);
    });
    matrix_product<bfloat16>(act.data(), T, w.inner, l.down, none, d, x.data(), threads);
    each_row(T, threads, [&](int64_t t) { add_row(&x[t * d], d, &h[t * d]); });
  }
  each_row(s.num_rows, threads,
           [&](int64_t r) { rms_norm_row(&h[s.rows[r] * d], w.norm, w.eps, d, &x[r * d]); });
  matrix_product<float>(x.data(), s.num_rows, d, w.head, none, w.vocab, s.logits, threads);
}

extern const DecoderKernels decoder_kernels = {kPanel, pack, matrix_product<bfloat16>,
                                               matrix_product<float>, decoder_step};

}  // namespace DFTFAST_SIMD
}  // namespace dftfast
