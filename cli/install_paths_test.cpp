#include "cli/install_paths.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>

namespace farcall::cli {
namespace {
namespace fs = std::filesystem;

class InstallPathsTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = testing::TempDir() + "farcall-paths-XXXXXX";
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    root_ = fs::canonical(pattern);
    fs::create_directories(root_ / "bin");
  }
  void TearDown() override { fs::remove_all(root_); }

  void make_driver(const fs::path& folder) {
    fs::create_directories(root_ / folder);
    std::ofstream(root_ / folder / "libcuda.so.1") << "x";
  }

  fs::path root_;
};

TEST_F(InstallPathsTest, FindsTheFoldersOfABuildTree) {
  make_driver("lib/farcall");
  make_driver("lib/softgpu");
  const InstallPaths paths = find_install_paths(root_ / "bin");
  EXPECT_EQ(paths.stubs, root_ / "lib/farcall");
  EXPECT_EQ(paths.softgpu, root_ / "lib/softgpu");
}

TEST_F(InstallPathsTest, FindsTheFoldersOfAnInstalledTree) {
  make_driver(fs::path(FARCALL_INSTALL_LIBDIR) / "farcall");
  make_driver(fs::path(FARCALL_INSTALL_LIBDIR) / "farcall/softgpu");
  const InstallPaths paths = find_install_paths(root_ / "bin");
  EXPECT_EQ(paths.stubs, root_ / FARCALL_INSTALL_LIBDIR / "farcall");
  EXPECT_EQ(paths.softgpu, root_ / FARCALL_INSTALL_LIBDIR / "farcall/softgpu");
}

TEST_F(InstallPathsTest, NamesAFolderForMessagesWhenThereIsNone) {
  EXPECT_EQ(find_install_paths(root_ / "bin").stubs, root_ / "lib/farcall");
}

TEST_F(InstallPathsTest, CudaHomeWinsWhenItHasARuntime) {
  fs::create_directories(root_ / "toolkit/lib");
  std::ofstream(root_ / "toolkit/lib/libcudart.so.13") << "x";
  ::setenv("CUDA_HOME", (root_ / "toolkit").c_str(), 1);
  EXPECT_EQ(find_nvidia_cudart(), root_ / "toolkit/lib");
  ::unsetenv("CUDA_HOME");
}

}  // namespace
}  // namespace farcall::cli
