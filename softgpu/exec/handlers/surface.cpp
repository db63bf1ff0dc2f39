// suld, sust, sured: typed memory addressed by coordinates, with a say in what happens outside.
#include "softgpu/exec/handlers/atomic_inl.h"
#include "softgpu/exec/handlers/common.h"
#include "softgpu/exec/handlers/images.h"
#include "softgpu/exec/handlers/lanes_inl.h"

namespace farcall::softgpu {

using namespace FARCALL_ISA;

namespace {

// Moves a coordinate inside if the instruction says so. False: it is outside.
bool inside(s64* at, s64 first_beyond, s64 span, bool clamp) {
  const s64 last = first_beyond - span;
  if (*at >= 0 && *at <= last) return true;
  if (!clamp || last < 0) return false;
  *at = *at < 0 ? 0 : last - last % span;
  return true;
}

// Where one lane's element lies; nullptr: outside, and the instruction wants zeros. `bytes`: of the
// access.
u8* find_element(Warp& warp, const Op& op, int lane, u32 bytes, const Surface** found) {
  GridRun& run = *warp.block->run;
  const u64 number = lanes<u64>(warp, op.a)[lane];
  const Surface* const surface = run.images.surface(*run.memory, number);
  if (surface == nullptr)
    raise_fault(warp, op, lane, Fault::Kind::kIllegalAddress, number,
                "no surface has this number, or no longer");
  *found = surface;
  const Image& image = surface->image;
  const ImageLevel& level = image.levels[0];
  s64 at[4];  // x, y, z, layer
  for (int k = 0; k < 3; ++k) {
    const u32 slot = op.list[kSurfaceAt + k];
    at[k] = slot == kNoSlot ? 0 : s64{static_cast<s32>(u32{lanes<u32>(warp, slot)[lane]})};
  }
  at[3] = op.list[kSurfaceLayer] == kNoSlot
              ? 0
              : s64{static_cast<s32>(u32{lanes<u32>(warp, op.list[kSurfaceLayer])[lane]})};
  const u32 texel = image.format.bytes();
  if ((op.flags & kSurfaceTexels) != 0) {
    at[0] *= texel;
    bytes = texel;
  }
  const int mode = op.flags & kSurfaceOutside;
  const bool clamp = mode == kSurfaceClamp;
  const bool ok = inside(&at[0], s64{level.width} * texel, bytes, clamp) &&
                  inside(&at[1], level.height, 1, clamp) && inside(&at[2], level.depth, 1, clamp) &&
                  inside(&at[3], image.layers, 1, clamp);
  if (!ok && mode == kSurfaceTrap)
    raise_fault(warp, op, lane, Fault::Kind::kTrap, number, "outside of the surface");
  if (!ok) return nullptr;
  if ((at[0] & (bytes - 1)) != 0)
    raise_fault(warp, op, lane, Fault::Kind::kMisaligned, static_cast<u64>(at[0]),
                "the x coordinate of a surface, in bytes");
  return level.data + static_cast<u64>(at[0]) + static_cast<u64>(at[1]) * level.pitch +
         static_cast<u64>(at[2] + at[3]) * level.plane;
}

template <class T>
T load(const u8* from) {
  T value;
  __builtin_memcpy(&value, from, sizeof value);
  return value;
}
template <class T>
void store(u8* to, T value) {
  __builtin_memcpy(to, &value, sizeof value);
}

s64 clamped(s64 v, s64 least, s64 most) { return v < least ? least : v > most ? most : v; }

// sust.p: from 32 bits, which are a float for formats of floats, to one channel.
void store_channel(const TexelFormat& format, u8* to, u32 bits) {
  const float f = bit_cast<float>(bits);
  const auto scaled = [f](float largest, float least) {
    const float v = f == f ? (f < least ? least : f > 1 ? 1.0f : f) : 0.0f;
    return static_cast<s64>(__builtin_rint(static_cast<double>(v) * static_cast<double>(largest)));
  };
  switch (format.type) {
    case TexelType::kUnsigned8:
      return store(to, static_cast<u8>(bits < 255 ? bits : 255));
    case TexelType::kSigned8:
      return store(to, static_cast<s8>(clamped(static_cast<s32>(bits), -128, 127)));
    case TexelType::kUnsigned16:
      return store(to, static_cast<u16>(bits < 65535 ? bits : 65535));
    case TexelType::kSigned16:
      return store(to, static_cast<s16>(clamped(static_cast<s32>(bits), -32768, 32767)));
    case TexelType::kHalf:
      return store(to, to_half(f).bits);
    case TexelType::kUnorm8:
      return store(to, static_cast<u8>(scaled(255, 0)));
    case TexelType::kSnorm8:
      return store(to, static_cast<s8>(scaled(127, -1)));
    case TexelType::kUnorm16:
      return store(to, static_cast<u16>(scaled(65535, 0)));
    case TexelType::kSnorm16:
      return store(to, static_cast<s16>(scaled(32767, -1)));
    default:
      return store(to, bits);
  }
}

u64 read_value(Warp& warp, Slot slot, u32 bytes, int lane) {
  return bytes == 8 ? u64{lanes<u64>(warp, slot)[lane]} : u64{lanes<u32>(warp, slot)[lane]};
}

template <class T, AtomicOp Operation>
void surface_reduction(Warp& warp, const Op& op, u32 mask) {
  using U = Unsigned<T>;
  warp.current = &op;
  for_each_lane(mask, [&](int lane) {
    warp.current_mask = u32{1} << lane;
    const Surface* surface;
    u8* const at = find_element(warp, op, lane, sizeof(T), &surface);
    if (at == nullptr) return;
    if ((op.flags & kSurfaceTexels) != 0 && surface->image.format.bytes() != sizeof(T))
      raise_fault(warp, op, lane, Fault::Kind::kTrap, lanes<u64>(warp, op.a)[lane],
                  "a reduction of another size than the surface's texels");
    auto* memory = reinterpret_cast<typename Aliased<U>::Type*>(at);
    const T operand = bit_cast<T>(static_cast<U>(read_value(warp, op.list[0], sizeof(T), lane)));
    U old = __atomic_load_n(memory, __ATOMIC_RELAXED);
    U desired;
    do {
      desired = bit_cast<U>(apply_atomic<Operation>(bit_cast<T>(old), operand));
    } while (!__atomic_compare_exchange_n(memory, &old, desired, true, __ATOMIC_SEQ_CST,
                                          __ATOMIC_RELAXED));
  });
}

}  // namespace

void surface_load(Warp& warp, const Op& op, u32 mask) {
  warp.current = &op;
  const auto bytes = static_cast<u32>(op.imm);
  for_each_lane(mask, [&](int lane) {
    warp.current_mask = u32{1} << lane;
    const Surface* surface;
    const u8* const at = find_element(warp, op, lane, bytes * op.count, &surface);
    u64 values[4] = {};  // read before any is written: a coordinate may be a destination
    for (u32 k = 0; k < op.count && at != nullptr; ++k)
      __builtin_memcpy(&values[k], at + k * bytes, bytes);
    for (u32 k = 0; k < op.count; ++k) {
      if (op.list[k] == kNoSlot) continue;
      if (bytes == 8)
        lanes<u64>(warp, op.list[k])[lane] = values[k];
      else
        lanes<u32>(warp, op.list[k])[lane] = static_cast<u32>(values[k]);
    }
  });
}

void surface_store(Warp& warp, const Op& op, u32 mask) {
  warp.current = &op;
  const auto bytes = static_cast<u32>(op.imm);
  for_each_lane(mask, [&](int lane) {
    warp.current_mask = u32{1} << lane;
    const Surface* surface;
    u8* const at = find_element(warp, op, lane, bytes * op.count, &surface);
    if (at == nullptr) return;
    if ((op.flags & kSurfaceTexels) == 0) {
      for (u32 k = 0; k < op.count; ++k) {
        const u64 value = read_value(warp, op.list[k], bytes, lane);
        __builtin_memcpy(at + k * bytes, &value, bytes);
      }
      return;
    }
    const TexelFormat& format = surface->image.format;
    u32 values[4] = {};  // channels that the instruction does not have
    for (u32 k = 0; k < op.count; ++k)
      values[k] = static_cast<u32>(read_value(warp, op.list[k], 4, lane));
    if (format.type == TexelType::kUnorm10_10_10_2)
      raise_fault(warp, op, lane, Fault::Kind::kTrap, lanes<u64>(warp, op.a)[lane],
                  "a formatted store to 10:10:10:2");
    for (u32 k = 0; k < format.channels; ++k)
      store_channel(format, at + k * channel_bytes(format.type), values[k]);
  });
}

Handler find_surface_reduction(AtomicOp operation, ptx::Type type) {
  const bool wide = type.total_bits() == 64, is_signed = type.is_signed();
  if (type.is_float() || (type.total_bits() != 32 && !wide)) return nullptr;
  switch (operation) {
    case AtomicOp::kAdd:
      return wide ? surface_reduction<u64, AtomicOp::kAdd> : surface_reduction<u32, AtomicOp::kAdd>;
    case AtomicOp::kMin:
      if (wide)
        return is_signed ? surface_reduction<s64, AtomicOp::kMin>
                         : surface_reduction<u64, AtomicOp::kMin>;
      return is_signed ? surface_reduction<s32, AtomicOp::kMin>
                       : surface_reduction<u32, AtomicOp::kMin>;
    case AtomicOp::kMax:
      if (wide)
        return is_signed ? surface_reduction<s64, AtomicOp::kMax>
                         : surface_reduction<u64, AtomicOp::kMax>;
      return is_signed ? surface_reduction<s32, AtomicOp::kMax>
                       : surface_reduction<u32, AtomicOp::kMax>;
    case AtomicOp::kAnd:
      return wide ? surface_reduction<u64, AtomicOp::kAnd> : surface_reduction<u32, AtomicOp::kAnd>;
    case AtomicOp::kOr:
      return wide ? surface_reduction<u64, AtomicOp::kOr> : surface_reduction<u32, AtomicOp::kOr>;
    default:
      return nullptr;
  }
}

}  // namespace farcall::softgpu
