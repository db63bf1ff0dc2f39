// cuLink*: the driver's linker at work for a client. Inputs come with the call or were uploaded
// before; what the driver would have to guess the size of is checked first.
#include <cuda.h>

#include <string>
#include <vector>

#include "image/fatbin.h"
#include "rpc/schema/calls.capnp.h"
#include "server/call_context.h"
#include "server/dispatch_args.h"
#include "server/handlers.h"
#include "server/handlers/input.h"
#include "server/links.h"
#include "server/worker.h"

namespace farcall::server::handlers {
namespace {

namespace schema = rpc::schema;
using rpc::HandleType;

// Is the input what its type says, as far as the driver would believe it? PTX gets the NUL that
// ends it.
bool prepare(CUjitInputType type, std::span<const std::byte>* input, std::string* text) {
  switch (type) {
    case CU_JIT_INPUT_PTX:
      text->assign(image::as_text(*input));
      *input = std::as_bytes(std::span(text->c_str(), text->size() + 1));
      return true;
    case CU_JIT_INPUT_FATBINARY: {
      const auto container = image::Container::parse(*input);
      return container.ok() && container->bytes().size() == input->size();
    }
    case CU_JIT_INPUT_CUBIN: {
      const auto what = image::identify(*input);  // its headers stay within the image
      return what.ok() && what->kind == image::CodeKind::kElf;
    }
    default:
      return true;
  }
}

}  // namespace

void farcallLinkCreate(CallContext& call) {
  const auto args = call.args<schema::FarcallLinkCreate>();
  auto link = std::make_shared<Link>();
  if (rpc::handle_type(args.getLink()) != HandleType::kLinkState) {
    call.invalidate("not the id of a link state");
  } else if (!link->options.read(args)) {
    call.invalidate("too many JIT options");
  }
  if (!call.valid()) return call.refuse();
  const DriverTable& driver = call.driver();
  if (driver.cuLinkCreate_v2 == nullptr) return call.finish(CUDA_ERROR_NOT_SUPPORTED);
  const CUresult result = driver.cuLinkCreate_v2(link->options.count(), link->options.names(),
                                                 link->options.values(), &link->state);
  if (result == CUDA_SUCCESS && !call.worker().links().add(args.getLink(), std::move(link)))
    call.worker().violation("the id of a link state is in use");
  call.finish(result);
}

void farcallLinkAdd(CallContext& call) {
  const auto args = call.args<schema::FarcallLinkAdd>();
  const std::shared_ptr<Link> link = call.worker().links().find(args.getLink());
  JitOptions options;
  if (!options.read_plain(args.getOptions())) call.invalidate("too many JIT options");
  if (!call.valid()) return call.refuse();
  if (link == nullptr) return call.finish(CUDA_ERROR_INVALID_HANDLE);
  const DriverTable& driver = call.driver();
  if (driver.cuLinkAddData_v2 == nullptr) return call.finish(CUDA_ERROR_NOT_SUPPORTED);

  const std::optional<Input> found = input_of(call, args.getSha256());
  if (!found) return call.finish(CUDA_ERROR_INVALID_IMAGE);
  std::span<const std::byte> input = found->bytes;
  const auto type = CUjitInputType(args.getType());
  std::string text;
  if (!prepare(type, &input, &text)) return call.finish(CUDA_ERROR_INVALID_IMAGE);
  const std::string name = args.getName();
  const std::lock_guard lock(link->mutex);
  const CUresult result =
      driver.cuLinkAddData_v2(link->state, type, const_cast<std::byte*>(input.data()), input.size(),
                              name.c_str(), options.count(), options.names(), options.values());
  if (call.wants_reply())
    link->options.write_results(call.results<schema::FarcallLinkAddResults>().initLogs());
  call.finish(result);
}

void farcallLinkComplete(CallContext& call) {
  const std::shared_ptr<Link> link =
      call.worker().links().find(call.args<schema::FarcallLinkComplete>().getLink());
  if (link == nullptr) return call.finish(CUDA_ERROR_INVALID_HANDLE);
  const DriverTable& driver = call.driver();
  if (driver.cuLinkComplete == nullptr) return call.finish(CUDA_ERROR_NOT_SUPPORTED);
  const std::lock_guard lock(link->mutex);
  void* linked = nullptr;
  size_t bytes = 0;
  const CUresult result = driver.cuLinkComplete(link->state, &linked, &bytes);
  if (result == CUDA_SUCCESS) {
    link->linked = static_cast<const std::byte*>(linked);
    link->linked_bytes = bytes;
  }
  if (call.wants_reply()) {
    auto results = call.results<schema::FarcallLinkCompleteResults>();
    link->options.write_results(results.initLogs());
    results.setBytes(link->linked_bytes);
  }
  call.finish(result);
}

void farcallLinkRead(CallContext& call) {
  const auto args = call.args<schema::FarcallLinkRead>();
  const std::shared_ptr<Link> link = call.worker().links().find(args.getLink());
  if (link == nullptr) return call.finish(CUDA_ERROR_INVALID_HANDLE);
  const std::lock_guard lock(link->mutex);
  if (args.getOffset() > link->linked_bytes) call.invalidate("behind what was linked");
  if (!call.valid()) return call.refuse();
  if (call.wants_reply()) {
    const size_t bytes = std::min<size_t>(link->linked_bytes - args.getOffset(), kArrayBytesMax);
    const std::byte* const from = link->linked + args.getOffset();
    call.results<schema::FarcallLinkReadResults>().setBytes(
        {reinterpret_cast<const kj::byte*>(from), bytes});
  }
  call.finish(CUDA_SUCCESS);
}

void farcallLinkDestroy(CallContext& call) {
  const std::shared_ptr<Link> link =
      call.worker().links().remove(call.args<schema::FarcallLinkDestroy>().getLink());
  if (link == nullptr) return call.finish(CUDA_ERROR_INVALID_HANDLE);
  const DriverTable& driver = call.driver();
  if (driver.cuLinkDestroy == nullptr) return call.finish(CUDA_ERROR_NOT_SUPPORTED);
  const std::lock_guard lock(link->mutex);
  link->linked = nullptr;
  link->linked_bytes = 0;
  call.finish(driver.cuLinkDestroy(link->state));
}

}  // namespace farcall::server::handlers
