#include "softgpu/driver/driver.h"

#include <pthread.h>
#include <unistd.h>

#include <fmt/format.h>

#include <cassert>
#include <cstdlib>

#include "base/log.h"
#include "driverabi/error_names.h"
#include "driverabi/private_tables.h"
#include "softgpu/driver/context.h"
#include "softgpu/driver/device.h"
#include "softgpu/driver/module.h"
#include "softgpu/driver/stream.h"
#include "softgpu/driver/thread_state.h"
#include "softgpu/driver/virtual_memory.h"

namespace farcall::softgpu {
namespace {

std::atomic<Driver*> the_driver = nullptr;
// The threads that run streams do not exist in a forked child, and locks may be held there for
// ever. Like NVIDIA's driver, this one can't be used any more; the check is in ApiCall.
std::atomic<bool> forked = false;

void in_forked_child() {
  if (the_driver.load() == nullptr) return;
  forked = true;
  driverabi::deinitialise();
}

}  // namespace

Driver::Driver(Config from_environment)
    : config(std::move(from_environment)), process(getpid()), virtual_memory(*new VirtualMemory) {}

Driver* Driver::get() { return the_driver.load(std::memory_order_acquire); }

CUresult Driver::initialise() {
  if (forked) return CUDA_ERROR_NOT_INITIALIZED;
  static std::mutex& mutex = *new std::mutex;
  std::lock_guard lock(mutex);
  if (get() == nullptr) {
    log::set_name("softgpu");
    Config config = config_from_environment();
    const std::vector<int> visible = driverabi::visible_devices(
        config.visible_devices ? config.visible_devices->c_str() : nullptr,
        Device::all_uuids(config));
    if (visible.empty()) return CUDA_ERROR_NO_DEVICE;
    auto* created = new Driver(std::move(config));
    for (const int number : visible) {
      const int ordinal = created->device_count();
      created->devices_.push_back(new Device(*created, ordinal, number));
    }
    pthread_atfork(nullptr, nullptr, in_forked_child);
    // Runs before what NVIDIA's runtime, which was there earlier, does when the program ends.
    std::atexit([] { the_driver.load()->exiting_ = true; });
    the_driver.store(created, std::memory_order_release);
  }
  return CUDA_SUCCESS;
}

Device* Driver::device(CUdevice ordinal) const {
  return ordinal >= 0 && ordinal < device_count() ? devices_[static_cast<size_t>(ordinal)]
                                                  : nullptr;
}

void Driver::add_context(const ContextRef& context) {
  std::lock_guard lock(mutex_);
  std::erase_if(contexts_, [](const std::weak_ptr<Context>& gone) { return gone.expired(); });
  contexts_.push_back(context);
}

std::vector<ContextRef> Driver::live_contexts() const {
  std::lock_guard lock(mutex_);
  std::vector<ContextRef> live;
  for (const std::weak_ptr<Context>& context : contexts_) {
    if (ContextRef reference = context.lock()) live.push_back(std::move(reference));
  }
  return live;
}

bool Driver::says_first(const std::string& sentence) {
  constexpr size_t kSentencesMax = 1000;  // afterwards all are old
  std::lock_guard lock(mutex_);
  return said_.size() < kSentencesMax && said_.insert(sentence).second;
}

void Driver::thread_ends(uint64_t number) {
  if (forked) return;
  for (const ContextRef& context : live_contexts()) context->thread_ends(number);
}

Driver& driver() {
  Driver* instance = Driver::get();
  assert(instance != nullptr);
  return *instance;
}

CUresult current_context_even_failed(ContextRef* out) {
  ThreadState& thread = this_thread();
  if (thread.contexts.empty()) return CUDA_ERROR_INVALID_CONTEXT;
  if (!thread.contexts.back()->active()) return CUDA_ERROR_CONTEXT_IS_DESTROYED;
  *out = thread.contexts.back();
  return CUDA_SUCCESS;
}

CUresult current_context(ContextRef* out) {
  if (CUresult error = current_context_even_failed(out)) return error;
  return (*out)->failure();
}

CUresult find_context(CUcontext handle, ContextRef* out) {
  if (handle == nullptr) return current_context_even_failed(out);
  *out = driver().contexts.find(handle);
  return *out != nullptr ? CUDA_SUCCESS : CUDA_ERROR_INVALID_CONTEXT;
}

CUresult find_device(CUdevice ordinal, Device** out) {
  *out = driver().device(ordinal);
  return *out != nullptr ? CUDA_SUCCESS : CUDA_ERROR_INVALID_DEVICE;
}

CUresult find_stream(CUstream handle, StreamRef* out) {
  if (handle == nullptr) {
    handle = this_thread().per_thread_default_stream ? CU_STREAM_PER_THREAD : CU_STREAM_LEGACY;
  }
  if (handle == CU_STREAM_LEGACY || handle == CU_STREAM_PER_THREAD) {
    ContextRef context;
    if (CUresult error = current_context(&context)) return error;
    *out = handle == CU_STREAM_LEGACY ? context->legacy_stream()
                                      : context->per_thread_stream(this_thread().number);
    return CUDA_SUCCESS;
  }
  *out = driver().streams.find(handle);
  if (*out == nullptr) return CUDA_ERROR_INVALID_HANDLE;
  if (!(*out)->context().active()) return CUDA_ERROR_CONTEXT_IS_DESTROYED;
  return (*out)->context().failure();
}

CUresult find_function(CUfunction handle, FunctionRef* out) {
  if (decltype(Driver::kernels)::is_kind(handle)) {
    std::shared_ptr<LibraryKernel> kernel = driver().kernels.find(handle);
    if (kernel == nullptr) return CUDA_ERROR_INVALID_HANDLE;
    ContextRef context;
    if (CUresult error = current_context(&context)) return error;
    return kernel->function(context, out);
  }
  *out = driver().functions.find(handle);
  return *out != nullptr ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

// ------------------------------------------------------------------ every call passes here

ApiCall::ApiCall(const char* name, unsigned options)
    : name_(name), was_per_thread_(this_thread().per_thread_default_stream) {
  ThreadState& thread = this_thread();
  thread.per_thread_default_stream = (options & kPerThreadDefaultStream) != 0;
  if ((options & kAlwaysAllowed) != 0) return;
  if (forked.load(std::memory_order_relaxed) || Driver::get() == nullptr) {
    refusal_ = CUDA_ERROR_NOT_INITIALIZED;
  } else if (thread.host_functions > 0) {
    refusal_ = CUDA_ERROR_NOT_PERMITTED;
  }
  if (refused()) log::debug("{} refused: {}", name_, static_cast<int>(refusal_));
}

void ApiCall::from(const void* return_address) { this_thread().caller = return_address; }

ApiCall::~ApiCall() { this_thread().per_thread_default_stream = was_per_thread_; }

CUresult ApiCall::result(CUresult result) const {
  log::trace("{} = {}", name_, static_cast<int>(result));
  if (result != CUDA_SUCCESS && result != CUDA_ERROR_NOT_READY) {
    const char* error = nullptr;
    if (driverabi::get_error_name(result, &error) != CUDA_SUCCESS)
      error = "an error of the runtime";
    error_log().add(CU_LOG_LEVEL_ERROR, fmt::format("[CUDA][E] {} returned {}", name_, error));
  }
  return result;
}

CUresult ApiCall::exception() const {
  try {
    throw;
  } catch (const std::bad_alloc&) {
    log::error("{}: out of host memory", name_);
    return CUDA_ERROR_OUT_OF_MEMORY;
  } catch (const std::exception& error) {
    log::error("{}: {}", name_, error.what());
    return CUDA_ERROR_UNKNOWN;
  }
}

CUresult NotSupported::answer() {
  if (!logged_.exchange(true)) log::warning("{} is not supported by softgpu", name_);
  return CUDA_ERROR_NOT_SUPPORTED;
}

InHostFunction::InHostFunction() { ++this_thread().host_functions; }
InHostFunction::~InHostFunction() { --this_thread().host_functions; }

}  // namespace farcall::softgpu
