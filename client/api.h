// FARCALL_API: what libfarcall.so exports to libcuda.so.1 and libcudart.so.N. Everything else stays
// hidden.
#pragma once

#include "base/api.h"
