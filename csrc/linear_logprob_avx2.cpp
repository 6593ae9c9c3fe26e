#include "linear_logprob_kernel.h"
