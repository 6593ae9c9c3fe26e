// Binding of the sampler, the choice of instruction set, and the rows shared out among the threads.
#include <pybind11/pybind11.h>

#include <vector>

#include "cpu.h"
#include "sample_tokens_kernel.h"  // the scalar path

namespace py = pybind11;

namespace dftfast {
namespace {

const DrawRow* draw_rows() {
#if defined(__x86_64__)
  if (isa() >= Isa::avx512) return avx512::draw_row;
  if (isa() >= Isa::avx2) return avx2::draw_row;
#endif
  return scalar::draw_row;
}

void sample_tokens(int64_t logits, int dtype, int64_t rows, int64_t vocab, int64_t temperature,
                   int64_t top_k, int64_t top_p, int64_t min_p, int64_t seed, int64_t request_id,
                   int64_t position, int64_t token, int64_t logprob, int64_t sampler_logprob,
                   int64_t entropy, int threads) {
  const auto real = [](int64_t address) { return reinterpret_cast<float*>(address); };
  const auto whole = [](int64_t address) { return reinterpret_cast<int64_t*>(address); };
  const int64_t room = vocab + 16, shares = (vocab + kShare - 1) / kShare;
  const int64_t row_bytes = vocab * (dtype ? 2 : 4);
  const DrawRow draw_row = draw_rows()[dtype];
#pragma omp parallel num_threads(threads)
  {
    std::vector<float> floats(4 * room + shares);
    std::vector<int32_t> index(vocab);
    std::vector<double> share_mass(shares);
    float* p = floats.data();
    const SamplerScratch scratch{
        p, p + room, index.data(), p + 2 * room, p + 3 * room, p + 4 * room, share_mass.data()};
#pragma omp for schedule(dynamic, 1)
    for (int64_t i = 0; i < rows; ++i) {
      const SamplerRow settings{real(temperature)[i], reinterpret_cast<int32_t*>(top_k)[i],
                                real(top_p)[i],       real(min_p)[i],
                                whole(seed)[i],       whole(request_id)[i],
                                whole(position)[i]};
      const Drawn drawn =
          draw_row(reinterpret_cast<const char*>(logits) + i * row_bytes, vocab, settings, scratch);
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
