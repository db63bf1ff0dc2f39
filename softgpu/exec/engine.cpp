// The engine behind softgpu/exec/engine.h: ties together linking, decoding and running.
#include "softgpu/exec/engine.h"

#include <fmt/format.h>

#include <algorithm>
#include <cassert>
#include <cstring>
#include <map>
#include <mutex>
#include <thread>

#include "base/log.h"
#include "softgpu/decode/decoder.h"
#include "softgpu/decode/link.h"
#include "softgpu/exec/check.h"
#include "softgpu/exec/child_launch.h"
#include "softgpu/exec/device_heap.h"
#include "softgpu/exec/fault.h"
#include "softgpu/exec/grid.h"

namespace farcall::softgpu {
namespace {

class InterpretedProgram final : public Program {
 public:
  InterpretedProgram(std::unique_ptr<LinkedProgram> linked, std::atomic<u64>& next_kernel_id)
      : linked_(std::move(linked)), next_kernel_id_(next_kernel_id) {}

  std::vector<std::string> kernel_names() const override {
    std::vector<std::string> names;
    for (const LinkedFunction& linked : linked_->functions()) {
      if (linked.function->is_entry) names.emplace_back(linked.function->name);
    }
    return names;
  }

  std::optional<KernelInfo> kernel_info(std::string_view name) const override {
    const auto entry = linked_->find_kernel(name);
    if (!entry) return {};
    return info_of(*entry);
  }
  std::optional<KernelInfo> kernel_info_at(u64 address) const override {
    const auto entry = entry_at(address);
    if (!entry) return {};
    return info_of(*entry);
  }

  const Kernel* kernel(std::string_view name, LoadError* error) override {
    const auto entry = linked_->find_kernel(name);
    if (!entry) {
      *error = {LoadError::Kind::kNoSuchSymbol, 0, fmt::format("no kernel '{}'", name)};
      return nullptr;
    }
    return decoded(*entry, error);
  }
  const Kernel* kernel_at(u64 address, LoadError* error) override {
    const auto entry = entry_at(address);
    if (!entry) {
      *error = {LoadError::Kind::kNoSuchSymbol, 0, fmt::format("no kernel at {:#x}", address)};
      return nullptr;
    }
    return decoded(*entry, error);
  }

  std::optional<VariableInfo> variable(std::string_view name) const override {
    const auto index = linked_->find_host_variable(name);
    if (!index) return {};
    const LinkedVariable& linked = linked_->variables()[*index];
    return VariableInfo{
        reinterpret_cast<void*>(linked.address), linked.variable->bytes(),
        linked.variable->space == "const",       linked.variable->is_managed,
        linked.variable->opaque == "texref",     linked.variable->opaque == "surfref"};
  }

  std::vector<std::string> variable_names() const override {
    std::vector<std::string> names;
    for (const LinkedVariable& linked : linked_->variables()) {
      if (linked.address != 0) names.emplace_back(linked.variable->name);
    }
    return names;
  }

 private:
  std::optional<u32> entry_at(u64 address) const {
    const u64 index = address - LinkedProgram::function_address(0);
    if (index >= linked_->functions().size() || !linked_->functions()[index].function->is_entry)
      return {};
    return static_cast<u32>(index);
  }
  KernelInfo info_of(u32 entry) const {
    const std::lock_guard lock(mutex_);
    if (const auto it = kernels_.find(entry); it != kernels_.end()) return it->second->info;
    const auto [it, added] = infos_.try_emplace(entry);
    if (added) it->second = describe_kernel(*linked_, entry);
    return it->second;
  }
  const Kernel* decoded(u32 entry, LoadError* error) {
    const std::lock_guard lock(mutex_);
    if (const auto it = kernels_.find(entry); it != kernels_.end()) return it->second.get();
    auto kernel = decode_kernel(*linked_, entry, error);
    if (!kernel) return nullptr;
    kernel->id = next_kernel_id_.fetch_add(1, std::memory_order_relaxed);
    kernel->owner = this;
    return kernels_.emplace(entry, std::move(kernel)).first->second.get();
  }

  const std::unique_ptr<LinkedProgram> linked_;
  std::atomic<u64>& next_kernel_id_;  // of the engine, which outlives its programs
  mutable std::mutex mutex_;          // also guards parsing and decoding, which change linked_
  std::map<u32, std::unique_ptr<Kernel>> kernels_;
  mutable std::map<u32, KernelInfo> infos_;
};

class InterpreterEngine final : public Engine {
 public:
  InterpreterEngine(AddressSpace& memory, EngineOptions options)
      : memory_(memory),
        options_(std::move(options)),
        heap_(memory),
        checker_(options_.check.any()
                     ? std::make_unique<Checker>(options_.check, memory, options_.report)
                     : nullptr),
        pool_(workers(options_) - 1) {}

  std::unique_ptr<Program> load(std::span<const std::string_view> ptx, LoadError* error) override {
    auto linked =
        LinkedProgram::link(ptx, memory_, error, options_.check.memory ? kRedZoneBytes : 0);
    if (!linked) return nullptr;
    return std::make_unique<InterpretedProgram>(std::move(linked), next_kernel_id_);
  }

