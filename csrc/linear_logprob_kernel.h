// The body of linear_logprob*.cpp, compiled once for each instruction set.
#include <cmath>

#include "linear_logprob.h"
#include "simd.h"

namespace dftfast {
namespace DFTFAST_SIMD {

constexpr int64_t kBlock = 4096;   // entries summed in float before the sum moves to a double
constexpr float kLowest = -1e30f;  // stands in for -inf where it meets a factor of zero

// Calls f(first entry, logits / temperature, entries) along the row; a last partial vector is
// filled with -inf.
template <class T, class F>
inline void along(T* row, int64_t begin, int64_t end, float inverse_temperature, F&& f) {
  const Floats factor = Floats::all(inverse_temperature);
  int64_t i = begin;
  for (; i + Floats::width <= end; i += Floats::width)
    f(row + i, Floats::load(row + i) * factor, Floats::width);
  if (i < end)
    f(row + i, load_part(row + i, end - i, -__builtin_inff()) * factor, static_cast<int>(end - i));
}

template <class T>
void forward_row(const LogprobTile& t, int64_t r, float* logprob, float* entropy, float* lse) {
  T* row = static_cast<T*>(t.logits) + r * t.vocab;
  Floats top = Floats::all(-__builtin_inff());
  along(row, 0, t.vocab, t.inverse_temperature, [&](T*, Floats z, int) { top = max(top, z); });
  const Floats highest = Floats::all(top.max());
  double sum = 0, weighted = 0;  // of e^(z - max), and of that times z - max
  for (int64_t begin = 0; begin < t.vocab; begin += kBlock) {
    const int64_t end = begin + kBlock < t.vocab ? begin + kBlock : t.vocab;
    Floats s = Floats::all(0), w = Floats::all(0);
    along(row, begin, end, t.inverse_temperature, [&](T*, Floats z, int) {
      Floats below = max(Floats::all(kLowest), z - highest), e = exp(below);
      s = s + e;
      w = fma(e, below, w);
    });
    sum += s.sum();
    weighted += w.sum();
  }
  const double log_sum = std::log(sum), max_logit = top.max();
  T wanted[Floats::width] = {row[t.target[r]]};
  float lanes[Floats::width];
  (Floats::load(wanted) * Floats::all(t.inverse_temperature)).store(lanes);
  lse[r] = static_cast<float>(max_logit + log_sum);
  logprob[r] = static_cast<float>(lanes[0] - max_logit - log_sum);
  entropy[r] = static_cast<float>(log_sum - weighted / sum);
}

// With z = logit / temperature:
// d logprob / d z_v = [v = target] - p_v;  d entropy / d z_v = -p_v (log p_v + entropy).
template <class T>
void backward_row(const LogprobTile& t, int64_t r, const float* lse, const float* entropy,
                  const float* grad_logprob, const float* grad_entropy) {
  T* row = static_cast<T*>(t.logits) + r * t.vocab;
  const Floats log_total = Floats::all(lse[r]);
  const float own = grad_logprob[r] * t.inverse_temperature;
  const float by_entropy = grad_entropy ? grad_entropy[r] * t.inverse_temperature : 0.0f;
  const Floats constant = Floats::all(-own - (grad_entropy ? by_entropy * entropy[r] : 0.0f));
  const Floats slope = Floats::all(-by_entropy);
  float at_target = 0;
  {
    T wanted[Floats::width] = {row[t.target[r]]};
    Floats logp = Floats::load(wanted) * Floats::all(t.inverse_temperature) - log_total;
    float lanes[Floats::width];
    fma(exp(logp), fma(slope, logp, constant), Floats::all(own)).store(lanes);
    at_target = lanes[0];
  }
  along(row, 0, t.vocab, t.inverse_temperature, [&](T* at, Floats z, int n) {
    Floats logp = max(Floats::all(kLowest), z - log_total);
    Floats g = exp(logp) * fma(slope, logp, constant);
    n == Floats::width ? g.store(at) : store_part(g, at, n);
  });
  store_part(Floats::all(at_target), row + t.target[r], 1);
}

template <class T>
void forward(const LogprobTile& t, float* logprob, float* entropy, float* lse) {
#pragma omp parallel for num_threads(t.threads)
  for (int64_t r = 0; r < t.rows; ++r) forward_row<T>(t, r, logprob, entropy, lse);
}

template <class T>
void backward(const LogprobTile& t, const float* lse, const float* entropy,
              const float* grad_logprob, const float* grad_entropy) {
#pragma omp parallel for num_threads(t.threads)
  for (int64_t r = 0; r < t.rows; ++r)
    backward_row<T>(t, r, lse, entropy, grad_logprob, grad_entropy);
}

// A row's gradient is computed while the row is in the cache.
template <class T>
void forward_backward(const LogprobTile& t, float* logprob, float* entropy, float* lse,
                      const float* grad_logprob) {
#pragma omp parallel for num_threads(t.threads)
  for (int64_t r = 0; r < t.rows; ++r) {
    forward_row<T>(t, r, logprob, entropy, lse);
    backward_row<T>(t, r, lse, entropy, grad_logprob, nullptr);
  }
}

template <class T>
constexpr LogprobKernels kernels_of = {forward<T>, backward<T>, forward_backward<T>};

extern const LogprobKernels logprob_kernels[3] = {kernels_of<float>, kernels_of<bfloat16>,
                                                  kernels_of<float16>};

}  // namespace DFTFAST_SIMD
}  // namespace dftfast
