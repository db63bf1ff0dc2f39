// Calls that have no object of their own: limits, contexts that wait, launches as they once were,
// and answers about what these devices do not have.
#include "softgpu/driver/test_driver.h"

// Old functions are called on purpose.
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

namespace farcall::softgpu {
namespace {

using ApiTest = DriverTest;

TEST_F(ApiTest, AContextCanWaitForAnEvent) {
  module();
  CUstream s = stream(CU_STREAM_NON_BLOCKING), other = stream(CU_STREAM_NON_BLOCKING);
  const CUdeviceptr cells = cell(0);
  CUevent held_up = event();
  Held held(kernel("hold"), s);
  ASSERT_EQ(cuEventRecord(held_up, s), CUDA_SUCCESS);
  ASSERT_EQ(cuCtxWaitEvent(context_, held_up), CUDA_SUCCESS);
  CUstream later = stream(CU_STREAM_NON_BLOCKING);
  ASSERT_EQ(add(cells, 1, other), CUDA_SUCCESS);
  ASSERT_EQ(add(cells, 1, later), CUDA_SUCCESS);
  held.wait_until_started();
  EXPECT_EQ(cuStreamQuery(other), CUDA_ERROR_NOT_READY);
  EXPECT_EQ(cuStreamQuery(later), CUDA_ERROR_NOT_READY);
  held.release();
  ASSERT_EQ(cuCtxSynchronize(), CUDA_SUCCESS);
  EXPECT_GE(read(cells), 1u);
}

TEST_F(ApiTest, AContextLivesUntilItIsDetachedAsOftenAsAttached) {
  CUcontext created, attached;
  ASSERT_EQ(cuCtxCreate(&created, nullptr, 0, 0), CUDA_SUCCESS);
  ASSERT_EQ(cuCtxAttach(&attached, 0), CUDA_SUCCESS);
  EXPECT_EQ(attached, created);
  EXPECT_EQ(cuCtxDetach(created), CUDA_SUCCESS);
  unsigned version;
  EXPECT_EQ(cuCtxGetApiVersion(created, &version), CUDA_SUCCESS);
  EXPECT_EQ(cuCtxDetach(created), CUDA_SUCCESS);
  EXPECT_EQ(cuCtxGetApiVersion(created, &version), CUDA_ERROR_INVALID_CONTEXT);
}

TEST_F(ApiTest, FunctionsLaunchAsBeforeCuda4) {
  CUfunction add_kernel = kernel("add");
  const CUdeviceptr cells = allocate(64 * 4);
  ASSERT_EQ(cuMemsetD32(cells, 1, 64), CUDA_SUCCESS);
  ASSERT_EQ(cuFuncSetBlockShape(add_kernel, 16, 1, 1), CUDA_SUCCESS);
  ASSERT_EQ(cuFuncSetSharedSize(add_kernel, 0), CUDA_SUCCESS);
  CUdeviceptr pointer = cells;
  ASSERT_EQ(cuParamSetv(add_kernel, 0, &pointer, 8), CUDA_SUCCESS);
  ASSERT_EQ(cuParamSeti(add_kernel, 8, 64), CUDA_SUCCESS);
  ASSERT_EQ(cuParamSeti(add_kernel, 12, 5), CUDA_SUCCESS);
  ASSERT_EQ(cuParamSetSize(add_kernel, 16), CUDA_SUCCESS);
  ASSERT_EQ(cuLaunchGrid(add_kernel, 4, 1), CUDA_SUCCESS);
  EXPECT_EQ(read(cells), 6u);
  EXPECT_EQ(read(cells + 63 * 4), 6u);
  CUstream s = stream();
  ASSERT_EQ(cuLaunchGridAsync(add_kernel, 1, 1, s), CUDA_SUCCESS);
  ASSERT_EQ(cuStreamSynchronize(s), CUDA_SUCCESS);
  EXPECT_EQ(read(cells + 15 * 4), 11u);
  EXPECT_EQ(read(cells + 16 * 4), 6u);
  EXPECT_EQ(cuFuncSetBlockShape(add_kernel, 0, 1, 1), CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(cuParamSeti(add_kernel, -4, 1), CUDA_ERROR_INVALID_VALUE);
}

TEST_F(ApiTest, ManagedRangesArePrefetchedInBatches) {
  CUdeviceptr ranges[3];
  size_t sizes[] = {4096, 8192, 4096}, first[] = {0, 2};
  for (int i = 0; i < 3; ++i) {
    ASSERT_EQ(cuMemAllocManaged(&ranges[i], sizes[i], CU_MEM_ATTACH_GLOBAL), CUDA_SUCCESS);
  }
  CUmemLocation locations[] = {{CU_MEM_LOCATION_TYPE_DEVICE, 0}, {CU_MEM_LOCATION_TYPE_HOST, 0}};
  CUstream s = stream();
  ASSERT_EQ(cuMemPrefetchBatchAsync(ranges, sizes, 3, locations, first, 2, 0, s), CUDA_SUCCESS);
  const auto last = [&](int i) {
    int device = -9;
    EXPECT_EQ(
        cuMemRangeGetAttribute(&device, sizeof(device),
                               CU_MEM_RANGE_ATTRIBUTE_LAST_PREFETCH_LOCATION, ranges[i], sizes[i]),
        CUDA_SUCCESS);
    return device;
  };
  EXPECT_EQ(last(0), 0);
  EXPECT_EQ(last(1), 0);
  EXPECT_EQ(last(2), CU_DEVICE_CPU);
  EXPECT_EQ(cuMemPrefetchBatchAsync(ranges, sizes, 3, locations, first, 2, 0, nullptr),
            CUDA_ERROR_INVALID_VALUE);
  first[1] = 3;
  EXPECT_EQ(cuMemPrefetchBatchAsync(ranges, sizes, 3, locations, first, 2, 0, s),
            CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(cuMemDiscardBatchAsync(ranges, sizes, 3, 0, s), CUDA_SUCCESS);
  sizes[2] = 4097;
  EXPECT_EQ(cuMemDiscardBatchAsync(ranges, sizes, 3, 0, s), CUDA_ERROR_INVALID_VALUE);
}

TEST_F(ApiTest, StreamsKeepTheirAttributes) {
  CUstream s = stream(), copy = stream();
  CUstreamAttrValue value = {};
  value.priority = -2;
  ASSERT_EQ(cuStreamSetAttribute(s, CU_STREAM_ATTRIBUTE_PRIORITY, &value), CUDA_SUCCESS);
  value.priority = 3;  // there are none so low
  EXPECT_EQ(cuStreamSetAttribute(s, CU_STREAM_ATTRIBUTE_PRIORITY, &value),
            CUDA_ERROR_INVALID_VALUE);
  value.syncPolicy = CU_SYNC_POLICY_YIELD;
  ASSERT_EQ(cuStreamSetAttribute(s, CU_STREAM_ATTRIBUTE_SYNCHRONIZATION_POLICY, &value),
            CUDA_SUCCESS);
  EXPECT_EQ(cuStreamSetAttribute(s, CU_LAUNCH_ATTRIBUTE_COOPERATIVE, &value),
            CUDA_ERROR_INVALID_VALUE);
  ASSERT_EQ(cuStreamCopyAttributes(copy, s), CUDA_SUCCESS);
  int priority = 0;
  EXPECT_EQ(cuStreamGetPriority(copy, &priority), CUDA_SUCCESS);
  EXPECT_EQ(priority, -2);
  value = {};
  EXPECT_EQ(cuStreamGetAttribute(copy, CU_STREAM_ATTRIBUTE_SYNCHRONIZATION_POLICY, &value),
            CUDA_SUCCESS);
  EXPECT_EQ(value.syncPolicy, CU_SYNC_POLICY_YIELD);
}

TEST_F(ApiTest, HostMemoryTellsWhatItIs) {
  void* pinned;
  static char registered[4096];
  CUdeviceptr managed;
  ASSERT_EQ(cuMemHostAlloc(&pinned, 100, CU_MEMHOSTALLOC_PORTABLE | CU_MEMHOSTALLOC_WRITECOMBINED),
            CUDA_SUCCESS);
  ASSERT_EQ(cuMemHostRegister(registered, sizeof(registered), CU_MEMHOSTREGISTER_PORTABLE),
            CUDA_SUCCESS);
  ASSERT_EQ(cuMemAllocManaged(&managed, 100, CU_MEM_ATTACH_GLOBAL), CUDA_SUCCESS);
  unsigned flags = 0;
  ASSERT_EQ(cuMemHostGetFlags(&flags, static_cast<char*>(pinned) + 99), CUDA_SUCCESS);
  EXPECT_EQ(flags, unsigned{CU_MEMHOSTALLOC_PORTABLE | CU_MEMHOSTALLOC_WRITECOMBINED |
                            CU_MEMHOSTALLOC_DEVICEMAP});
  EXPECT_EQ(cuMemHostGetFlags(&flags, reinterpret_cast<void*>(managed)), CUDA_ERROR_INVALID_VALUE);
  const auto attribute = [](CUpointer_attribute name, const void* pointer) {
    unsigned long long value = 0;
    EXPECT_EQ(cuPointerGetAttribute(&value, name, reinterpret_cast<CUdeviceptr>(pointer)),
              CUDA_SUCCESS);
    return value;
  };
  for (const void* host :
       {static_cast<const void*>(pinned), static_cast<const void*>(registered)}) {
    EXPECT_EQ(attribute(CU_POINTER_ATTRIBUTE_MEMORY_TYPE, host), CU_MEMORYTYPE_HOST);
    EXPECT_EQ(attribute(CU_POINTER_ATTRIBUTE_IS_MANAGED, host), 0u);
    EXPECT_EQ(attribute(CU_POINTER_ATTRIBUTE_HOST_POINTER, host),
              reinterpret_cast<unsigned long long>(host));
    EXPECT_EQ(attribute(CU_POINTER_ATTRIBUTE_DEVICE_POINTER, host),
              reinterpret_cast<unsigned long long>(host));
  }
  const void* both = reinterpret_cast<const void*>(managed);
  EXPECT_EQ(attribute(CU_POINTER_ATTRIBUTE_IS_MANAGED, both), 1u);
  EXPECT_EQ(attribute(CU_POINTER_ATTRIBUTE_HOST_POINTER, both), managed);
  EXPECT_EQ(cuMemFree(reinterpret_cast<CUdeviceptr>(pinned)), CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(cuMemFreeHost(registered), CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(cuMemFreeHost(pinned), CUDA_SUCCESS);
  EXPECT_EQ(cuMemHostUnregister(registered), CUDA_SUCCESS);
}

TEST_F(ApiTest, WhatIsNotThereIsSaidSo) {
  CUgreenCtx green = reinterpret_cast<CUgreenCtx>(1);
  EXPECT_EQ(cuStreamGetGreenCtx(nullptr, &green), CUDA_SUCCESS);
  EXPECT_EQ(green, nullptr);
  CUexecAffinityParam affinity;
  EXPECT_EQ(cuCtxGetExecAffinity(&affinity, CU_EXEC_AFFINITY_TYPE_SM_COUNT),
            CUDA_ERROR_UNSUPPORTED_EXEC_AFFINITY);
  size_t granularity;
  CUmulticastObjectProp multicast = {};
  EXPECT_EQ(cuMulticastGetGranularity(&granularity, &multicast, CU_MULTICAST_GRANULARITY_MINIMUM),
            CUDA_ERROR_NOT_SUPPORTED);
  EXPECT_EQ(cuFlushGPUDirectRDMAWrites(CU_FLUSH_GPU_DIRECT_RDMA_WRITES_TARGET_CURRENT_CTX,
                                       CU_FLUSH_GPU_DIRECT_RDMA_WRITES_TO_OWNER),
            CUDA_SUCCESS);
  unsigned capabilities[2] = {};
  const CUatomicOperation operations[] = {CU_ATOMIC_OPERATION_INTEGER_ADD, CU_ATOMIC_OPERATION_CAS};
  ASSERT_EQ(cuDeviceGetHostAtomicCapabilities(capabilities, operations, 2, 0), CUDA_SUCCESS);
  EXPECT_NE(capabilities[0] & CU_ATOMIC_CAPABILITY_SCALAR_64, 0u);
  EXPECT_EQ(capabilities[1] & CU_ATOMIC_CAPABILITY_REDUCTION, 0u);
}

}  // namespace
}  // namespace farcall::softgpu
