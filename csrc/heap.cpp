// The memory that a long run takes its arrays from.
#include <cstdlib>

#if defined(__GLIBC__)
#include <malloc.h>
#include <sys/mman.h>
#endif

#include "bindings.h"

namespace py = pybind11;

namespace dftfast {
namespace {

// From now on this process takes arrays from one heap of huge pages, as far as `bytes`, and gives
// none back to the system: those of a step are found again, where a mapping of its own for each
// would be cleared anew and looked up page by page. False where the system refuses.
bool keep_heap([[maybe_unused]] int64_t bytes) {
#if defined(__GLIBC__)
  constexpr uintptr_t page = 2 << 20;
  mallopt(M_MMAP_MAX, 0);
  mallopt(M_TRIM_THRESHOLD, -1);
  void* room = std::malloc(static_cast<size_t>(bytes));
  const uintptr_t address = reinterpret_cast<uintptr_t>(room);
  const uintptr_t begin = (address + page - 1) / page * page;
  const uintptr_t end = (address + static_cast<uintptr_t>(bytes)) / page * page;
  const bool huge = room && begin < end && !madvise(at<void>(begin), end - begin, MADV_HUGEPAGE);
  if (!huge) {  // as it was: glibc's own values
    mallopt(M_MMAP_MAX, 65536);
    mallopt(M_TRIM_THRESHOLD, 128 << 10);
  }
  std::free(room);  // not touched; it stays with the heap
  return huge;
#else
  return false;
#endif
}

}  // namespace

void bind_heap(py::module_& m) { m.def("keep_heap", &keep_heap); }

}  // namespace dftfast
