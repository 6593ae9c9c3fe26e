#include "low_rank.h"

#include <omp.h>

#include <algorithm>

#include "scratch.h"
#include "tile_operands.h"

namespace dftfast {
namespace DFTFAST_SIMD {
namespace {

constexpr int64_t kTokens = 128;  // of a block, at most
constexpr int64_t kColumns = 64;  // of y whose sums are taken together

inline int64_t whole_steps(int64_t n) { return (n + kTileStep - 1) / kTileStep * kTileStep; }

// a and b with each part's rank filled up to whole steps, as the right sides of the products.
class Factors {
 public:
  explicit Factors(const LowRank& s)
      : rank(whole_steps(s.rank)),
        ranks(rank * s.parts),
        a_(ranks * s.in),
        b_(s.out * rank),
        room_(std::max(ranks * s.in, s.out * rank)) {}

  // For the forward products: the columns are a's rows, and b's.
  void as_forward(const LowRank& s) const {
    fill_a(s);
    as_columns(room_.data(), ranks, s.in, a_.data());
    fill_b(s);
    as_columns(room_.data(), s.out, rank, b_.data());
  }
  // For those of the gradients: sums over the rows of a, and of each part of b.
  void as_backward(const LowRank& s) const {
    fill_a(s);
    as_summands(room_.data(), ranks, s.in, a_.data());
    fill_b(s);
    for (int64_t part = 0, first = 0; part < s.parts; first += s.widths[part++])
      as_summands(room_.data() + first * rank, s.widths[part], rank, b_.data() + first * rank);
  }
  const bfloat16* a() const { return a_.data(); }
  const bfloat16* b(int64_t first) const { return b_.data() + first * rank; }

  const int64_t rank, ranks;

 private:
  void fill_a(const LowRank& s) const {
    for (int64_t part = 0; part < s.parts; ++part)
      fill(s.a + part * s.rank * s.in, s.rank * s.in, rank * s.in,
           room_.data() + part * rank * s.in);
  }
  void fill_b(const LowRank& s) const {
    for (int64_t r = 0; r < s.out; ++r)
      fill(s.b + r * s.rank, s.rank, rank, room_.data() + r * rank);
  }
  static void fill(const bfloat16* from, int64_t count, int64_t room, bfloat16* to) {
    std::memcpy(to, from, count * sizeof(bfloat16));
    std::memset(to + count, 0, (room - count) * sizeof(bfloat16));
  }

