// Matrices laid out for AMX tiles, and their product, as attention needs them.
//
// The right side of a product lies in tiles of 1 KB: 32 of the numbers that are summed over, in
// pairs, by 16 columns. Tile (step, column) is the step-th of its column.
#pragma once

#include "tiles.h"

namespace dftfast {
namespace DFTFAST_SIMD {
namespace {

constexpr int64_t kTile = 512;     // numbers of a tile
constexpr int64_t kTileSide = 16;  // rows of a tile, and columns of one with sums
constexpr int64_t kTileStep = 32;  // numbers that one tile sums over
constexpr int64_t kApart = 16;     // added to rows whose length may be a power of two

// This thread's tiles, all of full size, for as long as the object lives.
class FullTiles {
 public:
  FullTiles() {
    alignas(64) TileShapes shapes;
    for (int tile = 0; tile < 8; ++tile) shapes.set(tile, 16);
    DFTFAST_TILE_SHAPES(&shapes);
  }
  ~FullTiles() { DFTFAST_TILE_RELEASE(); }
  FullTiles(const FullTiles&) = delete;
};

// Sixteen vectors of 32-bit numbers, transposed.
inline void transpose(__m512i (&x)[16]) {
  __m512i y[16];
#pragma GCC unroll 8
  for (int i = 0; i < 16; i += 2) {
    y[i] = _mm512_unpacklo_epi32(x[i], x[i + 1]);
    y[i + 1] = _mm512_unpackhi_epi32(x[i], x[i + 1]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 16; i += 4) {
    x[i] = _mm512_unpacklo_epi64(y[i], y[i + 2]);
    x[i + 1] = _mm512_unpackhi_epi64(y[i], y[i + 2]);
    x[i + 2] = _mm512_unpacklo_epi64(y[i + 1], y[i + 3]);
    x[i + 3] = _mm512_unpackhi_epi64(y[i + 1], y[i + 3]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {  // quarters of the vectors
    const __m512i low0 = _mm512_shuffle_i32x4(x[i], x[4 + i], 0x44);
    const __m512i high0 = _mm512_shuffle_i32x4(x[i], x[4 + i], 0xee);
    const __m512i low1 = _mm512_shuffle_i32x4(x[8 + i], x[12 + i], 0x44);
    const __m512i high1 = _mm512_shuffle_i32x4(x[8 + i], x[12 + i], 0xee);
    y[i] = _mm512_shuffle_i32x4(low0, low1, 0x88);
    y[4 + i] = _mm512_shuffle_i32x4(low0, low1, 0xdd);
    y[8 + i] = _mm512_shuffle_i32x4(high0, high1, 0x88);
    y[12 + i] = _mm512_shuffle_i32x4(high0, high1, 0xdd);
  }
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) x[i] = y[i];
}

// Lane by lane: low rounded to bf16 in the lower half, high in the upper one.
inline __m512i paired(Floats low, Floats high) {
#if defined(__AVX512BF16__)
  const __m512i both = (__m512i)_mm512_cvtne2ps_pbh(high.v, low.v);
  const __m512i order = _mm512_set_epi32(0x1f000f, 0x1e000e, 0x1d000d, 0x1c000c, 0x1b000b, 0x1a000a,
                                         0x190009, 0x180008, 0x170007, 0x160006, 0x150005, 0x140004,
                                         0x130003, 0x120002, 0x110001, 0x100000);
  return _mm512_permutexvar_epi16(order, both);
#else
  const bfloat16* bf16 = nullptr;
  const __m512i lower = _mm512_srli_epi32(_mm512_castps_si512(low.rounded(bf16).v), 16);
  return _mm512_or_si512(lower, _mm512_castps_si512(high.rounded(bf16).v));
#endif
}

inline __m512i paired(const bfloat16* low, const bfloat16* high) {
  const auto wide = [](const bfloat16* p) {
    return _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  };
  return _mm512_or_si512(wide(low), _mm512_slli_epi32(wide(high), 16));
}

// Rows at(0), at(1), ... of x [.., dim], one after the other; zeros from `count` to `room`.
template <class At>
void gather_rows(const bfloat16* x, const At& at, int64_t count, int64_t room, int64_t dim,
                 bfloat16* out) {
  for (int64_t r = 0; r < count; ++r)
    std::memcpy(out + r * dim, x + at(r) * dim, dim * sizeof(bfloat16));
  std::memset(out + count * dim, 0, (room - count) * dim * sizeof(bfloat16));
}

// rows [count, dim], the right side of sums over dim: the columns are the rows. count and dim are
// multiples of 16 and 32.
inline void as_columns(const bfloat16* rows, int64_t count, int64_t dim, bfloat16* out) {
  for (int64_t r = 0; r < count; r += kTileSide)
    for (int64_t i = 0; i < dim; i += kTileStep, out += kTile) {
      __m512i x[16];
      for (int j = 0; j < 16; ++j) x[j] = _mm512_loadu_si512(rows + (r + j) * dim + i);
      transpose(x);
      for (int j = 0; j < 16; ++j) _mm512_storeu_si512(out + 32 * j, x[j]);
    }
}

// rows [count, dim], the right side of sums over the rows: the columns are those of dim. count and
// dim are multiples of 32.
inline void as_summands(const bfloat16* rows, int64_t count, int64_t dim, bfloat16* out) {
  for (int64_t i = 0; i < dim; i += kTileSide)
    for (int64_t r = 0; r < count; r += 2, out += 32)
      _mm512_storeu_si512(out, paired(rows + r * dim + i, rows + (r + 1) * dim + i));
}

// Transposes what as_summands wrote: out [dim, count], a left side whose sums are over the rows.
inline void turned(const bfloat16* summands, int64_t count, int64_t dim, bfloat16* out) {
  for (int64_t i = 0; i < dim; i += kTileSide)
    for (int64_t r = 0; r < count; r += kTileStep, summands += kTile) {
      __m512i x[16];
      for (int j = 0; j < 16; ++j) x[j] = _mm512_loadu_si512(summands + 32 * j);
      transpose(x);
      for (int j = 0; j < 16; ++j) _mm512_storeu_si512(out + (i + j) * count + r, x[j]);
    }
}

struct LeftSide {  // [rows, 32·steps], `row` numbers from one to the next
  const bfloat16* at;
  int64_t row;
};
struct RightSide {  // tiles; `steps` of a column, of which a product may take fewer
  const bfloat16* at;
  int64_t steps;
};

// c [rows, columns] = a b, or c += a b, summed over 32·steps numbers. rows and columns are
// multiples of 32; c has `c_row` numbers from row to row.
template <bool Add>
void multiply_tiles(LeftSide a, RightSide b, int64_t rows, int64_t columns, int64_t steps, float* c,
                    int64_t c_row) {
  DFTFAST_TILE_SEE_MEMORY();
  const int64_t a_bytes = a.row * 2, c_bytes = c_row * 4;
  for (int64_t column = 0; column < columns; column += 32)
    for (int64_t row = 0; row < rows; row += 32) {
      const bfloat16* left = a.at + row * a.row;
      const bfloat16* right = b.at + column / 16 * b.steps * kTile;
      float *low = c + row * c_row + column, *high = low + 16 * c_row;
      if constexpr (Add) {
        DFTFAST_TILE_LOAD(0, low, c_bytes);
        DFTFAST_TILE_LOAD(1, low + 16, c_bytes);
        DFTFAST_TILE_LOAD(2, high, c_bytes);
        DFTFAST_TILE_LOAD(3, high + 16, c_bytes);
      } else {
        DFTFAST_TILE_ZERO(0);
        DFTFAST_TILE_ZERO(1);
        DFTFAST_TILE_ZERO(2);
        DFTFAST_TILE_ZERO(3);
      }
      for (int64_t step = 0; step < steps; ++step) {
        DFTFAST_TILE_LOAD(4, left + step * kTileStep, a_bytes);
        DFTFAST_TILE_LOAD(6, right + step * kTile, 64);
        DFTFAST_TILE_MULTIPLY(0, 4, 6);
        DFTFAST_TILE_LOAD(7, right + (b.steps + step) * kTile, 64);
        DFTFAST_TILE_MULTIPLY(1, 4, 7);
        DFTFAST_TILE_LOAD(5, left + 16 * a.row + step * kTileStep, a_bytes);
        DFTFAST_TILE_MULTIPLY(2, 5, 6);
        DFTFAST_TILE_MULTIPLY(3, 5, 7);
      }
      DFTFAST_TILE_STORE(0, low, c_bytes);
      DFTFAST_TILE_STORE(1, low + 16, c_bytes);
      DFTFAST_TILE_STORE(2, high, c_bytes);
      DFTFAST_TILE_STORE(3, high + 16, c_bytes);
    }
}

}  // namespace
}  // namespace DFTFAST_SIMD
}  // namespace dftfast
