// cuBLASLt: a matrix product through descriptors and the heuristic, plain, with a bias and ReLU as
// epilogue, and in fp16.
#include <cublasLt.h>
#include <cuda_fp16.h>

#include <algorithm>

#include "numbers.h"

namespace {

constexpr size_t kWorkspaceBytes = 1 << 22;

struct Product {
  int m, n, k;
  cudaDataType type;
  cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_DEFAULT;
  const void* bias = nullptr;
};

// d = epilogue(a^T * b), column-major.
void matmul(cublasLtHandle_t lt, const Product& p, const void* a, const void* b, void* d) {
  cublasLtMatmulDesc_t operation;
  LIB(cublasLtMatmulDescCreate(&operation, CUBLAS_COMPUTE_32F, CUDA_R_32F));
  const cublasOperation_t transposed = CUBLAS_OP_T;
  LIB(cublasLtMatmulDescSetAttribute(operation, CUBLASLT_MATMUL_DESC_TRANSA, &transposed,
                                     sizeof transposed));
  LIB(cublasLtMatmulDescSetAttribute(operation, CUBLASLT_MATMUL_DESC_EPILOGUE, &p.epilogue,
                                     sizeof p.epilogue));
  if (p.bias != nullptr) {
    LIB(cublasLtMatmulDescSetAttribute(operation, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &p.bias,
                                       sizeof p.bias));
  }
  cublasLtMatrixLayout_t layout_a, layout_b, layout_d;
  LIB(cublasLtMatrixLayoutCreate(&layout_a, p.type, p.k, p.m, p.k));
  LIB(cublasLtMatrixLayoutCreate(&layout_b, p.type, p.k, p.n, p.k));
  LIB(cublasLtMatrixLayoutCreate(&layout_d, p.type, p.m, p.n, p.m));
  cublasLtMatmulPreference_t preference;
  LIB(cublasLtMatmulPreferenceCreate(&preference));
  LIB(cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                                           &kWorkspaceBytes, sizeof kWorkspaceBytes));
  cublasLtMatmulHeuristicResult_t best{};
  int found = 0;
  LIB(cublasLtMatmulAlgoGetHeuristic(lt, operation, layout_a, layout_b, layout_d, layout_d,
                                     preference, 1, &best, &found));
  CHECK(found == 1);
  OnDevice<char> workspace(kWorkspaceBytes);
  const float alpha = 1, beta = 0;
  LIB(cublasLtMatmul(lt, operation, &alpha, a, layout_a, b, layout_b, &beta, d, layout_d, d,
                     layout_d, &best.algo, workspace.get(), kWorkspaceBytes, nullptr));
  OK(cudaDeviceSynchronize());
  LIB(cublasLtMatmulPreferenceDestroy(preference));
  for (cublasLtMatrixLayout_t layout : {layout_a, layout_b, layout_d}) {
    LIB(cublasLtMatrixLayoutDestroy(layout));
  }
  LIB(cublasLtMatmulDescDestroy(operation));
}

void plain_and_with_epilogue(cublasLtHandle_t lt) {
  const int m = 64, n = 48, k = 80;
  const std::vector<float> a = numbers(m * k, 1), b = numbers(n * k, 2), bias = numbers(m, 3);
  OnDevice<float> da(a), db(b), dbias(bias), plain(m * n), activated(m * n);
  matmul(lt, {m, n, k, CUDA_R_32F}, da, db, plain);
  matmul(lt, {m, n, k, CUDA_R_32F, CUBLASLT_EPILOGUE_RELU_BIAS, dbias}, da, db, activated);
  std::vector<double> wanted = reference_gemm(true, false, m, n, k, 1, a, b, 0, a);
  CLOSE(plain.values(), wanted, 1e-3);
  for (size_t i = 0; i < wanted.size(); ++i) wanted[i] = std::max(0.0, wanted[i] + bias[i % m]);
  CLOSE(activated.values(), wanted, 1e-3);
}

void half_precision(cublasLtHandle_t lt) {
  const int m = 32, n = 64, k = 48;
  const std::vector<float> a = numbers(m * k, 4), b = numbers(n * k, 5);
  OnDevice<__half> da(std::vector<__half>(a.begin(), a.end())),
      db(std::vector<__half>(b.begin(), b.end())), dd(m * n);
  matmul(lt, {m, n, k, CUDA_R_16F}, da, db, dd);
  std::vector<float> got;
  for (__half value : dd.values()) got.push_back(value);
  CLOSE(got, reference_gemm(true, false, m, n, k, 1, a, b, 0, a), 1e-2);
}

}  // namespace

int main() {
  cublasLtHandle_t lt;
  LIB(cublasLtCreate(&lt));
  plain_and_with_epilogue(lt);
  half_precision(lt);
  LIB(cublasLtDestroy(lt));
  return finish();
}
