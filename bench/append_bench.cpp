// What does an asynchronous call cost the application's thread? A launch with 80 bytes of
// parameters, posted as the stubs do it, beside a copy of its bytes:
//   memcpy   200 bytes, call included: the unit of comparison
//   append   CallWriter and post(), to a channel that throws everything away
//   stub     enter(), Call and post(), through libfarcall.so over a Unix socket to a server that
//   only
//            reads: "p50" is a call that appends, "mean" includes its share of the sends
// One JSON line per case. Calls are timed in groups, because the clock costs as much as a call; a
// group is shorter than a batch, so that the median is of groups without a send.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "client/stub.h"
#include "rpc/client_connection.h"
#include "rpc/hello.h"
#include "rpc/schema/calls.capnp.h"
#include "transport/listener.h"

namespace farcall {
namespace {

constexpr int kGroup = 32;

struct DiscardingChannel final : transport::Channel {
  Status send(std::span<const iovec>) override { return Status::kOk; }
  Result<size_t> receive(std::span<std::byte>, Deadline) override { return Status::kDisconnected; }
  Result<size_t> try_receive(std::span<std::byte>) override { return size_t{0}; }
  void shutdown() override {}
  Status send_fd(int, std::span<const iovec>) override { return Status::kUnsupported; }
  Result<UniqueFd> receive_fd() override { return Status::kUnsupported; }
  int native_handle() const override { return -1; }
  transport::Caps caps() const override { return {}; }
  transport::Counters counters() const override { return {}; }
  std::string peer() const override { return "nobody"; }
};

// Accepts one client and reads what it sends.
class ReadingServer {
 public:
  explicit ReadingServer(const std::string& path) {
    const auto url = transport::parse_url("unix://" + path);
    auto listener = transport::listen(*url);
    if (!listener.ok()) std::exit(1);
    listener_ = listener.take();
    thread_ = std::thread([this] { run(); });
    thread_.detach();  // ends with the process
  }

 private:
  void run() {
    auto channel = listener_->accept(Deadline::never());
    if (!channel.ok()) return;
    rpc::HelloReceiver hello(rpc::HelloReceiver::From::kClient);
    if (hello.receive(**channel, Deadline::never()) != Status::kOk) return;
    (void)rpc::accept(**channel, [](rpc::schema::Accepted::Builder accepted) {
      accepted.initDevices(1)[0].setName("nothing");
    });
    std::vector<std::byte> sink(256 * 1024);
    while ((*channel)->receive(sink).ok()) {
    }
  }

  std::unique_ptr<transport::Listener> listener_;
  std::thread thread_;
};

unsigned char params[200];

void fill(rpc::schema::FarcallLaunchKernel::Builder args, uint32_t i) {
  args.setFunction(0x0700000100000001);
  args.setStream(2);
  args.setGridX(i);
  args.setGridY(1);
  args.setGridZ(1);
  args.setBlockX(256);
  args.setBlockY(1);
  args.setBlockZ(1);
  std::memcpy(args.initParams(80).begin(), params, 80);
}

uint64_t thread_cpu_ns() {
  timespec now;
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000u + static_cast<uint64_t>(now.tv_nsec);
}

template <class Work>
void measure(const char* name, int calls, Work&& work) {
  std::vector<double> groups;
  groups.reserve(static_cast<size_t>(calls / kGroup));
  for (int i = 0; i < 10'000; ++i) work(static_cast<uint32_t>(i));  // warm
  const uint64_t cpu_start = thread_cpu_ns();
  const uint64_t start = now_ns();
  uint64_t last = start;
  for (int done = 0; done < calls; done += kGroup) {
    for (int i = 0; i < kGroup; ++i) work(static_cast<uint32_t>(done + i));
    const uint64_t now = now_ns();
    groups.push_back(static_cast<double>(now - last) / kGroup);
    last = now;
  }
  const uint64_t cpu_ns = thread_cpu_ns() - cpu_start;
  std::sort(groups.begin(), groups.end());
  const auto at = [&](double part) {
    return groups[static_cast<size_t>(part * static_cast<double>(groups.size() - 1))];
  };
  std::printf(
      "{\"bench\": \"append\", \"case\": \"%s\", \"n\": %d, \"p10_ns\": %.1f, \"p50_ns\": %.1f, "
      "\"p99_ns\": %.1f, \"mean_ns\": %.1f, \"mean_cpu_ns\": %.1f}\n",
      name, calls, at(0.1), at(0.5), at(0.99),
      static_cast<double>(last - start) / static_cast<double>(groups.size() * kGroup),
      static_cast<double>(cpu_ns) / static_cast<double>(groups.size() * kGroup));
}

int run(int calls) {
  unsigned char copy[200];
  measure("memcpy", calls, [&](uint32_t i) {
    params[0] = static_cast<unsigned char>(i);
    std::memcpy(copy, params, sizeof copy);
    asm volatile("" : : "r"(copy) : "memory");
  });

  rpc::ClientConnection connection(std::make_unique<DiscardingChannel>());
  const rpc::Lane lane{.id = 1, .context = 1};
  measure("append", calls, [&](uint32_t i) {
    rpc::CallWriter call(connection, rpc::Opcode::k_farcallLaunchKernel, lane);
    fill(call.args<rpc::schema::FarcallLaunchKernel>(), i);
    (void)call.post();
  });

  std::string folder = std::filesystem::temp_directory_path() / "farcall-bench-XXXXXX";
  if (::mkdtemp(folder.data()) == nullptr) return 1;
  const std::string path = folder + "/socket";
  int failures = 0;
  {
    ReadingServer server(path);
    ::setenv("FARCALL_SERVER", ("unix://" + path).c_str(), 1);
    measure("stub", calls, [&](uint32_t i) {
      failures += client::enter<cudaError_t>(
                      rpc::Opcode::k_cudaLaunchKernel, [&](client::Session& session) -> int {
                        client::Call call(session, rpc::Opcode::k_farcallLaunchKernel);
                        fill(call.args<rpc::schema::FarcallLaunchKernel>(), i);
                        return call.post();
                      }) != cudaSuccess;
    });
  }
  std::filesystem::remove_all(folder);
  return failures == 0 ? 0 : 1;
}

}  // namespace
}  // namespace farcall

int main(int argc, char** argv) {
  CLI::App app("What an asynchronous call costs the application's thread");
  int calls = 2'000'000;
  app.add_option("--calls", calls, "calls per case")->check(CLI::PositiveNumber);
  CLI11_PARSE(app, argc, argv);
  return farcall::run(calls);
}
