// Memory and events that several processes share: this program runs itself again, with a handle in
// its environment.
#include <unistd.h>

#include <cstdlib>

#include "softgpu/driver/test_driver.h"

namespace farcall::softgpu {
namespace {

class IpcTest : public DriverTest {
 protected:
  template <class Handle>
  static std::string as_text(const Handle& handle) {
    std::string text;
    for (size_t i = 0; i < sizeof(handle); ++i) {
      char digits[3];
      std::snprintf(digits, sizeof(digits), "%02x",
                    reinterpret_cast<const unsigned char*>(&handle)[i]);
      text += digits;
    }
    return text;
  }
  template <class Handle>
  static Handle from_text(const char* text) {
    Handle handle;
    for (size_t i = 0; i < sizeof(handle); ++i) {
      const char digits[3] = {text[2 * i], text[2 * i + 1], 0};
      reinterpret_cast<unsigned char*>(&handle)[i] =
          static_cast<unsigned char>(std::strtoul(digits, nullptr, 16));
    }
    return handle;
  }
  static constexpr unsigned kFlags = CU_IPC_MEM_LAZY_ENABLE_PEER_ACCESS;
};

TEST_F(IpcTest, AnotherProcessSeesTheMemoryAndWritesIt) {
  constexpr size_t kBytes = 10'000;
  if (const char* text = std::getenv("SOFTGPU_TEST_HANDLE")) {
    const auto handle = from_text<CUipcMemHandle>(text);
    CUdeviceptr memory = 0, again = 0, base = 0;
    size_t bytes = 0;
    ASSERT_EQ(cuIpcOpenMemHandle(&memory, handle, kFlags), CUDA_SUCCESS);
    ASSERT_EQ(cuIpcOpenMemHandle(&again, handle, kFlags), CUDA_SUCCESS);
    EXPECT_EQ(memory, again);
    ASSERT_EQ(cuMemGetAddressRange(&base, &bytes, memory + 17), CUDA_SUCCESS);
    EXPECT_EQ(base, memory);
    EXPECT_EQ(bytes, kBytes);
    EXPECT_EQ(read(memory), 8u);  // 7, and 1 that was added after the handle was made
    EXPECT_EQ(read(memory + kBytes - 4), 9u);
    ASSERT_EQ(add(memory, 100, nullptr), CUDA_SUCCESS);
    EXPECT_EQ(cuMemFree(memory), CUDA_ERROR_INVALID_VALUE);
    EXPECT_EQ(cuIpcCloseMemHandle(memory), CUDA_SUCCESS);
    EXPECT_EQ(read(memory), 108u);  // opened twice
    EXPECT_EQ(cuIpcCloseMemHandle(memory), CUDA_SUCCESS);
    EXPECT_EQ(cuIpcCloseMemHandle(memory), CUDA_ERROR_INVALID_VALUE);
    return;
  }
  const CUdeviceptr memory = allocate(kBytes);
  ASSERT_EQ(store(memory, 7, nullptr), CUDA_SUCCESS);
  ASSERT_EQ(store(memory + kBytes - 4, 9, nullptr), CUDA_SUCCESS);
  CUipcMemHandle handle, second;
  ASSERT_EQ(cuIpcGetMemHandle(&handle, memory), CUDA_SUCCESS);
  ASSERT_EQ(cuIpcGetMemHandle(&second, memory), CUDA_SUCCESS);
  EXPECT_EQ(std::memcmp(&handle, &second, sizeof(handle)), 0);
  ASSERT_EQ(add(memory, 1, nullptr), CUDA_SUCCESS);
  ASSERT_EQ(cuCtxSynchronize(), CUDA_SUCCESS);
  EXPECT_EQ(run_again("SOFTGPU_TEST_HANDLE", as_text(handle)), 0);
  EXPECT_EQ(read(memory), 108u);
  EXPECT_EQ(read(memory + kBytes - 4), 9u);
  CUdeviceptr own;
  EXPECT_EQ(cuIpcOpenMemHandle(&own, handle, kFlags), CUDA_ERROR_INVALID_CONTEXT);
  // Ends at its page, as all memory.
  ASSERT_EQ(launch(kernel("touch"), nullptr, memory + 10'240), CUDA_SUCCESS);
  EXPECT_EQ(cuCtxSynchronize(), CUDA_ERROR_ILLEGAL_ADDRESS);
}

TEST_F(IpcTest, AStaleOrInventedHandleIsAnError) {
  if (const char* text = std::getenv("SOFTGPU_TEST_HANDLE")) {
    CUdeviceptr memory;
    auto handle = from_text<CUipcMemHandle>(text);
    EXPECT_EQ(cuIpcOpenMemHandle(&memory, handle, kFlags), CUDA_ERROR_INVALID_HANDLE);
    EXPECT_EQ(cuIpcOpenMemHandle(&memory, handle, 0), CUDA_ERROR_INVALID_VALUE);
    std::memset(&handle, 0x41, sizeof(handle));
    EXPECT_EQ(cuIpcOpenMemHandle(&memory, handle, kFlags), CUDA_ERROR_INVALID_VALUE);
    return;
  }
  const CUdeviceptr memory = allocate(4096);
  CUipcMemHandle handle;
  ASSERT_EQ(cuIpcGetMemHandle(&handle, memory), CUDA_SUCCESS);
  ASSERT_EQ(cuMemFree(memory), CUDA_SUCCESS);
  EXPECT_EQ(run_again("SOFTGPU_TEST_HANDLE", as_text(handle)), 0);
  void* host;
  ASSERT_EQ(cuMemAllocHost(&host, 10), CUDA_SUCCESS);
  EXPECT_EQ(cuIpcGetMemHandle(&handle, reinterpret_cast<CUdeviceptr>(host)),
            CUDA_ERROR_INVALID_VALUE);
}

TEST_F(IpcTest, MemoryMovesBetweenKernelsAndIsNotLost) {
  // A handle is made while a stream writes: no write may be lost.
  module();
  CUstream s = stream();
  const CUdeviceptr memory = cell(0);
  constexpr int kAdds = 2000;
  for (int i = 0; i < kAdds; ++i) ASSERT_EQ(add(memory, 1, s), CUDA_SUCCESS);
  CUipcMemHandle handle;
  ASSERT_EQ(cuIpcGetMemHandle(&handle, memory), CUDA_SUCCESS);
  ASSERT_EQ(cuStreamSynchronize(s), CUDA_SUCCESS);
  EXPECT_EQ(read(memory), uint32_t{kAdds});
}

TEST_F(IpcTest, AnEventIsWaitedForByAnotherProcess) {
  if (const char* text = std::getenv("SOFTGPU_TEST_HANDLE")) {
    // Two handles: the event, and memory that is written before it.
    const std::string both = text;
    CUevent event;
    CUdeviceptr memory;
    ASSERT_EQ(cuIpcOpenEventHandle(&event, from_text<CUipcEventHandle>(both.c_str())),
              CUDA_SUCCESS);
    ASSERT_EQ(cuIpcOpenMemHandle(&memory, from_text<CUipcMemHandle>(both.c_str() + 128), kFlags),
              CUDA_SUCCESS);
    EXPECT_EQ(cuEventQuery(event), CUDA_ERROR_NOT_READY);
    CUstream s = stream(CU_STREAM_NON_BLOCKING);
    ASSERT_EQ(cuStreamWaitEvent(s, event, 0), CUDA_SUCCESS);
    ASSERT_EQ(add(memory, 1, s), CUDA_SUCCESS);
    ASSERT_EQ(store(memory + 4, 1, nullptr), CUDA_SUCCESS);  // "is waiting"
    ASSERT_EQ(cuStreamSynchronize(s), CUDA_SUCCESS);
    EXPECT_EQ(cuEventQuery(event), CUDA_SUCCESS);
    EXPECT_EQ(read(memory), 42u);
    ASSERT_EQ(cuEventRecord(event, s), CUDA_SUCCESS);
    ASSERT_EQ(cuEventSynchronize(event), CUDA_SUCCESS);
    return;
  }
  const CUdeviceptr memory = allocate(8);
  ASSERT_EQ(cuMemsetD32(memory, 0, 2), CUDA_SUCCESS);
  CUevent shared = event(CU_EVENT_INTERPROCESS | CU_EVENT_DISABLE_TIMING);
  CUipcEventHandle event_handle;
  CUipcMemHandle memory_handle;
  ASSERT_EQ(cuIpcGetEventHandle(&event_handle, shared), CUDA_SUCCESS);
  ASSERT_EQ(cuIpcGetMemHandle(&memory_handle, memory), CUDA_SUCCESS);
  EXPECT_EQ(cuIpcGetEventHandle(&event_handle, event()), CUDA_ERROR_INVALID_VALUE);
  CUstream s = stream(CU_STREAM_NON_BLOCKING), watch = stream(CU_STREAM_NON_BLOCKING);
  // Runs when the other process says that it waits.
  ASSERT_EQ(cuStreamWaitValue32(s, memory + 4, 1, CU_STREAM_WAIT_VALUE_EQ), CUDA_SUCCESS);
  ASSERT_EQ(store(memory, 41, s), CUDA_SUCCESS);
  ASSERT_EQ(cuEventRecord(shared, s), CUDA_SUCCESS);
  EXPECT_EQ(cuEventQuery(shared), CUDA_ERROR_NOT_READY);
  EXPECT_EQ(run_again("SOFTGPU_TEST_HANDLE", as_text(event_handle) + as_text(memory_handle)), 0);
  ASSERT_EQ(cuStreamWaitEvent(watch, shared, 0), CUDA_SUCCESS);  // recorded over there
  ASSERT_EQ(cuStreamSynchronize(watch), CUDA_SUCCESS);
  EXPECT_EQ(cuEventQuery(shared), CUDA_SUCCESS);
  EXPECT_EQ(read(memory), 42u);
}

TEST_F(IpcTest, APoolAndItsPointersTravel) {
  if (const char* text = std::getenv("SOFTGPU_TEST_HANDLE")) {
    const std::string both = text;
    const size_t colon = both.find(':');
    CUmemoryPool pool;
    void* fd = reinterpret_cast<void*>(static_cast<intptr_t>(std::atoi(text)));
    ASSERT_EQ(
        cuMemPoolImportFromShareableHandle(&pool, fd, CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR, 0),
        CUDA_SUCCESS);
    auto data = from_text<CUmemPoolPtrExportData>(both.c_str() + colon + 1);
    CUdeviceptr memory, other;
    ASSERT_EQ(cuMemPoolImportPointer(&memory, pool, &data), CUDA_SUCCESS);
    ASSERT_EQ(add(memory, 3, nullptr), CUDA_SUCCESS);
    ASSERT_EQ(cuMemFreeAsync(memory, nullptr), CUDA_SUCCESS);
    ASSERT_EQ(cuCtxSynchronize(), CUDA_SUCCESS);
    EXPECT_EQ(cuMemAllocFromPoolAsync(&other, 16, pool, nullptr), CUDA_ERROR_INVALID_VALUE);
    data.reserved[0] ^= 1;
    EXPECT_EQ(cuMemPoolImportPointer(&memory, pool, &data), CUDA_ERROR_INVALID_VALUE);
    data.reserved[0] ^= 1;
    std::memset(data.reserved + 8, 0xff, 32);  // a place beyond the pool
    EXPECT_EQ(cuMemPoolImportPointer(&memory, pool, &data), CUDA_ERROR_INVALID_VALUE);
    return;
  }
  CUmemPoolProps properties = {};
  properties.allocType = CU_MEM_ALLOCATION_TYPE_PINNED;
  properties.location = {CU_MEM_LOCATION_TYPE_DEVICE, 0};
  properties.handleTypes = CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR;
  CUmemoryPool pool;
  ASSERT_EQ(cuMemPoolCreate(&pool, &properties), CUDA_SUCCESS);
  CUdeviceptr other, memory;
  ASSERT_EQ(cuMemAllocFromPoolAsync(&other, 10'000, pool, nullptr), CUDA_SUCCESS);
  ASSERT_EQ(cuMemAllocFromPoolAsync(&memory, 100, pool, nullptr), CUDA_SUCCESS);
  ASSERT_EQ(store(other, 1, nullptr), CUDA_SUCCESS);
  ASSERT_EQ(store(memory, 5, nullptr), CUDA_SUCCESS);
  ASSERT_EQ(cuCtxSynchronize(), CUDA_SUCCESS);
  int fd = -1;
  ASSERT_EQ(
      cuMemPoolExportToShareableHandle(&fd, pool, CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR, 0),
      CUDA_SUCCESS);
  CUmemPoolPtrExportData data;
  ASSERT_EQ(cuMemPoolExportPointer(&data, memory), CUDA_SUCCESS);
  EXPECT_EQ(run_again("SOFTGPU_TEST_HANDLE", std::to_string(dup(fd)) + ":" + as_text(data)), 0);
  EXPECT_EQ(read(memory), 8u);
  EXPECT_EQ(read(other), 1u);
  CUdeviceptr private_memory;
  ASSERT_EQ(cuMemAllocAsync(&private_memory, 100, nullptr), CUDA_SUCCESS);
  EXPECT_EQ(cuMemPoolExportPointer(&data, private_memory), CUDA_ERROR_INVALID_VALUE);
}

}  // namespace
}  // namespace farcall::softgpu
