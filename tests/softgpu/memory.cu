// Allocations and copies of every shape through the runtime.
#include <cstring>
#include <numeric>
#include <vector>

#include "check.h"

static char registered[8192];

int main() {
  std::vector<unsigned char> in(1024), out(1024);
  std::iota(in.begin(), in.end(), 7);
  void *a, *b;
  OK(cudaMalloc(&a, 1024));
  OK(cudaMalloc(&b, 1024));
  OK(cudaMemcpy(a, in.data(), 1024, cudaMemcpyHostToDevice));
  OK(cudaMemcpy(b, a, 1024, cudaMemcpyDeviceToDevice));
  OK(cudaMemcpy(out.data(), b, 1024, cudaMemcpyDeviceToHost));
  CHECK(in == out);
  OK(cudaMemset(a, 0x5a, 512));
  OK(cudaMemcpy(out.data(), a, 1024, cudaMemcpyDefault));
  CHECK(out[0] == 0x5a && out[511] == 0x5a && out[512] == in[512]);
  GIVES(cudaErrorInvalidValue, cudaMemcpy(a, in.data(), 1025, cudaMemcpyHostToDevice));
  GIVES(cudaErrorMemoryAllocation, cudaMalloc(&b, size_t{1} << 50));
  CHECK(cudaGetLastError() == cudaErrorMemoryAllocation && cudaGetLastError() == cudaSuccess);

  // Rows.
  void* rows;
  size_t pitch = 0;
  OK(cudaMallocPitch(&rows, &pitch, 100, 10));
  CHECK(pitch >= 100 && pitch % 32 == 0);
  OK(cudaMemcpy2D(rows, pitch, in.data(), 100, 100, 10, cudaMemcpyHostToDevice));
  std::fill(out.begin(), out.end(), 0);
  OK(cudaMemcpy2D(out.data(), 100, rows, pitch, 100, 10, cudaMemcpyDeviceToHost));
  CHECK(std::memcmp(in.data(), out.data(), 1000) == 0);
  OK(cudaMemset2D(rows, pitch, 3, 50, 2));
  OK(cudaMemcpy2D(out.data(), 100, rows, pitch, 100, 10, cudaMemcpyDeviceToHost));
  CHECK(out[49] == 3 && out[50] == in[50] && out[149] == 3 && out[200] == in[200]);

  // Boxes.
  const cudaExtent extent = make_cudaExtent(64, 4, 3);
  cudaPitchedPtr box;
  OK(cudaMalloc3D(&box, extent));
  OK(cudaMemset3D(box, 9, extent));
  cudaMemcpy3DParms copy = {};
  copy.srcPtr = box;
  copy.dstPtr = make_cudaPitchedPtr(out.data(), 64, 64, 4);
  copy.extent = extent;
  copy.kind = cudaMemcpyDeviceToHost;
  OK(cudaMemcpy3D(&copy));
  CHECK(out[0] == 9 && out[64 * 4 * 3 - 1] == 9 && out[64 * 4 * 3] == in[64 * 4 * 3]);

  // Pinned memory, and what pointers tell.
  void *pinned, *mapped;
  OK(cudaMallocHost(&pinned, 4096));
  OK(cudaMemcpyAsync(pinned, a, 512, cudaMemcpyDeviceToHost, 0));
  OK(cudaDeviceSynchronize());
  CHECK(static_cast<char*>(pinned)[511] == 0x5a);
  cudaPointerAttributes attributes;
  OK(cudaPointerGetAttributes(&attributes, a));
  CHECK(attributes.type == cudaMemoryTypeDevice && attributes.devicePointer == a &&
        attributes.hostPointer == nullptr);
  OK(cudaPointerGetAttributes(&attributes, pinned));
  CHECK(attributes.type == cudaMemoryTypeHost && attributes.hostPointer == pinned);
  OK(cudaPointerGetAttributes(&attributes, in.data()));
  CHECK(attributes.type == cudaMemoryTypeUnregistered);
  OK(cudaHostRegister(registered, sizeof(registered), cudaHostRegisterMapped));
  OK(cudaHostGetDevicePointer(&mapped, registered, 0));
  CHECK(mapped == registered);
  GIVES(cudaErrorHostMemoryAlreadyRegistered, cudaHostRegister(registered, 10, 0));
  OK(cudaHostUnregister(registered));
  GIVES(cudaErrorHostMemoryNotRegistered, cudaHostUnregister(registered));
  cudaGetLastError();

  OK(cudaFreeHost(pinned));
  for (void* pointer : {a, b, rows, box.ptr}) OK(cudaFree(pointer));
  GIVES(cudaErrorInvalidValue, cudaFree(a));
  OK(cudaFree(nullptr));
  return finish();
}
