#include "softgpu/driver/ipc.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <map>

#include "base/log.h"
#include "softgpu/driver/capture.h"
#include "softgpu/driver/context.h"
#include "softgpu/driver/device.h"
#include "softgpu/driver/event.h"
#include "softgpu/driver/memory.h"

namespace farcall::softgpu {
namespace {

constexpr size_t kPage = 4096;

// What is in the 64 bytes.
struct Handle {
  char magic[8];
  uint64_t id;
  int32_t process;
  int32_t fd;
};
static_assert(sizeof(Handle) <= CU_IPC_HANDLE_SIZE);
constexpr char kMagic[8] = "farcall";

void write_handle(const SharedFile& file, char (&out)[CU_IPC_HANDLE_SIZE]) {
  Handle handle = {};
  std::memcpy(handle.magic, kMagic, sizeof(kMagic));
  handle.id = file.label().id;
  handle.process = getpid();
  handle.fd = file.fd();
  std::memset(out, 0, sizeof(out));
  std::memcpy(out, &handle, sizeof(handle));
}

CUresult read_handle(const char (&in)[CU_IPC_HANDLE_SIZE], Handle* out) {
  std::memcpy(out, in, sizeof(*out));
  return std::memcmp(out->magic, kMagic, sizeof(kMagic)) == 0 ? CUDA_SUCCESS
                                                              : CUDA_ERROR_INVALID_VALUE;
}

// Memory of other processes that is open here.
struct Opened {
  uint64_t base = 0, region_id = 0;
  unsigned count = 0;
};
struct Registry {
  std::mutex mutex;
  std::map<std::pair<uint64_t, int>, Opened> opened;  // (file, device); guarded by mutex
};
Registry& registry() {
  static Registry& instance = *new Registry;
  return instance;
}

}  // namespace

// ------------------------------------------------------------------ events

// Tickets that are further apart than there are marks can't both be waited for exactly: the older
// one then counts as done when the younger one is.
struct SharedEvent::Words {
  static constexpr size_t kMarks = 500;
  std::atomic<uint64_t> recorded;
  std::atomic<uint64_t> done[kMarks];  // the largest ticket that is, of those with this remainder
};

CUresult SharedEvent::create(int device, std::shared_ptr<SharedEvent>* out) {
  static_assert(sizeof(Words) <= kPage && std::atomic<uint64_t>::is_always_lock_free);
  SharedFile::Label label;
  label.kind = SharedFile::Kind::kEvent;
  label.device = device;
  label.bytes = sizeof(Words);
  SharedFile file;
  if (CUresult error = SharedFile::create(label, kPage, &file)) return error;
  return open(std::move(file), out);
}

CUresult SharedEvent::open(SharedFile file, std::shared_ptr<SharedEvent>* out) {
  if (file.label().bytes != sizeof(Words) || file.label().start != 0) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  void* words = mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_SHARED, file.fd(), 0);
  if (words == MAP_FAILED) return CUDA_ERROR_MAP_FAILED;
  std::shared_ptr<SharedEvent> event(new SharedEvent);
  event->file_ = std::move(file);
  event->words_ = static_cast<Words*>(words);
  *out = std::move(event);
  return CUDA_SUCCESS;
}

SharedEvent::~SharedEvent() {
  if (words_ != nullptr) munmap(words_, kPage);
}

uint64_t SharedEvent::begin() { return words_->recorded.fetch_add(1) + 1; }
uint64_t SharedEvent::recorded() const { return words_->recorded.load(); }

void SharedEvent::complete(uint64_t ticket) {
  std::atomic<uint64_t>& mark = words_->done[ticket % Words::kMarks];
  uint64_t before = mark.load();
  while (before < ticket && !mark.compare_exchange_weak(before, ticket)) {
  }
}

bool SharedEvent::done(uint64_t ticket) const {
  return words_->done[ticket % Words::kMarks].load() >= ticket;
}

CUresult api::cuIpcGetEventHandle(CUipcEventHandle* out, CUevent handle) {
  std::shared_ptr<Event> event = driver().events.find(handle);
  if (event == nullptr) return CUDA_ERROR_INVALID_HANDLE;
  if (out == nullptr || event->shared == nullptr) return CUDA_ERROR_INVALID_VALUE;
  write_handle(event->shared->file(), out->reserved);
  return CUDA_SUCCESS;
}

