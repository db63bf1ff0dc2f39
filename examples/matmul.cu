// C = A * B with tiles in shared memory: each block computes one 16 x 16 tile of C, and its threads
// load the tiles of A and B they need together, so that every element is read from device memory
// once per tile instead of once per product. The result is compared with a plain loop on the host
// in double precision.
#include <cmath>
#include <cstdio>
#include <vector>

#include "check.h"

constexpr int kTile = 16;

// Row-major: A is rows x inner, B is inner x columns. No size needs to be a multiple of the tile.
__global__ void multiply(const float* a, const float* b, float* c, int rows, int inner,
                         int columns) {
  __shared__ float tile_a[kTile][kTile];
  __shared__ float tile_b[kTile][kTile + 1];  // padded: columns fall into different banks
  const int row = blockIdx.y * kTile + threadIdx.y;
  const int column = blockIdx.x * kTile + threadIdx.x;

  float sum = 0;
  for (int first = 0; first < inner; first += kTile) {
    const int k_a = first + threadIdx.x;
    const int k_b = first + threadIdx.y;
    tile_a[threadIdx.y][threadIdx.x] = row < rows && k_a < inner ? a[row * inner + k_a] : 0.0f;
    tile_b[threadIdx.y][threadIdx.x] =
        k_b < inner && column < columns ? b[k_b * columns + column] : 0.0f;
    __syncthreads();
    for (int k = 0; k < kTile; ++k) sum += tile_a[threadIdx.y][k] * tile_b[k][threadIdx.x];
    __syncthreads();
  }
  if (row < rows && column < columns) c[row * columns + column] = sum;
}

int main() {
  constexpr int kRows = 200, kInner = 170, kColumns = 150;
  std::vector<float> a(kRows * kInner), b(kInner * kColumns), c(kRows * kColumns);
  for (size_t i = 0; i < a.size(); ++i) a[i] = std::sin(0.01f * static_cast<float>(i % 997));
  for (size_t i = 0; i < b.size(); ++i) b[i] = std::cos(0.02f * static_cast<float>(i % 883));

  float *device_a, *device_b, *device_c;
  CHECK(cudaMalloc(&device_a, a.size() * sizeof(float)));
  CHECK(cudaMalloc(&device_b, b.size() * sizeof(float)));
  CHECK(cudaMalloc(&device_c, c.size() * sizeof(float)));
  CHECK(cudaMemcpy(device_a, a.data(), a.size() * sizeof(float), cudaMemcpyHostToDevice));
  CHECK(cudaMemcpy(device_b, b.data(), b.size() * sizeof(float), cudaMemcpyHostToDevice));

  const dim3 block(kTile, kTile);
  const dim3 grid((kColumns + kTile - 1) / kTile, (kRows + kTile - 1) / kTile);
  multiply<<<grid, block>>>(device_a, device_b, device_c, kRows, kInner, kColumns);
  CHECK(cudaGetLastError());
  CHECK(cudaDeviceSynchronize());
  CHECK(cudaMemcpy(c.data(), device_c, c.size() * sizeof(float), cudaMemcpyDeviceToHost));

  double error_max = 0, trace = 0;
  for (int row = 0; row < kRows; ++row) {
    for (int column = 0; column < kColumns; ++column) {
      double expected = 0;
      for (int k = 0; k < kInner; ++k) {
        expected += static_cast<double>(a[row * kInner + k]) * b[k * kColumns + column];
      }
      error_max = std::fmax(error_max, std::fabs(c[row * kColumns + column] - expected));
      if (row == column) trace += c[row * kColumns + column];
    }
  }
  const bool good = error_max < 1e-4;
  std::printf("(%d x %d) * (%d x %d): c[0][0] %.6f, c[last][last] %.6f, trace %.6f\n", kRows,
              kInner, kInner, kColumns, c.front(), c.back(), trace);
  std::printf("%s: largest error %s 1e-4\n", good ? "PASSED" : "FAILED", good ? "below" : "above");

  CHECK(cudaFree(device_a));
  CHECK(cudaFree(device_b));
  CHECK(cudaFree(device_c));
  return good ? EXIT_SUCCESS : EXIT_FAILURE;
}
