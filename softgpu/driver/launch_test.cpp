// Launches: parameters, shapes, limits and their errors, occupancy.
#include "softgpu/driver/test_driver.h"

namespace farcall::softgpu {
namespace {

class LaunchTest : public DriverTest {
 protected:
  CUresult shaped(CUfunction function, unsigned grid, unsigned block, unsigned shared = 0) {
    return cuLaunchKernel(function, grid, 1, 1, block, 1, 1, shared, nullptr, nullptr, nullptr);
  }
  int attribute(CUdevice_attribute name) {
    int value = -1;
    EXPECT_EQ(cuDeviceGetAttribute(&value, name, device_), CUDA_SUCCESS);
    return value;
  }
};

TEST_F(LaunchTest, EveryThreadOfEveryBlockRuns) {
  constexpr uint32_t kCount = 1000;
  CUdeviceptr cells = allocate(kCount * 4);
  ASSERT_EQ(cuMemsetD32(cells, 5, kCount), CUDA_SUCCESS);
  uint32_t count = kCount - 1, value = 3;  // the last cell is not for the kernel
  void* params[] = {&cells, &count, &value};
  ASSERT_EQ(cuLaunchKernel(kernel("add"), 8, 1, 1, 128, 1, 1, 0, nullptr, params, nullptr),
            CUDA_SUCCESS);
  std::vector<uint32_t> out(kCount);
  ASSERT_EQ(cuMemcpyDtoH(out.data(), cells, kCount * 4), CUDA_SUCCESS);
  EXPECT_EQ(out.back(), 5u);
  out.pop_back();
  EXPECT_THAT(out, testing::Each(8u));
}

TEST_F(LaunchTest, ParametersAreTakenWhereTheyBelong) {
  const CUdeviceptr out = allocate(12);
  ASSERT_EQ(
      launch(kernel("offsets"), nullptr, uint8_t{200}, uint64_t{0x100000002}, uint16_t{50000}, out),
      CUDA_SUCCESS);
  EXPECT_EQ(read(out), 200u);
  EXPECT_EQ(read(out + 4), 2u);
  EXPECT_EQ(read(out + 8), 50000u);
  size_t offset, bytes;
  ASSERT_EQ(cuFuncGetParamInfo(kernel("offsets"), 2, &offset, &bytes), CUDA_SUCCESS);
  EXPECT_EQ(offset, 16u);
  EXPECT_EQ(bytes, 2u);
}

TEST_F(LaunchTest, ParametersMayComeInOneBuffer) {
  const CUdeviceptr out = allocate(12);
  struct {
    uint8_t a = 9;
    uint64_t b = 10;
    uint16_t c = 11;
    CUdeviceptr out;
  } params;
  params.out = out;
  size_t bytes = sizeof(params);
  void* extra[] = {CU_LAUNCH_PARAM_BUFFER_POINTER, &params, CU_LAUNCH_PARAM_BUFFER_SIZE, &bytes,
                   CU_LAUNCH_PARAM_END};
  CUfunction offsets = kernel("offsets");
  ASSERT_EQ(cuLaunchKernel(offsets, 1, 1, 1, 1, 1, 1, 0, nullptr, nullptr, extra), CUDA_SUCCESS);
  EXPECT_EQ(read(out + 8), 11u);
  bytes = 8;
  EXPECT_EQ(cuLaunchKernel(offsets, 1, 1, 1, 1, 1, 1, 0, nullptr, nullptr, extra),
            CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(cuLaunchKernel(offsets, 1, 1, 1, 1, 1, 1, 0, nullptr, nullptr, nullptr),
            CUDA_ERROR_INVALID_VALUE);
}

TEST_F(LaunchTest, ShapesBeyondTheLimitsAreRefused) {
  CUfunction bounded = kernel("bounded"), shared = kernel("shared_user");
  EXPECT_EQ(shaped(bounded, 1, 64), CUDA_SUCCESS);
  EXPECT_EQ(shaped(bounded, 0, 1), CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(shaped(bounded, 1, 0), CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(shaped(shared, 1, 1025), CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(cuLaunchKernel(shared, 1, 1, 1, 32, 32, 2, 0, nullptr, nullptr, nullptr),
            CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(cuLaunchKernel(shared, 1, 65536, 1, 1, 1, 1, 0, nullptr, nullptr, nullptr),
            CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(shaped(bounded, 1, 65), CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES);  // .maxntid 64
  EXPECT_EQ(cuCtxSynchronize(), CUDA_SUCCESS);                            // none of that is a fault
}

TEST_F(LaunchTest, MoreSharedMemoryMustBeAskedFor) {
  CUfunction shared = kernel("shared_user");  // 1024 bytes of its own
  EXPECT_EQ(shaped(shared, 1, 1, 48 * 1024 - 1024), CUDA_SUCCESS);
  EXPECT_EQ(shaped(shared, 1, 1, 48 * 1024 - 1023), CUDA_ERROR_INVALID_VALUE);
  const int most = attribute(CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN) - 1024;
  const auto name = CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
  EXPECT_EQ(cuFuncSetAttribute(shared, name, most + 1), CUDA_ERROR_INVALID_VALUE);
  ASSERT_EQ(cuFuncSetAttribute(shared, name, most), CUDA_SUCCESS);
  int value = 0;
  EXPECT_EQ(cuFuncGetAttribute(&value, name, shared), CUDA_SUCCESS);
  EXPECT_EQ(value, most);
  EXPECT_EQ(shaped(shared, 1, 1, static_cast<unsigned>(most)), CUDA_SUCCESS);
  EXPECT_EQ(cuCtxSynchronize(), CUDA_SUCCESS);
}

TEST_F(LaunchTest, ACooperativeGridMustFit) {
  CUfunction shared = kernel("shared_user");
  int blocks = 0;
  ASSERT_EQ(cuOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, shared, 128, 0), CUDA_SUCCESS);
  const unsigned most =
      static_cast<unsigned>(blocks * attribute(CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT));
  EXPECT_EQ(cuLaunchCooperativeKernel(shared, most, 1, 1, 128, 1, 1, 0, nullptr, nullptr),
            CUDA_SUCCESS);
  EXPECT_EQ(cuLaunchCooperativeKernel(shared, most + 1, 1, 1, 128, 1, 1, 0, nullptr, nullptr),
            CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE);
  CUlaunchAttribute cooperative = {};
  cooperative.id = CU_LAUNCH_ATTRIBUTE_COOPERATIVE;
  cooperative.value.cooperative = 1;
  CUlaunchConfig config = {};
  config.gridDimX = most + 1;
  config.gridDimY = config.gridDimZ = config.blockDimY = config.blockDimZ = 1;
  config.blockDimX = 128;
  config.attrs = &cooperative;
  config.numAttrs = 1;
  EXPECT_EQ(cuLaunchKernelEx(&config, shared, nullptr, nullptr),
            CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE);
  cooperative.value.cooperative = 0;
  EXPECT_EQ(cuLaunchKernelEx(&config, shared, nullptr, nullptr), CUDA_SUCCESS);
}

TEST_F(LaunchTest, AFunctionBelongsToItsContext) {
  CUfunction store = kernel("store");
  CUcontext other;
  ASSERT_EQ(cuCtxCreate(&other, nullptr, 0, device_), CUDA_SUCCESS);
  EXPECT_EQ(launch(store, nullptr, CUdeviceptr{0}, 0u), CUDA_ERROR_INVALID_HANDLE);
  EXPECT_EQ(cuCtxDestroy(other), CUDA_SUCCESS);
}

TEST_F(LaunchTest, OccupancyOfABlockSize) {
  CUfunction shared = kernel("shared_user");
  int blocks = 0, grid = 0, block = 0;
  // 1 KiB used and 1 KiB reserved per block: threads are what is short.
  ASSERT_EQ(cuOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, shared, 1024, 0), CUDA_SUCCESS);
  EXPECT_EQ(blocks, attribute(CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR) / 1024);
  // 40 KiB more: two blocks of 100 KiB.
  ASSERT_EQ(cuOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, shared, 32, 40 * 1024),
            CUDA_SUCCESS);
  EXPECT_EQ(blocks,
            attribute(CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR) / (42 * 1024));
  ASSERT_EQ(cuOccupancyMaxPotentialBlockSize(&grid, &block, kernel("bounded"), nullptr, 0, 0),
            CUDA_SUCCESS);
  EXPECT_EQ(block, 64);
  EXPECT_EQ(grid % attribute(CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT), 0);
}

}  // namespace
}  // namespace farcall::softgpu
