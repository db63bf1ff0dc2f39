// What does a Channel cost over the bare socket beneath it, and what does the machine give at best?
// For each transport, placement and way of waiting: round trips of 64 bytes, and bandwidth in
// messages of 1 MiB, once through the Channel and once with plain send and recv on the very same
// descriptor. One JSON line per case.
//
// Two processes, because that is what we are: this one measures, a forked one answers. Placement
// changes a round trip by a factor of ten, so both are pinned: "0,0" is one core for both, "0,1"
// two. Rounds of the cases are interleaved and each line gives the median over the rounds with
// their spread, so that a noisy neighbour shows as spread and hits raw and Channel alike. Compare
// lines of one run only.
#include <sched.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "base/clock.h"
#include "transport/channel.h"
#include "transport/connect.h"
#include "transport/listener.h"

namespace farcall::transport {
namespace {

constexpr size_t kPingBytes = 64;
constexpr size_t kBulkBytes = 1 << 20;

struct Case {
  const char* what;       // round_trip or bandwidth
  const char* transport;  // tcp or unix
  const char* through;    // raw or channel
  SpinMode wait;
  int cpu_near;
  int cpu_far;
  std::vector<double> medians = {};  // of each round: us, or GB/s
  std::vector<double> p99s = {};
};

const char* name_of(SpinMode mode) {
  return mode == SpinMode::kAuto ? "auto" : mode == SpinMode::kNever ? "never" : "always";
}

[[noreturn]] void give_up(const char* what) {
  std::fprintf(stderr, "transport-bench: %s: %s\n", what, std::strerror(errno));
  std::exit(1);
}

void pin(int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpu, &set);
  if (::sched_setaffinity(0, sizeof set, &set) != 0) give_up("pinning");
}

double quantile(std::vector<double> values, double q) {
  std::sort(values.begin(), values.end());
  return values[std::min(values.size() - 1,
                         static_cast<size_t>(q * static_cast<double>(values.size())))];
}

// One end of a connection, as bytes whole messages at a time, through either way.
class End {
 public:
  End(std::unique_ptr<Channel> channel, const Case& test)
      : channel_(std::move(channel)),
        raw_(std::strcmp(test.through, "raw") == 0),
        flags_(test.wait == SpinMode::kAlways ? MSG_DONTWAIT : 0) {}

  bool send(std::span<const iovec> pieces) {
    if (!raw_) return channel_->send(pieces) == Status::kOk;
    msghdr message = {};
    message.msg_iov = const_cast<iovec*>(pieces.data());
    message.msg_iovlen = pieces.size();
    size_t left = 0;
    for (const iovec& piece : pieces) left += piece.iov_len;
    // The socket blocks, so all is taken at once, as this program gets no signals.
    return ::sendmsg(channel_->native_handle(), &message, MSG_NOSIGNAL) ==
           static_cast<ssize_t>(left);
  }
  bool receive(std::span<std::byte> into) {
    if (!raw_) return receive_exactly(*channel_, into) == Status::kOk;
    while (!into.empty()) {
      const ssize_t got = ::recv(channel_->native_handle(), into.data(), into.size(), flags_);
      if (got < 0 && (errno == EAGAIN || errno == EINTR)) continue;
      if (got <= 0) return false;
      into = into.subspan(static_cast<size_t>(got));
    }
    return true;
  }

