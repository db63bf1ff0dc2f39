#include "softgpu/driver/stream.h"

#include <algorithm>

#include "softgpu/driver/context.h"
#include "softgpu/driver/device.h"
#include "softgpu/driver/event.h"
#include "softgpu/driver/graph.h"
#include "softgpu/driver/memory.h"
#include "softgpu/driver/thread_state.h"

namespace farcall::softgpu {
namespace {

// All priorities are alike here; the range is that of NVIDIA's devices, since programs clamp to it.
constexpr int kPriorityLeast = 0, kPriorityGreatest = -5;

}  // namespace

Stream::Stream(Context& context, ContextRef keep, Kind kind, unsigned flags, int priority)
    : context_(context),
      keep_(std::move(keep)),
      kind_(kind),
      flags_(flags),
      priority_(priority),
      id_(context.device().driver().next_id()) {}

std::shared_ptr<Capture> Stream::capture() const {
  if (!capturing_.load(std::memory_order_acquire)) return nullptr;
  std::lock_guard lock(mutex_);
  return capture_;
}

void Stream::set_capture(std::shared_ptr<Capture> capture) {
  std::lock_guard lock(mutex_);
  capture_ = std::move(capture);
  capturing_.store(capture_ != nullptr, std::memory_order_release);
}

const CUgraphNode* Stream::show_dependencies(const std::vector<std::shared_ptr<GraphNode>>& nodes) {
  std::lock_guard lock(mutex_);
  shown_dependencies_.clear();
  for (const std::shared_ptr<GraphNode>& node : nodes) shown_dependencies_.push_back(node->handle);
  return shown_dependencies_.data();
}

// ------------------------------------------------------------------ life

CUresult api::cuCtxGetStreamPriorityRange(int* least, int* greatest) {
  ContextRef context;
  if (CUresult error = current_context(&context)) return error;
  if (least != nullptr) *least = kPriorityLeast;
  if (greatest != nullptr) *greatest = kPriorityGreatest;
  return CUDA_SUCCESS;
}

CUresult api::cuStreamCreateWithPriority(CUstream* out, unsigned flags, int priority) {
  if (out == nullptr || (flags & ~unsigned{CU_STREAM_NON_BLOCKING}) != 0) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  ContextRef context;
  if (CUresult error = current_context(&context)) return error;
  priority = std::clamp(priority, kPriorityGreatest, kPriorityLeast);
  *out = context->create_stream(flags, priority)->handle;
  return CUDA_SUCCESS;
}

CUresult api::cuStreamCreate(CUstream* out, unsigned flags) {
  return api::cuStreamCreateWithPriority(out, flags, 0);
}

// The work that is left is done; only the handle is gone.
CUresult api::cuStreamDestroy_v2(CUstream handle) {
  if (handle == nullptr || handle == CU_STREAM_LEGACY || handle == CU_STREAM_PER_THREAD) {
    return CUDA_ERROR_INVALID_HANDLE;
  }
  StreamRef stream = driver().streams.remove(handle);
  if (stream == nullptr) return CUDA_ERROR_INVALID_HANDLE;
  if (std::shared_ptr<Capture> capture = stream->capture()) capture->stream_destroyed(*stream);
  stream->context().forget_stream(*stream);
  return stream->context().failure();
}
CUresult api::cuStreamDestroy(CUstream handle) { return api::cuStreamDestroy_v2(handle); }

// ------------------------------------------------------------------ questions

CUresult api::cuStreamGetFlags(CUstream handle, unsigned* flags) {
  StreamRef stream;
  if (CUresult error = find_stream(handle, &stream)) return error;
  if (flags == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *flags = stream->flags();
  return CUDA_SUCCESS;
}

CUresult api::cuStreamGetPriority(CUstream handle, int* priority) {
  StreamRef stream;
  if (CUresult error = find_stream(handle, &stream)) return error;
  if (priority == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *priority = stream->attribute(CU_LAUNCH_ATTRIBUTE_PRIORITY).priority;  // it may have been set
  return CUDA_SUCCESS;
}

CUresult api::cuStreamGetId(CUstream handle, unsigned long long* id) {
  StreamRef stream;
  if (CUresult error = find_stream(handle, &stream)) return error;
  if (id == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *id = stream->id();
  return CUDA_SUCCESS;
}

CUresult api::cuStreamGetCtx(CUstream handle, CUcontext* out) {
  StreamRef stream;
  if (CUresult error = find_stream(handle, &stream)) return error;
  if (out == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *out = stream->context().handle();
  return CUDA_SUCCESS;
}

CUresult api::cuStreamGetCtx_v2(CUstream handle, CUcontext* out, CUgreenCtx* green) {
  if (green != nullptr) *green = nullptr;  // there are no green contexts
  return api::cuStreamGetCtx(handle, out);
}

CUresult api::cuStreamGetDevice(CUstream handle, CUdevice* out) {
  StreamRef stream;
  if (CUresult error = find_stream(handle, &stream)) return error;
  if (out == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *out = stream->context().device().ordinal;
  return CUDA_SUCCESS;
}

namespace {

bool is_stream_attribute(CUstreamAttrID attribute) {
  switch (attribute) {
    case CU_LAUNCH_ATTRIBUTE_ACCESS_POLICY_WINDOW:
    case CU_LAUNCH_ATTRIBUTE_SYNCHRONIZATION_POLICY:
    case CU_LAUNCH_ATTRIBUTE_PRIORITY:
    case CU_LAUNCH_ATTRIBUTE_MEM_SYNC_DOMAIN_MAP:
    case CU_LAUNCH_ATTRIBUTE_MEM_SYNC_DOMAIN:
      return true;
    default:
      return false;
  }
}

bool is_attribute_value(CUstreamAttrID attribute, const CUstreamAttrValue& value) {
  switch (attribute) {
    case CU_LAUNCH_ATTRIBUTE_SYNCHRONIZATION_POLICY:
      return value.syncPolicy >= CU_SYNC_POLICY_AUTO &&
             value.syncPolicy <= CU_SYNC_POLICY_BLOCKING_SYNC;
    case CU_LAUNCH_ATTRIBUTE_PRIORITY:
      return value.priority >= kPriorityGreatest && value.priority <= kPriorityLeast;
    default:
      return true;
  }
}

}  // namespace

// Attributes are hints to a scheduler and a cache that are not there: kept, so that what was set
// can be read.
CUresult api::cuStreamSetAttribute(CUstream handle, CUstreamAttrID attribute,
                                   const CUstreamAttrValue* value) {
  StreamRef stream;
  if (CUresult error = find_stream(handle, &stream)) return error;
  if (value == nullptr || !is_stream_attribute(attribute) ||
      !is_attribute_value(attribute, *value)) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  stream->set_attribute(attribute, *value);
  return CUDA_SUCCESS;
}

CUresult api::cuStreamGetAttribute(CUstream handle, CUstreamAttrID attribute,
                                   CUstreamAttrValue* value) {
  StreamRef stream;
  if (CUresult error = find_stream(handle, &stream)) return error;
  if (value == nullptr || !is_stream_attribute(attribute)) return CUDA_ERROR_INVALID_VALUE;
  *value = stream->attribute(attribute);
  return CUDA_SUCCESS;
}

CUresult api::cuStreamCopyAttributes(CUstream target, CUstream source) {
  StreamRef to, from;
  if (CUresult error = find_stream(target, &to)) return error;
  if (CUresult error = find_stream(source, &from)) return error;
  to->copy_attributes(*from);
  return CUDA_SUCCESS;
}

void Stream::set_attribute(CUstreamAttrID attribute, const CUstreamAttrValue& value) {
  std::lock_guard lock(mutex_);
  attributes_[attribute] = value;
}
CUstreamAttrValue Stream::attribute(CUstreamAttrID attribute) const {
  std::lock_guard lock(mutex_);
  auto found = attributes_.find(attribute);
  if (found != attributes_.end()) return found->second;
  CUstreamAttrValue value = {};
  if (attribute == CU_LAUNCH_ATTRIBUTE_PRIORITY) value.priority = priority_;
  if (attribute == CU_LAUNCH_ATTRIBUTE_SYNCHRONIZATION_POLICY)
    value.syncPolicy = CU_SYNC_POLICY_AUTO;
  return value;
}
void Stream::copy_attributes(const Stream& from) {
  if (&from == this) return;
  std::scoped_lock lock(mutex_, from.mutex_);
  attributes_ = from.attributes_;
}

// ------------------------------------------------------------------ waiting

CUresult api::cuStreamQuery(CUstream handle) {
  StreamRef stream;
  if (CUresult error = find_stream(handle, &stream)) return error;
  if (CUresult error = check_not_capturing(*stream)) return error;
  if (!stream->context().idle(*stream)) return CUDA_ERROR_NOT_READY;
  return stream->context().wait_for(nullptr);
}

CUresult api::cuStreamSynchronize(CUstream handle) {
  StreamRef stream;
  if (CUresult error = find_stream(handle, &stream)) return error;
  if (CUresult error = check_not_capturing(*stream)) return error;
  // A marker: in the legacy stream it comes after the blocking streams' work too.
  return stream->context().wait_for(stream->context().enqueue(*stream, {}));
}

CUresult api::cuStreamWaitEvent(CUstream handle, CUevent event_handle, unsigned flags) {
  StreamRef stream;
  if (CUresult error = find_stream(handle, &stream)) return error;
  std::shared_ptr<Event> event = driver().events.find(event_handle);
  if (event == nullptr) return CUDA_ERROR_INVALID_HANDLE;
  if ((flags & ~unsigned{CU_EVENT_WAIT_EXTERNAL}) != 0) return CUDA_ERROR_INVALID_VALUE;
  const Event::State state = event->state();
  if (std::shared_ptr<Capture> capture = stream->capture()) {
    if ((flags & CU_EVENT_WAIT_EXTERNAL) != 0) {
      NodeContent content;
      content.type = CU_GRAPH_NODE_TYPE_WAIT_EVENT;
      content.event = event;
      return capture->record(*stream, std::move(content));
    }
    if (state.capture == nullptr) {
      capture->invalidate();
      return CUDA_ERROR_STREAM_CAPTURE_ISOLATION;
    }
  }
  if (state.capture != nullptr) return state.capture->wait(stream, state.position);
  if (CUresult error = check_legacy_during_capture(*stream)) return error;
  const OperationRef recorded = event->to_wait_for();
  if (recorded != nullptr && !recorded->done()) {
    stream->context().enqueue(*stream, {}, {&recorded, 1});
  }
  return CUDA_SUCCESS;
}

// ------------------------------------------------------------------ host functions

CUresult api::cuLaunchHostFunc(CUstream handle, CUhostFn function, void* user_data) {
  StreamRef stream;
  if (CUresult error = find_stream(handle, &stream)) return error;
  if (function == nullptr) return CUDA_ERROR_INVALID_VALUE;
  return stream->context().submit(*stream, HostWork{function, user_data});
}

CUresult api::cuStreamAddCallback(CUstream handle, CUstreamCallback callback, void* user_data,
                                  unsigned flags) {
  StreamRef stream;
  if (CUresult error = find_stream(handle, &stream)) return error;
  if (callback == nullptr || flags != 0) return CUDA_ERROR_INVALID_VALUE;
  if (CUresult error = check_not_capturing(*stream)) return error;
  return stream->context().submit(*stream, CallbackWork{callback, handle, user_data});
}

// Managed memory is the same for host and device: nothing to move.
CUresult api::cuStreamAttachMemAsync(CUstream handle, CUdeviceptr address, size_t length,
                                     unsigned flags) {
  StreamRef stream;
  if (CUresult error = find_stream(handle, &stream)) return error;
  std::optional<Region> region = driver().memory_map.find(address);
  if (!region || region->kind != Region::Kind::kManaged ||
      (length != 0 && (address != region->base || length != region->bytes))) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  if (flags != CU_MEM_ATTACH_GLOBAL && flags != CU_MEM_ATTACH_HOST &&
      flags != CU_MEM_ATTACH_SINGLE) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  return CUDA_SUCCESS;
}

}  // namespace farcall::softgpu
