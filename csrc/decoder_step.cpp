// Bindings of the whole-step decoder.
#include "decoder_step.h"

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

namespace py = pybind11;

namespace dftfast {
namespace {

template <class T>
T* at(int64_t address) {
  return reinterpret_cast<T*>(address);
}

void pack(int64_t weight, int64_t out, int64_t in, int64_t packed, int threads) {
  pack_matrix_avx512bf16(at<const uint16_t>(weight), out, in, at<uint16_t>(packed), threads);
}

DecoderWeights weights_of(const std::vector<std::vector<int64_t>>& layers, int64_t embed, int64_t norm, int64_t head,
                          int64_t hidden, int64_t inner, int64_t heads, int64_t kv_heads, int64_t head_dim,
                          int64_t vocab, float eps) {
  DecoderWeights w{{},     at<const uint16_t>(embed), at<const uint16_t>(norm), at<const uint16_t>(head), hidden, inner,
                   heads, kv_heads, head_dim, vocab, eps};
  for (const auto& a : layers) {
    const auto p = [&](int i) { return at<const uint16_t>(a.at(i)); };
    w.layers.push_back({p(0), p(1), p(2), p(3), p(4), p(5), p(6), p(7), p(8)});
  }
  return w;
}

void step(const DecoderWeights& weights, int64_t tokens, int64_t slots, int64_t cos, int64_t sin, int64_t table,
          int64_t table_stride, int64_t query_offsets, int64_t lengths, int64_t rows, int64_t num_tokens,
          int64_t num_sequences, int64_t num_rows, int64_t cache, int64_t num_blocks, int64_t logits, int threads) {
  decoder_step_avx512bf16(
      weights,
      {at<const int64_t>(tokens), at<const int64_t>(slots), at<const float>(cos), at<const float>(sin),
       at<const int32_t>(table), table_stride, at<const int32_t>(query_offsets), at<const int32_t>(lengths),
       at<const int64_t>(rows), num_tokens, num_sequences, num_rows, at<uint16_t>(cache), num_blocks,
       at<float>(logits)},
      threads);
}

void packed_product(int64_t x, int64_t rows, int64_t in, int64_t packed, int64_t bias, int64_t out, int64_t y,
                    bool wide, int threads) {
  const auto run = [&](auto* result) {
    packed_product_avx512bf16(at<const uint16_t>(x), rows, in, at<const uint16_t>(packed), at<const uint16_t>(bias),
                              out, result, threads);
  };
  wide ? run(at<float>(y)) : run(at<uint16_t>(y));
}

}  // namespace

void bind_decoder_step(py::module_& m) {
  const py::call_guard<py::gil_scoped_release> released;
  py::class_<DecoderWeights>(m, "DecoderWeights").def(py::init(&weights_of));
  m.def("pack_matrix", &pack, released);
  m.def("packed_product", &packed_product, released);
  m.def("decoder_step", &step, released);
}

}  // namespace dftfast
