#include "client/copy_batch.h"

#include <algorithm>

#include "client/copy.h"
#include "client/driver_structs.h"
#include "client/program.h"
#include "client/stub.h"
#include "client/stub_args.h"
#include "rpc/schema/driver_array.capnp.h"
#include "rpc/schema/driver_capture.capnp.h"

namespace farcall::client {
namespace {

namespace schema = rpc::schema;
using rpc::HandleId;
using rpc::Opcode;

// CUDA does not batch in the legacy stream, nor in captures.
int check_stream(Session& session, HandleId stream) {
  if (stream == rpc::kStreamDefault || stream == rpc::kStreamLegacy)
    return CUDA_ERROR_INVALID_VALUE;
  if (!usable(session, stream, rpc::HandleType::kStream)) return CUDA_ERROR_INVALID_HANDLE;
  if (!program().graphs.capturing()) return CUDA_SUCCESS;
  Call call(session, Opcode::k_cuStreamIsCapturing);
  call.args<schema::CuStreamIsCapturing>().setHStream(stream);
  rpc::Reply reply = call.wait();
  if (reply.result() != CUDA_SUCCESS) return reply.result();
  const int status = reply.results<schema::CuStreamIsCapturingResults>().getCaptureStatus();
  return status == CU_STREAM_CAPTURE_STATUS_NONE ? CUDA_SUCCESS : CUDA_ERROR_NOT_SUPPORTED;
}

bool known_order(CUmemcpySrcAccessOrder order) {
  return order == CU_MEMCPY_SRC_ACCESS_ORDER_STREAM ||
         order == CU_MEMCPY_SRC_ACCESS_ORDER_DURING_API_CALL ||
         order == CU_MEMCPY_SRC_ACCESS_ORDER_ANY;
}

size_t bytes_of(CUarray_format format) {
  switch (format) {
    case CU_AD_FORMAT_UNSIGNED_INT8:
    case CU_AD_FORMAT_SIGNED_INT8:
      return 1;
    case CU_AD_FORMAT_UNSIGNED_INT16:
    case CU_AD_FORMAT_SIGNED_INT16:
    case CU_AD_FORMAT_HALF:
      return 2;
    case CU_AD_FORMAT_UNSIGNED_INT32:
    case CU_AD_FORMAT_SIGNED_INT32:
    case CU_AD_FORMAT_FLOAT:
      return 4;
    default:
      return 0;
  }
}

int element_bytes(Session& session, CUarray array, size_t* out) {
  if (array == nullptr || !usable(session, id_of(array), rpc::HandleType::kArray))
    return CUDA_ERROR_INVALID_HANDLE;
  CachedCall call(session, Opcode::k_cuArray3DGetDescriptor_v2);
  call.args<schema::CuArray3DGetDescriptorV2>().setHArray(id_of(array));
  rpc::Reply reply = call.wait();
  if (reply.result() != CUDA_SUCCESS) return reply.result();
  CUDA_ARRAY3D_DESCRIPTOR shape = {};
  get(reply.results<schema::CuArray3DGetDescriptorV2Results>().getPArrayDescriptor(), shape);
  *out = bytes_of(shape.Format) * shape.NumChannels;
  return *out == 0 ? CUDA_ERROR_NOT_SUPPORTED : CUDA_SUCCESS;
}

// One end of a copy between boxes.
struct End {
  Side side;
  bool on_device = true;
};
int read_end(const CUmemcpy3DOperand& operand, const CUextent3D& extent, size_t element, End* out) {
  if (operand.type == CU_MEMCPY_OPERAND_TYPE_ARRAY) {
    const CUoffset3D& offset = operand.op.array.offset;
    out->side.array = id_of(operand.op.array.array);
    out->side.x_bytes = offset.x * element;
    out->side.y = offset.y;
    out->side.z = offset.z;
    return CUDA_SUCCESS;
  }
  if (operand.type != CU_MEMCPY_OPERAND_TYPE_POINTER || operand.op.ptr.ptr == 0)
    return CUDA_ERROR_INVALID_VALUE;
  const auto& memory = operand.op.ptr;
  out->side.address = memory.ptr;
  out->side.pitch_bytes = (memory.rowLength != 0 ? memory.rowLength : extent.width) * element;
  out->side.slice_rows = memory.layerHeight != 0 ? memory.layerHeight : extent.height;
  out->on_device = classify(memory.ptr, 0) == Direction::kHostToDevice;
  return CUDA_SUCCESS;
}

int copy_box(Session& session, const CUDA_MEMCPY3D_BATCH_OP& operation, HandleId stream) {
  const CUextent3D& extent = operation.extent;
  if (extent.width == 0 || extent.height == 0 || extent.depth == 0 ||
      !known_order(operation.srcAccessOrder)) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  size_t element = 1;  // the program counts in elements of the array, in bytes if there is none
  for (const CUmemcpy3DOperand* operand : {&operation.dst, &operation.src}) {
    if (operand->type != CU_MEMCPY_OPERAND_TYPE_ARRAY) continue;
    if (const int failed = element_bytes(session, operand->op.array.array, &element)) return failed;
  }
  End to, from;
  if (const int failed = read_end(operation.dst, extent, element, &to)) return failed;
  if (const int failed = read_end(operation.src, extent, element, &from)) return failed;
  const Extent bytes{extent.width * element, extent.height, extent.depth};
  for (const End* end : {&to, &from}) {
    if (end->side.array == 0 && end->side.pitch_bytes < bytes.width_bytes)
      return CUDA_ERROR_INVALID_VALUE;
  }
  return copy_rows(session, direction_of(to.on_device, from.on_device), to.side, from.side, bytes,
                   stream);
}

void tell(size_t* failed, size_t which) {
  if (failed != nullptr) *failed = which;
}

}  // namespace

int copy_batch(Session& session, const CUdeviceptr* destinations, const CUdeviceptr* sources,
               const size_t* sizes, size_t count, const CUmemcpyAttributes* attributes,
               const size_t* first_copies, size_t attribute_count, size_t* failed,
               HandleId stream) {
  tell(failed, SIZE_MAX);
  if (destinations == nullptr || sources == nullptr || sizes == nullptr || count == 0 ||
      attributes == nullptr || first_copies == nullptr || attribute_count == 0 ||
      attribute_count > count || first_copies[0] != 0 ||
      !std::is_sorted(first_copies, first_copies + attribute_count)) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  if (const int bad = check_stream(session, stream)) return bad;
  size_t current = 0;
  for (size_t i = 0; i < count; ++i) {
    while (current + 1 < attribute_count && first_copies[current + 1] <= i) ++current;
    const int result = known_order(attributes[current].srcAccessOrder)
                           ? copy(session, classify(destinations[i], sources[i]), destinations[i],
                                  sources[i], sizes[i], stream, /*async=*/true)
                           : CUDA_ERROR_INVALID_VALUE;
    if (result != CUDA_SUCCESS) {
      tell(failed, i);
      return result;
    }
  }
  return CUDA_SUCCESS;
}

int copy_box_batch(Session& session, const CUDA_MEMCPY3D_BATCH_OP* operations, size_t count,
                   size_t* failed, unsigned long long flags, HandleId stream) {
  tell(failed, SIZE_MAX);
  if (count == 0 || operations == nullptr || flags != 0) return CUDA_ERROR_INVALID_VALUE;
  if (const int bad = check_stream(session, stream)) return bad;
  for (size_t i = 0; i < count; ++i) {
    if (const int result = copy_box(session, operations[i], stream)) {
      tell(failed, i);
      return result;
    }
  }
  return CUDA_SUCCESS;
}

}  // namespace farcall::client
