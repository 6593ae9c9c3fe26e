// Python bindings. Every kernel takes addresses, sizes and a thread count, and releases the GIL;
// kernels/*.py checks shapes and dtypes before it calls. One bind_* function a kernel file.
#include <pybind11/pybind11.h>

#include "cpu.h"

namespace py = pybind11;

namespace dftfast {
void bind_attention(py::module_&);
void bind_decoder_step(py::module_&);
void bind_heap(py::module_&);
void bind_linear_logprob(py::module_&);
void bind_lora_linear(py::module_&);
void bind_ngram_compare(py::module_&);
void bind_ngram_counts(py::module_&);
void bind_rbf_witness(py::module_&);
void bind_row_ops(py::module_&);
void bind_sample_tokens(py::module_&);
}  // namespace dftfast

PYBIND11_MODULE(_C, m) {
  m.def("isa", &dftfast::isa_name,
        "Instruction set in use: scalar, avx2, avx512, avx512bf16 or amx.");
  m.def("fast_bf16", &dftfast::fast_bf16,
        "Whether large bf16 products are faster than fp32 ones on this processor.");
  dftfast::bind_attention(m);
  dftfast::bind_decoder_step(m);
  dftfast::bind_heap(m);
  dftfast::bind_linear_logprob(m);
  dftfast::bind_lora_linear(m);
  dftfast::bind_ngram_compare(m);
  dftfast::bind_ngram_counts(m);
  dftfast::bind_rbf_witness(m);
  dftfast::bind_row_ops(m);
  dftfast::bind_sample_tokens(m);
}
