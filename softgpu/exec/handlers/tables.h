// What the handler files of one instruction set contribute to its HandlerTable; see handlers.h for
// the meanings.
#pragma once

#include "softgpu/exec/handlers/handlers.h"

namespace farcall::softgpu::FARCALL_ISA {

Handler find_integer(IntegerOp op, ptx::Type type);
Handler find_carry(CarryOp op, ptx::Type type);
Handler find_float(FloatOp op, ptx::Type type, FloatMode mode);
Handler find_half(FloatOp op, ptx::Type type, FloatMode mode);  // find_float's for 16 bits
Handler find_compare(Comparison comparison, ptx::Type type, bool flush);
Handler find_select(unsigned bits);
Handler find_select_signed(ptx::Type type);
Handler find_copy(unsigned bits);
Handler find_pack(unsigned bits, unsigned count);
Handler find_unpack(unsigned bits, unsigned count);
Handler find_convert(ptx::Type to, ptx::Type from, ConvertMode mode, unsigned d_register_bits);
Handler find_convert_pair(ptx::Type to, ConvertMode mode);
Handler find_load(ptx::Type type, AddressKind kind, unsigned register_bits);
Handler find_store(ptx::Type type, AddressKind kind, unsigned register_bits);
Handler find_load_vector(ptx::Type type, AddressKind kind, unsigned register_bits);
Handler find_store_vector(ptx::Type type, AddressKind kind, unsigned register_bits);
Handler find_shuffle(ShuffleMode mode);
Handler find_mma(MatrixInput a, MatrixInput b, MatrixSum sum, int rows, bool saturate);
Handler find_matrix_move(MatrixMove move);
void wmma_load(Warp& warp, const Op& op, u32 mask);
void wmma_store(Warp& warp, const Op& op, u32 mask);
Handler find_wmma_multiply(MatrixInput input, MatrixSum sum);

// nullptr: the file has none for this handler.
ConvoyHandler compare_for_convoy(Handler handler);
ConvoyHandler integer_for_convoy(Handler handler);
ConvoyHandler float_for_convoy(Handler handler);
ConvoyHandler memory_for_convoy(Handler handler);

extern const HandlerTable kTable;

}  // namespace farcall::softgpu::FARCALL_ISA
