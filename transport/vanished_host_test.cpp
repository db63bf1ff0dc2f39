// A peer's host that disappears without a word (power, cable), and one that is only slow to read.
// The kernel's retries take their time, so this runs only with FARCALL_SLOW_TESTS=1 (two minutes,
// hardly any CPU), and where an ordinary user may make a network of their own.
#include <gtest/gtest.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <thread>
#include <vector>

#include "transport/connect.h"
#include "transport/listener.h"

namespace farcall::transport {
namespace {

using namespace std::chrono_literals;

bool set_loopback(bool up) {
  const UniqueFd fd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  ifreq request = {};
  std::strcpy(request.ifr_name, "lo");
  request.ifr_flags = up ? IFF_UP | IFF_RUNNING : 0;
  return ::ioctl(fd.get(), SIOCSIFFLAGS, &request) == 0;
}

struct Pair {
  std::unique_ptr<Channel> near;
  std::unique_ptr<Channel> far;
};
Pair make_pair() {
  auto listener = listen(*parse_url("tcp://127.0.0.1:0"));
  if (!listener.ok()) return {};
  auto near = connect((*listener)->url(), 5s);
  auto far = (*listener)->accept(Deadline::after(5s));
  if (!near.ok() || !far.ok()) return {};
  return {near.take(), far.take()};
}

// Runs `body` in a child with a network of its own; 0 if it returned true, 2 if there can be no
// such network.
int in_own_network(bool (*body)()) {
  const pid_t child = ::fork();
  if (child == 0) {
    if (::unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0 || !set_loopback(true)) ::_exit(2);
    ::_exit(body() ? 0 : 1);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

bool wanted() { return std::getenv("FARCALL_SLOW_TESTS") != nullptr; }

TEST(VanishedHost, ABlockedReceiverAndSenderFindOut) {
  if (!wanted()) GTEST_SKIP() << "takes a minute and a half; set FARCALL_SLOW_TESTS=1";
  const int result = in_own_network([] {
    Pair pair = make_pair();
    Pair other = make_pair();
    if (!pair.near || !other.near || !set_loopback(false)) return false;
    const uint64_t start = now_ns();
    // A waiting call: sent, no answer. And a bulk transfer that fills every buffer.
    std::thread bulk([&] {
      const std::vector<std::byte> much(64 << 20);
      EXPECT_EQ(send_bytes(*other.near, much), Status::kDisconnected);
    });
    std::byte byte[1] = {};
    EXPECT_EQ(send_bytes(*pair.near, byte), Status::kOk);
    EXPECT_EQ(pair.near->receive(byte).status(), Status::kDisconnected);
    bulk.join();
    const uint64_t seconds = (now_ns() - start) / 1'000'000'000;
    std::printf("noticed after %d s\n", static_cast<int>(seconds));
    EXPECT_LT(seconds, 150u);
    EXPECT_GT(seconds, 20u);
    return !testing::Test::HasFailure();
  });
  if (result == 2) GTEST_SKIP() << "may not make a network namespace";
  EXPECT_EQ(result, 0);
}

TEST(VanishedHost, ASlowReaderIsLeftInPeace) {
  if (!wanted()) GTEST_SKIP() << "takes a minute and a half; set FARCALL_SLOW_TESTS=1";
  Pair pair = make_pair();
  ASSERT_NE(pair.near, nullptr);
  std::vector<std::byte> much(64 << 20);
  std::thread sender([&] { EXPECT_EQ(send_bytes(*pair.near, much), Status::kOk); });
  std::this_thread::sleep_for(90s);  // the worker is in a long call
  std::vector<std::byte> got(much.size());
  EXPECT_EQ(receive_exactly(*pair.far, got), Status::kOk);
  sender.join();
}

}  // namespace
}  // namespace farcall::transport
