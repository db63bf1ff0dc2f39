// Files of device code that a program names. A CUresult.
#pragma once

#include <vector>

#include "client/api.h"

namespace farcall::client {

// The whole file, with a NUL behind it so that PTX text ends.
FARCALL_API int read_file(const char* path, std::vector<char>* out);

}  // namespace farcall::client
