// The HandlerTable of one instruction set.
#include "softgpu/exec/handlers/tables.h"
#include "softgpu/exec/state.h"

#define FARCALL_STRINGIFY(name) #name
#define FARCALL_NAME(name) FARCALL_STRINGIFY(name)

namespace farcall::softgpu::FARCALL_ISA {
namespace {

void run_each(const Walker* walker, const Walker* end, const Op& op, Warp* volatile* current) {
  const Handler handler = op.handler;
  const u32 negation = op.guard_negated ? kAllLanes : 0;
  for (; walker != end; ++walker) {
    const u32 active = walker->mask & (walker->warp->predicates[op.guard] ^ negation);
    if (active == 0) continue;
    *current = walker->warp;
    handler(*walker->warp, op, active);
  }
}

ConvoyHandler for_convoy(Handler handler) {
  ConvoyHandler (*const files[])(Handler) = {compare_for_convoy, integer_for_convoy,
                                             float_for_convoy, memory_for_convoy};
  for (const auto find : files) {
    if (const ConvoyHandler found = find(handler)) return found;
  }
  return run_each;
}

}  // namespace

const HandlerTable kTable = {
    .name = FARCALL_NAME(FARCALL_ISA),
    .integer = find_integer,
    .carry = find_carry,
    .floating = find_float,
    .compare = find_compare,
    .select = find_select,
    .select_signed = find_select_signed,
    .copy = find_copy,
    .pack = find_pack,
    .unpack = find_unpack,
    .convert = find_convert,
    .convert_pair = find_convert_pair,
    .load = find_load,
    .store = find_store,
    .load_vector = find_load_vector,
    .store_vector = find_store_vector,
    .shuffle = find_shuffle,
    .mma = find_mma,
    .matrix_move = find_matrix_move,
    .wmma_load = wmma_load,
    .wmma_store = wmma_store,
    .wmma_multiply = find_wmma_multiply,
    .for_convoy = for_convoy,
};

}  // namespace farcall::softgpu::FARCALL_ISA
