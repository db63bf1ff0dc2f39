// gpu-server as a process: what it says at start, how sessions begin and end, what it survives.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <list>
#include <thread>

#include "rpc/testing.h"
#include "tests/server/gpu_session.h"
#include "transport/connect.h"

namespace farcall::server {
namespace {

using rpc::testing::pattern;
using ::testing::AnyOf;
using testing::Client;
using testing::DaemonProcess;
using testing::eventually;
using testing::GpuSession;
using ::testing::HasSubstr;
using namespace std::chrono_literals;

TEST(Daemon, SaysWhereItListensAndWhatItFound) {
  DaemonProcess daemon;
  ASSERT_EQ(daemon.urls().size(), 2u);
  EXPECT_TRUE(daemon.log_has("listening on " + daemon.urls()[0]));
  EXPECT_TRUE(daemon.log_has("listening on " + daemon.urls()[1]));
  EXPECT_TRUE(daemon.log_has("2 devices, CUDA 13.0: Fake device 0, Fake device 1"));
  EXPECT_EQ(daemon.stop(), 0);
}

TEST(Daemon, AcceptsAClientAndTellsItAboutTheDevices) {
  DaemonProcess daemon;
  for (const size_t url : {0, 1}) {
    auto channel = daemon.connect(url);
    rpc::HelloAnswer answer = testing::say_hello(*channel);
    ASSERT_TRUE(answer.accepted()) << answer.problem;
    const auto accepted = answer.reader();
    EXPECT_EQ(accepted.getDriverVersion(), 13000);
    ASSERT_EQ(accepted.getDevices().size(), 2u);
    const auto device = accepted.getDevices()[1];
    EXPECT_STREQ(device.getName().cStr(), "Fake device 1");
    EXPECT_STREQ(device.getPciBusId().cStr(), "0000:02:00.0");
    EXPECT_EQ(device.getTotalMemory(), uint64_t{1} << 30);
    EXPECT_EQ(device.getUuid().size(), 16u);
    EXPECT_EQ(device.getAttributes().size(), 100u);
    EXPECT_EQ(device.getAttributes()[74].getValue(), 1075);
    EXPECT_FALSE(accepted.getPtxOnly());
  }
}

// What the server answers to these bytes until it closes the connection.
std::string answer_to(const DaemonProcess& daemon, std::span<const std::byte> bytes,
                      std::chrono::seconds timeout = 10s) {
  auto channel = daemon.connect();
  (void)transport::send_bytes(*channel, bytes);
  std::string answer;
  const Deadline deadline = Deadline::after(timeout);
  for (;;) {
    std::byte buffer[4096];
    const auto got = channel->receive(buffer, deadline);
    if (!got) {
      EXPECT_EQ(got.status(), Status::kDisconnected) << "the server kept the connection";
      return answer;
    }
    answer.append(reinterpret_cast<const char*>(buffer), *got);
  }
}
std::vector<std::byte> preamble(uint32_t version, uint32_t words) {
  rpc::Preamble preamble = {.magic = {}, .protocol_version = version, .message_words = words};
  std::memcpy(preamble.magic, rpc::kMagic, sizeof preamble.magic);
  const auto* const at = reinterpret_cast<const std::byte*>(&preamble);
  return {at, at + sizeof preamble};
}
void expect_works(const DaemonProcess& daemon) {
  GpuSession gpu(daemon);
  EXPECT_EQ(gpu.query(0), 0);
}

// --- At start

TEST(DaemonStart, WithoutADriverSaysHowToGoOn) {
  DaemonProcess daemon({"--driver", "/nonexistent/libcuda.so.1"});
  EXPECT_EQ(daemon.wait_exit(), 1);
  EXPECT_TRUE(daemon.urls().empty());
  EXPECT_THAT(daemon.log(), HasSubstr("/nonexistent/libcuda.so.1"));
  EXPECT_THAT(daemon.log(), HasSubstr("--softgpu"));
  EXPECT_THAT(daemon.log(), HasSubstr("--driver"));
}

TEST(DaemonStart, NamesTheErrorOfADriverThatDoesNotStart) {
  ::setenv("FARCALL_FAKE_CUDA_INIT", "100", 1);
  DaemonProcess daemon;
  ::unsetenv("FARCALL_FAKE_CUDA_INIT");
  EXPECT_EQ(daemon.wait_exit(), 1);
  EXPECT_THAT(daemon.log(), HasSubstr("CUDA_ERROR_NO_DEVICE"));
  EXPECT_THAT(daemon.log(), HasSubstr("--softgpu"));
}

TEST(DaemonStart, ALibraryThatIsNoDriverIsRefused) {
  DaemonProcess daemon({"--driver", "libz.so.1"});
  EXPECT_EQ(daemon.wait_exit(), 1);
  EXPECT_THAT(daemon.log(), AnyOf(HasSubstr("is not a CUDA driver"), HasSubstr("libz.so.1")));
}

TEST(DaemonStart, WithoutAWorkerSaysWhereItBelongs) {
  DaemonProcess daemon({"--worker", "/nonexistent/gpu-worker"});
  EXPECT_EQ(daemon.wait_exit(), 1);
  EXPECT_THAT(daemon.log(), HasSubstr("/nonexistent/gpu-worker"));
  EXPECT_THAT(daemon.log(), HasSubstr("--worker"));
}

TEST(DaemonStart, AnAddressInUseIsNamed) {
  DaemonProcess first;
  DaemonProcess second({"--listen", first.urls()[0]});
  EXPECT_EQ(second.wait_exit(), 1);
  EXPECT_THAT(second.log(), HasSubstr(first.urls()[0]));
  expect_works(first);
}

// --- The first bytes

class FirstBytes : public ::testing::Test {
 protected:
  void TearDown() override {
    EXPECT_TRUE(daemon.workers().empty());
    expect_works(daemon);
  }
  DaemonProcess daemon{{"--hello-timeout", "0.3"}};
};

TEST_F(FirstBytes, RandomOnesAreRefused) {
  for (const size_t bytes : {size_t{1}, size_t{15}, size_t{16}, size_t{17}, size_t{100},
                             size_t{4096}, size_t{1} << 20}) {
    answer_to(daemon, pattern(bytes, unsigned(bytes)));
  }
}

TEST_F(FirstBytes, AnotherProtocolVersionIsToldBothVersions) {
  const std::string answer = answer_to(daemon, preamble(77, 8));
  EXPECT_THAT(answer, HasSubstr("77"));
  EXPECT_THAT(answer, HasSubstr(std::to_string(rpc::kProtocolVersion)));
  EXPECT_THAT(answer, HasSubstr(std::string(rpc::farcall_version())));
  EXPECT_TRUE(daemon.log_has("77"));
}

TEST_F(FirstBytes, TheRefusalArrivesThoughMuchMoreWasSent) {
  auto bytes = preamble(77, 8);
  bytes.resize(500'000);
  EXPECT_THAT(answer_to(daemon, bytes), HasSubstr("77"));
}

TEST_F(FirstBytes, AHugeHelloIsRefusedAtOnce) {
  const uint64_t begin = now_ns();
  EXPECT_THAT(answer_to(daemon, preamble(rpc::kProtocolVersion, 0xffffffff)),
              HasSubstr(rpc::kMagic));
  EXPECT_LT(now_ns() - begin, 250'000'000u) << "it waited";
}

TEST_F(FirstBytes, AHelloThatDoesNotDecodeIsRefused) {
  auto bytes = preamble(rpc::kProtocolVersion, 1);
  for (const uint8_t byte : {0xf0, 0xff, 0xff, 0x7f, 1, 0, 1, 0}) bytes.push_back(std::byte(byte));
  answer_to(daemon, bytes);
}

TEST_F(FirstBytes, AClientWithALowerLimitOfPayloadsIsToldBothVersionsAndLimits) {
  auto channel = daemon.connect();
  const rpc::HelloAnswer answer = rpc::say_hello(
      *channel, [](rpc::schema::Hello::Builder hello) { hello.setPayloadBytesMax(4096); },
      Deadline::after(10s));
  EXPECT_FALSE(answer.accepted());
  EXPECT_EQ(answer.result, 803);
  EXPECT_THAT(answer.problem, HasSubstr("at most 4096 bytes"));
  EXPECT_THAT(answer.problem, HasSubstr(std::to_string(rpc::kPayloadBytesMax)));
}

TEST_F(FirstBytes, ASlowHelloIsRefusedInTimeAndKeepsNobodyOut) {
  auto slow = daemon.connect();
  const uint64_t begin = now_ns();
  std::thread drip([&] {
    for (const std::byte byte : preamble(rpc::kProtocolVersion, 100)) {
      if (transport::send_bytes(*slow, {&byte, 1}) != Status::kOk) return;
      std::this_thread::sleep_for(60ms);
    }
  });
  expect_works(daemon);
  std::string answer;
  std::byte buffer[4096];
  while (const auto got = slow->receive(buffer, Deadline::after(5s))) {
    answer.append(reinterpret_cast<const char*>(buffer), *got);
  }
  EXPECT_LT(now_ns() - begin, 2'500'000'000u);
  EXPECT_THAT(answer, HasSubstr("no hello within 300 ms"));
  drip.join();
  EXPECT_TRUE(daemon.workers_become(0));
}

TEST(DaemonLimits, OneConnectionTooManyWithoutAHelloPushesOutTheOldest) {
  DaemonProcess daemon({"--max-half-open", "8", "--hello-timeout", "60"});
  expect_works(daemon);
  ASSERT_TRUE(daemon.workers_become(0));
  const size_t descriptors = daemon.descriptors();
  std::list<std::unique_ptr<transport::Channel>> silent;
  for (int i = 0; i < 100; ++i) silent.push_back(daemon.connect());
  expect_works(daemon);
  EXPECT_LE(daemon.descriptors(), descriptors + 8 + 2);
  silent.clear();
  EXPECT_TRUE(eventually([&] { return daemon.descriptors() == descriptors; }));
}

// --- Many clients

TEST(DaemonLimits, AFullServerSaysSoAndHasRoomAgainWhenAClientLeaves) {
  DaemonProcess daemon({"--max-clients", "3"});
  std::list<Client> clients;
  for (int i = 0; i < 3; ++i) clients.emplace_back(daemon);
  for (int i = 0; i < 20; ++i) {
    auto channel = daemon.connect();
    const rpc::HelloAnswer answer = testing::say_hello(*channel);
    EXPECT_FALSE(answer.accepted());
    EXPECT_THAT(answer.problem, HasSubstr("this server is full: it serves 3 clients"));
    EXPECT_EQ(answer.result, 46);
  }
  EXPECT_EQ(daemon.workers().size(), 3u);
  for (int i = 0; i < 60; ++i) (void)testing::say_hello(*daemon.connect());
  EXPECT_LE(daemon.log_count(": refused: "), 60) << "a flood at the door, and in the log";
  clients.pop_front();
  EXPECT_TRUE(daemon.workers_become(2));
  clients.emplace_back(daemon);
  EXPECT_EQ(daemon.workers().size(), 3u);
}

TEST(DaemonLimits, DescriptorsAndWorkersReturnToWhatTheyWere) {
  DaemonProcess daemon;
  expect_works(daemon);
  ASSERT_TRUE(daemon.workers_become(0));
  const size_t descriptors = daemon.descriptors();
  for (int round = 0; round < 5; ++round) {
    std::list<Client> clients;
    for (int i = 0; i < 8; ++i) clients.emplace_back(daemon, i % 2);
    // Those of the round before may still be on their way out.
    EXPECT_TRUE(daemon.workers_become(8));
  }
  EXPECT_TRUE(daemon.workers_become(0));
  EXPECT_TRUE(eventually([&] { return daemon.descriptors() == descriptors; }));
  EXPECT_EQ(daemon.log_count(" begins: "), 41);
  EXPECT_EQ(daemon.log_count(" ended after "), 41);
}

TEST(DaemonLimits, OutOfDescriptorsItTellsTheClientAndRecovers) {
  DaemonProcess daemon({"--hello-timeout", "60"});
  expect_works(daemon);
  ASSERT_TRUE(daemon.workers_become(0));
  const size_t descriptors = daemon.descriptors();
  rlimit old = {};
  ASSERT_EQ(::prlimit(daemon.pid(), RLIMIT_NOFILE, nullptr, &old), 0);
  const rlimit few = {descriptors + 4, old.rlim_max};
  ASSERT_EQ(::prlimit(daemon.pid(), RLIMIT_NOFILE, &few, nullptr), 0);
  std::list<std::unique_ptr<transport::Channel>> silent;
  for (int i = 0; i < 8; ++i) silent.push_back(daemon.connect());
  ASSERT_TRUE(daemon.log_has("cannot accept"));

  auto channel = daemon.connect();
  const rpc::HelloAnswer answer = testing::say_hello(*channel);
  EXPECT_THAT(answer.problem, HasSubstr("out of file descriptors"));
  // Neither a busy loop nor a flood in the log.
  const auto cpu_ticks = [&] {
    std::ifstream file("/proc/" + std::to_string(daemon.pid()) + "/stat");
    std::string word;
    long ticks = 0;
    for (int i = 1; i <= 15; ++i) {
      file >> word;
      if (i >= 14) ticks += std::stol(word);
    }
    return ticks;
  };
  silent.push_back(daemon.connect());
  const long before = cpu_ticks();
  std::this_thread::sleep_for(1s);
  EXPECT_LT(cpu_ticks() - before, 20) << "busy";
  EXPECT_LE(daemon.log_count("cannot accept"), 5);

  silent.clear();
  EXPECT_TRUE(eventually([&] { return daemon.descriptors() == descriptors; }));
  ASSERT_EQ(::prlimit(daemon.pid(), RLIMIT_NOFILE, &old, nullptr), 0);
  expect_works(daemon);
}

TEST(DaemonLimits, WithoutProcessesLeftItTellsTheClientAndGoesOn) {
  ::setenv("FARCALL_FAULTS", "worker.spawn@2", 1);
  DaemonProcess daemon;
  ::unsetenv("FARCALL_FAULTS");
  expect_works(daemon);
  ASSERT_TRUE(daemon.workers_become(0));
  const size_t descriptors = daemon.descriptors();
  auto channel = daemon.connect();
  EXPECT_THAT(testing::say_hello(*channel).problem, HasSubstr("could not start a worker"));
  EXPECT_TRUE(eventually([&] { return daemon.descriptors() == descriptors; }));
  expect_works(daemon);
}

TEST(DaemonLimits, AWorkerThatVanishedFromTheDiskIsTold) {
  const std::string copy =
      ::testing::TempDir() + "farcall-worker-copy-" + std::to_string(::getpid());
  std::filesystem::copy_file(std::filesystem::path(FARCALL_GPU_SERVER).parent_path() / "gpu-worker",
                             copy);
  DaemonProcess daemon({"--worker", copy});
  expect_works(daemon);
  std::filesystem::rename(copy, copy + ".away");
  auto channel = daemon.connect();
  const rpc::HelloAnswer answer = testing::say_hello(*channel);
  EXPECT_THAT(answer.problem, HasSubstr("could not start a worker"));
  EXPECT_THAT(daemon.log(), HasSubstr(copy));
  std::filesystem::rename(copy + ".away", copy);
  expect_works(daemon);
  std::filesystem::remove(copy);
}

TEST(DaemonLimits, ADriverThatWentAwayIsToldToTheClientAndTheServerGoesOn) {
  const std::string copy =
      ::testing::TempDir() + "farcall-driver-copy-" + std::to_string(::getpid());
  std::filesystem::copy_file(FARCALL_FAKE_DRIVER, copy);
  DaemonProcess daemon({"--driver", copy});
  expect_works(daemon);
  std::filesystem::rename(copy, copy + ".away");
  auto channel = daemon.connect();
  const rpc::HelloAnswer answer = testing::say_hello(*channel);
  EXPECT_FALSE(answer.accepted());
  EXPECT_THAT(answer.problem, HasSubstr("no CUDA driver"));
  EXPECT_EQ(answer.result, 100);
  EXPECT_TRUE(daemon.log_has("no CUDA driver"));
  std::filesystem::rename(copy + ".away", copy);
  expect_works(daemon);
  std::filesystem::remove(copy);
}

// --- Signals

TEST(DaemonEnd, SigtermLetsClientsFinishAndAcceptsNoNewOnes) {
  for (const int signal : {SIGTERM, SIGINT}) {
    DaemonProcess daemon;
    {
      GpuSession gpu(daemon);
      daemon.signal(signal);
      ASSERT_TRUE(daemon.log_has("no new clients; 1 have 30 s to finish"));
      EXPECT_EQ(gpu.query(0), 0);
      const auto refused = transport::connect(transport::parse_url(daemon.urls()[0]).take(), 1s);
      EXPECT_FALSE(refused.ok());
      EXPECT_EQ(daemon.wait_exit(200ms), -1);
      gpu.connection->say_goodbye();
    }
    EXPECT_EQ(daemon.wait_exit(), 0);
    EXPECT_TRUE(daemon.log_has("the client said goodbye"));
  }
}

TEST(DaemonEnd, AfterTheDrainTimeoutClientsAreToldAndEnded) {
  DaemonProcess daemon({"--drain-timeout", "0.3"});
  GpuSession gpu(daemon), stuck(daemon);
  const rpc::HandleId stream = stuck.create_stream();
  stuck.launch(stuck.kernel("hang"), stream);
  std::thread waiting([&] { EXPECT_EQ(stuck.synchronize(stream), rpc::kSessionLostResult); });
  EXPECT_EQ(gpu.query(0), 0);
  daemon.signal(SIGTERM);
  EXPECT_EQ(daemon.wait_exit(5s), 0);
  waiting.join();
  EXPECT_EQ(gpu.query(0), rpc::kSessionLostResult);
  EXPECT_EQ(daemon.log_count(": the server is shutting down"), 2);
}

TEST(DaemonEnd, ASecondSignalEndsAllAtOnce) {
  DaemonProcess daemon;
  Client client(daemon);
  daemon.signal(SIGTERM);
  ASSERT_TRUE(daemon.log_has("no new clients"));
  const uint64_t begin = now_ns();
  daemon.signal(SIGTERM);
  EXPECT_EQ(daemon.wait_exit(5s), 0);
  EXPECT_LT(now_ns() - begin, 1'500'000'000u);
  EXPECT_EQ(daemon.log_count(" ended after "), 1);
}

TEST(DaemonEnd, SighupIsNoReasonToEnd) {
  DaemonProcess daemon;
  daemon.signal(SIGHUP);
  expect_works(daemon);
}

TEST(DaemonEnd, WorkersDieWithADaemonThatIsKilled) {
  DaemonProcess daemon;
  GpuSession gpu(daemon);
  const std::vector<pid_t> workers = daemon.workers();
  ASSERT_EQ(workers.size(), 1u);
  daemon.signal(SIGKILL);
  EXPECT_EQ(daemon.wait_exit(), 128 + SIGKILL);
  EXPECT_EQ(gpu.query(0), rpc::kSessionLostResult);
  EXPECT_TRUE(eventually([&] { return ::kill(workers[0], 0) != 0; }));
}

TEST(DaemonEnd, LeavesNoSocketFileAndNoTemporaryFolder) {
  DaemonProcess daemon;
  const std::string path = daemon.urls()[1].substr(strlen("unix://"));
  EXPECT_TRUE(std::filesystem::exists(path));
  EXPECT_EQ(daemon.stop(), 0);
  EXPECT_FALSE(std::filesystem::exists(path));
}

}  // namespace
}  // namespace farcall::server
