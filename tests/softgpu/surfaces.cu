// Surface objects through the runtime: written by a kernel, read by another as a texture or by the
// host, in every shape; what happens outside.
#include <cstring>
#include <vector>

#include "check.h"

cudaSurfaceObject_t surface_of(cudaArray_t array) {
  cudaResourceDesc resource = {};
  resource.resType = cudaResourceTypeArray;
  resource.res.array.array = array;
  cudaSurfaceObject_t surface = 0;
  OK(cudaCreateSurfaceObject(&surface, &resource));
  return surface;
}
cudaArray_t make_array(const cudaChannelFormatDesc& format, cudaExtent extent, unsigned flags = 0) {
  cudaArray_t array = nullptr;
  OK(cudaMalloc3DArray(&array, &format, extent, flags | cudaArraySurfaceLoadStore));
  return array;
}
std::vector<float> contents(cudaArray_t array, size_t width, size_t height, size_t depth) {
  std::vector<float> out(width * height * depth);
  cudaMemcpy3DParms copy = {};
  copy.srcArray = array;
  copy.dstPtr = make_cudaPitchedPtr(out.data(), width * 4, width, height);
  copy.extent = make_cudaExtent(width, height, depth);
  copy.kind = cudaMemcpyDeviceToHost;
  OK(cudaMemcpy3D(&copy));
  return out;
}
bool counts_up(const std::vector<float>& values) {
  for (size_t i = 0; i < values.size(); ++i) {
    if (values[i] != (float)i) return false;
  }
  return true;
}

