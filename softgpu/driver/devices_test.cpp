// Several devices in one process. Each test sets the environment before cuInit().
#include <cstdlib>

#include "softgpu/driver/test_driver.h"

namespace farcall::softgpu {
namespace {

class DevicesTest : public testing::Test {
 protected:
  static constexpr int kDevices = 4;
  void SetUp() override {
    SKIP_WITHOUT_OWN_PROCESS();
    setenv("FARCALL_SOFTGPU_DEVICES", "4", 1);
    setenv("FARCALL_SOFTGPU_MEMORY", "2G", 1);
    ASSERT_EQ(cuInit(0), CUDA_SUCCESS);
    for (int i = 0; i < kDevices; ++i) {
      ASSERT_EQ(cuDevicePrimaryCtxRetain(&contexts_[i], i), CUDA_SUCCESS);
      ASSERT_EQ(cuCtxSetCurrent(contexts_[i]), CUDA_SUCCESS);
      ASSERT_EQ(cuMemAlloc(&cells_[i], 4096), CUDA_SUCCESS);
      ASSERT_EQ(cuMemsetD32(cells_[i], 100u * (i + 1u), 1024), CUDA_SUCCESS);
      CUmodule module;
      ASSERT_EQ(cuModuleLoadData(&module, kTestPtx), CUDA_SUCCESS);
      ASSERT_EQ(cuModuleGetFunction(&add_[i], module, "add"), CUDA_SUCCESS);
      ASSERT_EQ(cuCtxSynchronize(), CUDA_SUCCESS);
    }
  }
  // On a device, in its legacy stream.
  CUresult add(int device, CUdeviceptr cell, uint32_t value) {
    EXPECT_EQ(cuCtxSetCurrent(contexts_[device]), CUDA_SUCCESS);
    uint32_t one = 1;
    void* params[] = {&cell, &one, &value};
    return cuLaunchKernel(add_[device], 1, 1, 1, 1, 1, 1, 0, nullptr, params, nullptr);
  }
  static uint32_t read(CUdeviceptr cell) {
    uint32_t value = 0;
    EXPECT_EQ(cuMemcpyDtoH(&value, cell, 4), CUDA_SUCCESS);
    return value;
  }

