// A decoder's forward pass over a paged bf16 cache, as the files of one instruction set provide it.
#pragma once

#include <cstdint>

#include "simd.h"

namespace dftfast {

struct LayerWeights {  // matrices packed; null where the model has none
  const bfloat16 *qkv, *qkv_bias, *o, *gate_up, *down, *input_norm, *post_norm, *q_norm, *k_norm;
};

struct DecoderWeights {
  const LayerWeights* layers;
  int64_t num_layers;
  const bfloat16 *embed, *norm, *head;  // embed as it is [V, hidden]; head packed
  int64_t hidden, inner, heads, kv_heads, head_dim, vocab;
  float eps;
};

struct DecoderStep {  // shapes as in kernels/cpu_decoder.py
  const int64_t *tokens, *slots;
  const float *cos, *sin;
  const int32_t* table;
  int64_t table_stride;
  const int32_t *query_offsets, *lengths;
  const int64_t* rows;
  int64_t num_tokens, num_sequences, num_rows;
  // [layers, blocks, kv_heads, keys and values as paged_attention_kernel.h has them]
  bfloat16* cache;
  int64_t num_blocks;
  float* logits;
};

// y[rows, out] = x[rows, in] Wᵀ + bias on a packed W; bias may be null.
template <class Out>
using Product = void(const bfloat16* x, int64_t rows, int64_t in, const bfloat16* packed,
                     const bfloat16* bias, int64_t out, Out* y, int threads);

struct DecoderKernels {
  int64_t panel;  // outputs of a packed matrix are padded to a multiple of this; `in` is even
  void (*pack)(const bfloat16* weight, int64_t out, int64_t in, bfloat16* packed, int threads);
  Product<bfloat16>* product;
  Product<float>* product_wide;
  void (*step)(const DecoderWeights&, const DecoderStep&, int threads);
};

namespace scalar {
extern const DecoderKernels decoder_kernels;
}
namespace avx2 {
extern const DecoderKernels decoder_kernels;
}
namespace avx512 {
extern const DecoderKernels decoder_kernels;
}
namespace avx512bf16 {
extern const DecoderKernels decoder_kernels;
}
namespace amx {
extern const DecoderKernels decoder_kernels;
}

}  // namespace dftfast
