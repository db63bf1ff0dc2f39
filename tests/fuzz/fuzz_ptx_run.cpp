// PTX texts that run: whatever decodes is launched as one small block, for a bounded number of
// instructions. It must finish or fault; it must touch nothing but what it was given, which is what
// the sanitizers watch.
#include <sys/mman.h>

#include <array>
#include <cassert>
#include <cstdlib>
#include <cstring>
#include <map>
#include <vector>

#include "softgpu/exec/engine.h"

using namespace farcall::softgpu;

namespace {

// A window whose pages are reachable only where something is allocated, as a device's is.
class Window final : public AddressSpace {
 public:
  Window() {
    void* const at =
        mmap(nullptr, kBytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED) std::abort();
    base_ = static_cast<char*>(at);
  }
  uint64_t window_base() const override { return reinterpret_cast<uint64_t>(base_); }
  uint64_t window_bytes() const override { return kBytes; }
  bool host_visible(uint64_t, size_t) const override { return false; }
  void* allocate(size_t bytes, size_t alignment) override {
    constexpr size_t kAllocationMax = 16 << 20;
    if (bytes > kAllocationMax || alignment > kPage) return nullptr;
    const size_t size = (bytes + kPage) / kPage * kPage;
    // The first hole that is large enough, with a page left free behind it.
    size_t at = 0;
    for (const auto& [start, length] : live_) {
      if (start - at >= size + kPage) break;
      at = start + length + kPage;
    }
    if (at + size > kBytes) return nullptr;
    if (mprotect(base_ + at, size, PROT_READ | PROT_WRITE) != 0) std::abort();
    live_[at] = size;
    return base_ + at;
  }
  void deallocate(void* address) override {
    const auto it = live_.find(static_cast<size_t>(static_cast<char*>(address) - base_));
    assert(it != live_.end());
    // Fresh pages, so that the next text finds zeros again.
    if (mmap(address, it->second, PROT_NONE,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) == MAP_FAILED)
      std::abort();
    live_.erase(it);
  }

 private:
  static constexpr size_t kBytes = size_t{1} << 30, kPage = 4096;
  char* base_;
  std::map<size_t, size_t> live_;
};

constexpr size_t kDataBytes = 64 << 10;

// Parameters of eight bytes point to the data, others are small numbers.
std::vector<std::byte> parameters(const KernelInfo& info, uint64_t data) {
  std::vector<std::byte> bytes(info.param_bytes);
  for (size_t i = 0; i < info.params.size(); ++i) {
    const ParamInfo& param = info.params[i];
    if (param.size == 8)
      std::memcpy(&bytes[param.offset], &data, 8);
    else if (param.size != 0)
      bytes[param.offset] = static_cast<std::byte>(5 * i + 32);
  }
  return bytes;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* input, size_t size) {
  static Window window;
  static const std::unique_ptr<Engine> engine = [] {
    EngineOptions options;
    options.workers = 1;
    options.output = [](std::string_view, bool) {};
    options.warp_turns_max = 3;
    return Engine::create(window, std::move(options));
  }();
  const std::string_view text(reinterpret_cast<const char*>(input), size);
  LoadError error{};
  const auto program = engine->load({&text, 1}, &error);
  constexpr int kNoUse = -1;  // for libFuzzer and replay.cpp: nothing to go on from
  if (program == nullptr) return kNoUse;
  constexpr size_t kKernelsMax = 4;
  constexpr uint32_t kLocalBytesMax = 64 << 10, kSharedBytesMax = 256 << 10;
  size_t launched = 0;
  for (const std::string& name : program->kernel_names()) {
    const Kernel* const kernel = program->kernel(name, &error);
    if (kernel == nullptr || ++launched > kKernelsMax) continue;
    const KernelInfo info = *program->kernel_info(name);
    // Clearing hundreds of megabytes finds nothing.
    if (info.local_bytes > kLocalBytesMax || info.static_shared_bytes > kSharedBytesMax) continue;
    void* const data = window.allocate(kDataBytes, 256);
    for (size_t i = 0; i < kDataBytes; ++i)
      static_cast<uint8_t*>(data)[i] = static_cast<uint8_t>(i * 7);
    const auto params = parameters(info, reinterpret_cast<uint64_t>(data));
    Launch launch;
    launch.kernel = kernel;
    launch.block = {info.max_threads < 40 ? info.max_threads : 40, 1, 1};
    launch.dynamic_shared_bytes = 1024;
    launch.params = params;
    if (const auto fault = engine->launch(launch)) assert(!fault->message.empty());
    window.deallocate(data);
  }
  return launched != 0 ? 0 : kNoUse;
}
