#include "client/session.h"

#include <capnp/message.h>
#include <gtest/gtest.h>

#include <cstring>
#include <new>
#include <thread>
#include <vector>

#include "client/stub.h"
#include "rpc/testing.h"

namespace farcall::client {
namespace {

using rpc::HandleType;

struct Connected {
  Connected() : pair(rpc::testing::make_pair()) {
    capnp::MallocMessageBuilder message;
    auto accepted = message.initRoot<rpc::schema::Accepted>();
    accepted.setDriverVersion(13010);
    accepted.setRuntimeVersion(13000);
    accepted.setPtxOnly(true);
    auto device = accepted.initDevices(1)[0];
    device.setName("softgpu");
    device.setTotalMemory(1 << 30);
    const kj::byte uuid[16] = {1, 2, 3};
    device.setUuid(kj::arrayPtr(uuid, 16));
    device.setPciBusId("0000:02:00.0");
    auto attributes = device.initAttributes(2);
    attributes[0].setId(75);
    attributes[0].setValue(12);
    attributes[1].setId(76);
    attributes[1].setValue(1);
    session.emplace(std::move(pair.client), accepted.asReader(), rpc::ConnectionOptions());
  }
  rpc::testing::ChannelPair pair;
  std::optional<Session> session;
};

rpc::Reply answer(int result) { return rpc::Reply(result); }

std::span<const std::byte> key(std::string_view text) { return std::as_bytes(std::span(text)); }

TEST(Session, KnowsWhatTheServerSaid) {
  Connected connected;
  const Session& session = *connected.session;
  EXPECT_EQ(session.driver_version(), 13010);
  EXPECT_EQ(session.runtime_version(), 13000);
  EXPECT_TRUE(session.ptx_only());
  ASSERT_EQ(session.devices().size(), 1u);
  const DeviceInfo& device = session.devices()[0];
  EXPECT_EQ(device.name, "softgpu");
  EXPECT_EQ(device.uuid[2], 3);
  EXPECT_EQ(device.total_memory, uint64_t{1} << 30);
  EXPECT_EQ(device.attributes.at(75), 12);
  EXPECT_EQ(device.pci_bus_id, "0000:02:00.0");
}

TEST(Session, HandlesAreValidFromMintingToRelease) {
  Connected connected;
  Session& session = *connected.session;
  const auto id = session.mint(HandleType::kStream);
  EXPECT_TRUE(session.valid(id, HandleType::kStream));
  EXPECT_FALSE(session.valid(id, HandleType::kEvent));
  session.release(id);
  EXPECT_FALSE(session.valid(id, HandleType::kStream));
  EXPECT_FALSE(session.valid(0, HandleType::kStream));
  EXPECT_FALSE(session.valid(0x7fff'0000'1234, HandleType::kStream)) << "a wild pointer";
}

TEST(Session, PrimaryContextsOfItsDevicesAreValid) {
  Connected connected;
  const Session& session = *connected.session;
  EXPECT_TRUE(session.valid(rpc::primary_context_id(0), HandleType::kContext));
  EXPECT_FALSE(session.valid(rpc::primary_context_id(1), HandleType::kContext));
  EXPECT_FALSE(session.valid(rpc::primary_context_id(0), HandleType::kStream));
}

// What a thread that has no stream yet gets when it asks for its own so many times.
std::vector<rpc::HandleId> per_thread_streams(Session& session, size_t streams) {
  std::vector<rpc::HandleId> ids;
  std::thread([&] {
    thread_state().lane.context = rpc::primary_context_id(0);
    thread_state().per_thread_stream[0] = 0;  // threads inherit the state of those that are gone
    for (size_t i = 0; i < streams; ++i) ids.push_back(stream_id(session, nullptr, true));
  }).join();
  return ids;
}

TEST(Session, AThreadsStreamIsMadeOnce) {
  Connected connected;
  const auto ids = per_thread_streams(*connected.session, 2);
  EXPECT_TRUE(connected.session->valid(ids[0], HandleType::kStream));
  EXPECT_EQ(ids[0], ids[1]);
}

TEST(Session, AThreadsStreamInABrokenContextTakesNoId) {
  Connected connected;
  Session& session = *connected.session;
  session.note_result(rpc::primary_context_id(0), CUDA_ERROR_ILLEGAL_ADDRESS);
  const std::vector<rpc::HandleId> none(2, rpc::kStreamPerThread);
  EXPECT_EQ(per_thread_streams(session, 2), none);
  EXPECT_EQ(rpc::handle_index(session.mint(HandleType::kStream)), 0u) << "the first one";
}

TEST(Session, AThreadsStreamInALostSessionGivesItsIdBack) {
  Connected connected;
  Session& session = *connected.session;
  session.connection().lose("a test ends it");
  const std::vector<rpc::HandleId> none(2, rpc::kStreamPerThread);
  EXPECT_EQ(per_thread_streams(session, 2), none);
  EXPECT_EQ(rpc::handle_index(session.mint(HandleType::kStream)), 0u) << "the only one alive";
}

TEST(Session, MintThrowsAtTheLimit) {
  Connected connected;
  Session& session = *connected.session;
  for (uint32_t i = 0; i < rpc::kHandleIndexMax; ++i) session.mint(HandleType::kEvent);
  EXPECT_THROW(session.mint(HandleType::kEvent), std::bad_alloc);
}

TEST(Session, RemembersAnswersThatDependOnTheArgumentsOnly) {
  Connected connected;
  Session& session = *connected.session;
  EXPECT_FALSE(session.cached(key("a")).has_value());
  session.remember(key("a"), answer(0));
  session.remember(key("b"), answer(1));
  session.remember(key("c"), answer(700));
  session.remember(key("d"), answer(rpc::kSessionLostResult));
  ASSERT_TRUE(session.cached(key("a")).has_value());
  EXPECT_EQ(session.cached(key("b"))->result(), 1) << "failures too";
  EXPECT_FALSE(session.cached(key("c")).has_value()) << "but not of the moment";
  EXPECT_FALSE(session.cached(key("d")).has_value());
  session.forget_cached();
  EXPECT_FALSE(session.cached(key("a")).has_value());
}

}  // namespace
}  // namespace farcall::client
