// N bodies under gravity, one time step after the other: the bodies are split between two streams,
// an event of each stream tells the other that its half of a step is done, and a third stream
// copies a snapshot of every tenth step to pinned memory while the next step is computed. Energy
// and momentum, summed on the host, must be kept, and one step must agree with the host's.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <vector>

#include "check.h"

constexpr int kBodies = 512;
constexpr int kThreads = 128;
constexpr int kStreams = 2;
constexpr int kSteps = 40;
constexpr int kSnapshotEvery = 10;
constexpr float kTimeStep = 1.0f / 256;
constexpr float kSoftening = 0.05f;  // keeps close encounters finite

// x, y, z and the mass in w.
__host__ __device__ inline float3 pull(float4 on, float4 by) {
  const float dx = by.x - on.x, dy = by.y - on.y, dz = by.z - on.z;
  const float square = dx * dx + dy * dy + dz * dz + kSoftening * kSoftening;
  const float inverse = 1.0f / sqrtf(square);
  const float scale = by.w * inverse * inverse * inverse;
  return {dx * scale, dy * scale, dz * scale};
}

// One step of the bodies [first, first + blocks * kThreads). All blocks read every body, tile by
// tile.
__global__ void step(const float4* from, float4* to, float4* velocity, int first) {
  __shared__ float4 tile[kThreads];
  const int i = first + blockIdx.x * blockDim.x + threadIdx.x;
  const float4 me = from[i];
  float3 sum = {0, 0, 0};
  for (int start = 0; start < kBodies; start += kThreads) {
    tile[threadIdx.x] = from[start + threadIdx.x];
    __syncthreads();
    for (int j = 0; j < kThreads; ++j) {
      const float3 a = pull(me, tile[j]);
      sum.x += a.x;
      sum.y += a.y;
      sum.z += a.z;
    }
    __syncthreads();
  }
  float4 v = velocity[i];
  v.x += sum.x * kTimeStep;
  v.y += sum.y * kTimeStep;
  v.z += sum.z * kTimeStep;
  velocity[i] = v;
  to[i] = make_float4(me.x + v.x * kTimeStep, me.y + v.y * kTimeStep, me.z + v.z * kTimeStep, me.w);
}

// After the first step and after every tenth.
bool has_snapshot(int n) { return n == 0 || (n > 0 && (n + 1) % kSnapshotEvery == 0); }

double energy(const float4* position, const float4* velocity) {
  double total = 0;
  for (int i = 0; i < kBodies; ++i) {
    const float4 p = position[i], v = velocity[i];
    total += 0.5 * p.w *
             (static_cast<double>(v.x) * v.x + static_cast<double>(v.y) * v.y +
              static_cast<double>(v.z) * v.z);
    for (int j = 0; j < i; ++j) {
      const double dx = position[j].x - p.x, dy = position[j].y - p.y, dz = position[j].z - p.z;
      total -=
          static_cast<double>(p.w) * position[j].w /
          std::sqrt(dx * dx + dy * dy + dz * dz + static_cast<double>(kSoftening) * kSoftening);
    }
  }
  return total;
}

double momentum(const float4* position, const float4* velocity) {
  double x = 0, y = 0, z = 0;
  for (int i = 0; i < kBodies; ++i) {
    x += static_cast<double>(position[i].w) * velocity[i].x;
    y += static_cast<double>(position[i].w) * velocity[i].y;
    z += static_cast<double>(position[i].w) * velocity[i].z;
  }
  return std::sqrt(x * x + y * y + z * z);
}

// A disc that turns, the total mass is 1.
void place_bodies(std::vector<float4>* position, std::vector<float4>* velocity) {
  unsigned random = 7;
  const auto uniform = [&random] {
    random = random * 1664525u + 1013904223u;
    return static_cast<float>(random >> 8) / static_cast<float>(1 << 24);
  };
  for (int i = 0; i < kBodies; ++i) {
    const float radius = 0.2f + 0.8f * uniform();
    const float angle = 6.2831853f * uniform();
    const float speed = std::sqrt(radius / (radius * radius + kSoftening));
    position->push_back(
        {radius * std::cos(angle), radius * std::sin(angle), 0.1f * uniform(), 1.0f / kBodies});
    velocity->push_back({-speed * std::sin(angle), speed * std::cos(angle), 0, 0});
  }
}

// The distance of one device step from one host step, over the first few bodies.
double step_error(const std::vector<float4>& before, const std::vector<float4>& velocity,
                  const float4* after) {
  double worst = 0;
  for (int i = 0; i < 16; ++i) {
    double x = 0;
    for (int j = 0; j < kBodies; ++j) x += pull(before[i], before[j]).x;
    const double expected = before[i].x + (velocity[i].x + x * kTimeStep) * kTimeStep;
    worst = std::max(worst, std::fabs(expected - after[i].x));
  }
  return worst;
}

