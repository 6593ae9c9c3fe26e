#include "row_ops_kernel.h"
