// The entry points that nvcc's host code calls before main() and at exit, and the look-ups behind
// every launch.
#include "client/runtime/registration.h"

#include <driver_types.h>

#include <array>
#include <atomic>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <unordered_map>
#include <vector>

#include "base/log.h"
#include "client/api.h"
#include "client/stub.h"

namespace farcall::client::runtime {
namespace {

using rpc::HandleType;

struct FatBinary {
  const void* wrapper = nullptr;
  std::mutex mutex;  // guards what follows
  Module* module = nullptr;
  bool loaded = false;
  int load_result = 0;
  std::vector<const void*> symbols;
};

struct KernelSymbol {
  FatBinary* fat_binary = nullptr;
  std::string name;
  std::atomic<Kernel*> kernel{nullptr};
};

struct VariableSymbol {
  FatBinary* fat_binary = nullptr;
  std::string name;
  bool managed = false;
};

struct Registry {
  std::shared_mutex mutex;
  std::unordered_map<const void*, std::unique_ptr<KernelSymbol>> functions;
  std::unordered_map<const void*, VariableSymbol> variables;
  std::atomic<uint64_t> epoch{
      1};  // grows when something is unregistered: thread caches are stale then
};
Registry& registry() {
  static Registry* const instance =
      new Registry;  // leaked: symbols are unregistered after static destructors
  return *instance;
}

// Last symbols this thread launched, so that a launch takes no lock.
struct SymbolCache {
  struct Slot {
    const void* symbol = nullptr;
    Kernel* kernel = nullptr;
  };
  uint64_t epoch = 0;
  std::array<Slot, 64> slots;
  Slot& slot(const void* symbol) {
    return slots[(reinterpret_cast<uintptr_t>(symbol) >> 4) % slots.size()];
  }
};
thread_local SymbolCache symbol_cache;

// A cudaError_t; CUresults of loading are the same numbers.
int load(Session& session, FatBinary& fat_binary) {
  const std::lock_guard lock(fat_binary.mutex);
  if (!fat_binary.loaded) {
    fat_binary.load_result =
        Module::load(session, fat_binary.wrapper, HandleType::kLibrary, {}, &fat_binary.module);
    fat_binary.loaded = fat_binary.load_result == 0 || !session.connection().lost();
  }
  return fat_binary.load_result;
}

int find_in_module(Session& session, KernelSymbol& function, Kernel** out) {
  if (const int failed = load(session, *function.fat_binary)) return failed;
  Kernel* kernel = nullptr;
  const int result = function.fat_binary->module->kernel(session, function.name, &kernel);
  if (result == CUDA_ERROR_NOT_FOUND) return cudaErrorInvalidDeviceFunction;
  if (result != CUDA_SUCCESS) return result;
  function.kernel.store(kernel, std::memory_order_release);
  *out = kernel;
  return cudaSuccess;
}

}  // namespace

int kernel_of(Session& session, const void* symbol, Kernel** out) {
  SymbolCache& cache = symbol_cache;
  const uint64_t epoch = registry().epoch.load(std::memory_order_acquire);
  if (cache.epoch != epoch) {
    cache.slots = {};
    cache.epoch = epoch;
  }
  SymbolCache::Slot& slot = cache.slot(symbol);
  if (slot.symbol == symbol && symbol != nullptr) {
    *out = slot.kernel;
    return cudaSuccess;
  }
  KernelSymbol* function = nullptr;
  {
    const std::shared_lock lock(registry().mutex);
    const auto found = registry().functions.find(symbol);
    if (found != registry().functions.end()) function = found->second.get();
  }
  if (function == nullptr) {
    *out = find_kernel(id_of(symbol));  // a cudaKernel_t serves as a symbol
    return *out == nullptr ? cudaErrorInvalidDeviceFunction : cudaSuccess;
  }
  *out = function->kernel.load(std::memory_order_acquire);
  if (*out == nullptr) {
    if (const int failed = find_in_module(session, *function, out)) return failed;
    (*out)->symbol.store(symbol, std::memory_order_relaxed);
  }
  slot = {symbol, *out};
  return cudaSuccess;
}

int variable_of(Session& session, const void* symbol, uint64_t* address, uint64_t* bytes) {
  VariableSymbol variable;
  {
    const std::shared_lock lock(registry().mutex);
    const auto found = registry().variables.find(symbol);
    if (found == registry().variables.end()) return cudaErrorInvalidSymbol;
    variable = found->second;
  }
  if (const int failed = load(session, *variable.fat_binary)) return failed;
  const int result = variable.fat_binary->module->variable(session, variable.name, variable.managed,
                                                           address, bytes);
  return result == CUDA_ERROR_NOT_FOUND ? int(cudaErrorInvalidSymbol) : result;
}

namespace {

FatBinary* fat_binary_of(void** handle) { return reinterpret_cast<FatBinary*>(handle); }

void register_function(FatBinary* fat_binary, const void* symbol, const char* name) {
  auto function = std::make_unique<KernelSymbol>();
  function->fat_binary = fat_binary;
  function->name = name;
  const std::unique_lock lock(registry().mutex);
  registry().functions[symbol] = std::move(function);
  fat_binary->symbols.push_back(symbol);
}

void register_variable(FatBinary* fat_binary, const void* symbol, const char* name, bool managed) {
  const std::unique_lock lock(registry().mutex);
  registry().variables[symbol] = VariableSymbol{fat_binary, name, managed};
  fat_binary->symbols.push_back(symbol);
}

// Tells the program's code where its managed variables are. From then on they are known by that
// address, too, because that is what `&variable` gives.
int place_managed_variables(Session& session, FatBinary* fat_binary) {
  std::vector<std::pair<const void*, VariableSymbol>> variables;
  {
    const std::shared_lock lock(registry().mutex);
    for (const void* symbol : fat_binary->symbols) {
      const auto found = registry().variables.find(symbol);
      if (found != registry().variables.end() && found->second.managed) variables.push_back(*found);
    }
  }
  if (variables.empty()) return cudaSuccess;
  if (const int failed = load(session, *fat_binary)) return failed;
  for (const auto& [symbol, variable] : variables) {
    uint64_t address = 0, bytes = 0;
    const int failed = fat_binary->module->variable(session, variable.name, true, &address, &bytes);
    if (failed != CUDA_SUCCESS) return failed;
    *static_cast<void**>(const_cast<void*>(symbol)) = reinterpret_cast<void*>(address);
    const std::unique_lock lock(registry().mutex);
    if (registry().variables.try_emplace(reinterpret_cast<const void*>(address), variable).second) {
      fat_binary->symbols.push_back(reinterpret_cast<const void*>(address));
    }
  }
  return cudaSuccess;
}

void unregister(FatBinary* fat_binary) {
  {
    const std::unique_lock lock(registry().mutex);
    for (const void* symbol : fat_binary->symbols) {
      registry().functions.erase(symbol);
      registry().variables.erase(symbol);
    }
    registry().epoch.fetch_add(1, std::memory_order_release);
  }
  Session* session = session_if_connected();
  if (session != nullptr && fat_binary->module != nullptr)
    Module::unload(*session, fat_binary->module);
  delete fat_binary;
}

}  // namespace
}  // namespace farcall::client::runtime

