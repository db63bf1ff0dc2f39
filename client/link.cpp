#include "client/link.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <mutex>
#include <span>
#include <unordered_map>
#include <vector>

#include "client/image_upload.h"
#include "client/stub.h"
#include "client/stub_args.h"
#include "image/fatbin.h"
#include "rpc/schema/calls.capnp.h"

namespace farcall::client {
namespace {

namespace schema = rpc::schema;
using rpc::HandleId;
using rpc::HandleType;
using rpc::Opcode;

struct Link {
  JitOptions options;  // the program keeps the arrays until cuLinkDestroy
  std::vector<char> linked;
};

struct Links {
  std::mutex mutex;
  std::unordered_map<HandleId, std::shared_ptr<Link>> by_id;  // guarded by mutex

  std::shared_ptr<Link> find(CUlinkState state) {
    const std::lock_guard lock(mutex);
    const auto found = by_id.find(id_of(state));
    return found == by_id.end() ? nullptr : found->second;
  }
};
Links& links() {
  static Links* const instance = new Links;  // leaked: see program.h
  return *instance;
}

void deliver(const Link& link, schema::LinkLogs::Reader logs) {
  link.options.deliver(logs.getErrorLog(), logs.getInfoLog(), logs.getWallTime());
}

// One input, as the driver wants it: PTX without its NULs, one container of a fat binary.
int add(Session& session, const Link& link, CUlinkState state, CUjitInputType type,
        std::span<const std::byte> input, const char* name, const JitOptions& options) {
  StoredImage stored;
  if (const int failed = store_image(session, input, &stored)) return failed;
  Call call(session, Opcode::k_farcallLinkAdd);
  auto args = call.args<schema::FarcallLinkAdd>();
  args.setLink(id_of(state));
  args.setType(int(type));
  if (name != nullptr) args.setName(name);
  args.setSha256(stored.sha256());
  options.write_without_logs(args);
  call.payload(stored.payload());
  rpc::Reply reply = call.wait();
  if (reply.has_results()) deliver(link, reply.results<schema::FarcallLinkAddResults>().getLogs());
  return reply.result();
}

int add_fat_binary(Session& session, const Link& link, CUlinkState state, const void* data,
                   const char* name, const JitOptions& options) {
  const auto identified = image::identify(data);
  if (!identified) return CUDA_ERROR_INVALID_IMAGE;  // logged there
  const auto of_kind = [&] {
    switch (identified->kind) {
      case image::CodeKind::kPtx:
        return CU_JIT_INPUT_PTX;
      case image::CodeKind::kElf:
        return CU_JIT_INPUT_CUBIN;
      default:
        return CU_JIT_INPUT_FATBINARY;
    }
  };
  for (const image::Bytes each : identified->images) {
    if (const int failed = add(session, link, state, of_kind(), each, name, options)) return failed;
  }
  return CUDA_SUCCESS;
}

}  // namespace

int create_link(Session& session, const JitOptions& options, CUlinkState* out) {
  if (out == nullptr) return CUDA_ERROR_INVALID_VALUE;
  auto link = std::make_shared<Link>();
  link->options = options;
  Minted id(session, HandleType::kLinkState);
  if (id.id() == 0) return CUDA_ERROR_OUT_OF_MEMORY;
  {
    Call call(session, Opcode::k_farcallLinkCreate);
    auto args = call.args<schema::FarcallLinkCreate>();
    args.setLink(id.id());
    link->options.write(args);
    if (const int failed = call.wait().result()) return failed;
  }
  link->options.deliver({}, {}, 0);
  const std::lock_guard lock(links().mutex);
  links().by_id[id.id()] = std::move(link);
  *out = handle_from<CUlinkState>(id.keep());
  return CUDA_SUCCESS;
}

int add_to_link(Session& session, CUlinkState state, CUjitInputType type, const void* data,
                size_t size, const char* name, const JitOptions& options) {
  const std::shared_ptr<Link> link = links().find(state);
  if (link == nullptr) return CUDA_ERROR_INVALID_HANDLE;
  if (data == nullptr || size == 0) return CUDA_ERROR_INVALID_VALUE;
  std::span input(static_cast<const std::byte*>(data), size);
  switch (type) {
    case CU_JIT_INPUT_FATBINARY:
      return add_fat_binary(session, *link, state, data, name, options);
    case CU_JIT_INPUT_PTX:
      input = input.first(strnlen(static_cast<const char*>(data), size));
      return add(session, *link, state, type, input, name, options);
    case CU_JIT_INPUT_CUBIN:
    case CU_JIT_INPUT_OBJECT:
    case CU_JIT_INPUT_LIBRARY:
    case CU_JIT_INPUT_NVVM:
      return add(session, *link, state, type, input, name, options);
    default:
      return CUDA_ERROR_INVALID_VALUE;
  }
}

int complete_link(Session& session, CUlinkState state, void** linked, size_t* size) {
  const std::shared_ptr<Link> link = links().find(state);
  if (link == nullptr) return CUDA_ERROR_INVALID_HANDLE;
  if (linked == nullptr) return CUDA_ERROR_INVALID_VALUE;
  uint64_t bytes = 0;
  {
    Call call(session, Opcode::k_farcallLinkComplete);
    call.args<schema::FarcallLinkComplete>().setLink(id_of(state));
    rpc::Reply reply = call.wait();
    if (reply.has_results()) {
      auto results = reply.results<schema::FarcallLinkCompleteResults>();
      deliver(*link, results.getLogs());
      bytes = results.getBytes();
    }
    if (reply.result() != CUDA_SUCCESS) return reply.result();
  }
  if (bytes > image::kUncompressedBytesMax) return CUDA_ERROR_OUT_OF_MEMORY;
  link->linked.clear();
  while (link->linked.size() < bytes) {
    Call call(session, Opcode::k_farcallLinkRead);
    auto args = call.args<schema::FarcallLinkRead>();
    args.setLink(id_of(state));
    args.setOffset(link->linked.size());
    rpc::Reply reply = call.wait();
    if (reply.result() != CUDA_SUCCESS) return reply.result();
    const auto piece = reply.results<schema::FarcallLinkReadResults>().getBytes();
    if (piece.size() == 0 || piece.size() > bytes - link->linked.size()) return CUDA_ERROR_UNKNOWN;
    link->linked.insert(link->linked.end(), piece.begin(), piece.end());
  }
  *linked = link->linked.data();
  if (size != nullptr) *size = size_t(bytes);
  return CUDA_SUCCESS;
}

int destroy_link(Session& session, CUlinkState state) {
  {
    const std::lock_guard lock(links().mutex);
    if (links().by_id.erase(id_of(state)) == 0) return CUDA_ERROR_INVALID_HANDLE;
  }
  int result;
  {
    Call call(session, Opcode::k_farcallLinkDestroy);
    call.args<schema::FarcallLinkDestroy>().setLink(id_of(state));
    result = call.post();
  }
  session.release(id_of(state));
  return result;
}

}  // namespace farcall::client
