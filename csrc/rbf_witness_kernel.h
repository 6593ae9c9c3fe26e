// The body of rbf_witness*.cpp, compiled once for each instruction set.
#include "rbf_witness.h"
#include "simd.h"

namespace dftfast {
namespace DFTFAST_SIMD {

// |x|² + |y|² - 2 x·y carries an error of about 1e-7 (|x|² + |y|²). Where the distance is below
// this share of the norms it is computed again as |x - y|²: coinciding points are at distance 0
// then, and near ones keep their digits.
constexpr float kNear = 1e-3f;

inline float direct_distance(const float* x, const float* y, int64_t d) {
  Floats sum = Floats::all(0);
  int64_t i = 0;
  for (; i + Floats::width <= d; i += Floats::width) {
    Floats difference = Floats::load(x + i) - Floats::load(y + i);
    sum = fma(difference, difference, sum);
  }
  if (i < d) {
    Floats difference = load_part(x + i, d - i, 0) - load_part(y + i, d - i, 0);
    sum = fma(difference, difference, sum);
  }
  return sum.sum();
}

// Dot products of one row become squared distances; infinite at an excluded pair, whose kernel is
// then exactly 0.
inline void distances(const RbfTile& t, int64_t r) {
  float* row = t.dots + r * t.columns;
  const float *x = t.x + (t.row + r) * t.d, *y_norm = t.y_norm + t.column;
  const Floats x_norm = Floats::all(t.x_norm[t.row + r]);
  const Floats near = Floats::all(kNear), minus_two = Floats::all(-2);
  auto convert = [&](int64_t j, int n) {
    const bool full = n == Floats::width;
    Floats norms = x_norm + (full ? Floats::load(y_norm + j) : load_part(y_norm + j, n, 1));
    Floats squared = fma(minus_two, full ? Floats::load(row + j) : load_part(row + j, n, 0), norms);
    full ? squared.store(row + j) : store_part(squared, row + j, n);
    // NaN and inf - inf as well
    unsigned again = Floats::not_greater(squared, near * norms) & ((1u << n) - 1);
    for (; again; again &= again - 1) {
      const int64_t at = j + __builtin_ctz(again);
      row[at] = direct_distance(x, t.y + (t.column + at) * t.d, t.d);
    }
  };
  int64_t j = 0;
  for (; j + Floats::width <= t.columns; j += Floats::width) convert(j, Floats::width);
  if (j < t.columns) convert(j, static_cast<int>(t.columns - j));
  const int64_t diagonal = t.row + r - t.column;
  if (t.exclude_diagonal && diagonal >= 0 && diagonal < t.columns) row[diagonal] = __builtin_inff();
}

inline Floats distance_part(const float* row, int64_t j, int64_t columns) {
  return j + Floats::width <= columns
             ? Floats::load(row + j)
             : load_part(row + j, static_cast<int>(columns - j), __builtin_inff());
}

void values(const RbfTile& t, double* sums) {
#pragma omp parallel for num_threads(t.threads)
  for (int64_t r = 0; r < t.rows; ++r) {
    distances(t, r);
    const float* row = t.dots + r * t.columns;
    for (int64_t k = 0; k < t.k; ++k) {
      const Floats rate = Floats::all(-t.rate[k]);
      Floats sum = Floats::all(0);
      for (int64_t j = 0; j < t.columns; j += Floats::width)
        sum = sum + exp(rate * distance_part(row, j, t.columns));
      sums[(t.row + r) * t.k + k] += sum.sum();
    }
  }
}

void weights(const RbfTile& t, const float* factor, float* row_sums) {
#pragma omp parallel for num_threads(t.threads)
  for (int64_t r = 0; r < t.rows; ++r) {
    distances(t, r);
    float* row = t.dots + r * t.columns;
    const float* own = factor + (t.row + r) * t.k;
    Floats total = Floats::all(0);
    for (int64_t j = 0; j < t.columns; j += Floats::width) {
      const Floats squared = distance_part(row, j, t.columns);
      Floats sum = Floats::all(0);
      for (int64_t k = 0; k < t.k; ++k)
        sum = fma(Floats::all(own[k]), exp(squared * Floats::all(-t.rate[k])), sum);
      total = total + sum;
      j + Floats::width <= t.columns ? sum.store(row + j)
                                     : store_part(sum, row + j, static_cast<int>(t.columns - j));
    }
    row_sums[t.row + r] += total.sum();
  }
}

extern const RbfKernels rbf_kernels = {values, weights};

}  // namespace DFTFAST_SIMD
}  // namespace dftfast
