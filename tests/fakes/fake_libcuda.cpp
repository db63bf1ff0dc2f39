// A libcuda.so.1 for the worker's own tests: device memory is host memory, a handful of "kernels"
// are functions here, and a stream can be made to hang until another stream releases it, which no
// real device does on demand. It is strict where the worker could go wrong: unknown pointers and
// handles are errors, memory registered as pinned is read when the copy's turn comes (not before),
// pageable memory when the call is made. What it was asked to do is appended to the file
// $FARCALL_FAKE_CUDA_LOG, a call a line.
//
// Kernels, by name: "fill" (address, count, value: 32-bit words), "hang" (the stream stops here
// until "release" runs in another stream), "trap" (all calls fail from the next wait on), "print"
// (to stdout), "bump" (address: adds 1 to a 32-bit word), "crash" (kills the process).
#include <cuda.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <condition_variable>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#define FAKE extern "C" __attribute__((visibility("default"))) CUresult CUDAAPI

struct CUctx_st {
  int device = 0;
  bool alive = true;
};
struct CUevent_st {
  int pending = 0;
};
struct CUstream_st {
  std::deque<std::function<bool()>> waiting;  // false: not yet
  bool hangs = false;
};
struct CUmod_st {
  std::map<std::string, std::string> kernels;
};
struct CUfunc_st {
  std::string name;
};