  Scratch<bfloat16> a_, b_, room_;
};

// A block's rows of a matrix [T, width] where they lie, or in `room` with zeros after the last if
// they are no whole steps.
inline LeftSide block_rows(const bfloat16* x, int64_t width, int64_t count, bfloat16* room) {
  if (count % kTileStep == 0) return {x, width};
  std::memcpy(room, x, count * width * sizeof(bfloat16));
  std::memset(room + count * width, 0, (whole_steps(count) - count) * width * sizeof(bfloat16));
  return {room, width};
}

// u's rows with each part filled up with zeros, or the other way round.
inline void spread_ranks(const LowRank& s, const bfloat16* u, int64_t count, int64_t rank,
                         bfloat16* out) {
  std::memset(out, 0, whole_steps(count) * s.parts * rank * sizeof(bfloat16));
  for (int64_t i = 0; i < count * s.parts; ++i)
    std::memcpy(out + i * rank, u + i * s.rank, s.rank * sizeof(bfloat16));
}
inline void collect_ranks(const LowRank& s, const bfloat16* spread, int64_t count, int64_t rank,
                          bfloat16* u) {
  for (int64_t i = 0; i < count * s.parts; ++i)
    std::memcpy(u + i * s.rank, spread + i * rank, s.rank * sizeof(bfloat16));
}

// to [rows, to_row] = factor·sums [rows, sums_row], or added to it.
template <bool Add>
void store_sums(const float* sums, int64_t sums_row, int64_t rows, int64_t columns, float factor,
                bfloat16* to, int64_t to_row) {
  const Floats by = Floats::all(factor);
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t i = 0; i < columns; i += 16) {
      const Floats sum = Floats::load(sums + r * sums_row + i);
      bfloat16* at = to + r * to_row + i;
      (Add ? fma(sum, by, Floats::load(at)) : sum * by).store(at);
    }
}

// to [count, to_row] += factor·(a b), `columns` of it, a few at a time.
inline void add_product(LeftSide a, RightSide b, int64_t count, int64_t columns, int64_t steps,
                        float factor, float* sums, bfloat16* to, int64_t to_row) {
  for (int64_t column = 0; column < columns; column += kColumns) {
    const int64_t n = std::min(kColumns, columns - column);
    multiply_tiles<false>(a, {b.at + column / kTileSide * b.steps * kTile, b.steps},
                          whole_steps(count), n, steps, sums, kColumns);
    store_sums<true>(sums, kColumns, count, n, factor, to + column, to_row);
  }
}

// On no more threads than there are whole steps of tokens.
inline Rows shared_out(const Rows& rows) {
  const int64_t steps = std::max<int64_t>(1, whole_steps(rows.tokens) / kTileStep);
  return {rows.tokens, static_cast<int>(std::min<int64_t>(rows.threads, steps))};
}

// Calls body(first, count, thread) for blocks of tokens, of which each thread has a run.
template <class Body>
void for_each_block(const Rows& rows, const Body& body) {
#pragma omp parallel num_threads(rows.threads)
  {
    const FullTiles tiles;
    const int64_t n = omp_get_num_threads(), thread = omp_get_thread_num();
    const int64_t steps = whole_steps(rows.tokens) / kTileStep;
    const int64_t last = std::min(rows.tokens, steps * (thread + 1) / n * kTileStep);
    for (int64_t first = steps * thread / n * kTileStep; first < last; first += kTokens)
      body(first, std::min(kTokens, last - first), static_cast<int>(thread));
  }
}

}  // namespace

void low_rank(const LowRank& s, const Rows& given, const bfloat16* x, bfloat16* u, bfloat16* y) {
  const Rows all = shared_out(given);
  const Factors factors(s);
  factors.as_forward(s);
  const int64_t rank = factors.rank, ranks = factors.ranks;
  const Scratch<bfloat16> rooms(kTokens * s.in, all.threads), spreads(kTokens * ranks, all.threads);
  const Scratch<float> sums(kTokens * std::max(ranks, kColumns), all.threads);
  for_each_block(all, [&](int64_t first, int64_t count, int thread) {
    bfloat16* spread = spreads.of(thread);
    float* sum = sums.of(thread);
    const LeftSide rows = block_rows(x + first * s.in, s.in, count, rooms.of(thread));
    multiply_tiles<false>(rows, {factors.a(), s.in / kTileStep}, whole_steps(count), ranks,
                          s.in / kTileStep, sum, ranks);
    store_sums<false>(sum, ranks, whole_steps(count), ranks, 1.0f, spread, ranks);
    collect_ranks(s, spread, count, rank, u + first * s.parts * s.rank);
    for (int64_t part = 0, column = 0; part < s.parts; column += s.widths[part++])
      add_product({spread + part * rank, ranks}, {factors.b(column), rank / kTileStep}, count,
                  s.widths[part], rank / kTileStep, s.scale, sum, y + first * s.out + column,
                  s.out);
  });
}

namespace {

// What a thread keeps for its blocks of the backward pass.
struct BackwardRoom {
  Scratch<bfloat16> rows, up, spread, turned, summands;
  Scratch<float> sums, da, db;
  int64_t a_row, b_row;

