// cuGetProcAddress: which export implements a symbol for a program built against some CUDA version.
// The table of {symbol, version} -> export is generated from the toolkit's typedef headers
// (proc_table.py) and refers to the exports by address, so each libcuda compiles its own copy:
// farcall_proc_table(target) in CMake adds it.
#pragma once

#include <cuda.h>

#include <climits>
#include <span>

namespace farcall::driverabi {

struct ProcEntry {
  const char* symbol;       // "cuMemAlloc"
  int version;              // the CUDA version that introduced this ABI: 3020
  bool per_thread;          // the _ptsz/_ptds flavour
  const char* export_name;  // "cuMemAlloc_v2"
  void* pointer;
};

// Sorted by symbol, then flavour (plain first), then version. Defined in the generated source.
std::span<const ProcEntry> proc_table();

// The newest ABI that is not newer than `cuda_version`; with
// CU_GET_PROC_ADDRESS_PER_THREAD_DEFAULT_STREAM the per-thread export if there is one, else the
// plain one. All semantics of cuGetProcAddress_v2; cuGetProcAddress (11.3) is the same without
// `status`. Nothing found: *pointer = nullptr, and with a `status` success and the reason in it, as
// documented; without one CUDA_ERROR_NOT_FOUND, as NVIDIA's runtime expects of its first question
// (""). A program may not ask for more than the driver's own version, if that is given.
CUresult get_proc_address(std::span<const ProcEntry> table, const char* symbol, void** pointer,
                          int cuda_version, cuuint64_t flags,
                          CUdriverProcAddressQueryResult* status, int driver_version = INT_MAX);

}  // namespace farcall::driverabi
