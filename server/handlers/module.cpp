// Modules, libraries and what is in them. An image comes with the call or was uploaded before; the
// pointers that nvcc's wrapper is made of are made again here, around containers that came as bytes
// and whose headers have been checked.
#include <cuda.h>

#include <algorithm>
#include <string>
#include <vector>

#include "image/fatbin.h"
#include "rpc/schema/calls.capnp.h"
#include "server/call_context.h"
#include "server/handlers.h"
#include "server/handlers/input.h"
#include "server/handlers/jit_options.h"
#include "server/worker.h"

namespace farcall::server::handlers {
namespace {

namespace schema = rpc::schema;
using rpc::HandleId;
using rpc::HandleType;

// nvcc's wrapper around containers, as it lies in a program's .nvFatBinSegment.
struct Wrapper {
  uint32_t magic = 0x466243b1;
  uint32_t version = 1;
  const void* container = nullptr;
  const void* linked =
      nullptr;  // version 2: null-terminated array of the containers that were linked
};
static_assert(sizeof(Wrapper) == 24);

// What the driver's load functions are given: pointers into `image`, for as long as this lives.
class Code {
 public:
  // False: the image isn't what the call says.
  bool prepare(schema::ImageKind kind, std::span<const std::byte> image, uint32_t containers) {
    switch (kind) {
      case schema::ImageKind::FATBIN:
        return wrap(image, containers);
      case schema::ImageKind::ELF: {
        const auto what = image::identify(image);  // its headers stay within the image
        code_ = image.data();
        return what.ok() && what->kind == image::CodeKind::kElf;
      }
      case schema::ImageKind::PTX: {
        if (image.empty()) return false;
        const std::string_view text = image::as_text(image);
        text_.assign(text.begin(), text.end());  // the driver wants a terminating NUL
        code_ = text_.c_str();
        return true;
      }
      // The driver would have to guess the size of what a stranger sent.
      default:
        return false;
    }
  }
  const void* get() const { return code_; }

 private:
  bool wrap(std::span<const std::byte> image, uint32_t containers) {
    if (containers == 0 || containers > image::kWrapperImagesMax) return false;
    while (!image.empty()) {
      const auto container = image::Container::parse(image);
      if (!container) return false;
      parts_.push_back(container->bytes().data());
      image = image.subspan(container->bytes().size());
    }
    if (parts_.size() != containers) return false;
    wrapper_.container = parts_.front();
    if (containers > 1) {
      parts_.push_back(nullptr);
      wrapper_.version = 2;
      wrapper_.linked = parts_.data() + 1;
    }
    code_ = &wrapper_;
    return true;
  }

