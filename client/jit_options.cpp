#include "client/jit_options.h"

#include <algorithm>
#include <cstring>

namespace farcall::client {
namespace {

// Room for a log; a program may name more than it means.
constexpr uint32_t kLogBytesMax = 64 * 1024;

bool of_a_log(CUjit_option option) {
  return option == CU_JIT_ERROR_LOG_BUFFER || option == CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES ||
         option == CU_JIT_INFO_LOG_BUFFER || option == CU_JIT_INFO_LOG_BUFFER_SIZE_BYTES;
}

}  // namespace

JitOptions::JitOptions(unsigned count, CUjit_option* options, void** values)
    : count_(options == nullptr ? 0 : count), options_(options), values_(values) {
  for (unsigned i = 0; i < count_; ++i) {
    void** const slot = values == nullptr ? nullptr : &values[i];
    void* const value = slot == nullptr ? nullptr : *slot;
    switch (options[i]) {
      case CU_JIT_ERROR_LOG_BUFFER:
        error_.text = static_cast<char*>(value);
        break;
      case CU_JIT_INFO_LOG_BUFFER:
        info_.text = static_cast<char*>(value);
        break;
      case CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES:
        error_.bytes = uint32_t(uintptr_t(value));
        error_.length = slot;
        break;
      case CU_JIT_INFO_LOG_BUFFER_SIZE_BYTES:
        info_.bytes = uint32_t(uintptr_t(value));
        info_.length = slot;
        break;
      case CU_JIT_WALL_TIME:
        wall_time_ = slot;
        break;
      default:
        break;
    }
  }
}

uint32_t JitOptions::room(const Log& log) {
  return uint32_t(std::min<size_t>(log.bytes, kLogBytesMax));
}

unsigned JitOptions::plain_count() const {
  return unsigned(std::count_if(options_, options_ + count_,
                                [](CUjit_option each) { return !of_a_log(each); }));
}

void JitOptions::write_plain(capnp::List<rpc::schema::JitOption>::Builder to) const {
  unsigned next = 0;
  for (unsigned i = 0; i < count_; ++i) {
    if (of_a_log(options_[i])) continue;
    to[next].setId(options_[i]);
    to[next++].setValue(values_ == nullptr ? 0 : uint64_t(uintptr_t(values_[i])));
  }
}

void JitOptions::copy(const Log& to, kj::StringPtr from) {
  size_t length = 0;
  if (to.text != nullptr && to.bytes > 0) {
    length = std::min(to.bytes - 1, from.size());
    std::memcpy(to.text, from.begin(), length);
    to.text[length] = '\0';
  }
  if (to.length != nullptr) *to.length = reinterpret_cast<void*>(length);
}

void JitOptions::deliver(kj::StringPtr error, kj::StringPtr info, float wall_time) const {
  copy(error_, error);
  copy(info_, info);
  if (wall_time_ != nullptr) std::memcpy(wall_time_, &wall_time, sizeof(wall_time));
}

}  // namespace farcall::client