// --- Called by nvcc's host code; declared in crt/host_runtime.h

using namespace farcall::client::runtime;  // NOLINT(google-build-using-namespace): exported C names
                                           // follow

// Only code that nvcc makes calls these, so no header declares them.
#pragma GCC diagnostic ignored "-Wmissing-declarations"
extern "C" {

FARCALL_API void** __cudaRegisterFatBinary(void* fatCubin) {
  auto* fat_binary = new FatBinary;  // lives until __cudaUnregisterFatBinary
  fat_binary->wrapper = fatCubin;
  return reinterpret_cast<void**>(fat_binary);
}

FARCALL_API void __cudaRegisterFatBinaryEnd(void**) {}

FARCALL_API void __cudaUnregisterFatBinary(void** fatCubinHandle) {
  if (fatCubinHandle != nullptr) unregister(fat_binary_of(fatCubinHandle));
}

FARCALL_API void __cudaRegisterFunction(void** fatCubinHandle, const char* hostFun, char*,
                                        const char* deviceName, int, void*, void*, void*, void*,
                                        int*) {
  register_function(fat_binary_of(fatCubinHandle), hostFun, deviceName);
}

FARCALL_API void __cudaRegisterVar(void** fatCubinHandle, char* hostVar, char*,
                                   const char* deviceName, int, size_t, int, int) {
  register_variable(fat_binary_of(fatCubinHandle), hostVar, deviceName, false);
}

FARCALL_API void __cudaRegisterHostVar(void** fatCubinHandle, const char* deviceName, char* hostVar,
                                       size_t) {
  register_variable(fat_binary_of(fatCubinHandle), hostVar, deviceName, false);
}

FARCALL_API void __cudaRegisterManagedVar(void** fatCubinHandle, void** hostVarPtrAddress, char*,
                                          const char* deviceName, int, size_t, int, int) {
  register_variable(fat_binary_of(fatCubinHandle), hostVarPtrAddress, deviceName, true);
}

// Before the program's code touches its __managed__ variables; asked again until it says 1.
FARCALL_API char __cudaInitModule(void** fatCubinHandle) {
  if (fatCubinHandle == nullptr) return 0;
  const cudaError_t result = farcall::client::enter<cudaError_t>(
      farcall::rpc::Opcode::k___cudaInitModule, [&](farcall::client::Session& session) -> int {
        return place_managed_variables(session, fat_binary_of(fatCubinHandle));
      });
  return result == cudaSuccess ? 1 : 0;
}

}  // extern "C"
