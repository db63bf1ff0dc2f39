#include "softgpu/driver/work.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <shared_mutex>
#include <thread>

#include "softgpu/driver/context.h"
#include "softgpu/driver/device.h"
#include "softgpu/driver/module.h"
#include "softgpu/driver/pool.h"
#include "softgpu/exec/unwritten.h"

namespace farcall::softgpu {
namespace {

CUresult result_of(Fault::Kind kind) {
  switch (kind) {
    case Fault::Kind::kIllegalAddress:
      return CUDA_ERROR_ILLEGAL_ADDRESS;
    case Fault::Kind::kMisaligned:
      return CUDA_ERROR_MISALIGNED_ADDRESS;
    case Fault::Kind::kTrap:
      return CUDA_ERROR_LAUNCH_FAILED;
    case Fault::Kind::kAssert:
      return CUDA_ERROR_ASSERT;
    case Fault::Kind::kIllegalInstruction:
      return CUDA_ERROR_ILLEGAL_INSTRUCTION;
    case Fault::Kind::kStackOverflow:
      return CUDA_ERROR_HARDWARE_STACK_ERROR;
    case Fault::Kind::kDeadlock:
    case Fault::Kind::kTimeout:
      return CUDA_ERROR_LAUNCH_TIMEOUT;
    case Fault::Kind::kStopped:
      return CUDA_ERROR_CONTEXT_IS_DESTROYED;
  }
  return CUDA_ERROR_LAUNCH_FAILED;
}

void free_in_stream(uint64_t address) {
  std::optional<Region> region = driver().memory_map.find(address);
  if (!region) return;  // its context ended first
  if (region->kind == Region::Kind::kPool) {
    Pool::released(address);
  } else {
    driver().device(region->device)->memory.free_region(address);
  }
}

template <class Element>
void fill(std::byte* row, uint32_t value, size_t count) {
  auto* elements = reinterpret_cast<Element*>(row);
  std::fill(elements, elements + count, static_cast<Element>(value));
}

class Runner {
 public:
  explicit Runner(Context& context) : context_(context) {}

  void operator()(std::monostate) {}
  void operator()(const KernelWork& work) {
    if (driver().config.null_kernels) return;
    const std::shared_lock in_place(driver().memory_moves);
    Launch launch;
    launch.kernel = work.code;
    launch.grid = work.grid;
    launch.block = work.block;
    launch.dynamic_shared_bytes = work.dynamic_shared_bytes;
    launch.params = work.params;
    launch.cooperative = work.cooperative;
    launch.stop = &context_.stopped();
    launch.timeout = timeout();
    launch.heap = &context_.heap();
    launch.stack_bytes = context_.limits[CU_LIMIT_STACK_SIZE];
    launch.cluster = work.cluster;
    if (std::optional<Fault> fault = context_.device().engine().launch(launch)) {
      context_.fail(result_of(fault->kind), fault->message);
    }
  }
  void operator()(const CopyWork& work) {
    const std::shared_lock in_place(driver().memory_moves);
    copy_now(work);
  }
  void operator()(const MemsetWork& work) {
    const std::shared_lock in_place(driver().memory_moves);
    memset_now(work);
  }
  void operator()(const HostWork& work) {
    InHostFunction running;
    work.function(work.user_data);
  }
  void operator()(const CallbackWork& work) {
    context_.device().output.flush();
    InHostFunction running;
    work.function(work.stream, context_.failure(), work.user_data);
  }
  void operator()(const FreeWork& work) { free_in_stream(work.address); }
  void operator()(const WordsWork& work) {
    for (const WordOperation& one : work.operations) {
      if (one.is_64_bit) {
        word<uint64_t>(one);
      } else {
        word<uint32_t>(one);
      }
    }
  }

