// cuBLAS: vectors, matrix times vector, products of matrices of all element types, in batches, and
// triangular solves, each against a loop on the CPU. Sizes are odd on purpose: edges of tiles are
// where kernels differ.
#include <cublas_v2.h>
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "numbers.h"

namespace {

constexpr int kRows = 67, kColumns = 45, kDepth = 83;

void vectors(cublasHandle_t blas) {
  const int n = 10'007;
  const std::vector<float> x = numbers(n, 1), y = numbers(n, 2);
  OnDevice<float> dx(x), dy(y);
  float dot = 0, norm = 0, sum = 0;
  int largest = 0;
  LIB(cublasSdot(blas, n, dx, 1, dy, 1, &dot));
  LIB(cublasSnrm2(blas, n, dx, 1, &norm));
  LIB(cublasSasum(blas, n, dx, 1, &sum));
  LIB(cublasIsamax(blas, n, dx, 1, &largest));
  const float alpha = 2.5f;
  LIB(cublasSaxpy(blas, n, &alpha, dx, 1, dy, 1));
  double wanted_dot = 0, squares = 0, wanted_sum = 0;
  int wanted_largest = 0;
  std::vector<double> wanted(n);
  for (int i = 0; i < n; ++i) {
    wanted_dot += double(x[i]) * y[i];
    squares += double(x[i]) * x[i];
    wanted_sum += std::fabs(x[i]);
    if (std::fabs(x[i]) > std::fabs(x[wanted_largest])) wanted_largest = i;
    wanted[i] = alpha * x[i] + y[i];
  }
  CHECK(std::fabs(dot - wanted_dot) < 1e-3);
  CHECK(std::fabs(norm - std::sqrt(squares)) < 1e-3);
  CHECK(std::fabs(sum - wanted_sum) < 1e-1);
  CHECK(largest == wanted_largest + 1);
  CLOSE(dy.values(), wanted, 1e-6);
}

void matrix_vector(cublasHandle_t blas) {
  const std::vector<float> a = numbers(kRows * kColumns, 3), x = numbers(kColumns, 4),
                           y = numbers(kRows, 5);
  OnDevice<float> da(a), dx(x), dy(y), dz(x);
  const float alpha = 1.5f, beta = -0.5f, zero = 0;
  LIB(cublasSgemv(blas, CUBLAS_OP_N, kRows, kColumns, &alpha, da, kRows, dx, 1, &beta, dy, 1));
  CLOSE(dy.values(), reference_gemm(false, false, kRows, 1, kColumns, alpha, a, x, beta, y), 1e-5);
  OnDevice<float> dv(y);
  LIB(cublasSgemv(blas, CUBLAS_OP_T, kRows, kColumns, &alpha, da, kRows, dv, 1, &zero, dz, 1));
  CLOSE(dz.values(), reference_gemm(true, false, kColumns, 1, kRows, alpha, a, y, 0.0, x), 1e-5);
}

void sgemm(cublasHandle_t blas, bool transpose_a, bool transpose_b, int m, int n, int k,
           float beta) {
  const std::vector<float> a = numbers(size_t(m) * k, 6), b = numbers(size_t(k) * n, 7),
                           c = numbers(size_t(m) * n, 8);
  OnDevice<float> da(a), db(b), dc(c);
  const float alpha = 0.75f;
  LIB(cublasSgemm(blas, transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N,
                  transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N, m, n, k, &alpha, da, transpose_a ? k : m,
                  db, transpose_b ? n : k, &beta, dc, m));
  CLOSE(dc.values(), reference_gemm(transpose_a, transpose_b, m, n, k, alpha, a, b, beta, c), 1e-4);
}

void dgemm(cublasHandle_t blas) {
  const std::vector<double> a = numbers<double>(kRows * kDepth, 9),
                            b = numbers<double>(kDepth * kColumns, 10),
                            c = numbers<double>(kRows * kColumns, 11);
  OnDevice<double> da(a), db(b), dc(c);
  const double alpha = 1.25, beta = 0.5;
  LIB(cublasDgemm(blas, CUBLAS_OP_N, CUBLAS_OP_T, kRows, kColumns, kDepth, &alpha, da, kRows, db,
                  kColumns, &beta, dc, kRows));
  CLOSE(dc.values(), reference_gemm(false, true, kRows, kColumns, kDepth, alpha, a, b, beta, c),
        1e-12);
}

void complex_gemm(cublasHandle_t blas) {
  const int n = 37;
  const std::vector<float> a = numbers(2 * n * n, 12), b = numbers(2 * n * n, 13);
  OnDevice<float> da(a), db(b), dc(a.size());
  const auto complex = [](float* p) { return reinterpret_cast<cuComplex*>(p); };
  const cuComplex alpha{1, 0}, beta{0, 0};
  LIB(cublasCgemm(blas, CUBLAS_OP_N, CUBLAS_OP_C, n, n, n, &alpha, complex(da), n, complex(db), n,
                  &beta, complex(dc), n));
  std::vector<double> wanted(2 * n * n);
  for (int j = 0; j < n; ++j) {
    for (int i = 0; i < n; ++i) {
      double real = 0, imaginary = 0;
      for (int l = 0; l < n; ++l) {
        const double ar = a[2 * (i + l * n)], ai = a[2 * (i + l * n) + 1];
        const double br = b[2 * (j + l * n)], bi = -b[2 * (j + l * n) + 1];
        real += ar * br - ai * bi;
        imaginary += ar * bi + ai * br;
      }
      wanted[2 * (i + j * n)] = real;
      wanted[2 * (i + j * n) + 1] = imaginary;
    }
  }
  CLOSE(dc.values(), wanted, 1e-4);
}

template <class T>
std::vector<double> widened(const std::vector<T>& narrow) {
  std::vector<double> out;
  for (T value : narrow) out.push_back(static_cast<double>(static_cast<float>(value)));
  return out;
}

// Elements of type T, accumulated in float, stored as T or float.
template <class In, class Out>
void gemm_ex(cublasHandle_t blas, cudaDataType in_type, cudaDataType out_type,
             cublasComputeType_t compute, int m, int n, int k, double tolerance) {
  std::vector<In> a, b;
  for (float value : numbers(size_t(m) * k, 14)) a.push_back(In(value));
  for (float value : numbers(size_t(k) * n, 15)) b.push_back(In(value));
  OnDevice<In> da(a), db(b);
  OnDevice<Out> dc(size_t(m) * n);
  const float alpha = 1, beta = 0;
  LIB(cublasGemmEx(blas, CUBLAS_OP_T, CUBLAS_OP_N, m, n, k, &alpha, da, in_type, k, db, in_type, k,
                   &beta, dc, out_type, m, compute, CUBLAS_GEMM_DEFAULT));
  CLOSE(widened(dc.values()),
        reference_gemm(true, false, m, n, k, 1, widened(a), widened(b), 0, widened(a)), tolerance);
}

void hgemm(cublasHandle_t blas) {
  const int m = 64, n = 48, k = 32;
  std::vector<__half> a, b;
  for (float value : numbers(m * k, 16)) a.push_back(__half(value));
  for (float value : numbers(k * n, 17)) b.push_back(__half(value));
  OnDevice<__half> da(a), db(b), dc(m * n);
  const __half alpha(1.0f), beta(0.0f);
  LIB(cublasHgemm(blas, CUBLAS_OP_N, CUBLAS_OP_N, m, n, k, &alpha, da, m, db, k, &beta, dc, m));
  CLOSE(widened(dc.values()),
        reference_gemm(false, false, m, n, k, 1, widened(a), widened(b), 0, widened(a)), 2e-2);
}

// Bytes accumulated in float. Into 32-bit integers cuBLAS multiplies with cubins alone, and says
// that it can't.
void byte_gemm(cublasHandle_t blas) {
  const int m = 64, n = 32, k = 64;
  std::vector<int8_t> a(m * k), b(k * n);
  for (int i = 0; i < m * k; ++i) a[i] = static_cast<int8_t>(i * 37 % 255 - 127);
  for (int i = 0; i < k * n; ++i) b[i] = static_cast<int8_t>(i * 91 % 255 - 127);
  OnDevice<int8_t> da(a), db(b);
  OnDevice<float> dc(m * n);
  const float alpha = 1, beta = 0;
  LIB(cublasGemmEx(blas, CUBLAS_OP_T, CUBLAS_OP_N, m, n, k, &alpha, da, CUDA_R_8I, k, db, CUDA_R_8I,
                   k, &beta, dc, CUDA_R_32F, m, CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT));
  CLOSE(dc.values(), reference_gemm(true, false, m, n, k, 1, a, b, 0, a), 0);
  OnDevice<int32_t> di(m * n);
  const int32_t one = 1, zero = 0;
  CHECK(cublasGemmEx(blas, CUBLAS_OP_T, CUBLAS_OP_N, m, n, k, &one, da, CUDA_R_8I, k, db, CUDA_R_8I,
                     k, &zero, di, CUDA_R_32I, m, CUBLAS_COMPUTE_32I,
                     CUBLAS_GEMM_DEFAULT) == CUBLAS_STATUS_NOT_SUPPORTED);
}

void batches(cublasHandle_t blas) {
  const int n = 24, count = 5;
  const std::vector<float> a = numbers(n * n * count, 18), b = numbers(n * n * count, 19);
  OnDevice<float> da(a), db(b), dc(a.size()), de(a.size());
  const float alpha = 1, beta = 0;
  LIB(cublasSgemmStridedBatched(blas, CUBLAS_OP_N, CUBLAS_OP_N, n, n, n, &alpha, da, n, n * n, db,
                                n, n * n, &beta, dc, n, n * n, count));
  std::vector<float*> pa, pb, pe;
  for (int i = 0; i < count; ++i) {
    pa.push_back(da.get() + i * n * n);
    pb.push_back(db.get() + i * n * n);
    pe.push_back(de.get() + i * n * n);
  }
  OnDevice<float*> dpa(pa), dpb(pb), dpe(pe);
  LIB(cublasSgemmBatched(blas, CUBLAS_OP_N, CUBLAS_OP_N, n, n, n, &alpha, dpa, n, dpb, n, &beta,
                         dpe, n, count));
  std::vector<double> wanted;
  for (int i = 0; i < count; ++i) {
    const std::vector<float> ai(a.begin() + i * n * n, a.begin() + (i + 1) * n * n);
    const std::vector<float> bi(b.begin() + i * n * n, b.begin() + (i + 1) * n * n);
    for (double value : reference_gemm(false, false, n, n, n, 1, ai, bi, 0, ai)) {
      wanted.push_back(value);
    }
  }
  CLOSE(dc.values(), wanted, 1e-5);
  CLOSE(de.values(), wanted, 1e-5);
}

// Solves L * x = 2 * b for a lower triangular L with a heavy diagonal, then multiplies again.
void triangular(cublasHandle_t blas) {
  const int m = 53, n = 19;
  std::vector<float> l = numbers(m * m, 20);
  const std::vector<float> b = numbers(m * n, 21);
  for (int j = 0; j < m; ++j) {
    for (int i = 0; i < j; ++i) l[i + j * m] = 0;
    l[j + j * m] = 4;
  }
  OnDevice<float> dl(l), dx(b);
  const float alpha = 2;
  LIB(cublasStrsm(blas, CUBLAS_SIDE_LEFT, CUBLAS_FILL_MODE_LOWER, CUBLAS_OP_N, CUBLAS_DIAG_NON_UNIT,
                  m, n, &alpha, dl, m, dx, m));
  std::vector<double> doubled;
  for (float value : b) doubled.push_back(2 * value);
  CLOSE(reference_gemm(false, false, m, n, m, 1, l, dx.values(), 0, b), doubled, 1e-3);
}

}  // namespace

