// A device for tests: an address space with a reserved window, an engine on it, and one-line
// launches.
#pragma once

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "softgpu/exec/engine.h"
#include "softgpu/exec/unwritten.h"

namespace farcall::softgpu {

// Page-granular: what is not allocated faults.
class TestMemory final : public AddressSpace {
 public:
  TestMemory() {
    void* const window =
        mmap(nullptr, kWindowBytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (window == MAP_FAILED) std::abort();
    base_ = static_cast<char*>(window);
    unwritten_.add_window(window_base(), kWindowBytes);
  }
  ~TestMemory() override { munmap(base_, kWindowBytes); }

  uint64_t window_base() const override { return reinterpret_cast<uint64_t>(base_); }
  uint64_t window_bytes() const override { return kWindowBytes; }
  bool host_visible(uint64_t address, size_t bytes) const override {
    const std::lock_guard lock(mutex_);
    for (const auto& [start, size] : host_ranges_) {
      if (address - start < size && bytes <= size - (address - start)) return true;
    }
    return false;
  }
  void* allocate(size_t bytes, size_t) override {
    const std::lock_guard lock(mutex_);
    if (bytes > limit_) return nullptr;
    const size_t size = (bytes + kPage - 1) / kPage * kPage;
    char* const at = base_ + used_;
    used_ += size + kPage;  // a hole behind each
    if (used_ > kWindowBytes) return nullptr;
    mprotect(at, size, PROT_READ | PROT_WRITE);
    if (size >= size_t{4} << 20) madvise(at, size, MADV_HUGEPAGE);  // as the driver does
    live_[at] = {size, bytes};
    if (track_unwritten) unwritten_.set_unwritten(reinterpret_cast<uint64_t>(at), bytes);
    return at;
  }
  void deallocate(void* address) override {
    const std::lock_guard lock(mutex_);
    const auto it = live_.find(address);
    ASSERT_NE(it, live_.end());
    mprotect(address, it->second.pages, PROT_NONE);
    madvise(address, it->second.pages, MADV_DONTNEED);
    live_.erase(it);
  }
  bool allocated(uint64_t address, size_t bytes) const override {
    if (host_visible(address, bytes)) return true;
    const std::lock_guard lock(mutex_);
    for (const auto& [start, size] : live_) {
      const uint64_t offset = address - reinterpret_cast<uint64_t>(start);
      if (offset < size.asked && bytes <= size.asked - offset) return true;
    }
    return false;
  }
  UnwrittenBytes* unwritten() override { return track_unwritten ? &unwritten_ : nullptr; }
  void add_host_range(void* address, size_t bytes) {
    const std::lock_guard lock(mutex_);
    host_ranges_[reinterpret_cast<uint64_t>(address)] = bytes;
  }
  size_t live() const {
    const std::lock_guard lock(mutex_);
    return live_.size();
  }
  void set_limit(size_t bytes) { limit_ = bytes; }
  bool track_unwritten = false;  // of what is allocated from now on

  std::shared_ptr<const Texture> texture(uint64_t number) const override {
    const std::lock_guard lock(mutex_);
    const auto it = textures_.find(number);
    return it == textures_.end() ? nullptr : it->second;
  }
  std::shared_ptr<const Surface> surface(uint64_t number) const override {
    const std::lock_guard lock(mutex_);
    const auto it = surfaces_.find(number);
    return it == surfaces_.end() ? nullptr : it->second;
  }
  // nullptr: no longer.
  void set_texture(uint64_t number, std::shared_ptr<const Texture> texture) {
    const std::lock_guard lock(mutex_);
    textures_[number] = std::move(texture);
  }
  void set_surface(uint64_t number, std::shared_ptr<const Surface> surface) {
    const std::lock_guard lock(mutex_);
    surfaces_[number] = std::move(surface);
  }

 private:
  static constexpr size_t kWindowBytes = size_t{8} << 30, kPage = 4096;
  char* base_;
  size_t used_ = kPage, limit_ = kWindowBytes;
  mutable std::mutex mutex_;
  struct Size {
    size_t pages, asked;
  };
  std::map<void*, Size> live_;
  UnwrittenBytes unwritten_;
  std::map<uint64_t, size_t> host_ranges_;
  std::map<uint64_t, std::shared_ptr<const Texture>> textures_;
  std::map<uint64_t, std::shared_ptr<const Surface>> surfaces_;
};

// Parameters packed as a kernel expects them.
class Params {
 public:
  template <class... Args>
  explicit Params(const Args&... args) {
    (add(args), ...);
  }
  template <class T>
  void add(const T& value) {
    const size_t offset = (bytes_.size() + alignof(T) - 1) / alignof(T) * alignof(T);
    bytes_.resize(offset + sizeof(T));
    std::memcpy(bytes_.data() + offset, &value, sizeof(T));
  }
  std::span<const std::byte> span() const { return bytes_; }