  CUcontext contexts_[kDevices] = {};
  CUdeviceptr cells_[kDevices] = {};
  CUfunction add_[kDevices] = {};
};

TEST_F(DevicesTest, EachHasItsOwnMemoryAndIdentity) {
  CUuuid first, second;
  ASSERT_EQ(cuDeviceGetUuid(&first, 0), CUDA_SUCCESS);
  ASSERT_EQ(cuDeviceGetUuid(&second, 3), CUDA_SUCCESS);
  EXPECT_NE(std::memcmp(&first, &second, sizeof(first)), 0);
  for (int i = 0; i < kDevices; ++i) {
    size_t free = 0, total = 0;
    ASSERT_EQ(cuCtxSetCurrent(contexts_[i]), CUDA_SUCCESS);
    ASSERT_EQ(cuMemGetInfo(&free, &total), CUDA_SUCCESS);
    EXPECT_EQ(total, size_t{2} << 30);
    int ordinal = -1;
    EXPECT_EQ(cuPointerGetAttribute(&ordinal, CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL, cells_[i]),
              CUDA_SUCCESS);
    EXPECT_EQ(ordinal, i);
  }
}

TEST_F(DevicesTest, CopiesGoFromEveryDeviceToEveryOther) {
  for (int from = 0; from < kDevices; ++from) {
    for (int to = 0; to < kDevices; ++to) {
      if (from == to) continue;
      ASSERT_EQ(cuMemsetD32(cells_[to], 0, 1024), CUDA_SUCCESS);
      ASSERT_EQ(cuMemcpyPeer(cells_[to], contexts_[to], cells_[from], contexts_[from], 4096),
                CUDA_SUCCESS);
      ASSERT_EQ(cuCtxSynchronize(), CUDA_SUCCESS);
      EXPECT_EQ(read(cells_[to] + 4092), read(cells_[from] + 4092));
      ASSERT_EQ(cuMemsetD32(cells_[to], 100u * (to + 1u), 1024), CUDA_SUCCESS);
    }
  }
  CUstream s;
  ASSERT_EQ(cuStreamCreate(&s, CU_STREAM_NON_BLOCKING), CUDA_SUCCESS);
  ASSERT_EQ(cuMemcpyPeerAsync(cells_[1], contexts_[1], cells_[0], contexts_[0], 4, s),
            CUDA_SUCCESS);
  ASSERT_EQ(cuStreamSynchronize(s), CUDA_SUCCESS);
  EXPECT_EQ(read(cells_[1]), 100u);
  EXPECT_EQ(cuMemcpyPeer(cells_[1], contexts_[1], cells_[0], contexts_[0], 4097),
            CUDA_ERROR_INVALID_VALUE);
}

TEST_F(DevicesTest, ACopyBetweenDevicesComesAfterTheWorkOfBothAndBeforeWhatIsNext) {
  ASSERT_EQ(cuCtxSetCurrent(contexts_[0]), CUDA_SUCCESS);
  CUstream s;
  ASSERT_EQ(cuStreamCreate(&s, CU_STREAM_NON_BLOCKING), CUDA_SUCCESS);
  uint32_t* go;
  ASSERT_EQ(cuMemHostAlloc(reinterpret_cast<void**>(&go), 4, CU_MEMHOSTALLOC_PORTABLE),
            CUDA_SUCCESS);
  *go = 0;
  ASSERT_EQ(cuStreamWaitValue32(s, reinterpret_cast<CUdeviceptr>(go), 1, CU_STREAM_WAIT_VALUE_EQ),
            CUDA_SUCCESS);
  ASSERT_EQ(cuMemsetD32Async(cells_[0], 55, 1, s), CUDA_SUCCESS);
  ASSERT_EQ(cuCtxSetCurrent(contexts_[1]), CUDA_SUCCESS);
  ASSERT_EQ(cuMemcpyPeer(cells_[1], contexts_[1], cells_[0], contexts_[0], 4), CUDA_SUCCESS);
  EXPECT_EQ(cuStreamQuery(nullptr), CUDA_ERROR_NOT_READY);
  ASSERT_EQ(add(0, cells_[0], 1), CUDA_SUCCESS);  // not before the copy
  std::atomic_ref(*go).store(1);
  ASSERT_EQ(cuCtxSynchronize(), CUDA_SUCCESS);
  ASSERT_EQ(cuCtxSetCurrent(contexts_[1]), CUDA_SUCCESS);
  ASSERT_EQ(cuCtxSynchronize(), CUDA_SUCCESS);
  EXPECT_EQ(read(cells_[1]), 55u);
  EXPECT_EQ(read(cells_[0]), 56u);
}

TEST_F(DevicesTest, PeerAccessIsOneWay) {
  ASSERT_EQ(cuCtxSetCurrent(contexts_[0]), CUDA_SUCCESS);
  EXPECT_EQ(cuCtxEnablePeerAccess(contexts_[0], 0), CUDA_ERROR_INVALID_CONTEXT);
  ASSERT_EQ(cuCtxEnablePeerAccess(contexts_[1], 0), CUDA_SUCCESS);
  ASSERT_EQ(add(0, cells_[1], 7), CUDA_SUCCESS);
  ASSERT_EQ(cuCtxSynchronize(), CUDA_SUCCESS);
  EXPECT_EQ(read(cells_[1]), 207u);
  ASSERT_EQ(add(1, cells_[0], 7), CUDA_SUCCESS);
  EXPECT_EQ(cuCtxSynchronize(), CUDA_ERROR_ILLEGAL_ADDRESS);
  // The other devices go on.
  ASSERT_EQ(add(2, cells_[2], 1), CUDA_SUCCESS);
  EXPECT_EQ(cuCtxSynchronize(), CUDA_SUCCESS);
  int value = -1;
  EXPECT_EQ(cuDeviceGetP2PAttribute(&value, CU_DEVICE_P2P_ATTRIBUTE_ACCESS_SUPPORTED, 0, 1),
            CUDA_SUCCESS);
  EXPECT_EQ(value, 1);
  EXPECT_EQ(cuDeviceGetP2PAttribute(&value, CU_DEVICE_P2P_ATTRIBUTE_ACCESS_SUPPORTED, 1, 1),
            CUDA_ERROR_INVALID_DEVICE);
}

TEST_F(DevicesTest, MappedMemoryIsForTheDevicesItWasMappedFor) {
  constexpr size_t kBytes = size_t{2} << 20;
  CUmemAllocationProp properties = {};
  properties.type = CU_MEM_ALLOCATION_TYPE_PINNED;
  properties.location = {CU_MEM_LOCATION_TYPE_DEVICE, 1};
  CUmemGenericAllocationHandle handle;
  CUdeviceptr base;
  ASSERT_EQ(cuCtxSetCurrent(contexts_[1]), CUDA_SUCCESS);
  ASSERT_EQ(cuMemCreate(&handle, kBytes, &properties, 0), CUDA_SUCCESS);
  ASSERT_EQ(cuMemAddressReserve(&base, kBytes, 0, 0, 0), CUDA_SUCCESS);
  ASSERT_EQ(cuMemMap(base, kBytes, 0, handle, 0), CUDA_SUCCESS);
  const CUmemAccessDesc access[] = {
      {{CU_MEM_LOCATION_TYPE_DEVICE, 1}, CU_MEM_ACCESS_FLAGS_PROT_READWRITE},
      {{CU_MEM_LOCATION_TYPE_DEVICE, 2}, CU_MEM_ACCESS_FLAGS_PROT_READWRITE}};
  ASSERT_EQ(cuMemSetAccess(base, kBytes, access, 2), CUDA_SUCCESS);
  ASSERT_EQ(add(1, base, 1), CUDA_SUCCESS);
  ASSERT_EQ(cuCtxSynchronize(), CUDA_SUCCESS);
  ASSERT_EQ(add(2, base, 10), CUDA_SUCCESS);
  ASSERT_EQ(cuCtxSynchronize(), CUDA_SUCCESS);
  EXPECT_EQ(read(base), 11u);
  ASSERT_EQ(add(3, base, 100), CUDA_SUCCESS);
  EXPECT_EQ(cuCtxSynchronize(), CUDA_ERROR_ILLEGAL_ADDRESS);
}

TEST_F(DevicesTest, NodesOfAGraphRunOnTheirOwnDevices) {
  CUgraph graph;
  ASSERT_EQ(cuGraphCreate(&graph, 0), CUDA_SUCCESS);
  CUgraphNode before = nullptr;
  for (int i = 0; i < kDevices; ++i) {
    ASSERT_EQ(cuCtxSetCurrent(contexts_[i]), CUDA_SUCCESS);
    uint32_t one = 1, value = 1;
    void* params[] = {&cells_[i], &one, &value};
    CUDA_KERNEL_NODE_PARAMS kernel = {};
    kernel.func = add_[i];
    kernel.gridDimX = kernel.gridDimY = kernel.gridDimZ = 1;
    kernel.blockDimX = kernel.blockDimY = kernel.blockDimZ = 1;
    kernel.kernelParams = params;
    CUgraphNode node;
    ASSERT_EQ(cuGraphAddKernelNode(&node, graph, &before, before == nullptr ? 0 : 1, &kernel),
              CUDA_SUCCESS);
    before = node;
  }
  CUgraphExec exec;
  ASSERT_EQ(cuGraphInstantiateWithFlags(&exec, graph, 0), CUDA_SUCCESS);
  ASSERT_EQ(cuGraphLaunch(exec, nullptr), CUDA_SUCCESS);  // no device may touch another's memory
  ASSERT_EQ(cuCtxSynchronize(), CUDA_SUCCESS);
  for (int i = 0; i < kDevices; ++i) EXPECT_EQ(read(cells_[i]), 100u * (i + 1u) + 1);
}

TEST_F(DevicesTest, AContextWaitsForTheEventOfAnother) {
  ASSERT_EQ(cuCtxSetCurrent(contexts_[0]), CUDA_SUCCESS);
  CUstream s;
  CUevent done;
  ASSERT_EQ(cuStreamCreate(&s, CU_STREAM_NON_BLOCKING), CUDA_SUCCESS);
  ASSERT_EQ(cuEventCreate(&done, 0), CUDA_SUCCESS);
  uint32_t* go;
  ASSERT_EQ(cuMemHostAlloc(reinterpret_cast<void**>(&go), 4, CU_MEMHOSTALLOC_PORTABLE),
            CUDA_SUCCESS);
  *go = 0;
  ASSERT_EQ(cuStreamWaitValue32(s, reinterpret_cast<CUdeviceptr>(go), 1, CU_STREAM_WAIT_VALUE_EQ),
            CUDA_SUCCESS);
  ASSERT_EQ(cuEventRecord(done, s), CUDA_SUCCESS);
  ASSERT_EQ(cuCtxWaitEvent(contexts_[1], done), CUDA_SUCCESS);
  ASSERT_EQ(add(1, cells_[1], 1), CUDA_SUCCESS);
  EXPECT_EQ(cuStreamQuery(nullptr), CUDA_ERROR_NOT_READY);
  std::atomic_ref(*go).store(1);
  ASSERT_EQ(cuCtxSynchronize(), CUDA_SUCCESS);
  EXPECT_EQ(read(cells_[1]), 201u);
}

}  // namespace
}  // namespace farcall::softgpu
