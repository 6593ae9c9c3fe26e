#include "rbf_witness_kernel.h"
