// Matrix tiles of AMX: eight registers of 16 rows of 64 bytes, and their product of bf16 pairs.
//
// With DFTFAST_MODEL_TILES they are modelled in memory, so that what is built on them can be tested
// on processors that have none. Intel, "Architecture Instruction Set Extensions", chapter 3.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <cstring>

#include <immintrin.h>

#include "simd.h"

namespace dftfast {
namespace DFTFAST_SIMD {
namespace {

struct TileShapes {  // as the instruction that sets them reads it
  uint8_t palette = 1, start = 0, reserved[14] = {};
  uint16_t bytes_of_a_row[16] = {};
  uint8_t rows[16] = {};

  void set(int tile, int tile_rows, int bytes = 64) {
    bytes_of_a_row[tile] = static_cast<uint16_t>(bytes);
    rows[tile] = static_cast<uint8_t>(tile_rows);
  }
};

#if defined(DFTFAST_MODEL_TILES)

struct ModelTile {
  int rows, bytes;  // 0 where nothing is configured
  alignas(64) char data[16][64];
};
thread_local ModelTile model_tiles[8];
const TileShapes released;

inline void model_shapes(const void* p) {
  const TileShapes& shapes = *static_cast<const TileShapes*>(p);
  for (int i = 0; i < 8; ++i) {
    model_tiles[i] = {};
    model_tiles[i].rows = shapes.rows[i];
    model_tiles[i].bytes = shapes.bytes_of_a_row[i];
  }
}
inline void model_load(int tile, const void* from, int64_t stride) {
  ModelTile& t = model_tiles[tile];
  for (int r = 0; r < t.rows; ++r)
    std::memcpy(t.data[r], static_cast<const char*>(from) + r * stride, t.bytes);
}
inline void model_store(int tile, void* to, int64_t stride) {
  const ModelTile& t = model_tiles[tile];
  for (int r = 0; r < t.rows; ++r)
    std::memcpy(static_cast<char*>(to) + r * stride, t.data[r], t.bytes);
}
inline float model_entry(const ModelTile& t, int row, int column) {
  uint16_t bits;
  std::memcpy(&bits, t.data[row] + 2 * column, 2);
  const uint32_t wide = static_cast<uint32_t>(bits) << 16;
  float value;
  std::memcpy(&value, &wide, 4);
  return value;
}
// The first and the second numbers of the pairs have sums of their own, added at the end.
inline void model_multiply(int sums, int left, int right) {
  ModelTile& c = model_tiles[sums];
  const ModelTile &a = model_tiles[left], &b = model_tiles[right];
  // What the processor refuses as an illegal instruction.
  if (!c.rows || a.rows != c.rows || a.bytes != 4 * b.rows || b.bytes != c.bytes) std::abort();
  for (int m = 0; m < c.rows; ++m)
    for (int n = 0; n < c.bytes / 4; ++n) {
      float parts[2] = {0, 0}, sum;
      for (int k = 0; k < a.bytes / 4; ++k)
        for (int part = 0; part < 2; ++part)
          parts[part] = __builtin_fmaf(model_entry(a, m, 2 * k + part),
                                       model_entry(b, k, 2 * n + part), parts[part]);
      std::memcpy(&sum, c.data[m] + 4 * n, 4);
      sum += parts[0] + parts[1];
      std::memcpy(c.data[m] + 4 * n, &sum, 4);
    }
}
#define DFTFAST_TILE_SHAPES(p) model_shapes(p)
#define DFTFAST_TILE_SEE_MEMORY() ((void)0)
#define DFTFAST_TILE_RELEASE() model_shapes(&released)
#define DFTFAST_TILE_ZERO(t) std::memset(model_tiles[t].data, 0, sizeof(model_tiles[t].data))
#define DFTFAST_TILE_LOAD(t, p, stride) model_load(t, p, stride)
#define DFTFAST_TILE_STORE(t, p, stride) model_store(t, p, stride)
#define DFTFAST_TILE_MULTIPLY(c, a, b) model_multiply(c, a, b)

#else

// Macros: the compiler wants a tile's number as it is written.
// The compiler does not know what tiles read: what was written to memory has to be there.
#define DFTFAST_TILE_SEE_MEMORY() __asm__ volatile("" ::: "memory")
#define DFTFAST_TILE_SHAPES(p) \
  do {                         \
    DFTFAST_TILE_SEE_MEMORY(); \
    _tile_loadconfig(p);       \
  } while (false)
#define DFTFAST_TILE_RELEASE() _tile_release()
#define DFTFAST_TILE_ZERO(t) _tile_zero(t)
#define DFTFAST_TILE_LOAD(t, p, stride) _tile_loadd(t, p, stride)
#define DFTFAST_TILE_STORE(t, p, stride) _tile_stored(t, p, stride)
#define DFTFAST_TILE_MULTIPLY(c, a, b) _tile_dpbf16ps(c, a, b)

#endif

}  // namespace
}  // namespace DFTFAST_SIMD
}  // namespace dftfast
