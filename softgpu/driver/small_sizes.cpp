// The forms of CUDA 2 in which sizes have 32 bits. Each is the function of today with smaller
// numbers; what has an address of 32 bits is not supported, as no memory lies so low.
#include "softgpu/driver/api.h"

namespace farcall::softgpu {

CUresult api::cuMemAllocHost(void** out, unsigned bytes) {
  return api::cuMemAllocHost_v2(out, bytes);
}

CUresult api::cuArrayCreate(CUarray* out, const CUDA_ARRAY_DESCRIPTOR_v1* small) {
  if (small == nullptr) return CUDA_ERROR_INVALID_VALUE;
  const CUDA_ARRAY_DESCRIPTOR wide = {small->Width, small->Height, small->Format,
                                      small->NumChannels};
  return api::cuArrayCreate_v2(out, &wide);
}

CUresult api::cuArrayGetDescriptor(CUDA_ARRAY_DESCRIPTOR_v1* small, CUarray array) {
  CUDA_ARRAY_DESCRIPTOR wide = {};
  if (CUresult error = api::cuArrayGetDescriptor_v2(small == nullptr ? nullptr : &wide, array)) {
    return error;
  }
  *small = {static_cast<unsigned>(wide.Width), static_cast<unsigned>(wide.Height), wide.Format,
            wide.NumChannels};
  return CUDA_SUCCESS;
}

CUresult api::cuArray3DCreate(CUarray* out, const CUDA_ARRAY3D_DESCRIPTOR_v1* small) {
  if (small == nullptr) return CUDA_ERROR_INVALID_VALUE;
  const CUDA_ARRAY3D_DESCRIPTOR wide = {small->Width,  small->Height,      small->Depth,
                                        small->Format, small->NumChannels, small->Flags};
  return api::cuArray3DCreate_v2(out, &wide);
}

CUresult api::cuArray3DGetDescriptor(CUDA_ARRAY3D_DESCRIPTOR_v1* small, CUarray array) {
  CUDA_ARRAY3D_DESCRIPTOR wide = {};
  if (CUresult error = api::cuArray3DGetDescriptor_v2(small == nullptr ? nullptr : &wide, array)) {
    return error;
  }
  *small = {static_cast<unsigned>(wide.Width),
            static_cast<unsigned>(wide.Height),
            static_cast<unsigned>(wide.Depth),
            wide.Format,
            wide.NumChannels,
            wide.Flags};
  return CUDA_SUCCESS;
}

CUresult api::cuMemcpyHtoA(CUarray target, unsigned offset, const void* source, unsigned bytes) {
  return api::cuMemcpyHtoA_v2(target, offset, source, bytes);
}
CUresult api::cuMemcpyHtoAAsync(CUarray target, unsigned offset, const void* source, unsigned bytes,
                                CUstream stream) {
  return api::cuMemcpyHtoAAsync_v2(target, offset, source, bytes, stream);
}
CUresult api::cuMemcpyAtoH(void* target, CUarray source, unsigned offset, unsigned bytes) {
  return api::cuMemcpyAtoH_v2(target, source, offset, bytes);
}
CUresult api::cuMemcpyAtoHAsync(void* target, CUarray source, unsigned offset, unsigned bytes,
                                CUstream stream) {
  return api::cuMemcpyAtoHAsync_v2(target, source, offset, bytes, stream);
}
CUresult api::cuMemcpyAtoA(CUarray target, unsigned target_offset, CUarray source,
                           unsigned source_offset, unsigned bytes) {
  return api::cuMemcpyAtoA_v2(target, target_offset, source, source_offset, bytes);
}

}  // namespace farcall::softgpu
