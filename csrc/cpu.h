// What this processor can do, asked once at run time.
#pragma once

namespace dftfast {

enum class Isa { scalar = 0, avx2 = 1, avx512 = 2, avx512bf16 = 3, amx = 4 };

// The fastest instruction set that the processor has, or the one named by DFTFAST_ISA
// (scalar, avx2, avx512, avx512bf16, amx), or the widest where the processor lacks that.
Isa isa();
const char* isa_name();

// Whether large bf16 products are faster than fp32 ones: by AMX, or by AVX512-BF16 on processors
// that are not Intel's. A process that is held to fewer instructions behaves as on a processor that
// has no more.
bool fast_bf16();

}  // namespace dftfast
