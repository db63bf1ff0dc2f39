// Sessions that end: while calls are in every state, because the server is gone, or because it
// breaks the protocol.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "rpc/testing_connection.h"

namespace farcall::rpc {
namespace {

using testing::copy_in;
using testing::echo;
using ::testing::HasSubstr;
using testing::kLane;
using testing::post_launch;
using testing::RawFrames;
using testing::Session;
using testing::synchronize;

// A session that ends while calls are in every state: all return, and at once.
class Lost : public ::testing::TestWithParam<int> {};

TEST_P(Lost, EveryWaiterAndEveryLaterCallReturns) {
  const int at_call = GetParam();
  ::testing::internal::CaptureStderr();
  {
    Session session([&](const Frame& frame, AnswerWriter& writer) {
      if (frame.number == static_cast<uint64_t>(at_call)) {
        (void)writer.fatal("a kernel broke the GPU");
        session.server.channel().shutdown();
      }
      echo(frame, writer);
    });
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&, t] {
        const Lane lane{.id = static_cast<uint32_t>(t + 1), .context = 0};
        const auto payload = testing::pattern(10'000);
        for (;;) {
          if (t % 2 == 0 && post_launch(session.connection) != 0) break;
          if (t == 3 && copy_in(session.connection, payload) != 0) break;
          if (synchronize(session.connection, lane).result() != 0) break;
        }
      });
    }
    for (auto& thread : threads) thread.join();
    EXPECT_TRUE(session.connection.lost());
    EXPECT_EQ(synchronize(session.connection).result(), kSessionLostResult);
    EXPECT_EQ(post_launch(session.connection), kSessionLostResult);
  }
  const std::string log = ::testing::internal::GetCapturedStderr();
  EXPECT_THAT(log, HasSubstr("the server ended it: a kernel broke the GPU"));
  EXPECT_EQ(std::count(log.begin(), log.end(), '\n'), 1) << log;
}

INSTANTIATE_TEST_SUITE_P(AtCall, Lost, ::testing::Values(1, 2, 3, 10, 101, 1000));

TEST(ClientConnection, AServerThatIsGoneEndsThePostsToo) {
  ::testing::internal::CaptureStderr();
  {
    auto pair = testing::make_pair();
    ClientConnection connection(std::move(pair.client));
    pair.server.reset();
    const auto deadline = Deadline::after(std::chrono::seconds(5));
    while (post_launch(connection) == 0 && !deadline.expired()) {
    }
    EXPECT_TRUE(connection.lost());
  }  // the ticker may have found it, and writes the log until it has ended
  EXPECT_THAT(::testing::internal::GetCapturedStderr(),
              HasSubstr("the server closed the connection"));
}

// --- Hostile servers

struct Hostile {
  const char* name;
  RawFrames frames;
  const char* problem;
};

ReplyHeader to(uint32_t sequence, uint64_t offset = 0) {
  return {.sequence = sequence,
          .result = 0,
          .async_result = 0,
          .async_call = 0,
          .aux = 0,
          .offset = offset};
}
constexpr uint16_t kDtoH = static_cast<uint16_t>(Opcode::k_farcallMemcpyDtoH);

class HostileServer : public ::testing::TestWithParam<Hostile> {};

// The client waits for call 1 (a launch) to be overtaken by call 2, a copy of 64 bytes.
TEST_P(HostileServer, EndsTheSessionWithOneLineAndNoWriteOutsideTheSink) {
  ::testing::internal::CaptureStderr();
  auto pair = testing::make_pair();
  ClientConnection connection(std::move(pair.client));
  const std::vector<std::byte> untouched(64, std::byte{0x55});
  std::vector<std::byte> memory(3 * 64, std::byte{0x55});
  std::thread server([&] {
    (void)transport::send_bytes(*pair.server, GetParam().frames.bytes());
    std::vector<std::byte> ignored(4096);
    while (pair.server->receive(ignored).ok()) {
    }
  });
  EXPECT_EQ(post_launch(connection), 0);
  {
    CallWriter call(connection, Opcode::k_farcallMemcpyDtoH, kLane);
    call.args<schema::FarcallMemcpyDtoH>().setBytes(64);
    EXPECT_EQ(call.wait({memory.data() + 64, 64}).result(), kSessionLostResult);
  }
  EXPECT_EQ(post_launch(connection), kSessionLostResult);
  server.join();
  EXPECT_TRUE(std::equal(untouched.begin(), untouched.end(), memory.begin()));
  EXPECT_TRUE(std::equal(untouched.begin(), untouched.end(), memory.begin() + 128));
  const std::string log = ::testing::internal::GetCapturedStderr();
  EXPECT_THAT(log, HasSubstr(GetParam().problem));
  EXPECT_EQ(std::count(log.begin(), log.end(), '\n'), 1) << log;
}

