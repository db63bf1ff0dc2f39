// cuGetErrorName and cuGetErrorString. Names are generated from cuda.h's enum, descriptions from
// asking the installed libcudart, whose error numbers are the driver's, at build time
// (error_table.py); nothing is kept in git.
#pragma once

#include <cuda.h>

namespace farcall::driverabi {

const char* error_name(CUresult result);    // "CUDA_ERROR_INVALID_VALUE"; nullptr: no such error
const char* error_string(CUresult result);  // "invalid argument"; nullptr: no such error

// The driver functions: an unknown error gives CUDA_ERROR_INVALID_VALUE and *out = nullptr.
CUresult get_error_name(CUresult result, const char** out);
CUresult get_error_string(CUresult result, const char** out);

}  // namespace farcall::driverabi
