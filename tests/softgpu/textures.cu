// Texture objects through the runtime, as programs use them: arrays of every kind, mipmaps, memory,
// and arrays of textures. What a fetch should give is computed here.
#include <cmath>
#include <cstring>
#include <numeric>
#include <vector>

#include "check.h"

template <class T>
T* to_device(const std::vector<T>& values) {
  T* memory = nullptr;
  OK(cudaMalloc(&memory, values.size() * sizeof(T)));
  OK(cudaMemcpy(memory, values.data(), values.size() * sizeof(T), cudaMemcpyHostToDevice));
  return memory;
}
template <class T>
std::vector<T> to_host(const T* memory, size_t count) {
  std::vector<T> values(count);
  OK(cudaMemcpy(values.data(), memory, count * sizeof(T), cudaMemcpyDeviceToHost));
  return values;
}

std::vector<float> ramp(size_t count) {
  std::vector<float> values(count);
  for (size_t i = 0; i < count; ++i) values[i] = static_cast<float>((i * 37) % 101) - 50;
  return values;
}

cudaTextureDesc description(cudaTextureAddressMode mode = cudaAddressModeClamp,
                            cudaTextureFilterMode filter = cudaFilterModePoint,
                            bool normalized = false) {
  cudaTextureDesc d = {};
  d.addressMode[0] = d.addressMode[1] = d.addressMode[2] = mode;
  d.filterMode = filter;
  d.readMode = cudaReadModeElementType;
  d.normalizedCoords = normalized;
  return d;
}
cudaTextureObject_t texture_of(cudaArray_t array, const cudaTextureDesc& d) {
  cudaResourceDesc resource = {};
  resource.resType = cudaResourceTypeArray;
  resource.res.array.array = array;
  cudaTextureObject_t texture = 0;
  OK(cudaCreateTextureObject(&texture, &resource, &d, nullptr));
  return texture;
}

// ---- a rotated picture, as in simpleTexture ----

__global__ void rotate(float* out, int width, int height, float angle,
                       cudaTextureObject_t texture) {
  const unsigned x = blockIdx.x * blockDim.x + threadIdx.x,
                 y = blockIdx.y * blockDim.y + threadIdx.y;
  const float u = (float)x / width - 0.5f, v = (float)y / height - 0.5f;
  const float c = cosf(angle), s = sinf(angle);
  out[y * width + x] = tex2D<float>(texture, u * c - v * s + 0.5f, v * c + u * s + 0.5f);
}
void rotated_picture() {
  constexpr int kSize = 64;
  const auto in = ramp(kSize * kSize);
  const cudaChannelFormatDesc format = cudaCreateChannelDesc<float>();
  cudaArray_t array;
  OK(cudaMallocArray(&array, &format, kSize, kSize));
  OK(cudaMemcpy2DToArray(array, 0, 0, in.data(), kSize * 4, kSize * 4, kSize,
                         cudaMemcpyHostToDevice));
  const auto texture =
      texture_of(array, description(cudaAddressModeWrap, cudaFilterModeLinear, true));
  float* out;
  OK(cudaMalloc(&out, in.size() * 4));
  const float angle = 0.5f;
  rotate<<<dim3(8, 8), dim3(8, 8)>>>(out, kSize, kSize, angle, texture);
  // Destroyed at once: the kernel under way keeps it.
  OK(cudaDestroyTextureObject(texture));
  OK(cudaDeviceSynchronize());
  const auto got = to_host(out, in.size());
  double worst = 0;
  for (int y = 0; y < kSize; ++y) {
    for (int x = 0; x < kSize; ++x) {
      const float u = (float)x / kSize - 0.5f, v = (float)y / kSize - 0.5f;
      const float c = std::cos(angle), s = std::sin(angle);
      double tu = u * c - v * s + 0.5f, tv = v * c + u * s + 0.5f;
      tu = (tu - std::floor(tu)) * kSize - 0.5, tv = (tv - std::floor(tv)) * kSize - 0.5;
      const double i = std::floor(tu), j = std::floor(tv), a = tu - i, b = tv - j;
      const auto at = [&](double ii, double jj) {
        return (double)in[((int)jj + kSize) % kSize * kSize + ((int)ii + kSize) % kSize];
      };
      const double want = (1 - a) * (1 - b) * at(i, j) + a * (1 - b) * at(i + 1, j) +
                          (1 - a) * b * at(i, j + 1) + a * b * at(i + 1, j + 1);
      worst = std::fmax(worst, std::fabs(want - got[y * kSize + x]));
    }
  }
  CHECK(worst < 1.0);  // eight bits of weight, between texels that differ by up to 100
  OK(cudaFreeArray(array));
  OK(cudaFree(out));
}

