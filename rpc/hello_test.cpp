#include "rpc/hello.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "rpc/opcodes.h"
#include "rpc/testing.h"

namespace farcall::rpc {
namespace {

using testing::ChannelPair;
using ::testing::HasSubstr;
using testing::RawFrames;

const Deadline kSoon = Deadline::after(std::chrono::seconds(20));
constexpr int kNoDevice = 100;

Preamble preamble(uint32_t version, uint32_t words) {
  Preamble preamble = {};
  std::memcpy(preamble.magic, kMagic, sizeof kMagic);
  preamble.protocol_version = version;
  preamble.message_words = words;
  return preamble;
}

HelloAnswer hello_to(
    ChannelPair& pair, const FillHello& fill = [](auto) {}) {
  return say_hello(*pair.client, fill, kSoon);
}

// What the client makes of an answer.
HelloAnswer hear(std::span<const std::byte> bytes) {
  ChannelPair pair = testing::make_pair();
  EXPECT_EQ(transport::send_bytes(*pair.server, bytes), Status::kOk);
  return hello_to(pair);
}

TEST(Hello, IsAcceptedByAnotherProcessThanTheOneThatReadIt) {
  ChannelPair pair = testing::make_pair();
  std::thread server([&] {
    HelloReceiver receiver(HelloReceiver::From::kClient);
    ASSERT_EQ(receiver.receive(*pair.server, kSoon), Status::kOk);
    const auto words = receiver.take();
    const auto facts = read_hello(words.words());
    ASSERT_TRUE(facts.ok());
    EXPECT_EQ(facts->farcall_version, farcall_version());
    EXPECT_EQ(facts->cuda_version, 13000u);
    EXPECT_EQ(facts->program, "train?py") << "cleaned for logs";
    EXPECT_EQ(facts->opcode_count, kOpcodeCount);
    EXPECT_EQ(facts->payload_bytes_max, kPayloadBytesMax);
    EXPECT_EQ(facts->token.size(), 3u);
    EXPECT_EQ(
        accept(*pair.server, [](schema::Accepted::Builder accepted) { accepted.setSessionId(77); }),
        Status::kOk);
  });
  HelloAnswer answer = hello_to(pair, [](schema::Hello::Builder hello) {
    hello.setCudaVersion(13000);
    hello.setProgram("train\npy");
    const kj::byte token[] = {1, 2, 3};
    hello.setToken(kj::arrayPtr(token, 3));
  });
  server.join();
  ASSERT_TRUE(answer.accepted()) << answer.problem;
  EXPECT_EQ(answer.reader().getSessionId(), 77u);
  EXPECT_EQ(answer.reader().getFarcallVersion().size(), farcall_version().size());
}

TEST(Hello, ReadsNotAByteTooMuch) {
  ChannelPair pair = testing::make_pair();
  std::thread client([&] { (void)hello_to(pair); });
  HelloReceiver receiver(HelloReceiver::From::kClient);
  ASSERT_EQ(receiver.receive(*pair.server, kSoon), Status::kOk);
  const char next[] = "next";
  ASSERT_EQ(transport::send_bytes(*pair.client, std::as_bytes(std::span(next))), Status::kOk);
  std::byte received[sizeof next];
  ASSERT_EQ(transport::receive_exactly(*pair.server, received), Status::kOk);
  EXPECT_EQ(std::memcmp(received, next, sizeof next), 0);
  pair.server->shutdown();
  client.join();
}

TEST(Hello, MayArriveByteByByteInAnEventLoop) {
  ChannelPair source = testing::make_pair();
  std::thread client([&] { (void)hello_to(source); });
  std::vector<std::byte> bytes(sizeof(Preamble));
  ASSERT_EQ(transport::receive_exactly(*source.server, bytes), Status::kOk);
  const auto words = reinterpret_cast<const Preamble*>(bytes.data())->message_words;
  bytes.resize(sizeof(Preamble) + words * 8);
  ASSERT_EQ(transport::receive_exactly(*source.server, std::span(bytes).subspan(sizeof(Preamble))),
            Status::kOk);
  source.server->shutdown();
  client.join();

  ChannelPair pair = testing::make_pair();
  HelloReceiver receiver(HelloReceiver::From::kClient);
  for (size_t i = 0; i < bytes.size(); ++i) {
    ASSERT_EQ(receiver.poll(*pair.server), Status::kBusy) << i;
    ASSERT_EQ(transport::send_bytes(*pair.client, std::span(bytes).subspan(i, 1)), Status::kOk);
  }
  ASSERT_EQ(receiver.poll(*pair.server), Status::kOk);
  EXPECT_TRUE(read_hello(receiver.take().words()).ok());
}

TEST(Hello, ARefusalIsASentenceWithBothVersions) {
  ChannelPair pair = testing::make_pair();
  std::thread server([&] {
    HelloReceiver receiver(HelloReceiver::From::kClient);
    ASSERT_EQ(receiver.receive(*pair.server, kSoon), Status::kOk);
    EXPECT_EQ(refuse(*pair.server, {.reason = "all GPUs are taken", .status = 2}), Status::kOk);
  });
  HelloAnswer answer = hello_to(pair);
  server.join();
  EXPECT_FALSE(answer.accepted());
  EXPECT_EQ(answer.result, 2);
  EXPECT_THAT(answer.problem, HasSubstr("all GPUs are taken"));
  EXPECT_THAT(answer.problem, HasSubstr("the server (Farcall 0."));
  EXPECT_THAT(answer.problem, HasSubstr("this client (Farcall 0."));
}

TEST(Hello, TheServerTellsAClientOfAnotherProtocolWhatToDo) {
  ChannelPair pair = testing::make_pair();
  RawFrames raw;
  raw.put(preamble(9, 4)).fill(32, std::byte{0});
  ASSERT_EQ(transport::send_bytes(*pair.client, raw.bytes()), Status::kOk);
  HelloReceiver receiver(HelloReceiver::From::kClient);
  EXPECT_EQ(receiver.receive(*pair.server, kSoon), Status::kProtocol);
  EXPECT_EQ(receiver.peer_protocol_version(), 9u);
  EXPECT_THAT(receiver.problem(), HasSubstr("the client speaks Farcall protocol 9"));
  EXPECT_THAT(receiver.problem(), HasSubstr("protocol 1: install the same Farcall release"));
}

TEST(Hello, TheClientTellsOfAServerOfAnotherProtocol) {
  const HelloAnswer answer = hear(RawFrames().put(preamble(2, 1)).put(uint64_t{0}).bytes());
  EXPECT_FALSE(answer.accepted());
  EXPECT_EQ(answer.result, kNoDevice);
  EXPECT_THAT(answer.problem, HasSubstr("the server speaks Farcall protocol 2"));
  EXPECT_THAT(answer.problem, HasSubstr("install the same Farcall release on both sides"));
}

TEST(Hello, WhatIsNoFarcallServerIsCalledThat) {
  EXPECT_THAT(hear(RawFrames().text("HTTP/1.1 400 Bad Request\r\n\r\n").bytes()).problem,
              HasSubstr("isn't a Farcall server; check host and port"));
}

TEST(Hello, RefusesSizesAndWordsThatCantBe) {
  EXPECT_THAT(hear(RawFrames().put(preamble(1, kHelloWordsMax + 1)).bytes()).problem,
              HasSubstr("a hello of 131073 words"));
  EXPECT_THAT(hear(RawFrames().put(preamble(1, 0)).bytes()).problem, HasSubstr("0 words"));
  EXPECT_THAT(hear(RawFrames().put(preamble(1, 4)).fill(32, std::byte{0xff}).bytes()).problem,
              HasSubstr("doesn't decode"));

  std::vector<capnp::word> garbage(4);
  std::memset(static_cast<void*>(garbage.data()), 0xff, 32);
  ::testing::internal::CaptureStderr();
  EXPECT_EQ(read_hello(garbage).status(), Status::kProtocol);
  EXPECT_THAT(::testing::internal::GetCapturedStderr(), HasSubstr("doesn't decode"));
}

TEST(Hello, EndsAtItsDeadlineAndWhenThePeerHangsUp) {
  ChannelPair pair = testing::make_pair();
  HelloReceiver slow(HelloReceiver::From::kClient);
  EXPECT_EQ(slow.receive(*pair.server, Deadline::after(std::chrono::milliseconds(20))),
            Status::kTimeout);
  EXPECT_THAT(slow.problem(), HasSubstr("in time"));
  const HelloAnswer late = say_hello(
      *pair.client, [](auto) {}, Deadline::after(std::chrono::milliseconds(20)));
  EXPECT_EQ(late.problem, "the server didn't answer the hello in time");
  pair.server.reset();
  EXPECT_EQ(hello_to(pair).problem, "the server hung up during the hello");
}

}  // namespace
}  // namespace farcall::rpc
