// cuSPARSE: a sparse matrix times a vector (CSR with every algorithm, COO), times a dense matrix,
// a triangular solve and a conversion to dense, against loops over the dense matrix.
#include <cusparse.h>

#include "numbers.h"

namespace {

constexpr int kRows = 203, kColumns = 157;

// Rows of very different lengths, some empty: the algorithms balance their work differently.
struct Matrix {
  std::vector<double> dense = std::vector<double>(kRows * kColumns);  // column-major
  std::vector<int> row_starts{0}, rows, columns;
  std::vector<float> values;

  Matrix() {
    const std::vector<float> random = numbers(kRows * kColumns, 1);
    for (int i = 0; i < kRows; ++i) {
      for (int j = 0; j < kColumns; ++j) {
        const bool taken = i == 11 || (i % 7 != 3 && (i * 31 + j * 17) % 19 == 0);
        if (!taken) continue;
        rows.push_back(i);
        columns.push_back(j);
        values.push_back(random[i * kColumns + j]);
        dense[i + j * kRows] = values.back();
      }
      row_starts.push_back(static_cast<int>(values.size()));
    }
  }
};

// Calls `size` with where to write the buffer's size, `run` with the buffer.
template <class Size, class Run>
void with_buffer(Size size, Run run) {
  size_t bytes = 0;
  LIB(size(&bytes));
  OnDevice<char> buffer(bytes + 1);
  LIB(run(buffer.get()));
  OK(cudaDeviceSynchronize());
}

void matrix_vector(cusparseHandle_t sparse, cusparseSpMatDescr_t matrix, const Matrix& m,
                   cusparseOperation_t operation, cusparseSpMVAlg_t algorithm) {
  const bool transposed = operation == CUSPARSE_OPERATION_TRANSPOSE;
  const std::vector<float> x = numbers(transposed ? kRows : kColumns, 2),
                           y = numbers(transposed ? kColumns : kRows, 3);
  OnDevice<float> dx(x), dy(y);
  cusparseDnVecDescr_t vx, vy;
  LIB(cusparseCreateDnVec(&vx, x.size(), dx, CUDA_R_32F));
  LIB(cusparseCreateDnVec(&vy, y.size(), dy, CUDA_R_32F));
  const float alpha = 1.5f, beta = -2;
  with_buffer(
      [&](size_t* bytes) {
        return cusparseSpMV_bufferSize(sparse, operation, &alpha, matrix, vx, &beta, vy, CUDA_R_32F,
                                       algorithm, bytes);
      },
      [&](void* buffer) {
        return cusparseSpMV(sparse, operation, &alpha, matrix, vx, &beta, vy, CUDA_R_32F, algorithm,
                            buffer);
      });
  std::vector<double> wanted(y.size());
  for (size_t i = 0; i < y.size(); ++i) wanted[i] = beta * y[i];
  for (int i = 0; i < kRows; ++i) {
    for (int j = 0; j < kColumns; ++j) {
      if (transposed) {
        wanted[j] += alpha * m.dense[i + j * kRows] * x[i];
      } else {
        wanted[i] += alpha * m.dense[i + j * kRows] * x[j];
      }
    }
  }
  CLOSE(dy.values(), wanted, 1e-4);
  LIB(cusparseDestroyDnVec(vx));
  LIB(cusparseDestroyDnVec(vy));
}

void matrix_matrix(cusparseHandle_t sparse, cusparseSpMatDescr_t matrix, const Matrix& m,
                   cusparseSpMMAlg_t algorithm) {
  const int n = 21;
  const std::vector<float> b = numbers(kColumns * n, 4);
  OnDevice<float> db(b), dc(kRows * n);
  cusparseDnMatDescr_t mb, mc;
  LIB(cusparseCreateDnMat(&mb, kColumns, n, kColumns, db, CUDA_R_32F, CUSPARSE_ORDER_COL));
  LIB(cusparseCreateDnMat(&mc, kRows, n, kRows, dc, CUDA_R_32F, CUSPARSE_ORDER_COL));
  const float alpha = 1, beta = 0;
  const auto none = CUSPARSE_OPERATION_NON_TRANSPOSE;
  with_buffer(
      [&](size_t* bytes) {
        return cusparseSpMM_bufferSize(sparse, none, none, &alpha, matrix, mb, &beta, mc,
                                       CUDA_R_32F, algorithm, bytes);
      },
      [&](void* buffer) {
        return cusparseSpMM(sparse, none, none, &alpha, matrix, mb, &beta, mc, CUDA_R_32F,
                            algorithm, buffer);
      });
  const std::vector<double> wide(b.begin(), b.end());
  CLOSE(dc.values(), reference_gemm(false, false, kRows, n, kColumns, 1, m.dense, wide, 0, wide),
        1e-4);
  LIB(cusparseDestroyDnMat(mb));
  LIB(cusparseDestroyDnMat(mc));
}

void to_dense(cusparseHandle_t sparse, cusparseSpMatDescr_t matrix, const Matrix& m) {
  OnDevice<float> dd(kRows * kColumns);
  cusparseDnMatDescr_t md;
  LIB(cusparseCreateDnMat(&md, kRows, kColumns, kRows, dd, CUDA_R_32F, CUSPARSE_ORDER_COL));
  const auto algorithm = CUSPARSE_SPARSETODENSE_ALG_DEFAULT;
  with_buffer(
      [&](size_t* bytes) {
        return cusparseSparseToDense_bufferSize(sparse, matrix, md, algorithm, bytes);
      },
      [&](void* buffer) { return cusparseSparseToDense(sparse, matrix, md, algorithm, buffer); });
  CLOSE(dd.values(), m.dense, 0);
  LIB(cusparseDestroyDnMat(md));
}

// L * y = x for a lower bidiagonal L: every row waits for the one above.
void triangular(cusparseHandle_t sparse) {
  const int n = 100;
  std::vector<int> starts{0}, columns;
  std::vector<float> values;
  for (int i = 0; i < n; ++i) {
    if (i > 0) {
      columns.push_back(i - 1);
      values.push_back(-0.5f);
    }
    columns.push_back(i);
    values.push_back(2);
    starts.push_back(static_cast<int>(columns.size()));
  }
  const std::vector<float> x = numbers(n, 5);
  OnDevice<int> dstarts(starts), dcolumns(columns);
  OnDevice<float> dvalues(values), dx(x), dy(n);
  cusparseSpMatDescr_t matrix;
  LIB(cusparseCreateCsr(&matrix, n, n, values.size(), dstarts, dcolumns, dvalues,
                        CUSPARSE_INDEX_32I, CUSPARSE_INDEX_32I, CUSPARSE_INDEX_BASE_ZERO,
                        CUDA_R_32F));
  const cusparseFillMode_t lower = CUSPARSE_FILL_MODE_LOWER;
  LIB(cusparseSpMatSetAttribute(matrix, CUSPARSE_SPMAT_FILL_MODE,
                                const_cast<void*>(static_cast<const void*>(&lower)), sizeof lower));
  cusparseDnVecDescr_t vx, vy;
  LIB(cusparseCreateDnVec(&vx, n, dx, CUDA_R_32F));
  LIB(cusparseCreateDnVec(&vy, n, dy, CUDA_R_32F));
  cusparseSpSVDescr_t plan;
  LIB(cusparseSpSV_createDescr(&plan));
  const float alpha = 1;
  const auto none = CUSPARSE_OPERATION_NON_TRANSPOSE;
  const auto algorithm = CUSPARSE_SPSV_ALG_DEFAULT;
  with_buffer(
      [&](size_t* bytes) {
        return cusparseSpSV_bufferSize(sparse, none, &alpha, matrix, vx, vy, CUDA_R_32F, algorithm,
                                       plan, bytes);
      },
      [&](void* buffer) {
        LIB(cusparseSpSV_analysis(sparse, none, &alpha, matrix, vx, vy, CUDA_R_32F, algorithm, plan,
                                  buffer));
        const auto status =
            cusparseSpSV_solve(sparse, none, &alpha, matrix, vx, vy, CUDA_R_32F, algorithm, plan);
        OK(cudaDeviceSynchronize());
        return status;
      });
  std::vector<double> wanted(n);
  for (int i = 0; i < n; ++i) wanted[i] = (x[i] + (i > 0 ? 0.5 * wanted[i - 1] : 0)) / 2;
  CLOSE(dy.values(), wanted, 1e-5);
  LIB(cusparseSpSV_destroyDescr(plan));
  LIB(cusparseDestroyDnVec(vx));
  LIB(cusparseDestroyDnVec(vy));
  LIB(cusparseDestroySpMat(matrix));
}

}  // namespace

