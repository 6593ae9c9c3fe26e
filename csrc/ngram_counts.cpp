// Exact n-gram counts: keys of the whole batch, a least-significant-digit radix sort shared by all threads, and one
// pass over the runs of equal keys.
#include <omp.h>
#include <pybind11/pybind11.h>

#include <utility>

#include "ngram.h"

namespace py = pybind11;

namespace dftfast {
namespace {

constexpr int kDigitBits = 11;  // 2048 counters and write positions a thread: within L1 and the TLB

int64_t share(int64_t size, int part, int parts) { return static_cast<int64_t>((__int128)size * part / parts); }

struct Pass {
  int shift;
  bool high;
};

// The digits of a key, least significant first: all of a narrow key, or those of `low` and then of `high`.
struct Digits {
  std::vector<Pass> passes;
  int bits = 1;
  void add(int total, bool high) {
    int count = std::max(1, (total + kDigitBits - 1) / kDigitBits);
    bits = std::max(bits, (total + count - 1) / count);
    for (int i = 0; i < count; ++i) passes.push_back({i * ((total + count - 1) / count), high});
  }
};

Digits digits_of(int64_t, int n, int64_t vocab) {
  Digits d;
  d.add(key_bits(vocab, n), false);
  return d;
}

Digits digits_of(WideKey, int n, int64_t vocab) {
  Digits d;
  d.add(key_bits(vocab, n - n / 2), false);
  d.add(key_bits(vocab, n / 2), true);
  return d;
}

int64_t digit(int64_t key, Pass pass, int64_t mask) { return (key >> pass.shift) & mask; }
int64_t digit(WideKey key, Pass pass, int64_t mask) { return ((pass.high ? key.high : key.low) >> pass.shift) & mask; }

// Writes the distinct keys to `keys` and their counts to `counts`; `scratch` and `keys` have room for one key a token.
template <class Key>
int64_t count(const Ragged& r, int n, int64_t vocab, const uint8_t* excluded, Key* keys, Key* scratch,
              int64_t* counts, int threads) {
  Digits digits = digits_of(Key{}, n, vocab);
  const int64_t buckets = int64_t{1} << digits.bits, mask = buckets - 1;
  std::vector<int64_t> histogram(buckets * threads), begin(threads + 1);
  int64_t total = 0, distinct = 0;

#pragma omp parallel num_threads(threads)
  {
    const int me = omp_get_thread_num(), team = omp_get_num_threads();
    // Positions of each thread's output, from its own count of them.
    auto place = [&](int64_t mine, int64_t& sum) {
      begin[me + 1] = mine;
#pragma omp barrier
#pragma omp single
      {
        begin[0] = 0;
        for (int t = 0; t < team; ++t) begin[t + 1] += begin[t];
        sum = begin[team];
      }
      return begin[me];
    };

    // An even number of passes ends where it began; the sorted keys must be in scratch.
    Key *from = digits.passes.size() % 2 ? keys : scratch, *to = from == keys ? scratch : keys;
    const int64_t first = share(r.size, me, team), last = share(r.size, me + 1, team);
    int64_t mine = 0;
    for_each_end(r, n, excluded, first, last, [&](int64_t) { ++mine; });
    int64_t at = place(mine, total);
    for_each_end(r, n, excluded, first, last,
                 [&](int64_t i) { read_key(r.tokens + i - n + 1, n, vocab, from[at++]); });
#pragma omp barrier

    const int64_t low = share(total, me, team), high = share(total, me + 1, team);
    int64_t* own = histogram.data() + me * buckets;
    for (Pass pass : digits.passes) {
      std::fill(own, own + buckets, 0);
      for (int64_t i = low; i < high; ++i) ++own[digit(from[i], pass, mask)];
#pragma omp barrier
#pragma omp single
      {
        int64_t sum = 0;
        for (int64_t b = 0; b < buckets; ++b)
          for (int t = 0; t < team; ++t) sum += std::exchange(histogram[t * buckets + b], sum);
      }
      for (int64_t i = low; i < high; ++i) to[own[digit(from[i], pass, mask)]++] = from[i];
#pragma omp barrier
      std::swap(from, to);
    }

    // A thread owns the runs that start in its share.
    auto starts = [&](int64_t i) { return i == 0 || from[i] != from[i - 1]; };
    mine = 0;
    for (int64_t i = low; i < high; ++i) mine += starts(i);
    at = place(mine, distinct);
    for (int64_t i = low; i < high; ++i)
      if (starts(i)) {
        int64_t end = i + 1;
        while (end < total && from[end] == from[i]) ++end;
        keys[at] = from[i];
        counts[at++] = end - i;
        i = end - 1;
      }
  }
  return distinct;
}

int64_t ngram_counts(uintptr_t tokens, int64_t size, uintptr_t offsets, int64_t sequences, int n, int64_t vocab,
                     uintptr_t exclude, int64_t exclude_size, uintptr_t keys, uintptr_t scratch, uintptr_t counts,
                     bool wide, int threads) {
  Ragged r{reinterpret_cast<const int64_t*>(tokens), size, reinterpret_cast<const int64_t*>(offsets), sequences};
  check(r, vocab, threads);
  std::vector<uint8_t> excluded(exclude_size ? vocab : 0);
  for (int64_t i = 0; i < exclude_size; ++i) {
    int64_t token = reinterpret_cast<const int64_t*>(exclude)[i];
    if (token >= 0 && token < vocab) excluded[token] = 1;
  }
  auto run = [&](auto* typed_keys, auto* typed_scratch) {
    return count(r, n, vocab, exclude_size ? excluded.data() : nullptr, typed_keys, typed_scratch,
                 reinterpret_cast<int64_t*>(counts), threads);
  };
  return wide ? run(reinterpret_cast<WideKey*>(keys), reinterpret_cast<WideKey*>(scratch))
              : run(reinterpret_cast<int64_t*>(keys), reinterpret_cast<int64_t*>(scratch));
}

}  // namespace

void bind_ngram_counts(py::module_& m) {
  m.def("ngram_counts", &ngram_counts, py::call_guard<py::gil_scoped_release>());
}

}  // namespace dftfast