namespace {

constexpr int kDevices = 2;
constexpr size_t kDeviceBytes = size_t{1} << 30;
constexpr const char* kKernels[] = {"fill", "hang", "release", "trap", "print", "bump", "crash"};

struct State {
  std::mutex mutex;
  std::condition_variable progress;
  std::map<uintptr_t, size_t> memory, pinned;
  std::set<CUstream> streams;
  std::set<CUevent> events;
  std::set<CUmodule> modules;
  std::set<CUfunction> functions;
  std::set<CUcontext> contexts;
  std::array<CUctx_st*, kDevices> primary = {};
  CUstream_st legacy;
  CUresult sticky = CUDA_SUCCESS;
  CUresult sticky_next = CUDA_SUCCESS;  // a kernel failed; the next wait says so
  int log = -1;
};
State& state() {
  static State* const instance = [] {
    auto* created = new State;
    if (const char* path = std::getenv("FARCALL_FAKE_CUDA_LOG")) {
      created->log = ::open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    }
    return created;
  }();
  return *instance;
}
thread_local CUcontext current = nullptr;

void note(const char* format, ...) {
  if (state().log < 0) return;
  char line[256];
  va_list list;
  va_start(list, format);
  const int length = std::vsnprintf(line, sizeof line - 1, format, list);
  va_end(list);
  const size_t bytes = std::min(size_t(length), sizeof line - 2);
  line[bytes] = '\n';
  (void)!::write(state().log, line, bytes + 1);
}

using Lock = std::unique_lock<std::mutex>;

bool in(const std::map<uintptr_t, size_t>& ranges, const void* pointer, size_t bytes) {
  const auto address = reinterpret_cast<uintptr_t>(pointer);
  auto it = ranges.upper_bound(address);
  if (it == ranges.begin()) return false;
  --it;
  return address - it->first <= it->second && bytes <= it->second - (address - it->first);
}
bool on_device(CUdeviceptr pointer, size_t bytes) {
  return in(state().memory, reinterpret_cast<const void*>(pointer), bytes);
}

// Before every call that needs a context.
CUresult check() {
  if (state().sticky != CUDA_SUCCESS) return state().sticky;
  if (current == nullptr) return CUDA_ERROR_INVALID_CONTEXT;
  if (!state().contexts.contains(current)) return CUDA_ERROR_CONTEXT_IS_DESTROYED;
  return CUDA_SUCCESS;
}
CUresult after_wait() {
  if (state().sticky_next != CUDA_SUCCESS) state().sticky = state().sticky_next;
  return state().sticky;
}

CUstream_st* find_stream(CUstream stream) {
  if (stream == nullptr || stream == CU_STREAM_LEGACY || stream == CU_STREAM_PER_THREAD) {
    return &state().legacy;
  }
  return state().streams.contains(stream) ? stream : nullptr;
}

bool run(CUstream_st& stream) {
  bool progress = false;
  while (!stream.hangs && !stream.waiting.empty()) {
    const auto work = stream.waiting.front();
    if (!work()) break;
    stream.waiting.pop_front();
    progress = true;
  }
  return progress;
}
// One stream's progress may be what another waits for.
void run_all() {
  for (bool progress = true; progress;) {
    progress = run(state().legacy);
    for (CUstream stream : state().streams) progress |= run(*stream);
  }
  state().progress.notify_all();
}
CUresult enqueue_when(CUstream handle, std::function<bool()> work) {
  CUstream_st* const stream = find_stream(handle);
  if (stream == nullptr) return CUDA_ERROR_INVALID_HANDLE;
  stream->waiting.push_back(std::move(work));
  run_all();
  return CUDA_SUCCESS;
}
CUresult enqueue(CUstream handle, std::function<void()> work) {
  return enqueue_when(handle, [work = std::move(work)] {
    work();
    return true;
  });
}
bool idle(const CUstream_st& stream) { return !stream.hangs && stream.waiting.empty(); }

// `bytes` of host memory as CUDA would read them: at once, or later from pinned memory.
std::function<const void*()> host_source(const void* source, size_t bytes) {
  if (in(state().pinned, source, bytes)) return [source] { return source; };
  std::vector<char> copy(static_cast<const char*>(source),
                         static_cast<const char*>(source) + bytes);
  return [copy = std::move(copy)]() -> const void* { return copy.data(); };
}

// The kernels. Arguments lie packed in `block`.
CUresult launch(const std::string& name, CUstream stream, std::vector<char> block) {
  const auto argument = [&](size_t offset, auto* out) {
    if (offset + sizeof *out <= block.size()) std::memcpy(out, block.data() + offset, sizeof *out);
  };
  CUdeviceptr address = 0;
  argument(0, &address);
  if (name == "fill") {
    uint32_t count = 0, value = 0;
    argument(8, &count);
    argument(12, &value);
    return enqueue(stream, [=] {
      if (!on_device(address, size_t{count} * 4)) {
        state().sticky_next = CUDA_ERROR_ILLEGAL_ADDRESS;
        return;
      }
      std::fill_n(reinterpret_cast<uint32_t*>(address), count, value);
    });
  }
  if (name == "bump") {
    return enqueue(stream, [=] { ++*reinterpret_cast<uint32_t*>(address); });
  }
  if (name == "hang") {
    CUstream_st* const hanging = find_stream(stream);
    return enqueue(stream, [=] { hanging->hangs = true; });
  }
  if (name == "release") {
    return enqueue(stream, [] {
      for (CUstream other : state().streams) other->hangs = false;
    });
  }
  if (name == "trap") {
    return enqueue(stream, [] { state().sticky_next = CUDA_ERROR_ILLEGAL_INSTRUCTION; });
  }
  if (name == "print") {
    return enqueue(stream, [] { std::printf("printed by a kernel\n"); });
  }
  std::abort();  // "crash"
}

bool known_kernel(const char* name) {
  return std::any_of(std::begin(kKernels), std::end(kKernels),
                     [name](const char* known) { return std::strcmp(known, name) == 0; });
}

// PTX text is "good" unless it says "bad"; a wrapper leads to containers.
CUresult read_image(const void* image) {
  uint32_t magic = 0;
  std::memcpy(&magic, image, sizeof magic);
  if (magic == 0x466243b1) {
    struct Wrapper {
      uint32_t magic, version;
      const void* container;
      const void* const* linked;
    };
    const auto* wrapper = static_cast<const Wrapper*>(image);
    unsigned linked = 0;
    for (; wrapper->version == 2 && wrapper->linked[linked] != nullptr; ++linked) {
    }
    std::memcpy(&magic, wrapper->container, sizeof magic);
    note("wrapper version %u, %u linked", wrapper->version, linked);
    return magic == 0xba55ed50 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_IMAGE;
  }
  const auto* text = static_cast<const char*>(image);
  return std::strstr(text, "bad") != nullptr ? CUDA_ERROR_INVALID_PTX : CUDA_SUCCESS;
}

CUresult load(const void* image, unsigned count, CUjit_option* names, void** values,
              CUmod_st** out) {
  const Lock lock(state().mutex);
  if (const CUresult result = check()) return result;
  const CUresult result = read_image(image);
  for (unsigned i = 0; i < count; ++i) {
    note("jit option %d", int(names[i]));
    if (names[i] == CU_JIT_ERROR_LOG_BUFFER && result != CUDA_SUCCESS) {
      std::strcpy(static_cast<char*>(values[i]), "line 1: bad");
    }
  }
  if (result != CUDA_SUCCESS) return result;
  *out = new CUmod_st;
  state().modules.insert(*out);
  return CUDA_SUCCESS;
}
CUresult unload(CUmodule module) {
  const Lock lock(state().mutex);
  if (state().modules.erase(module) == 0) return CUDA_ERROR_INVALID_HANDLE;
  delete module;
  return CUDA_SUCCESS;
}
CUresult get_function(CUfunc_st** out, CUmodule module, const char* name) {
  const Lock lock(state().mutex);
  if (!state().modules.contains(module)) return CUDA_ERROR_INVALID_HANDLE;
  if (!known_kernel(name)) return CUDA_ERROR_NOT_FOUND;
  *out = new CUfunc_st{name};
  state().functions.insert(*out);
  return CUDA_SUCCESS;
}

}  // namespace

