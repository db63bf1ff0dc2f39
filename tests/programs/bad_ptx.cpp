// PTX that the driver can't use: one text that does not parse, one with an instruction that softgpu
// does not have (and no device of compute capability 7.5 either). Both must be refused with a
// reason in the log buffer, and a good text must load afterwards.
#include <cuda.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

constexpr char kGood[] = R"(.version 7.0
.target sm_75
.address_size 64
.visible .entry nothing()
{
    ret;
}
)";

// Line 7: a register that is not declared, and no semicolon.
constexpr char kBroken[] = R"(.version 7.0
.target sm_75
.address_size 64
.visible .entry broken()
{
    .reg .b32 %r1;
    add.s32 %r1 %r1, undeclared
    ret;
}
)";

// Line 6: Hopper's warp-group matrix instruction.
constexpr char kUnsupported[] = R"(.version 8.0
.target sm_90a
.address_size 64
.visible .entry unsupported()
{
    wgmma.fence.sync.aligned;
    ret;
}
)";

const char* name_of(CUresult status) {
  const char* name = nullptr;
  return cuGetErrorName(status, &name) == CUDA_SUCCESS ? name : "?";
}

void require(CUresult status, const char* what) {
  if (status == CUDA_SUCCESS) return;
  std::fprintf(stderr, "%s: %s\n", what, name_of(status));
  std::exit(3);
}

// Loads the text, gets the kernel and runs it; the name of the first result that is no success, or
// of success. A driver may find out at either of these steps.
CUresult try_all(const char* text, const char* kernel, std::vector<char>* log) {
  log->assign(4096, 0);
  CUjit_option options[] = {CU_JIT_ERROR_LOG_BUFFER, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES};
  void* values[] = {log->data(), reinterpret_cast<void*>(log->size())};
  CUmodule module;
  CUfunction function;
  CUresult status = cuModuleLoadDataEx(&module, text, 2, options, values);
  if (status == CUDA_SUCCESS) status = cuModuleGetFunction(&function, module, kernel);
  if (status == CUDA_SUCCESS) {
    status = cuLaunchKernel(function, 1, 1, 1, 1, 1, 1, 0, nullptr, nullptr, nullptr);
  }
  if (status == CUDA_SUCCESS) status = cuCtxSynchronize();
  return status;
}

int main() {
  CUdevice device;
  CUcontext context;
  require(cuInit(0), "cuInit");
  require(cuDeviceGet(&device, 0), "cuDeviceGet");
  require(cuDevicePrimaryCtxRetain(&context, device), "cuDevicePrimaryCtxRetain");
  require(cuCtxSetCurrent(context), "cuCtxSetCurrent");

  std::vector<char> log;
  const CUresult broken = try_all(kBroken, "broken", &log);
  std::printf("broken: %s\n", name_of(broken));
  std::fprintf(stderr, "broken: log: %s\n", log.data());
  const bool broken_told = std::strlen(log.data()) > 0;
  const CUresult unsupported = try_all(kUnsupported, "unsupported", &log);
  std::printf("unsupported: %s\n", name_of(unsupported));
  std::fprintf(stderr, "unsupported: log: %s\n", log.data());
  const CUresult good = try_all(kGood, "nothing", &log);
  std::printf("good: %s\n", name_of(good));
  const bool as_expected = broken == CUDA_ERROR_INVALID_PTX && broken_told &&
                           unsupported != CUDA_SUCCESS && good == CUDA_SUCCESS;
  std::printf("%s\n", as_expected ? "PASSED" : "FAILED");
  return as_expected ? EXIT_SUCCESS : EXIT_FAILURE;
}
