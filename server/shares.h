// Memory that clients of one server pass to each other: a name of 16 random bytes stands for a
// descriptor that the driver gave out here. Whoever knows the name gets the descriptor, through a
// Unix socket of that name (in the abstract namespace, so nothing is left behind), as long as this
// worker lives. Only processes of the same user are answered: the other workers.
#pragma once

#include <array>
#include <cstddef>
#include <mutex>
#include <thread>
#include <vector>

#include "base/unique_fd.h"

namespace farcall::server {

class Shares {
 public:
  using Name = std::array<std::byte, 16>;

  Shares() = default;
  ~Shares();
  Shares(const Shares&) = delete;
  Shares& operator=(const Shares&) = delete;

  // False: too many, or the system refuses.
  bool offer(UniqueFd file, Name* out);
  // Of any worker's on this machine. None: nobody offers it.
  static UniqueFd take(const Name& name);

 private:
  struct Offer {
    UniqueFd listener, file;
  };
  void serve();

  std::mutex mutex_;  // guards what follows
  std::vector<Offer> offers_;
  UniqueFd wake_;  // an eventfd: there are more offers, or it ends
  bool ending_ = false;
  std::thread thread_;
};

}  // namespace farcall::server
