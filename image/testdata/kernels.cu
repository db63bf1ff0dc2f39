// Kernels and variables whose layouts the readers must get right: every size of parameter, structs, arrays, more
// than 4 KiB, none at all. Compiled by nvcc in many ways (image/CMakeLists.txt); never run.
struct Empty {};
struct Small {
  char c;
  double d;
  short s[3];
};
struct alignas(16) Aligned {
  int v[5];
};
struct Large {
  int v[5000];
};

__device__ int counter;
__device__ double table[3] = {1, 2, 3};
__device__ char text[] = "a { brace, a \" quote and a // comment";
__device__ const char* pointer = text + 2;
__constant__ float coefficients[7];
__managed__ long long shared_with_host = 5;
static __device__ short private_table[11];

extern "C" __global__ void no_parameters() { counter += private_table[counter % 11]; }

extern "C" __global__ void __launch_bounds__(256)
    scalars(char a, short b, int c, long long d, float e, double f, bool g, void* out) {
  *static_cast<double*>(out) = a + b + c + d + e + f + g + coefficients[c % 7];
}

extern "C" __global__ void structs(Small s, Empty nothing, Aligned a, float3 v, uchar4 u, const Small* p) {
  __shared__ float tile[64];
  tile[threadIdx.x] = s.d + a.v[1] + v.x + u.w + p->s[2] + sizeof(nothing);
  __syncthreads();
  table[0] = tile[63 - threadIdx.x] + shared_with_host + *pointer;
}

extern "C" __global__ void large(Large l, int* out, char last) { *out = l.v[*out % 5000] + last; }

template <class T, int N>
__global__ void templated(T* out, unsigned long long texture) {
  asm volatile("{ .reg .b32 t; mov.b32 t, 1; }  // a comment with } in it");
  *out = static_cast<T>(N + tex2D<float>(texture, 1, 2));
}
template __global__ void templated<float, 3>(float*, unsigned long long);
template __global__ void templated<long, 4>(long*, unsigned long long);