  std::optional<Fault> launch(const Launch& launch) override {
    SignalHandlers::ensure_installed();
    const auto deadline = launch.timeout.count() > 0
                              ? std::chrono::steady_clock::now() + launch.timeout
                              : std::chrono::steady_clock::time_point::max();
    ChildLaunches children(memory_);
    std::optional<Fault> fault = run_grid(launch, children, deadline);
    children.grid_ended();
    for (ChildLaunch child; !fault && children.next(&child); children.grid_ended())
      fault = run_child(launch, child, children, deadline);
    if (fault) log::info("{}", fault->message);
    if (fault && checker_ != nullptr && options_.check.memory) checker_->report_fault(*fault);
    return fault;
  }

 private:
  static constexpr size_t kSmallParamBytes = 1024;

  std::optional<Fault> run_child(const Launch& parent, const ChildLaunch& child,
                                 ChildLaunches& children,
                                 std::chrono::steady_clock::time_point deadline) {
    LoadError error{};
    Launch launch = parent;
    launch.kernel = child.program->kernel_at(child.kernel_address, &error);
    if (launch.kernel == nullptr) {
      return Fault{Fault::Kind::kIllegalInstruction,
                   fmt::format("a kernel that {} has launched cannot run: {}",
                               parent.kernel->info.name, error.message)};
    }
    launch.grid = child.grid;
    launch.block = child.block;
    launch.cluster = child.cluster;
    launch.dynamic_shared_bytes = child.dynamic_shared_bytes;
    launch.params = child.params;
    launch.cooperative = false;
    return run_grid(launch, children, deadline);
  }

  std::optional<Fault> run_grid(const Launch& launch, ChildLaunches& children,
                                std::chrono::steady_clock::time_point deadline) {
    const Kernel& kernel = *launch.kernel;
    const auto threads = u64{launch.block.x} * launch.block.y * launch.block.z;
    const auto blocks = u64{launch.grid.x} * launch.grid.y * launch.grid.z;
    assert(threads >= 1 && threads <= 1024 && blocks >= 1);
    assert(launch.params.size() == kernel.info.param_bytes);

    // Loads of parameters may be vectors; the copy keeps them aligned.
    alignas(64) u8 small[kSmallParamBytes];
    std::unique_ptr<u8[]> large;
    u8* params = small;
    if (launch.params.size() > sizeof small) {
      large = std::make_unique<u8[]>(launch.params.size() + 64);
      params =
          reinterpret_cast<u8*>((reinterpret_cast<uintptr_t>(large.get()) + 63) & ~uintptr_t{63});
    }
    if (!launch.params.empty()) std::memcpy(params, launch.params.data(), launch.params.size());

    GridRun run;
    run.launch = &launch;
    run.kernel = &kernel;
    run.memory = &memory_;
    run.heap = launch.heap != nullptr ? launch.heap : &heap_;
    run.children = &children;
    // What recursion needs, nobody knows. Untouched pages cost nothing.
    constexpr u64 kStackScale = 256, kRecursionMin = 4 << 10, kRecursionMax = 16 << 20;
    run.stack_bytes = kernel.stack_bytes;
    if (kernel.recursive) {
      run.stack_bytes += static_cast<u32>(
          std::clamp(launch.stack_bytes, kRecursionMin / kStackScale, kRecursionMax / kStackScale) *
          kStackScale);
    }
    run.stop = launch.stop;
    if (launch.timeout.count() > 0) {
      run.deadline = deadline;
      run.deadline_text = fmt::format("it has run for {} s", launch.timeout.count() / 1e9);
    }
    run.checker = checker_.get();
    run.output = &options_.output;
    run.output_mutex = &output_mutex_;
    run.set_condition = &options_.set_condition;
    run.params = params;
    run.param_bytes = launch.params.size();
    run.block_total = blocks;
    run.warp_turns_max = options_.warp_turns_max;
    run.grid_id = next_grid_id_.fetch_add(1, std::memory_order_relaxed);
    pool_.run(run);
    return std::move(run.fault);
  }

  static unsigned workers(const EngineOptions& options) {
    return options.workers != 0 ? options.workers
                                : std::max(1u, std::thread::hardware_concurrency());
  }

  AddressSpace& memory_;
  const EngineOptions options_;
  SignalHandlers signals_;
  DeviceHeap heap_;
  const std::unique_ptr<Checker> checker_;
  std::mutex output_mutex_;
  std::atomic<u64> next_grid_id_{1}, next_kernel_id_{1};
  WorkerPool pool_;
};

}  // namespace

std::shared_ptr<const Texture> AddressSpace::texture(uint64_t) const { return nullptr; }
std::shared_ptr<const Surface> AddressSpace::surface(uint64_t) const { return nullptr; }

std::unique_ptr<Engine> Engine::create(AddressSpace& memory, EngineOptions options) {
  return std::make_unique<InterpreterEngine>(memory, std::move(options));
}

}  // namespace farcall::softgpu
