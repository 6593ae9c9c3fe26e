// One draw a row: the model's log-normaliser and entropy, the truncation as a threshold on the logit (ties kept), and the
// inverse of the distribution function over the kept tokens in vocabulary order.
#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

#include "sample_tokens.h"
#include "simd_avx512.h"

namespace dftfast {
namespace {

constexpr int64_t kShare = 256;  // tokens whose masses are summed before the search looks inside

// Salmon et al. 2011; the first word's top 23 bits, to (0, 1).
double philox_uniform(uint64_t seed, uint64_t position, uint64_t request) {
  uint32_t c[4] = {(uint32_t)position, (uint32_t)(position >> 32), (uint32_t)request, (uint32_t)(request >> 32)};
  uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
  for (int round = 0; round < 10; ++round, k0 += 0x9E3779B9u, k1 += 0xBB67AE85u) {
    const uint64_t a = (uint64_t)0xD2511F53u * c[0], b = (uint64_t)0xCD9E8D57u * c[2];
    const uint32_t next[4] = {(uint32_t)(b >> 32) ^ c[1] ^ k0, (uint32_t)b, (uint32_t)(a >> 32) ^ c[3] ^ k1, (uint32_t)a};
    std::copy_n(next, 4, c);
  }
  return ((c[0] >> 9) + 0.5) / 8388608.0;
}

__m512 load(const float* p, int64_t left) {
  const __mmask16 mask = left >= 16 ? 0xFFFF : (__mmask16)((1u << left) - 1);
  return _mm512_mask_loadu_ps(_mm512_set1_ps(-std::numeric_limits<float>::infinity()), mask, p);
}

float maximum(const float* x, int64_t n) {
  __m512 top = load(x, n);
  for (int64_t i = 16; i < n; i += 16) top = _mm512_max_ps(top, load(x + i, n - i));
  return _mm512_reduce_max_ps(top);
}

// mass[i] = exp((x[i] - top) / temperature) where x[i] >= floor, else 0, padded with zeros to a multiple of 16;
// share_mass[j] = sum of mass over share j. Returns the total.
double fill_masses(const float* x, int64_t n, float top, float inverse, float floor, float* mass, double* share_mass) {
  double total = 0;
  for (int64_t start = 0; start < n; start += kShare) {
    __m512 sum = _mm512_setzero_ps();
    for (int64_t i = start; i < std::min(n, start + kShare); i += 16) {
      const __m512 v = load(x + i, n - i);
      const __m512 e = exp16(_mm512_mul_ps(_mm512_sub_ps(v, _mm512_set1_ps(top)), _mm512_set1_ps(inverse)));
      const __m512 kept = _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(v, _mm512_set1_ps(floor), _CMP_GE_OQ), e);
      _mm512_storeu_ps(mass + i, kept);
      sum = _mm512_add_ps(sum, kept);
    }
    total += share_mass[start / kShare] = _mm512_reduce_add_ps(sum);
  }
  return total;
}

// Smallest logit that top-k, then top-p of what is left, then min-p keep.
float threshold(const SamplerRow& s, const float* x, int64_t n, float top, float inverse, std::vector<float>& sorted) {
  float floor = -std::numeric_limits<float>::infinity();
  const bool cut_k = s.top_k > 0 && s.top_k < n;
  if (cut_k || s.top_p < 1) {
    sorted.assign(x, x + n);
    if (cut_k) {
      std::nth_element(sorted.begin(), sorted.begin() + s.top_k - 1, sorted.end(), std::greater<float>());
      floor = sorted[s.top_k - 1];
      sorted.erase(std::remove_if(sorted.begin(), sorted.end(), [&](float v) { return v < floor; }), sorted.end());
    }
    if (s.top_p < 1) {
      std::sort(sorted.begin(), sorted.end(), std::greater<float>());
      double total = 0, running = 0;
      for (float v : sorted) total += std::exp((double)(v - top) * inverse);
      for (float v : sorted) {
        running += std::exp((double)(v - top) * inverse);
        floor = v;
        if (running >= s.top_p * total) break;
      }
    }
  }
  if (s.min_p > 0) floor = std::max(floor, top + std::log(s.min_p) / inverse);
  return std::min(floor, top);
}

}  // namespace

Drawn sample_row_avx512(const float* x, int64_t n, const SamplerRow& s, std::vector<float>& mass,
                        std::vector<float>& sorted) {
  const float top = maximum(x, n), none = -std::numeric_limits<float>::infinity();
  mass.resize((n + 15) / 16 * 16);
  std::vector<double> share_mass((n + kShare - 1) / kShare);
  const double z = fill_masses(x, n, top, 1, none, mass.data(), share_mass.data());
  double weighted = 0;
  for (int64_t start = 0; start < n; start += kShare) {
    __m512 sum = _mm512_setzero_ps();
    for (int64_t i = start; i < std::min(n, start + kShare); i += 16) {
      const __m512 e = _mm512_loadu_ps(&mass[i]);
      const __mmask16 some = _mm512_cmp_ps_mask(e, _mm512_setzero_ps(), _CMP_GT_OQ);  // 0 · -inf counts as 0
      sum = _mm512_mask3_fmadd_ps(e, _mm512_sub_ps(load(x + i, n - i), _mm512_set1_ps(top)), sum, some);
    }
    weighted += _mm512_reduce_add_ps(sum);
  }
  const double log_z = std::log(z);
  Drawn drawn{0, 0, 0, (float)(log_z - weighted / z)};
  if (s.temperature == 0) {
    drawn.token = std::max_element(x, x + n) - x;
  } else {
    const float inverse = 1 / s.temperature;
    double kept = z;
    if (s.temperature != 1 || s.top_k || s.top_p < 1 || s.min_p > 0)
      kept = fill_masses(x, n, top, inverse, threshold(s, x, n, top, inverse, sorted), mass.data(), share_mass.data());
    const double target = philox_uniform(s.seed, s.position, s.request_id) * kept;
    double running = 0;
    size_t share = 0;
    while (share + 1 < share_mass.size() && running + share_mass[share] < target) running += share_mass[share++];
    const int64_t end = std::min<int64_t>(n, (share + 1) * kShare);
    drawn.token = -1;
    for (int64_t i = share * kShare; i < end; ++i) {
      if (!(mass[i] > 0)) continue;
      drawn.token = i;  // rounding may leave the sum below the target: then the last kept of the share
      if ((running += mass[i]) >= target) break;
    }
    if (drawn.token < 0) drawn.token = std::max_element(x, x + n) - x;
    drawn.sampler_logprob = (float)((x[drawn.token] - top) * inverse - std::log(kept));
  }
  drawn.logprob = (float)(x[drawn.token] - top - log_z);
  return drawn;
}

}  // namespace dftfast