// ---- every channel type and read mode ----

template <class T>
__global__ void fetch_line(cudaTextureObject_t texture, T* out, int n) {
  const int i = threadIdx.x;
  if (i < n) out[i] = tex1D<T>(texture, i + 0.5f);
}
template <class T>
void element_types(const std::vector<T>& in) {
  const cudaChannelFormatDesc format = cudaCreateChannelDesc<T>();
  cudaArray_t array;
  OK(cudaMallocArray(&array, &format, in.size(), 0));
  OK(cudaMemcpy2DToArray(array, 0, 0, in.data(), in.size() * sizeof(T), in.size() * sizeof(T), 1,
                         cudaMemcpyHostToDevice));
  const auto texture = texture_of(array, description());
  T* out;
  OK(cudaMalloc(&out, in.size() * sizeof(T)));
  fetch_line<T><<<1, 32>>>(texture, out, (int)in.size());
  OK(cudaDeviceSynchronize());
  const auto got = to_host(out, in.size());
  CHECK(std::memcmp(got.data(), in.data(), in.size() * sizeof(T)) == 0);
  OK(cudaDestroyTextureObject(texture));
  OK(cudaFreeArray(array));
  OK(cudaFree(out));
}

template <class T>
void normalized(const std::vector<T>& in, const std::vector<float>& want) {
  const cudaChannelFormatDesc format = cudaCreateChannelDesc<T>();
  cudaArray_t array;
  OK(cudaMallocArray(&array, &format, in.size(), 1));
  OK(cudaMemcpy2DToArray(array, 0, 0, in.data(), in.size() * sizeof(T), in.size() * sizeof(T), 1,
                         cudaMemcpyHostToDevice));
  cudaTextureDesc d = description();
  d.readMode = cudaReadModeNormalizedFloat;
  const auto texture = texture_of(array, d);
  float* out;
  OK(cudaMalloc(&out, in.size() * 4));
  fetch_line<float><<<1, 32>>>(texture, out, (int)in.size());
  OK(cudaDeviceSynchronize());
  CHECK(to_host(out, in.size()) == want);
  OK(cudaDestroyTextureObject(texture));
  OK(cudaFreeArray(array));
  OK(cudaFree(out));
}

// ---- layers, boxes, cubes ----

__global__ void fetch_layers(cudaTextureObject_t texture, float* out, int width, int height) {
  const int x = threadIdx.x, y = threadIdx.y, layer = blockIdx.x;
  out[(layer * height + y) * width + x] = tex2DLayered<float>(texture, x + 0.5f, y + 0.5f, layer);
}
__global__ void fetch_lines(cudaTextureObject_t texture, float* out, int width) {
  out[blockIdx.x * width + threadIdx.x] =
      tex1DLayered<float>(texture, threadIdx.x + 0.5f, blockIdx.x);
}
__global__ void fetch_box(cudaTextureObject_t texture, float* out, int width, int height) {
  const int x = threadIdx.x, y = threadIdx.y, z = blockIdx.x;
  out[(z * height + y) * width + x] = tex3D<float>(texture, x + 0.5f, y + 0.5f, z + 0.5f);
}
// As in simpleCubemapTexture: a direction to each texel of each face.
__global__ void fetch_cube(cudaTextureObject_t texture, float* out, int width, int cube) {
  const int x = threadIdx.x, y = threadIdx.y, face = blockIdx.x;
  const float u = (x + 0.5f) / width * 2 - 1, v = (y + 0.5f) / width * 2 - 1;
  float cx, cy, cz;
  switch (face) {
    case 0:
      cx = 1, cy = -v, cz = -u;
      break;
    case 1:
      cx = -1, cy = -v, cz = u;
      break;
    case 2:
      cx = u, cy = 1, cz = v;
      break;
    case 3:
      cx = u, cy = -1, cz = -v;
      break;
    case 4:
      cx = u, cy = -v, cz = 1;
      break;
    default:
      cx = -u, cy = -v, cz = -1;
      break;
  }
  out[(face * width + y) * width + x] = cube < 0
                                            ? texCubemap<float>(texture, cx, cy, cz)
                                            : texCubemapLayered<float>(texture, cx, cy, cz, cube);
}

