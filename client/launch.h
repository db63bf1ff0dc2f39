// Kernel launches of both APIs: limits that need no GPU are checked here, parameters are gathered
// by the kernel's own layout, and the call leaves without waiting.
#pragma once

#include <cuda.h>

#include <cstdint>

#include "client/api.h"
#include "client/module.h"
#include "client/session.h"
#include "rpc/schema/calls.capnp.h"

namespace farcall::client {

struct LaunchConfig {
  uint32_t grid[3] = {1, 1, 1};
  uint32_t block[3] = {1, 1, 1};
  uint32_t shared_bytes = 0;
  rpc::HandleId stream = 0;
  bool cooperative = false;
  const CUlaunchAttribute* attributes = nullptr;
  unsigned attribute_count = 0;
};

template <class Args>
void write_shape(const LaunchConfig& config, Args& args) {
  args.setGridX(config.grid[0]);
  args.setGridY(config.grid[1]);
  args.setGridZ(config.grid[2]);
  args.setBlockX(config.block[0]);
  args.setBlockY(config.block[1]);
  args.setBlockZ(config.block[2]);
  args.setSharedBytes(config.shared_bytes);
}

// A kernel's parameters as one block, at its own offsets.
class KernelParams {
 public:
  // Either `params`, one pointer per parameter, or the driver API's `extra` list; what they point
  // to must outlive this object. A CUresult.
  int take(const Kernel& kernel, void** params, void** extra);
  size_t bytes() const { return bytes_; }
  void write(void* to) const;

 private:
  const image::Kernel* layout_ = nullptr;  // null: they are packed already
  void** pointers_ = nullptr;
  const void* packed_ = nullptr;
  size_t bytes_ = 0;
};

// What can be said of a launch without the GPU. A CUresult.
int check_launch(Session& session, const Kernel& kernel, const LaunchConfig& config);

// Launch attributes cross if their values hold no pointer or handle. A CUresult.
int check_attributes(const LaunchConfig& config);
void write_attributes(const LaunchConfig& config,
                      capnp::List<rpc::schema::LaunchAttribute>::Builder to);

// Either `params`, one pointer per parameter, or the driver API's `extra` list. A CUresult.
FARCALL_API int launch(Session& session, const Kernel& kernel, const LaunchConfig& config,
                       void** params, void** extra);

}  // namespace farcall::client
