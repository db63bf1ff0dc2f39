// Two parts of one device program, for -rdc=true.
__device__ int from_b(int);
extern "C" __global__ void part_a(int* out, short s) { *out = from_b(s); }
