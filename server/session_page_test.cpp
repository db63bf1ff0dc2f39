#include "server/session_page.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>

namespace farcall::server {
namespace {

std::vector<capnp::word> hello_of(uint64_t first, uint64_t second) {
  std::vector<capnp::word> words(2);
  std::memcpy(static_cast<void*>(&words[0]), &first, sizeof first);
  std::memcpy(static_cast<void*>(&words[1]), &second, sizeof second);
  return words;
}

class SessionPageTest : public testing::Test {
 protected:
  void SetUp() override {
    const auto sent = hello_of(17, 4);
    UniqueFd memfd;
    auto made = SessionPageMap::create(42, std::as_bytes(std::span(sent)), &memfd);
    ASSERT_TRUE(made);
    daemon = made.take();
    duplicate.reset(::dup(memfd.get()));
    auto opened = SessionPageMap::open(std::move(memfd), &hello);
    ASSERT_TRUE(opened);
    worker = opened.take();
  }
  SessionPageMap daemon, worker;
  UniqueFd duplicate;
  std::vector<capnp::word> hello;
};

TEST_F(SessionPageTest, TheWorkerGetsTheHello) {
  EXPECT_EQ(worker.page().session_id, 42u);
  const auto expected = hello_of(17, 4);
  ASSERT_EQ(hello.size(), 2u);
  EXPECT_EQ(std::memcmp(hello.data(), expected.data(), 16), 0);
}

TEST_F(SessionPageTest, TheDaemonSeesCallsAndTheFirstReason) {
  EXPECT_EQ(daemon.calls(), 0u);
  EXPECT_EQ(daemon.end().reason, "");
  worker.page().calls = 12;
  EXPECT_EQ(daemon.calls(), 12u);
  worker.set_end("it was time", true);
  worker.set_end("no, it was not", false);
  EXPECT_EQ(daemon.end().reason, "it was time");
  EXPECT_TRUE(daemon.end().faulted);
}

TEST_F(SessionPageTest, AHostileWorkerHurtsNobody) {
  EXPECT_NE(::ftruncate(duplicate.get(), 0), 0) << "the daemon's next look would be a SIGBUS";
  worker.page().reason_bytes = 0xffffffff;
  std::memset(worker.page().reason, '\n', SessionPage::kReasonBytes);
  EXPECT_EQ(daemon.end().reason, std::string(SessionPage::kReasonBytes, '?'));
}

TEST(SessionPage, AFileOfAnotherShapeIsRefused) {
  testing::internal::CaptureStderr();
  for (const size_t bytes : {size_t{0}, size_t{100}, kSessionPageBytes + 8}) {
    UniqueFd file(::memfd_create("test", MFD_CLOEXEC));
    ASSERT_EQ(::ftruncate(file.get(), off_t(bytes)), 0);
    std::vector<capnp::word> hello;
    EXPECT_FALSE(SessionPageMap::open(std::move(file), &hello));
  }
  testing::internal::GetCapturedStderr();
}

TEST(Printable, CutsAndCleans) {
  EXPECT_EQ(printable("a\033[31m\nb"), "a?[31m?b");
  EXPECT_EQ(printable("abcdef", 3), "abc...");
}

}  // namespace
}  // namespace farcall::server
