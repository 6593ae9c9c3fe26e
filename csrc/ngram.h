// N-gram keys and the walk over a ragged batch that every n-gram kernel shares.
#pragma once

#include <algorithm>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

namespace dftfast {

// Key of an n-gram whose value in base vocab needs more than 63 bits: its first n / 2 tokens, and
// the rest.
struct WideKey {
  int64_t high, low;
  bool operator==(const WideKey& o) const { return high == o.high && low == o.low; }
  bool operator!=(const WideKey& o) const { return !(*this == o); }
  bool operator<(const WideKey& o) const { return high != o.high ? high < o.high : low < o.low; }
};

struct Ragged {
  const int64_t* tokens;
  int64_t size;
  const int64_t* offsets;
  int64_t sequences;
};

// Number of bits that base-vocab numbers of `digits` digits take; 64 where they do not fit in 63.
inline int key_bits(int64_t vocab, int digits) {
  unsigned __int128 top = 1;
  for (int i = 0; i < digits; ++i) top *= vocab;
  int bits = 0;
  for (top -= 1; top && bits < 64; top >>= 1) ++bits;
  return bits;
}

inline int64_t horner(const int64_t* tokens, int n, int64_t vocab) {
  int64_t key = tokens[0];
  for (int i = 1; i < n; ++i) key = key * vocab + tokens[i];
  return key;
}

// The key of the n tokens from `tokens` on.
inline void read_key(const int64_t* tokens, int n, int64_t vocab, int64_t& key) {
  key = horner(tokens, n, vocab);
}
inline void read_key(const int64_t* tokens, int n, int64_t vocab, WideKey& key) {
  key = {horner(tokens, n / 2, vocab), horner(tokens + n / 2, n - n / 2, vocab)};
}

// Calls f(i) for every position i in [begin, end) at which an n-gram ends: inside one sequence,
// none of its tokens excluded. `excluded` is indexed by token, or null.
template <class F>
void for_each_end(const Ragged& r, int n, const uint8_t* excluded, int64_t begin, int64_t end,
                  F&& f) {
  int64_t s = std::upper_bound(r.offsets, r.offsets + r.sequences + 1, begin) - r.offsets - 1;
  for (; s < r.sequences && r.offsets[s] < end; ++s) {
    int64_t from = std::max(begin, r.offsets[s] + n - 1), to = std::min(end, r.offsets[s + 1]);
    if (!excluded) {
      for (int64_t i = from; i < to; ++i) f(i);
      continue;
    }
    int64_t clean = 0;  // tokens since the last excluded one
    for (int64_t i = from - (n - 1); i < to; ++i) {
      clean = excluded[r.tokens[i]] ? 0 : clean + 1;
      if (i >= from && clean >= n) f(i);
    }
  }
}

// Throws std::invalid_argument (ValueError in Python) for offsets or tokens that would be read out
// of bounds.
inline void check(const Ragged& r, int64_t vocab, int threads) {
  bool ascending = r.offsets[0] == 0 && r.offsets[r.sequences] == r.size;
  for (int64_t s = 0; s < r.sequences; ++s) ascending &= r.offsets[s] <= r.offsets[s + 1];
  if (!ascending)
    throw std::invalid_argument("offsets must ascend from 0 to the number of tokens, " +
                                std::to_string(r.size));
  int64_t bad = r.size;
#pragma omp parallel for reduction(min : bad) num_threads(threads)
  for (int64_t i = 0; i < r.size; ++i)
    if (static_cast<uint64_t>(r.tokens[i]) >= static_cast<uint64_t>(vocab)) bad = std::min(bad, i);
  if (bad < r.size)
    throw std::invalid_argument("token " + std::to_string(r.tokens[bad]) + " at position " +
                                std::to_string(bad) + " is outside the vocabulary of " +
                                std::to_string(vocab));
}

}  // namespace dftfast
