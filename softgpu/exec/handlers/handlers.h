// The handlers that are worth building for several instruction sets, found by operation and type.
// Each function returns nullptr for a combination that does not exist; the decoder then says
// "unsupported".
#pragma once

#include "softgpu/exec/op.h"
#include "softgpu/ptx/ast.h"

namespace farcall::softgpu {

enum class Rounding : u8 { kNearest, kZero, kDown, kUp };

enum class IntegerOp : u8 {
  // unary
  kNot,
  kNeg,
  kAbs,
  kCnot,
  kPopc,
  kClz,
  kBrev,
  kBfind,
  kBfindShift,
  // binary
  kAdd,
  kSub,
  kMulLo,
  kMulHi,
  kMulWide,
  kMin,
  kMax,
  kMinRelu,
  kMaxRelu,
  kAnd,
  kOr,
  kXor,
  kDiv,
  kRem,
  kAddSat,
  kSubSat,
  kShl,
  kShr,
  kBmskClamp,
  kBmskWrap,
  kMul24Lo,
  kMul24Hi,
  kSzextClamp,
  kSzextWrap,
  // ternary
  kMadLo,
  kMadHi,
  kMadHiSat,
  kMadWide,
  kSad,
  kBfe,
  kPrmt,
  kShfLeftClamp,
  kShfLeftWrap,
  kShfRightClamp,
  kShfRightWrap,
  kMad24Lo,
  kMad24Hi,
  kMin3,
  kMax3,
  // of their own shape
  kBfi,   // list[0]: length
  kLop3,  // imm: table
};

// CC-flag arithmetic; Op::flags: bit 0 reads the carry, bit 1 writes it.
enum class CarryOp : u8 { kAdd, kSub, kMadLo, kMadHi };

enum class FloatOp : u8 {
  kNeg,
  kAbs,
  kRcp,
  kSqrt,
  kRsqrt,
  kSin,
  kCos,
  kEx2,
  kLg2,
  kTanh,
  kAdd,
  kSub,
  kMul,
  kDiv,
  kMin,
  kMax,
  kMinNan,
  kMaxNan,
  kMinXorsign,
  kMaxXorsign,
  kMinNanXorsign,
  kMaxNanXorsign,
  kCopysign,
  kFma,
};
struct FloatMode {
  bool flush = false;     // .ftz
  bool saturate = false;  // .sat
  bool relu = false;
  Rounding rounding = Rounding::kNearest;
};

enum class Comparison : u8 {
  kEq,
  kNe,
  kLt,
  kLe,
  kGt,
  kGe,
  kEqu,
  kNeu,
  kLtu,
  kLeu,
  kGtu,
  kGeu,
  kNum,
  kNan
};

// Of setp and set: Op::flags, what to do with the further predicate (ps, negated with
// kCombineNegated).
enum CombineFlags : u8 {
  kCombineNone,
  kCombineAnd,
  kCombineOr,
  kCombineXor,
  kCombineMask = 3,
  kCombineNegated = 4
};
// Of `set`, in Op::imm: the destination's "true"; 0 for setp.
enum SetValue : s64 {
  kSetPredicate = 0,
  kSetMask,
  kSetF32,
  kSetF16,
  kSetBf16,
  kSetMask16,
  kSetF16x2,
  kSetBf16x2,
  kSetMask16x2
};

struct ConvertMode {
  Rounding rounding = Rounding::kNearest;
  bool to_integral = false;  // .rni and its like: the rounding gives an integral value
  bool flush = false;
  bool saturate = false;
  bool relu = false;
};

enum class AtomicOp : u8 { kAdd, kMin, kMax, kInc, kDec, kAnd, kOr, kXor, kExch };

enum class MatrixInput : u8 {
  kF16,
  kBf16,
  kTf32,
  kF64,
  kS8,
  kU8,
  kS4,
  kU4,
  kB1And,
  kB1Xor,
  // Floats of less than a half, from here on.
  kE4m3,
  kE5m2,
  kE3m2,
  kE2m3,
  kE2m1
};
enum class MatrixSum : u8 { kF16, kF32, kF64, kS32 };
// Of bytes: 16 wide; kLoadUnpacked takes 6- or 4-bit elements apart on the way.
enum class MatrixMove : u8 {
  kLoad,
  kLoadTransposed,
  kStore,
  kStoreTransposed,
  kTranspose,
  kLoadBytesTransposed,
  kLoadUnpacked,
  kStoreBytesTransposed
};

enum class ShuffleMode : u8 { kUp, kDown, kButterfly, kIndex };

struct HandlerTable {
  const char* name;
  Handler (*integer)(IntegerOp op, ptx::Type type);
  Handler (*carry)(CarryOp op, ptx::Type type);
  Handler (*floating)(FloatOp op, ptx::Type type, FloatMode mode);
  Handler (*compare)(Comparison comparison, ptx::Type type, bool flush);
  Handler (*select)(unsigned bits);                  // a or b by predicate ps; flags bit 0: negated
  Handler (*select_signed)(ptx::Type type);          // slct: a or b by c >= 0
  Handler (*copy)(unsigned bits);                    // register slots, 32 or 64 bits
  Handler (*pack)(unsigned bits, unsigned count);    // list[0..count) to d
  Handler (*unpack)(unsigned bits, unsigned count);  // a to list[0..count)
  // d_register_bits: 32 or 64, the width of the register that gets an integer. Op::flags: the
  // Rounding.
  Handler (*convert)(ptx::Type to, ptx::Type from, ConvertMode mode, unsigned d_register_bits);
  Handler (*convert_pair)(ptx::Type to, ConvertMode mode);  // two f32 -> f16x2, bf16x2
  // register_bits: 32 or 64. count: elements of a vector, whose slots are in the list.
  Handler (*load)(ptx::Type type, AddressKind kind, unsigned register_bits);
  Handler (*store)(ptx::Type type, AddressKind kind, unsigned register_bits);
  Handler (*load_vector)(ptx::Type type, AddressKind kind, unsigned register_bits);
  Handler (*store_vector)(ptx::Type type, AddressKind kind, unsigned register_bits);
  // d|pq = a of another lane; b: lane or distance, list[0]: clamp and segment mask.
  Handler (*shuffle)(ShuffleMode mode);
  Handler (*mma)(MatrixInput a, MatrixInput b, MatrixSum sum, int rows, bool saturate);
  Handler (*matrix_move)(MatrixMove move);
  Handler wmma_load, wmma_store;
  Handler (*wmma_multiply)(MatrixInput input, MatrixSum sum);
  // What a convoy runs in the handler's place: for frequent ones a loop that has it inside.
  ConvoyHandler (*for_convoy)(Handler handler);
};

// The best one for this machine.
const HandlerTable& handlers();

}  // namespace farcall::softgpu
