// `farcall devices`: what a program would see.
#pragma once

#include <filesystem>
#include <string>

namespace farcall::cli {

// Lists the devices of the libcuda.so.1 in `folder` (our stubs', or softgpu's); `where` names it in
// the first line. Returns an exit code.
int list_devices(const std::filesystem::path& folder, const std::string& where);

}  // namespace farcall::cli
