// The kernels of testdata/kernels.cu as plain C++ loops for one thread: what softgpu-bench compares
// with. Built with -O3 -march=native.
#pragma once

namespace farcall::softgpu::reference {

void vector_add(const float* a, const float* b, float* c, int n);
double sum(const float* in, int n);
void histogram(const unsigned char* in, unsigned* counts, int n);
void divergent(const float* in, float* out, int n);
void nbody(const float* in, float* acceleration, int n);  // four floats a body
void matmul(const float* a, const float* b, float* c, int n);

}  // namespace farcall::softgpu::reference
