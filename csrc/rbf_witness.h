// What is done to a block of dot products x·y between the matrix products of the kernel means.
#pragma once

#include <cstdint>

namespace dftfast {

// Rows row..row+rows of x against rows column..column+columns of y.
struct RbfTile {
  float* dots;  // [rows, columns] products of the centred points
  int64_t rows, columns, row, column;
  const float *x, *y;  // [n, d], [m, d] as given: near pairs are computed again from them
  int64_t d;
  const float *x_norm, *y_norm;  // squared norms of the centred points
  const float* rate;             // [k] 1 / (2 h²)
  int64_t k;
  bool exclude_diagonal;
  int threads;
};

struct RbfKernels {
  // sums[row + i, k] += Σ_j exp(-rate_k |x_i - y_j|²)
  void (*values)(const RbfTile&, double* sums);
  // dots[i, j] = Σ_k factor[row + i, k] exp(-rate_k |x_i - y_j|²);
  // row_sums[row + i] += Σ_j dots[i, j]
  void (*weights)(const RbfTile&, const float* factor, float* row_sums);
};

namespace scalar {
extern const RbfKernels rbf_kernels;
}
namespace avx2 {
extern const RbfKernels rbf_kernels;
}
namespace avx512 {
extern const RbfKernels rbf_kernels;
}

}  // namespace dftfast
