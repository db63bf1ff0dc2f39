#include "rpc/client_connection.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <optional>
#include <thread>

#include "rpc/testing_allocations.h"
#include "rpc/testing_connection.h"

namespace farcall::rpc {
namespace {

using testing::copy_in;
using testing::echo;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::kLane;
using testing::launch;
using testing::post_launch;
using testing::RawFrames;
using testing::Server;
using testing::Session;
using testing::synchronize;

constexpr int kInvalidValue = 1;

// --- Order, counts, bytes

TEST(ClientConnection, TenThousandPostsAndAWaitAreOneRoundTripAndFewSends) {
  uint64_t expected = 1;
  bool ordered = true;
  Session session([&](const Frame& frame, AnswerWriter& writer) {
    ordered &= frame.number == expected++;
    if (frame.has(kWantsReply)) return echo(frame, writer);
    MessageDecoder decoder(frame.message);
    ordered &= decoder.root<schema::FarcallLaunchKernel>().getParams().size() == 80;
  });
  for (int i = 0; i < 10'000; ++i) ASSERT_EQ(post_launch(session.connection), 0);
  EXPECT_EQ(synchronize(session.connection).result(), 0);
  EXPECT_TRUE(ordered);
  EXPECT_EQ(expected, 10'002u);
  const ConnectionStats stats = session.connection.stats();
  EXPECT_EQ(stats.round_trips, 1u);
  EXPECT_EQ(stats.calls_async, 10'000u);
  EXPECT_EQ(stats.calls_waiting, 1u);
  EXPECT_EQ(stats.bytes_up, 10'000u * 160 + 8 + 24);
  EXPECT_EQ(stats.bytes_down, 32u);
  // A hundred full batches; fewer when others were being sent, more when the ticker was early.
  EXPECT_GE(stats.flushes, 10'000u * 160 / Batch::kCapacityBytes);
  EXPECT_LE(stats.flushes, 2'000u);
  EXPECT_GT(stats.blocked_ns, 0u);
}

TEST(ClientConnection, AWaitingCallLeavesWithThePendingBatchInOneSend) {
  Session session;
  (void)synchronize(session.connection);
  for (int attempt = 0; attempt < 50; ++attempt) {
    const uint64_t before = session.channel->counters().send_calls;
    for (int i = 0; i < 5; ++i) (void)post_launch(session.connection);
    (void)synchronize(session.connection);
    if (session.channel->counters().send_calls == before + 1) return;  // no tick in between
  }
  FAIL() << "never one send";
}

TEST(ClientConnection, TheTickerSendsWhatNobodyWaitsFor) {
  std::atomic<int> calls{0};
  Session session([&](const Frame&, AnswerWriter&) { ++calls; });
  for (int round = 1; round <= 3; ++round) {
    (void)post_launch(session.connection);
    const auto deadline = Deadline::after(std::chrono::seconds(5));
    while (calls < round && !deadline.expired())
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    EXPECT_EQ(calls, round);
    // Longer than the ticker stays awake.
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
}

TEST(ClientConnection, WithoutBatchingEveryCallIsSentAtOnce) {
  Session session(echo, {.batching = false});
  for (int i = 0; i < 100; ++i) (void)post_launch(session.connection);
  EXPECT_EQ(session.channel->counters().send_calls, 100u);
}

TEST(ClientConnection, BlockingMakesEveryPostWaitForItsResult) {
  Session session(
      [](const Frame& frame, AnswerWriter& writer) {
        (void)writer.reply(frame.sequence(), frame.call, frame.number == 2 ? 700 : 0);
      },
      {.blocking = true});
  EXPECT_EQ(post_launch(session.connection), 0);
  EXPECT_EQ(post_launch(session.connection), 700);
  EXPECT_EQ(session.connection.stats().round_trips, 2u);
}

TEST(ClientConnection, ALaunchIsTheseBytes) {
  auto pair = testing::make_pair();
  ClientConnection connection(std::move(pair.client));
  {
    CallWriter call(connection, Opcode::k_farcallLaunchKernel, Lane());
    launch(call);
    ASSERT_EQ(call.post(), 0);
  }
  ASSERT_EQ(connection.flush(), Status::kOk);
  RawFrames golden;
  golden.header(19, 21, 0);
  golden.put(uint64_t{0x0002'0006'0000'0000});  // root: 6 words of data, 2 pointers
  golden.put(uint64_t{0x0700'0001'0000'0001}).put(uint64_t{2});
  golden.put(uint32_t{10}).put(uint32_t{1}).put(uint32_t{1});
  golden.put(uint32_t{256}).put(uint32_t{1}).put(uint32_t{1});
  golden.put(uint32_t{0}).put(uint32_t{0});                     // sharedBytes, cooperative
  golden.put(uint64_t{80ull << 35 | 2ull << 32 | 1 << 2 | 1});  // params: 80 bytes, one word on
  golden.put(uint64_t{0});                                      // no attributes
  for (int i = 0; i < 80; ++i) golden.put(static_cast<uint8_t>(i));
  EXPECT_LE(golden.bytes().size(), 160u);
  std::vector<std::byte> sent(golden.bytes().size());
  ASSERT_EQ(transport::receive_exactly(*pair.server, sent), Status::kOk);
  EXPECT_EQ(sent, golden.bytes());
}

TEST(ClientConnection, AnAsynchronousCallAllocatesNothing) {
  Session session;
  for (int i = 0; i < 1000; ++i) (void)post_launch(session.connection);
  const auto payload = testing::pattern(1000);
  const uint64_t before = testing::allocations_of_this_thread();
  for (int i = 0; i < 1000; ++i) (void)post_launch(session.connection);
  for (int i = 0; i < 100; ++i) (void)copy_in(session.connection, payload);
  EXPECT_EQ(testing::allocations_of_this_thread() - before, 0u);
}

TEST(ClientConnection, TellsTheLaneOnlyWhenItChanges) {
  std::vector<uint64_t> lanes;
  Session session;
  for (const Lane& lane : {Lane{1, 5}, Lane{1, 5}, Lane{2, 5}, Lane{1, 5}, Lane{1, 6}}) {
    EXPECT_EQ(synchronize(session.connection, lane).result(), 0);
  }
  EXPECT_EQ(session.server.lane_switches, 4);
}

TEST(ClientConnection, ACallThatIsTakenBackLeavesNoTrace) {
  std::vector<uint16_t> calls;
  Session session([&](const Frame& frame, AnswerWriter& writer) {
    calls.push_back(frame.call);
    echo(frame, writer);
  });
  for (const size_t params : {80, 100, 5000, 200'000}) {
    CallWriter call(session.connection, Opcode::k_farcallLaunchKernel, kLane);
    launch(call, params);
  }
  EXPECT_EQ(synchronize(session.connection).result(), 0);
  EXPECT_THAT(calls, ElementsAre(static_cast<uint16_t>(Opcode::k_cuCtxSynchronize)));
  EXPECT_EQ(session.server.frames, 2);  // and the lane
}

// --- Sizes

class PayloadSizes : public ::testing::TestWithParam<size_t> {};

TEST_P(PayloadSizes, ArriveWholeAndTheCallersMemoryIsFreeAgain) {
  const auto original = testing::pattern(GetParam());
  int wrong = 0, seen = 0;
  Session session([&](const Frame& frame, AnswerWriter& writer) {
    if (frame.has(kWantsReply)) return echo(frame, writer);
    if (frame.call != static_cast<uint16_t>(Opcode::k_farcallMemcpyHtoD)) return;
    ++seen;
    MessageDecoder decoder(frame.message);
    wrong += decoder.root<schema::FarcallMemcpyHtoD>().getDestination() != 0x1000;
    wrong +=
        !std::equal(original.begin(), original.end(), frame.payload.begin(), frame.payload.end());
  });
  for (int i = 0; i < 40; ++i) {
    auto copy = original;
    ASSERT_EQ(copy_in(session.connection, copy), 0);
    std::fill(copy.begin(), copy.end(), std::byte{0});
    if (i % 3 == 0) (void)post_launch(session.connection);
  }
  EXPECT_EQ(synchronize(session.connection).result(), 0);
  EXPECT_EQ(seen, 40);
  EXPECT_EQ(wrong, 0);
}

INSTANTIATE_TEST_SUITE_P(Bytes, PayloadSizes,
                         ::testing::Values(1, 8, 1000, 4095, 4096, 4097, 65'536, 1'000'001,
                                           kPayloadBytesMax));

TEST(ClientConnection, MessagesLargerThanTheBatchArrive) {
  std::vector<size_t> sizes;
  bool good = true;
  Session session([&](const Frame& frame, AnswerWriter& writer) {
    if (frame.has(kWantsReply)) return echo(frame, writer);
    MessageDecoder decoder(frame.message);
    const auto params = decoder.root<schema::FarcallLaunchKernel>().getParams();
    for (size_t i = 0; i < params.size(); ++i) good &= params[i] == static_cast<kj::byte>(i);
    sizes.push_back(params.size());
  });
  for (const size_t size : {80, 7000, 65'000, 80, 400'000, 9000, 80}) {
    CallWriter call(session.connection, Opcode::k_farcallLaunchKernel, kLane);
    launch(call, size);
    ASSERT_EQ(call.post(), 0);
  }
  // One that fits in place, but with a payload doesn't.
  CallWriter call(session.connection, Opcode::k_farcallLaunchKernel, kLane);
  launch(call, 65'000);
  const auto payload = testing::pattern(4096);
  call.payload(payload);
  ASSERT_EQ(call.post(), 0);
  EXPECT_EQ(synchronize(session.connection).result(), 0);
  EXPECT_THAT(sizes, ElementsAre(80, 7000, 65'000, 80, 400'000, 9000, 80, 65'000));
  EXPECT_TRUE(good);
}

TEST(ClientConnection, ArgumentsBeyondTheLimitAreAnInvalidValueOfThatCallOnly) {
  Session session;
  {
    CallWriter call(session.connection, Opcode::k_farcallLaunchKernel, kLane);
    launch(call, kMessageWordsMax * 8);
    EXPECT_EQ(call.post(), kInvalidValue);
  }
  {
    CallWriter call(session.connection, Opcode::k_farcallMemcpyHtoD, kLane);
    call.args<schema::FarcallMemcpyHtoD>();
    const auto payload = testing::pattern(kPayloadBytesMax + 1);
    call.payload(payload);
    EXPECT_EQ(call.wait().result(), kInvalidValue);
  }
  EXPECT_EQ(synchronize(session.connection).result(), 0);
  EXPECT_EQ(session.connection.stats().round_trips, 1u);
}

// --- Answers

TEST(ClientConnection, ResultsAndPayloadsOfAReplyBelongToItsReader) {
  const auto payload = testing::pattern(70'000);
  Session session([&](const Frame& frame, AnswerWriter& writer) {
    ScratchMessage<> scratch;
    auto results = scratch.builder().initRoot<schema::FarcallGlobalGetResults>();
    results.setAddress(frame.number);
    results.setBytes(5);
    kj::Array<capnp::word> flat;
    (void)writer.reply(frame.sequence(), frame.call, 0, encode(scratch.builder(), flat), payload);
  });
  Reply first = synchronize(session.connection);
  Reply second = synchronize(session.connection);
  ASSERT_TRUE(first.has_results());
  Reply copy = first;
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(copy.results<schema::FarcallGlobalGetResults>().getAddress(), 1u);
  }
  EXPECT_EQ(first.results<schema::FarcallGlobalGetResults>().getBytes(), 5u);
  EXPECT_EQ(second.results<schema::FarcallGlobalGetResults>().getAddress(), 2u);
  EXPECT_TRUE(
      std::equal(payload.begin(), payload.end(), second.payload().begin(), second.payload().end()));
}

TEST(ClientConnection, ManyThreadsGetTheirOwnAnswers) {
  // Answers come back in another order: odd ones first.
  std::vector<std::pair<uint32_t, uint16_t>> held;
  Session session([&](const Frame& frame, AnswerWriter& writer) {
    if (!frame.has(kWantsReply)) return;
    const uint64_t value =
        MessageDecoder(frame.message).root<schema::FarcallGlobalGet>().getModule();
    ScratchMessage<> scratch;
    scratch.builder().initRoot<schema::FarcallGlobalGetResults>().setAddress(value);
    kj::Array<capnp::word> flat;
    (void)writer.reply(frame.sequence(), frame.call, static_cast<int>(value % 97),
                       encode(scratch.builder(), flat));
  });
  constexpr int kThreads = 8, kCalls = 400;
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      const Lane lane{.id = static_cast<uint32_t>(t + 1), .context = 0};
      for (int i = 0; i < kCalls; ++i) {
        (void)post_launch(session.connection);
        const uint64_t value = t * 1000 + i;
        CallWriter call(session.connection, Opcode::k_farcallGlobalGet, lane);
        call.args<schema::FarcallGlobalGet>().setModule(value);
        Reply reply = call.wait();
        wrong += reply.result() != static_cast<int>(value % 97);
        wrong += reply.results<schema::FarcallGlobalGetResults>().getAddress() != value;
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(session.connection.stats().round_trips, uint64_t{kThreads * kCalls});
}

TEST(ClientConnection, AThreadWithASlowAnswerDoesntHoldUpTheOthers) {
  std::mutex mutex;
  std::optional<uint32_t> slow;
  Session session([&](const Frame& frame, AnswerWriter& writer) {
    const std::lock_guard guard(mutex);
    if (frame.call == static_cast<uint16_t>(Opcode::k_cuEventSynchronize)) {
      slow = frame.sequence();
    } else if (frame.call == static_cast<uint16_t>(Opcode::k_cuStreamSynchronize)) {
      (void)writer.reply(*slow, static_cast<uint16_t>(Opcode::k_cuEventSynchronize), 0);
      echo(frame, writer);
    } else {
      echo(frame, writer);
    }
  });
  std::atomic<bool> done{false};
  std::thread waiting([&] {
    CallWriter call(session.connection, Opcode::k_cuEventSynchronize, Lane{2, 0});
    EXPECT_EQ(call.wait().result(), 0);
    done = true;
  });
  for (;;) {
    const std::lock_guard guard(mutex);
    if (slow) break;
  }
  for (int i = 0; i < 100; ++i) EXPECT_EQ(synchronize(session.connection).result(), 0);
  EXPECT_FALSE(done);
  CallWriter(session.connection, Opcode::k_cuStreamSynchronize, kLane).wait();
  waiting.join();
}

TEST(ClientConnection, DataGoesStraightToItsSinks) {
  const auto content = testing::pattern(2'500'000);
  Session session([&](const Frame& frame, AnswerWriter& writer) {
    if (frame.call == static_cast<uint16_t>(Opcode::k_farcallMemcpyDtoH)) {
      (void)writer.data(frame.sequence(), frame.call, 0, content);
    }
    echo(frame, writer);
  });
  std::vector<std::byte> waited(content.size()), posted(content.size());
  const auto copy = [&] {
    auto call =
        std::make_unique<CallWriter>(session.connection, Opcode::k_farcallMemcpyDtoH, kLane);
    call->args<schema::FarcallMemcpyDtoH>().setBytes(content.size());
    return call;
  };
  EXPECT_EQ(copy()->post({posted.data(), posted.size()}), 0);
  Reply reply = copy()->wait({waited.data(), waited.size()});
  EXPECT_EQ(reply.result(), 0);
  EXPECT_EQ(reply.data_bytes(), content.size());
  EXPECT_EQ(waited, content);
  EXPECT_EQ(posted, content);
  session.connection.close_sinks(posted);
  EXPECT_EQ(synchronize(session.connection).result(), 0);
}

TEST(ClientConnection, OutputComesBeforeTheAnswerInTheServersOrder) {
  Session session([&](const Frame& frame, AnswerWriter& writer) {
    (void)writer.output(false, "one\n");
    (void)writer.output(true, "two\n");
    (void)writer.output(false, "three\n");
    echo(frame, writer);
  });
  std::string text;
  session.connection.set_output_handler([&](std::string_view part, bool is_stderr) {
    text += is_stderr ? "!" : "";
    text += part;
  });
  EXPECT_EQ(synchronize(session.connection).result(), 0);
  EXPECT_EQ(text, "one\n!two\nthree\n");
}

TEST(ClientConnection, AsynchronousFailuresComeWithTheNextWaitAndOnlyOnce) {
  constexpr int kIllegalAddress = 700, kOther = 719;
  constexpr uint16_t kLaunch = 21;
  Session session([&](const Frame& frame, AnswerWriter& writer) {
    if (!frame.has(kWantsReply)) return;
    switch (frame.number) {
      case 1:
        (void)writer.reply(frame.sequence(), frame.call, 0, {}, {}, {kLaunch, kIllegalAddress});
        break;
      case 3:
        (void)writer.reply(frame.sequence(), frame.call, 5, {}, {}, {kLaunch, kOther});
        break;
      case 5:
        (void)writer.async_error(4, {kLaunch, kIllegalAddress});
        (void)writer.async_error(4, {kLaunch, kOther});
        (void)writer.reply(frame.sequence(), frame.call, 0);
        break;
      default:
        echo(frame, writer);
    }
  });
  ClientConnection& connection = session.connection;
  EXPECT_EQ(synchronize(connection).result(), kIllegalAddress);
  EXPECT_EQ(synchronize(connection).result(), 0);
  Reply own = synchronize(connection);
  EXPECT_EQ(own.result(), 5);
  EXPECT_EQ(connection.take_async_error(), kOther);
  EXPECT_EQ(connection.take_async_error(), 0);
  EXPECT_EQ(post_launch(connection), 0);
  Reply first = synchronize(connection);
  EXPECT_EQ(first.result(), kIllegalAddress) << "the first of the two";
  EXPECT_EQ(first.own_result(), 0);
  EXPECT_EQ(first.without_async_failure().result(), 0);
  EXPECT_EQ(synchronize(connection).result(), 0);
}

// --- Back-pressure

TEST(ClientConnection, DoesntHangWhenBothSidesOnlySend) {
  // The server sends far more than the sockets hold before it reads on, and the client posts far
  // more than the sockets hold without ever waiting.
  const auto content = testing::pattern(kPayloadBytesMax);
  Session session([&](const Frame& frame, AnswerWriter& writer) {
    if (frame.call == static_cast<uint16_t>(Opcode::k_farcallMemcpyDtoH)) {
      (void)writer.data(frame.sequence(), frame.call, 0, content);
    }
    echo(frame, writer);
  });
  std::vector<std::vector<std::byte>> sinks(24, std::vector<std::byte>(content.size()));
  std::vector<std::thread> threads;
  for (int t = 0; t < 2; ++t) {
    threads.emplace_back([&, t] {
      for (size_t i = t; i < sinks.size(); i += 2) {
        {
          CallWriter call(session.connection, Opcode::k_farcallMemcpyDtoH, kLane);
          call.args<schema::FarcallMemcpyDtoH>();
          ASSERT_EQ(call.post({sinks[i].data(), sinks[i].size()}), 0);
        }
        ASSERT_EQ(copy_in(session.connection, content), 0);
        for (int j = 0; j < 300; ++j) ASSERT_EQ(post_launch(session.connection), 0);
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(synchronize(session.connection).result(), 0);
  for (const auto& sink : sinks) EXPECT_TRUE(sink == content);
}

TEST(ClientConnection, AServerThatDoesntReadStopsTheClientAtABoundedAmount) {
  auto pair = testing::make_pair();
  auto* const channel = pair.client.get();
  ClientConnection connection(std::move(pair.client));
  std::atomic<uint64_t> posted{0};
  std::thread application([&] {
    while (post_launch(connection) == 0) ++posted;
  });
  uint64_t last = 0;
  do {
    last = posted;
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
  } while (posted != last);
  EXPECT_LE(posted * 160, channel->counters().bytes_sent + 2 * Batch::kCapacityBytes + (8 << 20));
  pair.server->shutdown();
  application.join();
  EXPECT_TRUE(connection.lost());
}

// --- The end

TEST(ClientConnection, SaysGoodbyeAfterEverythingElse) {
  std::atomic<int> calls{0};
  Session session([&](const Frame&, AnswerWriter&) { ++calls; });
  for (int i = 0; i < 10; ++i) (void)post_launch(session.connection);
  session.connection.say_goodbye();
  EXPECT_EQ(post_launch(session.connection), kSessionLostResult);
  EXPECT_EQ(synchronize(session.connection).result(), kSessionLostResult);
  const auto deadline = Deadline::after(std::chrono::seconds(5));
  while (!session.server.goodbye && !deadline.expired()) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  EXPECT_TRUE(session.server.goodbye);
  EXPECT_EQ(calls, 10);
}

TEST(ClientConnection, GoodbyeGivesUpOnAServerThatDoesntListen) {
  auto pair = testing::make_pair();
  ClientConnection connection(std::move(pair.client));
  const auto bytes = testing::pattern(kPayloadBytesMax);
  std::thread application([&] {
    while (copy_in(connection, bytes) == 0) {
    }
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  connection.say_goodbye();
  pair.server->shutdown();
  application.join();
}

}  // namespace
}  // namespace farcall::rpc
