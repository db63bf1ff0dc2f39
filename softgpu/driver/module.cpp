#include "softgpu/driver/module.h"

#include <algorithm>
#include <chrono>

#include "base/log.h"
#include "image/kernel_params.h"
#include "softgpu/driver/context.h"
#include "softgpu/driver/device.h"

namespace farcall::softgpu {
namespace {

CUresult result_of(LoadError::Kind kind) {
  switch (kind) {
    case LoadError::Kind::kInvalidPtx:
      return CUDA_ERROR_INVALID_PTX;
    case LoadError::Kind::kUnsupported:
      return CUDA_ERROR_NOT_SUPPORTED;
    case LoadError::Kind::kUnresolved:
      return CUDA_ERROR_INVALID_PTX;
    case LoadError::Kind::kOutOfMemory:
      return CUDA_ERROR_OUT_OF_MEMORY;
    case LoadError::Kind::kNoSuchSymbol:
      return CUDA_ERROR_NOT_FOUND;
  }
  return CUDA_ERROR_INVALID_PTX;
}

std::string describe(const LoadError& error) {
  // The engine says the line itself where there is one.
  return error.message.empty() ? "unknown reason" : error.message;
}

}  // namespace

// ------------------------------------------------------------------ modules

Module::Module(ContextRef context, std::unique_ptr<Program> program)
    : context_(std::move(context)),
      program_(std::move(program)),
      names_(program_->kernel_names()) {}

Module::~Module() = default;

CUresult Module::decode_all(const JitOptions& options) {
  std::lock_guard lock(mutex_);
  for (const std::string& name : names_) {
    LoadError error{};
    if (program_->kernel(name, &error) != nullptr) continue;
    log::error("cannot load PTX: {}", describe(error));
    options.write_error(describe(error));
    return result_of(error.kind);
  }
  return CUDA_SUCCESS;
}

CUresult Module::load(const ContextRef& context, const std::vector<std::string>& ptx, Decode decode,
                      const JitOptions& options, ModuleRef* out) {
  const auto start = std::chrono::steady_clock::now();
  std::vector<std::string_view> texts(ptx.begin(), ptx.end());
  LoadError error{};
  std::unique_ptr<Program> program;
  {
    DeviceMemory::VariablesOf owner(context.get());
    program = context->device().engine().load(texts, &error);
  }
  if (program == nullptr) {
    const CUresult result = result_of(error.kind);
    log::error("cannot load PTX: {}", describe(error));
    options.write_error(describe(error));
    return result;
  }
  out->reset(new Module(context, std::move(program)));
  if (decode == Decode::kAllNow) {
    if (CUresult error = (*out)->decode_all(options)) return error;
  }
  (*out)->handle = driver().modules.insert(*out);
  const std::chrono::duration<float, std::milli> elapsed = std::chrono::steady_clock::now() - start;
  options.write_wall_time(elapsed.count());
  log::debug("module with {} kernels loaded in {:.2f} ms", (*out)->names_.size(), elapsed.count());
  return CUDA_SUCCESS;
}

CUresult Module::function(const std::string& name, FunctionRef* out) {
  std::lock_guard lock(mutex_);
  if (auto found = functions_.find(name); found != functions_.end()) {
    *out = driver().functions.find(found->second);
    return *out != nullptr ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
  }
  std::optional<KernelInfo> info = program_->kernel_info(name);
  if (!info) return CUDA_ERROR_NOT_FOUND;
  *out = std::make_shared<Function>(shared_from_this(), std::move(*info));
  (*out)->handle = driver().functions.insert(*out);
  functions_.emplace(name, (*out)->handle);
  return CUDA_SUCCESS;
}

std::optional<VariableInfo> Module::variable(const std::string& name) const {
  return program_->variable(name);
}

void Module::retire() {
  retired_ = true;
  driver().modules.remove(handle);
  std::map<std::string, CUfunction, std::less<>> functions;
  {
    std::lock_guard lock(mutex_);
    functions.swap(functions_);
  }
  for (const auto& [name, function] : functions) driver().functions.remove(function);
}

// ------------------------------------------------------------------ functions

CUresult Function::code(const Kernel** out) {
  *out = code_.load(std::memory_order_acquire);
  if (*out != nullptr) return CUDA_SUCCESS;
  std::lock_guard lock(module_->mutex_);
  if (refusal_ != CUDA_SUCCESS) return refusal_;
  LoadError error{};
  *out = module_->program_->kernel(info_.name, &error);
  if (*out == nullptr) {
    refusal_ = result_of(error.kind);
    log::error("cannot run: {}", describe(error));
    return refusal_;
  }
  code_.store(*out, std::memory_order_release);
  return CUDA_SUCCESS;
}

std::optional<int> Function::setting(CUfunction_attribute attribute) const {
  if (std::optional<int> own = settings.get(attribute)) return own;
  return kernel_settings != nullptr ? kernel_settings->get(attribute) : std::nullopt;
}

// ------------------------------------------------------------------ libraries

CUresult Library::module(const ContextRef& context, Module::Decode decode,
                         const JitOptions& options, ModuleRef* out) {
  if (unusable_ != CUDA_SUCCESS) {
    if (!told_.exchange(true) && driver().says_first(why_)) log::warning("{}", why_);
    return unusable_;
  }
  std::lock_guard lock(mutex_);
  if (auto found = modules_.find(context.get()); found != modules_.end()) {
    *out = found->second;
    return CUDA_SUCCESS;
  }
  if (CUresult error = Module::load(context, ptx_, decode, options, out)) return error;
  modules_.emplace(context.get(), *out);
  return CUDA_SUCCESS;
}

CUresult Library::read_headers() {
  if (headers_read_) return *headers_read_;
  headers_read_ = unusable_;
  for (const std::string& text : ptx_) {
    Result<image::Module> declared = image::read_ptx(text);
    if (!declared) {
      headers_read_ = CUDA_ERROR_INVALID_PTX;
      break;
    }
    for (const auto& [name, kernel] : declared->kernels) {
      std::vector<ParamInfo>& params = declared_[name];
      for (const image::Param& param : kernel.params) params.push_back({param.offset, param.size});
    }
  }
  return *headers_read_;
}

CUresult Library::kernel(const std::string& name, CUkernel* out) {
  // Where a context is current, code that can't be loaded is found out now.
  ContextRef context;
  if (current_context(&context) == CUDA_SUCCESS) {
    ModuleRef loaded;
    if (CUresult error = module(context, &loaded)) return error;
  }
  std::lock_guard lock(mutex_);
  if (CUresult error = read_headers()) return error;
  auto declared = declared_.find(name);
  if (declared == declared_.end()) return CUDA_ERROR_NOT_FOUND;
  CUkernel& handle_of_kernel = kernels_[name];
  if (handle_of_kernel == nullptr) {
    auto kernel = std::make_shared<LibraryKernel>(shared_from_this(), name, declared->second);
    handle_of_kernel = driver().kernels.insert(kernel);
    kernel->handle = handle_of_kernel;
  }
  *out = handle_of_kernel;
  return CUDA_SUCCESS;
}

CUresult Library::kernel_names(std::vector<std::string>* out) {
  std::lock_guard lock(mutex_);
  if (CUresult error = read_headers()) return error;
  for (const auto& [name, params] : declared_) out->push_back(name);
  return CUDA_SUCCESS;
}

void Library::retire() {
  driver().libraries.remove(handle);
  std::map<const Context*, ModuleRef> modules;
  std::map<std::string, CUkernel, std::less<>> kernels;
  {
    std::lock_guard lock(mutex_);
    modules.swap(modules_);
    kernels.swap(kernels_);
  }
  for (const auto& [name, kernel] : kernels) driver().kernels.remove(kernel);
  for (const auto& [context, module] : modules) module->retire();
}

void Library::drop_modules_of(const Context& context) {
  for (const std::shared_ptr<Library>& library : driver().libraries.all()) {
    ModuleRef module;
    {
      std::lock_guard lock(library->mutex_);
      auto found = library->modules_.find(&context);
      if (found == library->modules_.end() || found->second->kept_across_resets()) continue;
      module = std::move(found->second);
      library->modules_.erase(found);
    }
    module->retire();
  }
}

CUresult LibraryKernel::function(const ContextRef& context, FunctionRef* out) {
  // Launches come here again and again for the same context.
  {
    std::lock_guard lock(mutex_);
    if (FunctionRef last = last_function_.lock();
        last != nullptr && &last->context() == context.get() && !last->module()->retired()) {
      *out = std::move(last);
      return CUDA_SUCCESS;
    }
  }
  ModuleRef module;
  if (CUresult error = library_->module(context, &module)) return error;
  if (CUresult error = module->function(name_, out)) return error;
  std::shared_ptr<FunctionSettings> shared = settings(context->device());
  std::lock_guard lock(mutex_);
  (*out)->kernel_settings = std::move(shared);
  (*out)->kernel_handle = handle;
  last_function_ = *out;
  return CUDA_SUCCESS;
}

std::shared_ptr<FunctionSettings> LibraryKernel::settings(const Device& device) {
  std::lock_guard lock(mutex_);
  std::shared_ptr<FunctionSettings>& found = settings_[device.ordinal];
  if (found == nullptr) found = std::make_shared<FunctionSettings>();
  return found;
}

}  // namespace farcall::softgpu
