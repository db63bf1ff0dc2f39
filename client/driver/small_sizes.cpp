// The forms of CUDA 2 in which sizes have 32 bits. Each is the function of today with smaller
// numbers; what has an address of 32 bits does not exist here, as no memory lies so low.
#include <cuda.h>

#include "client/driver_bodies.h"
#include "client/stub.h"

namespace farcall::client::driver {

int cuMemAllocHost(Session&, void** pp, unsigned int bytesize) {
  return ::cuMemAllocHost_v2(pp, bytesize);
}

int cuArrayCreate(Session&, CUarray* pHandle, const CUDA_ARRAY_DESCRIPTOR_v1* pAllocateArray) {
  if (pAllocateArray == nullptr) return CUDA_ERROR_INVALID_VALUE;
  const CUDA_ARRAY_DESCRIPTOR wide = {pAllocateArray->Width, pAllocateArray->Height,
                                      pAllocateArray->Format, pAllocateArray->NumChannels};
  return ::cuArrayCreate_v2(pHandle, &wide);
}

int cuArrayGetDescriptor(Session&, CUDA_ARRAY_DESCRIPTOR_v1* pArrayDescriptor, CUarray hArray) {
  CUDA_ARRAY_DESCRIPTOR wide = {};
  const CUresult result =
      ::cuArrayGetDescriptor_v2(pArrayDescriptor == nullptr ? nullptr : &wide, hArray);
  if (result != CUDA_SUCCESS) return result;
  *pArrayDescriptor = {unsigned(wide.Width), unsigned(wide.Height), wide.Format, wide.NumChannels};
  return CUDA_SUCCESS;
}

int cuArray3DCreate(Session&, CUarray* pHandle, const CUDA_ARRAY3D_DESCRIPTOR_v1* pAllocateArray) {
  if (pAllocateArray == nullptr) return CUDA_ERROR_INVALID_VALUE;
  const CUDA_ARRAY3D_DESCRIPTOR wide = {pAllocateArray->Width,       pAllocateArray->Height,
                                        pAllocateArray->Depth,       pAllocateArray->Format,
                                        pAllocateArray->NumChannels, pAllocateArray->Flags};
  return ::cuArray3DCreate_v2(pHandle, &wide);
}

int cuArray3DGetDescriptor(Session&, CUDA_ARRAY3D_DESCRIPTOR_v1* pArrayDescriptor, CUarray hArray) {
  CUDA_ARRAY3D_DESCRIPTOR wide = {};
  const CUresult result =
      ::cuArray3DGetDescriptor_v2(pArrayDescriptor == nullptr ? nullptr : &wide, hArray);
  if (result != CUDA_SUCCESS) return result;
  *pArrayDescriptor = {unsigned(wide.Width), unsigned(wide.Height), unsigned(wide.Depth),
                       wide.Format,          wide.NumChannels,      wide.Flags};
  return CUDA_SUCCESS;
}

int cuMemcpyHtoA(Session&, CUarray dstArray, unsigned int dstOffset, const void* srcHost,
                 unsigned int ByteCount) {
  return ::cuMemcpyHtoA_v2(dstArray, dstOffset, srcHost, ByteCount);
}

int cuMemcpyHtoAAsync(Session&, CUarray dstArray, unsigned int dstOffset, const void* srcHost,
                      unsigned int ByteCount, CUstream hStream) {
  return ::cuMemcpyHtoAAsync_v2(dstArray, dstOffset, srcHost, ByteCount, hStream);
}

int cuMemcpyAtoH(Session&, void* dstHost, CUarray srcArray, unsigned int srcOffset,
                 unsigned int ByteCount) {
  return ::cuMemcpyAtoH_v2(dstHost, srcArray, srcOffset, ByteCount);
}

int cuMemcpyAtoHAsync(Session&, void* dstHost, CUarray srcArray, unsigned int srcOffset,
                      unsigned int ByteCount, CUstream hStream) {
  return ::cuMemcpyAtoHAsync_v2(dstHost, srcArray, srcOffset, ByteCount, hStream);
}

int cuMemcpyAtoA(Session&, CUarray dstArray, unsigned int dstOffset, CUarray srcArray,
                 unsigned int srcOffset, unsigned int ByteCount) {
  return ::cuMemcpyAtoA_v2(dstArray, dstOffset, srcArray, srcOffset, ByteCount);
}

}  // namespace farcall::client::driver
