// Connecting and listening: what is refused, how fast, and who owns the socket file.
#include "transport/connect.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <fstream>
#include <thread>
#include <vector>

#include "base/fault.h"
#include "transport/listener.h"

namespace farcall::transport {
namespace {

using namespace std::chrono_literals;

std::string socket_path() { return "connect-test-" + std::to_string(::getpid()) + ".sock"; }
Url unix_url() { return *parse_url("unix:" + socket_path()); }
bool exists(const std::string& path) {
  struct stat file;
  return ::lstat(path.c_str(), &file) == 0;
}
uint64_t elapsed_ms(uint64_t start) { return (now_ns() - start) / 1'000'000; }

TEST(Connect, RefusesQuicklyAndNamesTheUrl) {
  uint16_t free_port;
  {
    auto listener = listen(*parse_url("tcp://127.0.0.1:0"));
    ASSERT_TRUE(listener.ok());
    free_port = (*listener)->url().port;
  }
  const std::string url = "tcp://127.0.0.1:" + std::to_string(free_port);
  const uint64_t start = now_ns();
  testing::internal::CaptureStderr();
  EXPECT_EQ(connect(*parse_url(url), 10s).status(), Status::kDisconnected);
  EXPECT_NE(testing::internal::GetCapturedStderr().find(url), std::string::npos);
  EXPECT_LT(elapsed_ms(start), 5000u);

  testing::internal::CaptureStderr();
  EXPECT_EQ(connect(unix_url(), 10s).status(), Status::kDisconnected);
  EXPECT_NE(testing::internal::GetCapturedStderr().find(unix_url().text()), std::string::npos);
}

TEST(Connect, RefusesAnUnknownHostAndPortZero) {
  // A label of 64 letters is no name: refused without asking a name server.
  const Url unknown = *parse_url("tcp://" + std::string(64, 'x') + ":7117");
  EXPECT_EQ(connect(unknown, 5s).status(), Status::kDisconnected);
  EXPECT_EQ(connect(*parse_url("tcp://127.0.0.1:0"), 5s).status(), Status::kInvalid);
}

TEST(Connect, TimesOutWhenNobodyAccepts) {
  // A listener with a full backlog: the kernel drops further SYNs, and the connection hangs.
  auto listener = listen(*parse_url("tcp://127.0.0.1:0"), {.backlog = 0});
  ASSERT_TRUE(listener.ok());
  const uint64_t start = now_ns();
  Status status = Status::kOk;
  std::vector<std::unique_ptr<Channel>> held;
  while (status == Status::kOk && held.size() < 16) {
    auto channel = connect((*listener)->url(), 150ms);
    status = channel.status();
    if (channel.ok()) held.push_back(channel.take());
  }
  EXPECT_EQ(status, Status::kTimeout);
  EXPECT_LT(elapsed_ms(start), 10'000u);
}

TEST(Connect, TimesOutOnAFullUnixBacklog) {
  auto listener = listen(unix_url(), {.backlog = 0});
  ASSERT_TRUE(listener.ok());
  Status status = Status::kOk;
  std::vector<std::unique_ptr<Channel>> held;
  while (status == Status::kOk && held.size() < 16) {
    auto channel = connect(unix_url(), 100ms);
    status = channel.status();
    if (channel.ok()) held.push_back(channel.take());
  }
  EXPECT_EQ(status, Status::kTimeout);
}

TEST(Connect, TriesEveryAddressOfTheHost) {
  // "localhost" is often ::1 first; the listener has only the IPv4 address.
  auto listener = listen(*parse_url("tcp://127.0.0.1:0"));
  ASSERT_TRUE(listener.ok());
  Url url = (*listener)->url();
  url.host = "localhost";
  EXPECT_TRUE(connect(url, 10s).ok());
}

TEST(Connect, TcpSocketsAreSetUpForSmallMessages) {
  auto listener = listen(*parse_url("tcp://127.0.0.1:0"));
  ASSERT_TRUE(listener.ok());
  auto near = connect((*listener)->url(), 5s);
  auto far = (*listener)->accept(Deadline::after(5s));
  ASSERT_TRUE(near.ok() && far.ok());
  for (Channel* channel : {near->get(), far->get()}) {
    const int fd = channel->native_handle();
    int value = 0;
    socklen_t size = sizeof value;
    ASSERT_EQ(::getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &value, &size), 0);
    EXPECT_EQ(value, 1);
    ASSERT_EQ(::getsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &value, &size), 0);
    EXPECT_EQ(value, 1);
    EXPECT_EQ(::fcntl(fd, F_GETFL) & O_NONBLOCK, 0);
    EXPECT_NE(::fcntl(fd, F_GETFD) & FD_CLOEXEC, 0);
    char algorithm[16] = {};
    size = sizeof algorithm;
    ASSERT_EQ(::getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, algorithm, &size), 0);
    EXPECT_STRNE(algorithm, "bbr");
  }
}

