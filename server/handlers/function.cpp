// What a kernel is like and how it shall run. Kernels of libraries (CUkernel) and functions of
// modules (CUfunction) are asked alike.
#include <cuda.h>

#include "rpc/schema/calls.capnp.h"
#include "server/call_context.h"
#include "server/handlers.h"
#include "server/worker.h"

namespace farcall::server::handlers {
namespace {

namespace schema = rpc::schema;
using rpc::HandleId;
using rpc::HandleType;

// Newer drivers know more than our headers; the list ends at the first gap beyond those.
constexpr int kAttributesMax = 64;

// For calls that take a CUfunction and, unlike launches, are not documented to take a CUkernel: the
// kernel's function in the current context. nullptr and *result otherwise.
CUfunction function_of(CallContext& call, HandleId id, int* result) {
  *result = CUDA_ERROR_INVALID_HANDLE;
  const DriverTable& driver = call.driver();
  if (rpc::handle_type(id) != HandleType::kKernel) {
    const auto function = call.handle<CUfunction>(id, HandleType::kFunction);
    if (function != nullptr) *result = CUDA_SUCCESS;
    return function;
  }
  const auto kernel = call.handle<CUkernel>(id, HandleType::kKernel);
  if (kernel == nullptr) return nullptr;
  if (driver.cuKernelGetFunction == nullptr) {
    *result = CUDA_ERROR_NOT_SUPPORTED;
    return nullptr;
  }
  CUfunction function = nullptr;
  *result = driver.cuKernelGetFunction(&function, kernel);
  return *result == CUDA_SUCCESS ? function : nullptr;
}

}  // namespace

void farcallFunctionAttributes(CallContext& call) {
  const auto args = call.args<schema::FarcallFunctionAttributes>();
  int result = CUDA_SUCCESS;
  const CUfunction function = function_of(call, args.getFunction(), &result);
  if (function == nullptr) return call.finish(result);
  const DriverTable& driver = call.driver();
  if (driver.cuFuncGetAttribute == nullptr) return call.finish(CUDA_ERROR_NOT_SUPPORTED);
  int values[kAttributesMax];
  unsigned count = 0;
  for (; count < kAttributesMax; ++count) {
    result = driver.cuFuncGetAttribute(&values[count], CUfunction_attribute(count), function);
    if (result != CUDA_SUCCESS) break;
  }
  if (count == 0) return call.finish(result);
  auto list = call.results<schema::FarcallFunctionAttributesResults>().initValues(count);
  for (unsigned i = 0; i < count; ++i) list.set(i, values[i]);
  call.finish(CUDA_SUCCESS);
}

void farcallFunctionSetAttribute(CallContext& call) {
  const auto args = call.args<schema::FarcallFunctionSetAttribute>();
  const DriverTable& driver = call.driver();
  int result = CUDA_SUCCESS;
  const CUfunction function = function_of(call, args.getFunction(), &result);
  if (function == nullptr) return call.finish(result);
  if (driver.cuFuncSetAttribute == nullptr) return call.finish(CUDA_ERROR_NOT_SUPPORTED);
  call.finish(driver.cuFuncSetAttribute(function, CUfunction_attribute(args.getAttribute()),
                                        args.getValue()));
}

void farcallFunctionSetCacheConfig(CallContext& call) {
  const auto args = call.args<schema::FarcallFunctionSetCacheConfig>();
  const DriverTable& driver = call.driver();
  int result = CUDA_SUCCESS;
  const CUfunction function = function_of(call, args.getFunction(), &result);
  if (function == nullptr) return call.finish(result);
  if (driver.cuFuncSetCacheConfig == nullptr) return call.finish(CUDA_ERROR_NOT_SUPPORTED);
  call.finish(driver.cuFuncSetCacheConfig(function, CUfunc_cache(args.getConfig())));
}

void farcallOccupancy(CallContext& call) {
  const auto args = call.args<schema::FarcallOccupancy>();
  const DriverTable& driver = call.driver();
  int result = CUDA_SUCCESS;
  const CUfunction function = function_of(call, args.getFunction(), &result);
  if (function == nullptr) return call.finish(result);
  if (driver.cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags == nullptr) {
    return call.finish(CUDA_ERROR_NOT_SUPPORTED);
  }
  int blocks = 0;
  result = driver.cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(
      &blocks, function, args.getBlockSize(), args.getSharedBytes(), args.getFlags());
  if (result == CUDA_SUCCESS) call.results<schema::FarcallOccupancyResults>().setBlocks(blocks);
  call.finish(result);
}

}  // namespace farcall::server::handlers
