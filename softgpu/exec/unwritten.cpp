#include "softgpu/exec/unwritten.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>

namespace farcall::softgpu {
namespace {

// Workers that write neighbouring bytes share a byte of bits.
void set_bits(u8* byte, u8 mask, bool value) {
  if (value)
    __atomic_fetch_or(byte, mask, __ATOMIC_RELAXED);
  else
    __atomic_fetch_and(byte, static_cast<u8>(~mask), __ATOMIC_RELAXED);
}
u8 low_bits(u64 count) { return static_cast<u8>((1u << count) - 1); }

}  // namespace

UnwrittenBytes::~UnwrittenBytes() {
  for (const Window& window : windows_) munmap(window.bits, window.bytes / 8 + 1);
}

bool UnwrittenBytes::add_window(u64 base, u64 bytes) {
  void* const bits = mmap(nullptr, bytes / 8 + 1, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (bits == MAP_FAILED) return false;
  windows_.push_back({base, bytes, static_cast<u8*>(bits)});
  return true;
}

const UnwrittenBytes::Window* UnwrittenBytes::find(u64 address) const {
  for (const Window& window : windows_) {
    if (address - window.base < window.bytes) return &window;
  }
  return nullptr;
}

void UnwrittenBytes::set(u64 address, u64 bytes, bool unwritten) {
  const Window* const window = find(address);
  if (window == nullptr || bytes == 0) return;
  const u64 begin = address - window->base, end = begin + std::min(bytes, window->bytes - begin);
  u8* const first = window->bits + begin / 8;
  u8* const last = window->bits + end / 8;
  if (first == last) {
    set_bits(first, static_cast<u8>(low_bits(end % 8) & ~low_bits(begin % 8)), unwritten);
    return;
  }
  if (begin % 8 != 0) set_bits(first, static_cast<u8>(~low_bits(begin % 8)), unwritten);
  u8* const whole = begin % 8 != 0 ? first + 1 : first;
  std::memset(whole, unwritten ? 0xff : 0, static_cast<size_t>(last - whole));
  if (end % 8 != 0) set_bits(last, low_bits(end % 8), unwritten);
}

void UnwrittenBytes::set_unwritten(u64 address, u64 bytes) { set(address, bytes, true); }
void UnwrittenBytes::set_written(u64 address, u64 bytes) { set(address, bytes, false); }

bool UnwrittenBytes::any_unwritten(u64 address, u64 bytes) const {
  const Window* const window = find(address);
  if (window == nullptr) return false;
  const u64 begin = address - window->base, end = begin + std::min(bytes, window->bytes - begin);
  for (u64 i = begin; i < end;) {
    const u8 byte = __atomic_load_n(window->bits + i / 8, __ATOMIC_RELAXED);
    const u64 here = std::min(end - i, 8 - i % 8);
    if ((byte >> (i % 8) & low_bits(here)) != 0) return true;
    i += here;
  }
  return false;
}

void UnwrittenBytes::copy(u64 to, u64 from, u64 bytes) {
  if (find(to) == nullptr) return;
  const Window* const source = find(from);
  if (source == nullptr) return set_written(to, bytes);
  if (!any_unwritten(from, bytes)) return set_written(to, bytes);  // almost always
  std::vector<bool> bits(bytes);
  for (u64 i = 0; i < bytes; ++i) bits[i] = any_unwritten(from + i, 1);
  for (u64 i = 0; i < bytes;) {
    u64 run = 1;
    while (i + run < bytes && bits[i + run] == bits[i]) ++run;
    set(to + i, run, bits[i]);
    i += run;
  }
}

}  // namespace farcall::softgpu
