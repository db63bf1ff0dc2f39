// gpu-server as a process: what it says at start, how sessions begin and end, what it survives.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <thread>

#include "rpc/testing.h"
#include "tests/server/daemon_process.h"

namespace farcall::server {
namespace {

using testing::Client;
using testing::DaemonProcess;
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

}  // namespace
}  // namespace farcall::server
