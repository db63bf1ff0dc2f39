#include "client/twice_mapped.h"

#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <mutex>

#include "base/log.h"

namespace farcall::client {
namespace {

// Places in the file are never used again: it is sparse, and this many bytes last.
constexpr uint64_t kFileBytes = uint64_t{1} << 62;

struct File {
  std::mutex mutex;
  bool made = false;
  int fd = -1;
  ino_t inode = 0;
  uint64_t next = 0;
};

File& file() {
  static File* const instance = new File;  // leaked: see program.h
  return *instance;
}

// Programs that become daemons close descriptors they don't know; then the number may be another
// file's.
bool is_ours(const File& made) {
  struct stat status = {};
  return made.fd >= 0 && ::fstat(made.fd, &status) == 0 && status.st_ino == made.inode;
}

// A piece of the file; -1: there is none.
int take(size_t bytes, uint64_t* offset) {
  File& shared = file();
  const std::lock_guard lock(shared.mutex);
  if (!shared.made || !is_ours(shared)) {
    shared.made = true;
    shared.next = 0;
    rlimit limit = {};
    // A file larger than the limit is a signal, not an error.
    if (::getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY) return -1;
    shared.fd = ::memfd_create("farcall-host-memory", MFD_CLOEXEC);
    struct stat status = {};
    if (shared.fd < 0 || ::fstat(shared.fd, &status) != 0 ||
        ::ftruncate(shared.fd, off_t(kFileBytes)) != 0) {
      log::warning("no file for host memory that kernels can see");
      if (shared.fd >= 0) ::close(shared.fd);
      shared.fd = -1;
      return -1;
    }
    shared.inode = status.st_ino;
  }
  if (bytes > kFileBytes - shared.next) return -1;
  *offset = shared.next;
  shared.next += bytes;
  return shared.fd;
}

}  // namespace

size_t page_bytes() {
  static const size_t bytes = size_t(::sysconf(_SC_PAGESIZE));
  return bytes;
}

size_t round_to_pages(size_t bytes) {
  return (bytes + page_bytes() - 1) / page_bytes() * page_bytes();
}

std::unique_ptr<TwiceMapped> TwiceMapped::make(uint64_t wanted, size_t bytes) {
  std::unique_ptr<TwiceMapped> made(new TwiceMapped);
  made->bytes_ = round_to_pages(bytes);
  if (made->bytes_ < bytes) return nullptr;
  const int fd = take(made->bytes_, &made->in_file_);
  if (fd < 0) return nullptr;
  const auto map = [&](uint64_t where) {
    void* const hint = reinterpret_cast<void*>(where);
    void* const memory = ::mmap(hint, made->bytes_, PROT_READ | PROT_WRITE,
                                MAP_SHARED | MAP_NORESERVE | (where != 0 ? MAP_FIXED_NOREPLACE : 0),
                                fd, off_t(made->in_file_));
    if (memory == MAP_FAILED) return static_cast<std::byte*>(nullptr);
    if (where != 0 && memory != hint) {  // a kernel that does not know the flag
      ::munmap(memory, made->bytes_);
      return static_cast<std::byte*>(nullptr);
    }
    return static_cast<std::byte*>(memory);
  };
  if ((made->program_ = map(wanted)) == nullptr) return nullptr;
  if ((made->ours_ = map(0)) == nullptr) return nullptr;
  return made;
}

TwiceMapped::~TwiceMapped() {
  if (ours_ != nullptr) {
    (void)::madvise(ours_, bytes_, MADV_REMOVE);
    ::munmap(ours_, bytes_);
  }
  if (program_ != nullptr) ::munmap(program_, bytes_);
}

bool TwiceMapped::protect(size_t offset, size_t bytes, int protection) const {
  return ::mprotect(program_ + offset, bytes, protection) == 0;
}

std::optional<std::pair<size_t, size_t>> TwiceMapped::touched(size_t offset) const {
  File& shared = file();
  const std::lock_guard lock(shared.mutex);
  if (offset >= bytes_) return std::nullopt;
  if (!is_ours(shared)) return std::pair(offset, bytes_);  // nobody knows
  const off_t begin = ::lseek(shared.fd, off_t(in_file_ + offset), SEEK_DATA);
  if (begin < 0 || uint64_t(begin) >= in_file_ + bytes_) return std::nullopt;
  const off_t end = ::lseek(shared.fd, begin, SEEK_HOLE);
  return std::pair(size_t(uint64_t(begin) - in_file_),
                   end < 0 ? bytes_ : std::min(size_t(uint64_t(end) - in_file_), bytes_));
}

void TwiceMapped::keep_from_children() const {
  (void)::madvise(program_, bytes_, MADV_DONTFORK);
  (void)::madvise(ours_, bytes_, MADV_DONTFORK);
}

}  // namespace farcall::client
