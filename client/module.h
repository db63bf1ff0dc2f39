// Device code on its way to the server: CUmodule and CUlibrary, their kernels and variables.
//
// The client reads the image itself, so it knows which kernels and variables there are and how long
// a kernel's parameters are without asking. Of a fat binary it sends only the image the server's
// device would take; small images ride along with the load, large ones are offered by their SHA-256
// and sent only if the server's store lacks them. Fat binaries, which a compiler made, load without
// waiting; PTX and cubins that the program hands over are waited for, because CUDA reports their
// errors at the call.
#pragma once

#include <cuda.h>

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "client/api.h"
#include "client/jit_options.h"
#include "client/session.h"
#include "image/kernel_params.h"

namespace farcall::client {

class Module;

// A kernel as launches see it. Lives as long as its module; found by handle in constant time.
struct Kernel {
  rpc::HandleId id = 0;
  const image::Kernel* layout = nullptr;  // owned by the module
  Module* module = nullptr;
  // What the runtime API calls it: the host function registered for it, or null.
  std::atomic<const void*> symbol = nullptr;
};

class FARCALL_API Module {
 public:
  ~Module();

  // Results are CUresults. `type`: kModule or kLibrary. A library without a fitting image loads and
  // says so at cuLibraryGetKernel, as the driver does; a module fails at once.
  static int load(Session& session, const void* code, rpc::HandleType type, const JitOptions& jit,
                  Module** out);
  static Module* find(rpc::HandleId id);
  // Unloads on the server and forgets. The pointer is dead afterwards.
  static int unload(Session& session, Module* module);

  rpc::HandleId id() const { return id_; }
  // `type`: kFunction of a kModule, kKernel of a kLibrary.
  int kernel(Session& session, std::string_view name, Kernel** out);
  // Address and size of a variable on the server; asked once for each context (a library is loaded
  // into all of them) and reset.
  int variable(Session& session, std::string_view name, bool managed, uint64_t* address,
               uint64_t* bytes);
  const image::Module& symbols() const { return symbols_; }
  bool symbols_known() const { return symbols_known_; }

 private:
  Module() = default;
  struct Upload;
  int choose_images(Session& session, const void* code, Upload* upload);
  int send(Session& session, Upload& upload, const JitOptions& jit);

  rpc::HandleId id_ = 0;
  int load_result_ = 0;  // of a library whose load was put off
  image::Module symbols_;
  bool symbols_known_ = false;
  std::mutex mutex_;  // guards the two maps
  std::unordered_map<std::string, std::unique_ptr<Kernel>> kernels_;
  struct Variable {
    uint64_t address, bytes;
  };
  std::map<std::pair<rpc::HandleId, std::string>, Variable> variables_;  // context and name
  unsigned resets_ = 0;  // Contexts::resets() when the variables were asked for
};

// The kernel behind a CUfunction or CUkernel; nullptr: no such handle. Lock-free.
FARCALL_API Kernel* find_kernel(rpc::HandleId id);

}  // namespace farcall::client