 private:
  std::unique_ptr<Channel> channel_;
  bool raw_;
  int flags_;
};

void measure_round_trips(End& end, int count, Case& test) {
  std::vector<std::byte> bytes(kPingBytes);
  const iovec piece = {bytes.data(), bytes.size()};
  std::vector<double> times;
  for (int i = 0; i < count + 100; ++i) {  // the first hundred warm up, and teach the tuner
    const uint64_t start = now_ns();
    if (!end.send({&piece, 1}) || !end.receive(bytes)) give_up("round trip");
    if (i >= 100) times.push_back(static_cast<double>(now_ns() - start) / 1000);
  }
  test.medians.push_back(quantile(times, 0.5));
  test.p99s.push_back(quantile(times, 0.99));
}

void answer_round_trips(End& end) {
  std::vector<std::byte> bytes(kPingBytes);
  const iovec piece = {bytes.data(), bytes.size()};
  while (end.receive(bytes) && end.send({&piece, 1})) {
  }
}

void measure_bandwidth(End& end, int count, Case& test) {
  std::vector<std::byte> header(8), payload(kBulkBytes, std::byte{1});
  const iovec pieces[] = {{header.data(), header.size()}, {payload.data(), payload.size()}};
  const auto send_many = [&](int messages) {
    header[0] = std::byte{0};
    for (int i = 0; i < messages; ++i) {
      if (i == messages - 1) header[0] = std::byte{1};  // answer this one
      if (!end.send(pieces)) give_up("sending bulk");
    }
    if (!end.receive(std::span(header).first(1))) give_up("waiting for the last byte");
  };
  send_many(8);
  const uint64_t start = now_ns();
  send_many(count);
  const double gigabytes = static_cast<double>(count) * kBulkBytes / 1e9;
  test.medians.push_back(gigabytes / (static_cast<double>(now_ns() - start) / 1e9));
  test.p99s.push_back(0);
}

void answer_bandwidth(End& end) {
  std::vector<std::byte> header(8), payload(kBulkBytes);
  const iovec piece = {header.data(), 1};
  while (end.receive(header) && end.receive(payload)) {
    if (header[0] != std::byte{0} && !end.send({&piece, 1})) return;
  }
}

void set_buffers(Channel& channel, int bytes) {
  if (bytes == 0) return;
  ::setsockopt(channel.native_handle(), SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
  ::setsockopt(channel.native_handle(), SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
}

void run_round(Case& test, int count, int socket_buffer) {
  const bool is_tcp = std::strcmp(test.transport, "tcp") == 0;
  const std::string url =
      is_tcp ? "tcp://127.0.0.1:0" : "unix:transport-bench-" + std::to_string(::getpid()) + ".sock";
  const ChannelOptions options = {.wait = {.mode = test.wait}};
  auto listener = listen(*parse_url(url), {.channel = options});
  if (!listener.ok()) std::exit(1);
  const bool is_round_trip = std::strcmp(test.what, "round_trip") == 0;

  const pid_t child = ::fork();
  if (child < 0) give_up("fork");
  if (child == 0) {
    pin(test.cpu_far);
    auto channel = (*listener)->accept(Deadline::after(std::chrono::seconds(5)));
    if (!channel.ok()) ::_exit(1);
    set_buffers(**channel, socket_buffer);
    End end(channel.take(), test);
    is_round_trip ? answer_round_trips(end) : answer_bandwidth(end);
    ::_exit(0);
  }
  pin(test.cpu_near);
  {
    auto channel = connect((*listener)->url(), std::chrono::seconds(5), options);
    if (!channel.ok()) std::exit(1);
    set_buffers(**channel, socket_buffer);
    End end(channel.take(), test);
    is_round_trip ? measure_round_trips(end, count, test) : measure_bandwidth(end, count, test);
  }
  ::waitpid(child, nullptr, 0);
}

void print(const Case& test, int count) {
  const bool is_round_trip = std::strcmp(test.what, "round_trip") == 0;
  std::printf(
      "{\"bench\":\"transport/%s\",\"transport\":\"%s\",\"through\":\"%s\",\"wait\":\"%s\","
      "\"cpus\":\"%d,%d\",\"bytes\":%zu,\"n\":%d,\"rounds\":%zu,\"unit\":\"%s\",\"median\":%.3f,"
      "\"min\":%.3f,\"max\":%.3f",
      test.what, test.transport, test.through, name_of(test.wait), test.cpu_near, test.cpu_far,
      is_round_trip ? kPingBytes : kBulkBytes, count, test.medians.size(),
      is_round_trip ? "us" : "GB/s", quantile(test.medians, 0.5), quantile(test.medians, 0),
      quantile(test.medians, 1));
  if (is_round_trip) std::printf(",\"p99\":%.3f", quantile(test.p99s, 0.5));
  std::printf("}\n");
}

}  // namespace
}  // namespace farcall::transport

int main(int argc, char** argv) {
  using namespace farcall;
  using namespace farcall::transport;
  int rounds = 5;
  int pings = 2000;
  int messages = 500;
  int socket_buffer = 0;
  CLI::App app("Round trips and bandwidth of the transports, beside bare sockets");
  app.add_option("--rounds", rounds, "interleaved rounds per case")->check(CLI::PositiveNumber);
  app.add_option("--pings", pings, "round trips per round")->check(CLI::PositiveNumber);
  app.add_option("--messages", messages, "1 MiB messages per round")->check(CLI::PositiveNumber);
  app.add_option("--socket-buffer", socket_buffer,
                 "SO_SNDBUF and SO_RCVBUF in bytes, 0: as the transport chooses");
  CLI11_PARSE(app, argc, argv);

  const bool has_two_cpus = usable_cpu_count() > 1;
  std::vector<Case> cases;
  for (const char* transport : {"tcp", "unix"}) {
    for (const int far : {0, 1}) {
      if (far == 1 && !has_two_cpus) continue;
      cases.push_back({"round_trip", transport, "raw", SpinMode::kNever, 0, far});
      cases.push_back({"round_trip", transport, "channel", SpinMode::kNever, 0, far});
      cases.push_back({"round_trip", transport, "channel", SpinMode::kAuto, 0, far});
      if (far == 0) continue;  // two spinners on one core take a time slice each
      cases.push_back({"round_trip", transport, "raw", SpinMode::kAlways, 0, far});
      cases.push_back({"round_trip", transport, "channel", SpinMode::kAlways, 0, far});
    }
    const int far = has_two_cpus ? 1 : 0;
    cases.push_back({"bandwidth", transport, "raw", SpinMode::kNever, 0, far});
    cases.push_back({"bandwidth", transport, "channel", SpinMode::kAuto, 0, far});
  }
  const auto count_of = [&](const Case& test) {
    return std::strcmp(test.what, "round_trip") == 0 ? pings : messages;
  };
  for (int round = 0; round < rounds; ++round) {
    for (Case& test : cases) run_round(test, count_of(test), socket_buffer);
  }
  for (const Case& test : cases) print(test, count_of(test));
  return 0;
}
