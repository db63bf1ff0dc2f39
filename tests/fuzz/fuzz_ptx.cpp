// PTX texts: any of them is loaded and every kernel of it decoded, or refused with a message.
// Nothing runs: a text may well describe an endless loop.
#include <cassert>
#include <cstdlib>
#include <string_view>

#include "softgpu/exec/engine.h"

using namespace farcall::softgpu;

namespace {

// Memory for variables, from the heap; a text that asks for much gets none.
class SmallMemory final : public AddressSpace {
 public:
  uint64_t window_base() const override { return 0; }
  uint64_t window_bytes() const override { return 0; }
  bool host_visible(uint64_t, size_t) const override { return false; }
  void* allocate(size_t bytes, size_t alignment) override {
    constexpr size_t kBytesMax = 1 << 20;
    if (bytes > kBytesMax || alignment > kBytesMax) return nullptr;
    return std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
  }
  void deallocate(void* address) override { std::free(address); }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static SmallMemory memory;
  static const std::unique_ptr<Engine> engine = [] {
    EngineOptions options;
    options.workers = 1;
    return Engine::create(memory, std::move(options));
  }();
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  LoadError error{};
  const auto program = engine->load({&text, 1}, &error);
  if (program == nullptr) {
    assert(!error.message.empty());
    return 0;
  }
  for (const std::string& name : program->kernel_names()) {
    const auto info = program->kernel_info(name);
    assert(info);
    LoadError refusal{};
    if (program->kernel(name, &refusal) == nullptr) assert(!refusal.message.empty());
  }
  for (const std::string& name : program->variable_names()) assert(program->variable(name));
  return 0;
}
