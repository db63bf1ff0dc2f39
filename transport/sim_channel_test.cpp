// That the simulated link is as nasty as it says: the contract suite (tests/contract) shows that it
// is a Channel.
#include "transport/sim_channel.h"

#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <vector>

namespace farcall::transport {
namespace {

using namespace std::chrono_literals;

std::vector<std::byte> numbered(size_t count) {
  std::vector<std::byte> bytes(count);
  for (size_t i = 0; i < count; ++i) bytes[i] = std::byte(i * 131 >> 3);
  return bytes;
}

// All read sizes until the stream is over, and what was read.
std::vector<size_t> read_sizes(Channel& channel, std::vector<std::byte>& bytes, size_t read_max) {
  std::vector<size_t> sizes;
  std::vector<std::byte> buffer(read_max);
  for (;;) {
    const Result<size_t> got = channel.receive(buffer);
    if (!got.ok()) return sizes;
    sizes.push_back(*got);
    bytes.insert(bytes.end(), buffer.begin(), buffer.begin() + static_cast<ptrdiff_t>(*got));
  }
}

TEST(SimChannel, OneSeedSplitsReadsInOneWayAndAnotherDiffers) {
  const auto sent = numbered(10'000);
  std::set<std::vector<size_t>> seen;
  for (const uint64_t seed : {7, 7, 8}) {
    SimPair pair = make_sim_pair({.seed = seed});
    ASSERT_EQ(send_bytes(*pair.near, sent), Status::kOk);
    pair.near.reset();
    std::vector<std::byte> got;
    const auto sizes = read_sizes(*pair.far, got, 4096);
    EXPECT_EQ(got, sent);
    EXPECT_GT(sizes.size(), 3u);
    seen.insert(sizes);
  }
  EXPECT_EQ(seen.size(), 2u);
}

TEST(SimChannel, WithoutSplittingAReadReturnsAllThatFits) {
  SimPair pair = make_sim_pair({.splits_reads = false});
  ASSERT_EQ(send_bytes(*pair.near, numbered(100)), Status::kOk);
  ASSERT_EQ(send_bytes(*pair.near, numbered(100)), Status::kOk);
  std::byte buffer[150];
  EXPECT_EQ(*pair.far->receive(buffer), 150u);
  EXPECT_EQ(*pair.far->receive(buffer), 50u);
}

TEST(SimChannel, ACutDeliversExactlyItsBytesAndEndsBothWays) {
  const auto sent = numbered(1000);
  for (const uint64_t cut : {0, 1, 499, 999}) {
    SimPair pair = make_sim_pair({.seed = cut, .cut_after_near_sent = cut});
    ASSERT_EQ(send_bytes(*pair.far, numbered(10)), Status::kOk);  // was on its way before the cut
    EXPECT_EQ(send_bytes(*pair.near, sent), Status::kDisconnected);
    EXPECT_EQ(pair.near->counters().bytes_sent, cut);
    std::vector<std::byte> got;
    read_sizes(*pair.far, got, 64);
    EXPECT_EQ(got, std::vector(sent.begin(), sent.begin() + static_cast<ptrdiff_t>(cut)));
    std::byte buffer[10];
    EXPECT_EQ(receive_exactly(*pair.near, buffer), Status::kOk);
    EXPECT_EQ(pair.near->receive(buffer).status(), Status::kDisconnected);
    EXPECT_EQ(send_bytes(*pair.far, sent), Status::kDisconnected);
  }
}

TEST(SimChannel, ACutAtTheLastByteIsNoticedByTheNext) {
  SimPair pair = make_sim_pair({.cut_after_near_sent = 10});
  EXPECT_EQ(send_bytes(*pair.near, numbered(10)), Status::kOk);
  EXPECT_EQ(send_bytes(*pair.near, numbered(1)), Status::kDisconnected);
}

TEST(SimChannel, ADelayOnTheRealClockIsWaitedFor) {
  SimPair pair = make_sim_pair({.delay_min = 400ms, .delay_max = 410ms});
  const uint64_t start = now_ns();
  ASSERT_EQ(send_bytes(*pair.near, numbered(1)), Status::kOk);
  std::byte buffer[1];
  EXPECT_EQ(*pair.far->try_receive(buffer), 0u);
  EXPECT_EQ(pair.far->receive(buffer, Deadline::after(1ms)).status(), Status::kTimeout);
  EXPECT_TRUE(pair.far->receive(buffer).ok());
  EXPECT_GE(now_ns() - start, 400'000'000u);
}

TEST(SimChannel, AVirtualClockAddsUpRoundTripsAndNobodySleeps) {
  const auto clock = std::make_shared<SimClock>(SimClock::Mode::kVirtual);
  SimPair pair = make_sim_pair({.delay_min = 1s, .delay_max = 1s, .clock = clock});
  const uint64_t start = now_ns();
  std::byte byte[1] = {};
  for (int round_trip = 0; round_trip < 100; ++round_trip) {
    ASSERT_EQ(send_bytes(*pair.near, byte), Status::kOk);
    ASSERT_TRUE(pair.far->receive(byte).ok());
    ASSERT_EQ(send_bytes(*pair.far, byte), Status::kOk);
    ASSERT_TRUE(pair.near->receive(byte).ok());
  }
  EXPECT_EQ(clock->now_ns(), 200'000'000'000u);
  EXPECT_LT(now_ns() - start, 50'000'000'000u);
}

TEST(SimChannel, PollingOnAVirtualClockSeesNothingFirstAndThenTheBytes) {
  const auto clock = std::make_shared<SimClock>(SimClock::Mode::kVirtual);
  SimPair pair = make_sim_pair({.delay_min = 5us, .delay_max = 5us, .clock = clock});
  std::byte byte[1] = {};
  ASSERT_EQ(send_bytes(*pair.near, byte), Status::kOk);
  EXPECT_EQ(*pair.far->try_receive(byte), 0u);
  EXPECT_EQ(*pair.far->try_receive(byte), 1u);
  EXPECT_EQ(clock->now_ns(), 5'000u);
}

// What a frame reader goes through: numbered records over a link that is split, late and cut
// anywhere, from one thread, so that a failing seed fails again.
TEST(SimChannel, AnySeedDeliversWholeRecordsUpToTheCutAndNoneBehindIt) {
  for (uint64_t seed = 0; seed < 500; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937_64 random(seed);
    constexpr uint64_t kRecords = 200;
    constexpr uint64_t kTotal = kRecords * sizeof(uint64_t);
    const uint64_t cut = random() % (kTotal + 100);
    SimPair pair = make_sim_pair({.seed = seed,
                                  .splits_reads = random() % 4 != 0,
                                  .delay_max = std::chrono::microseconds(random() % 1000),
                                  .cut_after_near_sent = cut,
                                  .clock = std::make_shared<SimClock>(SimClock::Mode::kVirtual)});
    uint64_t sent = 0;
    uint64_t received = 0;
    Status status = Status::kOk;
    while (status == Status::kOk && received < kRecords) {
      for (uint64_t burst = random() % 5; burst > 0 && sent < kRecords; --burst, ++sent) {
        (void)send_bytes(*pair.near, std::as_bytes(std::span(&sent, 1)));
      }
      if (received == sent) continue;
      uint64_t record = ~uint64_t{0};
      status = receive_exactly(*pair.far, std::as_writable_bytes(std::span(&record, 1)));
      if (status == Status::kOk) {
        EXPECT_EQ(record, received++);
      }
    }
    EXPECT_EQ(received, std::min(cut, kTotal) / sizeof(uint64_t));
    EXPECT_EQ(pair.far->counters().bytes_received, std::min(cut, kTotal));
  }
}

TEST(SimChannel, ASenderBlocksWhileTooMuchIsInFlight) {
  SimPair pair = make_sim_pair({.bytes_in_flight_max = 100});
  std::atomic<bool> done = false;
  std::thread sender([&] {
    EXPECT_EQ(send_bytes(*pair.near, numbered(101)), Status::kOk);
    done = true;
  });
  std::this_thread::sleep_for(20ms);
  EXPECT_FALSE(done);
  std::vector<std::byte> got(101);
  EXPECT_EQ(receive_exactly(*pair.far, got), Status::kOk);
  sender.join();
  EXPECT_EQ(got, numbered(101));
}

}  // namespace
}  // namespace farcall::transport
