// Products on packed bf16 weights by AMX tiles, from the same layout as packed_product_kernel.h
// has.
//
// Sixteen pairs of inputs by sixteen outputs of a panel are a tile as they lie, rows kPanel pairs
// apart. A block is 32 rows of x by 32 outputs: four tiles of sums, two of each side. A sum takes
// its inputs in order whatever else is in the block, so a row's result does not depend on the other
// rows.
#pragma once

#include "packed_product_kernel.h"
#include "tiles.h"

namespace dftfast {
namespace DFTFAST_SIMD {

constexpr int kHalf = 32;          // outputs of a block
constexpr int64_t kTogether = 16;  // blocks whose rows stay in the second-level cache
constexpr int kStep = 32;          // inputs of a tile

// The inputs past the last whole step of a block's rows, and their weights, filled up with zeros.
struct Tail {
  alignas(64) bfloat16 x[32 * kStep];
  alignas(64) bfloat16 w[kStep * kHalf];

  void fill_x(const bfloat16* rows, int64_t count, int64_t in) {
    const int64_t left = in % kStep;
    for (int64_t r = 0; r < count; ++r) {
      std::memset(x + r * kStep, 0, kStep * sizeof(bfloat16));
      std::memcpy(x + r * kStep, rows + (r + 1) * in - left, left * sizeof(bfloat16));
    }
  }
  void fill_w(const bfloat16* half_panel, int64_t in) {
    std::memset(w, 0, sizeof(w));
    for (int64_t k = in / kStep * kStep; k < in; k += 2)
      std::memcpy(w + k % kStep * kHalf, half_panel + k * kPanel, 2 * kHalf * sizeof(bfloat16));
  }
};

// Sums of a block over one step; `high` where it has more than 16 rows.
inline void multiply_step(const bfloat16* x, int64_t row_bytes, const bfloat16* w,
                          int64_t pair_bytes, bool high) {
  DFTFAST_TILE_LOAD(4, x, row_bytes);
  DFTFAST_TILE_LOAD(6, w, pair_bytes);
  DFTFAST_TILE_MULTIPLY(0, 4, 6);
  DFTFAST_TILE_LOAD(7, w + kHalf, pair_bytes);
  DFTFAST_TILE_MULTIPLY(1, 4, 7);
  if (high) {
    DFTFAST_TILE_LOAD(5, x + 16 * (row_bytes / 2), row_bytes);
    DFTFAST_TILE_MULTIPLY(2, 5, 6);
    DFTFAST_TILE_MULTIPLY(3, 5, 7);
  }
}

// Asks for the weights `ahead` numbers after a step's, into the second-level cache.
inline void fetch_step(const bfloat16* w, int64_t ahead) {
  for (int pair = 0; pair < kStep / 2; ++pair)
    for (int line = 0; line < 2; ++line)
      __builtin_prefetch(w + ahead + pair * 2 * kPanel + line * 32, 0, 2);
}

// sums [rows, kHalf] of a block; `w` are a panel's weights from the block's first output on.
inline void multiply_block(const bfloat16* x, int64_t rows, int64_t in, const bfloat16* w,
                           int64_t ahead, Tail& tail, float* sums) {
  const bool high = rows > 16;
  const int64_t row_bytes = in * 2, pair_bytes = 4 * kPanel;
  DFTFAST_TILE_ZERO(0);
  DFTFAST_TILE_ZERO(1);
  DFTFAST_TILE_ZERO(2);
  DFTFAST_TILE_ZERO(3);
  for (int64_t k = 0; k + kStep <= in; k += kStep) {
    multiply_step(x + k, row_bytes, w + k * kPanel, pair_bytes, high);
    if (ahead) fetch_step(w + k * kPanel, ahead);
  }
  if (in % kStep) {
    tail.fill_x(x, rows, in);
    multiply_step(tail.x, kStep * 2, tail.w, 4 * kHalf, high);
  }
  DFTFAST_TILE_STORE(0, sums, 4 * kHalf);
  DFTFAST_TILE_STORE(1, sums + 16, 4 * kHalf);
  if (high) {
    DFTFAST_TILE_STORE(2, sums + 16 * kHalf, 4 * kHalf);
    DFTFAST_TILE_STORE(3, sums + 16 * kHalf + 16, 4 * kHalf);
  }
}

template <class Out>
void store_block(const float* sums, int64_t rows, const bfloat16* bias, int64_t column, int64_t out,
                 Out* y) {
  for (int64_t at = column; at < std::min(out, column + kHalf); at += Floats::width) {
    const int left = static_cast<int>(std::min<int64_t>(out - at, Floats::width));
    const bool whole = left == Floats::width;
    Floats b = Floats::all(0);
    if (bias) b = whole ? Floats::load(bias + at) : load_part(bias + at, left, 0);
    for (int64_t r = 0; r < rows; ++r) {
      const Floats total = Floats::load(sums + r * kHalf + at - column) + b;
      whole ? total.store(y + r * out + at) : store_part(total, y + r * out + at, left);
    }
  }
}

// y[rows, out] = x[rows, in] Wᵀ + bias.
template <class Out>
void tile_product(const bfloat16* x, int64_t rows, int64_t in, const bfloat16* w,
                  const bfloat16* bias, int64_t out, Out* y, int threads) {
  const int64_t panels = (out + kPanel - 1) / kPanel, blocks = (rows + 31) / 32;
  const int64_t shares = panels < 8 * threads && blocks >= 2 * threads ? threads : 1;
  const int64_t parts = std::max(shares, (blocks + kTogether - 1) / kTogether);
#pragma omp parallel num_threads(threads)
  {
    alignas(64) float sums[32 * kHalf];
    Tail tail;
    int64_t shaped_for = -1;
#pragma omp for schedule(dynamic, 1)
    for (int64_t task = 0; task < panels * parts; ++task) {
      const int64_t panel = task % panels, part = task / panels;
      const int64_t first = blocks * part / parts, last = blocks * (part + 1) / parts;
      // The panel that this thread will probably take next comes from memory meanwhile.
      const int64_t ahead = panel + threads < panels ? threads * kPanel * in : 0;
      for (int64_t column = panel * kPanel; column < std::min(out, (panel + 1) * kPanel);
           column += kHalf) {
        const bfloat16* weights = w + panel * kPanel * in + 2 * (column - panel * kPanel);
        if (in % kStep) tail.fill_w(weights, in);
        for (int64_t block = first; block < last; ++block) {
          const int64_t row = block * 32, count = std::min<int64_t>(32, rows - row);
          if (count != shaped_for) {
            alignas(64) TileShapes shapes;
            const int low = static_cast<int>(std::min<int64_t>(16, count));
            const int high = std::max(1, static_cast<int>(count - low));
            for (int tile : {0, 1, 4}) shapes.set(tile, low);
            for (int tile : {2, 3, 5}) shapes.set(tile, high);
            for (int tile : {6, 7}) shapes.set(tile, 16);
            DFTFAST_TILE_SHAPES(&shapes);
            shaped_for = count;
          }
          multiply_block(x + row * in, count, in, weights, block == first ? ahead : 0, tail, sums);
          store_block(sums, count, bias, column, out, y + row * out);
        }
      }
    }
    DFTFAST_TILE_RELEASE();
  }
}

}  // namespace DFTFAST_SIMD
}  // namespace dftfast
