// Named places where a test can make the program fail: `if (fault::hit("transport.connect")) return
// ...`. Off, a place costs one load and a branch that is never taken. On, by FARCALL_FAULTS in the
// environment (reaches every process of a test) or by an Armed object (this process):
//
//   FARCALL_FAULTS=transport.connect            each pass fails
//   FARCALL_FAULTS=worker.spawn@3,transport.send%100
//     point@3    only the third pass      point@3+   the third and all after it
//     point%100  every hundredth pass
//
// The points are listed where they are: grep for fault::hit.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>

namespace farcall::fault {

namespace internal {
enum class State : uint8_t {
  kUnknown,
  kOff,
  kOn
};  // unknown: the environment has not been read yet
extern std::atomic<State> state;
bool hit_slowly(std::string_view point);
}  // namespace internal

// Should this pass fail? Counts the pass.
inline bool hit(std::string_view point) {
  if (internal::state.load(std::memory_order_relaxed) == internal::State::kOff) [[likely]] {
    return false;
  }
  return internal::hit_slowly(point);
}

// Arms points for its own lifetime; `spec` as above. A malformed one is an assert: a test must not
// pass by a typo.
class Armed {
 public:
  explicit Armed(std::string_view spec);
  ~Armed();
  Armed(const Armed&) = delete;
  Armed& operator=(const Armed&) = delete;

  uint64_t pass_count() const;     // how often its points were reached
  uint64_t failure_count() const;  // how often they failed
};

}  // namespace farcall::fault
