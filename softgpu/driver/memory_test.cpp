// Memory as programs see it: allocating, asking about pointers, copying and filling.
#include <numeric>

#include "softgpu/driver/test_driver.h"

namespace farcall::softgpu {
namespace {

class MemoryTest : public DriverTest {
 protected:
  size_t free_bytes() {
    size_t free = 0, total = 0;
    EXPECT_EQ(cuMemGetInfo(&free, &total), CUDA_SUCCESS);
    return free;
  }
};

TEST_F(MemoryTest, WhatIsFreeIsExact) {
  const size_t before = free_bytes();
  const CUdeviceptr small = allocate(1), large = allocate(10'000'000);
  EXPECT_EQ(small % 256, 0u);
  EXPECT_EQ(large % 256, 0u);
  EXPECT_EQ(before - free_bytes(), 512u + 10'000'384u);  // in units of 512
  EXPECT_EQ(cuMemFree(small), CUDA_SUCCESS);
  EXPECT_EQ(cuMemFree(large), CUDA_SUCCESS);
  EXPECT_EQ(free_bytes(), before);
}

TEST_F(MemoryTest, WhatDoesNotFitIsRefusedAndWhatFitsIsNot) {
  CUdeviceptr pointer;
  const size_t free = free_bytes();
  EXPECT_EQ(cuMemAlloc(&pointer, free + 1), CUDA_ERROR_OUT_OF_MEMORY);
  EXPECT_EQ(cuMemAlloc(&pointer, SIZE_MAX - 100), CUDA_ERROR_OUT_OF_MEMORY);
  EXPECT_EQ(cuMemAlloc(&pointer, 0), CUDA_ERROR_INVALID_VALUE);
  ASSERT_EQ(cuMemAlloc(&pointer, free), CUDA_SUCCESS);
  EXPECT_EQ(free_bytes(), 0u);
  CUdeviceptr more;
  EXPECT_EQ(cuMemAlloc(&more, 1), CUDA_ERROR_OUT_OF_MEMORY);
  EXPECT_EQ(cuMemFree(pointer), CUDA_SUCCESS);
}

TEST_F(MemoryTest, OnlyWhatWasAllocatedCanBeFreedAndOnce) {
  const CUdeviceptr pointer = allocate(1000);
  int on_stack = 0;
  EXPECT_EQ(cuMemFree(pointer + 4), CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(cuMemFree(reinterpret_cast<CUdeviceptr>(&on_stack)), CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(cuMemFreeHost(reinterpret_cast<void*>(pointer)), CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(cuMemFree(pointer), CUDA_SUCCESS);
  EXPECT_EQ(cuMemFree(pointer), CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(cuMemFree(0), CUDA_SUCCESS);
}

TEST_F(MemoryTest, AKernelThatLeavesItsBufferFaults) {
  const CUdeviceptr pointer = allocate(512);  // ends where its page ends
  ASSERT_EQ(launch(kernel("touch"), nullptr, pointer + 508), CUDA_SUCCESS);
  EXPECT_EQ(cuCtxSynchronize(), CUDA_SUCCESS);
  ASSERT_EQ(launch(kernel("touch"), nullptr, pointer + 512), CUDA_SUCCESS);
  EXPECT_EQ(cuCtxSynchronize(), CUDA_ERROR_ILLEGAL_ADDRESS);
  // From now on everything tells of it, until the context is new.
  EXPECT_EQ(cuMemFree(pointer), CUDA_ERROR_ILLEGAL_ADDRESS);
  EXPECT_EQ(cuCtxSynchronize(), CUDA_ERROR_ILLEGAL_ADDRESS);
}

TEST_F(MemoryTest, AKernelThatUsesFreedMemoryFaults) {
  module();
  const CUdeviceptr pointer = allocate(4096);
  ASSERT_EQ(cuMemFree(pointer), CUDA_SUCCESS);
  ASSERT_EQ(launch(kernel("touch"), nullptr, pointer), CUDA_SUCCESS);
  EXPECT_EQ(cuCtxSynchronize(), CUDA_ERROR_ILLEGAL_ADDRESS);
}

TEST_F(MemoryTest, AKernelMayTouchPinnedRegisteredAndManagedMemoryButNoOther) {
  static uint32_t registered[4], other[4];
  void* pinned;
  CUdeviceptr managed;
  ASSERT_EQ(cuMemAllocHost(&pinned, 4), CUDA_SUCCESS);
  ASSERT_EQ(cuMemAllocManaged(&managed, 4, CU_MEM_ATTACH_GLOBAL), CUDA_SUCCESS);
  ASSERT_EQ(cuMemHostRegister(registered, sizeof(registered), 0), CUDA_SUCCESS);
  EXPECT_EQ(store(reinterpret_cast<CUdeviceptr>(pinned), 1, nullptr), CUDA_SUCCESS);
  EXPECT_EQ(store(managed, 2, nullptr), CUDA_SUCCESS);
  EXPECT_EQ(store(reinterpret_cast<CUdeviceptr>(registered), 3, nullptr), CUDA_SUCCESS);
  EXPECT_EQ(cuCtxSynchronize(), CUDA_SUCCESS);
  EXPECT_EQ(*static_cast<uint32_t*>(pinned), 1u);
  EXPECT_EQ(*reinterpret_cast<uint32_t*>(managed), 2u);
  EXPECT_EQ(registered[0], 3u);
  EXPECT_EQ(cuMemHostUnregister(registered), CUDA_SUCCESS);
  EXPECT_EQ(store(reinterpret_cast<CUdeviceptr>(other), 3, nullptr), CUDA_SUCCESS);
  EXPECT_EQ(cuCtxSynchronize(), CUDA_ERROR_ILLEGAL_ADDRESS);
  EXPECT_EQ(other[0], 0u);
}

TEST_F(MemoryTest, RegisteringTwiceOrUnregisteringWhatIsNotIsAnError) {
  static char memory[8192];
  EXPECT_EQ(cuMemHostUnregister(memory), CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED);
  ASSERT_EQ(cuMemHostRegister(memory, 4096, CU_MEMHOSTREGISTER_DEVICEMAP), CUDA_SUCCESS);
  EXPECT_EQ(cuMemHostRegister(memory, 4096, 0), CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED);
  EXPECT_EQ(cuMemHostRegister(memory + 4000, 4096, 0), CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED);
  CUdeviceptr pointer = 0;
  EXPECT_EQ(cuMemHostGetDevicePointer(&pointer, memory + 10, 0), CUDA_SUCCESS);
  EXPECT_EQ(pointer, reinterpret_cast<CUdeviceptr>(memory + 10));
  EXPECT_EQ(cuMemHostUnregister(memory), CUDA_SUCCESS);
  EXPECT_EQ(cuMemHostGetDevicePointer(&pointer, memory, 0), CUDA_ERROR_INVALID_VALUE);
}

TEST_F(MemoryTest, PointersTellWhatTheyAre) {
  const CUdeviceptr pointer = allocate(1000);
  unsigned type = 0, managed = 1;
  int ordinal = -1;
  CUcontext context = nullptr;
  CUdeviceptr start = 0;
  size_t bytes = 0;
  EXPECT_EQ(cuPointerGetAttribute(&type, CU_POINTER_ATTRIBUTE_MEMORY_TYPE, pointer + 999),
            CUDA_SUCCESS);
  EXPECT_EQ(type, CU_MEMORYTYPE_DEVICE);
  EXPECT_EQ(cuPointerGetAttribute(&managed, CU_POINTER_ATTRIBUTE_IS_MANAGED, pointer),
            CUDA_SUCCESS);
  EXPECT_EQ(managed, 0u);
  EXPECT_EQ(cuPointerGetAttribute(&ordinal, CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL, pointer),
            CUDA_SUCCESS);
  EXPECT_EQ(ordinal, 0);
  EXPECT_EQ(cuPointerGetAttribute(&context, CU_POINTER_ATTRIBUTE_CONTEXT, pointer), CUDA_SUCCESS);
  EXPECT_EQ(context, context_);
  EXPECT_EQ(cuPointerGetAttribute(&start, CU_POINTER_ATTRIBUTE_RANGE_START_ADDR, pointer + 5),
            CUDA_SUCCESS);
  EXPECT_EQ(start, pointer);
  EXPECT_EQ(cuMemGetAddressRange(&start, &bytes, pointer + 5), CUDA_SUCCESS);
  EXPECT_EQ(bytes, 1000u);
  EXPECT_EQ(cuMemGetAddressRange(&start, &bytes, pointer + 1000), CUDA_ERROR_NOT_FOUND);
  void* host;
  EXPECT_EQ(cuPointerGetAttribute(&host, CU_POINTER_ATTRIBUTE_HOST_POINTER, pointer),
            CUDA_ERROR_INVALID_VALUE);
}

TEST_F(MemoryTest, AnUnknownPointerIsAnErrorToOneQuestionAndAnAnswerToTheOther) {
  int on_stack = 0;
  const auto pointer = reinterpret_cast<CUdeviceptr>(&on_stack);
  unsigned type = 7;
  int ordinal = 7;
  EXPECT_EQ(cuPointerGetAttribute(&type, CU_POINTER_ATTRIBUTE_MEMORY_TYPE, pointer),
            CUDA_ERROR_INVALID_VALUE);
  CUpointer_attribute names[] = {CU_POINTER_ATTRIBUTE_MEMORY_TYPE,
                                 CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL};
  void* values[] = {&type, &ordinal};
  EXPECT_EQ(cuPointerGetAttributes(2, names, values, pointer), CUDA_SUCCESS);
  EXPECT_EQ(type, 0u);
  EXPECT_EQ(ordinal, CU_DEVICE_INVALID);
}

// ------------------------------------------------------------------ copies

TEST_F(MemoryTest, CopiesAreCheckedAgainstTheAllocation) {
  const CUdeviceptr a = allocate(1000), b = allocate(1000);
  char host[2000] = {};
  EXPECT_EQ(cuMemcpyHtoD(a, host, 1001), CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(cuMemcpyHtoD(a + 500, host, 501), CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(cuMemcpyDtoH(host, a + 1000, 1), CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(cuMemcpyDtoD(a, b, 1001), CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(cuMemcpyHtoD(a, nullptr, 10), CUDA_ERROR_INVALID_VALUE);
  // Directions are believed, and wrong ones found out.
  EXPECT_EQ(cuMemcpyHtoD(reinterpret_cast<CUdeviceptr>(host), host + 100, 10),
            CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(cuMemcpyHtoD(a, reinterpret_cast<void*>(b), 10), CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(cuMemcpyHtoD(a, host, 1000), CUDA_SUCCESS);
  EXPECT_EQ(cuMemcpyHtoD(a, nullptr, 0), CUDA_SUCCESS);
}

TEST_F(MemoryTest, CopiesFindOutDirections) {
  const CUdeviceptr device = allocate(64);
  std::vector<unsigned char> in(64), out(64);
  std::iota(in.begin(), in.end(), 1);
  ASSERT_EQ(cuMemcpy(device, reinterpret_cast<CUdeviceptr>(in.data()), 64), CUDA_SUCCESS);
  ASSERT_EQ(cuMemcpy(reinterpret_cast<CUdeviceptr>(out.data()), device, 64), CUDA_SUCCESS);
  EXPECT_EQ(in, out);
}

TEST_F(MemoryTest, LargeCopiesAndOverlappingOnes) {
  const size_t bytes = 5 << 20;
  const CUdeviceptr device = allocate(bytes);
  std::vector<uint32_t> in(bytes / 4), out(bytes / 4);
  std::iota(in.begin(), in.end(), 1);
  CUstream s = stream();
  ASSERT_EQ(cuMemcpyHtoDAsync(device, in.data(), bytes, s), CUDA_SUCCESS);
  ASSERT_EQ(cuMemcpyDtoDAsync(device + 4, device, bytes - 4, s), CUDA_SUCCESS);
  ASSERT_EQ(cuMemcpyDtoHAsync(out.data(), device, bytes, s), CUDA_SUCCESS);  // pageable: waits
  EXPECT_EQ(out[0], 1u);
  EXPECT_EQ(out[1], 1u);
  EXPECT_EQ(out.back(), in[in.size() - 2]);
}

TEST_F(MemoryTest, RowsWithAPitch) {
  CUdeviceptr device;
  size_t pitch = 0;
  constexpr size_t kWidth = 100, kRows = 7;
  ASSERT_EQ(cuMemAllocPitch(&device, &pitch, kWidth, kRows, 4), CUDA_SUCCESS);
  EXPECT_EQ(pitch, 512u);
  std::vector<unsigned char> in(kWidth * kRows), out(kWidth * kRows);
  std::iota(in.begin(), in.end(), 3);
  CUDA_MEMCPY2D copy = {};
  copy.srcMemoryType = CU_MEMORYTYPE_HOST;
  copy.srcHost = in.data();
  copy.srcPitch = kWidth;
  copy.dstMemoryType = CU_MEMORYTYPE_DEVICE;
  copy.dstDevice = device;
  copy.dstPitch = pitch;
  copy.WidthInBytes = kWidth;
  copy.Height = kRows;
  ASSERT_EQ(cuMemcpy2D(&copy), CUDA_SUCCESS);
  std::vector<unsigned char> row(kWidth);
  ASSERT_EQ(cuMemcpyDtoH(row.data(), device + 3 * pitch, kWidth), CUDA_SUCCESS);
  EXPECT_TRUE(std::equal(row.begin(), row.end(), in.begin() + 3 * kWidth));
  // A window of 10 x 2 bytes at (20, 4), to the start of the host's rows.
  copy = {};
  copy.srcMemoryType = CU_MEMORYTYPE_DEVICE;
  copy.srcDevice = device;
  copy.srcPitch = pitch;
  copy.srcXInBytes = 20;
  copy.srcY = 4;
  copy.dstMemoryType = CU_MEMORYTYPE_HOST;
  copy.dstHost = out.data();
  copy.dstPitch = kWidth;
  copy.WidthInBytes = 10;
  copy.Height = 2;
  ASSERT_EQ(cuMemcpy2D(&copy), CUDA_SUCCESS);
  EXPECT_EQ(out[0], in[4 * kWidth + 20]);
  EXPECT_EQ(out[kWidth + 9], in[5 * kWidth + 29]);
  EXPECT_EQ(out[10], 0);
  copy.srcY = kRows - 1;  // the second row is not there any more
  EXPECT_EQ(cuMemcpy2D(&copy), CUDA_ERROR_INVALID_VALUE);
  copy.srcY = 0;
  copy.dstPitch = 9;  // narrower than a row
  EXPECT_EQ(cuMemcpy2D(&copy), CUDA_ERROR_INVALID_VALUE);
}

TEST_F(MemoryTest, BoxesToAnArrayAndBack) {
  CUDA_ARRAY3D_DESCRIPTOR descriptor = {};
  descriptor.Width = 5;
  descriptor.Height = 4;
  descriptor.Depth = 3;
  descriptor.Format = CU_AD_FORMAT_UNSIGNED_INT16;
  descriptor.NumChannels = 2;
  CUarray array;
  const size_t before = free_bytes();
  ASSERT_EQ(cuArray3DCreate(&array, &descriptor), CUDA_SUCCESS);
  EXPECT_LT(free_bytes(), before);
  constexpr size_t kRow = 5 * 4, kBytes = kRow * 4 * 3;
  std::vector<unsigned char> in(kBytes), out(kBytes);
  std::iota(in.begin(), in.end(), 0);
  CUDA_MEMCPY3D copy = {};
  copy.srcMemoryType = CU_MEMORYTYPE_HOST;
  copy.srcHost = in.data();
  copy.srcPitch = kRow;
  copy.srcHeight = 4;
  copy.dstMemoryType = CU_MEMORYTYPE_ARRAY;
  copy.dstArray = array;
  copy.WidthInBytes = kRow;
  copy.Height = 4;
  copy.Depth = 3;
  ASSERT_EQ(cuMemcpy3D(&copy), CUDA_SUCCESS);
  // The box (1..3, 1..2, 1..2), 4 bytes an element.
  copy = {};
  copy.srcMemoryType = CU_MEMORYTYPE_ARRAY;
  copy.srcArray = array;
  copy.srcXInBytes = 4;
  copy.srcY = copy.srcZ = 1;
  copy.dstMemoryType = CU_MEMORYTYPE_HOST;
  copy.dstHost = out.data();
  copy.dstPitch = 12;
  copy.dstHeight = 2;
  copy.WidthInBytes = 12;
  copy.Height = copy.Depth = 2;
  ASSERT_EQ(cuMemcpy3D(&copy), CUDA_SUCCESS);
  for (size_t z = 0; z < 2; ++z) {
    for (size_t y = 0; y < 2; ++y) {
      for (size_t x = 0; x < 12; ++x) {
        ASSERT_EQ(out[(z * 2 + y) * 12 + x], in[((z + 1) * 4 + y + 1) * kRow + 4 + x]);
      }
    }
  }
  copy.WidthInBytes = 17;
  EXPECT_EQ(cuMemcpy3D(&copy), CUDA_ERROR_INVALID_VALUE);
  CUDA_ARRAY3D_DESCRIPTOR asked = {};
  EXPECT_EQ(cuArray3DGetDescriptor(&asked, array), CUDA_SUCCESS);
  EXPECT_EQ(asked.Depth, 3u);
  EXPECT_EQ(cuArrayDestroy(array), CUDA_SUCCESS);
  EXPECT_EQ(cuArrayDestroy(array), CUDA_ERROR_INVALID_HANDLE);
  EXPECT_EQ(free_bytes(), before);
}

TEST_F(MemoryTest, MipmappedArraysHalve) {
  CUDA_ARRAY3D_DESCRIPTOR descriptor = {};
  descriptor.Width = 8;
  descriptor.Height = 4;
  descriptor.Format = CU_AD_FORMAT_FLOAT;
  descriptor.NumChannels = 1;
  CUmipmappedArray mipmapped;
  ASSERT_EQ(cuMipmappedArrayCreate(&mipmapped, &descriptor, 100), CUDA_SUCCESS);
  CUarray level;
  ASSERT_EQ(cuMipmappedArrayGetLevel(&level, mipmapped, 3), CUDA_SUCCESS);
  CUDA_ARRAY_DESCRIPTOR flat = {};
  EXPECT_EQ(cuArrayGetDescriptor(&flat, level), CUDA_SUCCESS);
  EXPECT_EQ(flat.Width, 1u);
  EXPECT_EQ(flat.Height, 1u);
  EXPECT_EQ(cuMipmappedArrayGetLevel(&level, mipmapped, 4), CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(cuMipmappedArrayDestroy(mipmapped), CUDA_SUCCESS);
}

TEST_F(MemoryTest, ManyCopiesInOneCall) {
  CUstream s = stream();
  const CUdeviceptr device = allocate(64);
  uint32_t in[4] = {1, 2, 3, 4}, out[4] = {};
  const auto host = [](uint32_t* p) { return reinterpret_cast<CUdeviceptr>(p); };
  CUdeviceptr targets[] = {device, device + 8}, sources[] = {host(in), host(in + 2)};
  size_t sizes[] = {8, 8}, first = 0;
  CUmemcpyAttributes attributes = {};
  attributes.srcAccessOrder = CU_MEMCPY_SRC_ACCESS_ORDER_DURING_API_CALL;
  ASSERT_EQ(cuMemcpyBatchAsync(targets, sources, sizes, 2, &attributes, &first, 1, s),
            CUDA_SUCCESS);
  in[0] = in[3] = 99;  // was read already
  ASSERT_EQ(cuMemcpyDtoHAsync(out, device, 16, s), CUDA_SUCCESS);
  EXPECT_THAT(out, testing::ElementsAre(1, 2, 3, 4));
  EXPECT_EQ(cuMemcpyBatchAsync(targets, sources, sizes, 2, &attributes, &first, 1, nullptr),
            CUDA_ERROR_INVALID_VALUE);  // not in the legacy stream

  // A box of 2 x 2 x 1 elements of 4 bytes into an array.
  CUDA_ARRAY3D_DESCRIPTOR descriptor = {};
  descriptor.Width = descriptor.Height = 3;
  descriptor.Format = CU_AD_FORMAT_UNSIGNED_INT32;
  descriptor.NumChannels = 1;
  CUarray array;
  ASSERT_EQ(cuArray3DCreate(&array, &descriptor), CUDA_SUCCESS);
  CUDA_MEMCPY3D_BATCH_OP box = {};
  box.src.type = CU_MEMCPY_OPERAND_TYPE_POINTER;
  box.src.op.ptr.ptr = device;
  box.src.op.ptr.rowLength = box.src.op.ptr.layerHeight = 2;
  box.dst.type = CU_MEMCPY_OPERAND_TYPE_ARRAY;
  box.dst.op.array.array = array;
  box.dst.op.array.offset = {1, 1, 0};
  box.extent = {2, 2, 1};
  box.srcAccessOrder = CU_MEMCPY_SRC_ACCESS_ORDER_STREAM;
  ASSERT_EQ(cuMemcpy3DBatchAsync(1, &box, 0, s), CUDA_SUCCESS);
  ASSERT_EQ(cuStreamSynchronize(s), CUDA_SUCCESS);
  CUDA_MEMCPY2D back = {};
  back.srcMemoryType = CU_MEMORYTYPE_ARRAY;
  back.srcArray = array;
  back.srcXInBytes = 4;
  back.srcY = 2;
  back.dstMemoryType = CU_MEMORYTYPE_HOST;
  back.dstHost = out;
  back.WidthInBytes = 8;
  back.Height = 1;
  ASSERT_EQ(cuMemcpy2D(&back), CUDA_SUCCESS);
  EXPECT_EQ(out[0], 3u);
  EXPECT_EQ(out[1], 4u);
  box.extent.width = 3;
  EXPECT_EQ(cuMemcpy3DBatchAsync(1, &box, 0, s), CUDA_ERROR_INVALID_VALUE);
}

// ------------------------------------------------------------------ memsets

TEST_F(MemoryTest, MemsetsOfEveryWidth) {
  const CUdeviceptr device = allocate(64);
  std::vector<unsigned char> out(64);
  ASSERT_EQ(cuMemsetD8(device, 0xaa, 64), CUDA_SUCCESS);
  ASSERT_EQ(cuMemsetD16(device + 2, 0x1234, 3), CUDA_SUCCESS);
  ASSERT_EQ(cuMemsetD32(device + 8, 0xdeadbeef, 2), CUDA_SUCCESS);
  ASSERT_EQ(cuMemsetD2D8(device + 16, 16, 0x55, 4, 3), CUDA_SUCCESS);
  ASSERT_EQ(cuMemcpyDtoH(out.data(), device, 64), CUDA_SUCCESS);
  const std::vector<unsigned char> expected = {
      0xaa, 0xaa, 0x34, 0x12, 0x34, 0x12, 0x34, 0x12, 0xef, 0xbe, 0xad, 0xde, 0xef,
      0xbe, 0xad, 0xde, 0x55, 0x55, 0x55, 0x55, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa,
      0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0x55, 0x55, 0x55, 0x55, 0xaa, 0xaa, 0xaa,
      0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0x55, 0x55, 0x55, 0x55,
      0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa};
  EXPECT_EQ(out, expected);
  EXPECT_EQ(cuMemsetD32(device + 2, 0, 1), CUDA_ERROR_INVALID_VALUE);  // not aligned
  EXPECT_EQ(cuMemsetD8(device, 0, 65), CUDA_ERROR_INVALID_VALUE);      // too long
  EXPECT_EQ(cuMemsetD2D8(device, 16, 0, 4, 5), CUDA_ERROR_INVALID_VALUE);
}

// ------------------------------------------------------------------ stream-ordered memory and
// pools

TEST_F(MemoryTest, MemoryFreedInAStreamIsUsableUntilTheStreamGetsThere) {
  CUstream s = stream();
  module();
  const size_t before = free_bytes();
  CUdeviceptr pointer;
  ASSERT_EQ(cuMemAllocAsync(&pointer, 4096, s), CUDA_SUCCESS);
  const CUdeviceptr copy = cell(0);
  Held held(kernel("hold"), s);
  ASSERT_EQ(store(pointer, 77, s), CUDA_SUCCESS);
  ASSERT_EQ(cuMemcpyDtoDAsync(copy, pointer, 4, s), CUDA_SUCCESS);
  ASSERT_EQ(cuMemFreeAsync(pointer, s), CUDA_SUCCESS);
  EXPECT_EQ(cuMemFreeAsync(pointer, s), CUDA_ERROR_INVALID_VALUE);
  EXPECT_LT(free_bytes(), before);
  held.release();
  ASSERT_EQ(cuStreamSynchronize(s), CUDA_SUCCESS);
  EXPECT_EQ(read(copy), 77u);
  EXPECT_EQ(cuMemFree(copy), CUDA_SUCCESS);
  EXPECT_EQ(free_bytes(), before);
}

TEST_F(MemoryTest, PoolsCountWhatIsUsed) {
  CUmemPoolProps properties = {};
  properties.allocType = CU_MEM_ALLOCATION_TYPE_PINNED;
  properties.location = {CU_MEM_LOCATION_TYPE_DEVICE, 0};
  CUmemoryPool pool, found;
  ASSERT_EQ(cuMemPoolCreate(&pool, &properties), CUDA_SUCCESS);
  CUdeviceptr pointer;
  ASSERT_EQ(cuMemAllocFromPoolAsync(&pointer, 1000, pool, nullptr), CUDA_SUCCESS);
  cuuint64_t used = 0, threshold = 5;
  EXPECT_EQ(cuMemPoolGetAttribute(pool, CU_MEMPOOL_ATTR_USED_MEM_CURRENT, &used), CUDA_SUCCESS);
  EXPECT_EQ(used, 1000u);
  EXPECT_EQ(cuPointerGetAttribute(&found, CU_POINTER_ATTRIBUTE_MEMPOOL_HANDLE, pointer),
            CUDA_SUCCESS);
  EXPECT_EQ(found, pool);
  EXPECT_EQ(cuMemPoolSetAttribute(pool, CU_MEMPOOL_ATTR_RELEASE_THRESHOLD, &threshold),
            CUDA_SUCCESS);
  ASSERT_EQ(cuMemFreeAsync(pointer, nullptr), CUDA_SUCCESS);
  ASSERT_EQ(cuCtxSynchronize(), CUDA_SUCCESS);
  EXPECT_EQ(cuMemPoolGetAttribute(pool, CU_MEMPOOL_ATTR_USED_MEM_CURRENT, &used), CUDA_SUCCESS);
  EXPECT_EQ(used, 0u);
  EXPECT_EQ(cuMemPoolGetAttribute(pool, CU_MEMPOOL_ATTR_USED_MEM_HIGH, &used), CUDA_SUCCESS);
  EXPECT_EQ(used, 1000u);
  ASSERT_EQ(cuDeviceSetMemPool(0, pool), CUDA_SUCCESS);
  EXPECT_EQ(cuDeviceGetMemPool(&found, 0), CUDA_SUCCESS);
  EXPECT_EQ(found, pool);
  EXPECT_EQ(cuMemPoolDestroy(pool), CUDA_SUCCESS);
  CUmemoryPool standard;
  EXPECT_EQ(cuDeviceGetDefaultMemPool(&standard, 0), CUDA_SUCCESS);
  EXPECT_EQ(cuDeviceGetMemPool(&found, 0), CUDA_SUCCESS);
  EXPECT_EQ(found, standard);
}

TEST_F(MemoryTest, PoolsKeepMemoryUpToTheirThresholdAndNoStalePointerFindsIt) {
  module();
  CUmemPoolProps properties = {};
  properties.allocType = CU_MEM_ALLOCATION_TYPE_PINNED;
  properties.location = {CU_MEM_LOCATION_TYPE_DEVICE, 0};
  properties.maxSize = 100'000;
  CUmemoryPool pool;
  ASSERT_EQ(cuMemPoolCreate(&pool, &properties), CUDA_SUCCESS);
  cuuint64_t threshold = 8192;
  ASSERT_EQ(cuMemPoolSetAttribute(pool, CU_MEMPOOL_ATTR_RELEASE_THRESHOLD, &threshold),
            CUDA_SUCCESS);
  const auto reserved = [pool] {
    cuuint64_t bytes = 0;
    EXPECT_EQ(cuMemPoolGetAttribute(pool, CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT, &bytes),
              CUDA_SUCCESS);
    return bytes;
  };
  const size_t before = free_bytes();
  CUdeviceptr small, large, again;
  ASSERT_EQ(cuMemAllocFromPoolAsync(&small, 4000, pool, nullptr), CUDA_SUCCESS);
  ASSERT_EQ(cuMemAllocFromPoolAsync(&large, 20'000, pool, nullptr), CUDA_SUCCESS);
  EXPECT_EQ(cuMemAllocFromPoolAsync(&again, 80'000, pool, nullptr), CUDA_ERROR_OUT_OF_MEMORY);
  EXPECT_EQ(reserved(), 4096u + 20'480u);
  ASSERT_EQ(cuMemFreeAsync(large, nullptr), CUDA_SUCCESS);
  ASSERT_EQ(cuMemFreeAsync(small, nullptr), CUDA_SUCCESS);
  ASSERT_EQ(cuCtxSynchronize(), CUDA_SUCCESS);
  EXPECT_EQ(reserved(), 4096u);
  EXPECT_EQ(before - free_bytes(), 4096u);
  EXPECT_EQ(cuMemFree(small), CUDA_ERROR_INVALID_VALUE);
  ASSERT_EQ(cuMemAllocFromPoolAsync(&again, 3900, pool, nullptr), CUDA_SUCCESS);
  EXPECT_EQ(again, small);
  EXPECT_EQ(cuMemcpyHtoD(again, &before, 3901), CUDA_ERROR_INVALID_VALUE);
  ASSERT_EQ(cuMemFree(again), CUDA_SUCCESS);
  EXPECT_EQ(reserved(), 4096u);
  ASSERT_EQ(cuMemPoolTrimTo(pool, 5000), CUDA_SUCCESS);
  EXPECT_EQ(reserved(), 4096u);
  ASSERT_EQ(cuMemPoolTrimTo(pool, 0), CUDA_SUCCESS);
  EXPECT_EQ(reserved(), 0u);
  EXPECT_EQ(free_bytes(), before);
  ASSERT_EQ(cuMemAllocFromPoolAsync(&again, 4000, pool, nullptr), CUDA_SUCCESS);
  ASSERT_EQ(cuMemFree(again), CUDA_SUCCESS);
  ASSERT_EQ(launch(kernel("touch"), nullptr, again), CUDA_SUCCESS);
  EXPECT_EQ(cuCtxSynchronize(), CUDA_ERROR_ILLEGAL_ADDRESS);
}

TEST_F(MemoryTest, WhatPoolsKeepIsNotInTheWayOfAnAllocation) {
  CUmemoryPool pool;
  ASSERT_EQ(cuDeviceGetDefaultMemPool(&pool, 0), CUDA_SUCCESS);
  cuuint64_t threshold = UINT64_MAX;
  ASSERT_EQ(cuMemPoolSetAttribute(pool, CU_MEMPOOL_ATTR_RELEASE_THRESHOLD, &threshold),
            CUDA_SUCCESS);
  const size_t free = free_bytes();
  CUdeviceptr pooled, all;
  ASSERT_EQ(cuMemAllocAsync(&pooled, 1 << 20, nullptr), CUDA_SUCCESS);
  ASSERT_EQ(cuMemFreeAsync(pooled, nullptr), CUDA_SUCCESS);
  ASSERT_EQ(cuCtxSynchronize(), CUDA_SUCCESS);
  EXPECT_EQ(free - free_bytes(), size_t{1} << 20);
  EXPECT_EQ(cuMemAlloc(&all, free), CUDA_SUCCESS);
  threshold = 0;
  ASSERT_EQ(cuMemPoolSetAttribute(pool, CU_MEMPOOL_ATTR_RELEASE_THRESHOLD, &threshold),
            CUDA_SUCCESS);
}

TEST_F(MemoryTest, AResetGivesPooledMemoryBack) {
  CUmemoryPool pool;
  ASSERT_EQ(cuDeviceGetDefaultMemPool(&pool, 0), CUDA_SUCCESS);
  CUdeviceptr pointer;
  ASSERT_EQ(cuMemAllocAsync(&pointer, 1000, nullptr), CUDA_SUCCESS);
  ASSERT_EQ(cuDevicePrimaryCtxReset(device_), CUDA_SUCCESS);
  cuuint64_t used = 1;
  EXPECT_EQ(cuMemPoolGetAttribute(pool, CU_MEMPOOL_ATTR_USED_MEM_CURRENT, &used), CUDA_SUCCESS);
  EXPECT_EQ(used, 0u);
}

TEST_F(MemoryTest, ManagedMemoryRemembersAdvice) {
  CUdeviceptr managed;
  ASSERT_EQ(cuMemAllocManaged(&managed, 8192, CU_MEM_ATTACH_GLOBAL), CUDA_SUCCESS);
  const CUmemLocation here = {CU_MEM_LOCATION_TYPE_DEVICE, 0};
  EXPECT_EQ(cuMemAdvise(managed, 8192, CU_MEM_ADVISE_SET_READ_MOSTLY, here), CUDA_SUCCESS);
  EXPECT_EQ(cuMemPrefetchAsync(managed, 8192, here, 0, nullptr), CUDA_SUCCESS);
  EXPECT_EQ(cuMemPrefetchAsync(managed, 8193, here, 0, nullptr), CUDA_ERROR_INVALID_VALUE);
  int value = -5;
  EXPECT_EQ(cuMemRangeGetAttribute(&value, 4, CU_MEM_RANGE_ATTRIBUTE_READ_MOSTLY, managed, 8192),
            CUDA_SUCCESS);
  EXPECT_EQ(value, 1);
  EXPECT_EQ(cuMemRangeGetAttribute(&value, 4, CU_MEM_RANGE_ATTRIBUTE_LAST_PREFETCH_LOCATION,
                                   managed, 8192),
            CUDA_SUCCESS);
  EXPECT_EQ(value, 0);
  int devices[3] = {9, 9, 9};
  const CUmemLocation host = {CU_MEM_LOCATION_TYPE_HOST, 0};
  EXPECT_EQ(cuMemAdvise(managed, 8192, CU_MEM_ADVISE_SET_ACCESSED_BY, host), CUDA_SUCCESS);
  EXPECT_EQ(cuMemAdvise(managed, 8192, CU_MEM_ADVISE_SET_ACCESSED_BY, here), CUDA_SUCCESS);
  EXPECT_EQ(cuMemRangeGetAttribute(devices, sizeof(devices), CU_MEM_RANGE_ATTRIBUTE_ACCESSED_BY,
                                   managed, 8192),
            CUDA_SUCCESS);
  EXPECT_THAT(devices, testing::ElementsAre(0, CU_DEVICE_CPU, CU_DEVICE_INVALID));
  EXPECT_EQ(cuMemAdvise(managed, 8192, CU_MEM_ADVISE_UNSET_ACCESSED_BY, here), CUDA_SUCCESS);
  EXPECT_EQ(cuMemRangeGetAttribute(devices, 4, CU_MEM_RANGE_ATTRIBUTE_ACCESSED_BY, managed, 8192),
            CUDA_SUCCESS);
  EXPECT_EQ(devices[0], CU_DEVICE_CPU);
}

}  // namespace
}  // namespace farcall::softgpu
