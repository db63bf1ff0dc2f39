// The content of the fat binary that corrupt_fatbin damages: one kernel.
extern "C" __global__ void touch(int* memory) { *memory = threadIdx.x; }
