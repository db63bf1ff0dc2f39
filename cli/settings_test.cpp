#include "cli/settings.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>

namespace farcall::cli {
namespace {
namespace fs = std::filesystem;

class SettingsTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = testing::TempDir() + "farcall-settings-XXXXXX";
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    root_ = pattern;
    ::setenv("XDG_CONFIG_HOME", root_.c_str(), 1);
    ::unsetenv("FARCALL_SERVER");
  }
  void TearDown() override {
    fs::remove_all(root_);
    ::unsetenv("XDG_CONFIG_HOME");
    ::unsetenv("FARCALL_SERVER");
  }

  void write_config(const std::string& text) {
    fs::create_directories(root_ / "farcall");
    std::ofstream(root_ / "farcall/config.toml") << text;
  }

  fs::path root_;
};

TEST_F(SettingsTest, DefaultsToTheLoopbackAddress) {
  const auto choice = choose_server("");
  ASSERT_TRUE(choice);
  EXPECT_EQ(choice->url, "tcp://127.0.0.1:7117");
  EXPECT_EQ(choice->source, "the default");
}

TEST_F(SettingsTest, TheConfigFileBeatsTheDefault) {
  write_config("server = \"tcp://gpu1:9000\"\n");
  const auto choice = choose_server("");
  ASSERT_TRUE(choice);
  EXPECT_EQ(choice->url, "tcp://gpu1:9000");
  EXPECT_EQ(choice->source, (root_ / "farcall/config.toml").string());
}

TEST_F(SettingsTest, AConfigFileWithoutServerLeavesTheDefault) {
  write_config("[other]\nkey = 1\n");
  EXPECT_EQ(choose_server("")->source, "the default");
}

TEST_F(SettingsTest, TheEnvironmentBeatsTheConfigFile) {
  write_config("server = \"tcp://gpu1:9000\"\n");
  ::setenv("FARCALL_SERVER", "unix:///run/farcall.sock", 1);
  EXPECT_EQ(choose_server("")->url, "unix:///run/farcall.sock");
}

TEST_F(SettingsTest, TheOptionBeatsTheEnvironment) {
  ::setenv("FARCALL_SERVER", "unix:///run/farcall.sock", 1);
  EXPECT_EQ(choose_server("tcp://a:1")->source, "--server");
}

TEST_F(SettingsTest, ABrokenConfigFileIsNotPassedOver) {
  write_config("server = \n");
  testing::internal::CaptureStderr();
  EXPECT_FALSE(choose_server(""));
  EXPECT_NE(testing::internal::GetCapturedStderr().find("config.toml:1:"), std::string::npos);
}

TEST_F(SettingsTest, AServerThatIsNoStringIsRefused) {
  write_config("server = 7117\n");
  testing::internal::CaptureStderr();
  EXPECT_FALSE(choose_server(""));
  EXPECT_NE(testing::internal::GetCapturedStderr().find("'server' is not a string"),
            std::string::npos);
}

TEST_F(SettingsTest, AnUnusableUrlIsRefusedWithItsSource) {
  ::setenv("FARCALL_SERVER", "gopher://x", 1);
  testing::internal::CaptureStderr();
  EXPECT_FALSE(choose_server(""));
  const std::string message = testing::internal::GetCapturedStderr();
  EXPECT_NE(message.find("'gopher://x' (from FARCALL_SERVER)"), std::string::npos) << message;
}

}  // namespace
}  // namespace farcall::cli
