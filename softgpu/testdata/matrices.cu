// Matrix products by nvcuda::wmma, and by mma with ldmatrix as libraries write it.
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <mma.h>

using namespace nvcuda;

// C (float, n x n) = A B + C, half, one warp a tile of 16.
extern "C" __global__ void wmma_gemm(const half* a, const half* b, float* c, int n) {
  const int row = blockIdx.y * 16, column = blockIdx.x * 16;
  wmma::fragment<wmma::accumulator, 16, 16, 16, float> sum;
  wmma::load_matrix_sync(sum, c + row * n + column, n, wmma::mem_row_major);
  for (int k = 0; k < n; k += 16) {
    wmma::fragment<wmma::matrix_a, 16, 16, 16, half, wmma::row_major> x;
    wmma::fragment<wmma::matrix_b, 16, 16, 16, half, wmma::col_major> y;
    wmma::load_matrix_sync(x, a + row * n + k, n);
    wmma::load_matrix_sync(y, b + column * n + k, n);  // B by columns
    wmma::mma_sync(sum, x, y, sum);
  }
  for (int i = 0; i < sum.num_elements; ++i) sum.x[i] *= 0.5f;
  wmma::store_matrix_sync(c + row * n + column, sum, n, wmma::mem_row_major);
}

// Tiles of 64 x 64 by four warps through shared memory: ldmatrix, mma.m16n8k16, B by rows.
extern "C" __global__ void mma_gemm(const half* a, const half* b, float* c, int n) {
  __shared__ __align__(16) half as[64][16 + 8], bs[16][64 + 8];
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int row = blockIdx.y * 64, column = blockIdx.x * 64;
  float sum[8][4] = {};
  for (int k = 0; k < n; k += 16) {
    for (int i = threadIdx.x; i < 128; i += 128) {
      *(uint4*)&as[i / 2][i % 2 * 8] = *(const uint4*)&a[(row + i / 2) * n + k + i % 2 * 8];
      *(uint4*)&bs[i / 8][i % 8 * 8] = *(const uint4*)&b[(k + i / 8) * n + column + i % 8 * 8];
    }
    __syncthreads();
    unsigned x[4];
    const unsigned from =
        (unsigned)__cvta_generic_to_shared(&as[warp * 16 + lane % 16][lane / 16 * 8]);
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(x[0]), "=r"(x[1]), "=r"(x[2]), "=r"(x[3])
                 : "r"(from));
    for (int j = 0; j < 8; ++j) {
      unsigned y[2];
      const unsigned at = (unsigned)__cvta_generic_to_shared(&bs[lane % 16][j * 8]);
      asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0, %1}, [%2];"
                   : "=r"(y[0]), "=r"(y[1])
                   : "r"(at));
      asm volatile(
          "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
          "{%8, %9}, {%0, %1, %2, %3};"
          : "+f"(sum[j][0]), "+f"(sum[j][1]), "+f"(sum[j][2]), "+f"(sum[j][3])
          : "r"(x[0]), "r"(x[1]), "r"(x[2]), "r"(x[3]), "r"(y[0]), "r"(y[1]));
    }
    __syncthreads();
  }
  for (int j = 0; j < 8; ++j) {
    for (int e = 0; e < 4; ++e) {
      const int r = row + warp * 16 + lane / 4 + e / 2 * 8, q = column + j * 8 + lane % 4 * 2 + e % 2;
      c[r * n + q] = sum[j][e];
    }
  }
}
