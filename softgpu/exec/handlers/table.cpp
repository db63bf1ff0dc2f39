// The HandlerTable of one instruction set.
#include "softgpu/exec/handlers/tables.h"

#define FARCALL_STRINGIFY(name) #name
#define FARCALL_NAME(name) FARCALL_STRINGIFY(name)

namespace farcall::softgpu::FARCALL_ISA {

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
};

}  // namespace farcall::softgpu::FARCALL_ISA
