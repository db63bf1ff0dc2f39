// Written as one would without a thought for speed: the compiler's optimiser is the yardstick.
#include "softgpu/exec/bench_reference.h"

#include <cmath>

namespace farcall::softgpu::reference {

void vector_add(const float* a, const float* b, float* c, int n) {
  for (int i = 0; i < n; ++i) c[i] = a[i] + b[i];
}

// In double: a float that has grown to millions no longer takes in what is below one, so one thread
// can't add up so many in float. (A grid's threads each add few.)
double sum(const float* in, int n) {
  double total = 0;
  for (int i = 0; i < n; ++i) total += in[i];
  return total;
}

void histogram(const unsigned char* in, unsigned* counts, int n) {
  for (int i = 0; i < n; ++i) ++counts[in[i]];
}

void divergent(const float* in, float* out, int n) {
  for (int i = 0; i < n; ++i) {
    const float x = in[i];
    float total = 0;
    const int steps = static_cast<int>((static_cast<unsigned>(i) * 7919u) % 37);
    for (int k = 0; k < steps; ++k) {
      const auto step = static_cast<float>(k);
      if ((i + k) % 3 == 0)
        total += std::sin(x + step);
      else if ((i + k) % 3 == 1)
        total += std::exp(-x * step) + std::sqrt(x * step);
      else
        total += 1 / std::sqrt(x + 1 + step) * std::exp2(-step) + std::fma(x, 0.5f, std::sin(x));
      if (total > 50) break;
    }
    out[i] = total;
  }
}

void nbody(const float* in, float* acceleration, int n) {
  for (int i = 0; i < n; ++i) {
    float ax = 0, ay = 0, az = 0;
    for (int j = 0; j < n; ++j) {
      const float dx = in[4 * j] - in[4 * i], dy = in[4 * j + 1] - in[4 * i + 1],
                  dz = in[4 * j + 2] - in[4 * i + 2];
      const float inverse = 1 / std::sqrt(dx * dx + dy * dy + dz * dz + 1e-3f);
      const float f = in[4 * j + 3] * inverse * inverse * inverse;
      ax += f * dx;
      ay += f * dy;
      az += f * dz;
    }
    acceleration[4 * i] = ax;
    acceleration[4 * i + 1] = ay;
    acceleration[4 * i + 2] = az;
    acceleration[4 * i + 3] = 0;
  }
}

void matmul(const float* a, const float* b, float* c, int n) {
  for (int i = 0; i < n; ++i) {
    for (int j = 0; j < n; ++j) {
      float total = 0;
      for (int k = 0; k < n; ++k) total += a[i * n + k] * b[k * n + j];
      c[i * n + j] = total;
    }
  }
}

}  // namespace farcall::softgpu::reference