const std::string k64(64, 'x'), k8(8, 'x');

INSTANTIATE_TEST_SUITE_P(
    ClientConnection, HostileServer,
    ::testing::Values(
        Hostile{"garbage", RawFrames().fill(64, std::byte{0xff}), "are allowed"},
        Hostile{"http", RawFrames().text("HTTP/1.1 400 Bad Request\r\n\r\n.........."), "protocol"},
        Hostile{"unknown_sequence", RawFrames().answer(kDtoH, kReply, to(7)), "nobody waits"},
        Hostile{"answer_to_a_post", RawFrames().answer(21, kReply, to(1)), "nobody waits"},
        Hostile{"another_call", RawFrames().answer(21, kReply, to(2)), "nobody waits"},
        Hostile{"success_without_data", RawFrames().answer(kDtoH, kReply, to(2)),
                "success after 0 of 64 bytes"},
        Hostile{"data_for_nobody", RawFrames().answer(kDtoH, kData, to(9), k64), "expects none"},
        Hostile{"data_for_a_launch", RawFrames().answer(21, kData, to(1), k64), "expects none"},
        Hostile{"data_too_long", RawFrames().answer(kDtoH, kData, to(2), k64 + "x"),
                "65 bytes at offset 0"},
        Hostile{"data_beyond", RawFrames().answer(kDtoH, kData, to(2, 60), k8),
                "8 bytes at offset 60"},
        Hostile{"data_wraps", RawFrames().answer(kDtoH, kData, to(2, ~uint64_t{0} - 3), k8),
                "at offset"},
        Hostile{"two_kinds", RawFrames().answer(kDtoH, kData | kReply, to(2)), "flags"},
        Hostile{"fatal_without_words", RawFrames().answer(0, kFatal, to(0)),
                "the server ended it"}),
    [](const auto& info) { return info.param.name; });

TEST(ClientConnection, MemoryOfAFailedCopyIsTheProgramsAgain) {
  Session session;  // never sends the data
  std::vector<std::byte> memory(4096);
  {
    CallWriter call(session.connection, Opcode::k_farcallMemcpyDtoH, kLane);
    call.args<schema::FarcallMemcpyDtoH>();
    ASSERT_EQ(call.post({memory.data(), memory.size()}), 0);
  }
  EXPECT_EQ(synchronize(session.connection).result(), 0);
  session.connection.close_sinks(std::span(memory).subspan(100, 1));
  ::testing::internal::CaptureStderr();
  const std::string late(4096, 'x');
  (void)transport::send_bytes(session.server.channel(),
                              RawFrames().answer(kDtoH, kData, to(1), late).bytes());
  EXPECT_EQ(synchronize(session.connection).result(), kSessionLostResult);
  EXPECT_THAT(::testing::internal::GetCapturedStderr(), HasSubstr("expects none"));
  EXPECT_EQ(memory, std::vector<std::byte>(4096));
}

TEST(ClientConnection, ASinkThatIsBeingWrittenWhenItClosesEndsTheSession) {
  auto pair = testing::make_pair();
  const transport::Channel& channel = *pair.client;
  ClientConnection connection(std::move(pair.client));
  std::vector<std::byte> memory(4096);
  {
    CallWriter call(connection, Opcode::k_farcallMemcpyDtoH, kLane);
    call.args<schema::FarcallMemcpyDtoH>();
    ASSERT_EQ(call.post({memory.data(), memory.size()}), 0);
  }
  std::thread other([&] { EXPECT_EQ(synchronize(connection).result(), kSessionLostResult); });
  const RawFrames frames = RawFrames().answer(kDtoH, kData, to(1), std::string(4096, 'x'));
  const std::span<const std::byte> bytes(frames.bytes());
  size_t sent = 0;
  const auto send = [&](size_t count) {
    ASSERT_EQ(transport::send_bytes(*pair.server, bytes.subspan(sent, count)), Status::kOk);
    sent += count;
    while (channel.counters().bytes_received < sent) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  };
  send(2000);
  send(1);  // received only when the reader has put the first part where it belongs
  ::testing::internal::CaptureStderr();
  connection.close_sinks(memory);
  EXPECT_THAT(::testing::internal::GetCapturedStderr(), HasSubstr("told that it had ended"));
  const auto after = memory;
  EXPECT_EQ(after[0], std::byte{'x'});
  (void)transport::send_bytes(*pair.server, bytes.subspan(sent));
  other.join();
  EXPECT_TRUE(connection.lost());
  EXPECT_EQ(memory, after);
}

}  // namespace
}  // namespace farcall::rpc
