// The low-rank part of a linear layer on AMX tiles: what it adds to a product that a library has
// made, and its gradients, each in one pass over the tokens.
#pragma once

#include <cstdint>

#include "floats.h"

namespace dftfast {

// x [T, in], a [parts·rank, in], b [out, rank], u [T, parts·rank], y [T, out] in bf16. Part i has
// widths[i] columns of y. `in` and the widths are multiples of 32.
struct LowRank {
  int64_t in, out, rank, parts;
  const int64_t* widths;
  const bfloat16 *a, *b;
  float scale;
};
struct Rows {
  int64_t tokens;
  int threads;
};

struct LowRankGradients {  // of a and b in fp32; null where not wanted
  bfloat16* dx;            // added to
  float *da, *db;
};

namespace amx {
// u = x aᵀ; y += scale·u bᵀ, part by part
void low_rank(const LowRank&, const Rows&, const bfloat16* x, bfloat16* u, bfloat16* y);
void low_rank_backward(const LowRank&, const Rows&, const bfloat16* dy, const bfloat16* x,
                       const bfloat16* u, const LowRankGradients&);
}  // namespace amx

}  // namespace dftfast
