#include "client/module.h"

#include <algorithm>
#include <array>

#include "base/log.h"
#include "client/contexts.h"
#include "client/image_upload.h"
#include "client/program.h"
#include "client/stub.h"
#include "image/fatbin.h"
#include "rpc/schema/calls.capnp.h"

namespace farcall::client {
namespace {

using rpc::HandleId;
using rpc::HandleType;
using rpc::Opcode;
namespace schema = rpc::schema;

// Handle -> object for the two types that launches look up: a page table over the handle's index,
// written under a lock, read without one. Pages are never freed, so a stale handle reads a null or
// a newer entry and its id differs.
template <class T>
class HandlePages {
 public:
  T* find(HandleId id) const {
    const uint32_t index = rpc::handle_index(id);
    if (index >= kPages * kPageSize) return nullptr;
    const Page* page = pages_[index / kPageSize].load(std::memory_order_acquire);
    T* object =
        page == nullptr ? nullptr : (*page)[index % kPageSize].load(std::memory_order_acquire);
    return object;
  }
  void set(HandleId id, T* object) {
    const uint32_t index = rpc::handle_index(id);
    if (index >= kPages * kPageSize) return;
    const std::lock_guard lock(mutex_);
    std::atomic<Page*>& slot = pages_[index / kPageSize];
    if (slot.load(std::memory_order_relaxed) == nullptr)
      slot.store(new Page{}, std::memory_order_release);
    (*slot.load(std::memory_order_relaxed))[index % kPageSize].store(object,
                                                                     std::memory_order_release);
  }

 private:
  static constexpr uint32_t kPageSize = 1024;
  static constexpr uint32_t kPages = rpc::kHandleIndexMax / kPageSize;
  using Page = std::array<std::atomic<T*>, kPageSize>;
  std::array<std::atomic<Page*>, kPages> pages_{};
  std::mutex mutex_;
};

struct Tables {
  HandlePages<Kernel> functions, kernels;
  HandlePages<Module> modules, libraries;
};
Tables& tables() {
  static Tables* const instance = new Tables;  // leaked: see program.h
  return *instance;
}
HandlePages<Kernel>& kernel_table(HandleType type) {
  return type == HandleType::kKernel ? tables().kernels : tables().functions;
}
HandlePages<Module>& module_table(HandleType type) {
  return type == HandleType::kLibrary ? tables().libraries : tables().modules;
}

// Kernels and variables of several images that are linked together.
void merge(image::Module& into, image::Module&& from) {
  into.source = from.source;
  into.sm = from.sm;
  into.kernels.merge(from.kernels);
  for (auto& [name, variable] : from.variables) {
    const auto known = into.variables.find(name);
    if (known == into.variables.end() || known->second.external)
      into.variables[name] = std::move(variable);
  }
}

}  // namespace

struct Module::Upload {
  schema::ImageKind kind = schema::ImageKind::UNKNOWN;
  std::vector<std::byte> bytes;
  uint32_t containers = 0;
  bool wait = false;  // the program handed over code whose errors CUDA reports at the call
};

Kernel* find_kernel(HandleId id) {
  const HandleType type = rpc::handle_type(id);
  if (type != HandleType::kKernel && type != HandleType::kFunction) return nullptr;
  Kernel* kernel = kernel_table(type).find(id);
  return kernel != nullptr && kernel->id == id ? kernel : nullptr;
}

Module* Module::find(HandleId id) {
  const HandleType type = rpc::handle_type(id);
  if (type != HandleType::kModule && type != HandleType::kLibrary) return nullptr;
  Module* module = module_table(type).find(id);
  return module != nullptr && module->id_ == id ? module : nullptr;
}

Module::~Module() = default;

// Picks what the server's device can run and reads its symbols. A CUresult.
int Module::choose_images(Session& session, const void* code, Upload* upload) {
  auto identified = image::identify(code);
  if (!identified) return CUDA_ERROR_INVALID_IMAGE;  // logged there
  const image::Code& what = *identified;

  if (what.kind == image::CodeKind::kPtx || what.kind == image::CodeKind::kElf) {
    const image::Bytes bytes = what.images.front();
    const bool ptx = what.kind == image::CodeKind::kPtx;
    if (!ptx && session.ptx_only()) {
      log::warning(
          "a cubin can't run on this server's device, which runs PTX only; build with PTX "
          "(-arch=compute_NN)");
      return CUDA_ERROR_NO_BINARY_FOR_GPU;
    }
    upload->kind = ptx ? schema::ImageKind::PTX : schema::ImageKind::ELF;
    upload->bytes.assign(bytes.begin(), bytes.end());
    upload->wait = true;
    auto symbols = ptx ? image::read_ptx(image::as_text(bytes)) : image::read_cubin(bytes);
    if (symbols) {
      symbols_ = symbols.take();
      symbols_known_ = true;
    } else if (!ptx) {
      return CUDA_ERROR_INVALID_IMAGE;
    }  // PTX that we can't scan: the server's compiler says what is wrong with it
    return CUDA_SUCCESS;
  }

  const auto& device = session.devices().at(size_t(std::max(0, thread_state().device)));
  const auto attribute = [&](CUdevice_attribute id) {
    const auto found = device.attributes.find(id);
    return found == device.attributes.end() ? 0 : found->second;
  };
  const image::Target target{attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR) * 10 +
                                 attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR),
                             session.ptx_only()};
  upload->kind = schema::ImageKind::FATBIN;
  bool found = false;
  symbols_known_ = true;
  for (size_t i = 0; i < what.images.size(); ++i) {
    auto container = image::Container::parse(what.images[i]);
    if (!container) return CUDA_ERROR_INVALID_IMAGE;
    const image::Entry* entry = image::choose(*container, target);
    // The linked result of -rdc=true keeps its place when it is empty: that tells the driver to
    // link the parts behind it.
    if (entry == nullptr && i > 0) continue;
    const std::vector<std::byte> trimmed = image::trim(std::span(&entry, entry != nullptr ? 1 : 0));
    upload->bytes.insert(upload->bytes.end(), trimmed.begin(), trimmed.end());
    ++upload->containers;
    if (entry == nullptr) continue;
    found = true;
    auto symbols = image::read_entry(*entry);
    if (symbols) {
      merge(symbols_, symbols.take());
    } else if (symbols.status() == Status::kUnsupported) {
      symbols_known_ = false;  // LTO IR: the server must be asked
    } else {
      return CUDA_ERROR_INVALID_IMAGE;
    }
    if (i == 0)
      break;  // of a -rdc=true wrapper: the linked result, which holds the parts that follow
  }
  if (!found) return CUDA_ERROR_NO_BINARY_FOR_GPU;
  return CUDA_SUCCESS;
}

