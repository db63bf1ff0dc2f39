// Kernels as people write them, compiled to PTX by nvcc when the tests are built. Extern "C": found by name.
#include <cooperative_groups.h>
#include <cstdio>

extern "C" __global__ void vector_add(const float* a, const float* b, float* c, int n) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) c[i] = a[i] + b[i];
}

template <int kTile>
__device__ void tiled(const float* a, const float* b, float* c, int n) {
  __shared__ float as[kTile][kTile], bs[kTile][kTile];
  const int tx = threadIdx.x, ty = threadIdx.y, row = blockIdx.y * kTile + ty, column = blockIdx.x * kTile + tx;
  float sum = 0;
  for (int t = 0; t < n; t += kTile) {
    as[ty][tx] = a[row * n + t + tx];
    bs[ty][tx] = b[(t + ty) * n + column];
    __syncthreads();
    for (int k = 0; k < kTile; ++k) sum += as[ty][k] * bs[k][tx];
    __syncthreads();
  }
  c[row * n + column] = sum;
}
extern "C" __global__ void matmul16(const float* a, const float* b, float* c, int n) { tiled<16>(a, b, c, n); }
extern "C" __global__ void matmul32(const float* a, const float* b, float* c, int n) { tiled<32>(a, b, c, n); }
extern "C" __global__ void matmul_naive(const float* a, const float* b, float* c, int n) {
  const int row = blockIdx.y * blockDim.y + threadIdx.y, column = blockIdx.x * blockDim.x + threadIdx.x;
  float sum = 0;
  for (int k = 0; k < n; ++k) sum += a[row * n + k] * b[k * n + column];
  c[row * n + column] = sum;
}

extern "C" __global__ void reduce_shuffle(const float* in, float* out, int n) {
  __shared__ float part[32];
  float sum = 0;
  for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) sum += in[i];
  for (int d = 16; d; d >>= 1) sum += __shfl_down_sync(~0u, sum, d);
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
  if (lane == 0) part[warp] = sum;
  __syncthreads();
  if (warp == 0) {
    sum = lane < blockDim.x / 32 ? part[lane] : 0;
    for (int d = 16; d; d >>= 1) sum += __shfl_xor_sync(~0u, sum, d);
    if (lane == 0) out[blockIdx.x] = sum;
  }
}
extern "C" __global__ void reduce_barrier(const float* in, float* out) {
  extern __shared__ float shared[];
  const int t = threadIdx.x;
  shared[t] = in[blockIdx.x * blockDim.x + t];
  __syncthreads();
  for (int s = blockDim.x / 2; s; s >>= 1) {
    if (t < s) shared[t] += shared[t + s];
    __syncthreads();
  }
  if (t == 0) out[blockIdx.x] = shared[0];
}

extern "C" __global__ void histogram(const unsigned char* in, unsigned* counts, int n) {
  __shared__ unsigned local[256];
  for (int i = threadIdx.x; i < 256; i += blockDim.x) local[i] = 0;
  __syncthreads();
  for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) atomicAdd(&local[in[i]], 1u);
  __syncthreads();
  for (int i = threadIdx.x; i < 256; i += blockDim.x) atomicAdd(&counts[i], local[i]);
}

// 3x3 filter over an 8-bit image with clamped borders.
__constant__ float filter_weights[9];
extern "C" __global__ void filter(const unsigned char* in, unsigned char* out, int width, int height) {
  const int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
  if (x >= width || y >= height) return;
  float sum = 0;
  for (int dy = -1; dy <= 1; ++dy) {
    for (int dx = -1; dx <= 1; ++dx) {
      const int sx = min(max(x + dx, 0), width - 1), sy = min(max(y + dy, 0), height - 1);
      sum += filter_weights[(dy + 1) * 3 + dx + 1] * in[sy * width + sx];
    }
  }
  out[y * width + x] = static_cast<unsigned char>(fminf(fmaxf(sum + 0.5f, 0.0f), 255.0f));
}