cudaArray_t array_of(const std::vector<float>& in, cudaExtent extent, unsigned flags) {
  const cudaChannelFormatDesc format = cudaCreateChannelDesc<float>();
  cudaArray_t array = nullptr;
  OK(cudaMalloc3DArray(&array, &format, extent, flags));
  const size_t height = extent.height == 0 ? 1 : extent.height;
  cudaMemcpy3DParms copy = {};
  copy.srcPtr =
      make_cudaPitchedPtr(const_cast<float*>(in.data()), extent.width * 4, extent.width, height);
  copy.dstArray = array;
  copy.extent = make_cudaExtent(extent.width, height, extent.depth);
  copy.kind = cudaMemcpyHostToDevice;
  OK(cudaMemcpy3D(&copy));
  return array;
}

void layers_boxes_cubes() {
  constexpr int kWidth = 16, kHeight = 8, kDepth = 12;
  const auto in = ramp(kWidth * kHeight * kDepth);
  float* out;
  OK(cudaMalloc(&out, in.size() * 4));

  cudaArray_t array = array_of(in, make_cudaExtent(kWidth, kHeight, kDepth), cudaArrayLayered);
  auto texture = texture_of(array, description());
  fetch_layers<<<kDepth, dim3(kWidth, kHeight)>>>(texture, out, kWidth, kHeight);
  OK(cudaDeviceSynchronize());
  CHECK(to_host(out, in.size()) == in);
  OK(cudaDestroyTextureObject(texture));
  OK(cudaFreeArray(array));

  array = array_of(in, make_cudaExtent(kWidth, kHeight, kDepth), 0);
  texture = texture_of(array, description(cudaAddressModeWrap, cudaFilterModeLinear));
  OK(cudaMemset(out, 0, in.size() * 4));
  fetch_box<<<kDepth, dim3(kWidth, kHeight)>>>(texture, out, kWidth, kHeight);
  OK(cudaDeviceSynchronize());
  CHECK(to_host(out, in.size()) == in);  // at the middle of a texel only that counts
  OK(cudaDestroyTextureObject(texture));
  OK(cudaFreeArray(array));

  array = array_of(in, make_cudaExtent(kWidth, 0, 5), cudaArrayLayered);
  texture = texture_of(array, description());
  fetch_lines<<<5, kWidth>>>(texture, out, kWidth);
  OK(cudaDeviceSynchronize());
  CHECK(to_host(out, kWidth * 5) == std::vector<float>(in.begin(), in.begin() + kWidth * 5));
  OK(cudaDestroyTextureObject(texture));
  OK(cudaFreeArray(array));

  for (const int cubes : {1, 2}) {
    const auto faces = ramp(8 * 8 * 6 * cubes);
    array = array_of(faces, make_cudaExtent(8, 8, 6 * cubes),
                     cubes == 1 ? cudaArrayCubemap : cudaArrayCubemap | cudaArrayLayered);
    texture = texture_of(array, description(cudaAddressModeWrap, cudaFilterModeLinear, true));
    fetch_cube<<<6, dim3(8, 8)>>>(texture, out, 8, cubes == 1 ? -1 : 1);
    OK(cudaDeviceSynchronize());
    CHECK(to_host(out, 8 * 8 * 6) == std::vector<float>(faces.end() - 8 * 8 * 6, faces.end()));
    OK(cudaDestroyTextureObject(texture));
    OK(cudaFreeArray(array));
  }
  OK(cudaFree(out));
}

// ---- memory ----

