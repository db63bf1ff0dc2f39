// What every Channel promises (transport/channel.h), as one suite that runs over every transport. A
// new transport is done when it is in the list at the end and passes. What a transport can't do by
// its Caps must be refused properly; that is tested as well.
#include "transport/channel.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <limits.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <functional>
#include <random>
#include <thread>
#include <vector>

#include "transport/connect.h"
#include "transport/listener.h"
#include "transport/sim_channel.h"

namespace farcall::transport {
namespace {

using namespace std::chrono_literals;

struct Pair {
  std::unique_ptr<Channel> near;
  std::unique_ptr<Channel> far;
};

struct Transport {
  const char* name;
  Pair (*make)(const ChannelOptions& options);
};
void PrintTo(const Transport& transport, std::ostream* out) { *out << transport.name; }

Pair connect_pair(const char* url, const ChannelOptions& options) {
  auto listener = listen(*parse_url(url), {.channel = options});
  if (!listener.ok()) return {};
  auto near = connect((*listener)->url(), 5s, options);
  auto far = (*listener)->accept(Deadline::after(5s));
  if (!near.ok() || !far.ok()) return {};
  return {near.take(), far.take()};
}
Pair make_tcp(const ChannelOptions& options) { return connect_pair("tcp://127.0.0.1:0", options); }
Pair make_unix(const ChannelOptions& options) {
  const std::string url = "unix:contract-" + std::to_string(::getpid()) + ".sock";
  return connect_pair(url.c_str(), options);
}

Pair make_sim(const SimOptions& options) {
  SimPair pair = make_sim_pair(options);
  return {std::move(pair.near), std::move(pair.far)};
}
Pair make_split_sim(const ChannelOptions&) { return make_sim({.seed = 42}); }
Pair make_late_sim(const ChannelOptions&) {
  return make_sim({.seed = 43, .delay_max = 200us, .bytes_in_flight_max = 1 << 20});
}
Pair make_virtual_sim(const ChannelOptions&) {
  return make_sim({.seed = 44,
                   .delay_min = 1ms,
                   .delay_max = 1s,
                   .clock = std::make_shared<SimClock>(SimClock::Mode::kVirtual)});
}

std::vector<std::byte> random_bytes(size_t count, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<uint64_t> words((count + 7) / 8);
  for (uint64_t& word : words) word = random();
  std::vector<std::byte> bytes(count);
  if (count != 0) std::memcpy(bytes.data(), words.data(), count);
  return bytes;
}

Status send_text(Channel& channel, std::string_view text) {
  return send_bytes(channel, std::as_bytes(std::span(text)));
}

std::string receive_text(Channel& channel, size_t count) {
  std::string text(count, '?');
  const Status status =
      receive_exactly(channel, std::as_writable_bytes(std::span(text)), Deadline::after(20s));
  return status == Status::kOk ? text : std::string(to_string(status));
}

iovec piece_of(std::string_view text) { return {const_cast<char*>(text.data()), text.size()}; }

class ChannelContract : public testing::TestWithParam<Transport> {
 protected:
  void SetUp() override { open({}); }
  void open(const ChannelOptions& options) {
    pair_ = GetParam().make(options);
    ASSERT_NE(pair_.near, nullptr);
    ASSERT_NE(pair_.far, nullptr);
  }
  Channel& near() { return *pair_.near; }
  Channel& far() { return *pair_.far; }