TEST(Faults, ConnectSendAndReceiveFailOnPurpose) {
  auto listener = listen(*parse_url("tcp://127.0.0.1:0"));
  ASSERT_TRUE(listener.ok());
  {
    const fault::Armed armed("transport.connect@1");
    EXPECT_EQ(connect((*listener)->url(), 5s).status(), Status::kDisconnected);
  }
  auto near = connect((*listener)->url(), 5s);
  auto far = (*listener)->accept(Deadline::after(5s));
  ASSERT_TRUE(near.ok() && far.ok());
  const fault::Armed armed("transport.send@2,transport.receive@2");
  std::byte byte[1] = {};
  EXPECT_EQ(send_bytes(**near, byte), Status::kOk);
  EXPECT_EQ((*far)->receive(byte).status(), Status::kOk);
  EXPECT_EQ(send_bytes(**near, byte), Status::kDisconnected);
  EXPECT_EQ(send_bytes(**near, byte), Status::kDisconnected);  // and stays so
  EXPECT_EQ(send_bytes(**far, byte), Status::kOk);
  EXPECT_EQ((*near)->receive(byte).status(), Status::kDisconnected);
  EXPECT_EQ((*near)->receive(byte).status(), Status::kDisconnected);
}

TEST(Adopt, RefusesWhatIsNoConnectedStreamSocket) {
  int fds[2];
  ASSERT_EQ(::pipe2(fds, O_CLOEXEC), 0);
  EXPECT_EQ(adopt(UniqueFd(fds[0])).status(), Status::kInvalid);
  EXPECT_EQ(adopt(UniqueFd(fds[1])).status(), Status::kInvalid);
  EXPECT_EQ(adopt(UniqueFd()).status(), Status::kInvalid);
  EXPECT_EQ(adopt(UniqueFd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0))).status(),
            Status::kInvalid);
  EXPECT_EQ(adopt(UniqueFd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0))).status(),
            Status::kDisconnected);
  EXPECT_EQ(adopt(UniqueFd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0))).status(),
            Status::kDisconnected);
  auto listener = listen(*parse_url("tcp://127.0.0.1:0"));
  ASSERT_TRUE(listener.ok());
  EXPECT_EQ(adopt(UniqueFd(::dup((*listener)->native_handle()))).status(), Status::kInvalid);
}

