// What softgpu's driver needs from its execution engine: load PTX, look up kernels and variables,
// run a grid.
//
// A Program is one linked module: its variables live in device memory, its kernels are decoded on
// first use. Engine::launch() runs a whole grid and returns when it is done; it may be called from
// several threads at once (one per stream). Errors in PTX are a LoadError with line and construct;
// errors of a running kernel are a Fault. Nothing here knows of contexts, streams or CUDA's API.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace farcall::softgpu {

struct Dim3 {
  uint32_t x = 1, y = 1, z = 1;
};

struct Texture;        // texture.h
struct Surface;        // texture.h
class UnwrittenBytes;  // unwritten.h

// Where kernels may read and write. Device memory is host memory inside one reserved window (see
// driver/device_memory.h); pages of the window that no allocation owns are PROT_NONE, so a stray
// access inside it faults by page and one outside it by this check. Host ranges that kernels may
// see (pinned, managed) are asked for only when the address is outside the window.
class AddressSpace {
 public:
  virtual ~AddressSpace() = default;
  virtual uint64_t window_base() const = 0;
  virtual uint64_t window_bytes() const = 0;
  virtual bool host_visible(uint64_t address, size_t bytes) const = 0;
  // Memory for a module's variables; freed with the Program. nullptr: out of device memory.
  virtual void* allocate(size_t bytes, size_t alignment) = 0;
  virtual void deallocate(void* address) = 0;

  // ---- for messages and checkers ----
  // Exactly, to the byte, what kernels may use. Slower than the window.
  virtual bool allocated(uint64_t address, size_t bytes) const {
    return host_visible(address, bytes);
  }
  // What lies at an address or near it: "4 bytes past the end of a 1024-byte allocation at 0x...".
  virtual std::string describe(uint64_t address) const { return address == 0 ? "null" : ""; }
  // nullptr while nobody checks that.
  virtual UnwrittenBytes* unwritten() { return nullptr; }

  // What a kernel's texture or surface number means; a .texref's is the address of its variable.
  // nullptr: there is none, or no longer. A grid holds what it has used until it is done.
  virtual std::shared_ptr<const Texture> texture(uint64_t number) const;
  virtual std::shared_ptr<const Surface> surface(uint64_t number) const;
};

struct LoadError {
  enum class Kind { kInvalidPtx, kUnsupported, kUnresolved, kOutOfMemory, kNoSuchSymbol };
  Kind kind;
  int line = 0;  // in the PTX text, 1-based; 0: not about a line
  std::string
      message;  // names the construct: "line 17: unsupported instruction 'wgmma.mma_async...'"
};

struct ParamInfo {
  uint32_t offset, size;  // bytes in the parameter block
};

struct KernelInfo {
  std::string name;
  std::vector<ParamInfo> params;
  uint32_t param_bytes = 0;
  uint32_t static_shared_bytes = 0;
  uint32_t local_bytes = 0;     // per thread
  uint32_t constant_bytes = 0;  // user constant memory of the module
  uint32_t registers = 0;       // an estimate, at least 1, at most 255
  uint32_t max_threads = 1024;  // per block, from .maxntid if there
  Dim3 cluster = {0, 0, 0};     // .reqnctapercluster; zeros: not there
  int ptx_version = 0;          // PTX ISA, 10 * major + minor
  int target_sm = 0;            // 10 * major + minor
};

struct VariableInfo {
  void* address;
  size_t bytes;
  bool constant;
  bool managed;
  bool texture = false, surface = false;  // .texref, .surfref: the address stands for the binding
};

class DeviceHeap;  // device_heap.h
class Kernel;      // decoded entry point; owned by its Program

