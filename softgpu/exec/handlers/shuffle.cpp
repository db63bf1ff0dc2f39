// shfl: lanes read each other's registers.
#include "softgpu/exec/handlers/lanes_inl.h"
#include "softgpu/exec/handlers/tables.h"

namespace farcall::softgpu::FARCALL_ISA {
namespace {

// to[i] = values[source[i]], with sources below 32.
[[gnu::always_inline]] inline void permute(u32* to, const u32* values, const u32* source) {
#if defined(__AVX512F__)
  const __m512i low = _mm512_load_si512(values), high = _mm512_load_si512(values + 16);
  for (int k = 0; k < 2; ++k) {
    const __m512i from = _mm512_load_si512(source + 16 * k);
    _mm512_store_si512(to + 16 * k, _mm512_permutex2var_epi32(low, from, high));
  }
#else
  for (int i = 0; i < kLanes; ++i) to[i] = values[source[i]];
#endif
}

template <ShuffleMode Mode>
void shuffle(Warp& warp, const Op& op, u32 mask) {
  const auto* a = lanes<u32>(warp, op.a);
  const auto* distance = lanes<u32>(warp, op.b);
  const auto* limits = lanes<u32>(warp, op.list[0]);
  alignas(64) u32 values[kLanes], source[kLanes], results[kLanes];
  alignas(64) u32 ok[kLanes];
  // A source lane that does not take part: the value is undefined, on hardware it reads as 0, and
  // programs that shuffle under a condition have come to rely on that.
  for (u32 i = 0; i < kLanes; ++i) values[i] = (mask >> i & 1) != 0 ? a[i] : 0;
  for (u32 i = 0; i < kLanes; ++i) {
    const u32 by = distance[i] & 31, clamp = limits[i] & 31, segment = limits[i] >> 8 & 31;
    const u32 first = i & segment, last = first | (clamp & ~segment);
    u32 from = i;
    bool in_range = false;
    switch (Mode) {
      case ShuffleMode::kUp:
        from = i - by, in_range = static_cast<s32>(from) >= static_cast<s32>(last);
        break;
      case ShuffleMode::kDown:
        from = i + by, in_range = from <= last;
        break;
      case ShuffleMode::kButterfly:
        from = i ^ by, in_range = from <= last;
        break;
      case ShuffleMode::kIndex:
        from = first | (by & ~segment), in_range = from <= last;
        break;
    }
    source[i] = in_range ? from : i;
    ok[i] = in_range ? 1 : 0;
  }
  permute(results, values, source);
  if (op.pq != 0) set_predicate(warp, op.pq, mask, mask_of([&](int i) { return ok[i] != 0; }));
  if (op.d != kNoSlot) write_lanes(lanes<u32>(warp, op.d), mask, results);
}

}  // namespace

Handler find_shuffle(ShuffleMode mode) {
  switch (mode) {
    case ShuffleMode::kUp:
      return shuffle<ShuffleMode::kUp>;
    case ShuffleMode::kDown:
      return shuffle<ShuffleMode::kDown>;
    case ShuffleMode::kButterfly:
      return shuffle<ShuffleMode::kButterfly>;
    case ShuffleMode::kIndex:
      return shuffle<ShuffleMode::kIndex>;
  }
  return nullptr;
}

}  // namespace farcall::softgpu::FARCALL_ISA
