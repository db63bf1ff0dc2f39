#include "server/session_page.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <new>

#include "base/log.h"

namespace farcall::server {

SessionPageMap::SessionPageMap(SessionPageMap&& other) noexcept
    : page_(std::exchange(other.page_, nullptr)) {}

SessionPageMap& SessionPageMap::operator=(SessionPageMap&& other) noexcept {
  std::swap(page_, other.page_);
  return *this;
}

SessionPageMap::~SessionPageMap() {
  if (page_ != nullptr) ::munmap(page_, kSessionPageBytes);
}

Result<SessionPageMap> SessionPageMap::create(uint64_t session_id, std::span<const std::byte> hello,
                                              UniqueFd* memfd) {
  UniqueFd file(::memfd_create("farcall-session", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  const auto fail = [](const char* what) {
    log::error("cannot make a session's shared page: {}: {}", what, std::strerror(errno));
    return Status::kQuota;
  };
  if (!file) return fail("memfd_create");
  if (::ftruncate(file.get(), off_t(kSessionPageBytes + hello.size())) != 0) {
    return fail("ftruncate");
  }

  // Zero pages are a valid SessionPage but for these two, which nobody reads concurrently yet.
  SessionPage first;
  first.session_id = session_id;
  first.hello_bytes = hello.size();
  constexpr size_t kFixedBytes = offsetof(SessionPage, calls);
  if (::pwrite(file.get(), &first, kFixedBytes, 0) != ssize_t(kFixedBytes) ||
      ::pwrite(file.get(), hello.data(), hello.size(), kSessionPageBytes) !=
          ssize_t(hello.size())) {
    return fail("write");
  }
  // A worker that shrinks the file would kill the daemon with SIGBUS.
  if (::fcntl(file.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
    return fail("seal");
  }
  void* page = ::mmap(nullptr, kSessionPageBytes, PROT_READ, MAP_SHARED, file.get(), 0);
  if (page == MAP_FAILED) return fail("mmap");
  *memfd = std::move(file);
  return SessionPageMap(static_cast<SessionPage*>(page));
}

Result<SessionPageMap> SessionPageMap::open(UniqueFd memfd, std::vector<capnp::word>* hello) {
  const auto fail = [](const char* what) {
    log::error("the session's shared page is unusable: {}", what);
    return Status::kInvalid;
  };
  struct stat file = {};
  if (::fstat(memfd.get(), &file) != 0) return fail(std::strerror(errno));
  if (file.st_size < off_t(kSessionPageBytes)) return fail("too small");
  void* mapped =
      ::mmap(nullptr, kSessionPageBytes, PROT_READ | PROT_WRITE, MAP_SHARED, memfd.get(), 0);
  if (mapped == MAP_FAILED) return fail(std::strerror(errno));
  SessionPageMap map(static_cast<SessionPage*>(mapped));
  const uint64_t bytes = map.page().hello_bytes;
  if (bytes != uint64_t(file.st_size) - kSessionPageBytes) return fail("wrong size");
  *hello = std::vector<capnp::word>(bytes / sizeof(capnp::word));
  if (bytes % sizeof(capnp::word) != 0 ||
      ::pread(memfd.get(), hello->data(), bytes, kSessionPageBytes) != ssize_t(bytes)) {
    return fail("short read");
  }
  return map;
}

uint64_t SessionPageMap::calls() const {
  return page_ == nullptr ? 0 : page_->calls.load(std::memory_order_relaxed);
}

SessionPageMap::End SessionPageMap::end() const {
  if (page_ == nullptr) return {};
  const size_t bytes = page_->reason_bytes.load(std::memory_order_acquire);
  if (bytes == 0) return {};
  const std::string copy(page_->reason, std::min(bytes, SessionPage::kReasonBytes));
  return {printable(copy, SessionPage::kReasonBytes),
          page_->faulted.load(std::memory_order_relaxed) != 0};
}

void SessionPageMap::set_end(std::string_view reason, bool faulted) {
  if (page_ == nullptr || page_->reason_bytes.load(std::memory_order_relaxed) != 0) return;
  const size_t bytes = std::min(reason.size(), SessionPage::kReasonBytes);
  std::memcpy(page_->reason, reason.data(), bytes);
  page_->faulted.store(faulted ? 1 : 0, std::memory_order_relaxed);
  page_->reason_bytes.store(uint32_t(bytes), std::memory_order_release);
}

std::string printable(std::string_view text, size_t length_max) {
  std::string out(text.substr(0, length_max));
  std::replace_if(
      out.begin(), out.end(), [](unsigned char c) { return c < 0x20 || c == 0x7f; }, '?');
  if (text.size() > length_max) out += "...";
  return out;
}

}  // namespace farcall::server
