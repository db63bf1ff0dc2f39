// cuDNN: softmax, pooling, activation, batch normalisation and convolutions forward and backward,
// against loops on the CPU. NCHW throughout.
#include <cudnn.h>

#include <algorithm>
#include <limits>

#include "numbers.h"

namespace {

struct Shape {
  int n, c, h, w;
  size_t count() const { return size_t(n) * c * h * w; }
  size_t at(int in, int ic, int ih, int iw) const {
    return ((size_t(in) * c + ic) * h + ih) * w + iw;
  }
};

class Tensor {
 public:
  explicit Tensor(const Shape& s) {
    LIB(cudnnCreateTensorDescriptor(&descriptor_));
    LIB(cudnnSetTensor4dDescriptor(descriptor_, CUDNN_TENSOR_NCHW, CUDNN_DATA_FLOAT, s.n, s.c, s.h,
                                   s.w));
  }
  ~Tensor() { cudnnDestroyTensorDescriptor(descriptor_); }
  Tensor(const Tensor&) = delete;
  Tensor& operator=(const Tensor&) = delete;
  operator cudnnTensorDescriptor_t() const { return descriptor_; }  // NOLINT: for C functions

 private:
  cudnnTensorDescriptor_t descriptor_ = nullptr;
};

const float kOne = 1, kZero = 0;

void softmax(cudnnHandle_t dnn) {
  const Shape s{4, 37, 3, 1};
  const std::vector<float> x = numbers(s.count(), 1);
  OnDevice<float> dx(x), dy(s.count());
  Tensor t(s);
  LIB(cudnnSoftmaxForward(dnn, CUDNN_SOFTMAX_ACCURATE, CUDNN_SOFTMAX_MODE_CHANNEL, &kOne, t, dx,
                          &kZero, t, dy));
  std::vector<double> wanted(s.count());
  for (int n = 0; n < s.n; ++n) {
    for (int h = 0; h < s.h; ++h) {
      double sum = 0;
      for (int c = 0; c < s.c; ++c) sum += std::exp(double(x[s.at(n, c, h, 0)]));
      for (int c = 0; c < s.c; ++c) {
        wanted[s.at(n, c, h, 0)] = std::exp(double(x[s.at(n, c, h, 0)])) / sum;
      }
    }
  }
  CLOSE(dy.values(), wanted, 1e-6);
}

void pooling(cudnnHandle_t dnn, cudnnPoolingMode_t mode) {
  const Shape s{2, 3, 14, 17}, out{2, 3, 7, 8};
  const std::vector<float> x = numbers(s.count(), 2);
  OnDevice<float> dx(x), dy(out.count());
  cudnnPoolingDescriptor_t pool;
  LIB(cudnnCreatePoolingDescriptor(&pool));
  LIB(cudnnSetPooling2dDescriptor(pool, mode, CUDNN_NOT_PROPAGATE_NAN, 2, 2, 0, 0, 2, 2));
  Tensor in(s), result(out);
  LIB(cudnnPoolingForward(dnn, pool, &kOne, in, dx, &kZero, result, dy));
  std::vector<double> wanted(out.count());
  for (int n = 0; n < out.n; ++n) {
    for (int c = 0; c < out.c; ++c) {
      for (int h = 0; h < out.h; ++h) {
        for (int w = 0; w < out.w; ++w) {
          double largest = -std::numeric_limits<double>::infinity(), sum = 0;
          for (int i = 0; i < 4; ++i) {
            const double value = x[s.at(n, c, 2 * h + i / 2, 2 * w + i % 2)];
            largest = std::max(largest, value);
            sum += value;
          }
          wanted[out.at(n, c, h, w)] = mode == CUDNN_POOLING_MAX ? largest : sum / 4;
        }
      }
    }
  }
  CLOSE(dy.values(), wanted, 1e-6);
  LIB(cudnnDestroyPoolingDescriptor(pool));
}

void activation(cudnnHandle_t dnn) {
  const Shape s{2, 5, 7, 9};
  const std::vector<float> x = numbers(s.count(), 3);
  OnDevice<float> dx(x), dy(s.count());
  Tensor t(s);
  cudnnActivationDescriptor_t tanh;
  LIB(cudnnCreateActivationDescriptor(&tanh));
  LIB(cudnnSetActivationDescriptor(tanh, CUDNN_ACTIVATION_TANH, CUDNN_NOT_PROPAGATE_NAN, 0));
  LIB(cudnnActivationForward(dnn, tanh, &kOne, t, dx, &kZero, t, dy));
  std::vector<double> wanted;
  for (float value : x) wanted.push_back(std::tanh(double(value)));
  CLOSE(dy.values(), wanted, 1e-5);
  LIB(cudnnDestroyActivationDescriptor(tanh));
}

void batch_normalisation(cudnnHandle_t dnn) {
  const Shape s{4, 6, 5, 5}, per_channel{1, 6, 1, 1};
  const std::vector<float> x = numbers(s.count(), 4), scale = numbers(s.c, 5),
                           bias = numbers(s.c, 6);
  OnDevice<float> dx(x), dy(s.count()), dscale(scale), dbias(bias), mean(s.c), variance(s.c),
      saved_mean(s.c), saved_inverse(s.c);
  Tensor t(s), tc(per_channel);
  const double epsilon = 1e-5;
  LIB(cudnnBatchNormalizationForwardTraining(dnn, CUDNN_BATCHNORM_SPATIAL, &kOne, &kZero, t, dx, t,
                                             dy, tc, dscale, dbias, 1.0, mean, variance, epsilon,
                                             saved_mean, saved_inverse));
  std::vector<double> wanted(s.count());
  const int count = s.n * s.h * s.w;
  for (int c = 0; c < s.c; ++c) {
    double sum = 0, squares = 0;
    const auto each = [&s, c](auto&& visit) {
      for (int n = 0; n < s.n; ++n) {
        for (int i = 0; i < s.h * s.w; ++i) visit(s.at(n, c, i / s.w, i % s.w));
      }
    };
    each([&](size_t at) { sum += x[at]; });
    each([&](size_t at) { squares += (x[at] - sum / count) * (x[at] - sum / count); });
    each([&](size_t at) {
      wanted[at] =
          scale[c] * (x[at] - sum / count) / std::sqrt(squares / count + epsilon) + bias[c];
    });
  }
  CLOSE(dy.values(), wanted, 1e-4);
}

// A 2D convolution's shapes; cross-correlation with padding 1.
struct Convolution {
  Shape x, w, y;
  template <class Visit>
  void each(Visit visit) const {  // all (x, w, y) that are multiplied and added
    for (int n = 0; n < y.n; ++n) {
      for (int k = 0; k < y.c; ++k) {
        for (int h = 0; h < y.h; ++h) {
          for (int v = 0; v < y.w; ++v) {
            for (int c = 0; c < x.c; ++c) {
              for (int r = 0; r < w.h; ++r) {
                for (int q = 0; q < w.w; ++q) {
                  const int ih = h + r - 1, iw = v + q - 1;
                  if (ih < 0 || ih >= x.h || iw < 0 || iw >= x.w) continue;
                  visit(x.at(n, c, ih, iw), w.at(k, c, r, q), y.at(n, k, h, v));
                }
              }
            }
          }
        }
      }
    }
  }
};

template <class Size, class Run>
void with_workspace(Size size, Run run) {
  size_t bytes = 0;
  LIB(size(&bytes));
  OnDevice<char> workspace(bytes + 1);
  LIB(run(workspace.get(), bytes));
  OK(cudaDeviceSynchronize());
}

void convolution(cudnnHandle_t dnn) {
  const Convolution conv{{2, 3, 12, 13}, {4, 3, 3, 3}, {2, 4, 12, 13}};
  const std::vector<float> x = numbers(conv.x.count(), 7), w = numbers(conv.w.count(), 8),
                           dy = numbers(conv.y.count(), 9);
  OnDevice<float> on_x(x), on_w(w), on_dy(dy), y(conv.y.count()), dx(conv.x.count()),
      dw(conv.w.count());
  Tensor tx(conv.x), ty(conv.y);
  cudnnFilterDescriptor_t tw;
  LIB(cudnnCreateFilterDescriptor(&tw));
  LIB(cudnnSetFilter4dDescriptor(tw, CUDNN_DATA_FLOAT, CUDNN_TENSOR_NCHW, conv.w.n, conv.w.c,
                                 conv.w.h, conv.w.w));
  cudnnConvolutionDescriptor_t op;
  LIB(cudnnCreateConvolutionDescriptor(&op));
  LIB(cudnnSetConvolution2dDescriptor(op, 1, 1, 1, 1, 1, 1, CUDNN_CROSS_CORRELATION,
                                      CUDNN_DATA_FLOAT));
  std::vector<double> wanted_y(conv.y.count()), wanted_dx(conv.x.count()),
      wanted_dw(conv.w.count());
  conv.each([&](size_t ix, size_t iw, size_t iy) {
    wanted_y[iy] += double(x[ix]) * w[iw];
    wanted_dx[ix] += double(dy[iy]) * w[iw];
    wanted_dw[iw] += double(dy[iy]) * x[ix];
  });
  for (auto algorithm : {CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_GEMM,
                         CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM}) {
    with_workspace(
        [&](size_t* bytes) {
          return cudnnGetConvolutionForwardWorkspaceSize(dnn, tx, tw, op, ty, algorithm, bytes);
        },
        [&](void* workspace, size_t bytes) {
          return cudnnConvolutionForward(dnn, &kOne, tx, on_x, tw, on_w, op, algorithm, workspace,
                                         bytes, &kZero, ty, y);
        });
    CLOSE(y.values(), wanted_y, 1e-4);
    OK(cudaMemset(y, 0, conv.y.count() * sizeof(float)));
  }
  const auto data = CUDNN_CONVOLUTION_BWD_DATA_ALGO_0;  // ALGO_1 exists as cubins alone
  with_workspace(
      [&](size_t* bytes) {
        return cudnnGetConvolutionBackwardDataWorkspaceSize(dnn, tw, ty, op, tx, data, bytes);
      },
      [&](void* workspace, size_t bytes) {
        return cudnnConvolutionBackwardData(dnn, &kOne, tw, on_w, ty, on_dy, op, data, workspace,
                                            bytes, &kZero, tx, dx);
      });
  CLOSE(dx.values(), wanted_dx, 1e-4);
  const auto filter = CUDNN_CONVOLUTION_BWD_FILTER_ALGO_1;
  with_workspace(
      [&](size_t* bytes) {
        return cudnnGetConvolutionBackwardFilterWorkspaceSize(dnn, tx, ty, op, tw, filter, bytes);
      },
      [&](void* workspace, size_t bytes) {
        return cudnnConvolutionBackwardFilter(dnn, &kOne, tx, on_x, ty, on_dy, op, filter,
                                              workspace, bytes, &kZero, tw, dw);
      });
  CLOSE(dw.values(), wanted_dw, 1e-3);
  LIB(cudnnDestroyConvolutionDescriptor(op));
  LIB(cudnnDestroyFilterDescriptor(tw));
}

}  // namespace

int main() {
  cudnnHandle_t dnn;
  LIB(cudnnCreate(&dnn));
  softmax(dnn);
  pooling(dnn, CUDNN_POOLING_MAX);
  pooling(dnn, CUDNN_POOLING_AVERAGE_COUNT_EXCLUDE_PADDING);
  activation(dnn);
  batch_normalisation(dnn);
  convolution(dnn);
  LIB(cudnnDestroy(dnn));
  return finish();
}
