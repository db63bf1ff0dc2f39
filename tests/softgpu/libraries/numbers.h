// For the programs that check NVIDIA's libraries on softgpu: buffers on the device, numbers to work
// on, and the comparison with what the CPU computed. The numbers come from a fixed generator, so a
// failure can be repeated.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <vector>

#include "../check.h"

// A library's own status: zero is success in all of them.
inline void check_status(int got, const char* what, int line) {
  if (got == 0) return;
  std::printf("line %d: %s: status %d\n", line, what, got);
  ++failures();
}
#define LIB(call) check_status(static_cast<int>(call), #call, __LINE__)

// Evenly spread in [-1, 1), multiples of 1/64, so that products of a few thousand of them are exact
// in float.
template <class T = float>
std::vector<T> numbers(size_t count, uint64_t seed) {
  std::vector<T> out(count);
  uint64_t state = seed * 2 + 1;
  for (T& value : out) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    value = static_cast<T>(static_cast<float>(static_cast<int>(state >> 57) - 64) / 64);
  }
  return out;
}

// Device memory with the values of a vector. Freed when it goes.
template <class T>
class OnDevice {
 public:
  explicit OnDevice(const std::vector<T>& values) : OnDevice(values.size()) {
    OK(cudaMemcpy(data_, values.data(), values.size() * sizeof(T), cudaMemcpyHostToDevice));
  }
  explicit OnDevice(size_t count) : count_(count) {
    OK(cudaMalloc(reinterpret_cast<void**>(&data_), count * sizeof(T)));
    OK(cudaMemset(data_, 0, count * sizeof(T)));
  }
  ~OnDevice() { cudaFree(data_); }
  OnDevice(const OnDevice&) = delete;
  OnDevice& operator=(const OnDevice&) = delete;

  T* get() const { return data_; }
  operator T*() const { return data_; }  // NOLINT: given to C functions all the time
  size_t count() const { return count_; }
  std::vector<T> values() const {
    std::vector<T> out(count_);
    OK(cudaMemcpy(out.data(), data_, count_ * sizeof(T), cudaMemcpyDeviceToHost));
    return out;
  }

 private:
  T* data_ = nullptr;
  size_t count_;
};

// |got - wanted| <= tolerance * max(1, |wanted|) for all; the first that is not is printed.
template <class T, class U>
void check_close(const std::vector<T>& got, const std::vector<U>& wanted, double tolerance,
                 const char* what, int line) {
  if (got.size() != wanted.size()) {
    std::printf("line %d: %s: %zu values instead of %zu\n", line, what, got.size(), wanted.size());
    ++failures();
    return;
  }
  for (size_t i = 0; i < got.size(); ++i) {
    const double a = static_cast<double>(got[i]), b = static_cast<double>(wanted[i]);
    if (std::fabs(a - b) <= tolerance * std::fmax(1, std::fabs(b))) continue;
    std::printf("line %d: %s: element %zu is %.9g instead of %.9g\n", line, what, i, a, b);
    ++failures();
    return;
  }
}
#define CLOSE(got, wanted, tolerance) check_close((got), (wanted), (tolerance), #got, __LINE__)

// c = alpha * op(a) * op(b) + beta * c, column-major, accumulated in double.
template <class A, class C>
std::vector<double> reference_gemm(bool transpose_a, bool transpose_b, int m, int n, int k,
                                   double alpha, const std::vector<A>& a, const std::vector<A>& b,
                                   double beta, const std::vector<C>& c) {
  std::vector<double> out(static_cast<size_t>(m) * n);
  for (int j = 0; j < n; ++j) {
    for (int i = 0; i < m; ++i) {
      double sum = 0;
      for (int l = 0; l < k; ++l) {
        sum += static_cast<double>(transpose_a ? a[l + size_t(i) * k] : a[i + size_t(l) * m]) *
               static_cast<double>(transpose_b ? b[j + size_t(l) * n] : b[l + size_t(j) * k]);
      }
      const size_t at = i + size_t(j) * m;
      out[at] = alpha * sum + (beta == 0 ? 0 : beta * static_cast<double>(c[at]));
    }
  }
  return out;
}
