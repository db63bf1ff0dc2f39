// What the operator may say to gpu-server: flags, or a TOML file whose keys are the flags' names
// (`max-clients = 8`). A flag wins over the file. `gpu-server --help` is the reference.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "base/log.h"
#include "transport/url.h"

namespace farcall::server {

// What a worker is told about the CUDA it shall load; passed through by the daemon, which loads
// none.
struct CudaOptions {
  bool softgpu = false;    // the bundled software device
  std::string driver;      // path of a libcuda.so.1; empty: the system's
  std::string cudart_dir;  // folder of NVIDIA's libcudart.so.N; empty: look in the usual places
};

struct ServerOptions {
  std::vector<transport::Url> listen;
  CudaOptions cuda;
  std::string worker;       // path of gpu-worker; empty: beside gpu-server
  std::string image_store;  // empty: below $XDG_RUNTIME_DIR, or a private folder
  uint64_t image_store_bytes_max = 0;
  int max_clients = 0;
  int max_half_open = 0;
  std::chrono::milliseconds hello_timeout{};
  std::chrono::milliseconds drain_timeout{};
  int ready_fd = -1;
  log::Level log_level = log::Level::kInfo;
};

// nullopt: nothing to run, exit with *exit_code (--help, --version, or a mistake already printed).
std::optional<ServerOptions> parse_options(int argc, const char* const* argv, int* exit_code);

// Loopback unless told otherwise: whoever can connect can run code on the GPU.
constexpr const char* kDefaultListenUrl = "tcp://127.0.0.1:7117";

}  // namespace farcall::server
