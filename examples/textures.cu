// Textures and surfaces: a drawn picture is turned by a texture with filtering, halved again and
// again into the levels of a mipmap by surface writes, and looked up by level; a volume is cut
// askew. The filter has weights of eight bits, so results are compared with a tolerance. Writes
// turned.pgm.
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <vector>

#include "check.h"

constexpr int kSize = 128;  // of the picture
constexpr int kLevels = 6;
constexpr int kVolume = 32;
constexpr float kAngle = 0.4f;

__global__ void turn(cudaTextureObject_t picture, float* out) {
  const int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
  const float u = (x + 0.5f) / kSize - 0.5f, v = (y + 0.5f) / kSize - 0.5f;
  const float c = cosf(kAngle), s = sinf(kAngle);
  out[y * kSize + x] = tex2D<float>(picture, u * c - v * s + 0.5f, u * s + v * c + 0.5f);
}

// One texel of the next level is the mean of four.
__global__ void halve(cudaSurfaceObject_t from, cudaSurfaceObject_t to, int size) {
  const int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
  if (x >= size || y >= size) return;
  float sum = 0;
  for (int dy = 0; dy < 2; ++dy) {
    for (int dx = 0; dx < 2; ++dx) sum += surf2Dread<float>(from, (2 * x + dx) * 4, 2 * y + dy);
  }
  surf2Dwrite(sum / 4, to, x * 4, y);
}

__global__ void look_up_levels(cudaTextureObject_t mipmap, float* out) {
  out[threadIdx.x] = tex2DLod<float>(mipmap, 0.3f, 0.6f, threadIdx.x * 0.5f);
}

__global__ void cut(cudaTextureObject_t volume, float* out) {
  const int x = threadIdx.x, y = blockIdx.x;
  out[y * kVolume + x] = tex3D<float>(volume, x + 0.5f, y + 0.5f, (x + y) * 0.5f + 0.25f);
}

float drawn(int x, int y) {
  const float from_middle = std::hypot(x - 50.0f, y - 70.0f);
  return from_middle < 40 ? 0.9f - from_middle / 80 : ((x / 16 + y / 16) % 2 == 0 ? 0.25f : 0.5f);
}

// Between texels, as the texture does it but with the whole of the weights.
float between(const std::vector<float>& picture, double x, double y) {
  const double i = std::floor(x - 0.5), j = std::floor(y - 0.5);
  const double a = x - 0.5 - i, b = y - 0.5 - j;
  const auto at = [&picture](double column, double row) {
    const auto inside = [](double v) { return v < 0 ? 0 : v > kSize - 1 ? kSize - 1 : v; };
    return static_cast<double>(
        picture[static_cast<size_t>(inside(row)) * kSize + static_cast<size_t>(inside(column))]);
  };
  return static_cast<float>((1 - a) * (1 - b) * at(i, j) + a * (1 - b) * at(i + 1, j) +
                            (1 - a) * b * at(i, j + 1) + a * b * at(i + 1, j + 1));
}

cudaTextureObject_t make_texture(const cudaResourceDesc& resource, bool normalized) {
  cudaTextureDesc description = {};
  for (cudaTextureAddressMode& mode : description.addressMode) mode = cudaAddressModeClamp;
  description.filterMode = description.mipmapFilterMode = cudaFilterModeLinear;
  description.normalizedCoords = normalized;
  description.maxMipmapLevelClamp = kLevels - 1;
  cudaTextureObject_t texture;
  CHECK(cudaCreateTextureObject(&texture, &resource, &description, nullptr));
  return texture;
}

std::vector<float> download(const float* device, size_t count) {
  std::vector<float> values(count);
  CHECK(cudaMemcpy(values.data(), device, count * sizeof(float), cudaMemcpyDeviceToHost));
  return values;
}

bool report(const char* what, double worst) {
  const bool good = worst < 0.01;
  std::printf("%s: %s\n", what, good ? "as expected" : "wrong");
  return good;
}

