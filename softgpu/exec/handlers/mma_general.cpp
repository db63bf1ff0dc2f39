// mma of the irregular kind: sparse A, scaled blocks, and the first shape of all, Volta's. Matrices
// are unpacked into memory, multiplied there, and packed again. Products of the inputs and their
// scales are exact in double, where the sums are formed too (integers exactly, floats with an error
// of k * 2^-53 of the magnitudes) and rounded once at the end.
#include "softgpu/exec/handlers/common.h"
#include "softgpu/exec/handlers/lanes_inl.h"
#include "softgpu/exec/handlers/matrix_plan.h"
#include "softgpu/exec/handlers/minifloat_inl.h"

namespace farcall::softgpu {

using namespace FARCALL_ISA;

namespace {

constexpr u32 kRowsMax = 16, kColumns = 8, kDepthMax = 128;

struct Matrices {
  double a[kRowsMax][kDepthMax], b[kDepthMax][kColumns], sum[kRowsMax][kColumns];
};

double decode(MatrixInput input, u32 bits, u32 width) {
  switch (input) {
    case MatrixInput::kF16:
      return to_float(Half{static_cast<u16>(bits)});
    case MatrixInput::kBf16:
      return to_float(Bfloat{static_cast<u16>(bits)});
    case MatrixInput::kTf32:
      return bit_cast<float>(bits & ~u32{0x1fff});
    case MatrixInput::kS8:
      return static_cast<s8>(bits);
    case MatrixInput::kU8:
    case MatrixInput::kU4:
      return bits;
    case MatrixInput::kS4:
      return static_cast<s32>(bits << 28) >> 28;
    default: {
      const auto format = static_cast<u32>(input) - static_cast<u32>(MatrixInput::kE4m3);
      // In a field of four bits e2m1 has no room around it.
      return kMinifloats[format].decode(width == 4 ? bits << 2 : bits);
    }
  }
}

u32 element_bits(u32 word, u32 index, u32 width) {
  return width == 32 ? word : word >> (width * index) & ((u32{1} << width) - 1);
}

struct Lists {
  const Slot *d, *a, *b, *c;
};
Lists lists_of(const Op& op, u32 a_count, u32 b_count, u32 d_count) {
  const Slot* const d = op.list + sizeof(MmaPlan) / sizeof(u32);
  const Slot* const a = d + d_count;
  return {d, a, a + a_count, a + a_count + b_count};
}

// The four bits about one chunk of a row. Of the 16- and 32-bit types a lane has four chunks of
// row g and four of row g + 8; of the narrower ones eight of one row.
u32 chunk_indices(Warp& warp, const MmaPlan& plan, u32 row, u32 chunk, u32 chunks) {
  const auto* const words = lanes<u32>(warp, plan.metadata);
  const u32 high = row / 8, quad = 4 * (row % 8);
  const u32 providers = chunks / 4;  // lanes of a quad
  const u32 first = providers * plan.selector;
  if (plan.bits >= 16) return words[quad + first + chunk / 4] >> (4 * (chunk % 4) + 16 * high) & 15;
  return words[quad + first + chunk / 8 * 2 + high] >> (4 * (chunk % 8)) & 15;
}

// Puts the stored elements of a row where the metadata says.
void spread_row(Warp& warp, const MmaPlan& plan, u32 row, const double* stored, double* full) {
  const u32 length = plan.sparsity == Sparsity::kTwoOfFour  ? 4
                     : plan.sparsity == Sparsity::kOneOfTwo ? 2
                                                            : 8;
  const u32 chunks = plan.depth / length;
  for (u32 k = 0; k < plan.depth; ++k) full[k] = 0;
  for (u32 chunk = 0; chunk < chunks; ++chunk) {
    const u32 indices = chunk_indices(warp, plan, row, chunk, chunks);
    const u32 first = indices & 3, second = indices >> 2;
    double* const to = full + chunk * length;
    switch (plan.sparsity) {
      case Sparsity::kTwoOfFour:
        to[first] = stored[2 * chunk];
        to[second] = stored[2 * chunk + 1];
        break;
      case Sparsity::kOneOfTwo:  // an element counts as two halves: 0 and 1, or 2 and 3
        to[first >> 1] = stored[chunk];
        break;
      default:  // pairs
        to[2 * first] = stored[4 * chunk];
        to[2 * first + 1] = stored[4 * chunk + 1];
        to[2 * second] = stored[4 * chunk + 2];
        to[2 * second + 1] = stored[4 * chunk + 3];
    }
  }
}

double decode_scale(ScaleFormat format, u32 byte) {
  if (format == ScaleFormat::kUe4m3) return kMinifloats[0].decode(byte & 0x7f);
  if (byte == 0xff) return __builtin_nan("");
  return bit_cast<double>(u64{byte + 1023 - 127} << 52);
}

// The scale of one row or column and block; `lane` is the first that could have it.
double scale_at(Warp& warp, const MmaPlan& plan, const ScaleOperand& operand, u32 lane, u32 step,
                u32 block) {
  const u32 byte = lanes<u32>(warp, operand.byte)[0] & 3;
  const u32 thread = lanes<u32>(warp, operand.thread)[0] & 3;
  const u32 word = lanes<u32>(warp, operand.data)[(lane + step * thread) & 31];
  return decode_scale(plan.scale_format, word >> (8 * ((byte + block) & 3)) & 0xff);
}

// A row's scale is in the even (rows below 8) or odd lane of one of its quad's two pairs of lanes,
// a column's in one lane of its quad.
void apply_scales(Warp& warp, const MmaPlan& plan, Matrices& m) {
  const u32 block_depth = plan.depth / plan.scales;
  for (u32 block = 0; block < plan.scales; ++block) {
    const u32 begin = block * block_depth, end = begin + block_depth;
    for (u32 row = 0; row < plan.rows; ++row) {
      const double s = scale_at(warp, plan, plan.scale_a, 4 * (row % 8) + row / 8, 2, block);
      for (u32 k = begin; k < end; ++k) m.a[row][k] *= s;
    }
    for (u32 column = 0; column < kColumns; ++column) {
      const double s = scale_at(warp, plan, plan.scale_b, 4 * column, 1, block);
      for (u32 k = begin; k < end; ++k) m.b[k][column] *= s;
    }
  }
}

double load_sum(Warp& warp, const Slot* slots, MatrixSum type, u32 lane, u32 index) {
  switch (type) {
    case MatrixSum::kF16: {
      const u32 pair = lanes<u32>(warp, slots[index / 2])[lane];
      return to_float(Half{static_cast<u16>(pair >> (16 * (index & 1)))});
    }
    case MatrixSum::kS32:
      return lanes<s32>(warp, slots[index])[lane];
    default:
      return lanes<float>(warp, slots[index])[lane];
  }
}
void store_sum(Warp& warp, const Slot* slots, const MmaPlan& plan, u32 lane, u32 index, double v) {
  switch (plan.d) {
    case MatrixSum::kF16: {
      auto& pair = lanes<u32>(warp, slots[index / 2])[lane];
      const u32 bits = from_double<Half>(v).bits;
      pair = (index & 1) == 0 ? (pair & 0xffff'0000) | bits : (pair & 0xffff) | bits << 16;
      break;
    }
    case MatrixSum::kS32: {
      s64 sum = static_cast<s64>(v);
      if (plan.saturate != 0) {
        sum = sum > 0x7fff'ffff ? 0x7fff'ffff : sum < -0x8000'0000LL ? -0x8000'0000LL : sum;
      }
      lanes<u32>(warp, slots[index])[lane] = static_cast<u32>(sum);
      break;
    }
    default:
      lanes<float>(warp, slots[index])[lane] = canonical(static_cast<float>(v));
  }
}

void multiply(Matrices& m, u32 rows, u32 depth) {
  for (u32 i = 0; i < rows; ++i) {
    for (u32 k = 0; k < depth; ++k) {
      for (u32 j = 0; j < kColumns; ++j) m.sum[i][j] += m.a[i][k] * m.b[k][j];
    }
  }
}

MmaPlan plan_of(const Op& op) {
  MmaPlan plan;
  __builtin_memcpy(&plan, op.list, sizeof plan);
  return plan;
}

}  // namespace

void mma_general(Warp& warp, const Op& op, u32) {
  const MmaPlan plan = plan_of(op);
  const u32 per = 32 / plan.bits;
  const u32 stored_depth = plan.sparsity == Sparsity::kNone ? plan.depth : plan.depth / 2;
  const u32 a_count = plan.rows * stored_depth / per / kLanes,
            b_count = kColumns * plan.depth / per / kLanes;
  const u32 d_count = plan.d == MatrixSum::kF16 ? 2 : 4;
  const Lists lists = lists_of(op, a_count, b_count, d_count);
  Matrices m;
  double stored[kRowsMax][kDepthMax];
  for (u32 r = 0; r < a_count; ++r) {
    const auto* from = lanes<u32>(warp, lists.a[r]);
    for (u32 lane = 0; lane < kLanes; ++lane) {
      const u32 row = lane / 4 + 8 * (r % 2), column = lane % 4 * per + 4 * per * (r / 2);
      for (u32 e = 0; e < per; ++e)
        stored[row][column + e] = decode(plan.a, element_bits(from[lane], e, plan.bits), plan.bits);
    }
  }
  for (u32 row = 0; row < plan.rows; ++row) {
    if (plan.sparsity != Sparsity::kNone)
      spread_row(warp, plan, row, stored[row], m.a[row]);
    else
      __builtin_memcpy(m.a[row], stored[row], plan.depth * sizeof(double));
  }
  for (u32 r = 0; r < b_count; ++r) {
    const auto* from = lanes<u32>(warp, lists.b[r]);
    for (u32 lane = 0; lane < kLanes; ++lane) {
      for (u32 e = 0; e < per; ++e)
        m.b[lane % 4 * per + e + 4 * per * r][lane / 4] =
            decode(plan.b, element_bits(from[lane], e, plan.bits), plan.bits);
    }
  }
  if (plan.scales != 0) apply_scales(warp, plan, m);
  for (u32 lane = 0; lane < kLanes; ++lane) {
    for (u32 i = 0; i < 4; ++i)
      m.sum[lane / 4 + 8 * (i / 2)][lane % 4 * 2 + i % 2] =
          load_sum(warp, lists.c, plan.c, lane, i);
  }
  multiply(m, plan.rows, plan.depth);
  for (u32 lane = 0; lane < kLanes; ++lane) {
    for (u32 i = 0; i < 4; ++i)
      store_sum(warp, lists.d, plan, lane, i, m.sum[lane / 4 + 8 * (i / 2)][lane % 4 * 2 + i % 2]);
  }
}

// Four products at once, each by four lanes of the lower and four of the upper half of the warp.
void mma_volta(Warp& warp, const Op& op, u32) {
  const MmaPlan plan = plan_of(op);
  const Lists lists = lists_of(op, 2, 2, plan.d == MatrixSum::kF16 ? 4 : 8);
  auto element = [&](const Slot* slots, u32 lane, u32 i) {
    const u32 pair = lanes<u32>(warp, slots[i / 2])[lane];
    return static_cast<double>(to_float(Half{static_cast<u16>(pair >> (16 * (i & 1)))}));
  };
  auto place = [](MatrixSum type, u32 x, u32 upper, u32 i, u32* row, u32* column) {
    *row = 4 * upper + (type == MatrixSum::kF16 ? x : (x & 1) + (i & 2));
    *column = type == MatrixSum::kF16 ? i : (i & 4) + (x & 2) + (i & 1);
  };
  Matrices m[4];
  for (u32 product = 0; product < 4; ++product) {
    for (u32 upper = 0; upper < 2; ++upper) {
      for (u32 x = 0; x < 4; ++x) {
        const u32 lane = 16 * upper + 4 * product + x;
        for (u32 i = 0; i < 4; ++i) {
          const double a = element(lists.a, lane, i), b = element(lists.b, lane, i);
          (plan.a_columns != 0 ? m[product].a[i + 4 * upper][x] : m[product].a[x + 4 * upper][i]) =
              a;
          (plan.b_columns != 0 ? m[product].b[i][x + 4 * upper] : m[product].b[x][i + 4 * upper]) =
              b;
        }
        for (u32 i = 0; i < 8; ++i) {
          u32 row, column;
          place(plan.c, x, upper, i, &row, &column);
          m[product].sum[row][column] = load_sum(warp, lists.c, plan.c, lane, i);
        }
      }
    }
    multiply(m[product], 8, 4);
  }
  for (u32 lane = 0; lane < kLanes; ++lane) {
    for (u32 i = 0; i < 8; ++i) {
      u32 row, column;
      place(plan.d, lane % 4, lane / 16, i, &row, &column);
      store_sum(warp, lists.d, plan, lane, i, m[lane / 4 % 4].sum[row][column]);
    }
  }
}

}  // namespace farcall::softgpu
