// Contexts: which is current, what ends with them, faults; forks; and the driver before and beside
// them.
#include <sys/wait.h>
#include <unistd.h>

#include <thread>

#include "softgpu/driver/test_driver.h"

namespace farcall::softgpu {
namespace {

class ContextTest : public DriverTest {};

TEST(DriverWithoutInit, SaysSo) {
  SKIP_WITHOUT_OWN_PROCESS();
  int count = 0, version = 0;
  EXPECT_EQ(cuDeviceGetCount(&count), CUDA_ERROR_NOT_INITIALIZED);
  EXPECT_EQ(cuDriverGetVersion(&version), CUDA_SUCCESS);
  EXPECT_EQ(version, 13000);
  EXPECT_EQ(cuInit(1), CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(cuInit(0), CUDA_SUCCESS);
  EXPECT_EQ(cuDeviceGetCount(&count), CUDA_SUCCESS);
  EXPECT_EQ(count, 1);
}

TEST(DriverConfigured, ReportsWhatItWasToldTo) {
  SKIP_WITHOUT_OWN_PROCESS();
  setenv("FARCALL_SOFTGPU_DEVICES", "3", 1);
  setenv("FARCALL_SOFTGPU_MEMORY", "64M", 1);
  setenv("FARCALL_SOFTGPU_CC", "8.6", 1);
  setenv("FARCALL_SOFTGPU_NAME", "my device", 1);
  ASSERT_EQ(cuInit(0), CUDA_SUCCESS);
  int count = 0, major = 0, minor = 0;
  size_t bytes = 0;
  char name[32], id[16];
  EXPECT_EQ(cuDeviceGetCount(&count), CUDA_SUCCESS);
  EXPECT_EQ(count, 3);
  EXPECT_EQ(cuDeviceGetAttribute(&major, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, 2),
            CUDA_SUCCESS);
  EXPECT_EQ(cuDeviceGetAttribute(&minor, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, 2),
            CUDA_SUCCESS);
  EXPECT_EQ(major * 10 + minor, 86);
  EXPECT_EQ(cuDeviceTotalMem(&bytes, 1), CUDA_SUCCESS);
  EXPECT_EQ(bytes, size_t{64} << 20);
  EXPECT_EQ(cuDeviceGetName(name, sizeof(name), 0), CUDA_SUCCESS);
  EXPECT_STREQ(name, "my device");
  CUuuid first, second;
  EXPECT_EQ(cuDeviceGetUuid(&first, 0), CUDA_SUCCESS);
  EXPECT_EQ(cuDeviceGetUuid(&second, 1), CUDA_SUCCESS);
  EXPECT_NE(std::memcmp(&first, &second, sizeof(first)), 0);
  CUdevice found = -1;
  EXPECT_EQ(cuDeviceGetPCIBusId(id, sizeof(id), 2), CUDA_SUCCESS);
  EXPECT_EQ(cuDeviceGetByPCIBusId(&found, id), CUDA_SUCCESS);
  EXPECT_EQ(found, 2);
  EXPECT_EQ(cuDeviceGet(&found, 3), CUDA_ERROR_INVALID_DEVICE);
}

TEST(DriverConfigured, MayHaveNoDevice) {
  SKIP_WITHOUT_OWN_PROCESS();
  setenv("FARCALL_SOFTGPU_DEVICES", "0", 1);
  EXPECT_EQ(cuInit(0), CUDA_ERROR_NO_DEVICE);
}

TEST(DriverConfigured, KernelsMayDoNothing) {
  SKIP_WITHOUT_OWN_PROCESS();
  setenv("FARCALL_SOFTGPU_NULL_KERNELS", "1", 1);
  ASSERT_EQ(cuInit(0), CUDA_SUCCESS);
  CUcontext context;
  ASSERT_EQ(cuCtxCreate(&context, nullptr, 0, 0), CUDA_SUCCESS);
  CUmodule module;
  ASSERT_EQ(cuModuleLoadData(&module, kTestPtx), CUDA_SUCCESS);
  CUfunction trap;
  ASSERT_EQ(cuModuleGetFunction(&trap, module, "trap"), CUDA_SUCCESS);
  EXPECT_EQ(cuLaunchKernel(trap, 1, 1, 1, 1, 1, 1, 0, nullptr, nullptr, nullptr), CUDA_SUCCESS);
  EXPECT_EQ(cuCtxSynchronize(), CUDA_SUCCESS);
}

// NVIDIA's runtime fails to start if any of these is refused.
TEST_F(ContextTest, EveryAttributeTheRuntimeAsksForIsAnswered) {
  for (int attribute = 1; attribute < CU_DEVICE_ATTRIBUTE_MAX; ++attribute) {
    int value = -12345;
    EXPECT_EQ(cuDeviceGetAttribute(&value, static_cast<CUdevice_attribute>(attribute), 0),
              CUDA_SUCCESS)
        << attribute;
    EXPECT_NE(value, -12345) << attribute;
  }
  int value;
  EXPECT_EQ(cuDeviceGetAttribute(&value, CU_DEVICE_ATTRIBUTE_MAX, 0), CUDA_ERROR_INVALID_VALUE);
}

TEST_F(ContextTest, TheStackOfCurrentContexts) {
  CUcontext a, b, current;
  ASSERT_EQ(cuCtxCreate(&a, nullptr, 0, device_), CUDA_SUCCESS);
  ASSERT_EQ(cuCtxCreate(&b, nullptr, 0, device_), CUDA_SUCCESS);
  EXPECT_EQ(cuCtxPopCurrent(&current), CUDA_SUCCESS);
  EXPECT_EQ(current, b);
  EXPECT_EQ(cuCtxGetCurrent(&current), CUDA_SUCCESS);
  EXPECT_EQ(current, a);
  EXPECT_EQ(cuCtxSetCurrent(b), CUDA_SUCCESS);  // replaces a
  EXPECT_EQ(cuCtxPopCurrent(&current), CUDA_SUCCESS);
  EXPECT_EQ(cuCtxGetCurrent(&current), CUDA_SUCCESS);
  EXPECT_EQ(current, context_);
  EXPECT_EQ(cuCtxPushCurrent(a), CUDA_SUCCESS);
  EXPECT_EQ(cuCtxDestroy(a), CUDA_SUCCESS);
  EXPECT_EQ(cuCtxGetCurrent(&current), CUDA_SUCCESS);
  EXPECT_EQ(current, context_);
  EXPECT_EQ(cuCtxDestroy(a), CUDA_ERROR_INVALID_CONTEXT);
  EXPECT_EQ(cuCtxDestroy(b), CUDA_SUCCESS);
  EXPECT_EQ(cuCtxDestroy(context_), CUDA_ERROR_INVALID_CONTEXT);  // primary
}

TEST_F(ContextTest, ANewThreadHasNoContext) {
  std::thread thread([] {
    CUcontext current = reinterpret_cast<CUcontext>(1);
    EXPECT_EQ(cuCtxGetCurrent(&current), CUDA_SUCCESS);
    EXPECT_EQ(current, nullptr);
    CUdeviceptr pointer;
    EXPECT_EQ(cuMemAlloc(&pointer, 1), CUDA_ERROR_INVALID_CONTEXT);
    CUdevice device;
    EXPECT_EQ(cuCtxGetDevice(&device), CUDA_ERROR_INVALID_CONTEXT);
  });
  thread.join();
}

TEST_F(ContextTest, WhatBelongsToAContextEndsWithIt) {
  size_t before = 0, after = 0, total;
  ASSERT_EQ(cuMemGetInfo(&before, &total), CUDA_SUCCESS);
  CUcontext other;
  ASSERT_EQ(cuCtxCreate(&other, nullptr, 0, device_), CUDA_SUCCESS);
  const CUdeviceptr pointer = allocate(100'000);
  CUstream s = stream();
  CUevent e = event();
  CUfunction store = kernel("store");
  Held held(kernel("hold"), s);
  std::thread later([&held] {
    usleep(20'000);
    held.release();
  });
  ASSERT_EQ(cuCtxDestroy(other), CUDA_SUCCESS);  // waits for the kernel
  later.join();
  EXPECT_EQ(cuStreamQuery(s), CUDA_ERROR_INVALID_HANDLE);
  EXPECT_EQ(cuEventQuery(e), CUDA_ERROR_INVALID_HANDLE);
  EXPECT_EQ(launch(store, nullptr, pointer, 1u), CUDA_ERROR_INVALID_HANDLE);
  EXPECT_EQ(cuMemFree(pointer), CUDA_ERROR_INVALID_VALUE);
  ASSERT_EQ(cuMemGetInfo(&after, &total), CUDA_SUCCESS);
  EXPECT_EQ(after, before);
  module_ = nullptr;
}

TEST_F(ContextTest, PrimaryContextsAreCounted) {
  CUcontext again;
  unsigned flags = 0;
  int active = 0;
  ASSERT_EQ(cuDevicePrimaryCtxRetain(&again, device_), CUDA_SUCCESS);
  EXPECT_EQ(again, context_);
  const CUdeviceptr pointer = cell(5);
  EXPECT_EQ(cuDevicePrimaryCtxRelease(device_), CUDA_SUCCESS);
  EXPECT_EQ(read(pointer), 5u);
  EXPECT_EQ(cuDevicePrimaryCtxRelease(device_), CUDA_SUCCESS);
  EXPECT_EQ(cuDevicePrimaryCtxGetState(device_, &flags, &active), CUDA_SUCCESS);
  EXPECT_EQ(active, 0);
  EXPECT_EQ(cuDevicePrimaryCtxRelease(device_), CUDA_ERROR_INVALID_CONTEXT);
  size_t bytes;
  EXPECT_EQ(cuMemGetInfo(&bytes, &bytes), CUDA_ERROR_CONTEXT_IS_DESTROYED);
  ASSERT_EQ(cuDevicePrimaryCtxRetain(&again, device_), CUDA_SUCCESS);
  EXPECT_EQ(again, context_);
  EXPECT_EQ(cuMemFree(pointer), CUDA_ERROR_INVALID_VALUE);
}

TEST_F(ContextTest, AFaultStaysUntilTheContextIsReset) {
  CUstream s = stream();
  const CUdeviceptr target = cell(0);
  ASSERT_EQ(launch(kernel("trap"), s), CUDA_SUCCESS);
  EXPECT_EQ(cuStreamSynchronize(s), CUDA_ERROR_LAUNCH_FAILED);
  EXPECT_EQ(cuCtxSynchronize(), CUDA_ERROR_LAUNCH_FAILED);
  uint32_t value;
  EXPECT_EQ(cuMemcpyDtoH(&value, target, 4), CUDA_ERROR_LAUNCH_FAILED);
  CUdeviceptr pointer;
  EXPECT_EQ(cuMemAlloc(&pointer, 4), CUDA_ERROR_LAUNCH_FAILED);
  // Another context does not suffer.
  CUcontext other;
  ASSERT_EQ(cuCtxCreate(&other, nullptr, 0, device_), CUDA_SUCCESS);
  EXPECT_EQ(cuMemAlloc(&pointer, 4), CUDA_SUCCESS);
  ASSERT_EQ(cuCtxDestroy(other), CUDA_SUCCESS);
  ASSERT_EQ(cuDevicePrimaryCtxReset(device_), CUDA_SUCCESS);
  ASSERT_EQ(cuDevicePrimaryCtxRetain(&context_, device_), CUDA_SUCCESS);
  EXPECT_EQ(cuMemAlloc(&pointer, 4), CUDA_SUCCESS);
}

TEST_F(ContextTest, WorkAfterAFaultDoesNotRun) {
  CUstream s = stream();
  CUdeviceptr managed;
  ASSERT_EQ(cuMemAllocManaged(&managed, 4, CU_MEM_ATTACH_GLOBAL), CUDA_SUCCESS);
  Held held(kernel("hold"), s);
  ASSERT_EQ(launch(kernel("trap"), s), CUDA_SUCCESS);
  ASSERT_EQ(store(managed, 1, s), CUDA_SUCCESS);
  held.release();
  EXPECT_EQ(cuStreamSynchronize(s), CUDA_ERROR_LAUNCH_FAILED);
  EXPECT_EQ(*reinterpret_cast<uint32_t*>(managed), 0u);
}

TEST_F(ContextTest, HandlesAreNeverMistakenForOthers) {
  CUstream s = stream();
  CUevent e = event();
  EXPECT_EQ(cuEventQuery(reinterpret_cast<CUevent>(s)), CUDA_ERROR_INVALID_HANDLE);
  EXPECT_EQ(cuStreamQuery(reinterpret_cast<CUstream>(e)), CUDA_ERROR_INVALID_HANDLE);
  int on_stack;
  EXPECT_EQ(cuStreamQuery(reinterpret_cast<CUstream>(&on_stack)), CUDA_ERROR_INVALID_HANDLE);
  EXPECT_EQ(cuModuleUnload(reinterpret_cast<CUmodule>(e)), CUDA_ERROR_INVALID_HANDLE);
  EXPECT_EQ(cuCtxSetCurrent(reinterpret_cast<CUcontext>(s)), CUDA_ERROR_INVALID_CONTEXT);
  ASSERT_EQ(cuStreamDestroy(s), CUDA_SUCCESS);
  EXPECT_EQ(cuStreamDestroy(s), CUDA_ERROR_INVALID_HANDLE);
  EXPECT_NE(stream(), s);
}

TEST_F(ContextTest, LimitsAreKept) {
  size_t value = 0;
  EXPECT_EQ(cuCtxGetLimit(&value, CU_LIMIT_PRINTF_FIFO_SIZE), CUDA_SUCCESS);
  EXPECT_EQ(value, size_t{1} << 20);
  EXPECT_EQ(cuCtxSetLimit(CU_LIMIT_STACK_SIZE, 4096), CUDA_SUCCESS);
  EXPECT_EQ(cuCtxGetLimit(&value, CU_LIMIT_STACK_SIZE), CUDA_SUCCESS);
  EXPECT_EQ(value, 4096u);
  EXPECT_EQ(cuCtxGetLimit(&value, static_cast<CUlimit>(99)), CUDA_ERROR_UNSUPPORTED_LIMIT);
}

TEST_F(ContextTest, AForkedChildGetsErrorsAndNotAHang) {
  CUstream s = stream();
  Held held(kernel("hold"), s);
  const pid_t child = fork();
  if (child == 0) {
    CUdeviceptr pointer;
    const bool refused = cuMemAlloc(&pointer, 4) == CUDA_ERROR_NOT_INITIALIZED &&
                         cuInit(0) == CUDA_ERROR_NOT_INITIALIZED &&
                         cuStreamSynchronize(s) == CUDA_ERROR_NOT_INITIALIZED;
    _exit(refused ? 0 : 1);
  }
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  held.release();
  EXPECT_EQ(cuStreamSynchronize(s), CUDA_SUCCESS);
}

TEST(Peers, SeeEachOthersMemoryWhenEnabled) {
  SKIP_WITHOUT_OWN_PROCESS();
  setenv("FARCALL_SOFTGPU_DEVICES", "2", 1);
  ASSERT_EQ(cuInit(0), CUDA_SUCCESS);
  CUcontext first, second;
  CUdeviceptr there;
  CUmodule module;
  CUfunction store;
  ASSERT_EQ(cuCtxCreate(&second, nullptr, 0, 1), CUDA_SUCCESS);
  ASSERT_EQ(cuMemAlloc(&there, 4), CUDA_SUCCESS);
  ASSERT_EQ(cuCtxCreate(&first, nullptr, 0, 0), CUDA_SUCCESS);
  ASSERT_EQ(cuModuleLoadData(&module, kTestPtx), CUDA_SUCCESS);
  ASSERT_EQ(cuModuleGetFunction(&store, module, "store"), CUDA_SUCCESS);
  int can = 0;
  EXPECT_EQ(cuDeviceCanAccessPeer(&can, 0, 1), CUDA_SUCCESS);
  EXPECT_EQ(can, 1);
  ASSERT_EQ(cuCtxEnablePeerAccess(second, 0), CUDA_SUCCESS);
  EXPECT_EQ(cuCtxEnablePeerAccess(second, 0), CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED);
  uint32_t value = 11;
  void* params[] = {&there, &value};
  ASSERT_EQ(cuLaunchKernel(store, 1, 1, 1, 1, 1, 1, 0, nullptr, params, nullptr), CUDA_SUCCESS);
  ASSERT_EQ(cuCtxSynchronize(), CUDA_SUCCESS);
  value = 0;
  ASSERT_EQ(cuMemcpyDtoH(&value, there, 4), CUDA_SUCCESS);
  EXPECT_EQ(value, 11u);
  ASSERT_EQ(cuCtxDisablePeerAccess(second), CUDA_SUCCESS);
  // A pool is shared by itself.
  CUmemoryPool pool;
  CUdeviceptr pooled;
  ASSERT_EQ(cuDeviceGetDefaultMemPool(&pool, 1), CUDA_SUCCESS);
  ASSERT_EQ(cuMemAllocFromPoolAsync(&pooled, 4, pool, nullptr), CUDA_SUCCESS);
  CUmemAccessDesc access = {};
  access.location = {CU_MEM_LOCATION_TYPE_DEVICE, 0};
  access.flags = CU_MEM_ACCESS_FLAGS_PROT_READWRITE;
  ASSERT_EQ(cuMemPoolSetAccess(pool, &access, 1), CUDA_SUCCESS);
  CUmemAccess_flags flags;
  EXPECT_EQ(cuMemPoolGetAccess(&flags, pool, &access.location), CUDA_SUCCESS);
  EXPECT_EQ(flags, CU_MEM_ACCESS_FLAGS_PROT_READWRITE);
  void* pooled_params[] = {&pooled, &value};
  ASSERT_EQ(cuLaunchKernel(store, 1, 1, 1, 1, 1, 1, 0, nullptr, pooled_params, nullptr),
            CUDA_SUCCESS);
  ASSERT_EQ(cuCtxSynchronize(), CUDA_SUCCESS);
  ASSERT_EQ(cuLaunchKernel(store, 1, 1, 1, 1, 1, 1, 0, nullptr, params, nullptr), CUDA_SUCCESS);
  EXPECT_EQ(cuCtxSynchronize(), CUDA_ERROR_ILLEGAL_ADDRESS);
}

}  // namespace
}  // namespace farcall::softgpu