 private:
  std::vector<std::byte> bytes_;
};

struct TestDevice {
  TestMemory memory;
  std::string out, err;
  std::unique_ptr<Engine> engine;

  std::mutex findings_mutex;
  std::vector<Finding> findings;  // but for repetitions

  explicit TestDevice(unsigned workers = 2, CheckTools check = {}) {
    EngineOptions options;
    options.check = check;
    options.report = [this](const Finding& finding) {
      const std::lock_guard lock(findings_mutex);
      if (!finding.repeated) findings.push_back(finding);
    };
    options.workers = workers;
    options.output = [this](std::string_view text, bool is_stderr) {
      (is_stderr ? err : out) += text;
    };
    engine = Engine::create(memory, std::move(options));
  }

  template <class T>
  std::span<T> array(size_t count) {
    return {static_cast<T*>(memory.allocate(count * sizeof(T), 256)), count};
  }
  template <class T>
  std::span<T> upload(const std::vector<T>& values) {
    auto to = array<T>(values.size());
    std::memcpy(to.data(), values.data(), values.size() * sizeof(T));
    return to;
  }

  std::unique_ptr<Program> load(std::string_view ptx) {
    LoadError error{};
    auto program = engine->load({&ptx, 1}, &error);
    EXPECT_TRUE(program) << error.message;
    return program;
  }
  LoadError load_error(std::string_view ptx, std::string_view kernel = "k") {
    LoadError error{};
    auto program = engine->load({&ptx, 1}, &error);
    if (!program) return error;
    EXPECT_EQ(program->kernel(kernel, &error), nullptr) << "decoded, but should not";
    return error;
  }

  std::optional<Fault> try_launch(Program& program, std::string_view kernel, Dim3 grid, Dim3 block,
                                  const Params& params, uint32_t dynamic_shared_bytes = 0,
                                  bool cooperative = false, Dim3 cluster = {}) {
    LoadError error{};
    const Kernel* const decoded = program.kernel(kernel, &error);
    if (decoded == nullptr)
      return Fault{Fault::Kind::kIllegalInstruction, "not decoded: " + error.message};
    std::vector<std::byte> bytes(params.span().begin(), params.span().end());
    // A struct's tail padding: Params knows fields only.
    bytes.resize(program.kernel_info(kernel)->param_bytes);
    Launch launch;
    launch.kernel = decoded;
    launch.grid = grid;
    launch.block = block;
    launch.params = bytes;
    launch.dynamic_shared_bytes = dynamic_shared_bytes;
    launch.cooperative = cooperative;
    launch.cluster = cluster;
    return engine->launch(launch);
  }
  void launch(Program& program, std::string_view kernel, Dim3 grid, Dim3 block,
              const Params& params, uint32_t dynamic_shared_bytes = 0, bool cooperative = false,
              Dim3 cluster = {}) {
    const auto fault = try_launch(program, kernel, grid, block, params, dynamic_shared_bytes,
                                  cooperative, cluster);
    EXPECT_FALSE(fault) << fault->message;
  }
};

}  // namespace farcall::softgpu