// --- Devices and contexts

FAKE cuInit(unsigned) {
  const char* failure = std::getenv("FARCALL_FAKE_CUDA_INIT");
  return failure != nullptr ? CUresult(std::atoi(failure)) : CUDA_SUCCESS;
}
FAKE cuDriverGetVersion(int* version) {
  *version = 13000;
  return CUDA_SUCCESS;
}
FAKE cuGetErrorName(CUresult error, const char** name) {
  *name = error == CUDA_ERROR_NO_DEVICE ? "CUDA_ERROR_NO_DEVICE" : "CUDA_ERROR_OF_THE_FAKE";
  return CUDA_SUCCESS;
}
FAKE cuGetErrorString(CUresult, const char** text) {
  *text = "an error of the fake driver";
  return CUDA_SUCCESS;
}
FAKE cuDeviceGetCount(int* count) {
  *count = kDevices;
  return CUDA_SUCCESS;
}
FAKE cuDeviceGet(CUdevice* device, int ordinal) {
  if (ordinal < 0 || ordinal >= kDevices) return CUDA_ERROR_INVALID_DEVICE;
  *device = ordinal;
  return CUDA_SUCCESS;
}
FAKE cuDeviceGetName(char* name, int length, CUdevice device) {
  std::snprintf(name, size_t(length), "Fake device %d", device);
  return CUDA_SUCCESS;
}
FAKE cuDeviceGetUuid_v2(CUuuid* uuid, CUdevice device) {
  std::memset(uuid->bytes, 0x10 + device, sizeof uuid->bytes);
  return CUDA_SUCCESS;
}
FAKE cuDeviceTotalMem_v2(size_t* bytes, CUdevice) {
  *bytes = kDeviceBytes;
  return CUDA_SUCCESS;
}
FAKE cuDeviceGetPCIBusId(char* id, int length, CUdevice device) {
  std::snprintf(id, size_t(length), "0000:%02x:00.0", device + 1);
  return CUDA_SUCCESS;
}
FAKE cuDeviceGetAttribute(int* value, CUdevice_attribute attribute, CUdevice device) {
  if (attribute > 100) return CUDA_ERROR_INVALID_VALUE;
  *value = 1000 * device + int(attribute);
  return CUDA_SUCCESS;
}
FAKE cuDevicePrimaryCtxRetain(CUcontext* context, CUdevice device) {
  const Lock lock(state().mutex);
  CUctx_st*& primary = state().primary[size_t(device)];
  if (primary == nullptr) {
    primary = new CUctx_st{device};
    state().contexts.insert(primary);
  }
  note("cuDevicePrimaryCtxRetain %d", device);
  *context = primary;
  return CUDA_SUCCESS;
}
FAKE cuDevicePrimaryCtxReset_v2(CUdevice device) {
  const Lock lock(state().mutex);
  state().contexts.erase(state().primary[size_t(device)]);
  state().primary[size_t(device)] = nullptr;
  state().sticky = state().sticky_next = CUDA_SUCCESS;
  return CUDA_SUCCESS;
}
FAKE cuCtxCreate_v2(CUcontext* context, unsigned, CUdevice device) {
  const Lock lock(state().mutex);
  *context = new CUctx_st{device};
  state().contexts.insert(*context);
  current = *context;
  return CUDA_SUCCESS;
}
FAKE cuCtxPopCurrent_v2(CUcontext* context) {
  *context = current;
  current = nullptr;
  return CUDA_SUCCESS;
}
FAKE cuCtxDestroy_v2(CUcontext context) {
  const Lock lock(state().mutex);
  if (state().contexts.erase(context) == 0) return CUDA_ERROR_INVALID_CONTEXT;
  delete context;
  return CUDA_SUCCESS;
}
FAKE cuCtxSetCurrent(CUcontext context) {
  note("cuCtxSetCurrent %d", context == nullptr ? -1 : context->device);
  current = context;
  return CUDA_SUCCESS;
}
FAKE cuCtxGetCurrent(CUcontext* context) {
  *context = current;
  return CUDA_SUCCESS;
}
FAKE cuCtxSynchronize() {
  Lock lock(state().mutex);
  if (const CUresult result = check()) return result;
  state().progress.wait(lock, [] {
    return idle(state().legacy) && std::all_of(state().streams.begin(), state().streams.end(),
                                               [](CUstream stream) { return idle(*stream); });
  });
  return after_wait();
}

