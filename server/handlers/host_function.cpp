// Functions of the program that streams call; see server/host_functions.h.
#include <cuda.h>

#include "rpc/schema/calls.capnp.h"
#include "server/call_context.h"
#include "server/handlers.h"
#include "server/worker.h"

namespace farcall::server::handlers {

namespace schema = rpc::schema;
using rpc::HandleType;

void farcallLaunchHostFunction(CallContext& call) {
  const auto args = call.args<schema::FarcallLaunchHostFunction>();
  const auto stream = call.handle<CUstream>(args.getStream(), HandleType::kStream);
  HostFunctions& functions = call.worker().host_functions();
  const bool valid = call.valid();
  const CUresult result = valid ? functions.launch(args.getId(), stream, args.getWithStatus())
                                : CUDA_ERROR_INVALID_HANDLE;
  // Whoever waits learns it from the result.
  if (result != CUDA_SUCCESS && !call.wants_reply()) functions.never(args.getId());
  if (!valid) return call.refuse();
  call.finish(result);
}

void farcallHostFunctionReturned(CallContext& call) {
  call.worker().host_functions().returned(
      call.args<schema::FarcallHostFunctionReturned>().getOccasion());
  call.finish(CUDA_SUCCESS);
}

}  // namespace farcall::server::handlers
