// Contexts of the driver API. See client/contexts.h: all but creation and destruction stays in the
// client.
#include <cuda.h>

#include "client/contexts.h"
#include "client/driver_bodies.h"
#include "client/program.h"
#include "client/stub.h"
#include "driverabi/private_tables.h"
#include "rpc/schema/calls.capnp.h"

namespace farcall::client::driver {
namespace {

using rpc::HandleId;
namespace schema = rpc::schema;

bool known_device(Session& session, CUdevice device) {
  return device >= 0 && size_t(device) < session.devices().size() && device < kDevicesMax;
}

// The thread's current context; the device of the thread follows it.
void make_current(Session& session, HandleId context) {
  ThreadState& thread = thread_state();
  thread.lane.context = context;
  if (const auto device = contexts().device(session, context)) thread.device = *device;
}

// One way to wait at most.
bool are_context_flags(unsigned flags) {
  const unsigned wait = flags & CU_CTX_SCHED_MASK;
  return (flags & ~unsigned(CU_CTX_FLAGS_MASK)) == 0 && (wait & (wait - 1)) == 0;
}

}  // namespace

// --- Primary contexts

int cuDevicePrimaryCtxRetain(Session& session, CUcontext* pctx, CUdevice dev) {
  if (!known_device(session, dev)) return CUDA_ERROR_INVALID_DEVICE;
  if (pctx == nullptr) return CUDA_ERROR_INVALID_VALUE;
  contexts().retain_primary(dev);
  *pctx = handle_from<CUcontext>(rpc::primary_context_id(dev));
  return CUDA_SUCCESS;
}

int cuDevicePrimaryCtxRelease_v2(Session& session, CUdevice dev) {
  if (!known_device(session, dev)) return CUDA_ERROR_INVALID_DEVICE;
  if (contexts().primary(dev).references == 0) return CUDA_ERROR_INVALID_CONTEXT;
  if (!contexts().release_primary(dev)) return CUDA_SUCCESS;
  driverabi::destroy_context_storage(handle_from<CUcontext>(rpc::primary_context_id(dev)));
  return reset_primary_context(session, dev, /*wait=*/false);
}

int cuDevicePrimaryCtxReset_v2(Session& session, CUdevice dev) {
  if (!known_device(session, dev)) return CUDA_ERROR_INVALID_DEVICE;
  driverabi::destroy_context_storage(handle_from<CUcontext>(rpc::primary_context_id(dev)));
  return reset_primary_context(session, dev, /*wait=*/true);
}

int cuDevicePrimaryCtxSetFlags_v2(Session& session, CUdevice dev, unsigned int flags) {
  if (!known_device(session, dev)) return CUDA_ERROR_INVALID_DEVICE;
  if (!are_context_flags(flags)) return CUDA_ERROR_INVALID_VALUE;
  contexts().set_primary_flags(dev, flags);  // how the program waits is the client's affair
  return CUDA_SUCCESS;
}

int cuDevicePrimaryCtxGetState(Session& session, CUdevice dev, unsigned int* flags, int* active) {
  if (!known_device(session, dev)) return CUDA_ERROR_INVALID_DEVICE;
  if (flags == nullptr || active == nullptr) return CUDA_ERROR_INVALID_VALUE;
  const Contexts::Primary primary = contexts().primary(dev);
  *flags = primary.flags;
  *active = primary.active ? 1 : 0;
  return CUDA_SUCCESS;
}

// --- Current context

CUresult cuCtxGetCurrent(CUcontext* pctx) {
  if (thread_state().in_host_function) return CUDA_ERROR_NOT_PERMITTED;
  if (pctx == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *pctx = handle_from<CUcontext>(thread_state().lane.context);
  return CUDA_SUCCESS;
}

int cuCtxSetCurrent(Session& session, CUcontext ctx) {
  const HandleId id = id_of(ctx);
  if (id != 0 && !contexts().device(session, id)) return CUDA_ERROR_INVALID_CONTEXT;
  make_current(session, id);
  return CUDA_SUCCESS;
}

int cuCtxPushCurrent_v2(Session& session, CUcontext ctx) {
  const HandleId id = id_of(ctx);
  if (!contexts().device(session, id)) return CUDA_ERROR_INVALID_CONTEXT;
  ThreadState& thread = thread_state();
  thread.contexts.push_back(thread.lane.context);
  make_current(session, id);
  return CUDA_SUCCESS;
}

int cuCtxPopCurrent_v2(Session& session, CUcontext* pctx) {
  ThreadState& thread = thread_state();
  if (thread.lane.context == 0) return CUDA_ERROR_INVALID_CONTEXT;
  if (pctx != nullptr) *pctx = handle_from<CUcontext>(thread.lane.context);
  HandleId below = 0;
  if (!thread.contexts.empty()) {
    below = thread.contexts.back();
    thread.contexts.pop_back();
  }
  make_current(session, below);
  return CUDA_SUCCESS;
}

int cuCtxGetDevice(Session& session, CUdevice* device) {
  const auto current = contexts().device(session, thread_state().lane.context);
  if (!current) return CUDA_ERROR_INVALID_CONTEXT;
  if (device == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *device = *current;
  return CUDA_SUCCESS;
}

int cuCtxGetDevice_v2(Session& session, CUdevice* device, CUcontext ctx) {
  if (ctx == nullptr) return cuCtxGetDevice(session, device);
  const auto found = contexts().device(session, id_of(ctx));
  if (!found) return CUDA_ERROR_INVALID_CONTEXT;
  if (device == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *device = *found;
  return CUDA_SUCCESS;
}

int cuCtxGetFlags(Session& session, unsigned int* flags) {
  const auto device = contexts().device(session, thread_state().lane.context);
  if (!device) return CUDA_ERROR_INVALID_CONTEXT;
  if (flags == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *flags = contexts().flags(session, thread_state().lane.context);
  return CUDA_SUCCESS;
}

int cuCtxSetFlags(Session& session, unsigned int flags) {
  const HandleId current = thread_state().lane.context;
  if (!contexts().device(session, current)) return CUDA_ERROR_INVALID_CONTEXT;
  if (!are_context_flags(flags)) return CUDA_ERROR_INVALID_VALUE;
  contexts().set_flags(session, current, flags);
  return CUDA_SUCCESS;
}

int cuCtxGetApiVersion(Session& session, CUcontext ctx, unsigned int* version) {
  const HandleId id = ctx == nullptr ? thread_state().lane.context : id_of(ctx);
  if (!contexts().device(session, id)) return CUDA_ERROR_INVALID_CONTEXT;
  if (version == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *version = 3020;  // of every context since CUDA 3.2
  return CUDA_SUCCESS;
}

int cuCtxGetId(Session& session, CUcontext ctx, unsigned long long* ctxId) {
  const HandleId id = ctx == nullptr ? thread_state().lane.context : id_of(ctx);
  if (!contexts().device(session, id)) return CUDA_ERROR_CONTEXT_IS_DESTROYED;
  if (ctxId == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *ctxId = id;
  return CUDA_SUCCESS;
}

// --- Created contexts

int cuCtxCreate_v2(Session& session, CUcontext* pctx, unsigned int flags, CUdevice dev) {
  if (pctx == nullptr) return CUDA_ERROR_INVALID_VALUE;
  if (!known_device(session, dev)) return CUDA_ERROR_INVALID_DEVICE;
  const HandleId id = session.mint(rpc::HandleType::kContext);
  if (id == 0) return CUDA_ERROR_OUT_OF_MEMORY;
  int result;
  {
    Call call(session, rpc::Opcode::k_farcallContextCreate);
    auto args = call.args<schema::FarcallContextCreate>();
    args.setContext(id);
    args.setDevice(dev);
    args.setFlags(flags);
    result = call.wait().result();
  }
  if (result != CUDA_SUCCESS) {
    session.release(id);
    return result;
  }
  contexts().add(id, dev, flags);
  ThreadState& thread = thread_state();
  thread.contexts.push_back(thread.lane.context);
  make_current(session, id);
  *pctx = handle_from<CUcontext>(id);
  return CUDA_SUCCESS;
}

int cuCtxCreate_v3(Session& session, CUcontext* pctx, CUexecAffinityParam*, int numParams,
                   unsigned int flags, CUdevice dev) {
  if (numParams != 0) return CUDA_ERROR_NOT_SUPPORTED;  // a part of a device, as for MPS
  return cuCtxCreate_v2(session, pctx, flags, dev);
}

int cuCtxCreate_v4(Session& session, CUcontext* pctx, CUctxCreateParams* ctxCreateParams,
                   unsigned int flags, CUdevice dev) {
  // Execution affinity and CIG sharing are properties of a local device.
  if (ctxCreateParams != nullptr &&
      (ctxCreateParams->numExecAffinityParams != 0 || ctxCreateParams->cigParams != nullptr)) {
    return CUDA_ERROR_NOT_SUPPORTED;
  }
  return cuCtxCreate_v2(session, pctx, flags, dev);
}

int cuCtxDestroy_v2(Session& session, CUcontext ctx) {
  const HandleId id = id_of(ctx);
  if (!contexts().remove(id))
    return CUDA_ERROR_INVALID_CONTEXT;  // a primary one is not destroyed but released
  driverabi::destroy_context_storage(ctx);
  int result;
  {
    Call call(session, rpc::Opcode::k_farcallContextDestroy);
    call.args<schema::FarcallContextDestroy>().setContext(id);
    result = call.wait().result();
  }
  program().allocations.remove_context(id);
  program().managed.forget_context(id);
  program().visible.forget_context(id);
  session.forget_sticky_error(id);
  session.release(id);
  ThreadState& thread = thread_state();
  if (thread.lane.context == id) {
    HandleId below = 0;
    if (!thread.contexts.empty()) {
      below = thread.contexts.back();
      thread.contexts.pop_back();
    }
    make_current(session, below);
  }
  return result;
}

// Contexts were counted before CUDA 4; the last one who detaches destroys it.
int cuCtxAttach(Session& session, CUcontext* pctx, unsigned int flags) {
  const HandleId current = thread_state().lane.context;
  if (!contexts().device(session, current)) return CUDA_ERROR_INVALID_CONTEXT;
  if (pctx == nullptr || flags != 0) return CUDA_ERROR_INVALID_VALUE;
  contexts().attach(current);
  *pctx = handle_from<CUcontext>(current);
  return CUDA_SUCCESS;
}

int cuCtxDetach(Session& session, CUcontext ctx) {
  const HandleId id = id_of(ctx);
  const auto device = contexts().device(session, id);
  if (!device || id != thread_state().lane.context || id == rpc::primary_context_id(*device)) {
    return CUDA_ERROR_INVALID_CONTEXT;
  }
  return contexts().detach(id) ? cuCtxDestroy_v2(session, ctx) : CUDA_SUCCESS;
}

}  // namespace farcall::client::driver
