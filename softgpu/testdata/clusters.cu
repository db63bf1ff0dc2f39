// Clusters: distributed shared memory, their barrier, copies between blocks and to all of them; and
// the tensor copies of compute capability 9.0.
#include <cooperative_groups.h>
#include <cuda/barrier>
#include <cuda/ptx>

namespace cg = cooperative_groups;
namespace ptx = cuda::ptx;

// Each block sums its part, then every block reads the sums of all blocks of its cluster.
extern "C" __global__ void cluster_sum(const int* in, int* out, int n) {
  __shared__ int sum;
  auto cluster = cg::this_cluster();
  if (threadIdx.x == 0) sum = 0;
  __syncthreads();
  for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x)
    atomicAdd(&sum, in[i]);
  cluster.sync();
  int total = 0;
  for (unsigned rank = 0; rank < cluster.num_blocks(); ++rank)
    total += *cluster.map_shared_rank(&sum, rank);
  cluster.sync();  // nobody leaves while its memory is read
  if (threadIdx.x == 0) out[blockIdx.x] = total;
}

// A histogram whose bins are spread over the blocks of the cluster.
extern "C" __global__ void cluster_histogram(const unsigned char* in, unsigned* bins, int n) {
  extern __shared__ unsigned mine[];
  auto cluster = cg::this_cluster();
  const unsigned blocks = cluster.num_blocks(), each = 256 / blocks;
  for (unsigned i = threadIdx.x; i < each; i += blockDim.x) mine[i] = 0;
  cluster.sync();
  for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) {
    const unsigned bin = in[i];
    atomicAdd(cluster.map_shared_rank(mine, bin / each) + bin % each, 1u);
  }
  cluster.sync();
  for (unsigned i = threadIdx.x; i < each; i += blockDim.x)
    atomicAdd(&bins[cluster.block_rank() * each + i], mine[i]);
}

// What the special registers say, and who owns an address.
extern "C" __global__ void __cluster_dims__(2, 1, 2) cluster_places(unsigned* out) {
  __shared__ unsigned word;
  auto cluster = cg::this_cluster();
  const unsigned block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
  unsigned* to = out + block * 8;
  const dim3 index = cluster.block_index();
  const unsigned other = (cluster.block_rank() + 1) % cluster.num_blocks();
  unsigned* const theirs = cluster.map_shared_rank(&word, other);
  if (threadIdx.x == 0) *theirs = block;
  cluster.sync();
  if (threadIdx.x != 0) return;
  to[0] = cluster.block_rank();
  to[1] = index.x + 10 * index.y + 100 * index.z;
  to[2] = cluster.num_blocks();
  to[3] = cluster.query_shared_rank(theirs);
  to[4] = cluster.query_shared_rank(&word);
  to[5] = word;  // who wrote here
  unsigned x, nx;
  asm("mov.u32 %0, %%clusterid.x;" : "=r"(x));
  asm("mov.u32 %0, %%nclusterid.x;" : "=r"(nx));
  to[6] = x + 10 * nx;
}

// A bulk copy to shared memory, worked on, and a bulk copy back.
extern "C" __global__ void bulk_copies(int* data) {
  __shared__ alignas(16) int buffer[256];
  using Barrier = cuda::barrier<cuda::thread_scope_block>;
#pragma nv_diag_suppress static_var_with_dynamic_init
  __shared__ Barrier barrier;
  if (threadIdx.x == 0) init(&barrier, blockDim.x);
  __syncthreads();
  Barrier::arrival_token token;
  if (threadIdx.x == 0) {
    cuda::memcpy_async(buffer, data + blockIdx.x * 256, cuda::aligned_size_t<16>(sizeof buffer),
                       barrier);
    token = cuda::device::barrier_arrive_tx(barrier, 1, 0);
  } else {
    token = barrier.arrive();
  }
  barrier.wait(std::move(token));
  for (int i = threadIdx.x; i < 256; i += blockDim.x) buffer[i] = buffer[i] * 3 + 1;
  ptx::fence_proxy_async(ptx::space_shared);
  __syncthreads();
  if (threadIdx.x == 0) {
    ptx::cp_async_bulk(ptx::space_global, ptx::space_shared, data + blockIdx.x * 256, buffer,
                       sizeof buffer);
    ptx::cp_async_bulk_commit_group();
    ptx::cp_async_bulk_wait_group_read(ptx::n32_t<0>());
  }
}

// Rank 0 fetches once for all blocks of the cluster; each block then passes a value on to its
// neighbour, with the bytes counted at the neighbour's barrier.
extern "C" __global__ void __cluster_dims__(4, 1, 1) multicast(const int* in, int* out) {
  __shared__ alignas(16) int buffer[64];
  __shared__ int passed;
  __shared__ cuda::std::uint64_t full, handed;
  auto cluster = cg::this_cluster();
  if (threadIdx.x == 0) {
    ptx::mbarrier_init(&full, 1);
    ptx::mbarrier_init(&handed, 1);
    ptx::fence_mbarrier_init(ptx::sem_release, ptx::scope_cluster);
    ptx::mbarrier_arrive_expect_tx(ptx::sem_release, ptx::scope_cta, ptx::space_shared, &full,
                                   sizeof buffer);
    ptx::mbarrier_arrive_expect_tx(ptx::sem_release, ptx::scope_cta, ptx::space_shared, &handed, 4);
  }
  cluster.sync();
  if (cluster.block_rank() == 0 && threadIdx.x == 0) {
    // libcu++ has this form for some targets only.
    asm volatile(
        "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster "
        "[%0], [%1], %2, [%3], %4;" ::"r"((unsigned)__cvta_generic_to_shared(buffer)),
        "l"(__cvta_generic_to_global(in)), "r"((unsigned)sizeof buffer),
        "r"((unsigned)__cvta_generic_to_shared(&full)), "h"((unsigned short)0xf)
        : "memory");
  }
  while (!ptx::mbarrier_try_wait_parity(&full, 0)) {
  }
  const unsigned next = (cluster.block_rank() + 1) % 4;
  if (threadIdx.x == 0) {
    ptx::st_async(cluster.map_shared_rank(&passed, next), buffer[cluster.block_rank()],
                  cluster.map_shared_rank(&handed, next));
  }
  while (!ptx::mbarrier_try_wait_parity(&handed, 0)) {
  }
  if (threadIdx.x < 64) out[blockIdx.x * 64 + threadIdx.x] = buffer[threadIdx.x] + passed;
  cluster.sync();
}