  Pair pair_;
};

TEST_P(ChannelContract, BytesArriveInOrderBothWays) {
  ASSERT_EQ(send_text(near(), "first "), Status::kOk);
  ASSERT_EQ(send_text(near(), "second"), Status::kOk);
  ASSERT_EQ(send_text(far(), "answer"), Status::kOk);
  EXPECT_EQ(receive_text(far(), 12), "first second");
  EXPECT_EQ(receive_text(near(), 6), "answer");
}

TEST_P(ChannelContract, ManyTinyPingPongsKeepTheirOrder) {
  constexpr uint32_t kRounds = 2000;
  std::thread echo([&] {
    for (uint32_t i = 0; i < kRounds; ++i) {
      uint32_t value = 0;
      if (receive_exactly(far(), std::as_writable_bytes(std::span(&value, 1))) != Status::kOk)
        return;
      ++value;
      if (send_bytes(far(), std::as_bytes(std::span(&value, 1))) != Status::kOk) return;
    }
  });
  for (uint32_t i = 0; i < kRounds; ++i) {
    const uint32_t sent = i * 2654435761u;
    uint32_t got = 0;
    EXPECT_EQ(send_bytes(near(), std::as_bytes(std::span(&sent, 1))), Status::kOk);
    EXPECT_EQ(receive_exactly(near(), std::as_writable_bytes(std::span(&got, 1))), Status::kOk);
    ASSERT_EQ(got, sent + 1);
  }
  echo.join();
}

TEST_P(ChannelContract, ATransferLargerThanAnyBufferArrivesWhole) {
  const auto sent = random_bytes(64 << 20, 1);
  std::vector<std::byte> got(sent.size());
  std::thread sender([&] { EXPECT_EQ(send_bytes(near(), sent), Status::kOk); });
  EXPECT_EQ(receive_exactly(far(), got), Status::kOk);
  sender.join();
  EXPECT_TRUE(sent == got);
}

TEST_P(ChannelContract, GatherSendsMorePiecesThanTheKernelTakesAtOnce) {
  // Sizes of 0 to 64 KiB, empty ones at either end and in long runs, 3 x IOV_MAX pieces.
  const auto source = random_bytes(8 << 20, 2);
  std::mt19937 random(2);
  std::vector<iovec> pieces;
  std::vector<std::byte> expected;
  for (size_t i = 0; i < 3 * IOV_MAX; ++i) {
    const bool is_empty = i < 3 || i > 3 * IOV_MAX - 3 || (i > 1000 && i < 1000 + IOV_MAX + 50);
    const size_t size = is_empty ? 0 : random() % (i % 100 == 0 ? 65536 : 4000);
    const size_t offset = random() % (source.size() - size);
    pieces.push_back({const_cast<std::byte*>(source.data()) + offset, size});
    expected.insert(expected.end(), source.begin() + offset, source.begin() + offset + size);
  }
  std::vector<std::byte> got(expected.size());
  std::thread sender([&] { EXPECT_EQ(near().send(pieces), Status::kOk); });
  EXPECT_EQ(receive_exactly(far(), got), Status::kOk);
  sender.join();
  EXPECT_TRUE(expected == got);
  EXPECT_EQ(near().counters().bytes_sent, expected.size());
}

TEST_P(ChannelContract, SendingNothingSendsNothing) {
  const iovec empty = {nullptr, 0};
  EXPECT_EQ(near().send({}), Status::kOk);
  EXPECT_EQ(near().send({&empty, 1}), Status::kOk);
  EXPECT_EQ(near().counters().send_calls, 0u);
  ASSERT_EQ(send_text(near(), "x"), Status::kOk);
  EXPECT_EQ(receive_text(far(), 1), "x");
}

TEST_P(ChannelContract, BothWaysAtOnceDoNotBlockEachOther) {
  const auto up = random_bytes(16 << 20, 3);
  const auto down = random_bytes(16 << 20, 4);
  std::vector<std::byte> got_up(up.size());
  std::vector<std::byte> got_down(down.size());
  std::thread near_sender([&] { EXPECT_EQ(send_bytes(near(), up), Status::kOk); });
  std::thread far_sender([&] { EXPECT_EQ(send_bytes(far(), down), Status::kOk); });
  std::thread far_receiver([&] { EXPECT_EQ(receive_exactly(far(), got_up), Status::kOk); });
  EXPECT_EQ(receive_exactly(near(), got_down), Status::kOk);
  far_receiver.join();
  near_sender.join();
  far_sender.join();
  EXPECT_TRUE(up == got_up);
  EXPECT_TRUE(down == got_down);
}

TEST_P(ChannelContract, TryReceiveNeverWaits) {
  std::byte buffer[8];
  Result<size_t> got = near().try_receive(buffer);
  ASSERT_TRUE(got.ok());
  EXPECT_EQ(*got, 0u);
  ASSERT_EQ(send_text(far(), "abc"), Status::kOk);
  size_t total = 0;
  for (const Deadline deadline = Deadline::after(5s); total < 3 && !deadline.expired();) {
    got = near().try_receive(std::span(buffer).subspan(total));
    ASSERT_TRUE(got.ok());
    total += *got;
  }
  EXPECT_EQ(std::memcmp(buffer, "abc", 3), 0);
}

TEST_P(ChannelContract, ReceiveGivesUpAtTheDeadlineAndTheChannelGoesOn) {
  for (const SpinMode mode : {SpinMode::kAuto, SpinMode::kNever, SpinMode::kAlways}) {
    open({.wait = {.mode = mode}});
    std::byte buffer[8];
    const uint64_t start = now_ns();
    EXPECT_EQ(near().receive(buffer, Deadline::after(30ms)).status(), Status::kTimeout);
    const uint64_t elapsed = now_ns() - start;
    EXPECT_GE(elapsed, 30'000'000u);
    EXPECT_LT(elapsed, 10'000'000'000u);
    ASSERT_EQ(send_text(far(), "late"), Status::kOk);
    EXPECT_EQ(receive_text(near(), 4), "late");
  }
}

TEST_P(ChannelContract, ReceiveWithAPassedDeadlineStillTakesWhatIsThere) {
  ASSERT_EQ(send_text(far(), "here"), Status::kOk);
  std::byte buffer[1];
  ASSERT_TRUE(near().receive(buffer, Deadline::after(5s)).ok());  // it has certainly arrived
  EXPECT_TRUE(near().receive(buffer, Deadline::after(0ns)).ok());
}

TEST_P(ChannelContract, EveryWaitModeReceives) {
  for (const SpinMode mode : {SpinMode::kAuto, SpinMode::kNever, SpinMode::kAlways}) {
    open({.wait = {.mode = mode, .spin = 50us}});
    std::thread sender([&] {
      for (int i = 0; i < 200; ++i) EXPECT_EQ(send_text(far(), "ping"), Status::kOk);
    });
    for (int i = 0; i < 200; ++i) ASSERT_EQ(receive_text(near(), 4), "ping");
    sender.join();
  }
}

TEST_P(ChannelContract, ThePeersCloseIsSeenAfterItsLastBytes) {
  ASSERT_EQ(send_text(far(), "goodbye"), Status::kOk);
  pair_.far.reset();
  EXPECT_EQ(receive_text(near(), 7), "goodbye");
  std::byte buffer[8];
  EXPECT_EQ(near().receive(buffer).status(), Status::kDisconnected);
  EXPECT_EQ(near().try_receive(buffer).status(), Status::kDisconnected);
}

TEST_P(ChannelContract, ThePeersCloseWakesAReceiver) {
  std::thread closer([&] {
    std::this_thread::sleep_for(20ms);
    pair_.far.reset();
  });
  std::byte buffer[8];
  EXPECT_EQ(near().receive(buffer).status(), Status::kDisconnected);
  closer.join();
}

TEST_P(ChannelContract, SendingToAClosedPeerFailsAndRaisesNoSignal) {
  pair_.far.reset();  // SIGPIPE would end this program
  Status status = Status::kOk;
  for (const Deadline deadline = Deadline::after(5s);
       status == Status::kOk && !deadline.expired();) {
    status = send_text(near(), "anyone?");
  }
  EXPECT_EQ(status, Status::kDisconnected);
  EXPECT_EQ(send_text(near(), "x"), Status::kDisconnected);
}

TEST_P(ChannelContract, ThePeersCloseWakesABlockedSender) {
  const std::vector<std::byte> much(32 << 20);
  std::thread closer([&] {
    std::this_thread::sleep_for(20ms);
    pair_.far.reset();
  });
  EXPECT_EQ(send_bytes(near(), much), Status::kDisconnected);
  closer.join();
}

TEST_P(ChannelContract, ShutdownWakesABlockedReceiver) {
  for (const Deadline deadline : {Deadline::never(), Deadline::after(60s)}) {
    open({});
    std::thread other([&] {
      std::this_thread::sleep_for(20ms);
      near().shutdown();
      near().shutdown();
    });
    std::byte buffer[8];
    EXPECT_EQ(near().receive(buffer, deadline).status(), Status::kDisconnected);
    other.join();
    EXPECT_EQ(near().receive(buffer).status(), Status::kDisconnected);
    EXPECT_EQ(near().try_receive(buffer).status(), Status::kDisconnected);
    EXPECT_EQ(send_text(near(), "x"), Status::kDisconnected);
    EXPECT_EQ(far().receive(buffer, Deadline::after(5s)).status(), Status::kDisconnected);
  }
}

TEST_P(ChannelContract, ShutdownWakesABlockedSender) {
  const std::vector<std::byte> much(32 << 20);
  std::thread other([&] {
    std::this_thread::sleep_for(20ms);
    near().shutdown();
  });
  EXPECT_EQ(send_bytes(near(), much), Status::kDisconnected);
  other.join();
}

TEST_P(ChannelContract, ShutdownLetsThePeerReceiveWhatWasSent) {
  ASSERT_EQ(send_text(near(), "last words"), Status::kOk);
  near().shutdown();
  EXPECT_EQ(receive_text(far(), 10), "last words");
  std::byte buffer[8];
  EXPECT_EQ(far().receive(buffer).status(), Status::kDisconnected);
}

TEST_P(ChannelContract, CountersAreExactAndAGatherSendIsOneCall) {
  const iovec pieces[] = {piece_of("batch of calls"), piece_of(""), piece_of("waiting call")};
  ASSERT_EQ(near().send(pieces), Status::kOk);
  ASSERT_EQ(receive_text(far(), 26), "batch of callswaiting call");
  EXPECT_EQ(near().counters().bytes_sent, 26u);
  EXPECT_EQ(near().counters().send_calls, 1u);
  EXPECT_EQ(near().counters().bytes_received, 0u);
  EXPECT_EQ(near().counters().receive_calls, 0u);
  EXPECT_EQ(far().counters().bytes_received, 26u);
  EXPECT_GE(far().counters().receive_calls, 1u);
  EXPECT_LE(far().counters().receive_calls, 26u);
  EXPECT_EQ(far().counters().bytes_sent, 0u);
  // A wait that brings nothing counts for nothing.
  std::byte buffer[8];
  const uint64_t before = far().counters().receive_calls;
  EXPECT_EQ(far().receive(buffer, Deadline::after(1ms)).status(), Status::kTimeout);
  EXPECT_TRUE(far().try_receive(buffer).ok());
  EXPECT_EQ(far().counters().receive_calls, before);
}

TEST_P(ChannelContract, PeerSaysWhoItIs) {
  EXPECT_FALSE(near().peer().empty());
  EXPECT_FALSE(far().peer().empty());
}

// --- Random traffic

// Sends `bytes` in sends of random length, each of random pieces; returns how the last one went.
Status send_in_random_pieces(Channel& channel, std::span<const std::byte> bytes, uint64_t seed) {
  std::mt19937_64 random(seed);
  while (!bytes.empty()) {
    std::vector<iovec> pieces;
    const size_t piece_max = size_t{1} << (random() % 17);
    for (size_t count = random() % 40 + 1; count > 0 && !bytes.empty(); --count) {
      const size_t size = std::min<size_t>(random() % (piece_max + 1), bytes.size());
      pieces.push_back({const_cast<std::byte*>(bytes.data()), size});
      bytes = bytes.subspan(size);
    }
    const Status status = channel.send(pieces);
    if (status != Status::kOk) return status;
  }
  return Status::kOk;
}

// Receives until `count` bytes or the end, with reads of random size, some of them impatient.
std::vector<std::byte> receive_in_random_pieces(Channel& channel, size_t count, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<std::byte> bytes(count);
  size_t done = 0;
  while (done < count) {
    const size_t size_max = size_t{1} << (random() % 18);
    const size_t size = std::min<size_t>(random() % size_max + 1, count - done);
    const std::span into = std::span(bytes).subspan(done, size);
    const auto patience = std::chrono::microseconds(random() % 200);
    const uint64_t kind = random() % 4;
    const Result<size_t> got = kind == 0   ? channel.try_receive(into)
                               : kind == 1 ? channel.receive(into, Deadline::after(patience))
                                           : channel.receive(into);
    if (got.ok()) {
      EXPECT_LE(*got, size);
      done += *got;
    } else if (got.status() != Status::kTimeout) {
      break;
    }
  }
  bytes.resize(done);
  return bytes;
}

TEST_P(ChannelContract, RandomTrafficArrivesWhole) {
  for (uint64_t seed = 0; seed < 8; ++seed) {
    SCOPED_TRACE(seed);
    open({});
    const auto up = random_bytes(size_t{1} << (12 + seed), seed);
    const auto down = random_bytes(size_t{1} << (20 - seed), seed + 100);
    std::thread near_sender(
        [&] { EXPECT_EQ(send_in_random_pieces(near(), up, seed), Status::kOk); });
    std::thread far_sender(
        [&] { EXPECT_EQ(send_in_random_pieces(far(), down, seed + 1), Status::kOk); });
    std::vector<std::byte> got_up;
    std::thread far_receiver(
        [&] { got_up = receive_in_random_pieces(far(), up.size(), seed + 2); });
    const auto got_down = receive_in_random_pieces(near(), down.size(), seed + 3);
    near_sender.join();
    far_sender.join();
    far_receiver.join();
    EXPECT_TRUE(got_up == up);
    EXPECT_TRUE(got_down == down);
    EXPECT_EQ(near().counters().bytes_sent, far().counters().bytes_received);
    EXPECT_EQ(far().counters().bytes_sent, near().counters().bytes_received);
  }
}

TEST_P(ChannelContract, ShutdownAtAnyMomentEndsAllCallsAndLeavesAPrefix) {
  for (uint64_t seed = 0; seed < 30; ++seed) {
    SCOPED_TRACE(seed);
    open({});
    const auto sent = random_bytes(4 << 20, seed);
    std::vector<std::byte> got;
    std::thread sender([&] {
      const Status status = send_in_random_pieces(near(), sent, seed);
      EXPECT_TRUE(status == Status::kOk || status == Status::kDisconnected);
    });
    std::thread near_receiver([&] { receive_in_random_pieces(near(), 1, seed); });
    std::thread receiver([&] { got = receive_in_random_pieces(far(), sent.size() + 1, seed); });
    std::mt19937_64 random(seed);
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 2000));
    const bool near_ends = random() % 2 == 0;
    Channel& end = near_ends ? near() : far();
    const uint64_t seen_before = end.counters().bytes_sent + end.counters().bytes_received;
    end.shutdown();
    EXPECT_FALSE(end.peer().empty());
    EXPECT_GE(end.counters().bytes_sent + end.counters().bytes_received, seen_before);
    // The calls of the end that was shut down come back by themselves, all others at the latest
    // when it is gone.
    if (near_ends) {
      sender.join();
      near_receiver.join();
      pair_.near.reset();
      receiver.join();
    } else {
      receiver.join();
      pair_.far.reset();
      sender.join();
      near_receiver.join();
    }
    ASSERT_LE(got.size(), sent.size());
    EXPECT_TRUE(std::equal(got.begin(), got.end(), sent.begin()));
  }
}

// --- Descriptors

// A pipe whose content tells it apart from others.
struct Pipe {
  UniqueFd read_end;
  UniqueFd write_end;
  explicit Pipe(std::string_view content) {
    int fds[2];
    if (::pipe2(fds, O_CLOEXEC) != 0) return;
    read_end.reset(fds[0]);
    write_end.reset(fds[1]);
    EXPECT_EQ(::write(fds[1], content.data(), content.size()),
              static_cast<ssize_t>(content.size()));
  }
};

std::string read_some(int fd) {
  char text[64];
  const ssize_t count = ::read(fd, text, sizeof text);
  return count < 0 ? std::strerror(errno) : std::string(text, static_cast<size_t>(count));
}

TEST_P(ChannelContract, DescriptorsComeInOrderWithTheBytesThatCarryThem) {
  const Pipe first("one"), second("two");
  const iovec with_first = piece_of("a descriptor:");
  const iovec with_second = piece_of("another:");
  if (!near().caps().passes_fds) {
    EXPECT_EQ(near().send_fd(first.read_end.get(), {&with_first, 1}), Status::kUnsupported);
    EXPECT_EQ(far().receive_fd().status(), Status::kUnsupported);
    return;
  }
  ASSERT_EQ(send_text(near(), "before "), Status::kOk);
  ASSERT_EQ(near().send_fd(first.read_end.get(), {&with_first, 1}), Status::kOk);
  ASSERT_EQ(near().send_fd(second.read_end.get(), {&with_second, 1}), Status::kOk);
  ASSERT_EQ(send_text(near(), " after"), Status::kOk);

  EXPECT_EQ(far().receive_fd().status(), Status::kInvalid);  // none of its bytes received yet
  EXPECT_EQ(receive_text(far(), 34), "before a descriptor:another: after");
  Result<UniqueFd> one = far().receive_fd();
  Result<UniqueFd> two = far().receive_fd();
  ASSERT_TRUE(one.ok());
  ASSERT_TRUE(two.ok());
  EXPECT_EQ(read_some(one->get()), "one");
  EXPECT_EQ(read_some(two->get()), "two");
  EXPECT_NE(::fcntl(one->get(), F_GETFD) & FD_CLOEXEC, 0);
  EXPECT_EQ(far().receive_fd().status(), Status::kInvalid);
}

TEST_P(ChannelContract, ABadDescriptorIsRefusedAndTheStreamGoesOn) {
  if (!near().caps().passes_fds) GTEST_SKIP() << "passes no descriptors";
  const iovec piece = piece_of("x");
  EXPECT_EQ(near().send_fd(987654, {&piece, 1}), Status::kInvalid);
  EXPECT_EQ(near().send_fd(0, {}), Status::kInvalid);  // nothing to travel with
  ASSERT_EQ(send_text(near(), "fine"), Status::kOk);
  EXPECT_EQ(receive_text(far(), 4), "fine");
}

TEST_P(ChannelContract, APeerThatFloodsUsWithDescriptorsIsCutOff) {
  if (!near().caps().passes_fds) GTEST_SKIP() << "passes no descriptors";
  const Pipe pipe("x");
  const iovec piece = piece_of("x");
  for (int i = 0; i < 100; ++i) {
    ASSERT_EQ(near().send_fd(pipe.read_end.get(), {&piece, 1}), Status::kOk);
  }
  Status status = Status::kOk;
  int reads = 0;
  for (; status == Status::kOk && reads < 100; ++reads) {
    std::byte buffer[8];
    status = far().receive(buffer).status();
  }
  EXPECT_EQ(status, Status::kProtocol);
  EXPECT_LE(reads, 17);
}

// --- Sockets

TEST_P(ChannelContract, TheDescriptorIsCloseOnExecAndBecomesReadable) {
  const int fd = near().native_handle();
  if (fd < 0) GTEST_SKIP() << "has no descriptor";
  EXPECT_NE(::fcntl(fd, F_GETFD) & FD_CLOEXEC, 0);
  pollfd poll = {fd, POLLIN, 0};
  EXPECT_EQ(::poll(&poll, 1, 0), 0);
  ASSERT_EQ(send_text(far(), "x"), Status::kOk);
  EXPECT_EQ(::poll(&poll, 1, 5000), 1);
  EXPECT_EQ(poll.revents, POLLIN);
}

TEST_P(ChannelContract, AChildAdoptsAnInheritedDescriptor) {
  if (far().native_handle() < 0) GTEST_SKIP() << "has no descriptor";
  ASSERT_EQ(send_text(near(), "hello daemon"), Status::kOk);
  EXPECT_EQ(receive_text(far(), 12), "hello daemon");
  // As the daemon does: non-blocking while it is in an event loop, a duplicate to the worker, then
  // its own is closed.
  ASSERT_EQ(
      ::fcntl(far().native_handle(), F_SETFL, ::fcntl(far().native_handle(), F_GETFL) | O_NONBLOCK),
      0);
  UniqueFd inherited(::dup(far().native_handle()));
  const pid_t worker = ::fork();
  ASSERT_GE(worker, 0);
  if (worker == 0) {
    auto channel = adopt(std::move(inherited));
    const bool ok = channel.ok() && receive_text(**channel, 4) == "work" &&
                    send_text(**channel, "done") == Status::kOk;
    ::_exit(ok ? 0 : 1);
  }
  inherited.reset();
  pair_.far.reset();  // closing ours must not end the worker's
  std::this_thread::sleep_for(10ms);
  ASSERT_EQ(send_text(near(), "work"), Status::kOk);
  EXPECT_EQ(receive_text(near(), 4), "done");
  int status = -1;
  ::waitpid(worker, &status, 0);
  EXPECT_EQ(status, 0);
  std::byte buffer[8];
  EXPECT_EQ(near().receive(buffer).status(), Status::kDisconnected);
}

INSTANTIATE_TEST_SUITE_P(Over, ChannelContract,
                         testing::Values(Transport{"tcp", make_tcp}, Transport{"unix", make_unix},
                                         Transport{"sim", make_split_sim},
                                         Transport{"late_sim", make_late_sim},
                                         Transport{"virtual_time_sim", make_virtual_sim}),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace farcall::transport
