// The options of cuModuleLoadDataEx, cuLibraryLoadData and cuLinkCreate: an array of names and one
// of values, where a value is a number in the pointer itself. They travel to the server, which has
// buffers of its own for the logs; what it writes there comes back into the program's.
#pragma once

#include <cuda.h>

#include <cstddef>
#include <cstdint>

#include "client/api.h"
#include "rpc/schema/calls.capnp.h"

namespace farcall::client {

class FARCALL_API JitOptions {
 public:
  JitOptions() = default;
  // The arrays must outlive this object: the lengths of logs are written into `values`.
  JitOptions(unsigned count, CUjit_option* options, void** values);

  // Everything but the logs; then how much room there is for these.
  template <class Args>
  void write(Args& args) const {
    if (const unsigned plain = plain_count(); plain > 0) write_plain(args.initOptions(plain));
    if (error_.text != nullptr) args.setErrorLogBytes(room(error_));
    if (info_.text != nullptr) args.setInfoLogBytes(room(info_));
  }
  template <class Args>
  void write_without_logs(Args& args) const {
    if (const unsigned plain = plain_count(); plain > 0) write_plain(args.initOptions(plain));
  }
  void deliver(kj::StringPtr error, kj::StringPtr info, float wall_time) const;

 private:
  struct Log {
    char* text = nullptr;
    size_t bytes = 0;
    void** length = nullptr;  // where the program finds how much was written
  };
  static uint32_t room(const Log& log);
  static void copy(const Log& to, kj::StringPtr from);
  unsigned plain_count() const;
  void write_plain(capnp::List<rpc::schema::JitOption>::Builder to) const;

  unsigned count_ = 0;
  const CUjit_option* options_ = nullptr;
  void** values_ = nullptr;
  Log error_, info_;
  void** wall_time_ = nullptr;
};

}  // namespace farcall::client
