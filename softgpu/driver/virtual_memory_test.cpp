// Virtual memory management: addresses, memory and mappings apart from each other.
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <numeric>

#include "softgpu/driver/test_driver.h"

namespace farcall::softgpu {
namespace {

constexpr size_t kUnit = size_t{2} << 20;

class VirtualMemoryTest : public DriverTest {
 protected:
  static CUmemAllocationProp on_device(
      CUmemAllocationHandleType handles = CU_MEM_HANDLE_TYPE_NONE) {
    CUmemAllocationProp properties = {};
    properties.type = CU_MEM_ALLOCATION_TYPE_PINNED;
    properties.location = {CU_MEM_LOCATION_TYPE_DEVICE, 0};
    properties.requestedHandleTypes = handles;
    return properties;
  }
  static CUmemGenericAllocationHandle create(size_t bytes) {
    const CUmemAllocationProp properties = on_device();
    CUmemGenericAllocationHandle handle = 0;
    EXPECT_EQ(cuMemCreate(&handle, bytes, &properties, 0), CUDA_SUCCESS);
    return handle;
  }
  static CUdeviceptr reserve(size_t bytes, CUdeviceptr wanted = 0) {
    CUdeviceptr base = 0;
    EXPECT_EQ(cuMemAddressReserve(&base, bytes, 0, wanted, 0), CUDA_SUCCESS);
    return base;
  }
  static CUresult allow(CUdeviceptr base, size_t bytes, CUmemAccess_flags flags) {
    const CUmemAccessDesc access = {{CU_MEM_LOCATION_TYPE_DEVICE, 0}, flags};
    return cuMemSetAccess(base, bytes, &access, 1);
  }
  static constexpr CUmemAccess_flags kReadWrite = CU_MEM_ACCESS_FLAGS_PROT_READWRITE;
  size_t free_bytes() {
    size_t free = 0, total = 0;
    EXPECT_EQ(cuMemGetInfo(&free, &total), CUDA_SUCCESS);
    return free;
  }
};

TEST_F(VirtualMemoryTest, MemoryIsChargedWhenMadeAndGivenBackWhenNothingNeedsIt) {
  size_t granularity = 0;
  const CUmemAllocationProp properties = on_device();
  ASSERT_EQ(
      cuMemGetAllocationGranularity(&granularity, &properties, CU_MEM_ALLOC_GRANULARITY_MINIMUM),
      CUDA_SUCCESS);
  EXPECT_EQ(granularity, kUnit);
  const size_t before = free_bytes();
  const CUmemGenericAllocationHandle handle = create(2 * kUnit);
  EXPECT_EQ(before - free_bytes(), 2 * kUnit);
  const CUdeviceptr base = reserve(4 * kUnit);
  EXPECT_EQ(before - free_bytes(), 2 * kUnit);  // addresses cost nothing
  ASSERT_EQ(cuMemMap(base, 2 * kUnit, 0, handle, 0), CUDA_SUCCESS);
  ASSERT_EQ(cuMemRelease(handle), CUDA_SUCCESS);
  EXPECT_EQ(cuMemRelease(handle), CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(before - free_bytes(), 2 * kUnit);  // the mapping keeps it
  EXPECT_EQ(cuMemAddressFree(base, 4 * kUnit), CUDA_ERROR_INVALID_VALUE);
  ASSERT_EQ(cuMemUnmap(base, 2 * kUnit), CUDA_SUCCESS);
  EXPECT_EQ(free_bytes(), before);
  EXPECT_EQ(cuMemAddressFree(base, 2 * kUnit), CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(cuMemAddressFree(base, 4 * kUnit), CUDA_SUCCESS);
  EXPECT_EQ(cuMemAddressFree(base, 4 * kUnit), CUDA_ERROR_INVALID_VALUE);
}

TEST_F(VirtualMemoryTest, MoreThanTheDeviceHasIsRefused) {
  const CUmemAllocationProp properties = on_device();
  CUmemGenericAllocationHandle handle;
  const size_t too_much = free_bytes() / kUnit * kUnit + kUnit;
  EXPECT_EQ(cuMemCreate(&handle, too_much, &properties, 0), CUDA_ERROR_OUT_OF_MEMORY);
  EXPECT_EQ(cuMemCreate(&handle, kUnit + 4096, &properties, 0), CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(cuMemCreate(&handle, 0, &properties, 0), CUDA_ERROR_INVALID_VALUE);
  CUmemAllocationProp other = properties;
  other.location.id = 7;
  EXPECT_EQ(cuMemCreate(&handle, kUnit, &other, 0), CUDA_ERROR_INVALID_DEVICE);
  other = on_device(CU_MEM_HANDLE_TYPE_FABRIC);
  EXPECT_EQ(cuMemCreate(&handle, kUnit, &other, 0), CUDA_ERROR_NOT_SUPPORTED);
}

// As PyTorch's expandable segments do: a large range that grows by pieces.
TEST_F(VirtualMemoryTest, ARangeOfSeveralPiecesIsOneForKernelsAndCopies) {
  const CUdeviceptr base = reserve(64 * kUnit);
  for (int i = 0; i < 3; ++i) {
    const CUmemGenericAllocationHandle handle = create(kUnit);
    ASSERT_EQ(cuMemMap(base + i * kUnit, kUnit, 0, handle, 0), CUDA_SUCCESS);
    ASSERT_EQ(cuMemRelease(handle), CUDA_SUCCESS);
  }
  ASSERT_EQ(allow(base, 3 * kUnit, kReadWrite), CUDA_SUCCESS);
  std::vector<uint32_t> in(3 * kUnit / 4), out(in.size());
  std::iota(in.begin(), in.end(), 0);
  ASSERT_EQ(cuMemcpyHtoD(base, in.data(), 3 * kUnit), CUDA_SUCCESS);
  EXPECT_EQ(cuMemcpyHtoD(base, in.data(), 3 * kUnit + 1), CUDA_ERROR_INVALID_VALUE);
  CUdeviceptr cells = base;
  uint32_t count = static_cast<uint32_t>(in.size()), value = 5;
  void* params[] = {&cells, &count, &value};
  ASSERT_EQ(
      cuLaunchKernel(kernel("add"), count / 256, 1, 1, 256, 1, 1, 0, nullptr, params, nullptr),
      CUDA_SUCCESS);
  ASSERT_EQ(cuMemsetD8(base + kUnit - 4, 0xff, 8), CUDA_SUCCESS);  // across the seam
  ASSERT_EQ(cuMemcpyDtoH(out.data(), base, 3 * kUnit), CUDA_SUCCESS);
  EXPECT_EQ(out[0], 5u);
  EXPECT_EQ(out[kUnit / 4 - 1], 0xffffffffu);
  EXPECT_EQ(out[kUnit / 4], 0xffffffffu);
  EXPECT_EQ(out[kUnit / 4 + 1], kUnit / 4 + 6);
  EXPECT_EQ(out.back(), in.back() + 5);
  // The middle goes; its neighbours stay.
  ASSERT_EQ(cuMemUnmap(base + kUnit, kUnit), CUDA_SUCCESS);
  EXPECT_EQ(cuMemcpyDtoH(out.data(), base, 3 * kUnit), CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(read(base + 2 * kUnit), 2 * kUnit / 4 + 5);
  EXPECT_EQ(store(base + kUnit, 1, nullptr), CUDA_SUCCESS);
  EXPECT_EQ(cuCtxSynchronize(), CUDA_ERROR_ILLEGAL_ADDRESS);
}

TEST_F(VirtualMemoryTest, OneMemoryMappedTwiceIsTheSameMemory) {
  const CUmemGenericAllocationHandle handle = create(kUnit);
  const CUdeviceptr one = reserve(kUnit), two = reserve(kUnit);
  ASSERT_EQ(cuMemMap(one, kUnit, 0, handle, 0), CUDA_SUCCESS);
  ASSERT_EQ(cuMemMap(two, kUnit, 0, handle, 0), CUDA_SUCCESS);
  EXPECT_EQ(cuMemMap(two, kUnit, 0, handle, 0), CUDA_ERROR_INVALID_VALUE);  // is mapped
  ASSERT_EQ(allow(one, kUnit, kReadWrite), CUDA_SUCCESS);
  ASSERT_EQ(allow(two, kUnit, kReadWrite), CUDA_SUCCESS);
  ASSERT_EQ(store(one, 42, nullptr), CUDA_SUCCESS);
  ASSERT_EQ(add(two, 1, nullptr), CUDA_SUCCESS);
  EXPECT_EQ(read(one), 43u);
  CUmemGenericAllocationHandle again = 0;
  ASSERT_EQ(cuMemRetainAllocationHandle(&again, reinterpret_cast<void*>(two + 100)), CUDA_SUCCESS);
  EXPECT_EQ(again, handle);
  EXPECT_EQ(cuMemRelease(handle), CUDA_SUCCESS);
  CUmemAllocationProp properties = {};
  EXPECT_EQ(cuMemGetAllocationPropertiesFromHandle(&properties, handle), CUDA_SUCCESS);
  EXPECT_EQ(properties.location.type, CU_MEM_LOCATION_TYPE_DEVICE);
  EXPECT_EQ(cuMemRelease(again), CUDA_SUCCESS);
  EXPECT_EQ(cuMemGetAllocationPropertiesFromHandle(&properties, handle), CUDA_ERROR_INVALID_VALUE);
}

TEST_F(VirtualMemoryTest, AccessIsAsSet) {
  const CUmemGenericAllocationHandle handle = create(kUnit);
  const CUdeviceptr base = reserve(2 * kUnit);
  ASSERT_EQ(cuMemMap(base, kUnit, 0, handle, 0), CUDA_SUCCESS);
  uint32_t word = 0;
  const CUmemLocation here = {CU_MEM_LOCATION_TYPE_DEVICE, 0};
  unsigned long long flags = 9;
  EXPECT_EQ(cuMemGetAccess(&flags, &here, base), CUDA_SUCCESS);
  EXPECT_EQ(flags, static_cast<unsigned long long>(CU_MEM_ACCESS_FLAGS_PROT_NONE));
  EXPECT_EQ(cuMemcpyHtoD(base, &word, 4), CUDA_ERROR_INVALID_VALUE);  // nobody may, yet
  ASSERT_EQ(allow(base, kUnit, kReadWrite), CUDA_SUCCESS);
  EXPECT_EQ(cuMemcpyHtoD(base, &word, 4), CUDA_SUCCESS);
  EXPECT_EQ(allow(base, 2 * kUnit, kReadWrite), CUDA_ERROR_INVALID_VALUE);  // half is not mapped
  ASSERT_EQ(allow(base, kUnit, CU_MEM_ACCESS_FLAGS_PROT_READ), CUDA_SUCCESS);
  EXPECT_EQ(cuMemGetAccess(&flags, &here, base + 5), CUDA_SUCCESS);
  EXPECT_EQ(flags, static_cast<unsigned long long>(CU_MEM_ACCESS_FLAGS_PROT_READ));
  EXPECT_EQ(cuMemcpyHtoD(base, &word, 4), CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(cuMemsetD8(base, 0, 4), CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(read(base), 0u);
  EXPECT_EQ(store(base, 1, nullptr), CUDA_SUCCESS);
  EXPECT_EQ(cuCtxSynchronize(), CUDA_ERROR_ILLEGAL_ADDRESS);
}

TEST_F(VirtualMemoryTest, AWriteToReadOnlyMemoryOutsideOfTheWindowFaultsToo) {
  void* hole = mmap(nullptr, 8 * kUnit, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  const CUdeviceptr wanted = (reinterpret_cast<CUdeviceptr>(hole) + kUnit - 1) / kUnit * kUnit;
  munmap(hole, 8 * kUnit);
  const CUdeviceptr base = reserve(2 * kUnit, wanted);
  EXPECT_EQ(base, wanted);
  const CUmemGenericAllocationHandle handle = create(kUnit);
  ASSERT_EQ(cuMemMap(base, kUnit, 0, handle, 0), CUDA_SUCCESS);
  ASSERT_EQ(allow(base, kUnit, kReadWrite), CUDA_SUCCESS);
  ASSERT_EQ(store(base + 8, 3, nullptr), CUDA_SUCCESS);
  EXPECT_EQ(read(base + 8), 3u);
  ASSERT_EQ(allow(base, kUnit, CU_MEM_ACCESS_FLAGS_PROT_READ), CUDA_SUCCESS);
  EXPECT_EQ(store(base, 1, nullptr), CUDA_SUCCESS);
  EXPECT_EQ(cuCtxSynchronize(), CUDA_ERROR_ILLEGAL_ADDRESS);
}

TEST_F(VirtualMemoryTest, AWantedAddressIsGivenIfItIsFreeAndIsOnlyAWish) {
  const CUdeviceptr first = reserve(4 * kUnit);
  ASSERT_EQ(cuMemAddressFree(first, 4 * kUnit), CUDA_SUCCESS);
  EXPECT_EQ(reserve(4 * kUnit, first), first);
  const CUdeviceptr other = reserve(4 * kUnit, first + 2 * kUnit);  // taken
  EXPECT_NE(other, 0u);
  EXPECT_TRUE(other >= first + 4 * kUnit || other + 4 * kUnit <= first);
  CUdeviceptr base;
  EXPECT_EQ(cuMemAddressReserve(&base, 1000, 0, 0, 0), CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(cuMemAddressReserve(&base, kUnit, 3, 0, 0), CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(cuMemAddressReserve(&base, kUnit, 0, 17, 0), CUDA_ERROR_INVALID_VALUE);
  ASSERT_EQ(cuMemAddressReserve(&base, kUnit, 16 * kUnit, 0, 0), CUDA_SUCCESS);
  EXPECT_EQ(base % (16 * kUnit), 0u);
  EXPECT_EQ(cuMemAddressReserve(&base, size_t{1} << 60, 0, 0, 0), CUDA_ERROR_OUT_OF_MEMORY);
  // More than a window has left is found elsewhere.
  EXPECT_NE(reserve(size_t{1} << 40), 0u);
}

TEST_F(VirtualMemoryTest, PointersTellOfRangesAndMappings) {
  const CUdeviceptr base = reserve(4 * kUnit);
  const CUmemGenericAllocationHandle handle = create(kUnit);
  ASSERT_EQ(cuMemMap(base + kUnit, kUnit, 0, handle, 0), CUDA_SUCCESS);
  ASSERT_EQ(allow(base + kUnit, kUnit, kReadWrite), CUDA_SUCCESS);
  unsigned mapped = 7, type = 7;
  CUdeviceptr start = 0;
  size_t bytes = 0;
  EXPECT_EQ(cuPointerGetAttribute(&mapped, CU_POINTER_ATTRIBUTE_MAPPED, base), CUDA_SUCCESS);
  EXPECT_EQ(mapped, 0u);
  const CUdeviceptr pointer = base + kUnit + 10;
  EXPECT_EQ(cuPointerGetAttribute(&mapped, CU_POINTER_ATTRIBUTE_MAPPED, pointer), CUDA_SUCCESS);
  EXPECT_EQ(mapped, 1u);
  EXPECT_EQ(cuPointerGetAttribute(&type, CU_POINTER_ATTRIBUTE_MEMORY_TYPE, pointer), CUDA_SUCCESS);
  EXPECT_EQ(type, static_cast<unsigned>(CU_MEMORYTYPE_DEVICE));
  EXPECT_EQ(cuPointerGetAttribute(&start, CU_POINTER_ATTRIBUTE_RANGE_START_ADDR, pointer),
            CUDA_SUCCESS);
  EXPECT_EQ(start, base);
  EXPECT_EQ(cuPointerGetAttribute(&bytes, CU_POINTER_ATTRIBUTE_MAPPING_SIZE, pointer),
            CUDA_SUCCESS);
  EXPECT_EQ(bytes, kUnit);
  EXPECT_EQ(cuMemFree(base + kUnit), CUDA_ERROR_INVALID_VALUE);
}

// A child that never saw CUDA gets a file descriptor and writes into the parent's memory with its
// own driver. It is this program again: a forked child can't use the parent's driver.
TEST_F(VirtualMemoryTest, AnotherProcessMapsTheSameMemory) {
  if (const char* inherited = std::getenv("SOFTGPU_TEST_IMPORT")) {
    CUmemGenericAllocationHandle handle;
    void* fd = reinterpret_cast<void*>(static_cast<intptr_t>(std::atoi(inherited)));
    ASSERT_EQ(cuMemImportFromShareableHandle(&handle, fd, CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR),
              CUDA_SUCCESS);
    const CUdeviceptr base = reserve(kUnit);
    ASSERT_EQ(cuMemMap(base, kUnit, 0, handle, 0), CUDA_SUCCESS);
    ASSERT_EQ(allow(base, kUnit, kReadWrite), CUDA_SUCCESS);
    ASSERT_EQ(add(base, 100, nullptr), CUDA_SUCCESS);
    ASSERT_EQ(cuCtxSynchronize(), CUDA_SUCCESS);
    return;
  }
  const CUmemAllocationProp properties = on_device(CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR);
  CUmemGenericAllocationHandle handle;
  ASSERT_EQ(cuMemCreate(&handle, kUnit, &properties, 0), CUDA_SUCCESS);
  const CUdeviceptr base = reserve(kUnit);
  ASSERT_EQ(cuMemMap(base, kUnit, 0, handle, 0), CUDA_SUCCESS);
  ASSERT_EQ(allow(base, kUnit, kReadWrite), CUDA_SUCCESS);
  ASSERT_EQ(store(base, 11, nullptr), CUDA_SUCCESS);
  ASSERT_EQ(cuCtxSynchronize(), CUDA_SUCCESS);
  int fd = -1;
  ASSERT_EQ(cuMemExportToShareableHandle(&fd, handle, CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR, 0),
            CUDA_SUCCESS);
  EXPECT_EQ(run_again("SOFTGPU_TEST_IMPORT", std::to_string(dup(fd))), 0);
  EXPECT_EQ(read(base), 111u);
  // A descriptor of something else, and memory nobody meant to share.
  EXPECT_EQ(cuMemImportFromShareableHandle(&handle, reinterpret_cast<void*>(0),
                                           CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR),
            CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(
      cuMemExportToShareableHandle(&fd, create(kUnit), CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR, 0),
      CUDA_ERROR_INVALID_VALUE);
}

}  // namespace
}  // namespace farcall::softgpu
