// Arithmetic in another rounding mode. The compiler believes that the mode never changes, so the
// inputs are made unknown after the switch and the results are made needed before the switch back.
#pragma once

#include "softgpu/exec/handlers/lanes_inl.h"

#if defined(__x86_64__)
#include <xmmintrin.h>
#else
#include <fenv.h>
#endif

namespace farcall::softgpu::FARCALL_ISA {

class RoundingScope {
 public:
  template <class... Arrays>
  [[gnu::always_inline]] explicit RoundingScope(Rounding direction, Arrays&... inputs) {
#if defined(__x86_64__)
    saved_ = _mm_getcsr();
    const unsigned mode = direction == Rounding::kZero   ? 0x6000
                          : direction == Rounding::kDown ? 0x2000
                          : direction == Rounding::kUp   ? 0x4000
                                                         : 0;
    _mm_setcsr((saved_ & ~0x6000u) | mode);
#else
    saved_ = static_cast<unsigned>(fegetround());
    fesetround(direction == Rounding::kZero   ? FE_TOWARDZERO
               : direction == Rounding::kDown ? FE_DOWNWARD
               : direction == Rounding::kUp   ? FE_UPWARD
                                              : FE_TONEAREST);
#endif
    (hide(inputs), ...);
  }
  [[gnu::always_inline]] ~RoundingScope() {
#if defined(__x86_64__)
    _mm_setcsr(saved_);
#else
    fesetround(static_cast<int>(saved_));
#endif
  }
  RoundingScope(const RoundingScope&) = delete;
  RoundingScope& operator=(const RoundingScope&) = delete;

  // To be called with the results, inside the scope.
  template <class Array>
  [[gnu::always_inline]] void finish(Array& results) const {
    hide(results);
  }

 private:
  template <class Array>
  [[gnu::always_inline]] static void hide(Array& values) {
    asm volatile("" : : "r"(&values) : "memory");
  }
  unsigned saved_;
};

}  // namespace farcall::softgpu::FARCALL_ISA
