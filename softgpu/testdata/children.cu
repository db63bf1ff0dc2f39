// Kernels that launch kernels, for child_launch_test.cpp. Compiled with -rdc=true, as nvcc asks;
// libcudadevrt is not linked to it.

// Every thread launches two blocks of as many threads, `depth` times.
extern "C" __global__ void tree(int depth, unsigned* nodes) {
  atomicAdd(nodes, 1u);
  if (depth > 0) tree<<<2, blockDim.x>>>(depth - 1, nodes);
}

extern "C" __global__ void append(unsigned* list, unsigned value) {
  const unsigned at = atomicAdd(&list[0], 1u) + 1;
  list[at] = value;
}

// A child whose own children must come before its sibling, and whose tail before that, too.
extern "C" __global__ void middle(unsigned* list) {
  append<<<1, 1, 0, cudaStreamTailLaunch>>>(list, 24);
  append<<<1, 1>>>(list, 22);
  append<<<1, 1>>>(list, 23);
  append<<<1, 1, 0, cudaStreamTailLaunch>>>(list, 25);
  list[atomicAdd(&list[0], 1u) + 1] = 21;
}
extern "C" __global__ void ordered(unsigned* list) {
  append<<<1, 1, 0, cudaStreamTailLaunch>>>(list, 40);
  append<<<1, 1>>>(list, 10);
  middle<<<1, 1>>>(list);
  append<<<1, 1, 0, cudaStreamFireAndForget>>>(list, 30);
  append<<<1, 1, 0, cudaStreamTailLaunch>>>(list, 41);
  list[atomicAdd(&list[0], 1u) + 1] = 1;
}

// Streams and an event between them.
extern "C" __global__ void streams(unsigned* list, int* errors) {
  cudaStream_t a, b;
  cudaEvent_t event;
  *errors = cudaStreamCreateWithFlags(&a, cudaStreamNonBlocking) |
            cudaStreamCreateWithFlags(&b, cudaStreamNonBlocking) |
            cudaEventCreateWithFlags(&event, cudaEventDisableTiming);
  append<<<1, 1, 0, a>>>(list, 1);
  *errors |= cudaEventRecord(event, a) | cudaStreamWaitEvent(b, event, 0);
  append<<<1, 1, 0, b>>>(list, 2);
  *errors |=
      cudaEventDestroy(event) | cudaStreamDestroy(a) | cudaStreamDestroy(b) | cudaGetLastError();
}

struct Large {
  double values[200];
};
extern "C" __global__ void add_up(Large large, double* out, char last) {
  extern __shared__ double part[];
  part[threadIdx.x] = large.values[threadIdx.x] + last;
  __syncthreads();
  if (threadIdx.x != 0) return;
  double sum = 0;
  for (unsigned i = 0; i < blockDim.x; ++i) sum += part[i];
  out[blockIdx.y] = sum;
}
extern "C" __global__ void parameters(double* out) {
  Large large;
  for (int i = 0; i < 200; ++i) large.values[i] = i + threadIdx.x * 1000;
  const unsigned n = 200;
  add_up<<<dim3(1, 2), n, n * sizeof(double)>>>(large, out + 2 * threadIdx.x, 1);
  large.values[0] = 1e9;  // it has been copied
}

// What each wrong launch leaves behind.
extern "C" __global__ void wrong(int* errors, unsigned* list) {
  append<<<1, 1025>>>(list, 1);
  errors[0] = cudaPeekAtLastError();
  errors[1] = cudaGetLastError();
  errors[2] = cudaGetLastError();
  append<<<1, 1, 100 << 10>>>(list, 1);
  errors[3] = cudaGetLastError();
  append<<<1, 1, 0, (cudaStream_t)0x5000>>>(list, 1);
  errors[4] = cudaGetLastError();
  cudaStream_t stream;
  errors[5] = cudaStreamCreateWithFlags(&stream, cudaStreamDefault);
  errors[6] = cudaGetLastError();
  append<<<dim3(1, 70000), 1>>>(list, 1);
}

extern "C" __global__ void writes(int* to) { *to = 1; }
extern "C" __global__ void parent_of_a_bad_child(int* to) {
  writes<<<1, 1>>>(nullptr);
  writes<<<1, 1>>>(to);
}

extern "C" __global__ void for_ever(unsigned* count) {
  ++*count;
  for_ever<<<1, 1, 0, cudaStreamTailLaunch>>>(count);
}
