#include "server/output_capture.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <vector>

#include "base/log.h"

namespace farcall::server {
namespace {

constexpr size_t kPieceBytes = 64 * 1024;

}  // namespace

Result<UniqueFd> OutputCapture::redirect(int fd) {
  UniqueFd file(::memfd_create("farcall-output", MFD_CLOEXEC));
  // O_APPEND: whoever else holds the description can't leave holes.
  if (!file || ::fcntl(file.get(), F_SETFL, O_APPEND) != 0 || ::dup2(file.get(), fd) < 0) {
    log::error("cannot capture kernels' output: {}", std::strerror(errno));
    return Status::kQuota;
  }
  return file;
}

void OutputCapture::collect(const std::function<void(std::string_view)>& sink) {
  if (!file_) return;
  const std::lock_guard lock(mutex_);
  std::fflush(stdout);
  struct stat now = {};
  if (::fstat(file_.get(), &now) != 0 || now.st_size <= collected_) return;
  std::vector<char> piece(std::min<size_t>(kPieceBytes, size_t(now.st_size - collected_)));
  while (collected_ < now.st_size) {
    const size_t want = std::min<size_t>(piece.size(), size_t(now.st_size - collected_));
    const ssize_t got = ::pread(file_.get(), piece.data(), want, collected_);
    if (got <= 0) break;
    sink({piece.data(), size_t(got)});
    collected_ += got;
  }
  // The memory goes back; offsets stay, so that a writer at work meanwhile loses nothing.
  ::fallocate(file_.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, collected_);
}

}  // namespace farcall::server
