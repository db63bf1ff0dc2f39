// Streams, events and host functions: what runs when, and what waits for what.
#include <chrono>
#include <thread>

#include "softgpu/driver/test_driver.h"

namespace farcall::softgpu {
namespace {

class StreamTest : public DriverTest {};

TEST_F(StreamTest, ALaunchReturnsWhileTheKernelRuns) {
  CUstream s = stream();
  Held held(kernel("hold"), s);
  EXPECT_EQ(cuStreamQuery(s), CUDA_ERROR_NOT_READY);
  held.wait_until_started();
  EXPECT_EQ(cuStreamQuery(s), CUDA_ERROR_NOT_READY);
  held.release();
  EXPECT_EQ(cuStreamSynchronize(s), CUDA_SUCCESS);
  EXPECT_EQ(cuStreamQuery(s), CUDA_SUCCESS);
}

TEST_F(StreamTest, WorkOfOneStreamRunsInOrder) {
  CUstream s = stream();
  const CUdeviceptr cell = this->cell(0);
  for (uint32_t i = 1; i <= 100; ++i) {
    ASSERT_EQ(store(cell, i, s), CUDA_SUCCESS);
    ASSERT_EQ(add(cell, 1000, s), CUDA_SUCCESS);
  }
  ASSERT_EQ(cuStreamSynchronize(s), CUDA_SUCCESS);
  EXPECT_EQ(read(cell), 1100u);
}

TEST_F(StreamTest, StreamsDoNotWaitForEachOther) {
  CUstream a = stream(), b = stream();
  const CUdeviceptr cell = this->cell(0);
  Held held(kernel("hold"), a);
  ASSERT_EQ(store(cell, 5, b), CUDA_SUCCESS);
  EXPECT_EQ(cuStreamSynchronize(b), CUDA_SUCCESS);
  EXPECT_EQ(cuStreamQuery(a), CUDA_ERROR_NOT_READY);
  held.release();
  EXPECT_EQ(cuStreamSynchronize(a), CUDA_SUCCESS);
  EXPECT_EQ(read(cell), 5u);
}

TEST_F(StreamTest, TheLegacyStreamWaitsForBlockingStreamsAndTheyForIt) {
  CUstream blocking = stream(), other = stream();
  const CUdeviceptr cell = this->cell(0);
  Held held(kernel("hold"), blocking);
  ASSERT_EQ(store(cell, 5, nullptr), CUDA_SUCCESS);  // legacy: after `blocking`
  ASSERT_EQ(add(cell, 1, other), CUDA_SUCCESS);      // after the legacy stream
  EXPECT_EQ(cuStreamQuery(other), CUDA_ERROR_NOT_READY);
  EXPECT_EQ(cuStreamQuery(CU_STREAM_LEGACY), CUDA_ERROR_NOT_READY);
  held.release();
  EXPECT_EQ(cuStreamSynchronize(other), CUDA_SUCCESS);
  EXPECT_EQ(read(cell), 6u);
}

TEST_F(StreamTest, TheLegacyStreamDoesNotWaitForNonBlockingStreams) {
  CUstream s = stream(CU_STREAM_NON_BLOCKING);
  const CUdeviceptr cell = this->cell(0);
  Held held(kernel("hold"), s);
  ASSERT_EQ(store(cell, 5, nullptr), CUDA_SUCCESS);
  EXPECT_EQ(cuStreamSynchronize(nullptr), CUDA_SUCCESS);
  EXPECT_EQ(read(cell), 5u);
  EXPECT_EQ(cuStreamQuery(s), CUDA_ERROR_NOT_READY);
  held.release();
}

TEST_F(StreamTest, SynchronizingTheContextWaitsForEveryStream) {
  const CUdeviceptr cell = this->cell(0);
  CUstream s = stream(CU_STREAM_NON_BLOCKING);
  Held held(kernel("hold"), s);
  ASSERT_EQ(store(cell, 9, s), CUDA_SUCCESS);
  std::thread later([&held] {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    held.release();
  });
  EXPECT_EQ(cuCtxSynchronize(), CUDA_SUCCESS);
  EXPECT_EQ(cuStreamQuery(s), CUDA_SUCCESS);
  later.join();
  EXPECT_EQ(read(cell), 9u);
}

TEST_F(StreamTest, AStreamWaitsForAnEventOfAnother) {
  CUstream a = stream(), b = stream();
  const CUdeviceptr cell = this->cell(0);
  CUevent done = event();
  Held held(kernel("hold"), a);
  ASSERT_EQ(store(cell, 1, a), CUDA_SUCCESS);
  ASSERT_EQ(cuEventRecord(done, a), CUDA_SUCCESS);
  ASSERT_EQ(cuStreamWaitEvent(b, done, 0), CUDA_SUCCESS);
  // Recorded again, destroyed: the wait above is for the record it saw.
  ASSERT_EQ(cuEventRecord(done, stream()), CUDA_SUCCESS);
  ASSERT_EQ(cuEventDestroy(done), CUDA_SUCCESS);
  ASSERT_EQ(add(cell, 1, b), CUDA_SUCCESS);
  EXPECT_EQ(cuStreamQuery(b), CUDA_ERROR_NOT_READY);
  held.release();
  EXPECT_EQ(cuStreamSynchronize(b), CUDA_SUCCESS);
  EXPECT_EQ(read(cell), 2u);
}

TEST_F(StreamTest, ADestroyedStreamFinishesItsWork) {
  CUstream s = stream();
  const CUdeviceptr cell = this->cell(0);
  Held held(kernel("hold"), s);
  ASSERT_EQ(store(cell, 4, s), CUDA_SUCCESS);
  ASSERT_EQ(cuStreamDestroy(s), CUDA_SUCCESS);
  EXPECT_EQ(cuStreamQuery(s), CUDA_ERROR_INVALID_HANDLE);
  held.release();
  EXPECT_EQ(cuCtxSynchronize(), CUDA_SUCCESS);
  EXPECT_EQ(read(cell), 4u);
}

TEST_F(StreamTest, EveryThreadHasADefaultStreamOfItsOwn) {
  CUfunction hold = kernel("hold");
  Held held(hold, CU_STREAM_PER_THREAD);
  held.wait_until_started();
  std::thread other([this] {
    ASSERT_EQ(cuCtxSetCurrent(context_), CUDA_SUCCESS);
    EXPECT_EQ(cuStreamQuery(CU_STREAM_PER_THREAD), CUDA_SUCCESS);
    const CUdeviceptr cell = allocate(4);
    EXPECT_EQ(store(cell, 3, CU_STREAM_PER_THREAD), CUDA_SUCCESS);
    EXPECT_EQ(cuStreamSynchronize(CU_STREAM_PER_THREAD), CUDA_SUCCESS);
    uint32_t value = 0;  // not in the legacy stream, which would wait for the other thread's
    EXPECT_EQ(cuMemcpyDtoHAsync(&value, cell, 4, CU_STREAM_PER_THREAD), CUDA_SUCCESS);
    EXPECT_EQ(value, 3u);
    EXPECT_EQ(cuStreamQuery(CU_STREAM_LEGACY), CUDA_ERROR_NOT_READY);
  });
  other.join();
  EXPECT_EQ(cuStreamQuery(CU_STREAM_PER_THREAD), CUDA_ERROR_NOT_READY);
  held.release();
  EXPECT_EQ(cuStreamSynchronize(CU_STREAM_PER_THREAD), CUDA_SUCCESS);
}

TEST_F(StreamTest, APageableSourceMayChangeOnceTheCopyIsSubmitted) {
  CUstream s = stream(CU_STREAM_NON_BLOCKING);
  const CUdeviceptr target = allocate(4096);
  Held held(kernel("hold"), s);
  std::vector<unsigned char> source(4096, 0x11);
  ASSERT_EQ(cuMemcpyHtoDAsync(target, source.data(), source.size(), s), CUDA_SUCCESS);
  std::fill(source.begin(), source.end(), 0x22);
  held.release();
  ASSERT_EQ(cuStreamSynchronize(s), CUDA_SUCCESS);
  ASSERT_EQ(cuMemcpyDtoH(source.data(), target, source.size()), CUDA_SUCCESS);
  EXPECT_THAT(source, testing::Each(0x11));
}

TEST_F(StreamTest, APinnedSourceIsReadWhenItsTurnComes) {
  CUstream s = stream(CU_STREAM_NON_BLOCKING);
  const CUdeviceptr target = allocate(4);
  uint32_t* source;
  ASSERT_EQ(cuMemAllocHost(reinterpret_cast<void**>(&source), 4), CUDA_SUCCESS);
  *source = 1;
  Held held(kernel("hold"), s);
  ASSERT_EQ(cuMemcpyHtoDAsync(target, source, 4, s), CUDA_SUCCESS);
  *source = 2;
  held.release();
  ASSERT_EQ(cuStreamSynchronize(s), CUDA_SUCCESS);
  EXPECT_EQ(read(target), 2u);
}

// ------------------------------------------------------------------ events

TEST_F(StreamTest, AnEventIsDoneWhenTheWorkBeforeItIs) {
  CUstream s = stream();
  CUevent never = event(), e = event();
  EXPECT_EQ(cuEventQuery(never), CUDA_SUCCESS);
  Held held(kernel("hold"), s);
  ASSERT_EQ(cuEventRecord(e, s), CUDA_SUCCESS);
  EXPECT_EQ(cuEventQuery(e), CUDA_ERROR_NOT_READY);
  held.release();
  EXPECT_EQ(cuEventSynchronize(e), CUDA_SUCCESS);
  EXPECT_EQ(cuEventQuery(e), CUDA_SUCCESS);
}

TEST_F(StreamTest, TimeBetweenEventsIsTheTimeOfTheWork) {
  CUstream s = stream();
  CUevent start = event(), end = event(), untimed = event(CU_EVENT_DISABLE_TIMING);
  float ms = -1;
  EXPECT_EQ(cuEventElapsedTime(&ms, start, end), CUDA_ERROR_INVALID_HANDLE);  // not recorded
  ASSERT_EQ(cuEventRecord(start, s), CUDA_SUCCESS);
  Held held(kernel("hold"), s);
  ASSERT_EQ(cuEventRecord(end, s), CUDA_SUCCESS);
  ASSERT_EQ(cuEventRecord(untimed, s), CUDA_SUCCESS);
  EXPECT_EQ(cuEventElapsedTime(&ms, start, end), CUDA_ERROR_NOT_READY);
  std::this_thread::sleep_for(std::chrono::milliseconds(30));
  held.release();
  ASSERT_EQ(cuEventSynchronize(end), CUDA_SUCCESS);
  ASSERT_EQ(cuEventElapsedTime(&ms, start, end), CUDA_SUCCESS);
  EXPECT_GE(ms, 29.0f);
  EXPECT_EQ(cuEventElapsedTime(&ms, start, untimed), CUDA_ERROR_INVALID_HANDLE);
}

// ------------------------------------------------------------------ host functions

struct Called {
  uint32_t* cell;
  uint32_t seen = 0;
  CUresult inside = CUDA_SUCCESS;
  int count = 0;
};
void CUDA_CB host_function(void* data) {
  auto* called = static_cast<Called*>(data);
  called->seen = *called->cell;
  size_t bytes;
  called->inside = cuMemGetInfo(&bytes, &bytes);
  ++called->count;
}
void CUDA_CB callback(CUstream, CUresult status, void* data) {
  auto* called = static_cast<Called*>(data);
  called->inside = status;
  ++called->count;
}

TEST_F(StreamTest, AHostFunctionRunsInOrderAndMayNotCallCuda) {
  CUstream s = stream();
  CUdeviceptr managed;
  ASSERT_EQ(cuMemAllocManaged(&managed, 4, CU_MEM_ATTACH_GLOBAL), CUDA_SUCCESS);
  Called called{reinterpret_cast<uint32_t*>(managed)};
  ASSERT_EQ(store(managed, 8, s), CUDA_SUCCESS);
  ASSERT_EQ(cuLaunchHostFunc(s, host_function, &called), CUDA_SUCCESS);
  ASSERT_EQ(store(managed, 9, s), CUDA_SUCCESS);
  ASSERT_EQ(cuStreamSynchronize(s), CUDA_SUCCESS);
  EXPECT_EQ(called.count, 1);
  EXPECT_EQ(called.seen, 8u);
  EXPECT_EQ(called.inside, CUDA_ERROR_NOT_PERMITTED);
}

TEST_F(StreamTest, AfterAFaultCallbacksAreToldAndHostFunctionsNotCalled) {
  CUstream s = stream();
  uint32_t word = 0;
  Called function{&word}, told{&word};
  ASSERT_EQ(launch(kernel("trap"), s), CUDA_SUCCESS);
  // Either may be refused already, when the fault is known; then there is nothing to be called.
  const CUresult added = cuStreamAddCallback(s, callback, &told, 0);
  cuLaunchHostFunc(s, host_function, &function);
  EXPECT_EQ(cuStreamSynchronize(s), CUDA_ERROR_LAUNCH_FAILED);
  EXPECT_EQ(function.count, 0);
  if (added == CUDA_SUCCESS) {
    EXPECT_EQ(told.count, 1);
    EXPECT_EQ(told.inside, CUDA_ERROR_LAUNCH_FAILED);
  }
}

// ------------------------------------------------------------------ words in memory

TEST_F(StreamTest, AStreamWaitsForAValueAndWritesOne) {
  CUstream a = stream(CU_STREAM_NON_BLOCKING), b = stream(CU_STREAM_NON_BLOCKING);
  const CUdeviceptr flag = cell(0), result = cell(0);
  ASSERT_EQ(cuStreamWaitValue32(a, flag, 3, CU_STREAM_WAIT_VALUE_GEQ), CUDA_SUCCESS);
  ASSERT_EQ(store(result, 1, a), CUDA_SUCCESS);
  ASSERT_EQ(cuStreamWriteValue32(b, flag, 2, 0), CUDA_SUCCESS);
  ASSERT_EQ(cuStreamSynchronize(b), CUDA_SUCCESS);
  EXPECT_EQ(cuStreamQuery(a), CUDA_ERROR_NOT_READY);
  ASSERT_EQ(cuStreamWriteValue32(b, flag, 3, 0), CUDA_SUCCESS);
  EXPECT_EQ(cuStreamSynchronize(a), CUDA_SUCCESS);
  EXPECT_EQ(read(result), 1u);
  EXPECT_EQ(cuStreamWaitValue32(a, flag + 1, 3, 0), CUDA_ERROR_INVALID_VALUE);
}

TEST_F(StreamTest, ManyStreamsWithManyEvents) {
  // A diamond of streams, again and again: each round every stream adds to its cell, waits for all
  // others, and copies the sum it can see; any lost edge shows as a wrong sum.
  constexpr int kStreams = 8, kRounds = 40;
  std::vector<CUstream> streams;
  std::vector<CUevent> events;
  const CUdeviceptr cells = allocate(kStreams * 4);
  ASSERT_EQ(cuMemsetD32(cells, 0, kStreams), CUDA_SUCCESS);
  for (int i = 0; i < kStreams; ++i) {
    streams.push_back(stream(CU_STREAM_NON_BLOCKING));
    events.push_back(event(CU_EVENT_DISABLE_TIMING));
  }
  uint32_t* seen;
  ASSERT_EQ(cuMemAllocHost(reinterpret_cast<void**>(&seen), kStreams * kStreams * 4), CUDA_SUCCESS);
  ASSERT_EQ(cuCtxSynchronize(), CUDA_SUCCESS);
  for (uint32_t round = 1; round <= kRounds; ++round) {
    for (int i = 0; i < kStreams; ++i) {
      ASSERT_EQ(add(cells + 4 * i, 1, streams[i]), CUDA_SUCCESS);
      ASSERT_EQ(cuEventRecord(events[i], streams[i]), CUDA_SUCCESS);
    }
    for (int i = 0; i < kStreams; ++i) {
      for (CUevent e : events) ASSERT_EQ(cuStreamWaitEvent(streams[i], e, 0), CUDA_SUCCESS);
      ASSERT_EQ(cuMemcpyDtoHAsync(seen + i * kStreams, cells, kStreams * 4, streams[i]),
                CUDA_SUCCESS);
    }
    for (int i = 0; i < kStreams; ++i) {
      ASSERT_EQ(cuEventRecord(events[i], streams[i]), CUDA_SUCCESS);
      for (CUstream s : streams) ASSERT_EQ(cuStreamWaitEvent(s, events[i], 0), CUDA_SUCCESS);
    }
    for (CUstream s : streams) ASSERT_EQ(cuStreamSynchronize(s), CUDA_SUCCESS);
    for (int i = 0; i < kStreams * kStreams; ++i) ASSERT_EQ(seen[i], round);
  }
}

}  // namespace
}  // namespace farcall::softgpu
