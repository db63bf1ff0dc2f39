// The things a stream can be asked to do, as values: the same value is run at once, kept in a
// stream's queue, or recorded as the node of a graph and run many times. Addresses and sizes were
// checked by whoever made it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <variant>
#include <vector>

#include "softgpu/driver/api.h"
#include "softgpu/exec/engine.h"

namespace farcall::softgpu {

class Context;
class Event;
class Function;

struct KernelWork {
  std::shared_ptr<Function> function;
  const Kernel* code = nullptr;  // of the engine; owned by the function's module
  Dim3 grid, block;
  uint32_t dynamic_shared_bytes = 0;
  bool cooperative = false;
  Dim3 cluster;
  std::vector<std::byte> params;
};

// Rows in planes. A plain copy is one row.
struct CopyWork {
  const std::byte* source = nullptr;
  std::byte* target = nullptr;
  size_t width = 0, height = 1, depth = 1;  // width in bytes
  size_t source_pitch = 0, source_plane = 0;
  size_t target_pitch = 0, target_plane = 0;
  std::vector<std::byte> staged;  // if not empty, what `source` pointed to, tightly packed
  std::shared_ptr<void> source_keep, target_keep;  // arrays

  size_t bytes() const { return width * height * depth; }
  void stage();  // the source may change from now on
};

struct MemsetWork {
  std::byte* target = nullptr;
  uint32_t value = 0;
  uint32_t element_bytes = 1;               // 1, 2 or 4
  size_t width = 0, height = 1, pitch = 0;  // width in elements, pitch in bytes
};

struct HostWork {
  CUhostFn function = nullptr;
  void* user_data = nullptr;
};

// cuStreamAddCallback: unlike a host function it is also called after a fault, and told of it.
struct CallbackWork {
  CUstreamCallback function = nullptr;
  CUstream stream = nullptr;
  void* user_data = nullptr;
};

// cuMemFreeAsync.
struct FreeWork {
  uint64_t address = 0;
};

// One of cuStreamWriteValue, cuStreamWaitValue.
struct WordOperation {
  enum class Kind : uint8_t { kWrite, kWaitGreaterEqual, kWaitEqual, kWaitAnd, kWaitNor };
  Kind kind = Kind::kWrite;
  uint64_t address = 0;
  uint64_t value = 0;
  bool is_64_bit = false;
};

// cuStreamBatchMemOp: one after the other.
struct WordsWork {
  std::vector<WordOperation> operations;
};

// std::monostate does nothing: a marker, an empty node.
using Work = std::variant<std::monostate, KernelWork, CopyWork, MemsetWork, HostWork, CallbackWork,
                          FreeWork, WordsWork>;

inline bool does_nothing(const Work& work) { return std::holds_alternative<std::monostate>(work); }

// Runs it on this thread, for the context. A fault of a kernel makes the context fail.
void run_work(Context& context, const Work& work);

void copy_now(const CopyWork& copy);
void memset_now(const MemsetWork& memset);

}  // namespace farcall::softgpu