__global__ void write_1d(cudaSurfaceObject_t s) {
  surf1Dwrite((float)threadIdx.x, s, threadIdx.x * 4);
}
__global__ void write_2d(cudaSurfaceObject_t s) {
  surf2Dwrite((float)(threadIdx.y * blockDim.x + threadIdx.x), s, threadIdx.x * 4, threadIdx.y);
}
__global__ void write_3d(cudaSurfaceObject_t s) {
  surf3Dwrite((float)((blockIdx.x * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x), s,
              threadIdx.x * 4, threadIdx.y, blockIdx.x);
}
__global__ void write_1d_layers(cudaSurfaceObject_t s) {
  surf1DLayeredwrite((float)(blockIdx.x * blockDim.x + threadIdx.x), s, threadIdx.x * 4,
                     blockIdx.x);
}
__global__ void write_2d_layers(cudaSurfaceObject_t s) {
  surf2DLayeredwrite((float)((blockIdx.x * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x), s,
                     threadIdx.x * 4, threadIdx.y, blockIdx.x);
}
__global__ void write_faces(cudaSurfaceObject_t s) {
  surfCubemapwrite((float)((blockIdx.x * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x), s,
                   threadIdx.x * 4, threadIdx.y, blockIdx.x);
}

template <class Kernel>
void every_texel(Kernel kernel, cudaExtent extent, unsigned flags) {
  cudaArray_t array = make_array(cudaCreateChannelDesc<float>(), extent, flags);
  const auto surface = surface_of(array);
  const unsigned height = extent.height == 0 ? 1 : (unsigned)extent.height;
  const unsigned depth = extent.depth == 0 ? 1 : (unsigned)extent.depth;
  kernel<<<depth, dim3((unsigned)extent.width, height)>>>(surface);
  OK(cudaDeviceSynchronize());
  CHECK(counts_up(contents(array, extent.width, height, depth)));
  OK(cudaDestroySurfaceObject(surface));
  OK(cudaFreeArray(array));
}

// As in simpleSurfaceWrite: written as a surface, read as a texture by the next kernel.
__global__ void transposed(cudaTextureObject_t texture, float* out, int n) {
  out[threadIdx.x * n + threadIdx.y] = tex2D<float>(texture, threadIdx.x, threadIdx.y);
}
void surface_then_texture() {
  cudaArray_t array = make_array(cudaCreateChannelDesc<float>(), make_cudaExtent(16, 16, 0));
  const auto surface = surface_of(array);
  cudaResourceDesc resource = {};
  resource.resType = cudaResourceTypeArray;
  resource.res.array.array = array;
  cudaTextureDesc description = {};
  description.addressMode[0] = description.addressMode[1] = cudaAddressModeClamp;
  cudaTextureObject_t texture;
  OK(cudaCreateTextureObject(&texture, &resource, &description, nullptr));
  float* out;
  OK(cudaMalloc(&out, 256 * 4));
  write_2d<<<1, dim3(16, 16)>>>(surface);
  transposed<<<1, dim3(16, 16)>>>(texture, out, 16);
  std::vector<float> got(256);
  OK(cudaMemcpy(got.data(), out, 1024, cudaMemcpyDeviceToHost));
  bool right = true;
  for (int y = 0; y < 16; ++y) {
    for (int x = 0; x < 16; ++x) right = right && got[x * 16 + y] == (float)(y * 16 + x);
  }
  CHECK(right);
  OK(cudaDestroyTextureObject(texture));
  OK(cudaDestroySurfaceObject(surface));
  OK(cudaFreeArray(array));
  OK(cudaFree(out));
}

// ---- types and what is outside ----

__global__ void round_trip(cudaSurfaceObject_t s, unsigned* result) {
  const uchar4 color = surf2Dread<uchar4>(s, threadIdx.x * 4, 0);
  surf2Dwrite(make_uchar4(color.w, color.z, color.y, color.x), s, threadIdx.x * 4, 1);
  if (threadIdx.x != 0) return;
  result[0] = surf2Dread<unsigned>(s, -4, 0, cudaBoundaryModeZero);
  result[1] = surf2Dread<unsigned>(s, -4, 0, cudaBoundaryModeClamp);
  result[2] = surf2Dread<unsigned>(s, 400, -3, cudaBoundaryModeClamp);
  surf2Dwrite(7u, s, 400, 0, cudaBoundaryModeZero);
  result[3] = surf2Dread<unsigned short>(s, 6, 0);
}
void types_and_boundaries() {
  cudaArray_t array = make_array(cudaCreateChannelDesc<uchar4>(), make_cudaExtent(8, 2, 0));
  std::vector<unsigned> in(8);
  for (unsigned i = 0; i < 8; ++i) in[i] = 0x04030201u * (i + 1);
  OK(cudaMemcpy2DToArray(array, 0, 0, in.data(), 32, 32, 1, cudaMemcpyHostToDevice));
  const auto surface = surface_of(array);
  unsigned* result;
  OK(cudaMalloc(&result, 16));
  round_trip<<<1, 8>>>(surface, result);
  unsigned got[4], rows[16];
  OK(cudaMemcpy(got, result, 16, cudaMemcpyDeviceToHost));
  OK(cudaMemcpy2DFromArray(rows, 32, array, 0, 0, 32, 2, cudaMemcpyDeviceToHost));
  bool right = true;
  for (unsigned i = 0; i < 8; ++i)
    right = right && rows[i] == in[i] && rows[8 + i] == __builtin_bswap32(in[i]);
  CHECK(right);
  CHECK(got[0] == 0 && got[1] == in[0] && got[2] == in[7] && got[3] == in[1] >> 16);
  OK(cudaDestroySurfaceObject(surface));
  GIVES(cudaErrorInvalidValue, cudaDestroySurfaceObject(surface));
  OK(cudaFreeArray(array));

  // An array that was not made for it.
  const cudaChannelFormatDesc format = cudaCreateChannelDesc<float>();
  OK(cudaMallocArray(&array, &format, 8, 8));
  cudaResourceDesc resource = {};
  resource.resType = cudaResourceTypeArray;
  resource.res.array.array = array;
  cudaSurfaceObject_t none;
  GIVES(cudaErrorInvalidValue, cudaCreateSurfaceObject(&none, &resource));
  OK(cudaFreeArray(array));
}

// Last: it ends the context.
void outside_traps() {
  cudaArray_t array = make_array(cudaCreateChannelDesc<float>(), make_cudaExtent(8, 0, 0));
  const auto surface = surface_of(array);
  write_1d<<<1, 9>>>(surface);
  GIVES(cudaErrorLaunchFailure, cudaDeviceSynchronize());
}

int main() {
  every_texel(write_1d, make_cudaExtent(32, 0, 0), 0);
  every_texel(write_2d, make_cudaExtent(16, 8, 0), 0);
  every_texel(write_3d, make_cudaExtent(16, 8, 4), 0);
  every_texel(write_1d_layers, make_cudaExtent(16, 0, 5), cudaArrayLayered);
  every_texel(write_2d_layers, make_cudaExtent(16, 8, 3), cudaArrayLayered);
  every_texel(write_faces, make_cudaExtent(8, 8, 6), cudaArrayCubemap);
  surface_then_texture();
  types_and_boundaries();
  outside_traps();
  return finish();
}
