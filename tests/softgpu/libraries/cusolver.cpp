// cuSOLVER: LU, QR and Cholesky of dense matrices, eigenvalues and singular values. What comes back
// is multiplied together again and compared with what went in.
#include <cusolverDn.h>

#include "numbers.h"

namespace {

constexpr int kSize = 96;

template <class T>
std::vector<T> well_conditioned(int n, uint64_t seed) {
  std::vector<T> a = numbers<T>(size_t(n) * n, seed);
  for (int i = 0; i < n; ++i) a[i + size_t(i) * n] += T(n) / 4;
  return a;
}

// A * x = b by LU with pivoting.
void lu(cusolverDnHandle_t solver) {
  const int n = kSize, columns = 3;
  const std::vector<double> a = well_conditioned<double>(n, 1), b = numbers<double>(n * columns, 2);
  OnDevice<double> da(a), db(b);
  OnDevice<int> pivots(n), info(1);
  int count = 0;
  LIB(cusolverDnDgetrf_bufferSize(solver, n, n, da, n, &count));
  OnDevice<double> work(count);
  LIB(cusolverDnDgetrf(solver, n, n, da, n, work, pivots, info));
  CHECK(info.values()[0] == 0);
  LIB(cusolverDnDgetrs(solver, CUBLAS_OP_N, n, columns, da, n, pivots, db, n, info));
  CHECK(info.values()[0] == 0);
  CLOSE(reference_gemm(false, false, n, columns, n, 1, a, db.values(), 0, b), b, 1e-9);
}

// A = Q * R, with Q made explicit.
void qr(cusolverDnHandle_t solver) {
  const int m = kSize, n = 40;
  const std::vector<float> a = numbers(m * n, 3);
  OnDevice<float> da(a), tau(n);
  OnDevice<int> info(1);
  int count = 0, count_q = 0;
  LIB(cusolverDnSgeqrf_bufferSize(solver, m, n, da, m, &count));
  LIB(cusolverDnSorgqr_bufferSize(solver, m, n, n, da, m, tau, &count_q));
  OnDevice<float> work(std::max(count, count_q));
  LIB(cusolverDnSgeqrf(solver, m, n, da, m, tau, work, count, info));
  CHECK(info.values()[0] == 0);
  std::vector<float> r(n * n);
  const std::vector<float> packed = da.values();
  for (int j = 0; j < n; ++j) {
    for (int i = 0; i <= j; ++i) r[i + j * n] = packed[i + j * m];
  }
  LIB(cusolverDnSorgqr(solver, m, n, n, da, m, tau, work, count_q, info));
  CHECK(info.values()[0] == 0);
  const std::vector<float> q = da.values();
  CLOSE(reference_gemm(false, false, m, n, n, 1, q, r, 0, a), a, 1e-4);
  std::vector<double> identity(n * n);
  for (int i = 0; i < n; ++i) identity[i + i * n] = 1;
  CLOSE(reference_gemm(true, false, n, n, m, 1, q, q, 0, a), identity, 1e-4);
}

std::vector<double> symmetric(int n, uint64_t seed, double shift) {
  const std::vector<double> random = numbers<double>(n * n, seed);
  std::vector<double> a(n * n);
  for (int j = 0; j < n; ++j) {
    for (int i = 0; i < n; ++i) a[i + j * n] = (random[i + j * n] + random[j + i * n]) / 2;
    a[j + j * n] += shift;
  }
  return a;
}

// A = L * L^T, and A * x = b with it.
void cholesky(cusolverDnHandle_t solver) {
  const int n = kSize;
  const std::vector<double> a = symmetric(n, 4, n), b = numbers<double>(n, 5);
  OnDevice<double> da(a), db(b);
  OnDevice<int> info(1);
  int count = 0;
  LIB(cusolverDnDpotrf_bufferSize(solver, CUBLAS_FILL_MODE_LOWER, n, da, n, &count));
  OnDevice<double> work(count);
  LIB(cusolverDnDpotrf(solver, CUBLAS_FILL_MODE_LOWER, n, da, n, work, count, info));
  CHECK(info.values()[0] == 0);
  std::vector<double> l = da.values();
  for (int j = 0; j < n; ++j) {
    for (int i = 0; i < j; ++i) l[i + j * n] = 0;
  }
  CLOSE(reference_gemm(false, true, n, n, n, 1, l, l, 0, a), a, 1e-9);
  LIB(cusolverDnDpotrs(solver, CUBLAS_FILL_MODE_LOWER, n, 1, da, n, db, n, info));
  CLOSE(reference_gemm(false, false, n, 1, n, 1, a, db.values(), 0, b), b, 1e-9);
  // One that has no such root.
  OnDevice<double> indefinite(symmetric(n, 6, -1));
  LIB(cusolverDnDpotrf(solver, CUBLAS_FILL_MODE_LOWER, n, indefinite, n, work, count, info));
  CHECK(info.values()[0] > 0);
}

// A * v = v * lambda, eigenvalues in order.
void eigenvalues(cusolverDnHandle_t solver) {
  const int n = 48;
  const std::vector<double> a = symmetric(n, 7, 0);
  OnDevice<double> da(a), dl(n);
  OnDevice<int> info(1);
  int count = 0;
  const auto vectors = CUSOLVER_EIG_MODE_VECTOR;
  LIB(cusolverDnDsyevd_bufferSize(solver, vectors, CUBLAS_FILL_MODE_LOWER, n, da, n, dl, &count));
  OnDevice<double> work(count);
  LIB(cusolverDnDsyevd(solver, vectors, CUBLAS_FILL_MODE_LOWER, n, da, n, dl, work, count, info));
  CHECK(info.values()[0] == 0);
  const std::vector<double> v = da.values(), lambda = dl.values();
  std::vector<double> scaled = v;
  for (int j = 0; j < n; ++j) {
    CHECK(j == 0 || lambda[j] >= lambda[j - 1]);
    for (int i = 0; i < n; ++i) scaled[i + j * n] *= lambda[j];
  }
  CLOSE(reference_gemm(false, false, n, n, n, 1, a, v, 0, a), scaled, 1e-9);
}

// The squares of the singular values add up to those of the elements; U * S * V^T is the matrix.
void singular_values(cusolverDnHandle_t solver) {
  const int m = 50, n = 30;
  const std::vector<double> a = numbers<double>(m * n, 8);
  OnDevice<double> da(a), ds(n), du(m * m), dvt(n * n), off_diagonal(n);
  OnDevice<int> info(1);
  int count = 0;
  LIB(cusolverDnDgesvd_bufferSize(solver, m, n, &count));
  OnDevice<double> work(count);
  LIB(cusolverDnDgesvd(solver, 'A', 'A', m, n, da, m, ds, du, m, dvt, n, work, count, off_diagonal,
                       info));
  CHECK(info.values()[0] == 0);
  const std::vector<double> s = ds.values(), u = du.values();
  std::vector<double> us(m * n);
  for (int j = 0; j < n; ++j) {
    for (int i = 0; i < m; ++i) us[i + j * m] = u[i + j * m] * s[j];
  }
  CLOSE(reference_gemm(false, false, m, n, n, 1, us, dvt.values(), 0, a), a, 1e-9);
}

}  // namespace

int main() {
  cusolverDnHandle_t solver;
  LIB(cusolverDnCreate(&solver));
  lu(solver);
  qr(solver);
  cholesky(solver);
  eigenvalues(solver);
  singular_values(solver);
  LIB(cusolverDnDestroy(solver));
  return finish();
}
