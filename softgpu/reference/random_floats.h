// Floats to test arithmetic with: any bits, but more of those that rounding, cancellation and the
// ends of the range are about.
#pragma once

#include <bit>
#include <cstdint>
#include <limits>
#include <random>

#include "softgpu/reference/soft_float.h"

namespace farcall::softgpu::reference {

template <class T>
struct Bits;
template <>
struct Bits<float> {
  using Int = uint32_t;
  static constexpr FloatFormat kFormat = kSingle;
};
template <>
struct Bits<double> {
  using Int = uint64_t;
  static constexpr FloatFormat kFormat = kDouble;
};

// Any bits, numbers of like size, edges and their neighbours.
template <class T>
class Values {
 public:
  T next() {
    using Int = typename Bits<T>::Int;
    constexpr int kBits = 8 * sizeof(T), kFraction = kBits == 64 ? 52 : 23;
    const Int any = static_cast<Int>(random_());
    switch (random_() % 5) {
      case 0:
        return std::bit_cast<T>(any);
      case 1:  // a few leading bits: exact results and ties
        return std::bit_cast<T>(static_cast<Int>(any & ~Int{0} << (kFraction - random_() % 12)));
      case 2: {  // about as large as others
        const Int exponent = Bits<T>::kFormat.bias() - 30 + random_() % 60;
        return std::bit_cast<T>(
            static_cast<Int>((any & ~(Int(Bits<T>::kFormat.infinity()))) | exponent << kFraction));
      }
      case 3:  // subnormal, or nearly
        return std::bit_cast<T>(
            static_cast<Int>(any & ~(Int(Bits<T>::kFormat.infinity() & ~(Int{3} << kFraction)))));
      default: {
        const T edges[] = {T(0),
                           -T(0),
                           T(1),
                           -T(1),
                           std::numeric_limits<T>::max(),
                           -std::numeric_limits<T>::max(),
                           std::numeric_limits<T>::min(),
                           -std::numeric_limits<T>::denorm_min(),
                           std::numeric_limits<T>::infinity(),
                           -std::numeric_limits<T>::infinity(),
                           std::numeric_limits<T>::quiet_NaN(),
                           T(0.1),
                           std::numeric_limits<T>::epsilon()};
        return edges[random_() % std::size(edges)];
      }
    }
  }

 private:
  std::mt19937_64 random_{1234};
};

}  // namespace farcall::softgpu::reference