extern "C" __global__ void nbody(const float4* in, float4* acceleration, int n) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  const float4 self = in[i];
  float ax = 0, ay = 0, az = 0;
  for (int j = 0; j < n; ++j) {
    const float4 other = in[j];
    const float dx = other.x - self.x, dy = other.y - self.y, dz = other.z - self.z;
    const float inverse = rsqrtf(dx * dx + dy * dy + dz * dz + 1e-3f);
    const float f = other.w * inverse * inverse * inverse;
    ax = fmaf(f, dx, ax);
    ay = fmaf(f, dy, ay);
    az = fmaf(f, dz, az);
  }
  acceleration[i] = make_float4(ax, ay, az, 0);
}

extern "C" __global__ void divergent(const float* in, float* out, int n) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  const float x = in[i];
  float sum = 0;
  const int steps = (i * 7919u) % 37;
  for (int k = 0; k < steps; ++k) {
    if ((i + k) % 3 == 0) sum += sinf(x + k);
    else if ((i + k) % 3 == 1) sum += __expf(-x * k) + sqrtf(x * k);
    else sum += rsqrtf(x + 1 + k) * exp2f(-k) + fmaf(x, 0.5f, __sinf(x));
    if (sum > 50) break;
  }
  out[i] = sum;
}

// ---- threads that wait for each other ----

extern "C" __global__ void spin_lock(int* lock, int* counter) {
  bool done = false;
  while (!done) {
    if (atomicCAS(lock, 0, 1) == 0) {
      *counter = *(volatile int*)counter + 1;
      __threadfence();
      atomicExch(lock, 0);
      done = true;
    }
  }
}
extern "C" __global__ void flag_wait(volatile int* flag, int* out) {
  if (threadIdx.x == 0) {
    while (*flag == 0) {
    }
    *out = *flag;
  } else if (threadIdx.x == blockDim.x - 1) {
    *flag = 42;
  }
}
extern "C" __global__ void software_grid_barrier(int* barrier, int* data, int rounds) {
  for (int r = 0; r < rounds; ++r) {
    if (threadIdx.x == 0) atomicAdd(&data[r], 1);
    __syncthreads();
    if (threadIdx.x == 0) {
      __threadfence();
      atomicAdd(barrier, 1);
      while (atomicAdd(barrier, 0) < (int)gridDim.x * (r + 1)) {
      }
    }
    __syncthreads();
    if (threadIdx.x == 0 && data[r] != (int)gridDim.x) data[rounds] = 1;
  }
}
extern "C" __global__ void cooperative(int* data, int rounds) {
  cooperative_groups::grid_group grid = cooperative_groups::this_grid();
  for (int r = 0; r < rounds; ++r) {
    if (threadIdx.x == 0) atomicAdd(&data[r], 1);
    grid.sync();
    if (threadIdx.x == 0 && data[r] != (int)gridDim.x) data[rounds] = 1;
  }
}
// Warp-synchronous code of old: right only when the warp runs in lockstep.
extern "C" __global__ void warp_synchronous(const int* in, int* out) {
  __shared__ volatile int shared[64];
  const int t = threadIdx.x;
  shared[t] = in[t];
  shared[t + 32] = 0;
  shared[t] += shared[t + 16];
  shared[t] += shared[t + 8];
  shared[t] += shared[t + 4];
  shared[t] += shared[t + 2];
  shared[t] += shared[t + 1];
  if (t == 0) *out = shared[0];
}
extern "C" __global__ void warp_misc(unsigned* out) {
  const int t = threadIdx.x;
  if (t % 3 == 0) out[t] = __activemask();
  else out[t] = __activemask();
  out[64 + t] = __ballot_sync(~0u, t & 1);
  out[128 + t] = __match_any_sync(~0u, t / 5);
  if (t % 32 < 16) out[192 + t] = __shfl_xor_sync(0xffffu, t, 3);
  else out[192 + t] = __shfl_up_sync(0xffff0000u, t, 1, 16);
}
extern "C" __global__ void early_exit(int* out, int n) {
  const int t = threadIdx.x;
  if (t >= n) return;
  __syncthreads();
  out[t] = __syncthreads_count(t % 2 == 0);
}

// ---- calls ----

