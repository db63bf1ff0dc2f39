// The driver API and nothing else: PTX text is handed to the driver, which compiles it for the
// device at hand, as programs do that generate their kernels. Errors of the compiler come back in a
// log buffer.
#include <cuda.h>
#include <cudaTypedefs.h>

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#define CHECK_DRIVER(call)                                                                     \
  do {                                                                                         \
    const CUresult status_ = (call);                                                           \
    if (status_ != CUDA_SUCCESS) {                                                             \
      const char* name_ = nullptr;                                                             \
      cuGetErrorName(status_, &name_);                                                         \
      std::fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #call, name_ ? name_ : "?"); \
      std::exit(EXIT_FAILURE);                                                                 \
    }                                                                                          \
  } while (false)

// y = factor * x + y, where `factor` is a variable of the module.
constexpr char kSource[] = R"ptx(
.version 6.4
.target sm_75
.address_size 64

.visible .global .align 4 .f32 factor = 0f3F800000;

.visible .entry saxpy(
    .param .u64 saxpy_x,
    .param .u64 saxpy_y,
    .param .u32 saxpy_count)
{
    .reg .pred  %outside;
    .reg .b32   %thread, %block, %threads, %i, %count;
    .reg .f32   %x, %y, %a;
    .reg .b64   %x_base, %y_base, %offset, %x_at, %y_at;

    ld.param.u64        %x_base, [saxpy_x];
    ld.param.u64        %y_base, [saxpy_y];
    ld.param.u32        %count, [saxpy_count];
    mov.u32             %thread, %tid.x;
    mov.u32             %block, %ctaid.x;
    mov.u32             %threads, %ntid.x;
    mad.lo.s32          %i, %block, %threads, %thread;
    setp.ge.u32         %outside, %i, %count;
@%outside bra           done;

    cvta.to.global.u64  %x_base, %x_base;
    cvta.to.global.u64  %y_base, %y_base;
    mul.wide.u32        %offset, %i, 4;
    add.s64             %x_at, %x_base, %offset;
    add.s64             %y_at, %y_base, %offset;
    ld.global.f32       %a, [factor];
    ld.global.f32       %x, [%x_at];
    ld.global.f32       %y, [%y_at];
    fma.rn.f32          %y, %a, %x, %y;
    st.global.f32       [%y_at], %y;
done:
    ret;
}
)ptx";

// nullptr: the driver refused the text, and *log says why.
CUmodule load(const char* source, std::vector<char>* log) {
  log->assign(4096, 0);
  CUjit_option options[] = {CU_JIT_ERROR_LOG_BUFFER, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES};
  void* values[] = {log->data(), reinterpret_cast<void*>(log->size())};
  CUmodule module = nullptr;
  const CUresult status = cuModuleLoadDataEx(&module, source, 2, options, values);
  return status == CUDA_SUCCESS ? module : nullptr;
}

