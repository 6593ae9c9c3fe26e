// Memory for one call of a kernel. It is taken before the parallel region: an exception inside one
// would end the process.
#pragma once

#include <cstdint>

#include "simd.h"

namespace dftfast {

// 64-byte aligned. Throws std::bad_alloc (MemoryError in Python). Defined in a file that is
// compiled for every processor, so that nothing of the standard library is compiled in those of
// one instruction set: the linker would keep one copy for all.
void* take_memory(int64_t bytes);
void give_back_memory(void* memory);

namespace DFTFAST_SIMD {

// n numbers for each thread; not initialised.
template <class T>
class Scratch {
 public:
  explicit Scratch(int64_t n, int threads = 1)
      : each_((n * static_cast<int64_t>(sizeof(T)) + 63) / 64 * 64),
        memory_(static_cast<char*>(take_memory(each_ * threads))) {}
  ~Scratch() { give_back_memory(memory_); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  T* of(int thread) const { return reinterpret_cast<T*>(memory_ + thread * each_); }
  T* data() const { return of(0); }
  T& operator[](int64_t i) const { return data()[i]; }

 private:
  int64_t each_;
  char* memory_;
};

}  // namespace DFTFAST_SIMD
}  // namespace dftfast
