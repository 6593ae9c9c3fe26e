// What this processor can do, asked once at run time.
#pragma once

namespace dftfast {

enum class Isa { scalar = 0, avx2 = 1, avx512 = 2, avx512bf16 = 3 };

// The widest instruction set that the processor has, or the one named by DFTFAST_ISA
// (scalar, avx2, avx512, avx512bf16) where that is narrower.
Isa isa();
const char* isa_name();

}  // namespace dftfast
