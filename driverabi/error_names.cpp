#include "driverabi/error_names.h"

#include <algorithm>
#include <iterator>

namespace farcall::driverabi {
namespace {

struct Error {
  CUresult result;
  const char* name;
  const char* text;
};

constexpr Error kErrors[] = {
// sorted by number
#include "driverabi/error_table.inc"
};

const Error* find(CUresult result) {
  const Error* found =
      std::lower_bound(std::begin(kErrors), std::end(kErrors), result,
                       [](const Error& error, CUresult wanted) { return error.result < wanted; });
  return found != std::end(kErrors) && found->result == result ? found : nullptr;
}

CUresult answer(const char* text, const char** out) {
  if (out == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *out = text;
  return text != nullptr ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

}  // namespace

const char* error_name(CUresult result) {
  const Error* error = find(result);
  return error != nullptr ? error->name : nullptr;
}

const char* error_string(CUresult result) {
  const Error* error = find(result);
  return error != nullptr ? error->text : nullptr;
}

CUresult get_error_name(CUresult result, const char** out) {
  return answer(error_name(result), out);
}

CUresult get_error_string(CUresult result, const char** out) {
  return answer(error_string(result), out);
}

}  // namespace farcall::driverabi