int main() {
  CUdevice device;
  CUcontext context;
  CHECK_DRIVER(cuInit(0));
  CHECK_DRIVER(cuDeviceGet(&device, 0));
  CHECK_DRIVER(cuDevicePrimaryCtxRetain(&context, device));
  CHECK_DRIVER(cuCtxSetCurrent(context));

  std::vector<char> log;
  CUmodule module = load(kSource, &log);
  if (module == nullptr) {
    std::fprintf(stderr, "the driver refused the PTX:\n%s\n", log.data());
    return EXIT_FAILURE;
  }
  CUfunction saxpy;
  CUdeviceptr factor, device_x, device_y;
  size_t factor_bytes = 0;
  CHECK_DRIVER(cuModuleGetFunction(&saxpy, module, "saxpy"));
  CHECK_DRIVER(cuModuleGetGlobal(&factor, &factor_bytes, module, "factor"));

  constexpr unsigned kCount = 100'000, kThreads = 192;
  std::vector<float> x(kCount), y(kCount), result(kCount);
  for (unsigned i = 0; i < kCount; ++i) {
    x[i] = static_cast<float>(i % 1024) / 8;
    y[i] = static_cast<float>(i % 37) - 18;
  }
  CHECK_DRIVER(cuMemAlloc(&device_x, kCount * sizeof(float)));
  CHECK_DRIVER(cuMemAlloc(&device_y, kCount * sizeof(float)));
  CHECK_DRIVER(cuMemcpyHtoD(device_x, x.data(), kCount * sizeof(float)));

  bool good = factor_bytes == sizeof(float);
  CUstream stream;
  CHECK_DRIVER(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
  for (const float a : {1.0f, -2.5f}) {
    if (a != 1.0f)
      CHECK_DRIVER(cuMemcpyHtoD(factor, &a, sizeof(a)));  // 1 is what the PTX initialises it to
    CHECK_DRIVER(cuMemcpyHtoD(device_y, y.data(), kCount * sizeof(float)));
    unsigned count = kCount;
    void* arguments[] = {&device_x, &device_y, &count};
    CHECK_DRIVER(cuLaunchKernel(saxpy, (kCount + kThreads - 1) / kThreads, 1, 1, kThreads, 1, 1, 0,
                                stream, arguments, nullptr));
    CHECK_DRIVER(cuStreamSynchronize(stream));
    CHECK_DRIVER(cuMemcpyDtoH(result.data(), device_y, kCount * sizeof(float)));
    int wrong = 0;
    double total = 0;
    for (unsigned i = 0; i < kCount; ++i) {
      wrong += result[i] != std::fma(a, x[i], y[i]);
      total += result[i];
    }
    std::printf("%.1f * x + y: total %.3f, %d wrong\n", a, total, wrong);
    good = good && wrong == 0;
  }

  // The stream marks its end in memory. This is the form of the call that programs from before CUDA
  // 12 have; NVIDIA's driver refuses it unless it was loaded with NVreg_EnableStreamMemOPs=1.
  void* entry = nullptr;
  CHECK_DRIVER(cuGetProcAddress("cuStreamWriteValue32", &entry, 8000,
                                CU_GET_PROC_ADDRESS_LEGACY_STREAM, nullptr));
  const auto write_value = reinterpret_cast<PFN_cuStreamWriteValue32_v8000>(entry);
  const CUresult written = write_value(stream, device_y, 0x600d, 0);
  if (written == CUDA_ERROR_NOT_SUPPORTED) {
    std::printf("mark: not supported\n");
  } else {
    CHECK_DRIVER(written);
    CHECK_DRIVER(cuStreamSynchronize(stream));
    uint32_t words[2] = {};
    CHECK_DRIVER(cuMemcpyDtoH(words, device_y, sizeof(words)));
    const bool marked = words[0] == 0x600d && std::memcmp(&words[1], &result[1], 4) == 0;
    std::printf("mark: %s\n", marked ? "written, and nothing else" : "wrong");
    good = good && marked && write_value(stream, device_y + 1, 0, 0) == CUDA_ERROR_INVALID_VALUE;
  }

  CUmodule none = load(
      ".version 6.4\n.target sm_75\n.address_size 64\n.entry broken() { no_such_instruction; }\n",
      &log);
  const bool refused = none == nullptr && log[0] != '\0';
  std::printf("broken PTX: %s\n",
              refused ? "refused, with a reason" : "accepted, or refused without a reason");
  std::printf("%s\n", good && refused ? "PASSED" : "FAILED");

  CHECK_DRIVER(cuStreamDestroy(stream));
  CHECK_DRIVER(cuMemFree(device_x));
  CHECK_DRIVER(cuMemFree(device_y));
  CHECK_DRIVER(cuModuleUnload(module));
  CHECK_DRIVER(cuDevicePrimaryCtxRelease(device));
  return good && refused ? EXIT_SUCCESS : EXIT_FAILURE;
}
