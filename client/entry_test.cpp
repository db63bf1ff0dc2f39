// The client library in a program of its own (testing/client_probe.cpp): first call, threads, fork,
// exit.
#include "client/entry.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <sstream>

#include "client/testing/fake_server.h"

namespace farcall::client {
namespace {

using testing::FakeServer;
using ::testing::HasSubstr;
using ::testing::Not;

struct Outcome {
  int status = -1;
  std::string out, log;
  double seconds = 0;
};

std::string read_file(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

// `environment` is shell syntax: "A=1 B=2".
Outcome run(const std::string& what, const std::string& server,
            const std::string& environment = "") {
  std::string folder = std::filesystem::temp_directory_path() / "farcall-probe-XXXXXX";
  EXPECT_NE(::mkdtemp(folder.data()), nullptr);
  const std::string command = "cd " + folder + " && env -u FARCALL_LOG -u FARCALL_STATS " +
                              (server.empty() ? "" : "FARCALL_SERVER=" + server) + " " +
                              environment + " timeout 30 " FARCALL_CLIENT_PROBE " " + what +
                              " >out 2>log";
  Outcome outcome;
  const uint64_t start = now_ns();
  outcome.status = std::system(command.c_str());
  outcome.seconds = static_cast<double>(now_ns() - start) / 1e9;
  outcome.out = read_file(folder + "/out");
  outcome.log = read_file(folder + "/log");
  std::filesystem::remove_all(folder);
  return outcome;
}

// Ours; a sanitizer may have written others.
size_t log_lines(const std::string& log) {
  size_t count = 0;
  for (size_t at = 0; (at = log.find("farcall[client]", at)) != std::string::npos; ++at) ++count;
  return count;
}

uint64_t number(const std::string& json, const std::string& name) {
  const std::string key = "\"" + name + "\": ";
  const size_t at = json.find(key);
  if (at == std::string::npos) return ~uint64_t{0};
  return std::strtoull(json.c_str() + at + key.size(), nullptr, 10);
}

TEST(Entry, ConnectsAtTheFirstCallAndSaysGoodbyeAtTheEnd) {
  FakeServer server;
  const Outcome outcome = run("calls", server.url());
  EXPECT_EQ(outcome.status, 0);
  EXPECT_EQ(outcome.out, "synchronize 0\nlast error 0\n");
  EXPECT_EQ(outcome.log, "");
  const auto seen = server.wait_for(1);
  ASSERT_EQ(seen.size(), 1u);
  EXPECT_EQ(seen[0].hello.program, "client_probe");
  EXPECT_EQ(seen[0].hello.farcall_version, rpc::farcall_version());
  EXPECT_EQ(seen[0].hello.opcode_count, rpc::kOpcodeCount);
  EXPECT_EQ(seen[0].hello.runtime_version, 0u);
  EXPECT_EQ(seen[0].calls.at("farcallLaunchKernel"), 1000);
  EXPECT_EQ(seen[0].calls.at("farcallGlobalGet"), 2) << "the others were known";
  EXPECT_TRUE(seen[0].goodbye);
}

TEST(Entry, WritesStatisticsAtTheEnd) {
  FakeServer server;
  const Outcome outcome = run("calls", server.url(), "FARCALL_STATS=-");
  EXPECT_EQ(outcome.status, 0);
  const std::string& json = outcome.log;
  EXPECT_EQ(number(json, "round_trips"), 3u) << json;
  EXPECT_THAT(json, HasSubstr("\"startup\": {\"round_trips\": 1, \"ns\": "));
  EXPECT_EQ(number(json, "async"), 1000u);
  EXPECT_EQ(number(json, "waiting"), 3u);
  EXPECT_EQ(number(json, "cached"), 8u);
  EXPECT_EQ(number(json, "local"), 1u);
  EXPECT_EQ(number(json, "cudaLaunchKernel"), 1000u);
  EXPECT_EQ(number(json, "cuCtxGetLimit"), 10u);
  EXPECT_EQ(number(json, "cudaGetLastError"), 1u);
  EXPECT_GT(number(json, "bytes_up"), 1000u * 80);
  EXPECT_THAT(json, HasSubstr(server.url()));
}

TEST(Entry, TheOffSwitchesWork) {
  FakeServer server;
  EXPECT_EQ(number(run("calls", server.url(), "FARCALL_STATS=- CUDA_LAUNCH_BLOCKING=1").log,
                   "round_trips"),
            1003u);
  EXPECT_EQ(number(run("calls", server.url(), "FARCALL_STATS=- FARCALL_BATCH=off").log, "flushes"),
            1003u);
  EXPECT_LT(number(run("calls", server.url(), "FARCALL_STATS=-").log, "flushes"), 1000u);
}

TEST(Entry, WithoutAServerThereIsNoDeviceAndOneLineSaysWhatToDo) {
  const Outcome outcome = run("no_server", "tcp://127.0.0.1:1");
  EXPECT_EQ(outcome.out, "fast\nlast error 100\n");
  EXPECT_THAT(outcome.log, HasSubstr("no server at tcp://127.0.0.1:1"));
  EXPECT_THAT(outcome.log, HasSubstr("set FARCALL_SERVER or use farcall run --server"));
  EXPECT_LE(std::count(outcome.log.begin(), outcome.log.end(), '\n'), 2) << outcome.log;
}

TEST(Entry, SaysWhenTheUrlIsNone) {
  const Outcome outcome = run("no_server", "gopher://example");
  EXPECT_EQ(outcome.out, "fast\nlast error 100\n");
  EXPECT_THAT(outcome.log, HasSubstr("gopher://example"));
}

TEST(Entry, ARefusalIsToldWithTheServersResult) {
  FakeServer server({}, {.reason = "the queue is full; come back later", .status = 2});
  const Outcome outcome = run("lost", server.url());
  EXPECT_EQ(outcome.out, "2 2 2\n");
  EXPECT_THAT(outcome.log, HasSubstr("the queue is full; come back later"));
  EXPECT_EQ(server.connections(), 1u) << "not asked again at once";
}

TEST(Entry, AForkedChildIsRefusedAndTheParentGoesOn) {
  FakeServer server;
  const Outcome outcome = run("fork_after_use", server.url());
  EXPECT_EQ(outcome.status, 0);
  EXPECT_EQ(outcome.out, "parent 0\nchild 3 3 3\nparent 0\n");
  EXPECT_THAT(outcome.log, HasSubstr("CUDA can't be used in a forked child"));
  EXPECT_EQ(log_lines(outcome.log), 1u) << outcome.log;
  const auto seen = server.wait_for(1);
  ASSERT_EQ(seen.size(), 1u);
  EXPECT_EQ(seen[0].calls.at("farcallContextSynchronize"), 2);
  EXPECT_TRUE(seen[0].goodbye);
}

TEST(Entry, AForkBeforeTheFirstCallMakesTwoPrograms) {
  FakeServer server;
  const Outcome outcome = run("fork_before_use", server.url());
  EXPECT_EQ(outcome.out, "child 0\nparent 0\n");
  EXPECT_EQ(server.wait_for(2).size(), 2u);
}

TEST(Entry, WorksInStaticDestructors) {
  FakeServer server;
  EXPECT_EQ(run("static_destructor", server.url()).out, "in a static destructor: 0\n");
  EXPECT_TRUE(server.wait_for(1).at(0).goodbye);
}

TEST(Entry, LanesOfEndedThreadsAreReused) {
  FakeServer server;
  EXPECT_EQ(run("threads", server.url()).out, "1 lanes\n");
}

TEST(Entry, EachThreadHasItsOwnPerThreadStream) {
  FakeServer server;
  EXPECT_EQ(run("per_thread_streams", server.url()).out, "0 1 1\n1 1\n1\n");
  EXPECT_EQ(server.wait_for(1).at(0).calls.at("cuStreamCreate"), 2);
}

TEST(Entry, WhatKernelsPrintComesBetweenTheProgramsOwnLines) {
  FakeServer server([](const rpc::Frame& frame, rpc::AnswerWriter& writer) {
    (void)writer.output(false, "printed by a kernel\n");
    (void)writer.reply(frame.sequence(), frame.call, 0);
  });
  EXPECT_EQ(run("output", server.url()).out, "before\nprinted by a kernel\nafter\n");
}

TEST(Entry, AServerThatDiesIsAnErrorOfEveryLaterCall) {
  FakeServer server([](const rpc::Frame&, rpc::AnswerWriter& writer) {
    (void)writer.fatal("the GPU fell off the bus");
  });
  const Outcome outcome = run("lost", server.url());
  EXPECT_EQ(outcome.out, "46 46 46\n");
  EXPECT_THAT(outcome.log, HasSubstr("the GPU fell off the bus"));
}

TEST(Entry, AProgramEndsThoughTheServerIsStuck) {
  std::atomic<bool> ended{false};
  FakeServer server([&](const rpc::Frame&, rpc::AnswerWriter&) {
    while (!ended) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  });
  const Outcome outcome = run("stuck_server", server.url());
  ended = true;
  EXPECT_EQ(outcome.status, 0);
  EXPECT_LT(outcome.seconds, 10.0);
}

TEST(Entry, ExceptionsDontLeaveTheLibrary) {
  FakeServer server([](const rpc::Frame& frame, rpc::AnswerWriter& writer) {
    const uint64_t garbage[] = {0x0001'0000'0000'0000, 0xdeadbeef'deadbeef};
    const auto* const words = reinterpret_cast<const capnp::word*>(garbage);
    (void)writer.reply(frame.sequence(), frame.call, 0, {.words = {words, 2}});
  });
  const Outcome outcome = run("exceptions", server.url());
  EXPECT_EQ(outcome.status, 0);
  EXPECT_EQ(outcome.out, "2\n46\n46\n801\n801\n");
  EXPECT_THAT(outcome.log, HasSubstr("the results of cuCtxGetLimit don't decode"));
  EXPECT_THAT(outcome.log, HasSubstr("cudaNoSuchThing is not supported: a test"));
  EXPECT_EQ(std::count(outcome.log.begin(), outcome.log.end(), '\n'), 2) << outcome.log;
}

}  // namespace
}  // namespace farcall::client
