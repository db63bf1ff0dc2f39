// A decoded instruction and the kernel it belongs to: what decode/ writes and exec/ runs.
//
// An operand is a Slot: the place of 32 values, one per lane, lying side by side. 8, 16 and 32-bit
// registers take 32 bits a lane (upper bits of narrow ones are undefined), 64-bit registers 64,
// b128 two 64-bit slots, low half first. Immediates and values common to a block are slots too, so
// a handler needs no cases. Predicates are bit masks.
#pragma once

#include <deque>
#include <string>
#include <vector>

#include "softgpu/exec/buffer.h"
#include "softgpu/exec/engine.h"
#include "softgpu/exec/types.h"

namespace farcall::softgpu {

struct Warp;
struct Op;
class LinkedProgram;
namespace ptx {
struct Function;
struct Module;
}  // namespace ptx

// The upper two bits say which memory, the rest is an offset in bytes.
using Slot = u32;
constexpr Slot kRegisterSlot = 0;             // of the warp
constexpr Slot kConstantSlot = u32{1} << 30;  // of the kernel: immediates
constexpr Slot kBlockSlot = u32{2} << 30;     // of the block: %ctaid and its like
constexpr Slot kSlotOffsetMask = (u32{1} << 30) - 1;
constexpr Slot kNoSlot = ~u32{0};

// Computes the lanes in `mask` (never empty). Leaves a kernel that faults by raise_fault(), which
// jumps: handlers hold nothing that needs a destructor.
using Handler = void (*)(Warp&, const Op&, u32 mask);

// The same for warps of a convoy, one after the other. *current: the warp that it is about; whoever
// can fault keeps it up to date.
struct Walker;
using ConvoyHandler = void (*)(const Walker* walker, const Walker* end, const Op& op,
                               Warp* volatile* current);

// What the scheduler must do beside, or instead of, calling the handler.
enum class Control : u8 {
  kPlain,
  kBranch,         // target
  kBranchIndexed,  // a: index, list/count: targets
  kCall,           // target: function
  kCallIndirect,   // a: function address
  kReturn,         // target: function that returns
  kExit,
  kWarpSync,  // c: member mask; waits for all members, then calls the handler if there is one
  kBarrier,   // a: barrier, b: thread count or kNoSlot; flags: BarrierKind
  kYield,     // let others run
  kClusterArrive,
  kClusterWait,
};

enum BarrierKind : u8 { kBarrierSync, kBarrierArrive, kBarrierPopc, kBarrierAnd, kBarrierOr };

// How a memory instruction finds its address. kGeneric also serves .global and .const.
enum class AddressKind : u8 { kGeneric, kShared32, kShared64, kLocal, kParam };
constexpr int kAddressKinds =
    4;  // that have registers; kParam is an offset into the launch's parameters

// What an access to memory does, for messages and for the checkers (check.h).
enum class Access : u8 {
  kUnknown,  // only its bounds are checked
  kRead,
  kWrite,
  kAtomic,        // reads and writes at once
  kStrongRead,    // .relaxed, .acquire: meant to meet writes of other threads
  kStrongWrite,   // .relaxed, .release
  kOfInstruction  // what Op::access says
};
// Of a memory instruction: what it does at each lane's address.
struct AccessInfo {
  Access kind = Access::kUnknown;
  u8 register_bits = 0;  // stores: of the slots that hold the values, 32 or 64
  u16 bytes = 0;         // 0: not known
};

struct alignas(64) Op {
  Handler handler = nullptr;
  const u32* list = nullptr;  // further slots and the like; owned by the kernel
  s64 imm = 0;                // memory: byte offset
  Slot d = kNoSlot, a = kNoSlot, b = kNoSlot, c = kNoSlot;
  u32 target = 0;
  u32 line = 0;        // in the PTX text
  u16 guard = 0;       // predicate 0 is always true
  u16 pd = 0, pq = 0;  // predicate destinations; 0: none
  u16 ps = 0;          // predicate source
  Control control = Control::kPlain;
  u8 count = 0;  // of list, or of what the handler says
  u8 flags = 0;  // the handler's
  bool guard_negated = false;
  AccessInfo access;
};
static_assert(sizeof(Op) == 64);

// Saved when a recursive function is entered again: one register's slot and bytes a lane.
struct SavedSlot {
  Slot slot;
  u32 bytes;
};

// A variable of a kernel or a frame, for messages and checkers.
struct NamedRange {
  std::string name;
  u32 offset, bytes;
};

struct DecodedFunction {
  std::string name;
  const ptx::Function* source = nullptr;  // owned by the program, like the module
  const ptx::Module* module = nullptr;
  u32 entry = 0;               // op
  Slot return_slot = kNoSlot;  // per lane: op to return to
  Slot frame_slot = kNoSlot;   // per lane: address of the frame in local memory
  u32 frame_bytes = 0;         // .local and .param variables
  u32 save_bytes = 0;          // below the frame; 0 unless recursive
  std::vector<Slot> formals;   // address of each return value and parameter, in the caller's frame
  std::vector<SavedSlot> saved;
  u16 first_predicate = 0, predicate_end = 0;
  bool recursive = false;
  bool undecoded = false;                   // calling it is a fault
  std::vector<NamedRange> local_variables;  // .local and .param, offsets in the frame
};

// Special registers that a kernel uses; slots are filled when a warp or a block starts.
enum class Special : u8 {
  kTidX,
  kTidY,
  kTidZ,
  kLaneId,
  kWarpId,
  kLaneMaskEq,
  kLaneMaskLt,
  kLaneMaskLe,
  kLaneMaskGt,
  kLaneMaskGe,
  kFirstOfBlock,  // from here on one value for all threads
  kNtidX = kFirstOfBlock,
  kNtidY,
  kNtidZ,
  kCtaidX,
  kCtaidY,
  kCtaidZ,
  kNctaidX,
  kNctaidY,
  kNctaidZ,
  kNwarpId,
  kSmId,
  kNsmId,
  kDynamicSmemSize,
  kTotalSmemSize,
  kEnvReg1,
  kEnvReg2,
  kClusterIdX,
  kClusterIdY,
  kClusterIdZ,
  kNclusterIdX,
  kNclusterIdY,
  kNclusterIdZ,
  kClusterCtaidX,
  kClusterCtaidY,
  kClusterCtaidZ,
  kClusterNctaidX,
  kClusterNctaidY,
  kClusterNctaidZ,
  kClusterCtarank,
  kClusterNctarank,
  kFirstWide,  // from here on 64 bits
  kGridId = kFirstWide,
  kSharedBase,  // what cvta.shared adds
  kParamBase,   // of the kernel's parameters
};
constexpr bool is_wide(Special special) { return special >= Special::kFirstWide; }
struct SpecialSlot {
  Special special;
  Slot slot;
};

class Kernel {
 public:
  KernelInfo info;
  u64 id = 0;  // never used twice by an engine
  std::vector<Op> code;
  std::vector<ConvoyHandler> convoy_code;  // of each Op that has a handler
  // Run beforehand, for all lanes: once for a grid and once for a block, with results in slots of
  // the block, and once for each warp of it (decode/hoist.h). No faults, no branches.
  std::vector<Op> grid_prologue, block_prologue, warp_prologue;
  std::deque<std::vector<u32>> lists;  // what Op::list points into
  std::deque<std::string> messages;    // what undecoded() says
  std::vector<u64> constants;          // kConstantSlot, while decoding
  Buffer constant_memory;              // the same, aligned
  std::vector<SpecialSlot> specials;
  std::vector<DecodedFunction> functions;  // [0]: the kernel itself
  std::vector<u32>
      function_of_address;  // function address -> index into functions, ~0: not callable
  u32 register_bytes = 0;
  u32 block_value_bytes = 0;
  u32 predicates = 1;
  u32 shared_bytes = 0;  // static; dynamic shared memory lies behind it
  std::vector<NamedRange> shared_variables;
  const LinkedProgram* program = nullptr;  // outlives the kernel
  Program* owner = nullptr;                // the same, as the engine's users see it
  u32 stack_bytes = 0;                     // local memory per thread, but for what recursion needs
  bool recursive = false;
  bool may_wait = false;  // has instructions with which blocks can wait for each other
};

}  // namespace farcall::softgpu
