// What the passes of attention share: tasks and their memory, rows widened to fp32 and back.
//
// A task is one document (or cached sequence) and one key head: its keys and values are widened to
// fp32 once, and the query heads that share them are the rows of its tiles, token by token.
#pragma once

#include <omp.h>

#include <algorithm>

#include "attention.h"
#include "scratch.h"
#include "tile_product.h"

namespace dftfast {
namespace DFTFAST_SIMD {
namespace {

constexpr float kInfinity = __builtin_inff();

struct Shape {
  int64_t group;   // query heads that share a key head
  int64_t dim;     // of a head
  int64_t row;     // dim in whole vectors: the length of a row of scratch memory
  int64_t tokens;  // whose queries are taken together
  int64_t rows;    // of such a block: its tokens' queries, `group` each
  int64_t keys;    // of the longest task in whole panels

  Shape(const Heads& heads, int64_t longest)
      : group(heads.query / heads.key),
        dim(heads.dim),
        row(round_up(dim, kWidth)),
        tokens(std::max<int64_t>(1, 48 / group)),
        rows(tokens * group),
        keys(round_up(longest, kPanel)) {}
};

// Calls task(i, memory) for every i, on threads that have `floats` of aligned memory each.
template <class Task>
void for_each_task(int64_t tasks, int threads, int64_t floats, const Task& task) {
  threads = static_cast<int>(std::max<int64_t>(1, std::min<int64_t>(threads, tasks)));
  const Scratch<float> memory(floats, threads);
#pragma omp parallel for num_threads(threads) schedule(dynamic)
  for (int64_t i = 0; i < tasks; ++i) task(i, memory.of(omp_get_thread_num()));
}

// The next `floats` of a task's memory, which then begins after them.
inline float* take_buffer(float*& memory, int64_t floats) {
  float* buffer = memory;
  memory += round_up(floats, 16);
  return buffer;
}

// out [n, row] = factor * rows at(0), at(1), ... of x [.., dim]
template <class T, class At>
void widen(const T* x, const At& at, int64_t n, float factor, const Shape& s, float* out) {
  for (int64_t j = 0; j < n; ++j) {
    const T* from = x + at(j) * s.dim;
    for (int64_t i = 0; i < s.dim; i += kWidth)
      (load_at(from, i, s.dim) * Floats::all(factor)).store(out + j * s.row + i);
  }
}

// The same rows as columns, kPanel of them side by side.
template <class T, class At>
void transpose(const T* x, const At& at, int64_t n, const Shape& s, float* out) {
  float lanes[kWidth];
  for (int64_t j = 0; j < n; ++j) {
    const T* from = x + at(j) * s.dim;
    float* to = out + j / kPanel * s.dim * kPanel + j % kPanel;
    for (int64_t i = 0; i < s.dim; i += kWidth) {
      load_at(from, i, s.dim).store(lanes);
      for (int64_t lane = 0; lane < std::min<int64_t>(kWidth, s.dim - i); ++lane)
        to[(i + lane) * kPanel] = lanes[lane];
    }
  }
}

// x's rows at(0), at(1), ... = factor * rows [n, row]
template <class T, class At>
void narrow(const float* rows, const At& at, int64_t n, float factor, const Shape& s, T* x) {
  for (int64_t j = 0; j < n; ++j) {
    T* to = x + at(j) * s.dim;
    for (int64_t i = 0; i < s.dim; i += kWidth)
      store_at(Floats::load(rows + j * s.row + i) * Floats::all(factor), to, i, s.dim);
  }
}

// Σ x y over a head: with dout and out it is Σ p dp of the row (FlashAttention-2, algorithm 2).
template <class T>
float row_product(const T* x, const T* y, int64_t dim) {
  Floats sum = Floats::all(0);
  for (int64_t i = 0; i < dim; i += kWidth) sum = fma(load_at(x, i, dim), load_at(y, i, dim), sum);
  return sum.sum();
}

inline PanelMatrix as_transposed_panels(const float* x, const Shape& s) {
  return {x, kPanel, s.dim * kPanel};
}
inline PanelMatrix as_row_panels(const float* x, const Shape& s) { return {x, s.row, kPanel}; }

inline int64_t longest_document(const Packed& p) {
  int64_t found = 0;
  for (int64_t i = 0; i < p.documents; ++i)
    found = std::max(found, p.offsets[i + 1] - p.offsets[i]);
  return found;
}

// A document and a key head. Its queries are those of the tokens from `past` on.
struct Task {
  const Packed& p;
  int64_t head, begin, length, past;

  int64_t head_at(int64_t r) const {  // the row of query r among all heads
    const int64_t group = p.heads.query / p.heads.key, token = begin + past + r / group;
    return (p.rows[token] * p.heads.key + head) * group + r % group;
  }
  int64_t key_at(int64_t j) const { return p.rows[begin + j] * p.heads.key + head; }
  // Where the gradient of key j goes, if documents have keys in common: to a row of the token's
  // own.
  int64_t gradient_at(int64_t j) const {
    return p.shared ? (begin + j) * p.heads.key + head : key_at(j);
  }
  int64_t queries() const { return length - past; }
};

// Calls body(task, memory) for every document and key head.
template <class Body>
void for_each_document(const Packed& p, int64_t memory, const Body& body) {
  for_each_task(p.documents * p.heads.key, p.threads, memory, [&](int64_t i, float* own) {
    const int64_t document = i / p.heads.key, begin = p.offsets[document];
    const int64_t length = p.offsets[document + 1] - begin, past = p.past[document];
    if (past < length) body(Task{p, i % p.heads.key, begin, length, past}, own);
  });
}

// Gradients of keys or values. Where documents have some in common, each has a row of its own for
// every token, and `add_up` adds those of a row, in the order of the tokens.
template <class T>
class KeyGradients {
 public:
  KeyGradients(const Packed& p, T* rows)
      : p_(p),
        width_(p.heads.key * p.heads.dim),
        rows_(rows),
        tokens_(p.shared ? p.offsets[p.documents] * width_ : 0) {}
  T* data() const { return p_.shared ? tokens_.data() : rows_; }

  void add_up() const {
    if (!p_.shared) return;
    const Scratch<float> sums(p_.num_rows * width_);
#pragma omp parallel for num_threads(p_.threads)
    for (int64_t i = 0; i < width_; i += kWidth) {
      for (int64_t r = 0; r < p_.num_rows; ++r)
        store_at(Floats::all(0), &sums[r * width_], i, width_);
      for (int64_t d = 0; d < p_.documents; ++d)
        for (int64_t t = p_.offsets[d]; t < p_.offsets[d + 1] && has_queries(d); ++t) {
          float* sum = &sums[p_.rows[t] * width_];
          store_at(load_at(sum, i, width_) + load_at(&tokens_[t * width_], i, width_), sum, i,
                   width_);
        }
      for (int64_t r = 0; r < p_.num_rows; ++r)
        store_at(load_at(&sums[r * width_], i, width_), rows_ + r * width_, i, width_);
    }
  }

 private:
  bool has_queries(int64_t d) const { return p_.past[d] < p_.offsets[d + 1] - p_.offsets[d]; }

  const Packed& p_;
  int64_t width_;
  T* rows_;
  Scratch<T> tokens_;
};

}  // namespace
}  // namespace DFTFAST_SIMD
}  // namespace dftfast
