// Binding of the sampler, the choice of instruction set, and the rows shared out among the threads.
#include <omp.h>

#include "bindings.h"
#include "sample_tokens_kernel.h"  // the scalar path
#include "scratch.h"

namespace py = pybind11;

namespace dftfast {
namespace {

void sample_tokens(Address logits, int dtype, int64_t rows, int64_t vocab, Address temperature,
                   Address top_k, Address top_p, Address min_p, Address seed, Address request_id,
                   Address position, Address token, Address logprob, Address sampler_logprob,
                   Address entropy, int threads) {
  const int64_t room = vocab + 16, shares = (vocab + kShare - 1) / kShare;
  const int64_t row_bytes = vocab * (dtype ? 2 : 4);
  const DrawRow draw_row = widest(DFTFAST_UP_TO_AVX512(draw_row))[dtype];
  const scalar::Scratch<float> floats(4 * room + shares, threads);
  const scalar::Scratch<int32_t> indices(vocab, threads);
  const scalar::Scratch<double> share_masses(shares, threads);
#pragma omp parallel num_threads(threads)
  {
    const int thread = omp_get_thread_num();
    float* p = floats.of(thread);
    const SamplerScratch scratch{p,
                                 p + room,
                                 indices.of(thread),
                                 p + 2 * room,
                                 p + 3 * room,
                                 p + 4 * room,
                                 share_masses.of(thread)};
#pragma omp for schedule(dynamic, 1)
    for (int64_t i = 0; i < rows; ++i) {
      const SamplerRow settings{at<float>(temperature)[i], at<int32_t>(top_k)[i],
                                at<float>(top_p)[i],       at<float>(min_p)[i],
                                at<int64_t>(seed)[i],      at<int64_t>(request_id)[i],
                                at<int64_t>(position)[i]};
      const Drawn drawn = draw_row(at<char>(logits) + i * row_bytes, vocab, settings, scratch);
      at<int64_t>(token)[i] = drawn.token;
      at<float>(logprob)[i] = drawn.logprob;
      at<float>(sampler_logprob)[i] = drawn.sampler_logprob;
      at<float>(entropy)[i] = drawn.entropy;
    }
  }
}

}  // namespace

void bind_sample_tokens(py::module_& m) { m.def("sample_tokens", &sample_tokens, WithoutTheGil()); }

}  // namespace dftfast
