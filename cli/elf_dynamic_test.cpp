// The files looked at are made by the linker when this test is built (CMakeLists.txt):
// FIXTURES/runpath and rpath are programs that need a libcudart.so.13 which lies in FIXTURES/lib.
#include "cli/elf_dynamic.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "cli/doctor.h"

namespace farcall::cli {
namespace {
namespace fs = std::filesystem;

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

const fs::path kFixtures = FARCALL_CLI_FIXTURES;

TEST(ReadElfDynamic, ListsNeededLibrariesAndExpandsOrigin) {
  const auto elf = read_elf_dynamic(kFixtures / "with_rpath");
  ASSERT_TRUE(elf);
  EXPECT_TRUE(elf->is_64_bit);
  EXPECT_TRUE(elf->has_interpreter);
  EXPECT_THAT(elf->needed, Contains("libcudart.so.13"));
  EXPECT_THAT(elf->rpath, ElementsAre((kFixtures / "lib").string()));
  EXPECT_THAT(elf->runpath, IsEmpty());
}

TEST(ReadElfDynamic, TellsARunpathFromAnRpath) {
  const auto elf = read_elf_dynamic(kFixtures / "with_runpath");
  ASSERT_TRUE(elf);
  EXPECT_THAT(elf->rpath, IsEmpty());
  EXPECT_THAT(elf->runpath, ElementsAre((kFixtures / "lib").string()));
}

TEST(ReadElfDynamic, RefusesWhatIsNoElfFile) {
  EXPECT_FALSE(read_elf_dynamic("/etc/passwd"));
  EXPECT_FALSE(read_elf_dynamic("/no/such/file"));
  EXPECT_FALSE(read_elf_dynamic("/"));
}

TEST(ReadElfDynamic, SurvivesAFileCutAnywhere) {
  std::ifstream whole(kFixtures / "with_rpath", std::ios::binary);
  const std::string bytes((std::istreambuf_iterator<char>(whole)),
                          std::istreambuf_iterator<char>());
  const fs::path cut = fs::path(testing::TempDir()) / "farcall-cut-elf";
  for (size_t length = 0; length < bytes.size(); length += 1 + length / 16) {
    std::ofstream(cut, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(length));
    read_elf_dynamic(cut);
  }
  fs::remove(cut);
}

TEST(FindHiddenLibraries, AnRpathHidesOursAndARunpathDoesNot) {
  const std::vector<HiddenLibrary> hidden = find_hidden_libraries(kFixtures / "with_rpath");
  ASSERT_THAT(hidden, SizeIs(1));
  EXPECT_EQ(hidden[0].needed, "libcudart.so.13");
  EXPECT_EQ(hidden[0].found, kFixtures / "lib/libcudart.so.13");
  EXPECT_EQ(hidden[0].because_of, kFixtures / "with_rpath");
  EXPECT_THAT(find_hidden_libraries(kFixtures / "with_runpath"), IsEmpty());
}

TEST(FindHiddenLibraries, FollowsALibraryThatInheritsTheRpath) {
  const std::vector<HiddenLibrary> hidden = find_hidden_libraries(kFixtures / "through_library");
  ASSERT_THAT(hidden, SizeIs(1));
  EXPECT_EQ(hidden[0].because_of, kFixtures / "through_library");
}

TEST(CheckProgram, SaysWhichRpathToRemove) {
  const std::vector<Finding> findings =
      check_program((kFixtures / "with_rpath").string(), {kFixtures / "lib", ""});
  ASSERT_THAT(findings, SizeIs(1));
  EXPECT_FALSE(findings[0].good);
  EXPECT_THAT(findings[0].what, HasSubstr("RPATH"));
  EXPECT_THAT(findings[0].mend,
              HasSubstr("patchelf --remove-rpath " + (kFixtures / "with_rpath").string()));
}

TEST(CheckProgram, IsContentWithARunpath) {
  const std::vector<Finding> findings =
      check_program((kFixtures / "with_runpath").string(), {kFixtures / "lib", ""});
  ASSERT_THAT(findings, SizeIs(1));
  EXPECT_TRUE(findings[0].good) << findings[0].what;
}

TEST(CheckProgram, MissesARuntimeVersionThatWeDoNotHave) {
  const std::vector<Finding> findings =
      check_program((kFixtures / "with_runpath").string(), {kFixtures, ""});
  ASSERT_THAT(findings, SizeIs(1));
  EXPECT_THAT(findings[0].what, HasSubstr("it needs libcudart.so.13, which we do not have"));
}

TEST(CheckProgram, LooksInPath) {
  EXPECT_TRUE(check_program("env", {"", ""})[0].good);
  EXPECT_FALSE(check_program("no-such-program-at-all", {"", ""})[0].good);
}

TEST(CheckInstallation, NamesTheFolderThatIsMissing) {
  const std::vector<Finding> findings = check_installation({"/no/such/folder", ""});
  ASSERT_THAT(findings, SizeIs(1));
  EXPECT_THAT(findings[0].what, HasSubstr("/no/such/folder"));
}

}  // namespace
}  // namespace farcall::cli
