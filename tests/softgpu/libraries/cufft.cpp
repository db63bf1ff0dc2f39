// cuFFT: transforms of lengths that take each of its ways (powers of two, small factors, a prime),
// complex and real, in two dimensions and in batches, against the definition summed up on the CPU.
// cuFFT has most kernels as cubins alone, finds that they can't be loaded, and then builds what it
// needs from snippets of PTX; where it can't, its calls must fail rather than give wrong numbers.
#include <cufft.h>

#include <complex>

#include "numbers.h"

namespace {

using Complex = std::complex<double>;

// The definition, forward (sign -1) or inverse without scale (+1).
std::vector<Complex> transform(const std::vector<Complex>& in, int sign) {
  const size_t n = in.size();
  std::vector<Complex> roots(n), out(n);
  for (size_t i = 0; i < n; ++i)
    roots[i] = std::polar(1.0, sign * 2 * M_PI * double(i) / double(n));
  for (size_t k = 0; k < n; ++k) {
    for (size_t j = 0; j < n; ++j) out[k] += in[j] * roots[j * k % n];
  }
  return out;
}

template <class Real>
std::vector<Complex> random_complex(size_t count, uint64_t seed) {
  const std::vector<Real> parts = numbers<Real>(2 * count, seed);
  std::vector<Complex> out;
  for (size_t i = 0; i < count; ++i) out.emplace_back(parts[2 * i], parts[2 * i + 1]);
  return out;
}

template <class Real>
std::vector<Real> interleaved(const std::vector<Complex>& values) {
  std::vector<Real> out;
  for (const Complex& value : values) {
    out.push_back(static_cast<Real>(value.real()));
    out.push_back(static_cast<Real>(value.imag()));
  }
  return out;
}

void complex_1d(int n, int batch) {
  const std::vector<Complex> in = random_complex<float>(size_t(n) * batch, 1);
  std::vector<Complex> wanted;
  for (int i = 0; i < batch; ++i) {
    for (Complex value : transform({in.begin() + i * n, in.begin() + (i + 1) * n}, -1)) {
      wanted.push_back(value);
    }
  }
  OnDevice<float> data(interleaved<float>(in));
  auto* complex = reinterpret_cast<cufftComplex*>(data.get());
  cufftHandle plan;
  LIB(cufftPlan1d(&plan, n, CUFFT_C2C, batch));
  LIB(cufftExecC2C(plan, complex, complex, CUFFT_FORWARD));
  CLOSE(data.values(), interleaved<double>(wanted), 1e-3);
  // And back.
  LIB(cufftExecC2C(plan, complex, complex, CUFFT_INVERSE));
  std::vector<double> scaled = interleaved<double>(in);
  for (double& value : scaled) value *= n;
  CLOSE(data.values(), scaled, 1e-2);
  LIB(cufftDestroy(plan));
}

void complex_double(int n) {
  const std::vector<Complex> in = random_complex<double>(n, 2);
  OnDevice<double> data(interleaved<double>(in));
  auto* complex = reinterpret_cast<cufftDoubleComplex*>(data.get());
  cufftHandle plan;
  LIB(cufftPlan1d(&plan, n, CUFFT_Z2Z, 1));
  LIB(cufftExecZ2Z(plan, complex, complex, CUFFT_FORWARD));
  CLOSE(data.values(), interleaved<double>(transform(in, -1)), 1e-9);
  LIB(cufftDestroy(plan));
}

void real_1d(int n) {
  const std::vector<float> in = numbers(n, 3);
  OnDevice<float> data(in), out(2 * (n / 2 + 1));
  cufftHandle plan;
  LIB(cufftPlan1d(&plan, n, CUFFT_R2C, 1));
  LIB(cufftExecR2C(plan, data, reinterpret_cast<cufftComplex*>(out.get())));
  std::vector<Complex> wanted = transform({in.begin(), in.end()}, -1);
  wanted.resize(n / 2 + 1);
  CLOSE(out.values(), interleaved<double>(wanted), 1e-3);
  LIB(cufftDestroy(plan));
}

void complex_2d(int rows, int columns) {
  const std::vector<Complex> in = random_complex<float>(size_t(rows) * columns, 4);
  std::vector<Complex> wanted;
  for (int i = 0; i < rows; ++i) {
    for (Complex value :
         transform({in.begin() + i * columns, in.begin() + (i + 1) * columns}, -1)) {
      wanted.push_back(value);
    }
  }
  for (int j = 0; j < columns; ++j) {
    std::vector<Complex> column;
    for (int i = 0; i < rows; ++i) column.push_back(wanted[i * columns + j]);
    column = transform(column, -1);
    for (int i = 0; i < rows; ++i) wanted[i * columns + j] = column[i];
  }
  OnDevice<float> data(interleaved<float>(in));
  auto* complex = reinterpret_cast<cufftComplex*>(data.get());
  cufftHandle plan;
  LIB(cufftPlan2d(&plan, rows, columns, CUFFT_C2C));
  LIB(cufftExecC2C(plan, complex, complex, CUFFT_FORWARD));
  CLOSE(data.values(), interleaved<double>(wanted), 1e-2);
  LIB(cufftDestroy(plan));
}

}  // namespace

int main() {
  for (int n : {2, 8, 256, 1000, 97, 1024, 4096}) complex_1d(n, 1);
  complex_1d(60, 7);
  complex_double(512);
  complex_double(135);
  real_1d(256);
  real_1d(90);
  complex_2d(32, 48);
  return finish();
}
