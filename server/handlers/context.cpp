// Contexts and waits. The client keeps each thread's stack of contexts and names the current one in
// lane switches; so whatever the driver pushes is popped here.
#include <cuda.h>

#include "rpc/schema/calls.capnp.h"
#include "server/call_context.h"
#include "server/handlers.h"
#include "server/worker.h"

namespace farcall::server::handlers {
namespace {

namespace schema = rpc::schema;
using rpc::HandleType;

CUresult create(const DriverTable& driver, CUcontext* context, unsigned flags, CUdevice device) {
  if (driver.cuCtxCreate_v4 != nullptr) {
    CUctxCreateParams plain = {};
    return driver.cuCtxCreate_v4(context, &plain, flags, device);
  }
  if (driver.cuCtxCreate_v2 != nullptr) return driver.cuCtxCreate_v2(context, flags, device);
  return CUDA_ERROR_NOT_SUPPORTED;
}

}  // namespace

void farcallContextCreate(CallContext& call) {
  const auto args = call.args<schema::FarcallContextCreate>();
  const DriverTable& driver = call.driver();
  CUdevice device = 0;
  if (driver.cuDeviceGet(&device, args.getDevice()) != CUDA_SUCCESS) {
    return call.finish(CUDA_ERROR_INVALID_DEVICE);
  }
  CUcontext context = nullptr;
  const CUresult result = create(driver, &context, args.getFlags(), device);
  if (result == CUDA_SUCCESS) {
    CUcontext popped = nullptr;
    if (driver.cuCtxPopCurrent_v2 != nullptr) driver.cuCtxPopCurrent_v2(&popped);
    call.worker().current_context_unknown();
    call.bind(args.getContext(), HandleType::kContext, context);
  }
  call.finish(result);
}

void farcallContextDestroy(CallContext& call) {
  const auto args = call.args<schema::FarcallContextDestroy>();
  const auto context = call.handle<CUcontext>(args.getContext(), HandleType::kContext);
  if (context == nullptr && call.valid()) call.invalidate("no context");
  if (rpc::handle_generation(args.getContext()) == rpc::kPrimaryContextGeneration) {
    call.invalidate("a primary context is reset, not destroyed");
  }
  if (!call.valid()) return call.refuse();
  if (call.driver().cuCtxDestroy_v2 == nullptr) return call.finish(CUDA_ERROR_NOT_SUPPORTED);
  call.worker().context_gone(context);
  const CUresult result = call.driver().cuCtxDestroy_v2(context);
  if (result == CUDA_SUCCESS) call.unbind(args.getContext(), HandleType::kContext);
  call.finish(result);
}

void farcallPrimaryContextReset(CallContext& call) {
  const auto args = call.args<schema::FarcallPrimaryContextReset>();
  const DriverTable& driver = call.driver();
  CUdevice device = 0;
  if (driver.cuDeviceGet(&device, args.getDevice()) != CUDA_SUCCESS) {
    return call.finish(CUDA_ERROR_INVALID_DEVICE);
  }
  if (driver.cuDevicePrimaryCtxReset_v2 == nullptr) return call.finish(CUDA_ERROR_NOT_SUPPORTED);
  call.worker().primary_context_gone(args.getDevice());
  call.finish(driver.cuDevicePrimaryCtxReset_v2(device));
}

void farcallThreadCaptureMode(CallContext& call) {
  const int mode = call.args<schema::FarcallThreadCaptureMode>().getMode();
  if (mode < CU_STREAM_CAPTURE_MODE_GLOBAL || mode > CU_STREAM_CAPTURE_MODE_RELAXED) {
    call.invalidate("no mode of capturing");
    return call.refuse();
  }
  call.worker().set_capture_mode(mode);
  call.finish(CUDA_SUCCESS);
}

void farcallStreamSynchronize(CallContext& call) {
  const auto args = call.args<schema::FarcallStreamSynchronize>();
  const auto stream = call.handle<CUstream>(args.getStream(), HandleType::kStream);
  if (!call.valid()) return call.refuse();
  if (call.driver().cuStreamSynchronize == nullptr) return call.finish(CUDA_ERROR_NOT_SUPPORTED);
  call.finish(call.driver().cuStreamSynchronize(stream));
}

void farcallContextSynchronize(CallContext& call) {
  const DriverTable& driver = call.driver();
  if (driver.cuCtxSynchronize == nullptr) return call.finish(CUDA_ERROR_NOT_SUPPORTED);
  call.finish(driver.cuCtxSynchronize());
}

}  // namespace farcall::server::handlers
