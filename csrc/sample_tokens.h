// A row's sampler settings and the outcome of its draw.
#pragma once

#include <cstdint>
#include <vector>

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

// `mass` and `sorted` are scratch space.
Drawn sample_row_avx512(const float* logits, int64_t vocab, const SamplerRow& settings, std::vector<float>& mass,
                        std::vector<float>& sorted);

}  // namespace dftfast