int main() {
  cusparseHandle_t sparse;
  LIB(cusparseCreate(&sparse));
  const Matrix m;
  OnDevice<int> starts(m.row_starts), rows(m.rows), columns(m.columns);
  OnDevice<float> values(m.values);
  const auto count = static_cast<int64_t>(m.values.size());
  cusparseSpMatDescr_t csr, coo;
  LIB(cusparseCreateCsr(&csr, kRows, kColumns, count, starts, columns, values, CUSPARSE_INDEX_32I,
                        CUSPARSE_INDEX_32I, CUSPARSE_INDEX_BASE_ZERO, CUDA_R_32F));
  LIB(cusparseCreateCoo(&coo, kRows, kColumns, count, rows, columns, values, CUSPARSE_INDEX_32I,
                        CUSPARSE_INDEX_BASE_ZERO, CUDA_R_32F));
  const auto none = CUSPARSE_OPERATION_NON_TRANSPOSE, transposed = CUSPARSE_OPERATION_TRANSPOSE;
  for (auto algorithm :
       {CUSPARSE_SPMV_ALG_DEFAULT, CUSPARSE_SPMV_CSR_ALG1, CUSPARSE_SPMV_CSR_ALG2}) {
    matrix_vector(sparse, csr, m, none, algorithm);
  }
  matrix_vector(sparse, csr, m, transposed, CUSPARSE_SPMV_ALG_DEFAULT);
  for (auto algorithm : {CUSPARSE_SPMV_COO_ALG1, CUSPARSE_SPMV_COO_ALG2}) {
    matrix_vector(sparse, coo, m, none, algorithm);
  }
  for (auto algorithm :
       {CUSPARSE_SPMM_ALG_DEFAULT, CUSPARSE_SPMM_CSR_ALG1, CUSPARSE_SPMM_CSR_ALG2}) {
    matrix_matrix(sparse, csr, m, algorithm);
  }
  matrix_matrix(sparse, coo, m, CUSPARSE_SPMM_COO_ALG1);
  to_dense(sparse, csr, m);
  triangular(sparse);
  LIB(cusparseDestroySpMat(csr));
  LIB(cusparseDestroySpMat(coo));
  LIB(cusparseDestroy(sparse));
  return finish();
}