class Program {
 public:
  virtual ~Program() = default;
  virtual std::vector<std::string> kernel_names() const = 0;
  // The signature alone, without decoding the body; nullopt: no such kernel.
  virtual std::optional<KernelInfo> kernel_info(std::string_view name) const = 0;
  // Decodes on first use. On failure writes *error and returns nullptr.
  virtual const Kernel* kernel(std::string_view name, LoadError* error) = 0;
  // The same by the kernel's address in device code.
  virtual std::optional<KernelInfo> kernel_info_at(uint64_t address) const = 0;
  virtual const Kernel* kernel_at(uint64_t address, LoadError* error) = 0;
  virtual std::optional<VariableInfo> variable(std::string_view name) const = 0;
  virtual std::vector<std::string> variable_names() const = 0;
};

struct Launch {
  const Kernel* kernel;
  Dim3 grid, block;
  uint32_t dynamic_shared_bytes = 0;
  std::span<const std::byte> params;  // exactly KernelInfo::param_bytes
  bool cooperative = false;           // all blocks must be able to wait for each other
  // Set by any thread: the grid ends soon, with Fault::Kind::kStopped. nullptr: nobody will.
  const std::atomic<bool>* stop = nullptr;
  std::chrono::nanoseconds timeout{0};  // longer than that is Fault::Kind::kTimeout; 0: for ever
  DeviceHeap* heap = nullptr;           // of malloc() in kernels; nullptr: one of the engine's
  // CUDA's limit of the stack: how deep recursion may go. Frames are larger here than a GPU's, so
  // it is multiplied (kStackScale).
  uint64_t stack_bytes = 1024;
  Dim3 cluster;  // blocks of one; divides the grid
};

struct Fault {
  enum class Kind {
    kIllegalAddress,
    kMisaligned,
    kTrap,
    kAssert,
    kIllegalInstruction,
    kStackOverflow,
    kDeadlock,  // every thread of a block waits
    kTimeout,   // ran longer than it may
    kStopped,   // on request
  };
  Kind kind;
  std::string message;  // kernel, block, thread, PTX line, address: complete, ready to log
  uint64_t address = 0;
  // The same in pieces, for reports: "invalid write of 4 bytes"; where, who, what lies there.
  std::string title = {};
  std::vector<std::string> details = {};
};

// What checkers watch for (check.h).
struct CheckTools {
  bool memory = false;       // accesses to the byte
  bool races = false;        // between threads of a block, in shared memory
  bool initialized = false;  // reads of what nobody has written
  bool any() const { return memory || races || initialized; }
};
enum class CheckTool : uint8_t { kMemory, kRaces, kInitialized };

// What a checker has found. Found again, at the same instruction: `repeated`, without text.
struct Finding {
  CheckTool tool;
  bool repeated = false;
  std::string title;                 // "uninitialised read of 4 bytes"
  std::vector<std::string> details;  // where, who, what lies there
};

struct EngineOptions {
  unsigned workers = 0;  // threads that run blocks; 0: one per core
  int sm = 121;          // reported compute capability, 10 * major + minor
  // Text of device-side printf and assert, called in order, never concurrently.
  std::function<void(std::string_view text, bool is_stderr)> output;
  // cudaGraphSetConditional() in a kernel; false: there is no such condition. From any thread.
  std::function<bool(uint64_t handle, uint32_t value)> set_condition;
  // Turns of warps, of some thousand instructions each, that one thread may spend on a launch
  // before it ends with kTimeout. 0: no limit. For fuzzers, whose kernels may never end.
  uint32_t warp_turns_max = 0;
  CheckTools check;
  std::function<void(const Finding&)> report;  // called from any thread
};

class Engine {
 public:
  virtual ~Engine() = default;
  // Links all texts into one module (-rdc=true programs bring several). On failure writes *error,
  // returns nullptr.
  virtual std::unique_ptr<Program> load(std::span<const std::string_view> ptx,
                                        LoadError* error) = 0;
  // Blocks until the grid and all that it launches itself are done or one has faulted. The caller
  // has checked dimensions against the device's limits.
  virtual std::optional<Fault> launch(const Launch& launch) = 0;

  // `memory` outlives the engine.
  static std::unique_ptr<Engine> create(AddressSpace& memory, EngineOptions options);
};

}  // namespace farcall::softgpu
