#include "driverabi/error_names.h"

#include <algorithm>
#include <span>

namespace farcall::driverabi {
namespace {

struct Error {
  int result;
  const char* name;
  const char* text;
};

// Both sorted by number.
constexpr Error kDriverErrors[] = {
#include "driverabi/error_table.inc"
};
constexpr Error kRuntimeErrors[] = {
#include "driverabi/runtime_error_table.inc"
};

const Error* find(std::span<const Error> table, int result) {
  const auto found =
      std::lower_bound(table.begin(), table.end(), result,
                       [](const Error& error, int wanted) { return error.result < wanted; });
  return found != table.end() && found->result == result ? &*found : nullptr;
}

const char* name_of(const Error* error) { return error != nullptr ? error->name : nullptr; }
const char* text_of(const Error* error) { return error != nullptr ? error->text : nullptr; }

CUresult answer(const char* text, const char** out) {
  if (out == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *out = text;
  return text != nullptr ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

}  // namespace

const char* error_name(CUresult result) { return name_of(find(kDriverErrors, result)); }
const char* error_string(CUresult result) { return text_of(find(kDriverErrors, result)); }
const char* runtime_error_name(int error) { return name_of(find(kRuntimeErrors, error)); }
const char* runtime_error_string(int error) { return text_of(find(kRuntimeErrors, error)); }

CUresult get_error_name(CUresult result, const char** out) {
  return answer(error_name(result), out);
}

CUresult get_error_string(CUresult result, const char** out) {
  return answer(error_string(result), out);
}

}  // namespace farcall::driverabi
