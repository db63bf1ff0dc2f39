#include "softgpu/exec/buffer.h"

#include <sys/mman.h>

#include <cstdlib>
#include <cstring>

namespace farcall::softgpu {
namespace {

// From here on memory comes from mmap, where untouched pages cost nothing: stacks of recursive
// kernels are huge.
constexpr size_t kMappedBytesMin = 256 << 10;

void release(u8* data, size_t bytes) {
  if (data == nullptr) return;
  if (bytes >= kMappedBytesMin)
    munmap(data, bytes);
  else
    std::free(data);
}

}  // namespace

Buffer::~Buffer() { release(data_, bytes_); }

bool Buffer::reserve(size_t bytes) {
  if (bytes <= bytes_) return true;
  const size_t size = (bytes + kAlignment - 1) / kAlignment * kAlignment;
  void* fresh = nullptr;
  if (size >= kMappedBytesMin) {
    fresh = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                 -1, 0);
    if (fresh == MAP_FAILED) return false;
  } else {
    fresh = std::aligned_alloc(kAlignment, size);
    if (fresh == nullptr) return false;
    std::memset(fresh, 0, size);
  }
  release(data_, bytes_);
  data_ = static_cast<u8*>(fresh);
  bytes_ = size;
  return true;
}

}  // namespace farcall::softgpu
