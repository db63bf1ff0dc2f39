// Handlers that are built once: they work lane by lane or on masks, so wider vectors would not
// help.
#pragma once

#include "softgpu/exec/handlers/handlers.h"

namespace farcall::softgpu {

// ---- predicates (predicate.cpp) ----
// pd = ps OP pq. Op::flags: the operation in the low bits, then negations of ps and pq.
enum PredicateFlags : u8 {
  kPredicateAnd,
  kPredicateOr,
  kPredicateXor,
  kPredicateNot,
  kPredicateCopy,
  kPredicateOperation = 7,
  kNegateFirst = 8,
  kNegateSecond = 16,
};
void predicate_logic(Warp& warp, const Op& op, u32 mask);
// pd = whether a is an address of that space. Op::flags: SpaceTest.
enum SpaceTest : u8 { kIsGlobal, kIsShared, kIsSharedOfCluster, kIsLocal, kIsConst, kIsParam };
void is_space(Warp& warp, const Op& op, u32 mask);
// pd = class of the float in a. Op::flags: FloatTest.
enum FloatTest : u8 { kFinite, kInfinite, kNumber, kNotANumber, kNormal, kSubnormal };
Handler find_float_test(ptx::Type type);

// d = c + the dot product of four bytes of a and b, or of two halves of a and two bytes of b.
enum DotFlags : u8 { kDotFirstSigned = 1, kDotSecondSigned = 2, kDotHigh = 4 };
Handler find_dot_product(bool of_pairs);

// ---- between the lanes of a warp (warp_ops.cpp) ----
// By member mask in c. ps, flags kVoteNegated: the predicate. kBallot writes d, the others pd.
enum VoteFlags : u8 {
  kVoteAll,
  kVoteAny,
  kVoteUniform,
  kVoteBallot,
  kVoteMode = 3,
  kVoteNegated = 4
};
void vote(Warp& warp, const Op& op, u32 mask);
Handler find_match(ptx::Type type, bool all);
Handler find_redux(AtomicOp operation, ptx::Type type);
void active_mask(Warp& warp, const Op& op, u32 mask);
void elect(Warp& warp, const Op& op, u32 mask);

// ---- memory (atomic.cpp). Op::flags: AddressKind ----
// d = old value, or nothing if d is kNoSlot.
Handler find_atomic(AtomicOp operation, ptx::Type type);
Handler find_compare_and_swap(ptx::Type type);
// volatile, relaxed, acquire, release. Slots of vectors in the list, as for plain loads; count 1
// uses d or b.
Handler find_strong_load(ptx::Type type, unsigned register_bits);
Handler find_strong_store(ptx::Type type, unsigned register_bits);
void fence(Warp& warp, const Op& op, u32 mask);
// Of 128 bits; the slots of d, b and c are pairs.
void exchange_128(Warp& warp, const Op& op, u32 mask);
void compare_and_swap_128(Warp& warp, const Op& op, u32 mask);
// multimem: the fault of an address that is not of multicast memory.
void no_multicast_memory(Warp& warp, const Op& op, u32 mask);

// ---- asynchronous copies, done at once (async_copy.cpp) ----
// cp.async: a, imm: shared address; b: global address; list[0]: bytes to copy (kNoSlot: all),
// list[1]: offset of the global address, list[2]: size. Lanes with ps (negated: list[3]) get zeros.
enum CopyList : u8 { kCopyBytes, kCopyOffset, kCopySize, kCopyNegated };
void copy_async(Warp& warp, const Op& op, u32 mask);

// ---- barriers in shared memory (mbarrier.cpp). Op::flags: AddressKind ----
// b: a count, kNoSlot: one. c: bytes to expect first, or kNoSlot. d: the state before, or kNoSlot.
void mbarrier_init(Warp& warp, const Op& op, u32 mask);
void mbarrier_invalidate(Warp& warp, const Op& op, u32 mask);
void mbarrier_touch(Warp& warp, const Op& op, u32 mask);  // only checks the address
void mbarrier_arrive(Warp& warp, const Op& op, u32 mask);
void mbarrier_arrive_drop(Warp& warp, const Op& op, u32 mask);
void mbarrier_expect(Warp& warp, const Op& op, u32 mask);    // c: bytes
void mbarrier_complete(Warp& warp, const Op& op, u32 mask);  // c: bytes
// pd: whether the phase is over. b: state, or with count 1 the phase's parity.
void mbarrier_test(Warp& warp, const Op& op, u32 mask);
void mbarrier_pending_count(Warp& warp, const Op& op, u32 mask);  // d = of the state in a

// ---- matrices of the rarer kinds (mma_general.cpp), by the MmaPlan in the list ----
void mma_general(Warp& warp, const Op& op, u32 mask);
void mma_volta(Warp& warp, const Op& op, u32 mask);

// ---- clusters (cluster.cpp) ----
// d (64 bits) = the generic address of the shared one in a, imm, of any block of the cluster.
void cluster_to_generic(Warp& warp, const Op& op, u32 mask);
// d = the shared address of the generic one in a.
void generic_to_cluster(Warp& warp, const Op& op, u32 mask);
// d (count: 32 or 64 bits) = a's place in the block of rank b. Op::flags: AddressKind.
void map_to_rank(Warp& warp, const Op& op, u32 mask);
// d = rank of the block that the address in a belongs to. Op::flags: AddressKind.
void rank_of_address(Warp& warp, const Op& op, u32 mask);

// ---- bulk copies (bulk_copy.cpp, tensor_copy.cpp), by the plan in the list ----
void bulk_copy(Warp& warp, const Op& op, u32 mask);
void tensor_copy(Warp& warp, const Op& op, u32 mask);  // count: dimensions
// tensormap.replace. a, imm: address; count: TensorField; flags: AddressKind; list[0]: which one;
// b: the value.
enum TensorField : u8 {
  kTensorAddress,
  kTensorRank,
  kTensorBox,
  kTensorDimension,
  kTensorStride,
  kTensorElementStride,
  kTensorType,
  kTensorInterleave,
  kTensorSwizzle,
  kTensorFill,
  kTensorSwizzleAtomicity
};
void replace_tensor_field(Warp& warp, const Op& op, u32 mask);
void copy_tensor_map(Warp& warp, const Op& op, u32 mask);  // by one lane: to a, imm from b

// ---- time (predicate.cpp) ----
enum ClockKind : u8 { kClock32, kClock64, kGlobalTimer, kGlobalTimerHigh };
Handler find_clock(ClockKind kind);

void no_operation(Warp& warp, const Op& op, u32 mask);

// ---- what device code calls (device_library.cpp) ----
// a: frame; list: the offsets of return value and parameters in it.
void trap(Warp& warp, const Op& op, u32 mask);
// nullptr: there is no such function. *formals: how many return values and parameters together.
Handler find_library_function(std::string_view name, unsigned* formals);
// The same of those with which kernels launch kernels (device_launch.cpp). They take the place of
// libcudadevrt's functions of these names.
Handler find_launch_function(std::string_view name, unsigned* formals);

// An instruction that could not be decoded inside a function that only a function pointer could
// reach. Op::imm: the text (const char*).
void undecoded(Warp& warp, const Op& op, u32 mask);

}  // namespace farcall::softgpu
