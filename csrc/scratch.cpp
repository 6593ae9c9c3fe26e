#include "scratch.h"

#include <algorithm>
#include <cstdlib>
#include <new>

namespace dftfast {

void* take_memory(int64_t bytes) {
  void* memory = std::aligned_alloc(64, std::max<int64_t>(64, bytes));
  if (!memory) throw std::bad_alloc();
  return memory;
}

void give_back_memory(void* memory) { std::free(memory); }

}  // namespace dftfast