TEST(Adopt, TakesASocketPair) {
  int fds[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
  auto near = adopt(UniqueFd(fds[0]));
  auto far = adopt(UniqueFd(fds[1]));
  ASSERT_TRUE(near.ok() && far.ok());
  EXPECT_TRUE((*near)->caps().passes_fds);
  const std::byte sent{42};
  std::byte got{0};
  EXPECT_EQ(send_bytes(**near, {&sent, 1}), Status::kOk);
  EXPECT_EQ(receive_exactly(**far, {&got, 1}), Status::kOk);
  EXPECT_EQ(got, sent);
}

TEST(Listener, AcceptIsBusyUntilSomebodyComesAndThenPollable) {
  auto listener = listen(*parse_url("tcp://127.0.0.1:0"));
  ASSERT_TRUE(listener.ok());
  EXPECT_EQ((*listener)->accept().status(), Status::kBusy);
  EXPECT_EQ((*listener)->accept(Deadline::after(10ms)).status(), Status::kTimeout);
  auto near = connect((*listener)->url(), 5s);
  ASSERT_TRUE(near.ok());
  EXPECT_TRUE((*listener)->accept(Deadline::after(5s)).ok());
  EXPECT_EQ((*listener)->accept().status(), Status::kBusy);
}

TEST(Listener, PortZeroReportsTheRealPortAndIpv6HasBrackets) {
  auto v4 = listen(*parse_url("tcp://127.0.0.1:0"));
  ASSERT_TRUE(v4.ok());
  EXPECT_NE((*v4)->url().port, 0);
  auto v6 = listen(*parse_url("tcp://[::1]:0"));
  if (!v6.ok()) GTEST_SKIP() << "no IPv6 loopback here";
  auto near = connect(*parse_url((*v6)->url().text()), 5s);
  ASSERT_TRUE(near.ok());
  EXPECT_EQ((*near)->peer(), (*v6)->url().text());
}

TEST(Listener, APortInUseIsRefused) {
  auto first = listen(*parse_url("tcp://127.0.0.1:0"));
  ASSERT_TRUE(first.ok());
  EXPECT_EQ(listen((*first)->url()).status(), Status::kInvalid);
}

TEST(Listener, UnixSocketFileIsPrivateAndGoesWithItsListener) {
  {
    auto listener = listen(unix_url());
    ASSERT_TRUE(listener.ok());
    struct stat file;
    ASSERT_EQ(::lstat(socket_path().c_str(), &file), 0);
    EXPECT_EQ(file.st_mode & 0777, 0600u);
  }
  EXPECT_FALSE(exists(socket_path()));
  auto shared = listen(unix_url(), {.unix_mode = 0666});
  struct stat file;
  ASSERT_EQ(::lstat(socket_path().c_str(), &file), 0);
  EXPECT_EQ(file.st_mode & 0777, 0666u);
}

TEST(Listener, TakesOverAStaleSocketFileAndNoLiveOne) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  socket_path().copy(address.sun_path, sizeof address.sun_path - 1);
  {
    const UniqueFd crashed(::socket(AF_UNIX, SOCK_STREAM, 0));
    ASSERT_EQ(::bind(crashed.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address),
              0);
  }
  ASSERT_TRUE(exists(socket_path()));
  auto live = listen(unix_url());
  ASSERT_TRUE(live.ok());
  EXPECT_EQ(listen(unix_url()).status(), Status::kInvalid);
  auto near = connect(unix_url(), 5s);
  EXPECT_TRUE(near.ok()) << "the refused listener must not have removed the live one's file";
}

TEST(Listener, LeavesAFileThatIsNoSocketAlone) {
  std::ofstream(socket_path()) << "precious";
  EXPECT_EQ(listen(unix_url()).status(), Status::kInvalid);
  EXPECT_TRUE(exists(socket_path()));
  ::unlink(socket_path().c_str());
}

TEST(Listener, DoesNotRemoveTheFileOfASuccessor) {
  auto first = listen(unix_url());
  ASSERT_TRUE(first.ok());
  ASSERT_EQ(::unlink(socket_path().c_str()), 0);
  auto second = listen(unix_url());
  ASSERT_TRUE(second.ok());
  first.take().reset();
  EXPECT_TRUE(exists(socket_path()));
  EXPECT_TRUE(connect(unix_url(), 5s).ok());
}

TEST(Listener, AMissingFolderIsRefused) {
  EXPECT_EQ(listen(*parse_url("unix:///no/such/folder/x.sock")).status(), Status::kInvalid);
}

}  // namespace
}  // namespace farcall::transport
