// Products on packed bf16 weights, compiled once for each instruction set.
//
// A panel holds the weights of kPanel outputs; in it, for every pair of inputs, each output's two
// weights side by side. Every result is one accumulator over the inputs in order, so a row's result
// does not depend on the other rows.
#pragma once

#include <algorithm>
#include <type_traits>

#include "bf16_pairs.h"
#include "scratch.h"

namespace dftfast {
namespace DFTFAST_SIMD {

#if defined(__AVX512F__)
constexpr int kVectors = 4, kRows = 6;  // of a tile, as many accumulators as the registers hold
#elif defined(__AVX2__)
constexpr int kVectors = 2, kRows = 6;
#else
constexpr int kVectors = 4, kRows = 2;
#endif
constexpr int kPanel = kVectors * Floats::width;

// sum[r][v] += x[r]·w over pairs of inputs. The weights of a pair are `stride` numbers after those
// of the one before. Of every pair's vectors the first Lines are read together with a prefetch of
// what lies `ahead` numbers further, into the second-level cache: the first has fewer buffers, too
// few for the latency of memory.
template <int Lines = 0, int R, int V>
inline void accumulate(Floats (&sum)[R][V], const Input* x, int64_t row_stride, int64_t pairs,
                       const bfloat16* w, int64_t stride, [[maybe_unused]] int64_t ahead = 0) {
  // Its own, and every loop over it unrolled: else the compiler keeps it in memory, not in
  // registers.
  Floats s[R][V];
  std::memcpy(s, sum, sizeof(s));
  for (int64_t k = 0; k < pairs; ++k, w += stride) {
#pragma GCC unroll 2
    for (int part = 0; part < kParts; ++part) {
      decltype(weight_part(w, 0)) weights[V];
#pragma GCC unroll 8
      for (int v = 0; v < V; ++v) {
        weights[v] = weight_part(w + 2 * Floats::width * v, part);
        if (v < Lines && part == 0) __builtin_prefetch(w + 2 * Floats::width * v + ahead, 0, 2);
      }
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) {
        const auto inputs = input_part(x + r * row_stride + 2 * k, part);
#pragma GCC unroll 8
        for (int v = 0; v < V; ++v) s[r][v] = multiply_add(weights[v], inputs, s[r][v]);
      }
    }
  }
  std::memcpy(sum, s, sizeof(s));
}

// Calls f with 1 <= count <= kRows as a compile-time constant.
template <int R = kRows, class F>
inline void with_rows(int64_t count, F&& f) {
  if constexpr (R > 1) {
    if (count < R) return with_rows<R - 1>(count, f);
  }
  f(std::integral_constant<int, R>{});
}

// What a tile prefetches: vectors of every pair, and how many numbers further they are.
struct Ahead {
  int64_t lines, by;
};

template <int R, class Out>
void tile(const Input* x, int64_t in, const bfloat16* w, Ahead ahead, const bfloat16* bias, Out* y,
          int64_t out, int64_t first) {
  Floats sum[R][kVectors];
  clear(sum);
  const auto run = [&](auto lines) {
    accumulate<lines.value>(sum, x, in, in / 2, w, 2 * kPanel, ahead.by);
  };
  if (ahead.lines == 0) run(std::integral_constant<int, 0>{});
  else if (ahead.lines == 1) run(std::integral_constant<int, 1>{});
  else if (ahead.lines == 2) run(std::integral_constant<int, 2>{});
  else run(std::integral_constant<int, kVectors>{});
  for (int v = 0; v < kVectors; ++v) {
    const int64_t column = first + v * Floats::width, left = out - column;
    if (left <= 0) break;
    const bool whole = left >= Floats::width;
    Floats b = Floats::all(0);
    if (bias) b = whole ? Floats::load(bias + column) : load_part(bias + column, left, 0);
    for (int r = 0; r < R; ++r) {
      Out* at = y + r * out + column;
      const Floats total = sum[r][v] + b;
      whole ? total.store(at) : store_part(total, at, left);
    }
  }
}

// y[rows, out] = x[rows, in] Wᵀ + bias.
template <class Out>
void product(const bfloat16* x, int64_t rows, int64_t in, const bfloat16* w, const bfloat16* bias,
             int64_t out, Out* y, int threads) {
  const int64_t panels = (out + kPanel - 1) / kPanel, tiles = (rows + kRows - 1) / kRows;
  const int64_t parts = panels < 16 * threads && tiles >= 2 * threads ? threads : 1;
  const Scratch<Input> room(kParts > 1 ? rows * in : 0);
  const Input* inputs = as_inputs(x, 0, room.data());
#pragma omp parallel num_threads(threads)
  {
    if constexpr (kParts > 1) {
#pragma omp for
      for (int64_t r = 0; r < rows; ++r) as_inputs(x + r * in, in, room.data() + r * in);
    }
#pragma omp for schedule(dynamic, 1)
    for (int64_t task = 0; task < panels * parts; ++task) {
      const int64_t panel = task / parts, part = task % parts, first = tiles * part / parts;
      const int64_t count = tiles * (part + 1) / parts - first;
      // The panel that this thread will probably take next comes from memory while the tiles of
      // this one are computed, a share of it with each tile.
      const int64_t next = panel + threads / parts;
      const int64_t lines = count && next < panels ? (kVectors + count - 1) / count : 0;
      for (int64_t t = 0; t < count; ++t) {
        const int64_t row = (first + t) * kRows, line = t * lines;
        const Ahead ahead{line < kVectors ? lines : 0,
                          (next - panel) * kPanel * in + line * 2 * Floats::width};
        with_rows(std::min<int64_t>(kRows, rows - row), [&](auto size) {
          tile<size.value>(inputs + row * in, in, w + panel * kPanel * in, ahead, bias,
                           y + row * out, out, panel * kPanel);
        });
      }
    }
  }
}

inline void pack(const bfloat16* weight, int64_t out, int64_t in, bfloat16* packed, int threads) {
  const int64_t panels = (out + kPanel - 1) / kPanel;
#pragma omp parallel for num_threads(threads)
  for (int64_t panel = 0; panel < panels; ++panel)
    for (int64_t k = 0; k < in; k += 2)
      for (int64_t j = 0; j < kPanel; ++j) {
        const int64_t row = panel * kPanel + j;
        bfloat16* pair = packed + panel * kPanel * in + k * kPanel + 2 * j;
        if (row < out) std::memcpy(pair, weight + row * in + k, 2 * sizeof(bfloat16));
        else pair[0] = pair[1] = {0};
      }
}

}  // namespace DFTFAST_SIMD
}  // namespace dftfast
