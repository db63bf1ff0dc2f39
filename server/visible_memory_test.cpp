// VisibleMemory on a driver of plain functions: device memory is memory of this process, copies are
// made at once.
#include "server/visible_memory.h"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cstring>
#include <vector>

#include "server/driver_table.h"

namespace farcall::server {
namespace {

constexpr uint64_t kPage = 4096;
constexpr uint64_t kBlock = uint64_t{2} << 20;
constexpr uint64_t kFree = uint64_t{0x2e00} << 32;  // where nothing is

// What the fake driver does, and was asked.
struct Fake {
  CUdeviceptr reserves_at = 0;  // whatever is wanted
  CUresult creates = CUDA_SUCCESS;
  int reserved = 0, freed = 0, registered = 0, unregistered = 0, mapped = 0;
};
Fake fake;

DriverTable driver() {
  DriverTable table = {};
  table.cuCtxGetCurrent = [](CUcontext* out) {
    *out = reinterpret_cast<CUcontext>(1);
    return CUDA_SUCCESS;
  };
  table.cuMemHostRegister_v2 = [](void*, size_t, unsigned) {
    ++fake.registered;
    return CUDA_SUCCESS;
  };
  table.cuMemHostUnregister = [](void*) {
    ++fake.unregistered;
    return CUDA_SUCCESS;
  };
  table.cuMemHostGetDevicePointer_v2 = [](CUdeviceptr* out, void* pointer, unsigned) {
    *out = reinterpret_cast<CUdeviceptr>(pointer);
    return CUDA_SUCCESS;
  };
  return table;
}

void add_virtual_memory(DriverTable& table) {
  table.cuCtxGetDevice = [](CUdevice* out) {
    *out = 0;
    return CUDA_SUCCESS;
  };
  table.cuDeviceGetCount = [](int* out) {
    *out = 1;
    return CUDA_SUCCESS;
  };
  table.cuMemAddressReserve = [](CUdeviceptr* out, size_t, size_t, CUdeviceptr,
                                 unsigned long long) {
    ++fake.reserved;
    *out = fake.reserves_at;
    return CUDA_SUCCESS;
  };
  table.cuMemAddressFree = [](CUdeviceptr, size_t) {
    ++fake.freed;
    return CUDA_SUCCESS;
  };
  table.cuMemCreate = [](CUmemGenericAllocationHandle* out, size_t, const CUmemAllocationProp*,
                         unsigned long long) {
    *out = 1;
    return fake.creates;
  };
  table.cuMemRelease = [](CUmemGenericAllocationHandle) { return CUDA_SUCCESS; };
  table.cuMemMap = [](CUdeviceptr, size_t, size_t, CUmemGenericAllocationHandle,
                      unsigned long long) {
    ++fake.mapped;
    return CUDA_SUCCESS;
  };
  table.cuMemUnmap = [](CUdeviceptr, size_t) { return CUDA_SUCCESS; };
  table.cuMemSetAccess = [](CUdeviceptr, size_t, const CUmemAccessDesc*, size_t) {
    return CUDA_SUCCESS;
  };
}

class VisibleMemoryTest : public ::testing::Test {
 protected:
  VisibleMemoryTest() { fake = {}; }
  DriverTable table_ = driver();
  Staging staging_{table_, kBlock};
  VisibleMemory memory_{table_, staging_};
};

TEST_F(VisibleMemoryTest, HostMemoryLiesWhereTheClientHasItAndBytesGoBothWays) {
  uint64_t address = 0;
  ASSERT_EQ(memory_.map(kFree, kPage, false, &address), CUDA_SUCCESS);
  EXPECT_EQ(address, kFree);
  EXPECT_EQ(fake.registered, 1);
  const std::vector<std::byte> bytes(8, std::byte{5});
  const VisibleMemory::Piece pieces[] = {{kFree + 100, 6}, {kFree + kPage - 2, 2}};
  EXPECT_EQ(memory_.write(pieces, bytes), CUDA_SUCCESS);
  std::vector<std::byte> read(kPage);
  EXPECT_EQ(memory_.read(kFree, kPage,
                         [&](uint64_t offset, std::span<const std::byte> part) {
                           std::memcpy(read.data() + offset, part.data(), part.size());
                         }),
            CUDA_SUCCESS);
  EXPECT_EQ(read[99], std::byte{0});
  EXPECT_EQ(read[105], std::byte{5});
  EXPECT_EQ(read[kPage - 1], std::byte{5});
  EXPECT_EQ(memory_.release(kFree), CUDA_SUCCESS);
  EXPECT_EQ(fake.unregistered, 1);
  EXPECT_EQ(memory_.release(kFree), CUDA_ERROR_INVALID_VALUE);
}

TEST_F(VisibleMemoryTest, NothingIsMappedOverWhatIsThere) {
  void* const mine =
      ::mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(mine, MAP_FAILED);
  std::memset(mine, 7, kPage);
  uint64_t address = 0;
  EXPECT_EQ(memory_.map(reinterpret_cast<uint64_t>(mine), kPage, false, &address),
            CUDA_ERROR_MAP_FAILED);
  EXPECT_EQ(static_cast<char*>(mine)[0], 7);
  ::munmap(mine, kPage);
}

TEST_F(VisibleMemoryTest, SizesAndAddressesOfAStrangerAreChecked) {
  uint64_t address = 0;
  EXPECT_EQ(memory_.map(0, 0, false, &address), CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(memory_.map(0, 100, false, &address), CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(memory_.map(100, kPage, false, &address), CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(memory_.map(0, UINT64_MAX - kPage + 1, false, &address), CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(memory_.map(0, VisibleMemory::kHostBytesMax + kPage, false, &address),
            CUDA_ERROR_OUT_OF_MEMORY);
}

TEST_F(VisibleMemoryTest, OutsideOfItsRangesNothingIsReadOrWritten) {
  uint64_t address = 0;
  ASSERT_EQ(memory_.map(kFree, kPage, false, &address), CUDA_SUCCESS);
  const std::vector<std::byte> bytes(16, std::byte{5});
  const auto write = [&](std::vector<VisibleMemory::Piece> pieces) {
    return memory_.write(pieces, bytes);
  };
  EXPECT_EQ(write({{kFree, 8}, {kFree + kPage - 4, 8}}), CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(*reinterpret_cast<const char*>(kFree), 0) << "not even the first piece";
  EXPECT_EQ(write({{kFree - 4, 8}}), CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(write({{kFree, 17}}), CUDA_ERROR_INVALID_VALUE) << "more than there are bytes";
  EXPECT_EQ(write({{kFree, 16}, {kFree, UINT64_MAX}}), CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(write({{UINT64_MAX, 8}}), CUDA_ERROR_INVALID_VALUE);
  const auto read = [&](uint64_t from, uint64_t count) {
    return memory_.read(from, count, [](uint64_t, std::span<const std::byte>) { FAIL(); });
  };
  EXPECT_EQ(read(kFree, kPage + 1), CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(read(kFree + 8, UINT64_MAX - 4), CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(read(reinterpret_cast<uint64_t>(this), 8), CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(memory_.release(kFree), CUDA_SUCCESS);
}

TEST_F(VisibleMemoryTest, ADriverThatReservesElsewhereIsToldToForgetIt) {
  add_virtual_memory(table_);
  fake.reserves_at = kFree + kBlock;
  uint64_t address = 0;
  EXPECT_EQ(memory_.map(kFree, kBlock, true, &address), CUDA_ERROR_MAP_FAILED);
  EXPECT_EQ(fake.reserved, 1);
  EXPECT_EQ(fake.freed, 1);
  EXPECT_EQ(memory_.map(0, kBlock, true, &address), CUDA_SUCCESS) << "its own proposal is fine";
  EXPECT_EQ(address, kFree + kBlock);
  EXPECT_EQ(fake.mapped, 1);
  EXPECT_EQ(memory_.release(address), CUDA_SUCCESS);
}

TEST_F(VisibleMemoryTest, WhatTheDeviceHasNoRoomForIsHostMemory) {
  add_virtual_memory(table_);
  fake.reserves_at = kFree;
  fake.creates = CUDA_ERROR_OUT_OF_MEMORY;
  uint64_t address = 0;
  ASSERT_EQ(memory_.map(0, kBlock, true, &address), CUDA_SUCCESS);
  EXPECT_EQ(fake.freed, 1) << "of the device's addresses";
  EXPECT_EQ(fake.registered, 1);
  EXPECT_EQ(memory_.release(address), CUDA_SUCCESS);
}

}  // namespace
}  // namespace farcall::server