// --- Memory

FAKE cuMemAlloc_v2(CUdeviceptr* pointer, size_t bytes) {
  const Lock lock(state().mutex);
  if (const CUresult result = check()) return result;
  if (bytes > kDeviceBytes) return CUDA_ERROR_OUT_OF_MEMORY;
  void* memory = std::calloc(1, bytes);
  state().memory[reinterpret_cast<uintptr_t>(memory)] = bytes;
  *pointer = reinterpret_cast<CUdeviceptr>(memory);
  return CUDA_SUCCESS;
}
FAKE cuMemFree_v2(CUdeviceptr pointer) {
  const Lock lock(state().mutex);
  if (const CUresult result = check()) return result;
  if (state().memory.erase(uintptr_t(pointer)) == 0) return CUDA_ERROR_INVALID_VALUE;
  std::free(reinterpret_cast<void*>(pointer));
  return CUDA_SUCCESS;
}
FAKE cuMemHostRegister_v2(void* memory, size_t bytes, unsigned) {
  const Lock lock(state().mutex);
  if (const CUresult result = check()) return result;
  state().pinned[reinterpret_cast<uintptr_t>(memory)] = bytes;
  return CUDA_SUCCESS;
}
FAKE cuMemcpyHtoDAsync_v2(CUdeviceptr destination, const void* source, size_t bytes,
                          CUstream stream) {
  const Lock lock(state().mutex);
  if (const CUresult result = check()) return result;
  if (!on_device(destination, bytes)) return CUDA_ERROR_INVALID_VALUE;
  const bool pinned = in(state().pinned, source, bytes);
  note("cuMemcpyHtoDAsync_v2 %zu %s", bytes, pinned ? "pinned" : "pageable");
  return enqueue(stream, [=, from = host_source(source, bytes)] {
    std::memcpy(reinterpret_cast<void*>(destination), from(), bytes);
  });
}
FAKE cuMemcpyDtoHAsync_v2(void* destination, CUdeviceptr source, size_t bytes, CUstream stream) {
  const Lock lock(state().mutex);
  if (const CUresult result = check()) return result;
  if (!on_device(source, bytes)) return CUDA_ERROR_INVALID_VALUE;
  return enqueue(stream,
                 [=] { std::memcpy(destination, reinterpret_cast<const void*>(source), bytes); });
}
FAKE cuMemcpyDtoDAsync_v2(CUdeviceptr destination, CUdeviceptr source, size_t bytes,
                          CUstream stream) {
  const Lock lock(state().mutex);
  if (const CUresult result = check()) return result;
  if (!on_device(destination, bytes) || !on_device(source, bytes)) return CUDA_ERROR_INVALID_VALUE;
  return enqueue(stream, [=] {
    std::memmove(reinterpret_cast<void*>(destination), reinterpret_cast<const void*>(source),
                 bytes);
  });
}
FAKE cuMemcpy3DAsync_v2(const CUDA_MEMCPY3D* copy, CUstream stream) {
  const Lock lock(state().mutex);
  if (const CUresult result = check()) return result;
  const auto row_of = [](bool host, const void* memory, CUdeviceptr device, size_t x, size_t y,
                         size_t z, size_t pitch, size_t height, size_t row, size_t slice) {
    const auto base = host ? reinterpret_cast<uintptr_t>(memory) : uintptr_t(device);
    return base + ((z + slice) * height + y + row) * pitch + x;
  };
  const CUDA_MEMCPY3D c = *copy;
  if (c.srcMemoryType == CU_MEMORYTYPE_ARRAY || c.dstMemoryType == CU_MEMORYTYPE_ARRAY) {
    return CUDA_ERROR_NOT_SUPPORTED;
  }
  note("cuMemcpy3DAsync_v2 %zu x %zu x %zu", c.WidthInBytes, c.Height, c.Depth);
  // A host source is read when its turn comes only if it is pinned.
  const bool from_host = c.srcMemoryType == CU_MEMORYTYPE_HOST;
  const auto source =
      from_host ? host_source(c.srcHost, c.srcPitch * c.srcHeight * c.Depth) : nullptr;
  return enqueue(stream, [=] {
    for (size_t slice = 0; slice < c.Depth; ++slice) {
      for (size_t row = 0; row < c.Height; ++row) {
        const auto from =
            row_of(from_host, from_host ? source() : nullptr, c.srcDevice, c.srcXInBytes, c.srcY,
                   c.srcZ, c.srcPitch, c.srcHeight, row, slice);
        const auto to = row_of(c.dstMemoryType == CU_MEMORYTYPE_HOST, c.dstHost, c.dstDevice,
                               c.dstXInBytes, c.dstY, c.dstZ, c.dstPitch, c.dstHeight, row, slice);
        std::memcpy(reinterpret_cast<void*>(to), reinterpret_cast<const void*>(from),
                    c.WidthInBytes);
      }
    }
  });
}

