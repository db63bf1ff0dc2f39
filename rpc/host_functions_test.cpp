// Functions of the program that streams call, as frames: who hears of them, and when.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <optional>
#include <thread>

#include "rpc/testing_connection.h"

namespace farcall::rpc {
namespace {

using testing::echo;
using ::testing::HasSubstr;
using testing::Session;
using testing::synchronize;

void expect_due(const std::optional<HostFunctionDue>& due, uint64_t id, uint32_t occasion,
                int result, uint16_t aux) {
  ASSERT_TRUE(due);
  EXPECT_EQ(due->id, id);
  EXPECT_EQ(due->occasion, occasion);
  EXPECT_EQ(due->result, result);
  EXPECT_EQ(due->aux, aux);
}

TEST(HostFunctionFrames, ReachAProgramThatMakesNoCalls) {
  Session session;
  AnswerWriter writer(session.server.channel());
  auto due =
      std::async(std::launch::async, [&] { return session.connection.next_host_function(); });
  ASSERT_EQ(writer.host_function(7, 3, 700, kHostFunctionLast), Status::kOk);
  ASSERT_EQ(writer.flush(), Status::kOk);
  expect_due(due.get(), 7, 3, 700, kHostFunctionLast);
}

TEST(HostFunctionFrames, ComeInOrderBeforeAndBesideAnswers) {
  Session session([](const Frame& frame, AnswerWriter& writer) {
    (void)writer.host_function(frame.number, 1, 0, kHostFunctionAgain);
    (void)writer.host_function(frame.number, 2, 0, kHostFunctionAgain);
    echo(frame, writer);
  });
  // Read by the thread that waits for its answer, and kept until somebody asks.
  EXPECT_EQ(synchronize(session.connection).result(), 0);
  expect_due(session.connection.next_host_function(), 1, 1, 0, kHostFunctionAgain);
  expect_due(session.connection.next_host_function(), 1, 2, 0, kHostFunctionAgain);
}

// Whoever waits for a function reads for the others, and they for it.
TEST(HostFunctionFrames, AndAnswersFindTheirThreadsWhoeverReads) {
  constexpr uint64_t kCalls = 2000;
  Session session([](const Frame& frame, AnswerWriter& writer) {
    (void)writer.host_function(frame.number, 0, 0, kHostFunctionLast);
    echo(frame, writer);
  });
  std::thread functions([&] {
    for (uint64_t id = 1; id <= kCalls; ++id) {
      const auto due = session.connection.next_host_function();
      ASSERT_TRUE(due);
      EXPECT_EQ(due->id, id);
    }
  });
  std::atomic<int> failed{0};
  std::vector<std::thread> threads;
  for (uint32_t t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (uint64_t i = 0; i < kCalls / 4; ++i) {
        if (synchronize(session.connection, {.id = t + 1, .context = 0}).result() != 0) ++failed;
      }
    });
  }
  for (auto& thread : threads) thread.join();
  functions.join();
  EXPECT_EQ(failed, 0);
}

TEST(HostFunctionFrames, WhoWaitsForOneLearnsThatTheSessionIsLost) {
  ::testing::internal::CaptureStderr();
  Session session;
  auto due =
      std::async(std::launch::async, [&] { return session.connection.next_host_function(); });
  session.server.channel().shutdown();
  EXPECT_FALSE(due.get());
  EXPECT_FALSE(session.connection.next_host_function());
  EXPECT_THAT(::testing::internal::GetCapturedStderr(),
              HasSubstr("the server closed the connection"));
}

TEST(HostFunctionFrames, AFloodEndsTheSession) {
  ::testing::internal::CaptureStderr();
  {
    Session session([](const Frame&, AnswerWriter& writer) {
      for (int i = 0; i < 70'000; ++i) {
        if (writer.host_function(1, 0, 0, kHostFunctionAgain) != Status::kOk) return;
      }
      (void)writer.flush();
    });
    EXPECT_EQ(synchronize(session.connection).result(), kSessionLostResult);
  }
  EXPECT_THAT(::testing::internal::GetCapturedStderr(), HasSubstr("host functions at once"));
}

}  // namespace
}  // namespace farcall::rpc
