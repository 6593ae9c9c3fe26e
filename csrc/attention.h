// Causal attention with sums in fp32, over packed documents with its gradients or a paged cache.
#pragma once

#include <cstdint>

#include "dtype.h"

namespace dftfast {

struct Heads {  // query head h attends to key head h / (query / key)
  int64_t query, key, dim;

  bool fill_tiles() const { return dim % 32 == 0; }  // those of AMX
};

// q [U, H, D], k and v [U, Hk, D]; document i is tokens offsets[i] .. offsets[i + 1], in row
// rows[t] each. Its first past[i] tokens an earlier document has as well: their queries are that
// one's.
struct Packed {
  Dtype dtype;
  Heads heads;
  const int64_t *offsets, *rows, *past;
  int64_t documents, num_rows;
  int threads;
  bool shared;  // whether any document has tokens in common with another one
};

// Caches [blocks, page, Hk, D]; query i of n sees the first length - n + i + 1 positions of its
// sequence.
struct Paged {
  Dtype dtype;
  Heads heads;
  const int32_t *query_offsets, *lengths, *table;
  int64_t sequences, table_width, page;
  float scale;
  int threads;
};

struct AttentionKernels {
  // lse [T, H]: log of the sum of the exponentials of each row's scores
  void (*forward)(const Packed&, const void* q, const void* k, const void* v, void* out,
                  float* lse);
  void (*backward)(const Packed&, const void* dout, const void* q, const void* k, const void* v,
                   const void* out, const float* lse, void* dq, void* dk, void* dv);
  void (*paged)(const Paged&, const void* q, const void* k_cache, const void* v_cache, void* out);
};

namespace scalar {
extern const AttentionKernels attention_kernels;
}
namespace avx2 {
extern const AttentionKernels attention_kernels;
}
namespace avx512 {
extern const AttentionKernels attention_kernels;
}
namespace amx {
extern const AttentionKernels attention_kernels;
}

}  // namespace dftfast
