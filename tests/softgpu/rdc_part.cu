// The other part of rdc_main.cu.
__device__ int scale = 10;
__device__ int scaled(int value) { return value * scale; }