// Ships the image and binds id_ to it. A CUresult.
int Module::send(Session& session, Upload& upload, const JitOptions& jit) {
  StoredImage stored;
  if (const int failed = store_image(session, upload.bytes, &stored)) return failed;

  Call call(session, Opcode::k_farcallModuleLoad);
  auto args = call.args<schema::FarcallModuleLoad>();
  args.setSha256(stored.sha256());
  args.setKind(upload.kind);
  args.setModule(id_);
  args.setContainers(upload.containers);
  jit.write(args);
  call.payload(stored.payload());
  if (!upload.wait) return call.post();

  rpc::Reply reply = call.wait();
  if (reply.has_results()) {
    auto results = reply.results<schema::FarcallModuleLoadResults>();
    jit.deliver(results.getErrorLog(), results.getInfoLog(), results.getWallTime());
  }
  return reply.result();
}

int Module::load(Session& session, const void* code, HandleType type, const JitOptions& jit,
                 Module** out) {
  if (code == nullptr || out == nullptr) return CUDA_ERROR_INVALID_VALUE;
  std::unique_ptr<Module> module(new Module);
  Upload upload;
  int result = module->choose_images(session, code, &upload);
  const bool put_off = result == CUDA_ERROR_NO_BINARY_FOR_GPU && type == HandleType::kLibrary;
  if (result != CUDA_SUCCESS && !put_off) return result;

  module->id_ = session.mint(type);
  if (module->id_ == 0) return CUDA_ERROR_OUT_OF_MEMORY;
  if (put_off) {
    module->load_result_ = result;
  } else if ((result = module->send(session, upload, jit)) != CUDA_SUCCESS) {
    session.release(module->id_);
    return result;
  }
  module_table(type).set(module->id_, module.get());
  *out = module.release();  // found again by its handle, freed by unload()
  return CUDA_SUCCESS;
}

int Module::unload(Session& session, Module* module) {
  const HandleId id = module->id_;
  const HandleType type = rpc::handle_type(id);
  int result = CUDA_SUCCESS;
  {
    const std::lock_guard lock(module->mutex_);
    if (module->load_result_ == CUDA_SUCCESS) {
      Call call(session, Opcode::k_farcallModuleUnload);
      auto args = call.args<schema::FarcallModuleUnload>();
      args.setModule(id);
      auto functions = args.initFunctions(unsigned(module->kernels_.size()));
      unsigned next = 0;
      for (const auto& [name, kernel] : module->kernels_) functions.set(next++, kernel->id);
      result = call.post_blocking();
    }
    for (const auto& [name, kernel] : module->kernels_) {
      kernel_table(rpc::handle_type(kernel->id)).set(kernel->id, nullptr);
      session.release(kernel->id);
    }
  }
  module_table(type).set(id, nullptr);
  session.release(id);
  delete module;
  return result;
}