// --- Streams and events

FAKE cuStreamCreate(CUstream* stream, unsigned) {
  const Lock lock(state().mutex);
  if (const CUresult result = check()) return result;
  *stream = new CUstream_st;
  state().streams.insert(*stream);
  return CUDA_SUCCESS;
}
FAKE cuStreamDestroy_v2(CUstream stream) {
  const Lock lock(state().mutex);
  if (state().streams.erase(stream) == 0) return CUDA_ERROR_INVALID_HANDLE;
  delete stream;
  return CUDA_SUCCESS;
}
FAKE cuStreamQuery(CUstream handle) {
  const Lock lock(state().mutex);
  if (const CUresult result = check()) return result;
  const CUstream_st* const stream = find_stream(handle);
  if (stream == nullptr) return CUDA_ERROR_INVALID_HANDLE;
  return idle(*stream) ? after_wait() : CUDA_ERROR_NOT_READY;
}
FAKE cuStreamSynchronize(CUstream handle) {
  Lock lock(state().mutex);
  if (const CUresult result = check()) return result;
  const CUstream_st* const stream = find_stream(handle);
  if (stream == nullptr) return CUDA_ERROR_INVALID_HANDLE;
  state().progress.wait(lock, [stream] { return idle(*stream); });
  return after_wait();
}
FAKE cuStreamIsCapturing(CUstream, CUstreamCaptureStatus* status) {
  *status = CU_STREAM_CAPTURE_STATUS_NONE;
  return CUDA_SUCCESS;
}
FAKE cuEventCreate(CUevent* event, unsigned) {
  const Lock lock(state().mutex);
  if (const CUresult result = check()) return result;
  *event = new CUevent_st;
  state().events.insert(*event);
  return CUDA_SUCCESS;
}
FAKE cuEventDestroy_v2(CUevent event) {
  const Lock lock(state().mutex);
  if (state().events.erase(event) == 0) return CUDA_ERROR_INVALID_HANDLE;
  delete event;
  return CUDA_SUCCESS;
}
FAKE cuEventRecord(CUevent event, CUstream stream) {
  const Lock lock(state().mutex);
  if (const CUresult result = check()) return result;
  if (!state().events.contains(event)) return CUDA_ERROR_INVALID_HANDLE;
  ++event->pending;
  return enqueue(stream, [event] { --event->pending; });
}
FAKE cuStreamWaitEvent(CUstream stream, CUevent event, unsigned) {
  const Lock lock(state().mutex);
  if (const CUresult result = check()) return result;
  if (!state().events.contains(event)) return CUDA_ERROR_INVALID_HANDLE;
  note("cuStreamWaitEvent");
  return enqueue_when(stream, [event] { return event->pending == 0; });
}
FAKE cuEventQuery(CUevent event) {
  const Lock lock(state().mutex);
  if (!state().events.contains(event)) return CUDA_ERROR_INVALID_HANDLE;
  if (state().sticky != CUDA_SUCCESS) return state().sticky;
  return event->pending == 0 ? CUDA_SUCCESS : CUDA_ERROR_NOT_READY;
}
FAKE cuEventSynchronize(CUevent event) {
  Lock lock(state().mutex);
  if (!state().events.contains(event)) return CUDA_ERROR_INVALID_HANDLE;
  state().progress.wait(lock, [event] { return event->pending == 0; });
  return after_wait();
}

