// Products on packed bf16 weights by AMX tiles, from the same layout as packed_product_kernel.h
// has.
//
// Sixteen pairs of inputs by sixteen outputs of a panel are a tile as they lie, rows kPanel pairs
// apart. A block is 16 rows of x by a whole panel: four tiles of sums. So the weights of a panel
// are read once, from end to end, as the processor's own prefetching likes it; asked for ahead of
// time by instructions they come no sooner. A sum takes its inputs in order whatever else is in the
// block, so a row's result does not depend on the other rows.
#pragma once

#include "packed_product_kernel.h"
#include "tiles.h"

namespace dftfast {
namespace DFTFAST_SIMD {

constexpr int64_t kBlockRows = 16;
constexpr int64_t kStep = 32;       // inputs of a tile
constexpr int64_t kTogether = 512;  // rows that stay in the second-level cache

// The inputs past the last whole step of a block's rows, and their weights, filled up with zeros.
struct Tail {
  alignas(64) bfloat16 x[kBlockRows * kStep];
  alignas(64) bfloat16 w[kStep * kPanel];

  void fill_x(const bfloat16* rows, int64_t count, int64_t in) {
    const int64_t left = in % kStep;
    for (int64_t r = 0; r < count; ++r) {
      std::memset(x + r * kStep, 0, kStep * sizeof(bfloat16));
      std::memcpy(x + r * kStep, rows + (r + 1) * in - left, left * sizeof(bfloat16));
    }
  }
  void fill_w(const bfloat16* panel, int64_t in) {
    const int64_t whole = in / kStep * kStep;
    std::memset(w, 0, sizeof(w));
    std::memcpy(w, panel + whole * kPanel, (in - whole) * kPanel * sizeof(bfloat16));
  }
};

inline void shape_for_block(int rows) {
  alignas(64) TileShapes shapes;
  for (int tile : {0, 1, 2, 3, 4}) shapes.set(tile, rows);  // sums, rows of x
  for (int tile : {5, 6}) shapes.set(tile, 16);             // weights
  DFTFAST_TILE_SHAPES(&shapes);
}

// Adds one step to a block's sums.
inline void multiply_step(const bfloat16* x, int64_t row_bytes, const bfloat16* w) {
  constexpr int64_t pair_bytes = 4 * kPanel;
  DFTFAST_TILE_LOAD(4, x, row_bytes);
  DFTFAST_TILE_LOAD(5, w, pair_bytes);
  DFTFAST_TILE_MULTIPLY(0, 4, 5);
  DFTFAST_TILE_LOAD(6, w + 32, pair_bytes);
  DFTFAST_TILE_MULTIPLY(1, 4, 6);
  DFTFAST_TILE_LOAD(5, w + 64, pair_bytes);
  DFTFAST_TILE_MULTIPLY(2, 4, 5);
  DFTFAST_TILE_LOAD(6, w + 96, pair_bytes);
  DFTFAST_TILE_MULTIPLY(3, 4, 6);
}

// sums [rows, kPanel] of a block with the tiles shaped for its rows.
inline void multiply_block(const bfloat16* x, int64_t rows, int64_t in, const bfloat16* panel,
                           Tail& tail, float* sums) {
  DFTFAST_TILE_SEE_MEMORY();
  DFTFAST_TILE_ZERO(0);
  DFTFAST_TILE_ZERO(1);
  DFTFAST_TILE_ZERO(2);
  DFTFAST_TILE_ZERO(3);
  for (int64_t k = 0; k + kStep <= in; k += kStep) multiply_step(x + k, 2 * in, panel + k * kPanel);
  if (in % kStep) {
    tail.fill_x(x, rows, in);
    DFTFAST_TILE_SEE_MEMORY();
    multiply_step(tail.x, 2 * kStep, tail.w);
  }
  DFTFAST_TILE_STORE(0, sums, 4 * kPanel);
  DFTFAST_TILE_STORE(1, sums + 16, 4 * kPanel);
  DFTFAST_TILE_STORE(2, sums + 32, 4 * kPanel);
  DFTFAST_TILE_STORE(3, sums + 48, 4 * kPanel);
}

template <class Out>
void store_block(const float* sums, int64_t rows, const bfloat16* bias, int64_t column, int64_t out,
                 Out* y) {
  for (int64_t at = column; at < std::min(out, column + kPanel); at += Floats::width) {
    const int left = static_cast<int>(std::min<int64_t>(out - at, Floats::width));
    const bool whole = left == Floats::width;
    Floats b = Floats::all(0);
    if (bias) b = whole ? Floats::load(bias + at) : load_part(bias + at, left, 0);
    for (int64_t r = 0; r < rows; ++r) {
      const Floats total = Floats::load(sums + r * kPanel + at - column) + b;
      whole ? total.store(y + r * out + at) : store_part(total, y + r * out + at, left);
    }
  }
}

// y[rows, out] = x[rows, in] Wᵀ + bias.
template <class Out>
void tile_product(const bfloat16* x, int64_t rows, int64_t in, const bfloat16* w,
                  const bfloat16* bias, int64_t out, Out* y, int threads) {
  const int64_t panels = (out + kPanel - 1) / kPanel, parts = (rows + kTogether - 1) / kTogether;
#pragma omp parallel num_threads(threads)
  {
    alignas(64) float sums[kBlockRows * kPanel];
    Tail tail;
    int64_t shaped_for = -1;
#pragma omp for schedule(static)
    for (int64_t task = 0; task < panels * parts; ++task) {
      const int64_t column = task % panels * kPanel, part = task / panels;
      const bfloat16* panel = w + column * in;
      if (in % kStep) tail.fill_w(panel, in);
      const int64_t last = std::min(rows, (part + 1) * kTogether);
      for (int64_t row = part * kTogether; row < last; row += kBlockRows) {
        const int64_t count = std::min(kBlockRows, last - row);
        if (count != shaped_for) shape_for_block(static_cast<int>(count));
        shaped_for = count;
        multiply_block(x + row * in, count, in, panel, tail, sums);
        store_block(sums, count, bias, column, out, y + row * out);
      }
    }
    DFTFAST_TILE_RELEASE();
  }
}

}  // namespace DFTFAST_SIMD
}  // namespace dftfast
