// Bindings of the whole-step decoder and of its products, and the choice of instruction set.
#include <pybind11/stl.h>

#include <map>
#include <string>
#include <vector>

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include "bindings.h"
#include "decoder_step_kernel.h"  // the scalar path

namespace py = pybind11;

namespace dftfast {
namespace {

const DecoderKernels& kernels() { return widest(DFTFAST_UP_TO_AMX(decoder_kernels)); }

// Fewer misses of the address cache when large arrays are streamed. A hint: where it is refused,
// nothing changes.
void advise_huge_pages(Address address, int64_t bytes) {
#if defined(__linux__)
  constexpr int64_t page = 2 << 20;
  const Address begin = (address + page - 1) / page * page, end = (address + bytes) / page * page;
  if (begin < end) madvise(at<void>(begin), end - begin, MADV_HUGEPAGE);
#endif
}

void pack(Address weight, int64_t out, int64_t in, Address packed, int threads) {
  kernels().pack(at<const bfloat16>(weight), out, in, at<bfloat16>(packed), threads);
}

void product(Address x, int64_t rows, int64_t in, Address packed, Address bias, int64_t out,
             Address y, bool wide, int threads) {
  const auto run = [&](auto* kernel, auto* result) {
    kernel(at<const bfloat16>(x), rows, in, at<const bfloat16>(packed), at<const bfloat16>(bias),
           out, result, threads);
  };
  wide ? run(kernels().product_wide, at<float>(y)) : run(kernels().product, at<bfloat16>(y));
}

LayerWeights layer_of(const std::map<std::string, Address>& given) {
  const auto p = [&](const char* name) { return at<const bfloat16>(given.at(name)); };
  return {p("qkv"),        p("qkv_bias"),  p("o"),      p("gate_up"), p("down"),
          p("input_norm"), p("post_norm"), p("q_norm"), p("k_norm")};
}

// A decoder's weights with the array that they point to.
struct Decoder {
  std::vector<LayerWeights> layers;
  DecoderWeights weights;

  Decoder(const std::vector<std::map<std::string, Address>>& given, Address embed, Address norm,
          Address head, int64_t hidden, int64_t inner, int64_t heads, int64_t kv_heads,
          int64_t head_dim, int64_t vocab, float eps) {
    for (const auto& layer : given) layers.push_back(layer_of(layer));
    weights = {layers.data(),
               static_cast<int64_t>(layers.size()),
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
  }
  Decoder(const Decoder&) = delete;

  void step(Address tokens, Address slots, Address cos, Address sin, Address table,
            int64_t table_stride, Address query_offsets, Address lengths, Address rows,
            int64_t num_tokens, int64_t num_sequences, int64_t num_rows, Address cache,
            int64_t num_blocks, Address logits, int threads) const {
    const DecoderStep step{at<const int64_t>(tokens),
                           at<const int64_t>(slots),
                           at<const float>(cos),
                           at<const float>(sin),
                           at<const int32_t>(table),
                           table_stride,
                           at<const int32_t>(query_offsets),
                           at<const int32_t>(lengths),
                           at<const int64_t>(rows),
                           num_tokens,
                           num_sequences,
                           num_rows,
                           at<bfloat16>(cache),
                           num_blocks,
                           at<float>(logits)};
    kernels().step(weights, step, threads);
  }
};

}  // namespace

void bind_decoder_step(py::module_& m) {
  using namespace py::literals;
  py::class_<Decoder>(m, "Decoder")
      .def(py::init<const std::vector<std::map<std::string, Address>>&, Address, Address, Address,
                    int64_t, int64_t, int64_t, int64_t, int64_t, int64_t, float>(),
           py::kw_only(), "layers"_a, "embed"_a, "norm"_a, "head"_a, "hidden"_a, "inner"_a,
           "heads"_a, "kv_heads"_a, "head_dim"_a, "vocab"_a, "eps"_a)
      .def("step", &Decoder::step, WithoutTheGil(), py::kw_only(), "tokens"_a, "slots"_a, "cos"_a,
           "sin"_a, "table"_a, "table_stride"_a, "query_offsets"_a, "lengths"_a, "rows"_a,
           "num_tokens"_a, "num_sequences"_a, "num_rows"_a, "cache"_a, "num_blocks"_a, "logits"_a,
           "threads"_a);
  m.def("advise_huge_pages", &advise_huge_pages, WithoutTheGil());
  m.def("packed_panel", [] { return kernels().panel; });
  m.def("pack_matrix", &pack, WithoutTheGil());
  m.def("packed_product", &product, WithoutTheGil());
}

}  // namespace dftfast
