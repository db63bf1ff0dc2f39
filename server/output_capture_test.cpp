#include "server/output_capture.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <string>

namespace farcall::server {
namespace {

// Prints to stdout while it is redirected; gives it back at the end, for the test's own output.
class OutputCaptureTest : public testing::Test {
 protected:
  void SetUp() override {
    std::fflush(stdout);
    saved_.reset(::dup(STDOUT_FILENO));
    auto file = OutputCapture::redirect(STDOUT_FILENO);
    ASSERT_TRUE(file);
    file_fd = file->get();
    capture = std::make_unique<OutputCapture>(file.take());
  }
  void TearDown() override {
    std::fflush(stdout);
    ::dup2(saved_.get(), STDOUT_FILENO);
  }
  std::string collect() {
    std::string all;
    capture->collect([&](std::string_view text) { all += text; });
    return all;
  }

  std::unique_ptr<OutputCapture> capture;
  int file_fd = -1;

 private:
  UniqueFd saved_;
};

TEST_F(OutputCaptureTest, CollectsEachTextOnce) {
  EXPECT_EQ(collect(), "");
  std::printf("one %d\n", 1);
  EXPECT_EQ(collect(), "one 1\n");
  EXPECT_EQ(collect(), "");
  std::printf("two\n");
  (void)!::write(STDOUT_FILENO, "three\n", 6);
  EXPECT_EQ(collect(), "three\ntwo\n") << "stdio's buffer is written when it is collected";
}

TEST_F(OutputCaptureTest, MuchOutputNeedsNoReaderAndItsMemoryGoesBack) {
  const std::string piece(100'000, 'x');
  std::string expected;
  for (int i = 0; i < 50; ++i) {
    std::fwrite(piece.data(), 1, piece.size(), stdout);
    expected += piece;
  }
  EXPECT_EQ(collect(), expected);
  struct stat file = {};
  ASSERT_EQ(::fstat(file_fd, &file), 0);
  EXPECT_LE(file.st_blocks * 512, 8192);
  std::printf("goes on");
  EXPECT_EQ(collect(), "goes on");
}

TEST(OutputCapture, WithoutAFileThereIsNothing) {
  OutputCapture capture{UniqueFd()};
  capture.collect([](std::string_view) { ADD_FAILURE(); });
}

}  // namespace
}  // namespace farcall::server
