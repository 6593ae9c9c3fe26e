// Exact n-gram counts. The keys of the batch are scattered once by their leading bits into parts of
// consecutive keys that fit the cache; each part is then radix sorted and its runs counted,
// independently of the others.
#include <omp.h>
#include <pybind11/stl.h>

#include <utility>

#include "bindings.h"
#include "ngram.h"

namespace py = pybind11;

namespace dftfast {
namespace {

constexpr int kDigitBits = 11;  // 2048 counters and write positions: within L1 and the TLB
constexpr int64_t kPartKeys = 16 * 1024;  // keys and scratch of a part stay in L2

int64_t leading(int64_t key) { return key; }
int64_t leading(WideKey key) { return key.high; }
int64_t trailing(int64_t) { return 0; }
int64_t trailing(WideKey key) { return key.low; }

int bit_length(int64_t value) { return value ? 64 - __builtin_clzll(value) : 0; }

// One stable pass of a least-significant-digit radix sort.
template <class Key, class Digit>
void radix_pass(const Key* from, Key* to, int64_t size, int bits, Digit digit) {
  int64_t next[1 << kDigitBits];
  std::fill(next, next + (1 << bits), 0);
  for (int64_t i = 0; i < size; ++i) ++next[digit(from[i])];
  int64_t sum = 0;
  for (int b = 0; b < 1 << bits; ++b) sum += std::exchange(next[b], sum);
  for (int64_t i = 0; i < size; ++i) to[next[digit(from[i])]++] = from[i];
}

// Sorts by the `bits` low bits of value(key); returns the buffer that holds the result.
template <class Key, class Value>
Key* radix_sort(Key* from, Key* to, int64_t size, int bits, Value value) {
  const int passes = (bits + kDigitBits - 1) / kDigitBits;
  const int width = passes ? (bits + passes - 1) / passes : 0;
  for (int p = 0; p < passes; ++p, std::swap(from, to))
    radix_pass(from, to, size, width,
               [&](Key key) { return (value(key) >> (p * width)) & ((int64_t{1} << width) - 1); });
  return from;
}

// Sorts the part, then writes its distinct keys to `keys` and how often each occurs to `scratch`.
// `low` is a lower bound of leading(key), `span` the number of bits that leading(key) - low needs.
template <class Key>
int64_t count_part(Key* keys, Key* scratch, int64_t size, int trailing_bits, int64_t low,
                   int span) {
  Key* sorted =
      radix_sort(keys, scratch, size, trailing_bits, [](Key key) { return trailing(key); });
  sorted = radix_sort(sorted, sorted == keys ? scratch : keys, size, span,
                      [low](Key key) { return leading(key) - low; });
  int64_t distinct = 0;
  for (int64_t i = 0; i < size;) {
    const Key key = sorted[i];
    const int64_t start = i;
    while (i < size && sorted[i] == key) ++i;
    keys[distinct] = key;
    *reinterpret_cast<int64_t*>(scratch + distinct++) = i - start;
  }
  return distinct;
}

using Slice = std::pair<int64_t, int64_t>;

template <class Key>
std::vector<Slice> count(const Ragged& r, int n, int64_t vocab, const uint8_t* excluded, Key* keys,
                         Key* scratch, int threads) {
  const bool wide = sizeof(Key) == sizeof(WideKey);
  const int leading_bits = key_bits(vocab, wide ? n / 2 : n);
  const int trailing_bits = wide ? key_bits(vocab, n - n / 2) : 0;
  const int shift = std::max(0, leading_bits - kDigitBits);
  const int64_t buckets = int64_t{1} << (leading_bits - shift);
  std::vector<int64_t> next(buckets * threads);
  std::vector<int64_t> part_begin, part_bucket;  // of every part, and one past the last
  const int64_t most_parts = std::min(buckets, r.size / kPartKeys + 1) + 1;
  part_begin.reserve(most_parts);  // memory must not run out inside the parallel region
  part_bucket.reserve(most_parts);

#pragma omp parallel num_threads(threads)
  {
    const int me = omp_get_thread_num(), team = omp_get_num_threads();
    const int64_t first = r.size * me / team, last = r.size * (me + 1) / team;
    int64_t* own = next.data() + me * buckets;
    auto for_each_key = [&](auto&& f) {
      for_each_end(r, n, excluded, first, last, [&](int64_t i) {
        Key key;
        read_key(r.tokens + i - n + 1, n, vocab, key);
        f(key);
      });
    };
    for_each_key([&](Key key) { ++own[leading(key) >> shift]; });
#pragma omp barrier
#pragma omp single
    {
      int64_t sum = 0;
      for (int64_t b = 0; b < buckets; ++b) {
        if (part_begin.empty() || sum - part_begin.back() >= kPartKeys) {
          part_begin.push_back(sum);
          part_bucket.push_back(b);
        }
        for (int t = 0; t < team; ++t) sum += std::exchange(next[t * buckets + b], sum);
      }
      part_begin.push_back(sum);
      part_bucket.push_back(buckets);
    }
    for_each_key([&](Key key) { keys[own[leading(key) >> shift]++] = key; });
  }

  const int64_t parts = static_cast<int64_t>(part_begin.size()) - 1;
  std::vector<Slice> slices(parts);
#pragma omp parallel for schedule(dynamic) num_threads(threads)
  for (int64_t p = 0; p < parts; ++p) {
    const int64_t begin = part_begin[p], size = part_begin[p + 1] - begin;
    const int span = shift + bit_length(part_bucket[p + 1] - part_bucket[p] - 1);
    const int64_t distinct = count_part(keys + begin, scratch + begin, size, trailing_bits,
                                        part_bucket[p] << shift, span);
    slices[p] = {begin, begin + distinct};
  }
  return slices;
}

// `keys` and `scratch` have room for a key a token. Returns slices that, concatenated, hold the
// distinct keys in ascending order; the same entry of `scratch` begins with the key's count.
std::vector<Slice> ngram_counts(Address tokens, int64_t size, Address offsets, int64_t sequences,
                                int n, int64_t vocab, Address exclude, int64_t exclude_size,
                                Address keys, Address scratch, bool wide, int threads) {
  Ragged r{at<const int64_t>(tokens), size, at<const int64_t>(offsets), sequences};
  check(r, vocab, threads);
  std::vector<uint8_t> excluded(exclude_size ? vocab : 0);
  for (int64_t i = 0; i < exclude_size; ++i) {
    int64_t token = at<const int64_t>(exclude)[i];
    if (token >= 0 && token < vocab) excluded[token] = 1;
  }
  auto run = [&](auto* typed_keys, auto* typed_scratch) {
    return count(r, n, vocab, exclude_size ? excluded.data() : nullptr, typed_keys, typed_scratch,
                 threads);
  };
  return wide ? run(at<WideKey>(keys), at<WideKey>(scratch))
              : run(at<int64_t>(keys), at<int64_t>(scratch));
}

}  // namespace

void bind_ngram_counts(py::module_& m) { m.def("ngram_counts", &ngram_counts, WithoutTheGil()); }

}  // namespace dftfast