// --- Code

FAKE cuModuleLoadDataEx(CUmodule* module, const void* image, unsigned count, CUjit_option* names,
                        void** values) {
  return load(image, count, names, values, module);
}
FAKE cuModuleUnload(CUmodule module) { return unload(module); }
FAKE cuModuleGetFunction(CUfunction* function, CUmodule module, const char* name) {
  return get_function(function, module, name);
}
FAKE cuLibraryLoadData(CUlibrary* library, const void* image, CUjit_option* names, void** values,
                       unsigned count, CUlibraryOption*, void**, unsigned) {
  return load(image, count, names, values, reinterpret_cast<CUmodule*>(library));
}
FAKE cuLibraryUnload(CUlibrary library) { return unload(reinterpret_cast<CUmodule>(library)); }
FAKE cuLibraryGetKernel(CUkernel* kernel, CUlibrary library, const char* name) {
  return get_function(reinterpret_cast<CUfunction*>(kernel), reinterpret_cast<CUmodule>(library),
                      name);
}
FAKE cuLaunchKernel(CUfunction function, unsigned gx, unsigned, unsigned, unsigned bx, unsigned,
                    unsigned, unsigned, CUstream stream, void** params, void** extra) {
  const Lock lock(state().mutex);
  if (const CUresult result = check()) return result;
  if (!state().functions.contains(function) || params != nullptr) return CUDA_ERROR_INVALID_HANDLE;
  if (gx == 0 || bx == 0) return CUDA_ERROR_INVALID_VALUE;
  std::vector<char> block;
  if (extra != nullptr) {
    if (extra[0] != CU_LAUNCH_PARAM_BUFFER_POINTER || extra[2] != CU_LAUNCH_PARAM_BUFFER_SIZE) {
      return CUDA_ERROR_INVALID_VALUE;
    }
    const auto* from = static_cast<const char*>(extra[1]);
    block.assign(from, from + *static_cast<size_t*>(extra[3]));
  }
  return launch(function->name, stream, std::move(block));
}
FAKE cuLaunchKernelEx(const CUlaunchConfig* config, CUfunction function, void** params,
                      void** extra) {
  for (unsigned i = 0; i < config->numAttrs; ++i) note("launch attribute %d", config->attrs[i].id);
  return cuLaunchKernel(function, config->gridDimX, config->gridDimY, config->gridDimZ,
                        config->blockDimX, config->blockDimY, config->blockDimZ,
                        config->sharedMemBytes, config->hStream, params, extra);
}
