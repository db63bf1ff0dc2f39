#include "softgpu/driver/shared_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "base/log.h"

namespace farcall::softgpu {
namespace {

constexpr uint64_t kPage = 4096;
constexpr char kMagic[16] = "farcall-softgpu";
constexpr int kSeals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;

struct LastPage {
  char magic[sizeof(kMagic)];
  uint64_t version;
  SharedFile::Label label;
};

uint64_t random_number() {
  uint64_t number = 0;
  // Eight bytes never come in parts; a kernel without the call leaves a number that is merely not
  // random.
  if (getrandom(&number, sizeof(number), 0) != sizeof(number)) number ^= uint64_t(getpid()) << 32;
  return number | 1;
}

}  // namespace

CUresult SharedFile::create(Label label, uint64_t pages, SharedFile* out) {
  SharedFile file;
  file.fd_.reset(memfd_create("farcall-softgpu", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  LastPage last = {};
  std::memcpy(last.magic, kMagic, sizeof(kMagic));
  last.version = 1;
  label.id = random_number();
  last.label = label;
  if (!file.fd_ || ftruncate(file.fd(), static_cast<off_t>(pages + kPage)) != 0 ||
      pwrite(file.fd(), &last, sizeof(last), static_cast<off_t>(pages)) != sizeof(last) ||
      fcntl(file.fd(), F_ADD_SEALS, kSeals) != 0) {
    log::warning("cannot make shareable memory: {}", std::strerror(errno));
    return errno == ENOMEM ? CUDA_ERROR_OUT_OF_MEMORY : CUDA_ERROR_OPERATING_SYSTEM;
  }
  file.label_ = label;
  file.pages_ = pages;
  *out = std::move(file);
  return CUDA_SUCCESS;
}

CUresult SharedFile::adopt(int fd, Kind kind, SharedFile* out) {
  struct stat status;
  LastPage last = {};
  const int seals = fcntl(fd, F_GET_SEALS);
  if (seals < 0 || (seals & F_SEAL_SHRINK) == 0 || fstat(fd, &status) != 0 ||
      status.st_size < static_cast<off_t>(2 * kPage) || status.st_size % kPage != 0) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  const uint64_t pages = static_cast<uint64_t>(status.st_size) - kPage;
  if (pread(fd, &last, sizeof(last), static_cast<off_t>(pages)) != sizeof(last) ||
      std::memcmp(last.magic, kMagic, sizeof(kMagic)) != 0 || last.version != 1 ||
      last.label.kind != kind || last.label.start > pages ||
      last.label.bytes > pages - last.label.start) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  SharedFile file;
  file.fd_.reset(fcntl(fd, F_DUPFD_CLOEXEC, 0));
  if (!file.fd_) return CUDA_ERROR_OPERATING_SYSTEM;
  file.label_ = last.label;
  file.pages_ = pages;
  *out = std::move(file);
  return CUDA_SUCCESS;
}

CUresult SharedFile::open(int process, int fd, uint64_t id, Kind kind, SharedFile* out) {
  char path[64];
  std::snprintf(path, sizeof(path), "/proc/%d/fd/%d", process, fd);
  // Not by a path alone: opening some other process's file may do something, or wait for ever.
  char target[64] = {};
  if (readlink(path, target, sizeof(target) - 1) <= 0 ||
      std::strncmp(target, "/memfd:farcall-softgpu", 22) != 0) {
    return CUDA_ERROR_INVALID_HANDLE;
  }
  const UniqueFd opened(::open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK));
  if (!opened) {
    log::warning("cannot open memory of process {}: {}", process, std::strerror(errno));
    return CUDA_ERROR_INVALID_HANDLE;
  }
  SharedFile file;
  if (adopt(opened.get(), kind, &file) != CUDA_SUCCESS || file.label().id != id) {
    return CUDA_ERROR_INVALID_HANDLE;
  }
  *out = std::move(file);
  return CUDA_SUCCESS;
}

}  // namespace farcall::softgpu
