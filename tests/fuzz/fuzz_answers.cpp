// A server that answers a client with arbitrary bytes: every call must return, and nothing may be
// written outside the memory that a copy named.
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cassert>
#include <cstdint>
#include <vector>

#include "base/log.h"
#include "base/unique_fd.h"
#include "rpc/client_connection.h"
#include "rpc/schema/calls.capnp.h"

namespace {

using namespace farcall;

constexpr size_t kInputBytesMax = 64 * 1024;
constexpr size_t kSinkBytes = 64;
constexpr size_t kGuardBytes = 64;

struct Guarded {
  std::vector<std::byte> memory = std::vector(kSinkBytes + 2 * kGuardBytes, std::byte{0x5a});
  rpc::DataSink sink() { return {memory.data() + kGuardBytes, kSinkBytes}; }
  void check() const {
    for (size_t i = 0; i < kGuardBytes; ++i) {
      assert(memory[i] == std::byte{0x5a});
      assert(memory[kGuardBytes + kSinkBytes + i] == std::byte{0x5a});
    }
  }
};

}  // namespace

// The seeds answer these calls: 1 a copy nobody waits for, 2 a copy, 3 one with results.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  log::set_level(log::Level::kOff);
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) return 0;
  UniqueFd server(ends[0]);
  auto channel = transport::adopt(UniqueFd(ends[1]));
  if (!channel) return 0;
  if (::write(server.get(), data, std::min(size, kInputBytesMax)) < 0) return 0;
  ::shutdown(server.get(), SHUT_WR);  // no more answers; calls are still taken

  Guarded posted, waited;
  const rpc::Lane lane{.id = 1, .context = 1};
  rpc::ClientConnection connection(channel.take());
  {
    rpc::CallWriter call(connection, rpc::Opcode::k_farcallMemcpyDtoH, lane);
    call.args<rpc::schema::FarcallMemcpyDtoH>().setBytes(kSinkBytes);
    (void)call.post(posted.sink());
  }
  {
    rpc::CallWriter call(connection, rpc::Opcode::k_farcallMemcpyDtoH, lane);
    call.args<rpc::schema::FarcallMemcpyDtoH>().setBytes(kSinkBytes);
    (void)call.wait(waited.sink());
  }
  {
    rpc::CallWriter call(connection, rpc::Opcode::k_farcallModuleLoad, lane);
    call.args<rpc::schema::FarcallModuleLoad>().setKind(rpc::schema::ImageKind::PTX);
    rpc::Reply reply = call.wait();
    try {
      auto results = reply.results<rpc::schema::FarcallModuleLoadResults>();
      (void)results.getErrorLog().size();
      (void)results.getInfoLog().size();
    } catch (const kj::Exception&) {  // as enter() does
    }
  }
  connection.close_sinks(posted.memory);
  posted.check();
  waited.check();
  return 0;
}
