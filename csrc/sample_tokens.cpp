// Bindings of the sampler.
#include "sample_tokens.h"

#include <pybind11/pybind11.h>

namespace py = pybind11;

namespace dftfast {
namespace {

void sample_tokens(int64_t logits, int64_t rows, int64_t vocab, int64_t temperature, int64_t top_k, int64_t top_p,
                   int64_t min_p, int64_t seed, int64_t request_id, int64_t position, int64_t token, int64_t logprob,
                   int64_t sampler_logprob, int64_t entropy, int threads) {
  const auto real = [](int64_t address) { return reinterpret_cast<float*>(address); };
  const auto whole = [](int64_t address) { return reinterpret_cast<int64_t*>(address); };
#pragma omp parallel num_threads(threads)
  {
    std::vector<float> mass, sorted;
#pragma omp for schedule(dynamic, 1)
    for (int64_t i = 0; i < rows; ++i) {
      const SamplerRow settings{real(temperature)[i], reinterpret_cast<int32_t*>(top_k)[i], real(top_p)[i],
                                real(min_p)[i],       whole(seed)[i], whole(request_id)[i], whole(position)[i]};
      const Drawn drawn = sample_row_avx512(real(logits) + i * vocab, vocab, settings, mass, sorted);
      whole(token)[i] = drawn.token;
      real(logprob)[i] = drawn.logprob;
      real(sampler_logprob)[i] = drawn.sampler_logprob;
      real(entropy)[i] = drawn.entropy;
    }
  }
}

}  // namespace

void bind_sample_tokens(py::module_& m) {
  m.def("sample_tokens", &sample_tokens, py::call_guard<py::gil_scoped_release>());
}

}  // namespace dftfast