int Module::kernel(Session& session, std::string_view name, Kernel** out) {
  if (load_result_ != CUDA_SUCCESS) return load_result_;
  const std::string key(name);
  const std::lock_guard lock(mutex_);
  const auto known = kernels_.find(key);
  if (known != kernels_.end()) {
    *out = known->second.get();
    return CUDA_SUCCESS;
  }
  const image::Kernel* layout = symbols_.kernel(name);
  if (layout == nullptr && symbols_known_) return CUDA_ERROR_NOT_FOUND;
  const bool of_library = rpc::handle_type(id_) == HandleType::kLibrary;
  const HandleId id = session.mint(of_library ? HandleType::kKernel : HandleType::kFunction);
  if (id == 0) return CUDA_ERROR_OUT_OF_MEMORY;
  Call call(session, Opcode::k_farcallKernelGet);
  auto args = call.args<schema::FarcallKernelGet>();
  args.setModule(id_);
  args.setName(key.c_str());
  args.setFunction(id);
  // What we read in the image is there; of what we could not read the server must say so.
  const int result = symbols_known_ ? call.post() : call.wait().own_result();
  if (result != CUDA_SUCCESS) {
    session.release(id);
    return result;
  }
  auto kernel = std::unique_ptr<Kernel>(new Kernel{id, layout, this});
  kernel_table(rpc::handle_type(id)).set(id, kernel.get());
  *out = kernel.get();
  kernels_[key] = std::move(kernel);
  return CUDA_SUCCESS;
}

namespace {

int ask_for_variable(Session& session, HandleId module, const std::string& name, bool managed,
                     VisibleMemory::Extent* out) {
  Call call(session, Opcode::k_farcallGlobalGet);
  auto args = call.args<schema::FarcallGlobalGet>();
  args.setModule(module);
  args.setName(name.c_str());
  args.setManaged(managed);
  rpc::Reply reply = call.wait();
  if (reply.result() != CUDA_SUCCESS) return reply.result();
  auto results = reply.results<schema::FarcallGlobalGetResults>();
  *out = {results.getAddress(), results.getBytes()};
  return CUDA_SUCCESS;
}

}  // namespace

int Module::variable(Session& session, std::string_view name, bool managed, uint64_t* address,
                     uint64_t* bytes) {
  if (load_result_ != CUDA_SUCCESS) return load_result_;
  const image::Variable* const symbol = symbols_.variable(name);
  if (symbols_known_ && symbol == nullptr) return CUDA_ERROR_NOT_FOUND;
  if (symbol != nullptr && managed && !symbol->managed) return CUDA_ERROR_NOT_FOUND;
  managed = managed || (symbol != nullptr && symbol->managed);
  // Managed variables have one address everywhere.
  const HandleId context = managed ? 0 : thread_state().lane.context;
  const unsigned resets = contexts().resets();
  const std::string key(name);
  {
    const std::lock_guard lock(mutex_);
    if (resets_ != resets) variables_.clear();
    resets_ = resets;
    const auto known = variables_.find({context, key});
    if (known != variables_.end()) {
      *address = known->second.address;
      *bytes = known->second.bytes;
      return CUDA_SUCCESS;
    }
  }
  VisibleMemory::Extent found;
  if (const int failed = ask_for_variable(session, id_, key, managed, &found)) return failed;
  std::vector<std::pair<std::string, VisibleMemory::Extent>> all = {{key, found}};
  if (managed) {
    // All managed variables of the module at once: they may share pages.
    std::vector<VisibleMemory::Extent> extents = {found};
    for (const auto& [other, what] : symbols_.variables) {
      if (!what.managed || what.external || other == name) continue;
      if (const int failed = ask_for_variable(session, id_, other, true, &found)) return failed;
      all.emplace_back(other, found);
      extents.push_back(found);
    }
    if (const int failed = program().visible.adopt(session, extents)) return failed;
  }
  *address = all.front().second.address;
  *bytes = all.front().second.bytes;
  const std::lock_guard lock(mutex_);
  if (resets_ != resets) return CUDA_SUCCESS;  // another thread has reset the device meanwhile
  for (const auto& [variable, extent] : all)
    variables_[{context, variable}] = {extent.address, extent.bytes};
  return CUDA_SUCCESS;
}

}  // namespace farcall::client
