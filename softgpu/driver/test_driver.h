// For tests of the driver through its API: a context, kernels from PTX text, and a kernel that can
// be held up, so that what must not wait for it, and what must, shows.
#pragma once

#include <cuda.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cstring>
#include <string>
#include <vector>

namespace farcall::softgpu {

// add(u32* cells, u32 count, u32 value): adds to each cell.   store(u32* cell, u32 value)
// hold(u32* started, u32* go): sets *started, then waits until *go is not 0.
// trap()   touch(u64 address)   offsets(u8 a, u64 b, u16 c, u32* out): out = {a, b, c}
// `cells` and `fixed` are variables; fixed holds 7.
extern const char kTestPtx[];

// Runs the current test in another process, of its own and with this variable set; its exit status.
// File descriptors without FD_CLOEXEC are there too.
int run_again(const char* variable, const std::string& value);

// Whether the test has the process for itself, as with ctest. One that sets the environment, which
// cuInit() reads once, or that forks, needs that; and what it sets would reach the processes that
// other tests start.
inline bool has_own_process() { return testing::UnitTest::GetInstance()->test_to_run_count() == 1; }
#define SKIP_WITHOUT_OWN_PROCESS() \
  if (!has_own_process()) GTEST_SKIP() << "needs a process of its own, which ctest gives it"

class DriverTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(cuInit(0), CUDA_SUCCESS);
    ASSERT_EQ(cuDeviceGet(&device_, 0), CUDA_SUCCESS);
    ASSERT_EQ(cuDevicePrimaryCtxRetain(&context_, device_), CUDA_SUCCESS);
    ASSERT_EQ(cuCtxSetCurrent(context_), CUDA_SUCCESS);
  }
  // Whatever a test left behind ends here.
  void TearDown() override { cuDevicePrimaryCtxReset(device_); }

  CUmodule module() {
    if (module_ == nullptr) {
      EXPECT_EQ(cuModuleLoadData(&module_, kTestPtx), CUDA_SUCCESS);
    }
    return module_;
  }
  CUfunction kernel(const char* name) {
    CUfunction function = nullptr;
    EXPECT_EQ(cuModuleGetFunction(&function, module(), name), CUDA_SUCCESS) << name;
    return function;
  }
  CUdeviceptr allocate(size_t bytes) {
    CUdeviceptr pointer = 0;
    EXPECT_EQ(cuMemAlloc(&pointer, bytes), CUDA_SUCCESS);
    return pointer;
  }
  // Device memory of one word.
  CUdeviceptr cell(uint32_t value) {
    const CUdeviceptr pointer = allocate(sizeof(value));
    EXPECT_EQ(cuMemcpyHtoD(pointer, &value, sizeof(value)), CUDA_SUCCESS);
    return pointer;
  }
  uint32_t read(CUdeviceptr pointer) {
    uint32_t value = 0;
    EXPECT_EQ(cuMemcpyDtoH(&value, pointer, sizeof(value)), CUDA_SUCCESS);
    return value;
  }
  CUstream stream(unsigned flags = CU_STREAM_DEFAULT) {
    CUstream created = nullptr;
    EXPECT_EQ(cuStreamCreate(&created, flags), CUDA_SUCCESS);
    return created;
  }
  CUevent event(unsigned flags = CU_EVENT_DEFAULT) {
    CUevent created = nullptr;
    EXPECT_EQ(cuEventCreate(&created, flags), CUDA_SUCCESS);
    return created;
  }

  template <class... Args>
  static CUresult launch(CUfunction function, CUstream stream, Args... args) {
    void* params[] = {static_cast<void*>(&args)..., nullptr};
    return cuLaunchKernel(function, 1, 1, 1, 1, 1, 1, 0, stream, params, nullptr);
  }
  CUresult add(CUdeviceptr cells, uint32_t value, CUstream stream) {
    return launch(kernel("add"), stream, cells, uint32_t{1}, value);
  }
  CUresult store(CUdeviceptr cell, uint32_t value, CUstream stream) {
    return launch(kernel("store"), stream, cell, value);
  }

  CUdevice device_ = 0;
  CUcontext context_ = nullptr;
  CUmodule module_ = nullptr;
};

// A kernel in a stream that runs until release().
class Held {
 public:
  Held(CUfunction hold, CUstream stream) {
    EXPECT_EQ(cuMemHostRegister(words_, 2 * sizeof(uint32_t), 0), CUDA_SUCCESS);
    uint32_t* started = words_;
    uint32_t* go = words_ + 1;
    void* params[] = {&started, &go};
    EXPECT_EQ(cuLaunchKernel(hold, 1, 1, 1, 1, 1, 1, 0, stream, params, nullptr), CUDA_SUCCESS);
  }
  ~Held() { release(); }
  bool started() const { return std::atomic_ref(words_[0]).load() != 0; }
  void wait_until_started() const {
    while (!started()) sched_yield();
  }
  void release() {
    if (!released_.exchange(true)) std::atomic_ref(words_[1]).store(1);
  }

 private:
  std::atomic<bool> released_ = false;
  // Never freed: the context may end before the release.
  uint32_t* const words_ = new uint32_t[2]();
};

}  // namespace farcall::softgpu
