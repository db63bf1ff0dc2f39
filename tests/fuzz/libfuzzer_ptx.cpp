// The hook of libFuzzer, and of replay.cpp, for the fuzzers of PTX: three quarters of the changes
// are of words and statements, the others of bytes.
#include <algorithm>
#include <cstring>

#include "tests/fuzz/ptx_mutator.h"

extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t size_max);

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t size_max,
                                          unsigned seed) {
  if (seed % 4 == 0) return LLVMFuzzerMutate(data, size, size_max);
  const std::string changed =
      farcall::fuzz::mutate_ptx({reinterpret_cast<const char*>(data), size}, seed / 4, size_max);
  std::memcpy(data, changed.data(), changed.size());
  return changed.size();
}
