// One draw a row. The rows are shared out in sample_tokens.cpp; what is done to one is compiled per
// instruction set.
#pragma once

#include <cstdint>

namespace dftfast {

struct SamplerRow {
  float temperature;
  int32_t top_k;
  float top_p, min_p;
  int64_t seed, request_id, position;
};

struct Drawn {
  int64_t token;
  float logprob, sampler_logprob, entropy;
};

// Entries whose largest and whose mass are kept, so that a search can skip them.
constexpr int64_t kShare = 256;

// Room of one thread, for a row and a vector more.
struct SamplerScratch {
  float *value, *mass;            // the entries that a cut may keep, in vocabulary order
  int32_t* index;                 // and their places in the vocabulary
  float *some_value, *some_mass;  // those among which a selection still looks
  float* share_top;               // [shares]
  double* share_mass;             // [shares]
};

using DrawRow = Drawn (*)(const void* logits, int64_t vocab, const SamplerRow&,
                          const SamplerScratch&);

// By the logits' dtype: float32, bfloat16, float16.
namespace scalar {
extern const DrawRow draw_row[3];
}
namespace avx2 {
extern const DrawRow draw_row[3];
}
namespace avx512 {
extern const DrawRow draw_row[3];
}

}  // namespace dftfast
