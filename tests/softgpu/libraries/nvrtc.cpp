// NVRTC: a kernel compiled while the program runs, for the device's own architecture as programs
// ask for it, loaded with the driver's interface and launched; once as PTX, once as what softgpu's
// libnvrtc gives for a cubin.
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

struct Compiled {
  std::string code, kernel;
};

// `architecture`: "compute_" for PTX, "sm_" for a cubin.
Compiled compile(const char* architecture, const char* expression) {
  cudaDeviceProp device;
  OK(cudaGetDeviceProperties(&device, 0));
  const std::string option = std::string("--gpu-architecture=") + architecture +
                             std::to_string(device.major) + std::to_string(device.minor);
  nvrtcProgram program;
  LIB(nvrtcCreateProgram(&program, kSource, "scale.cu", 0, nullptr, nullptr));
  LIB(nvrtcAddNameExpression(program, expression));
  const char* options[] = {option.c_str(), "--std=c++17"};
  LIB(nvrtcCompileProgram(program, 2, options));
  const char* name = "";
  LIB(nvrtcGetLoweredName(program, expression, &name));
  Compiled out{"", name};
  size_t bytes = 0;
  LIB(nvrtcGetCUBINSize(program, &bytes));
  const bool cubin = bytes != 0;
  CHECK(cubin == (architecture[0] == 's'));
  if (!cubin) LIB(nvrtcGetPTXSize(program, &bytes));
  out.code.resize(bytes);
  LIB(cubin ? nvrtcGetCUBIN(program, out.code.data()) : nvrtcGetPTX(program, out.code.data()));
  LIB(nvrtcDestroyProgram(&program));
  return out;
}

void run(const Compiled& compiled) {
  CUmodule module = nullptr;
  CUfunction kernel = nullptr;
  LIB(cuModuleLoadData(&module, compiled.code.c_str()));
  LIB(cuModuleGetFunction(&kernel, module, compiled.kernel.c_str()));
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
}

}  // namespace

int main() {
  OK(cudaFree(nullptr));
  run(compile("compute_", "scale<double>"));
  run(compile("sm_", "scale<double>"));
  return finish();
}
