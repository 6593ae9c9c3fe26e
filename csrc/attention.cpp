// Bindings of the attention kernels, the choice of instruction set, the writes to a paged cache.
#include <cstring>
#include <numeric>
#include <stdexcept>
#include <string>
#include <vector>

#include "attention_kernel.h"  // the scalar path
#include "bindings.h"

namespace py = pybind11;

namespace dftfast {
namespace {

const AttentionKernels& kernels() { return widest(DFTFAST_AVX512_OR_AMX(attention_kernels)); }

void refuse_unless(bool good, const char* what) {
  if (!good) throw std::invalid_argument(what);
}

// Packed documents, with what each has in common with an earlier one.
struct Documents {
  std::vector<int64_t> own_rows, past;
  Packed packed;

  Documents(int dtype, int64_t num_rows, int64_t heads, int64_t kv_heads, int64_t head_dim,
            int threads, Address offsets, int64_t documents, Address rows, int64_t tokens)
      : past(documents) {
    const int64_t *o = at<int64_t>(offsets), *of_token = at<int64_t>(rows);
    bool rising = o[0] == 0 && o[documents] == tokens;
    for (int64_t i = 0; i < documents; ++i) rising = rising && o[i] <= o[i + 1];
    refuse_unless(rising, "causal_attention: offsets must rise from 0 to the number of tokens");
    if (of_token) {
      find_past(o, of_token, num_rows);
    } else {
      refuse_unless(tokens == num_rows, "causal_attention: every row of q must be a document's");
      own_rows.resize(tokens);
      std::iota(own_rows.begin(), own_rows.end(), 0);
      of_token = own_rows.data();
    }
    packed = {Dtype(dtype),
              {heads, kv_heads, head_dim},
              o,
              of_token,
              past.data(),
              documents,
              num_rows,
              threads,
              tokens > num_rows};
  }
  Documents(const Documents&) = delete;

 private:
  // A row is a token after another row; the documents that have it begin alike.
  void find_past(const int64_t* o, const int64_t* rows, int64_t num_rows) {
    constexpr int64_t none = -1, unseen = -2;
    std::vector<int64_t> after(num_rows, unseen);
    int64_t count = 0;
    for (size_t i = 0; i < past.size(); ++i)
      for (int64_t t = o[i], before = none; t < o[i + 1]; before = rows[t++]) {
        refuse_unless(0 <= rows[t] && rows[t] < num_rows,
                      "causal_attention: rows must be from 0 to the number of q's");
        int64_t& known = after[rows[t]];
        if (known == unseen) {
          known = before;
          ++count;
        } else {
          refuse_unless(known == before && past[i] == t - o[i],
                        "causal_attention: only rows that follow the same rows can be shared");
          ++past[i];
        }
      }
    refuse_unless(count == num_rows, "causal_attention: every row of q must be a document's");
  }
};

void causal_attention(const Documents& documents, Address q, Address k, Address v, Address out,
                      Address lse) {
  kernels().forward(documents.packed, at(q), at(k), at(v), at(out), at<float>(lse));
}

void causal_attention_backward(const Documents& documents, Address dout, Address q, Address k,
                               Address v, Address out, Address lse, Address dq, Address dk,
                               Address dv) {
  kernels().backward(documents.packed, at(dout), at(q), at(k), at(v), at(out), at<float>(lse),
                     at(dq), at(dk), at(dv));
}

void paged_attention(int dtype, Address q, Address k_cache, Address v_cache, Address table,
                     Address query_offsets, Address lengths, Address out, int64_t tokens,
                     int64_t sequences, int64_t table_width, int64_t blocks, int64_t page,
                     int64_t heads, int64_t kv_heads, int64_t head_dim, float scale, int threads) {
  const Paged s = {Dtype(dtype),
                   {heads, kv_heads, head_dim},
                   at<int32_t>(query_offsets),
                   at<int32_t>(lengths),
                   at<int32_t>(table),
                   sequences,
                   table_width,
                   page,
                   scale,
                   threads};
  refuse_unless(s.query_offsets[0] == 0 && s.query_offsets[sequences] == tokens,
                "paged_attention: query_offsets must rise from 0 to the number of queries");
  for (int64_t i = 0; i < sequences; ++i) {
    const int64_t queries = s.query_offsets[i + 1] - s.query_offsets[i];
    refuse_unless(queries >= 0 && queries <= s.lengths[i],
                  "paged_attention: a sequence has more queries than tokens");
    refuse_unless(s.lengths[i] <= table_width * page,
                  "paged_attention: a sequence is longer than its block table");
    for (int64_t j = 0; j * page < s.lengths[i]; ++j)
      refuse_unless(0 <= s.table[i * table_width + j] && s.table[i * table_width + j] < blocks,
                    "paged_attention: block_table names a block outside the cache");
  }
  kernels().paged(s, at(q), at(k_cache), at(v_cache), at(out));
}

// Row t of k and v (`bytes` long) goes to row slots[t] of the caches, which have `rows`; none for
// a slot of -1.
void store_kv(Address k, Address v, Address k_cache, Address v_cache, Address slots, int64_t tokens,
              int64_t bytes, int64_t rows) {
  const int64_t* slot = at<int64_t>(slots);
  for (int64_t t = 0; t < tokens; ++t)
    refuse_unless(-1 <= slot[t] && slot[t] < rows, "store_kv: a slot outside the cache");
  for (int64_t t = 0; t < tokens; ++t)
    if (slot[t] >= 0) {
      std::memcpy(at<char>(k_cache) + slot[t] * bytes, at<char>(k) + t * bytes, bytes);
      std::memcpy(at<char>(v_cache) + slot[t] * bytes, at<char>(v) + t * bytes, bytes);
    }
}

}  // namespace

void bind_attention(py::module_& m) {
  using namespace py::literals;
  py::class_<Documents>(m, "Documents")
      .def(py::init<int, int64_t, int64_t, int64_t, int64_t, int, Address, int64_t, Address,
                    int64_t>(),
           py::kw_only(), "dtype"_a, "num_rows"_a, "heads"_a, "kv_heads"_a, "head_dim"_a,
           "threads"_a, "offsets"_a, "documents"_a, "rows"_a, "tokens"_a);
  m.def("causal_attention", &causal_attention, WithoutTheGil());
  m.def("causal_attention_backward", &causal_attention_backward, WithoutTheGil());
  m.def("paged_attention", &paged_attention, WithoutTheGil());
  m.def("store_kv", &store_kv, WithoutTheGil());
}

}  // namespace dftfast
