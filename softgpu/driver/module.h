// Code. A Library is PTX text without a context; a Module is that text loaded into one context,
// where its variables have addresses; a Function is a kernel of a Module, a LibraryKernel one of a
// Library, which stands for the Function of the context it is used in. cuModuleLoad makes a Module
// alone, cuLibraryLoadData a Library that makes its Modules when they are needed.
#pragma once

#include <array>
#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "softgpu/driver/driver.h"
#include "softgpu/driver/jit_options.h"
#include "softgpu/exec/engine.h"

namespace farcall::softgpu {

using ModuleRef = std::shared_ptr<Module>;

// What a program has set of a function: CUfunction_attribute -> value. The values were checked.
class FunctionSettings {
 public:
  void set(CUfunction_attribute attribute, int value) {
    std::lock_guard lock(mutex_);
    values_[attribute] = value;
  }
  std::optional<int> get(CUfunction_attribute attribute) const {
    std::lock_guard lock(mutex_);
    auto found = values_.find(attribute);
    return found == values_.end() ? std::nullopt : std::optional(found->second);
  }

 private:
  mutable std::mutex mutex_;
  std::map<CUfunction_attribute, int> values_;
};

class Module : public std::enable_shared_from_this<Module> {
 public:
  // When kernels are decoded, which is when what is wrong with their code comes out. A program that
  // loads PTX expects to be told at once, as by a compiler; a fat binary is a compiler's work and
  // has kernels never used.
  enum class Decode : uint8_t { kAllNow, kWhenLaunched };
  // Links the texts in the context. The error is logged and written to the JIT log.
  static CUresult load(const ContextRef& context, const std::vector<std::string>& ptx,
                       Decode decode, const JitOptions& options, ModuleRef* out);
  ~Module();

  Context& context() const { return *context_; }
  CUmodule handle = nullptr;
  const std::vector<std::string>& function_names() const { return names_; }
  CUresult function(const std::string& name, FunctionRef* out);  // NOT_FOUND
  std::optional<VariableInfo> variable(const std::string& name) const;
  // Frees the handles; work in flight keeps the module itself.
  void retire();
  bool retired() const { return retired_; }
  // Its managed variables are known by address: it stays when its primary context is reset.
  void keep_across_resets() { kept_ = true; }
  bool kept_across_resets() const { return kept_; }

 private:
  friend class Function;
  Module(ContextRef context, std::unique_ptr<Program> program);
  CUresult decode_all(const JitOptions& options);

  const ContextRef context_;
  const std::unique_ptr<Program> program_;
  const std::vector<std::string> names_;
  std::atomic<bool> retired_ = false, kept_ = false;
  std::mutex mutex_;  // guards what follows, and program_->kernel()
  std::map<std::string, CUfunction, std::less<>> functions_;
};

class Function {
 public:
  Function(ModuleRef module, KernelInfo info)
      : module_(std::move(module)), info_(std::move(info)) {}

  Context& context() const { return module_->context(); }
  const ModuleRef& module() const { return module_; }
  const KernelInfo& info() const { return info_; }
  CUfunction handle = nullptr;
  FunctionSettings settings;
  // If it was made through a LibraryKernel: the settings that hold where this function has none of
  // its own.
  std::shared_ptr<FunctionSettings> kernel_settings;
  CUkernel kernel_handle = nullptr;  // and which that is
  std::optional<int> setting(CUfunction_attribute attribute) const;
  bool decoded() const { return code_.load() != nullptr; }
  // The engine's decoded kernel. What the engine can't run is found out here, logged with line and
  // construct.
  CUresult code(const Kernel** out);

 private:
  const ModuleRef module_;
  const KernelInfo info_;
  std::atomic<const Kernel*> code_ = nullptr;
  CUresult refusal_ = CUDA_SUCCESS;  // guarded by the module's mutex: why it can't be decoded
};

class Library : public std::enable_shared_from_this<Library> {
 public:
  // `unusable`: why kernels can't be had (no image fits this device), and `why` in words; else
  // CUDA_SUCCESS.
  Library(std::vector<std::string> ptx, CUresult unusable, std::string why)
      : ptx_(std::move(ptx)), unusable_(unusable), why_(std::move(why)) {}

  CUlibrary handle = nullptr;
  CUresult module(const ContextRef& context, Module::Decode decode, const JitOptions& options,
                  ModuleRef* out);
  CUresult module(const ContextRef& context, ModuleRef* out) {
    return module(context, Module::Decode::kWhenLaunched, {}, out);
  }
  CUresult kernel(const std::string& name, CUkernel* out);  // NOT_FOUND
  CUresult kernel_names(std::vector<std::string>* out);
  void retire();

  // A context ends; the library itself is loaded again where it is used next.
  static void drop_modules_of(const Context& context);

 private:
  CUresult read_headers();  // mutex_ is held

  const std::vector<std::string> ptx_;
  const CUresult unusable_;
  const std::string why_;
  std::atomic<bool> told_ = false;  // why_ was logged
  std::mutex mutex_;                // guards what follows
  std::map<const Context*, ModuleRef> modules_;
  std::map<std::string, CUkernel, std::less<>> kernels_;
  // What the texts declare: known without a context.
  std::optional<CUresult> headers_read_;
  std::map<std::string, std::vector<ParamInfo>, std::less<>> declared_;
};

class LibraryKernel {
 public:
  LibraryKernel(std::shared_ptr<Library> library, std::string name, std::vector<ParamInfo> params)
      : library_(std::move(library)), name_(std::move(name)), params_(std::move(params)) {}

  const std::shared_ptr<Library>& library() const { return library_; }
  const std::string& name() const { return name_; }
  const std::vector<ParamInfo>& params() const { return params_; }
  CUkernel handle = nullptr;
  CUresult function(const ContextRef& context, FunctionRef* out);
  std::shared_ptr<FunctionSettings> settings(const Device& device);

 private:
  const std::shared_ptr<Library> library_;
  const std::string name_;
  const std::vector<ParamInfo> params_;
  std::mutex mutex_;
  std::map<int, std::shared_ptr<FunctionSettings>> settings_;  // by device; guarded by mutex_
  std::weak_ptr<Function> last_function_;                      // guarded by mutex_
};

}  // namespace farcall::softgpu
