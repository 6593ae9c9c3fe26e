#include "cpu.h"

#include <algorithm>
#include <cstdlib>
#include <stdexcept>
#include <string>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace dftfast {

static const char* const names[] = {"scalar", "avx2", "avx512", "avx512bf16"};

static Isa detect() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  unsigned eax, ebx, ecx = 0, edx;
  const bool half_floats = __get_cpuid(1, &eax, &ebx, &ecx, &edx) && (ecx & bit_F16C);
  bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && half_floats;
  bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
  if (avx512 && __builtin_cpu_supports("avx512bf16")) return Isa::avx512bf16;
  if (avx512) return Isa::avx512;
  if (avx2) return Isa::avx2;
#endif
  return Isa::scalar;
}

// On Intel's processors the instructions that multiply bf16 are no gain: a product of 64 rows
// takes 1.6 times as long with them as with weights that are widened to fp32 (Sapphire Rapids).
static Isa fastest() {
  Isa widest = detect();
#if defined(__x86_64__)
  if (__builtin_cpu_is("intel")) return std::min(widest, Isa::avx512);
#endif
  return widest;
}

static Isa choose() {
  const char* asked = std::getenv("DFTFAST_ISA");
  if (!asked || !*asked) return fastest();
  for (int i = 0; i < 4; ++i)
    if (std::string(asked) == names[i]) return std::min(detect(), static_cast<Isa>(i));
  throw std::runtime_error("DFTFAST_ISA=" + std::string(asked) +
                           " is not one of scalar, avx2, avx512, avx512bf16");
}

Isa isa() {
  static const Isa chosen = choose();
  return chosen;
}

// A process that is held to fewer instructions behaves as on a processor that has no more.
bool fast_bf16() {
  const char* asked = std::getenv("DFTFAST_ISA");
  if (asked && *asked && isa() != Isa::avx512bf16) return false;
#if defined(__x86_64__)
  unsigned eax, ebx, ecx, edx;
  bool amx = __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) && (edx >> 22 & 1);
  return amx || fastest() == Isa::avx512bf16;
#else
  return false;
#endif
}

const char* isa_name() { return names[static_cast<int>(isa())]; }

}  // namespace dftfast