__device__ __noinline__ int fibonacci(int n) { return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2); }
extern "C" __global__ void recursion(int* out) { out[threadIdx.x] = fibonacci(threadIdx.x % 12); }
__device__ __noinline__ int endless(int n, volatile int* sink) { *sink = n; return endless(n + 1, sink) + *sink; }
extern "C" __global__ void stack_overflow(int* sink) { *sink = endless(0, sink); }

typedef int (*Operation)(int, int);
__device__ __noinline__ int plus_op(int a, int b) { return a + b; }
__device__ __noinline__ int times_op(int a, int b) { return a * b; }
__device__ Operation operations[2] = {plus_op, times_op};
extern "C" __global__ void function_pointers(int* out) {
  out[threadIdx.x] = operations[threadIdx.x % 2](threadIdx.x, 3);
}

struct Shape {
  __device__ virtual int area() const = 0;
  __device__ virtual ~Shape() {}
};
struct Square : Shape {
  int side;
  __device__ explicit Square(int s) : side(s) {}
  __device__ int area() const override { return side * side; }
};
struct Rectangle : Shape {
  int w, h;
  __device__ Rectangle(int w_, int h_) : w(w_), h(h_) {}
  __device__ int area() const override { return w * h; }
};
extern "C" __global__ void virtual_functions(int* out) {
  const int t = threadIdx.x;
  Shape* shape;
  if (t % 2) shape = new Square(t);
  else shape = new Rectangle(t, 2);
  out[t] = shape->area();
  delete shape;
}

// ---- memory ----

struct Big {
  int values[1000];
};
extern "C" __global__ void big_parameter(Big big, int* out) {
  out[threadIdx.x] = big.values[(threadIdx.x * 37) % 1000];
}
extern "C" __global__ void local_array(const int* in, int* out) {
  int window[16];
  for (int i = 0; i < 16; ++i) window[i] = in[(threadIdx.x + i) % 32];
  int sum = 0;
  for (int i = 0; i < 16; ++i) sum += window[(in[threadIdx.x] + i * i) & 15] * (i + 1);
  out[threadIdx.x] = sum;
}
__device__ int initialised[4] = {1, 2, 3, 4};
__device__ int* pointer_to_third = &initialised[2];
__device__ const char* text_pointer = "device text";
extern "C" __global__ void globals(int* out, char* text) {
  if (threadIdx.x == 0) *pointer_to_third += 100;
  __syncthreads();
  if (threadIdx.x < 4) out[threadIdx.x] = initialised[threadIdx.x];
  if (threadIdx.x == 0) {
    for (int i = 0;; ++i) {
      text[i] = text_pointer[i];
      if (!text[i]) break;
    }
  }
}
__device__ int pick(const int* p, int i) { return p[i]; }
extern "C" __global__ void generic_addresses(const int* in, int* out) {
  __shared__ int shared[32];
  int local[4] = {10, 20, 30, (int)threadIdx.x};
  shared[threadIdx.x] = threadIdx.x * 2;
  __syncthreads();
  const int* p = threadIdx.x % 3 == 0 ? in : threadIdx.x % 3 == 1 ? shared : local;
  out[threadIdx.x] = pick(p, threadIdx.x % 4);
}

// ---- output and failure ----

extern "C" __global__ void hello(int n) {
  printf("hello from block %d thread %d: %5.2f %s %lld %c %%|\n", blockIdx.x, threadIdx.x, threadIdx.x * 1.5, "str",
         1ll << 40, 'x');
  if ((int)threadIdx.x >= n) __trap();
}
extern "C" __global__ void asserting(int n) {
  if ((int)threadIdx.x >= n) __assert_fail("threadIdx.x < n", "file.cu", 7, "asserting");
}
extern "C" __global__ void out_of_bounds(int* p, int at) { p[at + threadIdx.x] = 1; }
extern "C" __global__ void misaligned(char* p) { *reinterpret_cast<int*>(p + 1) = 1; }
extern "C" __global__ void shared_overrun(int* out, int at) {
  __shared__ int shared[32];
  shared[threadIdx.x] = 1;
  __syncthreads();
  out[0] = shared[at];
}
