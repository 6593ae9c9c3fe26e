#include "sample_tokens_kernel.h"
