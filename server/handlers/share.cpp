// Memory that one client exports and another, or the same, imports: cuMemExportToShareableHandle,
// cuMemPoolExportToShareableHandle and their counterparts, and cuImportExternalMemory. The
// descriptor that CUDA gives out stays among the workers (server/shares.h).
#include <cuda.h>

#include <cstring>

#include "rpc/schema/calls.capnp.h"
#include "server/call_context.h"
#include "server/handlers.h"
#include "server/shares.h"
#include "server/worker.h"

namespace farcall::server::handlers {
namespace {

namespace schema = rpc::schema;
using rpc::HandleId;
using rpc::HandleType;

constexpr auto kFile = CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR;

void* as_pointer(const UniqueFd& file) {
  return reinterpret_cast<void*>(static_cast<intptr_t>(file.get()));
}

CUresult import(CallContext& call, UniqueFd& file, HandleId id, uint64_t bytes, unsigned flags) {
  const DriverTable& driver = call.driver();
  CUresult result = CUDA_ERROR_NOT_SUPPORTED;
  switch (rpc::handle_type(id)) {
    case HandleType::kMemoryHandle: {
      CUmemGenericAllocationHandle memory = 0;
      if (driver.cuMemImportFromShareableHandle != nullptr)
        result = driver.cuMemImportFromShareableHandle(&memory, as_pointer(file), kFile);
      if (result == CUDA_SUCCESS)
        call.bind(id, HandleType::kMemoryHandle, reinterpret_cast<void*>(memory));
      return result;
    }
    case HandleType::kMemoryPool: {
      CUmemoryPool pool = nullptr;
      if (driver.cuMemPoolImportFromShareableHandle != nullptr)
        result = driver.cuMemPoolImportFromShareableHandle(&pool, as_pointer(file), kFile, 0);
      if (result == CUDA_SUCCESS) call.bind(id, HandleType::kMemoryPool, pool);
      return result;
    }
    case HandleType::kExternalMemory: {
      CUexternalMemory memory = nullptr;
      CUDA_EXTERNAL_MEMORY_HANDLE_DESC what = {};
      what.type = CU_EXTERNAL_MEMORY_HANDLE_TYPE_OPAQUE_FD;
      what.handle.fd = file.get();
      what.size = bytes;
      what.flags = flags;
      if (driver.cuImportExternalMemory != nullptr)
        result = driver.cuImportExternalMemory(&memory, &what);
      if (result == CUDA_SUCCESS) {
        (void)file.release();  // the driver's from here
        call.bind(id, HandleType::kExternalMemory, memory);
      }
      return result;
    }
    default:
      return CUDA_ERROR_INVALID_VALUE;
  }
}

}  // namespace

void farcallShareExport(CallContext& call) {
  const HandleId id = call.args<schema::FarcallShareExport>().getObject();
  const DriverTable& driver = call.driver();
  int file = -1;
  CUresult result = CUDA_ERROR_NOT_SUPPORTED;
  if (rpc::handle_type(id) == HandleType::kMemoryPool) {
    const auto pool = call.handle<CUmemoryPool>(id, HandleType::kMemoryPool);
    if (!call.valid()) return call.refuse();
    if (driver.cuMemPoolExportToShareableHandle != nullptr)
      result = driver.cuMemPoolExportToShareableHandle(&file, pool, kFile, 0);
  } else {
    const auto memory = call.handle<CUmemGenericAllocationHandle>(id, HandleType::kMemoryHandle);
    if (!call.valid()) return call.refuse();
    if (driver.cuMemExportToShareableHandle != nullptr)
      result = driver.cuMemExportToShareableHandle(&file, memory, kFile, 0);
  }
  if (result != CUDA_SUCCESS) return call.finish(result);
  Shares::Name name;
  if (!call.worker().shares().offer(UniqueFd(file), &name))
    return call.finish(CUDA_ERROR_OPERATING_SYSTEM);
  if (call.wants_reply()) {
    call.results<schema::FarcallShareExportResults>().setName(
        {reinterpret_cast<const kj::byte*>(name.data()), name.size()});
  }
  call.finish(CUDA_SUCCESS);
}

void farcallShareImport(CallContext& call) {
  const auto args = call.args<schema::FarcallShareImport>();
  Shares::Name name;
  if (args.getName().size() != name.size()) call.invalidate("not a name of a share");
  if (!call.valid()) return call.refuse();
  std::memcpy(name.data(), args.getName().begin(), name.size());
  UniqueFd file = Shares::take(name);
  if (!file) return call.finish(CUDA_ERROR_INVALID_VALUE);
  call.finish(import(call, file, args.getObject(), args.getBytes(), args.getFlags()));
}

}  // namespace farcall::server::handlers
