#include "softgpu/driver/words.h"

#include "softgpu/driver/context.h"
#include "softgpu/driver/graph.h"
#include "softgpu/driver/memory.h"
#include "softgpu/driver/stream.h"

namespace farcall::softgpu {
namespace {

constexpr unsigned kOperationsMax = 256;  // CUDA's limit for one batch

CUresult check_word(const WordOperation& operation) {
  const size_t bytes = operation.is_64_bit ? 8 : 4;
  return operation.address % bytes == 0 && is_accessible(operation.address, bytes)
             ? CUDA_SUCCESS
             : CUDA_ERROR_INVALID_VALUE;
}

CUresult make_wait(CUdeviceptr address, uint64_t value, unsigned flags, bool is_64_bit,
                   WordOperation* out) {
  *out = {{}, address, value, is_64_bit};
  switch (flags & ~unsigned{CU_STREAM_WAIT_VALUE_FLUSH}) {
    case CU_STREAM_WAIT_VALUE_GEQ:
      out->kind = WordOperation::Kind::kWaitGreaterEqual;
      break;
    case CU_STREAM_WAIT_VALUE_EQ:
      out->kind = WordOperation::Kind::kWaitEqual;
      break;
    case CU_STREAM_WAIT_VALUE_AND:
      out->kind = WordOperation::Kind::kWaitAnd;
      break;
    case CU_STREAM_WAIT_VALUE_NOR:
      out->kind = WordOperation::Kind::kWaitNor;
      break;
    default:
      return CUDA_ERROR_INVALID_VALUE;
  }
  return check_word(*out);
}

CUresult make_write(CUdeviceptr address, uint64_t value, unsigned flags, bool is_64_bit,
                    WordOperation* out) {
  if ((flags & ~unsigned{CU_STREAM_WRITE_VALUE_NO_MEMORY_BARRIER}) != 0) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  *out = {WordOperation::Kind::kWrite, address, value, is_64_bit};
  return check_word(*out);
}

CUresult submit(CUstream handle, const CUstreamBatchMemOpParams* operations, unsigned count,
                unsigned flags) {
  StreamRef stream;
  if (CUresult error = find_stream(handle, &stream)) return error;
  WordsWork work;
  if (CUresult error = make_words(operations, count, flags, &work)) return error;
  return stream->context().submit(*stream, std::move(work), [&](NodeContent& content) {
    content.words.assign(operations, operations + count);
  });
}

CUresult submit_wait(CUstream stream, CUstreamBatchMemOpType type, CUdeviceptr address,
                     cuuint64_t value, unsigned flags) {
  CUstreamBatchMemOpParams one = {};
  one.waitValue.operation = type;
  one.waitValue.address = address;
  one.waitValue.value64 = value;
  one.waitValue.flags = flags;
  return submit(stream, &one, 1, 0);
}

CUresult submit_write(CUstream stream, CUstreamBatchMemOpType type, CUdeviceptr address,
                      cuuint64_t value, unsigned flags) {
  CUstreamBatchMemOpParams one = {};
  one.writeValue.operation = type;
  one.writeValue.address = address;
  one.writeValue.value64 = value;
  one.writeValue.flags = flags;
  return submit(stream, &one, 1, 0);
}

}  // namespace

CUresult make_words(const CUstreamBatchMemOpParams* operations, unsigned count, unsigned flags,
                    WordsWork* out) {
  if ((count > 0 && operations == nullptr) || count > kOperationsMax || flags != 0) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  for (unsigned i = 0; i < count; ++i) {
    const CUstreamBatchMemOpParams& one = operations[i];
    WordOperation made;
    CUresult error = CUDA_SUCCESS;
    switch (one.operation) {
      case CU_STREAM_MEM_OP_WAIT_VALUE_32:
        error = make_wait(one.waitValue.address, one.waitValue.value, one.waitValue.flags, false,
                          &made);
        break;
      case CU_STREAM_MEM_OP_WAIT_VALUE_64:
        error = make_wait(one.waitValue.address, one.waitValue.value64, one.waitValue.flags, true,
                          &made);
        break;
      case CU_STREAM_MEM_OP_WRITE_VALUE_32:
        error = make_write(one.writeValue.address, one.writeValue.value, one.writeValue.flags,
                           false, &made);
        break;
      case CU_STREAM_MEM_OP_WRITE_VALUE_64:
        error = make_write(one.writeValue.address, one.writeValue.value64, one.writeValue.flags,
                           true, &made);
        break;
      case CU_STREAM_MEM_OP_BARRIER:
      case CU_STREAM_MEM_OP_FLUSH_REMOTE_WRITES:
        continue;  // memory is coherent
      default:
        return CUDA_ERROR_INVALID_VALUE;
    }
    if (error != CUDA_SUCCESS) return error;
    out->operations.push_back(made);
  }
  return CUDA_SUCCESS;
}

CUresult api::cuStreamWaitValue32_v2(CUstream stream, CUdeviceptr address, cuuint32_t value,
                                     unsigned flags) {
  return submit_wait(stream, CU_STREAM_MEM_OP_WAIT_VALUE_32, address, value, flags);
}
CUresult api::cuStreamWaitValue64_v2(CUstream stream, CUdeviceptr address, cuuint64_t value,
                                     unsigned flags) {
  return submit_wait(stream, CU_STREAM_MEM_OP_WAIT_VALUE_64, address, value, flags);
}
CUresult api::cuStreamWriteValue32_v2(CUstream stream, CUdeviceptr address, cuuint32_t value,
                                      unsigned flags) {
  return submit_write(stream, CU_STREAM_MEM_OP_WRITE_VALUE_32, address, value, flags);
}
CUresult api::cuStreamWriteValue64_v2(CUstream stream, CUdeviceptr address, cuuint64_t value,
                                      unsigned flags) {
  return submit_write(stream, CU_STREAM_MEM_OP_WRITE_VALUE_64, address, value, flags);
}
CUresult api::cuStreamBatchMemOp_v2(CUstream stream, unsigned count,
                                    CUstreamBatchMemOpParams* operations, unsigned flags) {
  return submit(stream, operations, count, flags);
}

// The first forms, which NVIDIA's driver had to be asked for by a module parameter, mean the same.
CUresult api::cuStreamWaitValue32(CUstream stream, CUdeviceptr address, cuuint32_t value,
                                  unsigned flags) {
  return api::cuStreamWaitValue32_v2(stream, address, value, flags);
}
CUresult api::cuStreamWaitValue64(CUstream stream, CUdeviceptr address, cuuint64_t value,
                                  unsigned flags) {
  return api::cuStreamWaitValue64_v2(stream, address, value, flags);
}
CUresult api::cuStreamWriteValue32(CUstream stream, CUdeviceptr address, cuuint32_t value,
                                   unsigned flags) {
  return api::cuStreamWriteValue32_v2(stream, address, value, flags);
}
CUresult api::cuStreamWriteValue64(CUstream stream, CUdeviceptr address, cuuint64_t value,
                                   unsigned flags) {
  return api::cuStreamWriteValue64_v2(stream, address, value, flags);
}
CUresult api::cuStreamBatchMemOp(CUstream stream, unsigned count,
                                 CUstreamBatchMemOpParams* operations, unsigned flags) {
  return api::cuStreamBatchMemOp_v2(stream, count, operations, flags);
}

}  // namespace farcall::softgpu
