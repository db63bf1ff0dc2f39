// Launches in clusters and tensor maps, through the API.
#include "softgpu/driver/test_driver.h"

namespace farcall::softgpu {
namespace {

// ranks(u32* out): out[block] = rank + 100 * size, read from the neighbour's shared memory.
// fixed: the same, compiled for clusters of two.   box(map, u16* out): a box of 16 x 4 at (8, 1).
constexpr const char kPtx[] = R"(.version 8.7
.target sm_90
.address_size 64
.func write(.param .b64 at)
{
  .reg .b64 %at, %to; .reg .b32 %rank, %size, %next, %v, %r, %block; .reg .pred %last;
  .shared .b32 word;
  ld.param.b64 %at, [at];
  mov.u32 %rank, %cluster_ctarank;
  mov.u32 %size, %cluster_nctarank;
  mad.lo.u32 %v, %size, 100, %rank;
  st.shared.u32 [word], %v;
  barrier.cluster.arrive;
  barrier.cluster.wait;
  add.u32 %next, %rank, 1;
  rem.u32 %next, %next, %size;
  mapa.shared::cluster.u32 %r, word, %next;
  ld.shared::cluster.u32 %v, [%r];
  mov.u32 %block, %ctaid.x;
  mad.wide.u32 %to, %block, 4, %at;
  st.global.u32 [%to], %v;
  barrier.cluster.arrive;
  barrier.cluster.wait;
  ret;
}
.visible .entry ranks(.param .u64 out)
{
  .reg .b64 %p;
  ld.param.u64 %p, [out];
  { .param .b64 a; st.param.b64 [a], %p; call.uni write, (a); }
  ret;
}
.visible .entry fixed(.param .u64 out) .reqnctapercluster 2, 1, 1
{
  .reg .b64 %p;
  ld.param.u64 %p, [out];
  { .param .b64 a; st.param.b64 [a], %p; call.uni write, (a); }
  ret;
}
.visible .entry box(.param .align 64 .b8 map[128], .param .u64 out)
{
  .reg .b64 %map, %out; .reg .pred %p;
  .shared .align 128 .b8 memory[128];
  .shared .b64 barrier;
  mov.b64 %map, map;
  cvta.param.u64 %map, %map;
  ld.param.u64 %out, [out];
  mbarrier.init.shared.b64 [barrier], 1;
  mbarrier.arrive.expect_tx.shared.b64 _, [barrier], 128;
  cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [memory], [%map, {8, 1}], [barrier];
  mbarrier.test_wait.parity.shared.b64 %p, [barrier], 0;
  @!%p trap;
  cp.async.bulk.global.shared::cta.bulk_group [%out], [memory], 128;
  ret;
}
)";

class ClusterTest : public DriverTest {
 protected:
  CUfunction function(const char* name) {
    if (own_ == nullptr) {
      EXPECT_EQ(cuModuleLoadData(&own_, kPtx), CUDA_SUCCESS);
    }
    CUfunction out = nullptr;
    EXPECT_EQ(cuModuleGetFunction(&out, own_, name), CUDA_SUCCESS) << name;
    return out;
  }
  CUlaunchConfig config(unsigned blocks, unsigned cluster) {
    attribute_ = {};
    attribute_.id = CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION;
    attribute_.value.clusterDim = {cluster, 1, 1};
    CUlaunchConfig config = {};
    config.gridDimX = blocks;
    config.gridDimY = config.gridDimZ = config.blockDimX = config.blockDimY = config.blockDimZ = 1;
    config.attrs = &attribute_;
    config.numAttrs = cluster == 0 ? 0 : 1;
    return config;
  }
  CUresult run(const char* name, unsigned blocks, unsigned cluster, CUdeviceptr out) {
    const CUlaunchConfig launch = config(blocks, cluster);
    void* params[] = {&out};
    return cuLaunchKernelEx(&launch, function(name), params, nullptr);
  }
  void expect_clusters(CUdeviceptr out, unsigned blocks, unsigned size) {
    std::vector<uint32_t> values(blocks);
    ASSERT_EQ(cuMemcpyDtoH(values.data(), out, 4 * blocks), CUDA_SUCCESS);
    for (unsigned block = 0; block < blocks; ++block)
      EXPECT_EQ(values[block], 100 * size + (block % size + 1) % size) << block;
  }
  CUlaunchAttribute attribute_;
  CUmodule own_ = nullptr;
};

TEST_F(ClusterTest, BlocksOfAClusterMeet) {
  int value = 0;
  EXPECT_EQ(cuDeviceGetAttribute(&value, CU_DEVICE_ATTRIBUTE_CLUSTER_LAUNCH, device_),
            CUDA_SUCCESS);
  EXPECT_EQ(value, 1);
  const CUdeviceptr out = allocate(16 * 4);
  for (unsigned size : {1u, 2u, 4u, 8u}) {
    ASSERT_EQ(run("ranks", 16, size, out), CUDA_SUCCESS);
    expect_clusters(out, 16, size);
  }
  // As the kernel was compiled; by whichever call it is launched.
  ASSERT_EQ(run("fixed", 16, 0, out), CUDA_SUCCESS);
  expect_clusters(out, 16, 2);
  void* params[] = {const_cast<CUdeviceptr*>(&out)};
  ASSERT_EQ(cuLaunchKernel(function("fixed"), 4, 1, 1, 1, 1, 1, 0, nullptr, params, nullptr),
            CUDA_SUCCESS);
  expect_clusters(out, 4, 2);
  EXPECT_EQ(cuFuncGetAttribute(&value, CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_WIDTH, function("fixed")),
            CUDA_SUCCESS);
  EXPECT_EQ(value, 2);
}

TEST_F(ClusterTest, ShapesThatCannotBe) {
  const CUdeviceptr out = allocate(32 * 4);
  EXPECT_EQ(run("ranks", 15, 2, out), CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(run("ranks", 16, 16, out), CUDA_ERROR_INVALID_CLUSTER_SIZE);
  EXPECT_EQ(run("fixed", 16, 4, out), CUDA_ERROR_INVALID_VALUE);
  ASSERT_EQ(
      cuFuncSetAttribute(function("ranks"), CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED, 1),
      CUDA_SUCCESS);
  EXPECT_EQ(run("ranks", 32, 16, out), CUDA_SUCCESS);
  expect_clusters(out, 32, 16);
}

TEST_F(ClusterTest, OccupancyCountsClusters) {
  const CUlaunchConfig launch = config(8, 4);
  int clusters = 0, blocks = 0, multiprocessors = 0, size = 0;
  ASSERT_EQ(cuOccupancyMaxActiveClusters(&clusters, function("ranks"), &launch), CUDA_SUCCESS);
  ASSERT_EQ(cuOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, function("ranks"), 1, 0),
            CUDA_SUCCESS);
  ASSERT_EQ(
      cuDeviceGetAttribute(&multiprocessors, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT, device_),
      CUDA_SUCCESS);
  EXPECT_EQ(clusters, blocks * multiprocessors / 4);
  EXPECT_EQ(cuOccupancyMaxPotentialClusterSize(&size, function("ranks"), &launch), CUDA_SUCCESS);
  EXPECT_EQ(size, 8);
}

TEST_F(ClusterTest, TensorMapsDescribeBoxes) {
  std::vector<uint16_t> values(64 * 8);
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<uint16_t>(i);
  const CUdeviceptr tensor = allocate(values.size() * 2), out = allocate(128);
  ASSERT_EQ(cuMemcpyHtoD(tensor, values.data(), values.size() * 2), CUDA_SUCCESS);
  alignas(64) CUtensorMap map;
  cuuint64_t dimensions[] = {64, 8}, strides[] = {128};
  cuuint32_t box[] = {16, 4}, steps[] = {1, 1};
  auto encode = [&](CUtensorMapDataType type, CUtensorMapInterleave interleave,
                    CUtensorMapSwizzle swizzle) {
    return cuTensorMapEncodeTiled(
        &map, type, 2, reinterpret_cast<void*>(tensor), dimensions, strides, box, steps, interleave,
        swizzle, CU_TENSOR_MAP_L2_PROMOTION_NONE, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  };
  ASSERT_EQ(encode(CU_TENSOR_MAP_DATA_TYPE_UINT16, CU_TENSOR_MAP_INTERLEAVE_NONE,
                   CU_TENSOR_MAP_SWIZZLE_NONE),
            CUDA_SUCCESS);
  void* params[] = {&map, const_cast<CUdeviceptr*>(&out)};
  ASSERT_EQ(cuLaunchKernel(function("box"), 1, 1, 1, 1, 1, 1, 0, nullptr, params, nullptr),
            CUDA_SUCCESS);
  std::vector<uint16_t> got(64);
  ASSERT_EQ(cuMemcpyDtoH(got.data(), out, 128), CUDA_SUCCESS);
  for (size_t i = 0; i < 64; ++i) EXPECT_EQ(got[i], (1 + i / 16) * 64 + 8 + i % 16);

  EXPECT_EQ(encode(CU_TENSOR_MAP_DATA_TYPE_UINT16, CU_TENSOR_MAP_INTERLEAVE_16B,
                   CU_TENSOR_MAP_SWIZZLE_NONE),
            CUDA_ERROR_NOT_SUPPORTED);
  box[0] = 32;  // 64 bytes do not fit into a swizzle of 32
  EXPECT_EQ(encode(CU_TENSOR_MAP_DATA_TYPE_UINT16, CU_TENSOR_MAP_INTERLEAVE_NONE,
                   CU_TENSOR_MAP_SWIZZLE_32B),
            CUDA_ERROR_INVALID_VALUE);
  box[0] = 7;
  EXPECT_EQ(encode(CU_TENSOR_MAP_DATA_TYPE_UINT16, CU_TENSOR_MAP_INTERLEAVE_NONE,
                   CU_TENSOR_MAP_SWIZZLE_NONE),
            CUDA_ERROR_INVALID_VALUE);
  box[0] = 16;
  strides[0] = 100;
  EXPECT_EQ(encode(CU_TENSOR_MAP_DATA_TYPE_UINT16, CU_TENSOR_MAP_INTERLEAVE_NONE,
                   CU_TENSOR_MAP_SWIZZLE_NONE),
            CUDA_ERROR_INVALID_VALUE);
}

}  // namespace
}  // namespace farcall::softgpu