__global__ void fetch_memory(cudaTextureObject_t texture, float4* out, int first) {
  out[threadIdx.x] = tex1Dfetch<float4>(texture, first + (int)threadIdx.x);
}
// As in simplePitchLinearTexture: shifted, wrapping.
__global__ void shift(cudaTextureObject_t texture, float* out, int width, int height, int by_x,
                      int by_y) {
  const int x = threadIdx.x, y = threadIdx.y;
  out[y * width + x] = tex2D<float>(texture, (x + by_x + 0.5f) / width, (y + by_y + 0.5f) / height);
}
void memory() {
  const auto in = ramp(256);
  float* device = to_device(in);
  float4* out;
  OK(cudaMalloc(&out, 32 * sizeof(float4)));
  cudaResourceDesc resource = {};
  resource.resType = cudaResourceTypeLinear;
  resource.res.linear.devPtr = device;
  resource.res.linear.desc = cudaCreateChannelDesc<float4>();
  resource.res.linear.sizeInBytes = 256 * 4;
  const cudaTextureDesc d = description();
  cudaTextureObject_t texture;
  OK(cudaCreateTextureObject(&texture, &resource, &d, nullptr));
  fetch_memory<<<1, 32>>>(texture, out, 50);  // 64 elements: 14 are there
  OK(cudaDeviceSynchronize());
  const auto got = to_host(out, 32);
  bool right = true;
  for (int i = 0; i < 32; ++i) {
    right = right && got[i].x == (i < 14 ? in[4 * (50 + i)] : 0) &&
            got[i].w == (i < 14 ? in[4 * (50 + i) + 3] : 0);
  }
  CHECK(right);
  cudaResourceDesc asked = {};
  OK(cudaGetTextureObjectResourceDesc(&asked, texture));
  CHECK(asked.resType == cudaResourceTypeLinear && asked.res.linear.devPtr == device &&
        asked.res.linear.sizeInBytes == 1024 && asked.res.linear.desc.w == 32);
  OK(cudaDestroyTextureObject(texture));
  GIVES(cudaErrorInvalidValue, cudaDestroyTextureObject(texture));
  resource.res.linear.devPtr = device + 1;  // not aligned
  GIVES(cudaErrorInvalidValue, cudaCreateTextureObject(&texture, &resource, &d, nullptr));
  resource.res.linear.devPtr = device;
  resource.res.linear.sizeInBytes = 1 << 20;  // beyond the allocation: nobody minds
  OK(cudaCreateTextureObject(&texture, &resource, &d, nullptr));
  OK(cudaDestroyTextureObject(texture));

  constexpr int kWidth = 24, kHeight = 10;
  float* pitched;
  size_t pitch;
  OK(cudaMallocPitch(&pitched, &pitch, kWidth * 4, kHeight));
  OK(cudaMemcpy2D(pitched, pitch, in.data(), kWidth * 4, kWidth * 4, kHeight,
                  cudaMemcpyHostToDevice));
  resource = {};
  resource.resType = cudaResourceTypePitch2D;
  resource.res.pitch2D.devPtr = pitched;
  resource.res.pitch2D.desc = cudaCreateChannelDesc<float>();
  resource.res.pitch2D.width = kWidth;
  resource.res.pitch2D.height = kHeight;
  resource.res.pitch2D.pitchInBytes = pitch;
  const cudaTextureDesc wrapping = description(cudaAddressModeWrap, cudaFilterModePoint, true);
  OK(cudaCreateTextureObject(&texture, &resource, &wrapping, nullptr));
  shift<<<1, dim3(kWidth, kHeight)>>>(texture, reinterpret_cast<float*>(device), kWidth, kHeight, 5,
                                      7);
  OK(cudaDeviceSynchronize());
  const auto shifted = to_host(device, kWidth * kHeight);
  right = true;
  for (int y = 0; y < kHeight; ++y) {
    for (int x = 0; x < kWidth; ++x)
      right = right && shifted[y * kWidth + x] == in[(y + 7) % kHeight * kWidth + (x + 5) % kWidth];
  }
  CHECK(right);
  OK(cudaDestroyTextureObject(texture));
  resource.res.pitch2D.pitchInBytes = pitch - 4;
  GIVES(cudaErrorInvalidValue, cudaCreateTextureObject(&texture, &resource, &wrapping, nullptr));
  OK(cudaFree(pitched));
  OK(cudaFree(device));
  OK(cudaFree(out));
}

// ---- mipmaps, gathering, many textures ----

