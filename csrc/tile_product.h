// Small fp32 matrix products from and to scratch memory whose rows are padded to whole vectors.
#pragma once

#include <algorithm>
#include <cstdint>

#include "rows.h"

namespace dftfast {
namespace DFTFAST_SIMD {
namespace {

// A tile of kTileRows x kTileVectors sums, its row of B and one broadcast entry of A fill the
// vector registers.
constexpr int kTileRows = 6, kTileVectors = kWidth == 8 ? 2 : 4, kPanel = kTileVectors * kWidth;

struct StridedMatrix {  // entry (i, p) is at[i * row + p * step]
  const float* at;
  int64_t row, step;
};
struct PanelMatrix {  // entry (p, j) is at[j / kPanel * panel + p * row + j % kPanel]
  const float* at;
  int64_t row, panel;
};

template <int R, int V>
void tile(StridedMatrix a, const float* b, int64_t b_row, float* c, int64_t c_row, int64_t depth,
          bool add) {
  Floats sum[R][V];
  for (int r = 0; r < R; ++r)
    for (int v = 0; v < V; ++v)
      sum[r][v] = add ? Floats::load(c + r * c_row + v * kWidth) : Floats::all(0);
  for (int64_t p = 0; p < depth; ++p, b += b_row, a.at += a.step) {
    Floats line[V];
    for (int v = 0; v < V; ++v) line[v] = Floats::load(b + v * kWidth);
    for (int r = 0; r < R; ++r) {
      const Floats x = Floats::all(a.at[r * a.row]);
      for (int v = 0; v < V; ++v) sum[r][v] = fma(x, line[v], sum[r][v]);
    }
  }
  for (int r = 0; r < R; ++r)
    for (int v = 0; v < V; ++v) sum[r][v].store(c + r * c_row + v * kWidth);
}

// Calls tile<R, V> for rows = R in 1 .. kTileRows and vectors = V in 1 .. kTileVectors.
template <int R = kTileRows, int V = kTileVectors, class... Arguments>
void tile_of(int64_t rows, int64_t vectors, Arguments... arguments) {
  if constexpr (R > 1)
    if (rows < R) return tile_of<R - 1, V>(rows, vectors, arguments...);
  if constexpr (V > 1)
    if (vectors < V) return tile_of<R, V - 1>(rows, vectors, arguments...);
  tile<R, V>(arguments...);
}

// C [rows, columns] = A [rows, depth] B [depth, columns], or C += A B; columns is rounded up to
// whole vectors.
inline void product(StridedMatrix a, PanelMatrix b, float* c, int64_t c_row, int64_t rows,
                    int64_t columns, int64_t depth, bool add) {
  for (int64_t j = 0; j < columns; j += kPanel)
    for (int64_t i = 0; i < rows; i += kTileRows)
      tile_of(std::min<int64_t>(rows - i, kTileRows),
              std::min<int64_t>((columns - j + kWidth - 1) / kWidth, kTileVectors),
              StridedMatrix{a.at + i * a.row, a.row, a.step}, b.at + j / kPanel * b.panel, b.row,
              c + i * c_row + j, c_row, depth, add);
}

inline int64_t round_up(int64_t n, int64_t unit) { return (n + unit - 1) / unit * unit; }

}  // namespace
}  // namespace DFTFAST_SIMD
}  // namespace dftfast
