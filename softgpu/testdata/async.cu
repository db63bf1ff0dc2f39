// Kernels that copy on the side: double buffering, producers and consumers.
#include <cooperative_groups.h>
#include <cooperative_groups/memcpy_async.h>
#include <cuda/barrier>
#include <cuda/pipeline>
#include <cuda_pipeline.h>

namespace cg = cooperative_groups;

// C = A B of n x n floats, tiles of 32, the next pair of tiles under way while one is multiplied.
extern "C" __global__ void gemm_double_buffered(const float* a, const float* b, float* c, int n) {
  __shared__ __align__(16) float as[2][32][32], bs[2][32][32];
  const int thread = threadIdx.x;  // of 256: four elements each
  const int row = blockIdx.y * 32, column = blockIdx.x * 32;
  auto fetch = [&](int stage, int k) {
    const int r = thread / 8, q = thread % 8 * 4;
    __pipeline_memcpy_async(&as[stage][r][q], &a[(row + r) * n + k + q], 16);
    __pipeline_memcpy_async(&bs[stage][r][q], &b[(k + r) * n + column + q], 16);
    __pipeline_commit();
  };
  float sum[4] = {};
  fetch(0, 0);
  for (int k = 0; k < n; k += 32) {
    const int stage = k / 32 % 2;
    if (k + 32 < n) fetch(stage ^ 1, k + 32);
    __pipeline_wait_prior(k + 32 < n ? 1 : 0);
    __syncthreads();
    for (int i = 0; i < 32; ++i) {
      for (int e = 0; e < 4; ++e)
        sum[e] = fmaf(as[stage][thread / 32 + 8 * e][i], bs[stage][i][thread % 32], sum[e]);
    }
    __syncthreads();
  }
  for (int e = 0; e < 4; ++e) c[(row + thread / 32 + 8 * e) * n + column + thread % 32] = sum[e];
}

// Warp 0 fetches, the others add up: stages handed over by barriers.
extern "C" __global__ void producer_consumer(const int* in, int* out, int rounds) {
  using Barrier = cuda::barrier<cuda::thread_scope_block>;
  constexpr int kStages = 3, kPerStage = 128;
  __shared__ int buffer[kStages][kPerStage];
#pragma nv_diag_suppress static_var_with_dynamic_init
  __shared__ Barrier full[kStages], empty[kStages];
  auto block = cg::this_thread_block();
  if (block.thread_rank() < kStages) {
    init(&full[block.thread_rank()], block.size());
    init(&empty[block.thread_rank()], block.size());
  }
  block.sync();
  if (threadIdx.x < 32) {
    for (int round = 0; round < rounds; ++round) {
      const int stage = round % kStages;
      empty[stage].arrive_and_wait();
      for (int i = threadIdx.x; i < kPerStage; i += 32)
        cuda::memcpy_async(&buffer[stage][i], &in[round * kPerStage + i],
                           cuda::aligned_size_t<4>(4), full[stage]);
      (void)full[stage].arrive();
    }
  } else {
    for (int stage = 0; stage < kStages; ++stage) (void)empty[stage].arrive();
    int sum = 0;
    for (int round = 0; round < rounds; ++round) {
      const int stage = round % kStages;
      full[stage].arrive_and_wait();
      for (int i = threadIdx.x - 32; i < kPerStage; i += blockDim.x - 32)
        sum += buffer[stage][i] * (round + 1);
      (void)empty[stage].arrive();
    }
    atomicAdd(out, sum);
  }
}

// The same through cuda::pipeline with roles.
extern "C" __global__ void pipeline_with_roles(const int* in, int* out, int rounds) {
  constexpr int kStages = 2;
  extern __shared__ int stages[];
  __shared__ cuda::pipeline_shared_state<cuda::thread_scope_block, kStages> state;
  auto block = cg::this_thread_block();
  const auto role =
      block.thread_rank() % 2 == 0 ? cuda::pipeline_role::producer : cuda::pipeline_role::consumer;
  auto pipeline = cuda::make_pipeline(block, &state, role);
  const int half = block.size() / 2, mine = block.thread_rank() / 2;
  if (role == cuda::pipeline_role::producer) {
    for (int round = 0; round < rounds; ++round) {
      pipeline.producer_acquire();
      cuda::memcpy_async(&stages[round % kStages * half + mine], &in[round * half + mine], sizeof(int),
                         pipeline);
      pipeline.producer_commit();
    }
  } else {
    int sum = 0;
    for (int round = 0; round < rounds; ++round) {
      pipeline.consumer_wait();
      sum += stages[round % kStages * half + (mine + 1) % half];
      pipeline.consumer_release();
    }
    out[blockIdx.x * half + mine] = sum;
  }
  pipeline.quit();
}

// Arrives in its own time, drops out early: a barrier with ever fewer threads.
extern "C" __global__ void dropping_out(int* out) {
  using Barrier = cuda::barrier<cuda::thread_scope_block>;
#pragma nv_diag_suppress static_var_with_dynamic_init
  __shared__ Barrier barrier;
  __shared__ int counts[64];
  if (threadIdx.x == 0) init(&barrier, blockDim.x);
  if (threadIdx.x < 64) counts[threadIdx.x] = 0;
  __syncthreads();
  for (int round = 0; round < 64; ++round) {
    atomicAdd(&counts[round], 1);
    if (round == threadIdx.x % 64) {
      barrier.arrive_and_drop();
      return;
    }
    barrier.arrive_and_wait();
    // Everyone who was still here has counted.
    if (counts[round] != blockDim.x - blockDim.x / 64 * round) atomicAdd(&out[0], 1);
  }
}
