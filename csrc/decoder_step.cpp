// Bindings of the whole-step decoder and of its products, and the choice of instruction set.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include "cpu.h"
#include "decoder_step_kernel.h"  // the scalar path

namespace py = pybind11;

namespace dftfast {
namespace {

const DecoderKernels& kernels() {
#if defined(__x86_64__)
  if (isa() >= Isa::avx512bf16) return avx512bf16::decoder_kernels;
  if (isa() >= Isa::avx512) return avx512::decoder_kernels;
  if (isa() >= Isa::avx2) return avx2::decoder_kernels;
#endif
  return scalar::decoder_kernels;
}

template <class T>
T* at(int64_t address) {
  return reinterpret_cast<T*>(address);
}

// Fewer misses of the address cache when large arrays are streamed. A hint: where it is refused,
// nothing changes.
void advise_huge_pages(int64_t address, int64_t bytes) {
#if defined(__linux__)
  constexpr int64_t page = 2 << 20;
  const int64_t begin = (address + page - 1) / page * page, end = (address + bytes) / page * page;
  if (begin < end) madvise(at<void>(begin), end - begin, MADV_HUGEPAGE);
#endif
}

void pack(int64_t weight, int64_t out, int64_t in, int64_t packed, int threads) {
  kernels().pack(at<const bfloat16>(weight), out, in, at<bfloat16>(packed), threads);
}

void product(int64_t x, int64_t rows, int64_t in, int64_t packed, int64_t bias, int64_t out,
             int64_t y, bool wide, int threads) {
  const auto run = [&](auto* kernel, auto* result) {
    kernel(at<const bfloat16>(x), rows, in, at<const bfloat16>(packed), at<const bfloat16>(bias),
           out, result, threads);
  };
  wide ? run(kernels().product_wide, at<float>(y)) : run(kernels().product, at<bfloat16>(y));
}

DecoderWeights weights_of(const std::vector<std::vector<int64_t>>& layers, int64_t embed,
                          int64_t norm, int64_t head, int64_t hidden, int64_t inner, int64_t heads,
                          int64_t kv_heads, int64_t head_dim, int64_t vocab, float eps) {
  DecoderWeights w{{},
                   at<const bfloat16>(embed),
                   at<const bfloat16>(norm),
                   at<const bfloat16>(head),
                   hidden,
                   inner,
                   heads,
                   kv_heads,
                   head_dim,
                   vocab,
                   eps};
  for (const auto& a : layers) {
    const auto p = [&](int i) { return at<const bfloat16>(a.at(i)); };
    w.layers.push_back({p(0), p(1), p(2), p(3), p(4), p(5), p(6), p(7), p(8)});
  }
  return w;
}

void step(const DecoderWeights& weights, int64_t tokens, int64_t slots, int64_t cos, int64_t sin,
          int64_t table, int64_t table_stride, int64_t query_offsets, int64_t lengths, int64_t rows,
          int64_t num_tokens, int64_t num_sequences, int64_t num_rows, int64_t cache,
          int64_t num_blocks, int64_t logits, int threads) {
  kernels().step(
      weights,
      {at<const int64_t>(tokens), at<const int64_t>(slots), at<const float>(cos),
       at<const float>(sin), at<const int32_t>(table), table_stride,
       at<const int32_t>(query_offsets), at<const int32_t>(lengths), at<const int64_t>(rows),
       num_tokens, num_sequences, num_rows, at<bfloat16>(cache), num_blocks, at<float>(logits)},
      threads);
}

}  // namespace

void bind_decoder_step(py::module_& m) {
  const py::call_guard<py::gil_scoped_release> released;
  py::class_<DecoderWeights>(m, "DecoderWeights").def(py::init(&weights_of));
  m.def("advise_huge_pages", &advise_huge_pages, released);
  m.def("packed_panel", [] { return kernels().panel; });
  m.def("pack_matrix", &pack, released);
  m.def("packed_product", &product, released);
  m.def("decoder_step", &step, released);
}

}  // namespace dftfast
