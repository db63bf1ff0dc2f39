#include "cli/run.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace farcall::cli {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(SplitRunArguments, TakesEverythingAfterTheDoubleDashAsTheProgram) {
  const SplitArguments split =
      split_run_arguments({"--server", "tcp://a:1", "--stats", "--", "prog", "--server", "x"});
  EXPECT_THAT(split.options, ElementsAre("--server", "tcp://a:1", "--stats"));
  EXPECT_THAT(split.program, ElementsAre("prog", "--server", "x"));
}

TEST(SplitRunArguments, NeedsNoDoubleDash) {
  const SplitArguments split = split_run_arguments({"--softgpu", "prog", "-x", "--", "y"});
  EXPECT_THAT(split.options, ElementsAre("--softgpu"));
  EXPECT_THAT(split.program, ElementsAre("prog", "-x", "--", "y"));
}

TEST(SplitRunArguments, OnlyTheFirstDoubleDashIsOurs) {
  EXPECT_THAT(split_run_arguments({"--", "--", "x"}).program, ElementsAre("--", "x"));
}

TEST(SplitRunArguments, OptionsWithoutAProgramLeaveItEmpty) {
  const SplitArguments split = split_run_arguments({"--stats=out.json", "--server"});
  EXPECT_THAT(split.options, ElementsAre("--stats=out.json", "--server"));
  EXPECT_THAT(split.program, IsEmpty());
}

TEST(LibraryPath, PutsOurFoldersBeforeTheUsers) {
  EXPECT_EQ(library_path({"/a", "/b"}, "/c:/d"), "/a:/b:/c:/d");
  EXPECT_EQ(library_path({"/a"}, ""), "/a");  // an empty entry would mean the working directory
  EXPECT_EQ(library_path({"/a"}, nullptr), "/a");
}

}  // namespace
}  // namespace farcall::cli