// The levels of the picture, each made from the one before. Texel values on the host: `levels`.
bool mipmaps(const std::vector<float>& picture, float* out) {
  const cudaChannelFormatDesc format = cudaCreateChannelDesc<float>();
  cudaMipmappedArray_t mipmap;
  CHECK(cudaMallocMipmappedArray(&mipmap, &format, make_cudaExtent(kSize, kSize, 0), kLevels,
                                 cudaArraySurfaceLoadStore));
  std::vector<cudaSurfaceObject_t> surfaces(kLevels);
  cudaResourceDesc resource = {};
  for (unsigned k = 0; k < kLevels; ++k) {
    resource.resType = cudaResourceTypeArray;
    CHECK(cudaGetMipmappedArrayLevel(&resource.res.array.array, mipmap, k));
    if (k == 0) {
      CHECK(cudaMemcpy2DToArray(resource.res.array.array, 0, 0, picture.data(), kSize * 4,
                                kSize * 4, kSize, cudaMemcpyHostToDevice));
    }
    CHECK(cudaCreateSurfaceObject(&surfaces[k], &resource));
  }
  for (int k = 1; k < kLevels; ++k) {
    const int size = kSize >> k;
    halve<<<dim3((size + 15) / 16, (size + 15) / 16), dim3(16, 16)>>>(surfaces[k - 1], surfaces[k],
                                                                      size);
  }
  CHECK(cudaGetLastError());

  // The smallest level comes back through an array of its own.
  constexpr int kSmall = kSize >> (kLevels - 1);
  cudaArray_t small, copy;
  CHECK(cudaGetMipmappedArrayLevel(&small, mipmap, kLevels - 1));
  CHECK(cudaMallocArray(&copy, &format, kSmall, kSmall));
  CHECK(cudaMemcpy2DArrayToArray(copy, 0, 0, small, 0, 0, kSmall * 4, kSmall,
                                 cudaMemcpyDeviceToDevice));
  std::vector<float> got(kSmall * kSmall);
  CHECK(cudaMemcpy2DFromArray(got.data(), kSmall * 4, copy, 0, 0, kSmall * 4, kSmall,
                              cudaMemcpyDeviceToHost));
  double worst = 0;
  constexpr int kBlock = kSize / kSmall;
  for (int y = 0; y < kSmall; ++y) {
    for (int x = 0; x < kSmall; ++x) {
      double sum = 0;
      for (int i = 0; i < kBlock * kBlock; ++i) {
        sum += static_cast<double>(
            picture[(y * kBlock + i / kBlock) * kSize + x * kBlock + i % kBlock]);
      }
      worst = std::fmax(
          worst, std::fabs(sum / (kBlock * kBlock) - static_cast<double>(got[y * kSmall + x])));
    }
  }
  bool good = report("the smallest level", worst);

  resource = {};
  resource.resType = cudaResourceTypeMipmappedArray;
  resource.res.mipmap.mipmap = mipmap;
  const cudaTextureObject_t texture = make_texture(resource, true);
  look_up_levels<<<1, 2 * kLevels>>>(texture, out);
  CHECK(cudaGetLastError());
  const std::vector<float> looked_up = download(out, 2 * kLevels);
  worst = 0;
  for (int k = 1; k + 2 < 2 * kLevels; k += 2) {  // half way between two levels
    const double middle = static_cast<double>(looked_up[k - 1] + looked_up[k + 1]) / 2;
    worst = std::fmax(worst, std::fabs(middle - static_cast<double>(looked_up[k])));
  }
  good = report("levels", worst) && good;

  CHECK(cudaDestroyTextureObject(texture));
  for (const cudaSurfaceObject_t surface : surfaces) CHECK(cudaDestroySurfaceObject(surface));
  CHECK(cudaFreeArray(copy));
  CHECK(cudaFreeMipmappedArray(mipmap));
  return good;
}

