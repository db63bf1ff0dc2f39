// A client of the fake driver, call by call: what the stubs would send, in tests' words. Each call
// says which lane (thread) makes it. Ids are minted by counting.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

#include "rpc/schema/calls.capnp.h"
#include "rpc/schema/driver_event.capnp.h"
#include "rpc/schema/driver_stream.capnp.h"
#include "tests/server/daemon_process.h"

namespace farcall::server::testing {

namespace schema = rpc::schema;

class GpuSession : public Client {
 public:
  explicit GpuSession(const DaemonProcess& daemon, size_t url = 0) : Client(daemon, url) {}

  rpc::Lane lane{1, rpc::primary_context_id(0)};

  rpc::HandleId mint(rpc::HandleType type) { return rpc::make_handle_id(type, 1, next_++); }

  uint64_t alloc(size_t bytes) {
    rpc::CallWriter call(*connection, rpc::Opcode::k_farcallMemAlloc, lane);
    auto args = call.args<schema::FarcallMemAlloc>();
    args.setWidthBytes(bytes);
    args.setHeight(1);
    rpc::Reply reply = call.wait();
    EXPECT_EQ(reply.result(), 0);
    return reply.results<schema::FarcallMemAllocResults>().getAddress();
  }
  int free(uint64_t address) {
    rpc::CallWriter call(*connection, rpc::Opcode::k_farcallMemFree, lane);
    call.args<schema::FarcallMemFree>().setAddress(address);
    return call.wait().result();
  }
  void copy_in(uint64_t to, std::span<const std::byte> bytes, rpc::HandleId stream = 0,
               bool ordered = false) {
    for (size_t offset = 0; offset < bytes.size(); offset += rpc::kPayloadBytesMax) {
      rpc::CallWriter call(*connection, rpc::Opcode::k_farcallMemcpyHtoD, lane);
      auto args = call.args<schema::FarcallMemcpyHtoD>();
      args.setDestination(to + offset);
      args.setStream(stream);
      args.setOrdered(ordered);
      call.payload(bytes.subspan(offset, std::min(rpc::kPayloadBytesMax, bytes.size() - offset)));
      EXPECT_EQ(call.post(), 0);
    }
  }
  int copy_out(std::span<std::byte> to, uint64_t from, rpc::HandleId stream = 0) {
    rpc::CallWriter call(*connection, rpc::Opcode::k_farcallMemcpyDtoH, lane);
    describe(call, to, from, stream);
    return call.wait({to.data(), to.size()}).result();
  }
  void copy_out_later(std::span<std::byte> to, uint64_t from, rpc::HandleId stream = 0) {
    rpc::CallWriter call(*connection, rpc::Opcode::k_farcallMemcpyDtoH, lane);
    describe(call, to, from, stream);
    EXPECT_EQ(call.post({to.data(), to.size()}), 0);
  }
  rpc::HandleId create_stream() {
    const rpc::HandleId id = mint(rpc::HandleType::kStream);
    rpc::CallWriter call(*connection, rpc::Opcode::k_cuStreamCreate, lane);
    call.args<schema::CuStreamCreate>().setPhStream(id);
    EXPECT_EQ(call.post(), 0);
    return id;
  }
  int destroy_stream(rpc::HandleId stream) {
    rpc::CallWriter call(*connection, rpc::Opcode::k_cuStreamDestroy_v2, lane);
    call.args<schema::CuStreamDestroyV2>().setHStream(stream);
    return call.wait().result();
  }
  int synchronize(rpc::HandleId stream) {
    rpc::CallWriter call(*connection, rpc::Opcode::k_cuStreamSynchronize, lane);
    call.args<schema::CuStreamSynchronize>().setHStream(stream);
    return call.wait().result();
  }
  int query(rpc::HandleId stream) {
    rpc::CallWriter call(*connection, rpc::Opcode::k_cuStreamQuery, lane);
    call.args<schema::CuStreamQuery>().setHStream(stream);
    return call.wait().result();
  }
  // A module of the fake's, or a library; 0 with *result != 0 if it did not load.
  rpc::HandleId load(std::string_view ptx, rpc::HandleType type = rpc::HandleType::kModule) {
    const rpc::HandleId id = mint(type);
    rpc::CallWriter call(*connection, rpc::Opcode::k_farcallModuleLoad, lane);
    auto args = call.args<schema::FarcallModuleLoad>();
    args.setKind(schema::ImageKind::PTX);
    args.setModule(id);
    call.payload(std::as_bytes(std::span(ptx)));
    EXPECT_EQ(call.wait().result(), 0);
    return id;
  }
  rpc::HandleId kernel(std::string_view name) {
    if (module_ == 0) module_ = load("good");
    const rpc::HandleId id = mint(rpc::HandleType::kFunction);
    rpc::CallWriter call(*connection, rpc::Opcode::k_farcallKernelGet, lane);
    auto args = call.args<schema::FarcallKernelGet>();
    args.setModule(module_);
    args.setName(std::string(name).c_str());
    args.setFunction(id);
    EXPECT_EQ(call.wait().result(), 0);
    return id;
  }
  template <class Params = std::span<const std::byte>>
  void launch(rpc::HandleId function, rpc::HandleId stream = 0, const Params& params = {}) {
    rpc::CallWriter call(*connection, rpc::Opcode::k_farcallLaunchKernel, lane);
    auto args = call.args<schema::FarcallLaunchKernel>();
    args.setFunction(function);
    args.setStream(stream);
    args.setGridX(1);
    args.setGridY(1);
    args.setGridZ(1);
    args.setBlockX(1);
    args.setBlockY(1);
    args.setBlockZ(1);
    if constexpr (!std::is_same_v<Params, std::span<const std::byte>>) {
      args.setParams(kj::arrayPtr(reinterpret_cast<const kj::byte*>(&params), sizeof params));
    }
    EXPECT_EQ(call.post(), 0);
  }
  struct Fill {
    uint64_t address;
    uint32_t count, value;
  };

 private:
  static void describe(rpc::CallWriter& call, std::span<std::byte> to, uint64_t from,
                       rpc::HandleId stream) {
    auto args = call.args<schema::FarcallMemcpyDtoH>();
    args.setSource(from);
    args.setBytes(to.size());
    args.setStream(stream);
  }

  std::atomic<uint32_t> next_ = 1;
  rpc::HandleId module_ = 0;
};

}  // namespace farcall::server::testing
