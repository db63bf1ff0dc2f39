// Contexts as the client keeps them: which device each belongs to, primary contexts and their
// reference counts, and each thread's stack (thread_state()). Changing the current context costs
// nothing; the server learns of it with the next call of that thread.
#pragma once

#include <cuda.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <mutex>
#include <optional>
#include <unordered_map>

#include "client/api.h"
#include "client/session.h"

namespace farcall::client {

constexpr int kDevicesMax = 16;

class FARCALL_API Contexts {
 public:
  // The device of a live context, primary or created; nullopt: no such context.
  std::optional<int> device(Session& session, rpc::HandleId context) const;
  void add(rpc::HandleId context, int device, unsigned flags);
  bool remove(rpc::HandleId context);
  // How the program wants to wait in it; the server need not know.
  unsigned flags(Session& session, rpc::HandleId context) const;
  void set_flags(Session& session, rpc::HandleId context, unsigned flags);
  // cuCtxAttach of a created context, and cuCtxDetach; true: nobody is attached any more.
  void attach(rpc::HandleId context);
  bool detach(rpc::HandleId context);

  struct Primary {
    unsigned references = 0;
    unsigned flags = 0;
    bool active = false;
    bool held = false;  // by the runtime API, which never lets go of it
  };
  Primary primary(int device) const;
  void retain_primary(int device);
  bool release_primary(int device);  // true: nobody uses it any more
  void hold_primary(int device);     // the runtime API may use it from now on
  void set_primary_flags(int device, unsigned flags);
  void touch_primary(int device);  // the same, and activates it
  // How often a primary context was reset: what is known of modules' memory from before is stale.
  unsigned resets() const { return resets_.load(std::memory_order_acquire); }
  void forget_primary(int device);

 private:
  mutable std::mutex mutex_;
  struct Created {
    int device;
    unsigned flags;
    unsigned attached = 1;
  };
  std::unordered_map<rpc::HandleId, Created> created_;
  std::array<Primary, kDevicesMax> primaries_;
  std::atomic<unsigned> resets_ = 0;
};

FARCALL_API Contexts& contexts();

// Resets the device's primary context on the server and forgets what was in it. cudaDeviceReset
// waits for that; the release of the last reference, which the runtime makes at exit, does not.
FARCALL_API int reset_primary_context(Session& session, int device, bool wait);

}  // namespace farcall::client