CUresult api::cuIpcOpenEventHandle(CUevent* out, CUipcEventHandle bytes) {
  ContextRef context;
  if (CUresult error = current_context(&context)) return error;
  Handle handle;
  if (CUresult error = read_handle(bytes.reserved, &handle)) return error;
  if (out == nullptr) return CUDA_ERROR_INVALID_VALUE;
  SharedFile file;
  if (CUresult error =
          SharedFile::open(handle.process, handle.fd, handle.id, SharedFile::Kind::kEvent, &file)) {
    return error;
  }
  auto event = std::make_shared<Event>(context, CU_EVENT_DISABLE_TIMING | CU_EVENT_INTERPROCESS);
  if (CUresult error = SharedEvent::open(std::move(file), &event->shared)) return error;
  *out = event->handle = driver().events.insert(event);
  return CUDA_SUCCESS;
}

// ------------------------------------------------------------------ memory

// Memory that is shared for the first time moves to pages of a file: that waits for the work which
// is running.
CUresult api::cuIpcGetMemHandle(CUipcMemHandle* out, CUdeviceptr pointer) {
  ContextRef context;
  if (CUresult error = current_context(&context)) return error;
  if (out == nullptr) return CUDA_ERROR_INVALID_VALUE;
  if (CUresult error = check_unsafe_call()) return error;
  const Place place = locate(pointer, 1);
  if (place.kind != Place::Kind::kDevice || place.region->kind != Region::Kind::kDevice) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  std::shared_ptr<const SharedFile> file;
  {
    const std::lock_guard alone(driver().memory_moves);
    DeviceMemory& memory = driver().device(place.region->device)->memory;
    if (CUresult error = memory.share(place.region->base, &file)) {
      if (error == CUDA_ERROR_NOT_SUPPORTED) {
        log::warning(
            "cuIpcGetMemHandle: small memory can't be shared once there are {} allocations",
            DeviceMemory::kGuardedMax);
      }
      return error;
    }
  }
  write_handle(*file, out->reserved);
  return CUDA_SUCCESS;
}

CUresult api::cuIpcOpenMemHandle_v2(CUdeviceptr* out, CUipcMemHandle bytes, unsigned flags) {
  ContextRef context;
  if (CUresult error = current_context(&context)) return error;
  Handle handle;
  if (CUresult error = read_handle(bytes.reserved, &handle)) return error;
  if (out == nullptr || flags != CU_IPC_MEM_LAZY_ENABLE_PEER_ACCESS) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  if (CUresult error = check_unsafe_call()) return error;
  if (handle.process == getpid()) return CUDA_ERROR_INVALID_CONTEXT;  // its own memory
  Device& device = context->device();
  std::lock_guard lock(registry().mutex);
  Opened& opened = registry().opened[{handle.id, device.ordinal}];
  if (opened.count > 0) {
    // Unless it ended with its context.
    const std::optional<Region> there = driver().memory_map.find(opened.base);
    if (there && there->id == opened.region_id) {
      ++opened.count;
      *out = opened.base;
      return CUDA_SUCCESS;
    }
    opened.count = 0;
  }
  SharedFile file;
  if (CUresult error = SharedFile::open(handle.process, handle.fd, handle.id,
                                        SharedFile::Kind::kMemory, &file)) {
    return error;
  }
  Region region;
  region.kind = Region::Kind::kImported;
  region.context = context.get();
  const SharedFile::Label& label = file.label();
  opened.base =
      device.memory.map_region(file.fd(), 0, file.pages(), label.start, label.bytes, 0, region);
  if (opened.base == 0) return CUDA_ERROR_MAP_FAILED;
  opened.region_id = driver().memory_map.find(opened.base)->id;
  opened.count = 1;
  *out = opened.base;
  return CUDA_SUCCESS;
}
CUresult api::cuIpcOpenMemHandle(CUdeviceptr* out, CUipcMemHandle handle, unsigned flags) {
  return api::cuIpcOpenMemHandle_v2(out, handle, flags);
}

CUresult api::cuIpcCloseMemHandle(CUdeviceptr pointer) {
  ContextRef context;
  if (CUresult error = current_context(&context)) return error;
  if (CUresult error = check_unsafe_call()) return error;
  const std::optional<Region> region = driver().memory_map.find(pointer);
  if (!region || region->kind != Region::Kind::kImported || region->base != pointer) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  std::lock_guard lock(registry().mutex);
  for (auto entry = registry().opened.begin(); entry != registry().opened.end(); ++entry) {
    if (entry->second.region_id != region->id) continue;
    if (--entry->second.count > 0) return CUDA_SUCCESS;
    registry().opened.erase(entry);
    break;
  }
  if (CUresult error = region->context->synchronize()) return error;
  driver().device(region->device)->memory.free_region(pointer);
  return CUDA_SUCCESS;
}

}  // namespace farcall::softgpu
