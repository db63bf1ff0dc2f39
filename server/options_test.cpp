#include "server/options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

namespace farcall::server {
namespace {

using testing::HasSubstr;

std::optional<ServerOptions> parse(std::vector<const char*> arguments, int* exit_code = nullptr) {
  int ignored = 0;
  arguments.insert(arguments.begin(), "gpu-server");
  return parse_options(static_cast<int>(arguments.size()), arguments.data(),
                       exit_code != nullptr ? exit_code : &ignored);
}

class OptionsFile : public testing::Test {
 protected:
  std::string write(const std::string& text) {
    const std::string path = testing::TempDir() + "farcall_options_test.toml";
    std::ofstream(path) << text;
    return path;
  }
};

TEST(Options, ListenOnLoopbackUnlessToldOtherwise) {
  const auto options = parse({});
  ASSERT_TRUE(options);
  ASSERT_EQ(options->listen.size(), 1u);
  EXPECT_EQ(options->listen[0].text(), kDefaultListenUrl);
  EXPECT_FALSE(options->cuda.softgpu);
}

TEST(Options, ListenMayBeRepeatedAndReplacesTheDefault) {
  const auto options = parse({"--listen", "tcp://0.0.0.0:1", "--listen", "unix:///run/x.sock"});
  ASSERT_TRUE(options);
  ASSERT_EQ(options->listen.size(), 2u);
  EXPECT_EQ(options->listen[0].text(), "tcp://0.0.0.0:1");
  EXPECT_EQ(options->listen[1].path, "/run/x.sock");
}

TEST_F(OptionsFile, GivesWhatNoFlagGives) {
  const std::string path = write(
      "softgpu = true\nmax-clients = 3\nhello-timeout = 0.5\n"
      "listen = ['tcp://127.0.0.1:0', 'unix:///run/y.sock']\nlog-level = 'debug'\n");
  const auto options = parse({"--config", path.c_str(), "--max-clients", "9"});
  ASSERT_TRUE(options);
  EXPECT_TRUE(options->cuda.softgpu);
  EXPECT_EQ(options->max_clients, 9);
  EXPECT_EQ(options->hello_timeout, std::chrono::milliseconds(500));
  EXPECT_EQ(options->listen.size(), 2u);
  EXPECT_EQ(options->log_level, log::Level::kDebug);
}

TEST_F(OptionsFile, UnknownKeyIsNamed) {
  const std::string path = write("max-client = 3\n");
  testing::internal::CaptureStderr();
  int exit_code = 0;
  EXPECT_FALSE(parse({"--config", path.c_str()}, &exit_code));
  EXPECT_THAT(testing::internal::GetCapturedStderr(), HasSubstr("max-client"));
  EXPECT_EQ(exit_code, 2);
}

TEST_F(OptionsFile, SyntaxErrorIsToldWithItsLine) {
  const std::string path = write("softgpu = true\nmax-clients = = 3\n");
  testing::internal::CaptureStderr();
  EXPECT_FALSE(parse({"--config", path.c_str()}));
  EXPECT_THAT(testing::internal::GetCapturedStderr(), HasSubstr("line 2"));
}

TEST(Options, MissingFileIsAMistake) {
  testing::internal::CaptureStderr();
  int exit_code = 0;
  EXPECT_FALSE(parse({"--config", "/nonexistent/farcall.toml"}, &exit_code));
  EXPECT_EQ(exit_code, 2);
  EXPECT_THAT(testing::internal::GetCapturedStderr(), HasSubstr("/nonexistent/farcall.toml"));
}

TEST(Options, MistakesAreRefused) {
  for (const std::vector<const char*>& arguments :
       std::vector<std::vector<const char*>>{{"--max-clients", "0"},
                                             {"--max-clients", "many"},
                                             {"--log-level", "loud"},
                                             {"--softgpu", "--driver", "/lib/libcuda.so.1"},
                                             {"--no-such-flag"},
                                             {"--listen", "ftp://host"}}) {
    testing::internal::CaptureStderr();
    int exit_code = 0;
    EXPECT_FALSE(parse(arguments, &exit_code)) << arguments[0];
    EXPECT_EQ(exit_code, 2) << arguments[0];
    EXPECT_NE(testing::internal::GetCapturedStderr(), "") << arguments[0];
  }
}

TEST(Options, HelpNamesEveryOption) {
  testing::internal::CaptureStdout();
  int exit_code = 1;
  EXPECT_FALSE(parse({"--help"}, &exit_code));
  const std::string help = testing::internal::GetCapturedStdout();
  EXPECT_EQ(exit_code, 0);
  for (const char* flag :
       {"--listen", "--softgpu", "--driver", "--cudart-dir", "--worker", "--image-store",
        "--image-store-size", "--max-clients", "--max-half-open", "--hello-timeout",
        "--drain-timeout", "--ready-fd", "--log-level", "--config", "--version"}) {
    EXPECT_THAT(help, HasSubstr(flag));
  }
}

}  // namespace
}  // namespace farcall::server
