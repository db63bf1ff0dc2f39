// Where our libraries lie, found from where this executable lies: the same command works in a build
// folder and after `cmake --install`, wherever that put it.
#pragma once

#include <filesystem>
#include <optional>
#include <vector>

namespace farcall::cli {

struct InstallPaths {
  std::filesystem::path stubs;    // libcuda.so.1, libcudart.so.N, libfarcall.so
  std::filesystem::path softgpu;  // the software device's libcuda.so.1
};

// For an executable in `bin`: the folders that exist, or, if none does, those that a build folder
// would have (so that messages can name them).
InstallPaths find_install_paths(const std::filesystem::path& bin);
// For this process.
InstallPaths find_install_paths();

// The folder of NVIDIA's own libcudart.so.N, which programs built with `-cudart shared` need on the
// software device: $CUDA_HOME, the toolkit we were built with, /usr/local/cuda. nullopt: none has
// one; the system's default may.
std::optional<std::filesystem::path> find_nvidia_cudart();

}  // namespace farcall::cli
