#include "client/shared_handles.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>

#include "base/unique_fd.h"
#include "client/stub.h"
#include "client/stub_args.h"
#include "rpc/schema/calls.capnp.h"

namespace farcall::client {
namespace {

namespace schema = rpc::schema;
using rpc::HandleId;
using rpc::HandleType;
using rpc::Opcode;

// The whole content of such a file.
struct Content {
  char magic[16];
  unsigned char name[16];
};
constexpr char kMagic[16] = "farcall share 1";
constexpr int kSeals = F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;

int write_content(const Content& content, int* out) {
  UniqueFd file(memfd_create("farcall-share", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!file || write(file.get(), &content, sizeof content) != ssize_t(sizeof content) ||
      fcntl(file.get(), F_ADD_SEALS, kSeals) != 0) {
    return CUDA_ERROR_OPERATING_SYSTEM;
  }
  *out = file.release();  // the program's to close
  return CUDA_SUCCESS;
}

bool read_content(int file, Content* out) {
  return pread(file, out, sizeof *out, 0) == ssize_t(sizeof *out) &&
         std::memcmp(out->magic, kMagic, sizeof kMagic) == 0;
}

int import_named(Session& session, int file, HandleType kind, uint64_t bytes, unsigned flags,
                 HandleId* out) {
  Content content;
  if (!read_content(file, &content)) return CUDA_ERROR_INVALID_VALUE;
  Minted id(session, kind);
  if (id.id() == 0) return CUDA_ERROR_OUT_OF_MEMORY;
  {
    Call call(session, Opcode::k_farcallShareImport);
    auto args = call.args<schema::FarcallShareImport>();
    args.setName({content.name, sizeof content.name});
    args.setObject(id.id());
    args.setBytes(bytes);
    args.setFlags(flags);
    if (const int failed = call.wait().result()) return failed;
  }
  *out = id.keep();
  return CUDA_SUCCESS;
}

}  // namespace

int export_share(Session& session, HandleId object, int type, unsigned long long flags, void* out) {
  if (object == 0 || !session.valid(object, rpc::handle_type(object)))
    return rpc::handle_type(object) == HandleType::kMemoryPool ? CUDA_ERROR_INVALID_HANDLE
                                                               : CUDA_ERROR_INVALID_VALUE;
  if (out == nullptr || flags != 0 || type != CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR)
    return CUDA_ERROR_INVALID_VALUE;
  Content content = {};
  std::memcpy(content.magic, kMagic, sizeof kMagic);
  {
    Call call(session, Opcode::k_farcallShareExport);
    call.args<schema::FarcallShareExport>().setObject(object);
    rpc::Reply reply = call.wait();
    if (reply.result() != CUDA_SUCCESS) return reply.result();
    const auto name = reply.results<schema::FarcallShareExportResults>().getName();
    if (name.size() != sizeof content.name) return CUDA_ERROR_UNKNOWN;
    std::memcpy(content.name, name.begin(), sizeof content.name);
  }
  return write_content(content, static_cast<int*>(out));
}

int import_share(Session& session, HandleType kind, int type, void* os_handle, HandleId* out) {
  if (out == nullptr) return CUDA_ERROR_INVALID_VALUE;
  if (type != CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR) return CUDA_ERROR_NOT_SUPPORTED;
  // The descriptor itself is what the pointer holds.
  return import_named(session, int(reinterpret_cast<intptr_t>(os_handle)), kind, 0, 0, out);
}

int import_external_memory(Session& session, const CUDA_EXTERNAL_MEMORY_HANDLE_DESC* what,
                           CUexternalMemory* out) {
  if (what == nullptr || out == nullptr || what->size == 0) return CUDA_ERROR_INVALID_VALUE;
  if (what->type != CU_EXTERNAL_MEMORY_HANDLE_TYPE_OPAQUE_FD) return CUDA_ERROR_NOT_SUPPORTED;
  HandleId id = 0;
  if (const int failed = import_named(session, what->handle.fd, HandleType::kExternalMemory,
                                      what->size, what->flags, &id)) {
    return failed;
  }
  close(what->handle.fd);
  *out = handle_from<CUexternalMemory>(id);
  return CUDA_SUCCESS;
}

}  // namespace farcall::client