int main() {
  std::vector<float4> position, velocity;
  place_bodies(&position, &velocity);
  const size_t bytes = kBodies * sizeof(float4);
  const double energy_before = energy(position.data(), velocity.data());
  const double momentum_before = momentum(position.data(), velocity.data());

  float4 *device_position[2], *device_velocity, *snapshot;
  constexpr int kSnapshots = kSteps / kSnapshotEvery + 1;
  CHECK(cudaMalloc(&device_position[0], bytes));
  CHECK(cudaMalloc(&device_position[1], bytes));
  CHECK(cudaMalloc(&device_velocity, bytes));
  CHECK(cudaMallocHost(&snapshot, kSnapshots * bytes));
  CHECK(cudaMemcpy(device_position[0], position.data(), bytes, cudaMemcpyHostToDevice));
  CHECK(cudaMemcpy(device_velocity, velocity.data(), bytes, cudaMemcpyHostToDevice));

  cudaStream_t compute[kStreams], copy;
  cudaEvent_t half_done[kStreams], copied, start, stop;
  for (int s = 0; s < kStreams; ++s) {
    CHECK(cudaStreamCreateWithFlags(&compute[s], cudaStreamNonBlocking));
    CHECK(cudaEventCreateWithFlags(&half_done[s], cudaEventDisableTiming));
  }
  CHECK(cudaStreamCreateWithFlags(&copy, cudaStreamNonBlocking));
  CHECK(cudaEventCreateWithFlags(&copied, cudaEventDisableTiming));
  CHECK(cudaEventCreate(&start));
  CHECK(cudaEventCreate(&stop));

  constexpr int kShare = kBodies / kStreams;
  int snapshots = 0;
  CHECK(cudaEventRecord(start, compute[0]));
  for (int n = 0; n < kSteps; ++n) {
    const float4* from = device_position[n % 2];
    float4* to = device_position[(n + 1) % 2];
    for (int s = 0; s < kStreams; ++s) {
      // A snapshot two steps ago was of the buffer that is written now.
      if (has_snapshot(n - 2)) CHECK(cudaStreamWaitEvent(compute[s], copied, 0));
      step<<<kShare / kThreads, kThreads, 0, compute[s]>>>(from, to, device_velocity, s * kShare);
      CHECK(cudaGetLastError());
      CHECK(cudaEventRecord(half_done[s], compute[s]));
    }
    // The next step reads both halves, and overwrites what this one has read.
    for (int s = 0; s < kStreams; ++s) {
      CHECK(cudaStreamWaitEvent(compute[s], half_done[1 - s], 0));
    }
    if (has_snapshot(n)) {
      for (cudaEvent_t event : half_done) CHECK(cudaStreamWaitEvent(copy, event, 0));
      CHECK(cudaMemcpyAsync(snapshot + snapshots++ * kBodies, to, bytes, cudaMemcpyDeviceToHost,
                            copy));
      CHECK(cudaEventRecord(copied, copy));
    }
  }
  CHECK(cudaEventRecord(stop, compute[0]));
  CHECK(cudaEventSynchronize(stop));
  float milliseconds = -1;
  CHECK(cudaEventElapsedTime(&milliseconds, start, stop));
  for (cudaStream_t stream : compute) CHECK(cudaStreamSynchronize(stream));
  CHECK(cudaStreamSynchronize(copy));
  CHECK(cudaStreamQuery(copy));

  std::vector<float4> velocity_after(kBodies);
  CHECK(cudaMemcpy(velocity_after.data(), device_velocity, bytes, cudaMemcpyDeviceToHost));
  const float4* after = snapshot + (kSnapshots - 1) * kBodies;
  const double energy_after = energy(after, velocity_after.data());
  const double momentum_after = momentum(after, velocity_after.data());

  for (int i = 0; i < kSnapshots; ++i) {
    const float4 body = snapshot[i * kBodies];
    std::printf("snapshot %d: body 0 at (%.5f, %.5f, %.5f)\n", i, body.x, body.y, body.z);
  }
  std::printf("energy %.6f -> %.6f, momentum %.6f -> %.6f\n", energy_before, energy_after,
              momentum_before, momentum_after);
  const bool step_good = step_error(position, velocity, snapshot) < 1e-5;
  const bool kept = std::fabs(energy_after - energy_before) < 0.01 * std::fabs(energy_before) &&
                    std::fabs(momentum_after - momentum_before) < 1e-4;
  const bool good = step_good && kept && milliseconds >= 0;
  std::printf("%s: first step %s, energy and momentum %s\n", good ? "PASSED" : "FAILED",
              step_good ? "as on the host" : "wrong", kept ? "kept" : "lost");

  for (int s = 0; s < kStreams; ++s) {
    CHECK(cudaEventDestroy(half_done[s]));
    CHECK(cudaStreamDestroy(compute[s]));
  }
  for (cudaEvent_t event : {copied, start, stop}) CHECK(cudaEventDestroy(event));
  CHECK(cudaStreamDestroy(copy));
  CHECK(cudaFree(device_position[0]));
  CHECK(cudaFree(device_position[1]));
  CHECK(cudaFree(device_velocity));
  CHECK(cudaFreeHost(snapshot));
  return good ? EXIT_SUCCESS : EXIT_FAILURE;
}