int main() {
  cublasHandle_t blas;
  LIB(cublasCreate(&blas));
  vectors(blas);
  matrix_vector(blas);
  for (bool ta : {false, true}) {
    for (bool tb : {false, true}) sgemm(blas, ta, tb, kRows, kColumns, kDepth, 0.5f);
  }
  sgemm(blas, false, false, 128, 128, 128, 0);
  sgemm(blas, false, false, 1, 1, 1, 0);
  dgemm(blas);
  complex_gemm(blas);
  hgemm(blas);
  const int m = 64, n = 40, k = 96;
  gemm_ex<__half, __half>(blas, CUDA_R_16F, CUDA_R_16F, CUBLAS_COMPUTE_32F, m, n, k, 1e-2);
  gemm_ex<__half, float>(blas, CUDA_R_16F, CUDA_R_32F, CUBLAS_COMPUTE_32F, m, n, k, 1e-4);
  gemm_ex<__nv_bfloat16, __nv_bfloat16>(blas, CUDA_R_16BF, CUDA_R_16BF, CUBLAS_COMPUTE_32F, m, n, k,
                                        2e-2);
  gemm_ex<__nv_bfloat16, float>(blas, CUDA_R_16BF, CUDA_R_32F, CUBLAS_COMPUTE_32F, 33, 17, 65,
                                1e-4);
  gemm_ex<float, float>(blas, CUDA_R_32F, CUDA_R_32F, CUBLAS_COMPUTE_32F_FAST_TF32, m, n, k, 1e-2);
  byte_gemm(blas);
  batches(blas);
  triangular(blas);
  LIB(cublasDestroy(blas));
  return finish();
}
