#include "rpc/frame.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "rpc/testing.h"

namespace farcall::rpc {
namespace {

using testing::ChannelPair;
using ::testing::HasSubstr;
using testing::RawFrames;

constexpr uint16_t kCall = 100;

bool equal(std::span<const std::byte> a, std::span<const std::byte> b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end());
}

// Sends some bytes, ends the stream, and reads.
struct Incoming {
  explicit Incoming(std::span<const std::byte> bytes,
                    FrameDirection direction = FrameDirection::kCalls,
                    PayloadPlacer* placer = nullptr, size_t placed_bytes_min = 0)
      : pair(testing::make_pair()), reader(*pair.server, direction, placer, placed_bytes_min) {
    sender = std::thread([this, copy = std::vector(bytes.begin(), bytes.end())] {
      EXPECT_EQ(transport::send_bytes(*pair.client, copy), Status::kOk);
      pair.client.reset();
    });
  }
  ~Incoming() {
    pair.server->shutdown();
    sender.join();
  }
  ChannelPair pair;
  FrameReader reader;
  std::thread sender;
};

struct Memory : PayloadPlacer {
  std::vector<std::byte> bytes;
  int calls = 0;
  Result<std::byte*> place(const Frame&, size_t size) override {
    ++calls;
    bytes.assign(size, std::byte{0xee});
    return bytes.data();
  }
};

TEST(FrameReader, NumbersCallFramesAndNotControlFrames) {
  RawFrames raw;
  raw.header(1, kCall, kWantsReply).put(uint64_t{1});
  raw.header(2, kLaneSwitch, 0).put(LaneSwitch{.lane = 7, .reserved = 0, .context = 42});
  raw.header(0, kCall + 1, 0);
  raw.header(0, kGoodbye, 0);
  Incoming in(raw.bytes());

  auto frame = in.reader.next();
  ASSERT_TRUE(frame.ok());
  EXPECT_EQ((*frame)->call, kCall);
  EXPECT_EQ((*frame)->sequence(), 1u);
  EXPECT_TRUE((*frame)->has(kWantsReply));
  EXPECT_EQ((*frame)->message.words.size(), 1u);
  frame = in.reader.next();
  ASSERT_TRUE(frame.ok());
  EXPECT_TRUE((*frame)->is_control());
  EXPECT_EQ((*frame)->lane.lane, 7u);
  EXPECT_EQ((*frame)->lane.context, 42u);
  frame = in.reader.next();
  ASSERT_TRUE(frame.ok());
  EXPECT_EQ((*frame)->number, 2u);
  EXPECT_TRUE((*frame)->message.words.empty());
  frame = in.reader.next();
  ASSERT_TRUE(frame.ok());
  EXPECT_EQ((*frame)->call, kGoodbye);
  EXPECT_EQ(in.reader.next().status(), Status::kDisconnected);
  EXPECT_EQ(in.reader.problem(), "");
}

// Frames of every size around the buffer's, with placed and buffered payloads, whole and in
// dribbles.
class Payloads : public ::testing::TestWithParam<std::tuple<size_t, bool>> {};

TEST_P(Payloads, ArriveAsTheyWereSent) {
  const auto [size, placed] = GetParam();
  const auto payload = testing::pattern(size);
  RawFrames raw;
  for (int i = 0; i < 3; ++i) {
    const auto words = static_cast<uint32_t>(1 + 2 + (size + 7) / 8);
    raw.header(words, kCall, kHasPayload);
    raw.put(PayloadHeader{.message_words = 2, .payload_bytes = static_cast<uint32_t>(size)});
    raw.put(uint64_t{11}).put(uint64_t{22});
    raw.text({reinterpret_cast<const char*>(payload.data()), size});
    raw.fill((8 - size % 8) % 8, std::byte{0});
    raw.header(1, kCall + 1, 0).put(uint64_t{33});
  }
  Memory memory;
  Incoming in(raw.bytes(), FrameDirection::kCalls, placed ? &memory : nullptr, 1);
  for (int i = 0; i < 3; ++i) {
    auto frame = in.reader.next();
    ASSERT_TRUE(frame.ok()) << in.reader.problem();
    EXPECT_EQ((*frame)->placed, placed && size > 0);
    EXPECT_TRUE(equal((*frame)->payload, payload));
    if (placed && size > 0) {
      EXPECT_EQ((*frame)->payload.data(), memory.bytes.data());
    }
    ASSERT_EQ((*frame)->message.words.size(), 2u);
    EXPECT_EQ(reinterpret_cast<const uint64_t*>((*frame)->message.words.data())[1], 22u);
    EXPECT_EQ(reinterpret_cast<uintptr_t>((*frame)->message.words.data()) % 8, 0u);
    frame = in.reader.next();
    ASSERT_TRUE(frame.ok()) << in.reader.problem();
    EXPECT_EQ(reinterpret_cast<const uint64_t*>((*frame)->message.words.data())[0], 33u);
    EXPECT_EQ(reinterpret_cast<uintptr_t>((*frame)->message.words.data()) % 8, 0u);
  }
}

INSTANTIATE_TEST_SUITE_P(Sizes, Payloads,
                         ::testing::Combine(::testing::Values(0, 1, 7, 8, 4095, 65512, 65531, 65536,
                                                              200'001, kPayloadBytesMax),
                                            ::testing::Bool()));

TEST(FrameReader, GoesOnAfterATimeoutAtEveryByte) {
  auto pair = testing::make_pair();
  Memory memory;
  FrameReader reader(*pair.server, FrameDirection::kCalls, &memory, 1);
  RawFrames raw;
  raw.header(4, kCall, kHasPayload).put(PayloadHeader{.message_words = 1, .payload_bytes = 13});
  raw.put(uint64_t{5}).text("thirteen byte").fill(3, std::byte{0});
  raw.header(0, kCall, 0);
  const auto& bytes = raw.bytes();
  int frames = 0;
  for (size_t i = 0; i < bytes.size(); ++i) {
    ASSERT_EQ(transport::send_bytes(*pair.client, std::span(bytes).subspan(i, 1)), Status::kOk);
    const auto frame = i % 2 == 0 ? reader.next(Deadline::after(std::chrono::milliseconds(20)))
                                  : reader.try_next();
    if (frame.ok()) {
      if (frames++ == 0) {
        EXPECT_TRUE(equal((*frame)->payload, std::as_bytes(std::span("thirteen byte", 13))));
      }
    } else {
      EXPECT_EQ(frame.status(), i % 2 == 0 ? Status::kTimeout : Status::kBusy);
    }
  }
  EXPECT_EQ(frames, 2);
  EXPECT_FALSE(reader.has_buffered_frame());
}

TEST(FrameReader, TellsWhetherAnotherFrameHasArrived) {
  RawFrames raw;
  raw.header(0, kCall, 0).header(0, kCall, 0);
  Incoming in(raw.bytes());
  EXPECT_FALSE(in.reader.has_buffered_frame());
  ASSERT_TRUE(in.reader.next().ok());
  EXPECT_TRUE(in.reader.has_buffered_frame());
  ASSERT_TRUE(in.reader.next().ok());
  EXPECT_FALSE(in.reader.has_buffered_frame());
}

TEST(FrameReader, SaysWhenTheStreamEndsWithinAFrame) {
  RawFrames raw;
  raw.header(2, kCall, 0).put(uint64_t{1});
  Incoming in(raw.bytes());
  EXPECT_EQ(in.reader.next().status(), Status::kDisconnected);
  EXPECT_EQ(in.reader.problem(), "the connection ended within a frame");
}

struct Violation {
  const char* name;
  RawFrames raw;
  FrameDirection direction;
  const char* problem;
};

class Violations : public ::testing::TestWithParam<Violation> {};

TEST_P(Violations, EndTheStreamWithASentence) {
  const Violation& violation = GetParam();
  Memory memory;
  Incoming in(violation.raw.bytes(), violation.direction, &memory, 1);
  EXPECT_EQ(in.reader.next().status(), Status::kProtocol);
  EXPECT_THAT(in.reader.problem(), HasSubstr(violation.problem));
  EXPECT_EQ(in.reader.next().status(), Status::kProtocol) << "for ever";
  EXPECT_EQ(memory.calls, 0);
}

constexpr auto kCalls = FrameDirection::kCalls;
constexpr auto kAnswers = FrameDirection::kAnswers;
PayloadHeader sizes(uint32_t words, uint32_t bytes) {
  return {.message_words = words, .payload_bytes = bytes};
}

INSTANTIATE_TEST_SUITE_P(
    FrameReader, Violations,
    ::testing::Values(
        Violation{"words", RawFrames().header(kFrameWordsMax + 1, kCall, 0), kCalls, "are allowed"},
        Violation{"all_ones", RawFrames().fill(8, std::byte{0xff}), kCalls, "are allowed"},
        Violation{"message", RawFrames().header(kMessageWordsMax + 1, kCall, 0), kCalls,
                  "a message of 65537 words"},
        Violation{"flags", RawFrames().header(0, kCall, 1 << 5), kCalls, "flags"},
        Violation{"answer_as_call", RawFrames().header(0, kCall, kReply), kCalls, "flags"},
        Violation{"control", RawFrames().header(0, 3, 0), kCalls, "unknown control frame 3"},
        Violation{"lane_size", RawFrames().header(3, kLaneSwitch, 0), kCalls, "control frame 1"},
        Violation{"lane_flags", RawFrames().header(2, kLaneSwitch, kWantsReply), kCalls,
                  "control frame 1"},
        Violation{"no_payload_header", RawFrames().header(0, kCall, kHasPayload), kCalls,
                  "too few"},
        Violation{"payload_larger_than_frame",
                  RawFrames().header(2, kCall, kHasPayload).put(sizes(0, 9)), kCalls, "don't fit"},
        Violation{"payload_smaller_than_frame",
                  RawFrames().header(3, kCall, kHasPayload).put(sizes(0, 8)), kCalls, "don't fit"},
        Violation{"payload_overflow",
                  RawFrames().header(2, kCall, kHasPayload).put(sizes(0xffffffff, 16)), kCalls,
                  "don't fit"},
        Violation{"payload_max",
                  RawFrames()
                      .header(2 + kPayloadBytesMax / 8, kCall, kHasPayload)
                      .put(sizes(0, kPayloadBytesMax + 1)),
                  kCalls, "don't fit"},
        Violation{"answer_without_kind", RawFrames().header(3, kCall, 0), kAnswers, "flags"},
        Violation{"answer_of_two_kinds", RawFrames().header(3, kCall, kReply | kData), kAnswers,
                  "flags"},
        Violation{"answer_wants_reply", RawFrames().header(3, kCall, kReply | kWantsReply),
                  kAnswers, "flags"},
        Violation{"answer_without_header", RawFrames().header(2, kCall, kReply), kAnswers,
                  "too few"}),
    [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace farcall::rpc
