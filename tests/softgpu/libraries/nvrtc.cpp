// NVRTC: a kernel compiled while the program runs, for the device's own architecture as programs
// ask for it, loaded with the driver's interface and launched.
#include <cuda.h>
#include <nvrtc.h>

#include <string>

#include "numbers.h"

namespace {

const char* const kSource = R"(
template <class T>
__global__ void scale(const T* in, T* out, T factor, int n) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) out[i] = in[i] * factor;
}
)";

std::string compile(const char* expression, std::string* lowered) {
  cudaDeviceProp properties;
  OK(cudaGetDeviceProperties(&properties, 0));
  const std::string architecture = "--gpu-architecture=compute_" +
                                   std::to_string(properties.major) +
                                   std::to_string(properties.minor);
  nvrtcProgram program;
  LIB(nvrtcCreateProgram(&program, kSource, "scale.cu", 0, nullptr, nullptr));
  LIB(nvrtcAddNameExpression(program, expression));
  const char* options[] = {architecture.c_str(), "--std=c++17"};
  LIB(nvrtcCompileProgram(program, 2, options));
  const char* name = nullptr;
  LIB(nvrtcGetLoweredName(program, expression, &name));
  if (name != nullptr) *lowered = name;
  size_t bytes = 0;
  LIB(nvrtcGetPTXSize(program, &bytes));
  std::string ptx(bytes, '\0');
  LIB(nvrtcGetPTX(program, ptx.data()));
  LIB(nvrtcDestroyProgram(&program));
  return ptx;
}

}  // namespace

int main() {
  OK(cudaFree(nullptr));
  std::string name;
  const std::string ptx = compile("scale<double>", &name);
  CUmodule module = nullptr;
  CUfunction kernel = nullptr;
  LIB(cuModuleLoadData(&module, ptx.c_str()));
  LIB(cuModuleGetFunction(&kernel, module, name.c_str()));
  int n = 1000;
  double factor = 3;
  const std::vector<double> in = numbers<double>(n, 1);
  OnDevice<double> din(in), dout(n);
  double *pin = din, *pout = dout;
  void* arguments[] = {&pin, &pout, &factor, &n};
  LIB(cuLaunchKernel(kernel, 8, 1, 1, 128, 1, 1, 0, nullptr, arguments, nullptr));
  std::vector<double> wanted;
  for (double value : in) wanted.push_back(factor * value);
  CLOSE(dout.values(), wanted, 0);
  LIB(cuModuleUnload(module));
  return finish();
}
