// The runtime and the driver API in one program: they share the primary context, so handles go both
// ways.
#include <cuda.h>
#include <cuda_profiler_api.h>

#include <cstring>

#include "check.h"

__global__ void put(int* cell, int value) { *cell = value; }

int main() {
  int* cell;
  OK(cudaMalloc(&cell, sizeof(int)));
  CUcontext context = nullptr, primary = nullptr;
  CHECK(cuCtxGetCurrent(&context) == CUDA_SUCCESS && context != nullptr);
  CHECK(cuDevicePrimaryCtxRetain(&primary, 0) == CUDA_SUCCESS && primary == context);
  CHECK(cuDevicePrimaryCtxRelease(0) == CUDA_SUCCESS);
  CUdeviceptr base = 0;
  size_t bytes = 0;
  CHECK(cuMemGetAddressRange(&base, &bytes, reinterpret_cast<CUdeviceptr>(cell)) == CUDA_SUCCESS);
  CHECK(base == reinterpret_cast<CUdeviceptr>(cell) && bytes == sizeof(int));

  // The runtime's kernel by the driver, in the driver's stream, which the runtime waits for.
  cudaFunction_t function;
  cudaKernel_t kernel;
  CUstream stream;
  OK(cudaGetFuncBySymbol(&function, reinterpret_cast<const void*>(put)));
  OK(cudaGetKernel(&kernel, reinterpret_cast<const void*>(put)));
  CHECK(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING) == CUDA_SUCCESS);
  int value = 12;
  void* params[] = {&cell, &value};
  CHECK(cuLaunchKernel(reinterpret_cast<CUfunction>(kernel), 1, 1, 1, 1, 1, 1, 0, stream, params,
                       nullptr) == CUDA_SUCCESS);
  OK(cudaStreamSynchronize(stream));
  int host = 0;
  OK(cudaMemcpy(&host, cell, sizeof(int), cudaMemcpyDeviceToHost));
  CHECK(host == 12);
  struct {
    int* cell;
    int value;
  } packed = {cell, 13};
  size_t size = sizeof(packed);
  void* extra[] = {CU_LAUNCH_PARAM_BUFFER_POINTER, &packed, CU_LAUNCH_PARAM_BUFFER_SIZE, &size,
                   CU_LAUNCH_PARAM_END};
  CHECK(cuLaunchKernel(function, 1, 1, 1, 1, 1, 1, 0, stream, nullptr, extra) == CUDA_SUCCESS);
  CHECK(cuStreamSynchronize(stream) == CUDA_SUCCESS);
  OK(cudaMemcpy(&host, cell, sizeof(int), cudaMemcpyDeviceToHost));
  CHECK(host == 13);

  const char* name = nullptr;
  CHECK(cuGetErrorName(CUDA_ERROR_OUT_OF_MEMORY, &name) == CUDA_SUCCESS);
  CHECK(std::strcmp(name, "CUDA_ERROR_OUT_OF_MEMORY") == 0);
  OK(cudaProfilerStart());
  OK(cudaProfilerStop());
  OK(cudaCtxResetPersistingL2Cache());
  cudaExternalMemory_t external;
  cudaExternalMemoryHandleDesc description = {};
  description.type = cudaExternalMemoryHandleTypeOpaqueWin32;
  description.size = 4096;
  GIVES(cudaErrorNotSupported, cudaImportExternalMemory(&external, &description));
  cudaGetLastError();

  // A context of the program's own beside the primary one.
  CUcontext own;
  CUdeviceptr memory;
  CHECK(cuCtxCreate(&own, nullptr, 0, 0) == CUDA_SUCCESS);
  CHECK(cuMemAlloc(&memory, 100) == CUDA_SUCCESS);
  CHECK(cuCtxDestroy(own) == CUDA_SUCCESS);
  OK(cudaDeviceSynchronize());
  return finish();
}