  BackwardRoom(const LowRank& s, const Factors& f, int threads)
      : rows(kTokens * s.in, threads),
        up(kTokens * s.out, threads),
        spread(kTokens * f.ranks, threads),
        turned(kTokens * f.ranks, threads),
        summands(kTokens * std::max({s.in, s.out, f.ranks}), threads),
        sums(kTokens * std::max(f.ranks, kColumns), threads),
        da(f.ranks * (s.in + kApart), threads),
        db(f.rank * (s.out + kApart), threads),
        a_row(s.in + kApart),
        b_row(s.out + kApart) {
#pragma omp parallel for num_threads(threads) schedule(static, 1)
    for (int t = 0; t < threads; ++t) {
      std::memset(da.of(t), 0, (da.of(1) - da.of(0)) * sizeof(float));
      std::memset(db.of(t), 0, (db.of(1) - db.of(0)) * sizeof(float));
    }
  }
  // spread [rows, ranks], turned round.
  const bfloat16* turn(int thread, int64_t rows_of_block, int64_t ranks) const {
    as_summands(spread.of(thread), rows_of_block, ranks, summands.of(thread));
    dftfast::DFTFAST_SIMD::turned(summands.of(thread), rows_of_block, ranks, turned.of(thread));
    return turned.of(thread);
  }
};

// Sums of all threads, in their order: da [parts·rank, in] and db [out, rank].
void add_up(const LowRank& s, int threads, const Factors& f, const BackwardRoom& room,
            const LowRankGradients& d) {
#pragma omp parallel for num_threads(threads)
  for (int64_t i = 0; i < (d.da ? s.parts * s.rank : 0); ++i)
    for (int64_t j = 0; j < s.in; j += 16) {
      Floats sum = Floats::all(0);
      for (int t = 0; t < threads; ++t)
        sum =
            sum + Floats::load(room.da.of(t) + (i / s.rank * f.rank + i % s.rank) * room.a_row + j);
      sum.store(d.da + i * s.in + j);
    }
#pragma omp parallel for num_threads(threads)
  for (int64_t j = 0; j < (d.db ? s.out : 0); ++j)
    for (int64_t i = 0; i < s.rank; ++i) {
      float sum = 0;
      for (int t = 0; t < threads; ++t) sum += room.db.of(t)[i * room.b_row + j];
      d.db[j * s.rank + i] = s.scale * sum;
    }
}

}  // namespace

void low_rank_backward(const LowRank& s, const Rows& given, const bfloat16* dy, const bfloat16* x,
                       const bfloat16* u, const LowRankGradients& d) {
  const Rows all = shared_out(given);
  const Factors factors(s);
  factors.as_backward(s);
  const int64_t rank = factors.rank, ranks = factors.ranks;
  const BackwardRoom room(s, factors, all.threads);
  for_each_block(all, [&](int64_t first, int64_t count, int thread) {
    const int64_t rows = whole_steps(count), steps = rows / kTileStep;
    bfloat16 *spread = room.spread.of(thread), *summands = room.summands.of(thread);
    float* sum = room.sums.of(thread);
    const LeftSide up = block_rows(dy + first * s.out, s.out, count, room.up.of(thread));
    if (d.db) {
      spread_ranks(s, u + first * s.parts * s.rank, count, rank, spread);
      const bfloat16* turned = room.turn(thread, rows, ranks);
      as_summands(up.at, rows, s.out, summands);
      for (int64_t part = 0, column = 0; part < s.parts; column += s.widths[part++])
        multiply_tiles<true>({turned + part * rank * rows, rows},
                             {summands + column / kTileSide * steps * kTile, steps}, rank,
                             s.widths[part], steps, room.db.of(thread) + column, room.b_row);
    }
    for (int64_t part = 0, column = 0; part < s.parts; column += s.widths[part++])
      multiply_tiles<false>({up.at + column, s.out},
                            {factors.b(column), s.widths[part] / kTileStep}, rows, rank,
                            s.widths[part] / kTileStep, sum + part * rank, ranks);
    store_sums<false>(sum, ranks, rows, ranks, s.scale, spread, ranks);
    if (d.dx)
      add_product({spread, ranks}, {factors.a(), ranks / kTileStep}, count, s.in, ranks / kTileStep,
                  1.0f, sum, d.dx + first * s.in, s.in);
    if (d.da) {
      const bfloat16* turned = room.turn(thread, rows, ranks);
      const LeftSide inputs = block_rows(x + first * s.in, s.in, count, room.rows.of(thread));
      as_summands(inputs.at, rows, s.in, summands);
      multiply_tiles<true>({turned, rows}, {summands, steps}, ranks, s.in, steps,
                           room.da.of(thread), room.a_row);
    }
  });
  add_up(s, all.threads, factors, room, d);
}

}  // namespace DFTFAST_SIMD
}  // namespace dftfast
