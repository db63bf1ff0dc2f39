// Two parts of one device program, for -rdc=true. The tile gives a section that claims more bytes than it has in the
// file, as parts of real libraries do.
__shared__ int tile[5000];
__device__ int from_b(int);
extern "C" __global__ void part_a(int* out, short s) {
  tile[threadIdx.x] = *out;
  __syncthreads();
  *out = from_b(s) + tile[7];
}
