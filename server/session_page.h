// What a daemon and one of its workers share: a page of memory in a memfd, and behind it the hello
// that the client sent. The worker counts into the page and says there how its session ends, so
// that the daemon can log it even of a worker that was killed.
//
// The worker is not trusted (it decodes what strangers send): the daemon maps only the page, only
// for reading, of a file that is sealed against shrinking, and copies before it looks.
#pragma once

#include <capnp/common.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "base/unique_fd.h"

namespace farcall::server {

struct SessionPage {
  static constexpr size_t kReasonBytes = 512;

  uint64_t session_id = 0;
  uint64_t hello_bytes = 0;                // the message's words, after the page
  std::atomic<uint64_t> calls = 0;         // made so far
  std::atomic<uint32_t> reason_bytes = 0;  // not 0: the worker has said how the session ended
  std::atomic<uint32_t> faulted = 0;       // 1: and it was no ordinary end
  char reason[kReasonBytes] = {};
};
constexpr size_t kSessionPageBytes = 4096;
static_assert(sizeof(SessionPage) <= kSessionPageBytes);

// A mapping of the page; movable, unmapped by its destructor.
class SessionPageMap {
 public:
  SessionPageMap() = default;
  SessionPageMap(SessionPageMap&& other) noexcept;
  SessionPageMap& operator=(SessionPageMap&& other) noexcept;
  ~SessionPageMap();

  // The daemon's side: makes the memfd, to be inherited by the worker.
  static Result<SessionPageMap> create(uint64_t session_id, std::span<const std::byte> hello,
                                       UniqueFd* memfd);
  // The worker's side: maps the page for writing and copies the hello.
  static Result<SessionPageMap> open(UniqueFd memfd, std::vector<capnp::word>* hello);

  uint64_t calls() const;
  struct End {
    std::string reason;
    bool faulted = false;
  };
  // How the session ended in the worker's own words; an empty reason if it never said.
  End end() const;

  // The worker's side. Only the first sentence counts.
  SessionPage& page() { return *page_; }
  void set_end(std::string_view reason, bool faulted);

 private:
  explicit SessionPageMap(SessionPage* page) : page_(page) {}

  SessionPage* page_ = nullptr;
};

// What strangers send goes to the log only without control characters and in bounded length.
std::string printable(std::string_view text, size_t length_max = 200);

}  // namespace farcall::server
