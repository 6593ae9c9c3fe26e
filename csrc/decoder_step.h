// One forward pass of a decoder over a paged cache, in bf16, as the files of one instruction set provide it.
#pragma once

#include <cstdint>
#include <vector>

namespace dftfast {

struct LayerWeights {  // matrices packed by pack_matrix; norms bf16; null where the model has none
  const uint16_t *qkv, *qkv_bias, *o, *gate_up, *down, *input_norm, *post_norm, *q_norm, *k_norm;
};

struct DecoderWeights {
  std::vector<LayerWeights> layers;
  const uint16_t *embed, *norm, *head;  // embed as it is [V, hidden]; head packed
  int64_t hidden, inner, heads, kv_heads, head_dim, vocab;
  float eps;
};

struct DecoderStep {  // shapes as in kernels/decoder_step.py
  const int64_t *tokens, *slots;
  const float *cos, *sin;
  const int32_t* table;
  int64_t table_stride;
  const int32_t *query_offsets, *lengths;
  const int64_t* rows;
  int64_t num_tokens, num_sequences, num_rows;
  uint16_t* cache;  // [layers, 2, blocks, 16, kv_heads, head_dim]
  int64_t num_blocks;
  float* logits;
};

void pack_matrix_avx512bf16(const uint16_t* weight, int64_t out, int64_t in, uint16_t* packed, int threads);
// y[rows, out] = x[rows, in] Wᵀ + bias on a packed W, rounded to bf16 or left in fp32; bias may be null.
void packed_product_avx512bf16(const uint16_t* x, int64_t rows, int64_t in, const uint16_t* packed,
                               const uint16_t* bias, int64_t out, uint16_t* y, int threads);
void packed_product_avx512bf16(const uint16_t* x, int64_t rows, int64_t in, const uint16_t* packed,
                               const uint16_t* bias, int64_t out, float* y, int threads);
void decoder_step_avx512bf16(const DecoderWeights& weights, const DecoderStep& step, int threads);

}  // namespace dftfast
