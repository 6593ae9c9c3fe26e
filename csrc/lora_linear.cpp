// The parts of lora_linear that are not a library's matrix product.
#include <pybind11/stl.h>

#include <vector>

#include "bindings.h"
#include "low_rank.h"
#include "philox.h"

namespace py = pybind11;

namespace dftfast {
namespace {

// factor[i] = 0 with the given probability, else 1 / (1 - probability). Element i's draw is
// counter (i, 0).
void dropout_factor(Address address, int64_t n, float probability, uint64_t seed, int threads) {
  float* factor = at<float>(address);
  const float kept = 1 / (1 - probability);
#pragma omp parallel for num_threads(threads)
  for (int64_t i = 0; i < n; ++i) {
    const float draw = static_cast<float>(philox_word(seed, i, 0) >> 8) * 0x1p-24f;
    factor[i] = draw >= probability ? kept : 0;
  }
}

#if defined(__x86_64__)

struct LowRankLayer {
  std::vector<int64_t> widths;
  LowRank shape;

  LowRankLayer(int64_t in, int64_t out, int64_t rank, std::vector<int64_t> splits, Address a,
               Address b, float scale)
      : widths(std::move(splits)),
        shape{in,
              out,
              rank,
              static_cast<int64_t>(widths.size()),
              widths.data(),
              at<const bfloat16>(a),
              at<const bfloat16>(b),
              scale} {}
  LowRankLayer(const LowRankLayer&) = delete;

  void add(int64_t tokens, Address x, Address u, Address y, int threads) const {
    amx::low_rank(shape, {tokens, threads}, at<bfloat16>(x), at<bfloat16>(u), at<bfloat16>(y));
  }
  void backward(int64_t tokens, Address dy, Address x, Address u, Address dx, Address da,
                Address db, int threads) const {
    amx::low_rank_backward(shape, {tokens, threads}, at<bfloat16>(dy), at<bfloat16>(x),
                           at<bfloat16>(u), {at<bfloat16>(dx), at<float>(da), at<float>(db)});
  }
};

#endif

}  // namespace

void bind_lora_linear(py::module_& m) {
  m.def("dropout_factor", &dropout_factor, WithoutTheGil());
#if defined(__x86_64__)
  using namespace py::literals;
  py::class_<LowRankLayer>(m, "LowRank")
      .def(py::init<int64_t, int64_t, int64_t, std::vector<int64_t>, Address, Address, float>(),
           py::kw_only(), "columns"_a, "out"_a, "rank"_a, "splits"_a, "a"_a, "b"_a, "scale"_a)
      .def("add", &LowRankLayer::add, WithoutTheGil(), py::kw_only(), "tokens"_a, "x"_a, "u"_a,
           "y"_a, "threads"_a)
      .def("backward", &LowRankLayer::backward, WithoutTheGil(), py::kw_only(), "tokens"_a, "dy"_a,
           "x"_a, "u"_a, "dx"_a, "da"_a, "db"_a, "threads"_a);
#endif
}

}  // namespace dftfast