__global__ void fetch_levels(cudaTextureObject_t texture, float* out) {
  out[threadIdx.x] = tex2DLod<float>(texture, 0.5f, 0.5f, threadIdx.x * 0.5f);
  out[32 + threadIdx.x] =
      tex2DGrad<float>(texture, 0.5f, 0.5f, make_float2(threadIdx.x / 16.0f, 0), make_float2(0, 0));
}
void mipmaps() {
  const cudaChannelFormatDesc format = cudaCreateChannelDesc<float>();
  cudaMipmappedArray_t mipmapped;
  OK(cudaMallocMipmappedArray(&mipmapped, &format, make_cudaExtent(16, 16, 0), 4));
  for (unsigned k = 0; k < 4; ++k) {
    cudaArray_t level;
    OK(cudaGetMipmappedArrayLevel(&level, mipmapped, k));
    const unsigned size = 16 >> k;
    const std::vector<float> values(size * size, 10.0f * k);
    OK(cudaMemcpy2DToArray(level, 0, 0, values.data(), size * 4, size * 4, size,
                           cudaMemcpyHostToDevice));
  }
  cudaResourceDesc resource = {};
  resource.resType = cudaResourceTypeMipmappedArray;
  resource.res.mipmap.mipmap = mipmapped;
  cudaTextureDesc d = description(cudaAddressModeClamp, cudaFilterModeLinear, true);
  d.mipmapFilterMode = cudaFilterModeLinear;
  d.maxMipmapLevelClamp = 3;
  cudaTextureObject_t texture;
  OK(cudaCreateTextureObject(&texture, &resource, &d, nullptr));
  float* out;
  OK(cudaMalloc(&out, 64 * 4));
  fetch_levels<<<1, 8>>>(texture, out);
  OK(cudaDeviceSynchronize());
  const auto got = to_host(out, 64);
  bool right = true;
  for (int i = 0; i < 8; ++i) right = right && got[i] == std::fmin(5.0f * i, 30.0f);
  CHECK(right);
  CHECK(got[32 + 1] == 0 && got[32 + 2] == 10 && got[32 + 4] == 20);
  OK(cudaDestroyTextureObject(texture));
  // A view of the upper levels.
  cudaResourceViewDesc view = {};
  view.format = cudaResViewFormatFloat1;
  view.width = view.height = 16;
  view.firstMipmapLevel = 2;
  view.lastMipmapLevel = 3;
  OK(cudaCreateTextureObject(&texture, &resource, &d, &view));
  fetch_levels<<<1, 8>>>(texture, out);
  OK(cudaDeviceSynchronize());
  CHECK(to_host(out, 1)[0] == 20);
  cudaResourceViewDesc asked = {};
  OK(cudaGetTextureObjectResourceViewDesc(&asked, texture));
  CHECK(asked.firstMipmapLevel == 2 && asked.lastMipmapLevel == 3);
  OK(cudaDestroyTextureObject(texture));
  d.normalizedCoords = 0;  // mipmaps need them
  GIVES(cudaErrorInvalidValue, cudaCreateTextureObject(&texture, &resource, &d, nullptr));
  OK(cudaFreeMipmappedArray(mipmapped));
  OK(cudaFree(out));
}

__global__ void gather(cudaTextureObject_t texture, float4* out) {
  out[0] = tex2Dgather<float4>(texture, 2.0f, 2.0f, 0);
  out[1] = tex2Dgather<float4>(texture, 2.0f, 2.0f, 1);
}
void gathering() {
  std::vector<float2> in(16);
  for (int i = 0; i < 16; ++i) in[i] = make_float2((float)i, 100.0f + i);
  const cudaChannelFormatDesc format = cudaCreateChannelDesc<float2>();
  cudaArray_t array;
  OK(cudaMallocArray(&array, &format, 4, 4, cudaArrayTextureGather));
  OK(cudaMemcpy2DToArray(array, 0, 0, in.data(), 32, 32, 4, cudaMemcpyHostToDevice));
  const auto texture = texture_of(array, description());
  float4* out;
  OK(cudaMalloc(&out, 2 * sizeof(float4)));
  gather<<<1, 1>>>(texture, out);
  OK(cudaDeviceSynchronize());
  const auto got = to_host(out, 2);
  CHECK(got[0].x == 9 && got[0].y == 10 && got[0].z == 6 && got[0].w == 5);
  CHECK(got[1].x == 109 && got[1].w == 105);
  OK(cudaDestroyTextureObject(texture));
  OK(cudaFreeArray(array));
  OK(cudaFree(out));
}

