// What the driver supplies to kernels that launch kernels (exec/child_launch.h): the functions that
// nvcc makes of
// <<<...>>> in device code, those of cuda_device_runtime_api.h that are about streams, events and
// errors, and what libcudadevrt calls for its copies. All of a warp's lanes that call do so one
// after the other.
#include "softgpu/exec/child_launch.h"
#include "softgpu/exec/handlers/common.h"
#include "softgpu/exec/handlers/device_library_inl.h"
#include "softgpu/exec/handlers/lanes_inl.h"

namespace farcall::softgpu {

using namespace FARCALL_ISA;

namespace {

ChildLaunches& children(Warp& warp) { return *warp.block->run->children; }

// A number for each thread of the grid.
u64 thread_number(const Warp& warp, int lane) {
  const Block& block = *warp.block;
  const Dim3 grid = block.run->launch->grid;
  const u64 number = (u64{block.index[2]} * grid.y + block.index[1]) * grid.x + block.index[0];
  return number * 1024 + warp.index * kLanes + static_cast<u32>(lane);
}

void give_back_error(Warp& warp, const Op& op, int lane, DeviceError error) {
  if (error != DeviceError::kNone) children(warp).set_error(thread_number(warp, lane), error);
  give_back<u32>(warp, op, lane, static_cast<u32>(error));
}

// Calls f(lane) -> DeviceError for each lane; the function returns that.
template <class F>
void each_lane_with_error(Warp& warp, const Op& op, u32 mask, F f) {
  warp.current = &op;
  for_each_lane(mask, [&](int lane) {
    warp.current_mask = u32{1} << lane;
    give_back_error(warp, op, lane, f(lane));
  });
}

void write_handle(Warp& warp, const Op& op, int lane, u64 to, u64 handle) {
  *reinterpret_cast<u64*>(checked_address(warp, op, lane, to, sizeof handle, Access::kWrite)) =
      handle;
}

// void* cudaGetParameterBufferV2(void* kernel, dim3 grid, dim3 block, unsigned shared_bytes)
void get_parameter_buffer(Warp& warp, const Op& op, u32 mask) {
  warp.current = &op;
  for_each_lane(mask, [&](int lane) {
    warp.current_mask = u32{1} << lane;
    const auto address = argument<u64>(warp, op, lane, 1);
    const auto grid = argument<Dim3>(warp, op, lane, 2), block = argument<Dim3>(warp, op, lane, 3);
    const auto shared_bytes = argument<u32>(warp, op, lane, 4);
    DeviceError error = DeviceError::kNone;
    const u64 buffer = children(warp).prepare(
        {warp.block->kernel->owner, address, grid, block, {}, shared_bytes, {}}, &error);
    if (buffer == 0) children(warp).set_error(thread_number(warp, lane), error);
    give_back<u64>(warp, op, lane, buffer);
  });
}

// cudaError_t cudaLaunchDeviceV2(void* buffer, cudaStream_t stream)
void launch_device(Warp& warp, const Op& op, u32 mask) {
  each_lane_with_error(warp, op, mask, [&](int lane) {
    return children(warp).launch(argument<u64>(warp, op, lane, 1),
                                 argument<u64>(warp, op, lane, 2));
  });
}

void get_last_error(Warp& warp, const Op& op, u32 mask) {
  for_each_lane(mask, [&](int lane) {
    const u64 thread = thread_number(warp, lane);
    const DeviceError error = children(warp).error(thread);
    children(warp).set_error(thread, DeviceError::kNone);
    give_back<u32>(warp, op, lane, static_cast<u32>(error));
  });
}

void peek_at_last_error(Warp& warp, const Op& op, u32 mask) {
  for_each_lane(mask, [&](int lane) {
    give_back<u32>(warp, op, lane,
                   static_cast<u32>(children(warp).error(thread_number(warp, lane))));
  });
}

// libcudadevrt's own; it returns what was set.
void set_last_error(Warp& warp, const Op& op, u32 mask) {
  for_each_lane(mask, [&](int lane) {
    const auto error = argument<u32>(warp, op, lane, 1);
    children(warp).set_error(thread_number(warp, lane), static_cast<DeviceError>(error));
    give_back<u32>(warp, op, lane, error);
  });
}

// cudaStreamCreateWithFlags(cudaStream_t*, cudaStreamNonBlocking),
// cudaEventCreateWithFlags(cudaEvent_t*, cudaEventDisableTiming): other flags are for the host.
template <u32 flags>
void create_handle(Warp& warp, const Op& op, u32 mask) {
  each_lane_with_error(warp, op, mask, [&](int lane) {
    const auto to = argument<u64>(warp, op, lane, 1);
    if (argument<u32>(warp, op, lane, 2) != flags) return DeviceError::kInvalidValue;
    write_handle(warp, op, lane, to, children(warp).create_handle());
    return DeviceError::kNone;
  });
}

void destroy_handle(Warp& warp, const Op& op, u32 mask) {
  each_lane_with_error(warp, op, mask, [&](int lane) {
    return children(warp).destroy_handle(argument<u64>(warp, op, lane, 1))
               ? DeviceError::kNone
               : DeviceError::kInvalidResourceHandle;
  });
}

// cudaStreamWaitEvent(stream, event, flags), cudaEventRecord(event, stream)
void order_by_event(Warp& warp, const Op& op, u32 mask) {
  each_lane_with_error(warp, op, mask, [&](int lane) {
    return children(warp).knows(argument<u64>(warp, op, lane, 1)) &&
                   children(warp).knows(argument<u64>(warp, op, lane, 2))
               ? DeviceError::kNone
               : DeviceError::kInvalidResourceHandle;
  });
}

struct LaunchFunction {
  std::string_view name;   // behind "__cudaCDP2"
  std::string_view inner;  // behind "__cuda_syscall_cnpv2"
  Handler handler;
  unsigned formals;
};
constexpr u32 kNonBlocking = 1, kDisableTiming = 2;
constexpr LaunchFunction kLaunchFunctions[] = {
    {"GetParameterBufferV2", "GetParameterBufferV2", get_parameter_buffer, 5},
    {"LaunchDeviceV2", "LaunchDeviceV2", launch_device, 3},
    {"LaunchDeviceV2_ptsz", "", launch_device, 3},
    {"GetLastError", "", get_last_error, 1},
    {"PeekAtLastError", "GetLastError", peek_at_last_error, 1},
    {"", "SetLastError", set_last_error, 2},
    {"StreamCreateWithFlags", "StreamCreate", create_handle<kNonBlocking>, 3},
    {"StreamDestroy", "StreamDestroy", destroy_handle, 2},
    {"StreamWaitEvent", "StreamWaitEvent", order_by_event, 4},
    {"StreamWaitEvent_ptsz", "", order_by_event, 4},
    {"EventCreateWithFlags", "EventCreate", create_handle<kDisableTiming>, 3},
    {"EventRecord", "EventRecord", order_by_event, 3},
    {"EventRecord_ptsz", "", order_by_event, 3},
    {"EventDestroy", "EventDestroy", destroy_handle, 2},
};

}  // namespace

Handler find_launch_function(std::string_view name, unsigned* formals) {
  constexpr std::string_view kPublic = "__cudaCDP2", kInner = "__cuda_syscall_cnpv2";
  const bool inner = name.starts_with(kInner);
  if (!inner && !name.starts_with(kPublic)) return nullptr;
  name.remove_prefix(inner ? kInner.size() : kPublic.size());
  if (name.empty()) return nullptr;
  for (const LaunchFunction& function : kLaunchFunctions) {
    if ((inner ? function.inner : function.name) != name) continue;
    *formals = function.formals;
    return function.handler;
  }
  return nullptr;
}

}  // namespace farcall::softgpu
