#include "decoder_step_kernel.h"