 private:
  static std::chrono::nanoseconds timeout() {
    // Longer than a year is for ever; it would not fit.
    constexpr double kForEver = 3e7;
    const double seconds = driver().config.timeout_s;
    return std::chrono::nanoseconds(seconds < kForEver ? static_cast<int64_t>(seconds * 1e9) : 0);
  }
  template <class Word>
  void word(const WordOperation& work) {
    std::atomic_ref<Word> word(*reinterpret_cast<Word*>(work.address));
    const Word wanted = static_cast<Word>(work.value);
    if (work.kind == WordOperation::Kind::kWrite) {
      const std::shared_lock in_place(driver().memory_moves);
      word.store(wanted);
      if (UnwrittenBytes* unwritten = driver().unwritten()) {
        unwritten->set_written(work.address, sizeof(Word));
      }
      return;
    }
    while (!holds(work.kind, word.load(), wanted) && context_.failure() == CUDA_SUCCESS) {
      std::this_thread::sleep_for(std::chrono::microseconds(20));
    }
  }
  template <class Word>
  static bool holds(WordOperation::Kind kind, Word found, Word wanted) {
    switch (kind) {
      case WordOperation::Kind::kWrite:
        return true;
      // By the documentation a cyclic comparison: (int)(found - wanted) >= 0.
      case WordOperation::Kind::kWaitGreaterEqual:
        return static_cast<std::make_signed_t<Word>>(found - wanted) >= 0;
      case WordOperation::Kind::kWaitEqual:
        return found == wanted;
      case WordOperation::Kind::kWaitAnd:
        return (found & wanted) != 0;
      case WordOperation::Kind::kWaitNor:
        return static_cast<Word>(~(found | wanted)) != 0;
    }
    return true;
  }

  Context& context_;
};

}  // namespace

void CopyWork::stage() {
  if (bytes() == 0) return;
  std::vector<std::byte> packed(bytes());
  std::byte* out = packed.data();
  for (size_t z = 0; z < depth; ++z) {
    for (size_t y = 0; y < height; ++y, out += width) {
      std::memcpy(out, source + z * source_plane + y * source_pitch, width);
    }
  }
  staged = std::move(packed);
  source_pitch = width;
  source_plane = width * height;
}

namespace {

// For initcheck: what was unknown stays so in the copy.
void note_copy(const CopyWork& copy, const std::byte* source, UnwrittenBytes& unwritten) {
  for (size_t z = 0; z < copy.depth; ++z) {
    for (size_t y = 0; y < copy.height; ++y) {
      unwritten.copy(
          reinterpret_cast<uint64_t>(copy.target + z * copy.target_plane + y * copy.target_pitch),
          reinterpret_cast<uint64_t>(source + z * copy.source_plane + y * copy.source_pitch),
          copy.width);
    }
  }
}

}  // namespace

void copy_now(const CopyWork& copy) {
  if (copy.bytes() == 0) return;  // its pointers may be null
  const std::byte* source = copy.staged.empty() ? copy.source : copy.staged.data();
  for (size_t z = 0; z < copy.depth; ++z) {
    for (size_t y = 0; y < copy.height; ++y) {
      std::memmove(copy.target + z * copy.target_plane + y * copy.target_pitch,
                   source + z * copy.source_plane + y * copy.source_pitch, copy.width);
    }
  }
  if (UnwrittenBytes* const unwritten = driver().unwritten()) note_copy(copy, source, *unwritten);
}

void memset_now(const MemsetWork& memset) {
  if (memset.width == 0) return;
  UnwrittenBytes* const unwritten = driver().unwritten();
  for (size_t y = 0; y < memset.height; ++y) {
    std::byte* row = memset.target + y * memset.pitch;
    if (unwritten != nullptr) {
      unwritten->set_written(reinterpret_cast<uint64_t>(row), memset.width * memset.element_bytes);
    }
    switch (memset.element_bytes) {
      case 1:
        std::memset(row, static_cast<int>(memset.value & 0xff), memset.width);
        break;
      case 2:
        fill<uint16_t>(row, memset.value, memset.width);
        break;
      default:
        fill<uint32_t>(row, memset.value, memset.width);
        break;
    }
  }
}

void run_work(Context& context, const Work& work) {
  // After a fault nothing runs any more, except to give memory back and to tell who asked to be
  // told.
  if (context.failure() != CUDA_SUCCESS && !std::holds_alternative<CallbackWork>(work) &&
      !std::holds_alternative<FreeWork>(work)) {
    return;
  }
  try {
    std::visit(Runner(context), work);
  } catch (const std::exception& error) {
    context.fail(CUDA_ERROR_UNKNOWN, error.what());
  }
}

}  // namespace farcall::softgpu
