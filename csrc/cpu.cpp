#include "cpu.h"

#include <algorithm>
#include <cstdlib>
#include <stdexcept>
#include <string>

#if defined(__x86_64__)
#include <cpuid.h>
#endif
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace dftfast {

static const char* const names[] = {"scalar", "avx2", "avx512", "avx512bf16", "amx"};

#if defined(__x86_64__)

static bool asks_cpu(unsigned leaf, unsigned* eax, unsigned* ecx, unsigned* edx) {
  unsigned ebx;
  return __get_cpuid_count(leaf, 0, eax, &ebx, ecx, edx);
}

// The system has to save the tiles (XCR0) and to grant them to this process: they are large, and
// off until asked for. Linux, "Using XSTATE features in user space applications".
static bool tiles_are_usable() {
#if defined(DFTFAST_MODEL_TILES)
  return true;
#elif defined(__linux__)
  unsigned eax, ecx, edx, low, high;
  const bool saves = asks_cpu(1, &eax, &ecx, &edx) && (ecx & bit_OSXSAVE);
  const bool has = asks_cpu(7, &eax, &ecx, &edx) && (edx >> 24 & 1) && (edx >> 22 & 1) &&
                   __builtin_cpu_supports("avx512bf16");
  if (!saves || !has) return false;
  __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  constexpr unsigned tile_state = 3u << 17;
  constexpr long ask_for_permission = 0x1023, tile_data = 18;
  return (low & tile_state) == tile_state &&
         syscall(SYS_arch_prctl, ask_for_permission, tile_data) == 0;
#else
  return false;
#endif
}

#endif

static Isa detect() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  unsigned eax, ecx = 0, edx;
  const bool half_floats = asks_cpu(1, &eax, &ecx, &edx) && (ecx & bit_F16C);
  const bool avx2 = half_floats && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") &&
                      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
                      __builtin_cpu_supports("avx512dq");
  const bool avx512bf16 = avx512 && __builtin_cpu_supports("avx512bf16");
  if (avx512 && tiles_are_usable()) return Isa::amx;
  if (avx512bf16) return Isa::avx512bf16;
  if (avx512) return Isa::avx512;
  if (avx2) return Isa::avx2;
#endif
  return Isa::scalar;
}

// On Intel's processors the instructions that multiply bf16 pairs in vectors are no gain: a product
// of 64 rows takes 1.6 times as long with them as with weights that are widened to fp32 (Sapphire
// Rapids).
static Isa fastest() {
  const Isa widest = detect();
#if defined(__x86_64__)
  if (widest == Isa::avx512bf16 && __builtin_cpu_is("intel")) return Isa::avx512;
#endif
  return widest;
}

static Isa choose() {
  const char* asked = std::getenv("DFTFAST_ISA");
  if (!asked || !*asked) return fastest();
  for (int i = 0; i < 5; ++i)
    if (std::string(asked) == names[i]) return std::min(detect(), static_cast<Isa>(i));
  throw std::runtime_error("DFTFAST_ISA=" + std::string(asked) +
                           " is not one of scalar, avx2, avx512, avx512bf16, amx");
}

Isa isa() {
  static const Isa chosen = choose();
  return chosen;
}

bool fast_bf16() { return isa() >= Isa::avx512bf16; }

const char* isa_name() { return names[static_cast<int>(isa())]; }

}  // namespace dftfast