  const void* code_ = nullptr;
  Wrapper wrapper_;
  std::vector<const void*> parts_;
  std::string text_;
};

int load(CallContext& call, HandleId id, const void* code, JitOptions& options) {
  const DriverTable& driver = call.driver();
  if (rpc::handle_type(id) == HandleType::kLibrary) {
    if (driver.cuLibraryLoadData == nullptr) return CUDA_ERROR_NOT_SUPPORTED;
    CUlibrary library = nullptr;
    const CUresult result = driver.cuLibraryLoadData(
        &library, code, options.names(), options.values(), options.count(), nullptr, nullptr, 0);
    if (result == CUDA_SUCCESS) call.bind(id, HandleType::kLibrary, library);
    return result;
  }
  CUmodule module = nullptr;
  CUresult result = CUDA_ERROR_NOT_SUPPORTED;
  if (driver.cuModuleLoadDataEx != nullptr) {
    result = driver.cuModuleLoadDataEx(&module, code, options.count(), options.names(),
                                       options.values());
  } else if (driver.cuModuleLoadData != nullptr && options.count() == 0) {
    result = driver.cuModuleLoadData(&module, code);
  }
  if (result == CUDA_SUCCESS) call.bind(id, HandleType::kModule, module);
  return result;
}

bool is_library(HandleId id) { return rpc::handle_type(id) == HandleType::kLibrary; }

}  // namespace

void farcallModuleLoad(CallContext& call) {
  const auto args = call.args<schema::FarcallModuleLoad>();
  const HandleId id = args.getModule();
  if (!is_library(id) && rpc::handle_type(id) != HandleType::kModule) {
    call.invalidate("neither a module nor a library");
  }
  const std::optional<Input> input = input_of(call, args.getSha256());
  if (!input) return call.finish(CUDA_ERROR_INVALID_IMAGE);
  JitOptions options;
  if (!options.read(args)) call.invalidate("too many JIT options");
  if (!call.valid()) return call.refuse();

  Code code;
  if (!code.prepare(args.getKind(), input->bytes, args.getContainers())) {
    return call.finish(CUDA_ERROR_INVALID_IMAGE);
  }
  const int result = load(call, id, code.get(), options);
  if (options.has_results() && call.wants_reply())
    options.write_results(call.results<schema::FarcallModuleLoadResults>());
  call.finish(result);
}

void farcallModuleUnload(CallContext& call) {
  const auto args = call.args<schema::FarcallModuleUnload>();
  const HandleId id = args.getModule();
  const DriverTable& driver = call.driver();
  int result = CUDA_ERROR_NOT_SUPPORTED;
  if (is_library(id)) {
    const auto library = call.handle<CUlibrary>(id, HandleType::kLibrary);
    if (!call.valid() || library == nullptr) return call.refuse();
    if (driver.cuLibraryUnload != nullptr) result = driver.cuLibraryUnload(library);
  } else {
    const auto module = call.handle<CUmodule>(id, HandleType::kModule);
    if (!call.valid() || module == nullptr) return call.refuse();
    if (driver.cuModuleUnload != nullptr) result = driver.cuModuleUnload(module);
  }
  // Whatever the driver said, the client has let go of these.
  for (const HandleId function : args.getFunctions()) {
    call.unbind(function, is_library(id) ? HandleType::kKernel : HandleType::kFunction);
  }
  call.unbind(id, rpc::handle_type(id));
  call.finish(result);
}

void farcallKernelGet(CallContext& call) {
  const auto args = call.args<schema::FarcallKernelGet>();
  const DriverTable& driver = call.driver();
  const std::string name = args.getName();
  if (is_library(args.getModule())) {
    const auto library = call.handle<CUlibrary>(args.getModule(), HandleType::kLibrary);
    if (!call.valid() || library == nullptr) return call.refuse();
    if (driver.cuLibraryGetKernel == nullptr) return call.finish(CUDA_ERROR_NOT_SUPPORTED);
    CUkernel kernel = nullptr;
    const CUresult result = driver.cuLibraryGetKernel(&kernel, library, name.c_str());
    if (result == CUDA_SUCCESS) call.bind(args.getFunction(), HandleType::kKernel, kernel);
    return call.finish(result);
  }
  const auto module = call.handle<CUmodule>(args.getModule(), HandleType::kModule);
  if (!call.valid() || module == nullptr) return call.refuse();
  if (driver.cuModuleGetFunction == nullptr) return call.finish(CUDA_ERROR_NOT_SUPPORTED);
  CUfunction function = nullptr;
  const CUresult result = driver.cuModuleGetFunction(&function, module, name.c_str());
  if (result == CUDA_SUCCESS) call.bind(args.getFunction(), HandleType::kFunction, function);
  call.finish(result);
}

void farcallGlobalGet(CallContext& call) {
  const auto args = call.args<schema::FarcallGlobalGet>();
  const DriverTable& driver = call.driver();
  const std::string name = args.getName();
  CUdeviceptr address = 0;
  size_t bytes = 0;
  int result = CUDA_ERROR_NOT_SUPPORTED;
  if (is_library(args.getModule())) {
    const auto library = call.handle<CUlibrary>(args.getModule(), HandleType::kLibrary);
    if (!call.valid() || library == nullptr) return call.refuse();
    const auto get = args.getManaged() ? driver.cuLibraryGetManaged : driver.cuLibraryGetGlobal;
    if (get != nullptr) result = get(&address, &bytes, library, name.c_str());
  } else {
    const auto module = call.handle<CUmodule>(args.getModule(), HandleType::kModule);
    if (!call.valid() || module == nullptr) return call.refuse();
    if (driver.cuModuleGetGlobal_v2 != nullptr) {
      result = driver.cuModuleGetGlobal_v2(&address, &bytes, module, name.c_str());
    }
  }
  if (result == CUDA_SUCCESS && args.getManaged()) {
    result = call.worker().visible_memory().adopt(address, bytes);
  }
  if (result == CUDA_SUCCESS) {
    auto results = call.results<schema::FarcallGlobalGetResults>();
    results.setAddress(address);
    results.setBytes(bytes);
  }
  call.finish(result);
}

}  // namespace farcall::server::handlers
