#include "cpu.h"

#include <algorithm>
#include <cstdlib>
#include <stdexcept>
#include <string>

namespace dftfast {

static const char* const names[] = {"scalar", "avx2", "avx512", "avx512bf16"};

static Isa detect() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
  if (avx512 && __builtin_cpu_supports("avx512bf16")) return Isa::avx512bf16;
  if (avx512) return Isa::avx512;
  if (avx2) return Isa::avx2;
#endif
  return Isa::scalar;
}

static Isa choose() {
  Isa best = detect();
  const char* asked = std::getenv("DFTFAST_ISA");
  if (!asked || !*asked) return best;
  for (int i = 0; i < 4; ++i)
    if (std::string(asked) == names[i]) return std::min(best, static_cast<Isa>(i));
  throw std::runtime_error("DFTFAST_ISA=" + std::string(asked) +
                           " is not one of scalar, avx2, avx512, avx512bf16");
}

Isa isa() {
  static const Isa chosen = choose();
  return chosen;
}

const char* isa_name() { return names[static_cast<int>(isa())]; }

}  // namespace dftfast