bool volumes(float* out) {
  std::vector<float> values(kVolume * kVolume * kVolume);
  for (int i = 0; i < kVolume * kVolume * kVolume; ++i) {
    const int x = i % kVolume, y = i / kVolume % kVolume, z = i / kVolume / kVolume;
    values[i] = static_cast<float>(x + 2 * y + 4 * z) / 256;
  }
  const cudaChannelFormatDesc format = cudaCreateChannelDesc<float>();
  cudaArray_t volume;
  CHECK(cudaMalloc3DArray(&volume, &format, make_cudaExtent(kVolume, kVolume, kVolume)));
  cudaMemcpy3DParms copy = {};
  copy.srcPtr = make_cudaPitchedPtr(values.data(), kVolume * 4, kVolume, kVolume);
  copy.dstArray = volume;
  copy.extent = make_cudaExtent(kVolume, kVolume, kVolume);
  copy.kind = cudaMemcpyHostToDevice;
  CHECK(cudaMemcpy3D(&copy));
  cudaResourceDesc resource = {};
  resource.resType = cudaResourceTypeArray;
  resource.res.array.array = volume;
  const cudaTextureObject_t texture = make_texture(resource, false);
  cut<<<kVolume, kVolume>>>(texture, out);
  CHECK(cudaGetLastError());
  const std::vector<float> got = download(out, kVolume * kVolume);
  double worst = 0;
  for (int y = 0; y < kVolume; ++y) {
    for (int x = 0; x < kVolume; ++x) {
      // The volume is linear, so filtering is exact but at its ends.
      const double z = std::fmin(std::fmax((x + y) * 0.5 - 0.25, 0), kVolume - 1);
      const double want = (x + 2 * y + 4 * z) / 256;
      worst = std::fmax(worst, std::fabs(want - static_cast<double>(got[y * kVolume + x])));
    }
  }
  CHECK(cudaDestroyTextureObject(texture));
  CHECK(cudaFreeArray(volume));
  return report("a cut through a volume", worst);
}

int main() {
  std::vector<float> picture(kSize * kSize);
  for (int i = 0; i < kSize * kSize; ++i) picture[i] = drawn(i % kSize, i / kSize);

  const cudaChannelFormatDesc format = cudaCreateChannelDesc<float>();
  cudaArray_t array;
  CHECK(cudaMallocArray(&array, &format, kSize, kSize));
  CHECK(cudaMemcpy2DToArray(array, 0, 0, picture.data(), kSize * 4, kSize * 4, kSize,
                            cudaMemcpyHostToDevice));
  cudaResourceDesc resource = {};
  resource.resType = cudaResourceTypeArray;
  resource.res.array.array = array;
  const cudaTextureObject_t texture = make_texture(resource, true);
  float* out;
  CHECK(cudaMalloc(&out, picture.size() * sizeof(float)));
  turn<<<dim3(kSize / 16, kSize / 16), dim3(16, 16)>>>(texture, out);
  CHECK(cudaGetLastError());
  const std::vector<float> turned = download(out, picture.size());

  double worst = 0;
  std::vector<uint8_t> grey(turned.size());
  for (int i = 0; i < kSize * kSize; ++i) {
    const float u = (i % kSize + 0.5f) / kSize - 0.5f, v = (i / kSize + 0.5f) / kSize - 0.5f;
    const float c = std::cos(kAngle), s = std::sin(kAngle);
    const float want = between(picture, static_cast<double>(u * c - v * s + 0.5f) * kSize,
                               static_cast<double>(u * s + v * c + 0.5f) * kSize);
    worst = std::fmax(worst, std::fabs(static_cast<double>(want - turned[i])));
    grey[i] = static_cast<uint8_t>(turned[i] * 255 + 0.5f);
  }
  bool good = report("the turned picture", worst);
  std::ofstream file("turned.pgm", std::ios::binary);
  file << "P5\n" << kSize << ' ' << kSize << "\n255\n";
  file.write(reinterpret_cast<const char*>(grey.data()), static_cast<std::streamsize>(grey.size()));

  good = mipmaps(picture, out) && good;
  good = volumes(out) && good;
  std::printf("%s\n", good ? "PASSED" : "FAILED");

  CHECK(cudaDestroyTextureObject(texture));
  CHECK(cudaFreeArray(array));
  CHECK(cudaFree(out));
  return good ? EXIT_SUCCESS : EXIT_FAILURE;
}
