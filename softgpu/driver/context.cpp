#include "softgpu/driver/context.h"

#include <algorithm>
#include <cassert>
#include <chrono>
#include <thread>

#include "base/log.h"
#include "driverabi/error_names.h"
#include "driverabi/private_tables.h"
#include "softgpu/driver/array.h"
#include "softgpu/driver/capture.h"
#include "softgpu/driver/device.h"
#include "softgpu/driver/event.h"
#include "softgpu/driver/graph.h"
#include "softgpu/driver/module.h"
#include "softgpu/driver/pool.h"
#include "softgpu/driver/texture.h"
#include "softgpu/exec/device_heap.h"

namespace farcall::softgpu {
namespace {

// What NVIDIA's driver reports for a new context.
constexpr size_t kStackBytes = 1024;
constexpr size_t kPrintfBytes = size_t{1} << 20;
constexpr size_t kHeapBytes = size_t{8} << 20;
constexpr size_t kSyncDepth = 2;
constexpr size_t kPendingLaunches = 2048;
constexpr size_t kL2FetchGranularity = 64;

}  // namespace

Context::Context(Device& device, bool primary, unsigned context_flags)
    : flags(context_flags),
      device_(device),
      primary_(primary),
      id_(device.driver().next_id()),
      legacy_(*this, nullptr, Stream::Kind::kLegacy, 0, 0) {
  legacy_.handle = CU_STREAM_LEGACY;
}

Context::~Context() = default;

ContextRef Context::create(Device& device, bool primary, unsigned context_flags) {
  ContextRef context(new Context(device, primary, context_flags));
  context->handle_ = device.driver().contexts.insert(context);
  device.driver().add_context(context);
  if (!primary) context->activate();
  return context;
}

void Context::activate() {
  for (std::atomic<size_t>& limit : limits) limit = 0;
  limits[CU_LIMIT_STACK_SIZE] = kStackBytes;
  limits[CU_LIMIT_PRINTF_FIFO_SIZE] = kPrintfBytes;
  limits[CU_LIMIT_MALLOC_HEAP_SIZE] = kHeapBytes;
  limits[CU_LIMIT_DEV_RUNTIME_SYNC_DEPTH] = kSyncDepth;
  limits[CU_LIMIT_DEV_RUNTIME_PENDING_LAUNCH_COUNT] = kPendingLaunches;
  limits[CU_LIMIT_MAX_L2_FETCH_GRANULARITY] = kL2FetchGranularity;
  cache_config = CU_FUNC_CACHE_PREFER_NONE;
  failure_ = CUDA_SUCCESS;
  stop_ = false;
  heap_ = std::make_unique<DeviceHeap>(device_.memory, kHeapBytes);
  device_.output.set_limit(kPrintfBytes);
  active_.store(true, std::memory_order_release);
}

CUresult Context::retain() {
  assert(primary_);
  std::lock_guard lock(lifecycle_mutex_);
  if (retained_++ == 0) activate();
  return CUDA_SUCCESS;
}

CUresult Context::release() {
  {
    std::lock_guard lock(lifecycle_mutex_);
    if (retained_ == 0) return CUDA_ERROR_INVALID_CONTEXT;
    if (--retained_ > 0) return CUDA_SUCCESS;
  }
  shut_down();
  return CUDA_SUCCESS;
}

void Context::end_work() {
  // A program that ends its context without having waited may still expect what its last kernels
  // print; one that never ends must not hold it up.
  constexpr auto kGrace = std::chrono::milliseconds(50);
  constexpr auto kPoll = std::chrono::microseconds(200);
  const auto stop_at = std::chrono::steady_clock::now() + kGrace;
  for (const OperationRef& tail : all_tails()) {
    while (!tail->done()) {
      if (std::chrono::steady_clock::now() >= stop_at) {
        log::debug("context {} ends while its work still runs", id_);
        CUresult none = CUDA_SUCCESS;
        failure_.compare_exchange_strong(none, CUDA_ERROR_CONTEXT_IS_DESTROYED);
        stop_ = true;
        return;
      }
      std::this_thread::sleep_for(kPoll);
    }
  }
}

CUresult Context::set_heap_bytes(size_t bytes) {
  if (heap_->used()) return CUDA_ERROR_INVALID_VALUE;
  std::lock_guard lock(lifecycle_mutex_);
  heap_ = std::make_unique<DeviceHeap>(device_.memory, bytes);
  limits[CU_LIMIT_MALLOC_HEAP_SIZE] = bytes;
  return CUDA_SUCCESS;
}

void Context::shut_down() {
  // When the program ends, its work ends with it, as on a GPU; what kernels printed since the last
  // wait is lost.
  if (!active() || device_.driver().exiting()) return;
  end_work();
  const CUresult ended_with = synchronize();
  log::debug("context {} ends: {}", id_, static_cast<int>(ended_with));
  // Destructors of context-local storage may still make calls.
  driverabi::destroy_context_storage(handle_);
  std::lock_guard lock(lifecycle_mutex_);
  retained_ = 0;
  active_.store(false, std::memory_order_release);
  // From here on no call of the program gets into this context; what was already on its way has
  // finished or holds references of its own.
  for (const OperationRef& tail : all_tails()) tail->wait();
  if (device_.driver().config.check_leaks) device_.driver().check_report.add_leaks(this);
  remove_objects();
}

void Context::remove_objects() {
  Driver& all = device_.driver();
  const auto is_mine = [this](const auto& object) { return &object.context() == this; };
  all.events.remove_if(is_mine);
  all.streams.remove_if(is_mine);
  all.textures.remove_if(is_mine);
  all.surfaces.remove_if(is_mine);
  all.arrays.remove_if(is_mine);
  all.mipmapped_arrays.remove_if(is_mine);
  all.functions.remove_if([this](const Function& function) {
    return &function.context() == this && !function.module()->kept_across_resets();
  });
  all.modules.remove_if([this](const Module& module) {
    return &module.context() == this && !module.kept_across_resets();
  });
  Library::drop_modules_of(*this);
  {
    std::lock_guard lock(peers_mutex);
    for (Context* peer : peers) {
      all.memory_map.enable_peer(device_.ordinal, peer->device().ordinal, false);
    }
    peers.clear();
  }
  std::vector<StreamRef> streams;
  {
    std::lock_guard lock(order_mutex_);
    streams.swap(streams_);
    per_thread_.clear();
    orphans_.clear();
    legacy_.tail = nullptr;
    before_new_streams_ = nullptr;
  }
  heap_.reset();
  for (const Region& region : all.memory_map.of_context(this)) {
    switch (region.kind) {
      case Region::Kind::kVariable:  // freed with their module, which a graph may still hold
      case Region::Kind::kGraph:
      case Region::Kind::kArray:
        break;
      case Region::Kind::kRegistered:
        all.memory_map.remove(region.base);
        break;
      case Region::Kind::kPool:
        Pool::released(region.base);
        break;
      default:
        all.device(region.device)->memory.free_region(region.base);
        break;
    }
  }
  device_.trim_pools();
}

void Context::fail(CUresult error, const std::string& message) {
  CUresult none = CUDA_SUCCESS;
  if (!failure_.compare_exchange_strong(none, error)) return;
  const char* name = driverabi::error_name(error);
  log::error("{}: {}", name != nullptr ? name : "fault", message);
}

// ------------------------------------------------------------------ streams

void Context::add_stream(const StreamRef& stream) {
  if (before_new_streams_ != nullptr && !before_new_streams_->done()) {
    stream->tail = before_new_streams_;
  }
  streams_.push_back(stream);
}

StreamRef Context::create_stream(unsigned stream_flags, int priority) {
  auto stream = std::make_shared<Stream>(*this, shared_from_this(), Stream::Kind::kUser,
                                         stream_flags, priority);
  stream->handle = device_.driver().streams.insert(stream);
  std::lock_guard lock(order_mutex_);
  add_stream(stream);
  return stream;
}

StreamRef Context::per_thread_stream(uint64_t thread) {
  std::lock_guard lock(order_mutex_);
  StreamRef& stream = per_thread_[thread];
  if (stream == nullptr) {
    stream = std::make_shared<Stream>(*this, shared_from_this(), Stream::Kind::kPerThread, 0, 0);
    stream->handle = CU_STREAM_PER_THREAD;
    add_stream(stream);
  }
  return stream;
}

void Context::forget_stream(Stream& stream) {
  std::lock_guard lock(order_mutex_);
  std::erase_if(orphans_, [](const OperationRef& operation) { return operation->done(); });
  if (stream.tail != nullptr && !stream.tail->done()) orphans_.push_back(stream.tail);
  std::erase_if(streams_, [&stream](const StreamRef& one) { return one.get() == &stream; });
}

void Context::thread_ends(uint64_t thread) {
  StreamRef stream;
  {
    std::lock_guard lock(order_mutex_);
    auto found = per_thread_.find(thread);
    if (found == per_thread_.end()) return;
    stream = std::move(found->second);
    per_thread_.erase(found);
  }
  forget_stream(*stream);
}

// ------------------------------------------------------------------ the order of work

std::vector<OperationRef> Context::predecessors(const Stream& stream) {
  std::vector<OperationRef> after;
  const auto add = [&after](const OperationRef& operation) {
    if (operation != nullptr && !operation->done()) after.push_back(operation);
  };
  add(stream.tail);
  if (stream.kind() == Stream::Kind::kLegacy) {
    for (const StreamRef& other : streams_) {
      if (other->blocking()) add(other->tail);
    }
    for (const OperationRef& orphan : orphans_) add(orphan);
  } else if (stream.blocking()) {
    add(legacy_.tail);
  }
  return after;
}

OperationRef Context::submit_operation(Work work, std::span<const OperationRef> after) {
  Scheduler& scheduler = device_.driver().scheduler;
  if (does_nothing(work)) return scheduler.submit(nullptr, after);
  // What calls the program or waits for it keeps to threads of its own.
  const bool anywhere = std::holds_alternative<KernelWork>(work) ||
                        std::holds_alternative<CopyWork>(work) ||
                        std::holds_alternative<MemsetWork>(work);
  return scheduler.submit(
      [self = shared_from_this(), work = std::move(work)] { run_work(*self, work); }, after,
      anywhere);
}

OperationRef Context::enqueue(Stream& stream, Work work, std::span<const OperationRef> also_after) {
  std::lock_guard lock(order_mutex_);
  std::vector<OperationRef> after = predecessors(stream);
  after.insert(after.end(), also_after.begin(), also_after.end());
  stream.tail = submit_operation(std::move(work), after);
  return stream.tail;
}

OperationRef Context::enqueue_many(Stream& stream, const Expand& expand) {
  std::lock_guard lock(order_mutex_);
  stream.tail = expand(predecessors(stream));
  return stream.tail;
}

CUresult Context::submit(Stream& stream, Work work, const Describe& describe,
                         OperationRef* launched) {
  if (launched != nullptr) *launched = nullptr;
  if (CUresult error = check_legacy_during_capture(stream)) return error;
  if (std::shared_ptr<Capture> capture = stream.capture()) {
    NodeContent content;
    content.type = node_type(work);
    content.work = std::move(work);
    content.context = shared_from_this();
    if (describe) describe(content);
    return capture->record(stream, std::move(content));
  }
  OperationRef operation = enqueue(stream, std::move(work));
  if (device_.driver().config.launch_blocking) {
    if (CUresult error = wait_for(operation)) return error;
  }
  if (launched != nullptr) *launched = std::move(operation);
  return CUDA_SUCCESS;
}

CUresult Context::run_now(Stream& stream, Work work) {
  OperationRef claimed, submitted;
  {
    std::lock_guard lock(order_mutex_);
    const std::vector<OperationRef> after = predecessors(stream);
    if (after.empty()) {
      stream.tail = claimed = device_.driver().scheduler.claim();
    } else {
      stream.tail = submitted = submit_operation(std::move(work), after);
    }
  }
  if (claimed != nullptr) {
    run_work(*this, work);
    device_.driver().scheduler.complete(claimed);
  }
  return wait_for(submitted);
}

std::vector<OperationRef> Context::all_tails() {
  std::lock_guard lock(order_mutex_);
  std::vector<OperationRef> tails = orphans_;
  if (legacy_.tail != nullptr) tails.push_back(legacy_.tail);
  for (const StreamRef& stream : streams_) {
    if (stream->tail != nullptr) tails.push_back(stream->tail);
  }
  return tails;
}

OperationRef Context::join() { return submit_operation({}, all_tails()); }

void Context::wait_everywhere(const OperationRef& operation) {
  std::lock_guard lock(order_mutex_);
  const auto wait = [&](OperationRef& tail) {
    const OperationRef after[] = {tail, operation};
    tail = submit_operation({}, after);
  };
  wait(before_new_streams_);
  wait(legacy_.tail);
  for (const StreamRef& stream : streams_) wait(stream->tail);
}

bool Context::idle(const Stream& stream) {
  std::lock_guard lock(order_mutex_);
  return predecessors(stream).empty();
}

CUresult Context::synchronize() {
  for (const OperationRef& tail : all_tails()) device_.driver().scheduler.wait(tail);
  device_.output.flush();
  return failure();
}

CUresult Context::wait_for(const OperationRef& operation) {
  if (operation != nullptr) device_.driver().scheduler.wait(operation);
  device_.output.flush();
  return failure();
}

}  // namespace farcall::softgpu
