// Element types as Python numbers them (kernels/checks.py).
#pragma once

namespace dftfast {

enum class Dtype { float32 = 0, bfloat16 = 1, float16 = 2 };

}  // namespace dftfast
