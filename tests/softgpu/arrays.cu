// CUDA arrays through the runtime.
#include <numeric>
#include <vector>

#include "check.h"

int main() {
  const cudaChannelFormatDesc format = cudaCreateChannelDesc<float>();
  cudaArray_t array, box;
  OK(cudaMallocArray(&array, &format, 16, 16));
  std::vector<float> in(256), out(256);
  std::iota(in.begin(), in.end(), 0.5f);
  OK(cudaMemcpy2DToArray(array, 0, 0, in.data(), 64, 64, 16, cudaMemcpyHostToDevice));
  OK(cudaMemcpy2DFromArray(out.data(), 64, array, 0, 0, 64, 16, cudaMemcpyDeviceToHost));
  CHECK(in == out);
  // 2 x 3 elements at (4, 5).
  OK(cudaMemcpy2DFromArray(out.data(), 8, array, 16, 5, 8, 3, cudaMemcpyDeviceToHost));
  CHECK(out[0] == in[5 * 16 + 4] && out[5] == in[7 * 16 + 5]);
  GIVES(cudaErrorInvalidValue,
        cudaMemcpy2DToArray(array, 8, 0, in.data(), 64, 64, 16, cudaMemcpyHostToDevice));

  cudaExtent extent;
  cudaChannelFormatDesc asked;
  unsigned flags = 0;
  OK(cudaArrayGetInfo(&asked, &extent, &flags, array));
  CHECK(asked.x == 32 && asked.f == cudaChannelFormatKindFloat && extent.width == 16);

  OK(cudaMalloc3DArray(&box, &format, make_cudaExtent(8, 8, 4), cudaArraySurfaceLoadStore));
  cudaMemcpy3DParms copy = {};
  copy.srcPtr = make_cudaPitchedPtr(in.data(), 32, 8, 8);
  copy.dstArray = box;
  copy.extent = make_cudaExtent(8, 8, 4);
  copy.kind = cudaMemcpyHostToDevice;
  OK(cudaMemcpy3D(&copy));
  copy = {};
  copy.srcArray = box;
  copy.srcPos = make_cudaPos(0, 0, 3);
  copy.dstPtr = make_cudaPitchedPtr(out.data(), 32, 8, 8);
  copy.extent = make_cudaExtent(8, 8, 1);
  copy.kind = cudaMemcpyDeviceToHost;
  OK(cudaMemcpy3D(&copy));
  CHECK(out[63] == in[255]);

  cudaMipmappedArray_t mipmapped;
  cudaArray_t level;
  OK(cudaMallocMipmappedArray(&mipmapped, &format, make_cudaExtent(8, 8, 0), 3));
  OK(cudaGetMipmappedArrayLevel(&level, mipmapped, 2));
  OK(cudaArrayGetInfo(&asked, &extent, &flags, level));
  CHECK(extent.width == 2);
  OK(cudaFreeMipmappedArray(mipmapped));

  // What an array can't be.
  GIVES(cudaErrorInvalidValue, cudaMallocArray(&level, &format, 0, 16));
  GIVES(cudaErrorInvalidValue, cudaMallocArray(&level, &format, 1 << 20, 16));
  GIVES(cudaErrorInvalidValue,
        cudaMalloc3DArray(&level, &format, make_cudaExtent(8, 4, 6), cudaArrayCubemap));
  GIVES(cudaErrorInvalidValue, cudaMalloc3DArray(&level, &format, make_cudaExtent(8, 8, 7),
                                                 cudaArrayCubemap | cudaArrayLayered));
  GIVES(cudaErrorNotSupported,
        cudaMalloc3DArray(&level, &format, make_cudaExtent(64, 64, 0), cudaArraySparse));
  cudaGetLastError();
  OK(cudaFreeArray(array));
  OK(cudaFreeArray(box));
  return finish();
}
