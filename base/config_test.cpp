#include "base/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

namespace farcall {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;

struct Options {
  std::string name = "node \"7\"";
  bool verbose = false;
  int64_t workers = 4;
  std::vector<std::string> listen = {"tcp://0.0.0.0:7117", "unix:///run/x"};
  uint64_t quota = 16 << 20;
  std::chrono::nanoseconds grace = 5s;
  char letter = 'a';
};

Config make_config(Options& options) {
  Config config;
  config.add("name", options.name, "what the node is called");
  config.add("verbose", options.verbose, "log more");
  config.add("server.listen", options.listen, "where clients connect;\nseveral are possible");
  config.add("server.workers", options.workers, "workers at once", 1, 64);
  config.add_byte_count("server.quota", options.quota, "memory of a client");
  config.add_duration("server.grace", options.grace, "how long a worker may take to end");
  config.add("server.letter", "a", "one letter",
             [&options](std::string_view text) -> std::optional<std::string> {
               if (text.size() != 1) return "must be one letter";
               options.letter = text[0];
               return std::nullopt;
             });
  return config;
}

std::string errors_of(Config& config, std::string_view toml, Status expected = Status::kInvalid) {
  testing::internal::CaptureStderr();
  EXPECT_EQ(config.load_text(toml, "test.toml"), expected);
  return testing::internal::GetCapturedStderr();
}

TEST(Config, AFileSetsWhatItNamesAndLeavesTheRest) {
  Options options;
  Config config = make_config(options);
  EXPECT_EQ(errors_of(config, R"(
verbose = true
[server]
listen = ["unix:a", "unix:b"]
workers = 8
quota = "1GiB"
grace = "20us"
letter = "z"
)",
                      Status::kOk),
            "");
  EXPECT_EQ(options.name, "node \"7\"");
  EXPECT_TRUE(options.verbose);
  EXPECT_THAT(options.listen, ElementsAre("unix:a", "unix:b"));
  EXPECT_EQ(options.workers, 8);
  EXPECT_EQ(options.quota, 1u << 30);
  EXPECT_EQ(options.grace, 20us);
  EXPECT_EQ(options.letter, 'z');
}

TEST(Config, AListOfOneNeedsNoBracketsAndASizeNoQuotes) {
  Options options;
  Config config = make_config(options);
  EXPECT_EQ(errors_of(config, "[server]\nlisten = \"unix:a\"\nquota = 4096\n", Status::kOk), "");
  EXPECT_THAT(options.listen, ElementsAre("unix:a"));
  EXPECT_EQ(options.quota, 4096u);
}

TEST(Config, EveryMistakeIsNamedWithItsLineAndTheGoodOptionsAreSet) {
  Options options;
  Config config = make_config(options);
  const std::string errors = errors_of(config, R"(nmae = "x"
[server]
workers = 65
grace = "5 parsecs"
quota = "16MB"
letter = "zz"
listen = [["a"]]
)");
  EXPECT_THAT(errors, HasSubstr("test.toml:1: nmae: there is no such option"));
  EXPECT_THAT(errors, HasSubstr("test.toml:3: server.workers: must be from 1 to 64"));
  EXPECT_THAT(errors, HasSubstr("test.toml:4: server.grace: must be a time"));
  EXPECT_THAT(errors, HasSubstr("test.toml:5: server.quota: must be a size"));
  EXPECT_THAT(errors, HasSubstr("test.toml:6: server.letter: must be one letter"));
  EXPECT_THAT(errors, HasSubstr("test.toml:7: server.listen: must be a list of single values"));
  EXPECT_EQ(options.workers, 4);
  EXPECT_EQ(options.listen.size(), 2u);
}

TEST(Config, WrongKindsOfValuesAreMistakes) {
  Options options;
  Config config = make_config(options);
  EXPECT_THAT(errors_of(config, "verbose = \"yes\""), HasSubstr("must be true or false"));
  EXPECT_THAT(errors_of(config, "verbose = [true]"), HasSubstr("must be a single value"));
  EXPECT_THAT(errors_of(config, "name = 1979-05-27"), HasSubstr("must be a single value"));
  EXPECT_THAT(errors_of(config, "[server]\nworkers = 1.5"), HasSubstr("must be a whole number"));
  EXPECT_THAT(errors_of(config, "[serverr]\nworkers = 1"),
              HasSubstr("serverr.workers: there is no"));
}

TEST(Config, AFileThatIsNotTomlIsRefusedWithItsLine) {
  Options options;
  Config config = make_config(options);
  EXPECT_THAT(errors_of(config, "verbose = true\nname = \"open"), HasSubstr("test.toml:2:"));
}

TEST(Config, SetTakesOneOptionAndCommasForAList) {
  Options options;
  Config config = make_config(options);
  EXPECT_EQ(config.set("server.workers", "2"), Status::kOk);
  EXPECT_EQ(config.set("server.listen", "unix:a,unix:b"), Status::kOk);
  EXPECT_EQ(config.set("name", "a=b"), Status::kOk);
  EXPECT_EQ(options.workers, 2);
  EXPECT_THAT(options.listen, ElementsAre("unix:a", "unix:b"));
  EXPECT_EQ(options.name, "a=b");
  EXPECT_EQ(config.set("server.workers", "0"), Status::kInvalid);
  EXPECT_EQ(config.set("server", "0"), Status::kInvalid);
}

TEST(Config, TheHelpIsAConfigurationFileOfTheDefaults) {
  Options options;
  Config config = make_config(options);
  const std::string help = config.help();
  EXPECT_THAT(help,
              HasSubstr("[server]\n# where clients connect;\n# several are possible\nlisten = "));
  EXPECT_THAT(help, HasSubstr("quota = \"16MiB\"\n"));

  Options changed = {.name = "",
                     .verbose = true,
                     .workers = 1,
                     .listen = {},
                     .quota = 0,
                     .grace = 0s,
                     .letter = 'x'};
  Config other = make_config(changed);
  EXPECT_EQ(other.load_text(help, "help"), Status::kOk);
  EXPECT_EQ(changed.name, options.name);
  EXPECT_EQ(changed.verbose, options.verbose);
  EXPECT_EQ(changed.workers, options.workers);
  EXPECT_EQ(changed.listen, options.listen);
  EXPECT_EQ(changed.quota, options.quota);
  EXPECT_EQ(changed.grace, options.grace);
  EXPECT_EQ(changed.letter, options.letter);
}

TEST(Config, LoadsAFileAndRefusesOneThatIsNotThere) {
  Options options;
  Config config = make_config(options);
  const std::string path = "config-test-" + std::to_string(::getpid()) + ".toml";
  std::ofstream(path) << "name = \"from a file\"\n";
  EXPECT_EQ(config.load_file(path), Status::kOk);
  EXPECT_EQ(options.name, "from a file");
  ::unlink(path.c_str());
  testing::internal::CaptureStderr();
  EXPECT_EQ(config.load_file(path), Status::kInvalid);
  EXPECT_THAT(testing::internal::GetCapturedStderr(), HasSubstr("No such file"));
}

}  // namespace
}  // namespace farcall
