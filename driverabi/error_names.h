// cuGetErrorName and cuGetErrorString, cudaGetErrorName and cudaGetErrorString. Names are generated
// from the headers' enums, descriptions from asking the installed libcudart, whose error numbers
// are the driver's, at build time (error_table.py); nothing is kept in git.
#pragma once

#include <cuda.h>

namespace farcall::driverabi {

const char* error_name(CUresult result);    // "CUDA_ERROR_INVALID_VALUE"; nullptr: no such error
const char* error_string(CUresult result);  // "invalid argument"; nullptr: no such error

// The same for the runtime API's cudaError_t, which has some errors of its own.
const char* runtime_error_name(int error);    // "cudaErrorInvalidValue"
const char* runtime_error_string(int error);  // "invalid argument"

// The driver functions: an unknown error gives CUDA_ERROR_INVALID_VALUE and *out = nullptr.
CUresult get_error_name(CUresult result, const char** out);
CUresult get_error_string(CUresult result, const char** out);

}  // namespace farcall::driverabi
