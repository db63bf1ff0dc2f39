#include "cli/install_paths.h"

#include <cstdlib>
#include <string>
#include <system_error>

namespace farcall::cli {
namespace fs = std::filesystem;
namespace {

constexpr const char* kDriverFile = "libcuda.so.1";

bool has_file(const fs::path& folder, const std::string& name) {
  std::error_code ignored;
  return fs::exists(folder / name, ignored);
}

fs::path first_with_driver(const std::vector<fs::path>& candidates) {
  for (const fs::path& folder : candidates) {
    if (has_file(folder, kDriverFile)) return fs::weakly_canonical(folder);
  }
  return candidates.front().lexically_normal();
}

bool has_cudart(const fs::path& folder) {
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder, error)) {
    if (entry.path().filename().string().starts_with("libcudart.so.")) return true;
  }
  return false;
}

}  // namespace

InstallPaths find_install_paths(const fs::path& bin) {
  const fs::path build = bin / "../lib";
  const fs::path installed = bin / ".." / FARCALL_INSTALL_LIBDIR;
  return {first_with_driver({build / "farcall", installed / "farcall"}),
          first_with_driver(
              {build / "softgpu", build / "farcall/softgpu", installed / "farcall/softgpu"})};
}

InstallPaths find_install_paths() {
  std::error_code ignored;
  return find_install_paths(fs::read_symlink("/proc/self/exe", ignored).parent_path());
}

std::optional<fs::path> find_nvidia_cudart() {
  std::vector<fs::path> candidates;
  if (const char* home = std::getenv("CUDA_HOME"); home != nullptr && *home != '\0') {
    candidates.insert(candidates.end(), {fs::path(home) / "lib64", fs::path(home) / "lib"});
  }
  candidates.insert(candidates.end(), {FARCALL_BUILD_CUDART_DIR, "/usr/local/cuda/lib64"});
  for (const fs::path& folder : candidates) {
    if (has_cudart(folder)) return folder;
  }
  return std::nullopt;
}

}  // namespace farcall::cli
