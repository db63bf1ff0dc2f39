// The doctor's look at a server, against one that misbehaves: a listener in a thread that does one
// thing to the first connection. What it does to a program's file is in elf_dynamic_test.cpp.
#include "cli/doctor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <functional>
#include <memory>
#include <thread>

#include "rpc/hello.h"
#include "transport/listener.h"

namespace farcall::cli {
namespace {

using testing::HasSubstr;
using testing::SizeIs;

class CheckServerTest : public testing::Test {
 protected:
  using Behaviour = std::function<void(transport::Channel&)>;

  // What the doctor finds at a server that does this.
  std::vector<Finding> findings_at(const Behaviour& behaviour) {
    auto listener = transport::listen(*transport::parse_url("tcp://127.0.0.1:0")).take();
    std::thread server([&listener, &behaviour] {
      auto channel = listener->accept(Deadline::after(std::chrono::seconds(5)));
      if (channel) behaviour(**channel);
    });
    std::vector<Finding> findings = check_server({listener->url().text(), "the test"});
    server.join();
    return findings;
  }

  static void receive_hello(transport::Channel& channel) {
    rpc::HelloReceiver receiver(rpc::HelloReceiver::From::kClient);
    ASSERT_EQ(receiver.receive(channel, Deadline::after(std::chrono::seconds(5))), Status::kOk);
  }
};

TEST_F(CheckServerTest, SaysHowToStartOneWhenNobodyListens) {
  auto listener = transport::listen(*transport::parse_url("tcp://127.0.0.1:0")).take();
  const ServerChoice choice = {listener->url().text(), "the test"};
  listener.reset();
  const std::vector<Finding> findings = check_server(choice);
  ASSERT_THAT(findings, SizeIs(1));
  EXPECT_FALSE(findings[0].good);
  EXPECT_THAT(findings[0].what, HasSubstr("no server at " + choice.url + " (from the test)"));
  EXPECT_THAT(findings[0].mend, HasSubstr("gpu-server"));
}

TEST_F(CheckServerTest, TellsOfAPeerThatIsNoGpuServer) {
  const std::vector<Finding> findings = findings_at([](transport::Channel& channel) {
    const char answer[] = "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";
    (void)transport::send_bytes(channel, std::as_bytes(std::span(answer)));
    receive_hello(channel);
  });
  ASSERT_THAT(findings, SizeIs(1));
  EXPECT_FALSE(findings[0].good);
}

TEST_F(CheckServerTest, RepeatsTheReasonOfARefusal) {
  const std::vector<Finding> findings = findings_at([](transport::Channel& channel) {
    receive_hello(channel);
    (void)rpc::refuse(channel, {.reason = "this server speaks another dialect", .status = 36});
  });
  ASSERT_THAT(findings, SizeIs(1));
  EXPECT_FALSE(findings[0].good);
  EXPECT_THAT(findings[0].what, HasSubstr("this server speaks another dialect"));
}

TEST_F(CheckServerTest, FindsAServerWithoutARuntime) {
  const std::vector<Finding> findings = findings_at([](transport::Channel& channel) {
    receive_hello(channel);
    (void)rpc::accept(channel, [](rpc::schema::Accepted::Builder accepted) {
      accepted.setDriverVersion(13000);
      accepted.setDevice("a test device");
      accepted.initDevices(1);
      accepted.setRuntimeProblem("libcudart.so.13: cannot open shared object file");
    });
  });
  ASSERT_THAT(findings, SizeIs(2));
  EXPECT_TRUE(findings[0].good);
  EXPECT_THAT(findings[0].what, HasSubstr("a test device"));
  EXPECT_FALSE(findings[1].good);
  EXPECT_THAT(findings[1].what, HasSubstr("libcudart.so.13: cannot open"));
}

}  // namespace
}  // namespace farcall::cli
