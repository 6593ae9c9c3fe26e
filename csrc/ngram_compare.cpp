// Two sorted histograms merged into their distances, and look-up of every token's n-gram in one.
#include <omp.h>

#include <cmath>

#include "bindings.h"
#include "ngram.h"

namespace py = pybind11;

namespace dftfast {
namespace {

template <class Key>
struct Histogram {
  const Key* keys;
  const int64_t* counts;
  int64_t size;
  double total() const {
    int64_t sum = 0;
    for (int64_t i = 0; i < size; ++i) sum += counts[i];
    return static_cast<double>(sum);
  }
};

struct Sums {
  double squares = 0, divergence = 0;
  void add(double p, double q) {
    squares += (p - q) * (p - q);
    if (p > 0) divergence += p * std::log2(2 * p / (p + q));
    if (q > 0) divergence += q * std::log2(2 * q / (p + q));
  }
};

// out: Euclidean distance, Jensen-Shannon divergence in bits, of the normalised histograms.
template <class Key>
void distances(Histogram<Key> p, Histogram<Key> q, double* out, int threads) {
  const double total_p = p.total(), total_q = q.total();
  for (const Histogram<Key>& histogram : {p, q})
    for (int64_t i = 1; i < histogram.size; ++i)
      if (!(histogram.keys[i - 1] < histogram.keys[i]))
        throw std::invalid_argument("n-gram keys must ascend; key " + std::to_string(i) +
                                    " does not");
  std::vector<Sums> partial(threads);
#pragma omp parallel num_threads(threads)
  {
    const int me = omp_get_thread_num(), team = omp_get_num_threads();
    // Shares of p, and of q the keys that fall between their borders.
    auto border_p = [&](int part) { return p.size * part / team; };
    auto border_q = [&](int part) {
      if (part == 0) return int64_t{0};
      if (border_p(part) == p.size) return q.size;
      return static_cast<int64_t>(
          std::lower_bound(q.keys, q.keys + q.size, p.keys[border_p(part)]) - q.keys);
    };
    int64_t i = border_p(me), j = border_q(me);
    const int64_t end_p = border_p(me + 1), end_q = border_q(me + 1);
    Sums sums;
    while (i < end_p && j < end_q) {
      if (p.keys[i] < q.keys[j]) sums.add(p.counts[i++] / total_p, 0);
      else if (q.keys[j] < p.keys[i]) sums.add(0, q.counts[j++] / total_q);
      else sums.add(p.counts[i++] / total_p, q.counts[j++] / total_q);
    }
    for (; i < end_p; ++i) sums.add(p.counts[i] / total_p, 0);
    for (; j < end_q; ++j) sums.add(0, q.counts[j] / total_q);
    partial[me] = sums;
  }
  double squares = 0, divergence = 0;
  for (const Sums& s : partial) squares += s.squares, divergence += s.divergence;
  out[0] = std::sqrt(squares);
  out[1] = std::min(1.0, std::max(0.0, divergence / 2));
}

int64_t leading(int64_t key) { return key; }
int64_t leading(WideKey key) { return key.high; }

// Where the keys with each leading bits begin: cuts the binary search to a few steps.
template <class Key>
struct PrefixIndex {
  int shift;
  std::vector<int64_t> start;

  PrefixIndex(const Key* keys, int64_t size, int bits) {
    int prefix_bits = 1;
    while (prefix_bits < 20 && prefix_bits < bits && (int64_t{1} << prefix_bits) < size)
      ++prefix_bits;
    shift = std::max(0, bits - prefix_bits);
    start.assign((int64_t{1} << prefix_bits) + 1, size);
    int64_t next = 0;
    for (int64_t i = 0; i < size; ++i) {
      int64_t prefix = leading(keys[i]) >> shift;
      if ((i && !(keys[i - 1] < keys[i])) || prefix < 0 || prefix >= int64_t{1} << prefix_bits)
        throw std::invalid_argument(
            "n-gram keys must ascend and be of this n and vocabulary; key " + std::to_string(i) +
            " is not");
      while (next <= prefix) start[next++] = i;
    }
  }
};

template <class Key>
void lookup(const Ragged& r, int n, int64_t vocab, const Key* keys, const float* values,
            int64_t size, int bits, float* out, int threads) {
  PrefixIndex<Key> index(keys, size, bits);
#pragma omp parallel num_threads(threads)
  {
    const int me = omp_get_thread_num(), team = omp_get_num_threads();
    for_each_end(r, n, nullptr, r.size * me / team, r.size * (me + 1) / team, [&](int64_t i) {
      Key key;
      read_key(r.tokens + i - n + 1, n, vocab, key);
      const int64_t* range = index.start.data() + (leading(key) >> index.shift);
      const Key* found = std::lower_bound(keys + range[0], keys + range[1], key);
      if (found < keys + range[1] && *found == key) out[i] = values[found - keys];
    });
  }
}

void ngram_distances(Address keys_p, Address counts_p, int64_t size_p, Address keys_q,
                     Address counts_q, int64_t size_q, Address out, bool wide, int threads) {
  auto run = [&](auto key) {
    using Key = decltype(key);
    distances<Key>({at<Key>(keys_p), at<int64_t>(counts_p), size_p},
                   {at<Key>(keys_q), at<int64_t>(counts_q), size_q}, at<double>(out), threads);
  };
  wide ? run(WideKey{}) : run(int64_t{});
}

// `out` comes filled with the default.
void ngram_lookup(Address tokens, int64_t size, Address offsets, int64_t sequences, int n,
                  int64_t vocab, Address keys, Address values, int64_t keys_size, Address out,
                  bool wide, int threads) {
  Ragged r{at<int64_t>(tokens), size, at<int64_t>(offsets), sequences};
  check(r, vocab, threads);
  auto run = [&](auto key) {
    using Key = decltype(key);
    lookup<Key>(r, n, vocab, at<Key>(keys), at<float>(values), keys_size,
                key_bits(vocab, wide ? n / 2 : n), at<float>(out), threads);
  };
  wide ? run(WideKey{}) : run(int64_t{});
}

}  // namespace

void bind_ngram_compare(py::module_& m) {
  m.def("ngram_distances", &ngram_distances, WithoutTheGil());
  m.def("ngram_lookup", &ngram_lookup, WithoutTheGil());
}

}  // namespace dftfast
