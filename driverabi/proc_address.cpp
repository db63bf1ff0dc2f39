#include "driverabi/proc_address.h"

#include <algorithm>
#include <cstring>

namespace farcall::driverabi {
namespace {

// All rows of a symbol; empty if there is no such symbol.
std::span<const ProcEntry> rows_of(std::span<const ProcEntry> table, const char* symbol) {
  const auto before = [](const ProcEntry& row, const char* wanted) {
    return std::strcmp(row.symbol, wanted) < 0;
  };
  const auto first = std::lower_bound(table.begin(), table.end(), symbol, before);
  auto last = first;
  while (last != table.end() && std::strcmp(last->symbol, symbol) == 0) ++last;
  return {first, last};
}

const ProcEntry* newest(std::span<const ProcEntry> rows, bool per_thread, int cuda_version) {
  const ProcEntry* best = nullptr;
  for (const ProcEntry& row : rows) {  // by rising version
    if (row.per_thread == per_thread && row.version <= cuda_version) best = &row;
  }
  return best;
}

CUresult nothing(CUdriverProcAddressQueryResult* status, CUdriverProcAddressQueryResult why) {
  if (status == nullptr) return CUDA_ERROR_NOT_FOUND;
  *status = why;
  return CUDA_SUCCESS;
}

}  // namespace

CUresult get_proc_address(std::span<const ProcEntry> table, const char* symbol, void** pointer,
                          int cuda_version, cuuint64_t flags,
                          CUdriverProcAddressQueryResult* status, int driver_version) {
  constexpr cuuint64_t kFlagsKnown =
      CU_GET_PROC_ADDRESS_LEGACY_STREAM | CU_GET_PROC_ADDRESS_PER_THREAD_DEFAULT_STREAM;
  if (symbol == nullptr || pointer == nullptr) return CUDA_ERROR_INVALID_VALUE;
  if ((flags & ~kFlagsKnown) != 0 || flags == kFlagsKnown) return CUDA_ERROR_INVALID_VALUE;
  if (cuda_version > driver_version) return CUDA_ERROR_INVALID_VALUE;

  *pointer = nullptr;
  const std::span<const ProcEntry> rows = rows_of(table, symbol);
  if (rows.empty()) return nothing(status, CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND);
  const ProcEntry* found = nullptr;
  if (flags & CU_GET_PROC_ADDRESS_PER_THREAD_DEFAULT_STREAM)
    found = newest(rows, true, cuda_version);
  if (found == nullptr) found = newest(rows, false, cuda_version);
  if (found == nullptr) return nothing(status, CU_GET_PROC_ADDRESS_VERSION_NOT_SUFFICIENT);
  *pointer = found->pointer;
  if (status != nullptr) *status = CU_GET_PROC_ADDRESS_SUCCESS;
  return CUDA_SUCCESS;
}

}  // namespace farcall::driverabi
