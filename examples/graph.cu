// A CUDA graph, captured from streams and replayed: heat spreads over a plate (Jacobi's method).
// One graph holds two sweeps, there and back, and beside the second one, on a stream forked off by
// an event, the largest change of the first, which travels back to the host as the last node.
// Replayed, it needs one call for all of that.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <vector>

#include "check.h"

constexpr int kWidth = 128, kHeight = 96;
constexpr int kReplays = 60;

__global__ void sweep(const float* from, float* to) {
  const int x = blockIdx.x * blockDim.x + threadIdx.x;
  const int y = blockIdx.y * blockDim.y + threadIdx.y;
  if (x >= kWidth || y >= kHeight) return;
  const int i = y * kWidth + x;
  const bool rim = x == 0 || y == 0 || x == kWidth - 1 || y == kHeight - 1;
  to[i] =
      rim ? from[i] : 0.25f * ((from[i - 1] + from[i + 1]) + (from[i - kWidth] + from[i + kWidth]));
}

// Floats that are not negative compare like their bits.
__global__ void largest_change(const float* a, const float* b, unsigned* largest) {
  for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < kWidth * kHeight;
       i += gridDim.x * blockDim.x) {
    atomicMax(largest, __float_as_uint(fabsf(a[i] - b[i])));
  }
}

std::vector<float> cold_plate_with_hot_rim() {
  std::vector<float> plate(kWidth * kHeight);
  for (int x = 0; x < kWidth; ++x) plate[x] = 100;
  for (int y = 0; y < kHeight; ++y) plate[y * kWidth] = 50;
  return plate;
}

cudaGraph_t capture(cudaStream_t main_stream, cudaStream_t side_stream, float* plate, float* other,
                    unsigned* device_change, unsigned* change) {
  const dim3 block(32, 4), grid(kWidth / 32, kHeight / 4);
  cudaEvent_t forked, joined;
  CHECK(cudaEventCreateWithFlags(&forked, cudaEventDisableTiming));
  CHECK(cudaEventCreateWithFlags(&joined, cudaEventDisableTiming));

  CHECK(cudaStreamBeginCapture(main_stream, cudaStreamCaptureModeGlobal));
  CHECK(cudaMemsetAsync(device_change, 0, sizeof(unsigned), main_stream));
  sweep<<<grid, block, 0, main_stream>>>(plate, other);
  CHECK(cudaEventRecord(forked, main_stream));
  CHECK(cudaStreamWaitEvent(side_stream, forked, 0));
  largest_change<<<8, 128, 0, side_stream>>>(plate, other, device_change);
  CHECK(cudaEventRecord(joined, side_stream));
  CHECK(cudaStreamWaitEvent(main_stream, joined, 0));
  sweep<<<grid, block, 0, main_stream>>>(other, plate);
  CHECK(cudaMemcpyAsync(change, device_change, sizeof(unsigned), cudaMemcpyDeviceToHost,
                        main_stream));
  cudaGraph_t graph;
  CHECK(cudaStreamEndCapture(main_stream, &graph));

  CHECK(cudaEventDestroy(forked));
  CHECK(cudaEventDestroy(joined));
  return graph;
}

int main() {
  const size_t bytes = kWidth * kHeight * sizeof(float);
  std::vector<float> plate = cold_plate_with_hot_rim();
  float *device_plate, *device_other;
  unsigned *device_change, *change;
  CHECK(cudaMalloc(&device_plate, bytes));
  CHECK(cudaMalloc(&device_other, bytes));
  CHECK(cudaMalloc(&device_change, sizeof(unsigned)));
  CHECK(cudaMallocHost(&change, sizeof(unsigned)));
  cudaStream_t main_stream, side_stream;
  CHECK(cudaStreamCreate(&main_stream));
  CHECK(cudaStreamCreate(&side_stream));
  CHECK(cudaMemcpy(device_plate, plate.data(), bytes, cudaMemcpyHostToDevice));

  cudaGraph_t graph =
      capture(main_stream, side_stream, device_plate, device_other, device_change, change);
  size_t nodes = 0;
  CHECK(cudaGraphGetNodes(graph, nullptr, &nodes));
  cudaGraphExec_t replayable;
  CHECK(cudaGraphInstantiate(&replayable, graph, 0));

  std::printf("captured %zu nodes\n", nodes);
  for (int replay = 1; replay <= kReplays; ++replay) {
    CHECK(cudaGraphLaunch(replayable, main_stream));
    if (replay % 20 != 0) continue;
    CHECK(cudaStreamSynchronize(main_stream));
    float largest;
    std::memcpy(&largest, change, sizeof(largest));
    std::printf("after %3d sweeps the largest change is %.6f\n", 2 * replay - 1, largest);
  }
  std::vector<float> result(kWidth * kHeight);
  CHECK(cudaMemcpy(result.data(), device_plate, bytes, cudaMemcpyDeviceToHost));

  std::vector<float> other = plate;
  for (int n = 0; n < 2 * kReplays; ++n) {
    for (int y = 1; y < kHeight - 1; ++y) {
      for (int x = 1; x < kWidth - 1; ++x) {
        const int i = y * kWidth + x;
        other[i] =
            0.25f * ((plate[i - 1] + plate[i + 1]) + (plate[i - kWidth] + plate[i + kWidth]));
      }
    }
    plate.swap(other);
  }
  double error_max = 0, sum = 0;
  for (size_t i = 0; i < result.size(); ++i) {
    error_max = std::max(error_max, static_cast<double>(std::fabs(result[i] - plate[i])));
    sum += result[i];
  }
  const bool good = error_max < 1e-3 && nodes == 5;
  std::printf("mean temperature %.6f\n", sum / static_cast<double>(result.size()));
  std::printf("%s: largest error %s 1e-3\n", good ? "PASSED" : "FAILED",
              error_max < 1e-3 ? "below" : "above");

  CHECK(cudaGraphExecDestroy(replayable));
  CHECK(cudaGraphDestroy(graph));
  CHECK(cudaStreamDestroy(main_stream));
  CHECK(cudaStreamDestroy(side_stream));
  CHECK(cudaFree(device_plate));
  CHECK(cudaFree(device_other));
  CHECK(cudaFree(device_change));
  CHECK(cudaFreeHost(change));
  return good ? EXIT_SUCCESS : EXIT_FAILURE;
}