// As in bindlessTexture: the texture is chosen by data, per thread.
__global__ void choose(const cudaTextureObject_t* textures, float* out) {
  out[threadIdx.x] = tex2D<float>(textures[threadIdx.x * 7 % 40], 0.5f, 0.5f);
}
void many_textures() {
  std::vector<cudaTextureObject_t> textures;
  std::vector<cudaArray_t> arrays;
  const cudaChannelFormatDesc format = cudaCreateChannelDesc<float>();
  for (int i = 0; i < 40; ++i) {
    const float value = 3.0f * i;
    cudaArray_t array;
    OK(cudaMallocArray(&array, &format, 1, 1));
    OK(cudaMemcpy2DToArray(array, 0, 0, &value, 4, 4, 1, cudaMemcpyHostToDevice));
    arrays.push_back(array);
    textures.push_back(texture_of(array, description()));
  }
  cudaTextureObject_t* numbers = to_device(textures);
  float* out;
  OK(cudaMalloc(&out, 64 * 4));
  choose<<<1, 64>>>(numbers, out);
  OK(cudaDeviceSynchronize());
  const auto got = to_host(out, 64);
  bool right = true;
  for (int i = 0; i < 64; ++i) right = right && got[i] == 3.0f * (i * 7 % 40);
  CHECK(right);
  for (const auto texture : textures) OK(cudaDestroyTextureObject(texture));
  for (const auto array : arrays) OK(cudaFreeArray(array));
  OK(cudaFree(numbers));
  OK(cudaFree(out));
}

// What the runtime does not let through: it knows the array's format from the driver.
void settings_that_do_not_fit() {
  const cudaChannelFormatDesc bytes = cudaCreateChannelDesc<unsigned char>(),
                              integers = cudaCreateChannelDesc<int>();
  cudaResourceDesc resource = {};
  resource.resType = cudaResourceTypeArray;
  cudaArray_t array;
  cudaTextureObject_t texture;
  OK(cudaMallocArray(&array, &bytes, 8, 8));
  resource.res.array.array = array;
  cudaTextureDesc d = description(cudaAddressModeClamp, cudaFilterModeLinear);
  GIVES(cudaErrorInvalidFilterSetting, cudaCreateTextureObject(&texture, &resource, &d, nullptr));
  OK(cudaFreeArray(array));
  OK(cudaMallocArray(&array, &integers, 8, 8));
  resource.res.array.array = array;
  d = description();
  d.readMode = cudaReadModeNormalizedFloat;
  GIVES(cudaErrorInvalidNormSetting, cudaCreateTextureObject(&texture, &resource, &d, nullptr));
  OK(cudaFreeArray(array));
  cudaGetLastError();
}

// Last: it ends the context.
void use_after_destroy() {
  const cudaChannelFormatDesc format = cudaCreateChannelDesc<float>();
  cudaArray_t array;
  OK(cudaMallocArray(&array, &format, 1, 1));
  const auto texture = texture_of(array, description());
  cudaTextureObject_t* numbers = to_device(std::vector<cudaTextureObject_t>(40, texture));
  float* out;
  OK(cudaMalloc(&out, 64 * 4));
  choose<<<1, 64>>>(numbers, out);
  OK(cudaDeviceSynchronize());
  OK(cudaFreeArray(array));  // the texture shows nothing any more
  choose<<<1, 64>>>(numbers, out);
  GIVES(cudaErrorIllegalAddress, cudaDeviceSynchronize());
}

int main() {
  rotated_picture();
  element_types<float>({1, -2.5f, 3e30f});
  element_types<float2>({{1, 2}, {-3, 4}});
  element_types<float4>({{1, 2, 3, 4}, {-5, 6, 7, 8}});
  element_types<unsigned char>({0, 1, 127, 128, 255});
  element_types<signed char>({0, 1, 127, -128, -1});
  element_types<uchar4>({{1, 2, 3, 255}, {128, 0, 9, 8}});
  element_types<char2>({{-1, 2}, {127, -128}});
  element_types<short>({-32768, 32767, -1, 5});
  element_types<ushort4>({{1, 2, 65535, 4}});
  element_types<int>({-5, 1 << 30});
  element_types<uint4>({{1, 2, 3, ~0u}});
  normalized<unsigned char>({0, 1, 128, 255}, {0, 1 / 255.0f, 128 / 255.0f, 1});
  normalized<signed char>({0, 127, -127, -128, 64}, {0, 1, -1, -1, 64 / 127.0f});
  normalized<unsigned short>({0, 65535, 1000}, {0, 1, 1000 / 65535.0f});
  normalized<short>({32767, -32768, 1000}, {1, -1, 1000 / 32767.0f});
  layers_boxes_cubes();
  memory();
  mipmaps();
  gathering();
  many_textures();
  settings_that_do_not_fit();
  use_after_destroy();
  return finish();
}
