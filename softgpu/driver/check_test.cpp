// What a program sees of faults, the checkers and limits: messages on standard error, error codes,
// the exit status. Each test is a process of its own.
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <functional>
#include <thread>

#include "softgpu/driver/test_driver.h"

namespace farcall::softgpu {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

// read(u64 from)   write(u64 to)   spin()   neighbours(): a race   malloc(u64 bytes, u64* out)
const char kPtx[] = R"(.version 8.5
.target sm_75
.address_size 64
.extern .func (.param .b64 r) malloc(.param .b64 n);
.shared .align 16 .b8 words[256];
.visible .entry read(.param .u64 from) {
  .reg .b64 %a; .reg .b32 %v;
  ld.param.u64 %a, [from];
  .loc 1 12 3
  ld.global.u32 %v, [%a];
  ret;
}
.visible .entry write(.param .u64 to) {
  .reg .b64 %a;
  ld.param.u64 %a, [to];
  .loc 1 23 3
  st.global.u32 [%a], 7;
  ret;
}
.visible .entry spin() {
L: bra L;
}
.visible .entry neighbours() {
  .reg .b32 %t, %a, %b, %s;
  mov.u32 %t, %tid.x; shl.b32 %a, %t, 2; mov.u32 %s, words; add.u32 %a, %a, %s;
  xor.b32 %b, %a, 128;
  st.shared.u32 [%a], %t;
  ld.shared.u32 %t, [%b];
  ret;
}
.visible .entry heap(.param .u64 bytes, .param .u64 out) {
  .reg .b64 %n, %o, %p;
  ld.param.u64 %n, [bytes]; ld.param.u64 %o, [out];
  { .param .b64 n; st.param.b64 [n], %n; .param .b64 r; call (r), malloc, (n);
  ld.param.b64 %p, [r]; }
  st.global.u64 [%o], %p;
  ret;
}
  .file 1 "/src/kernels.cu"
)";

class CheckTest : public DriverTest {
 protected:
  void SetUp() override {
    SKIP_WITHOUT_OWN_PROCESS();
    setenv("FARCALL_SOFTGPU_MEMORY", "64M", 1);
  }
  void TearDown() override {}
  // cuInit() reads the environment, so that is set first.
  void begin(const char* check = "") {
    setenv("FARCALL_SOFTGPU_CHECK", check, 1);
    DriverTest::SetUp();
    ASSERT_EQ(cuModuleLoadData(&loaded_, kPtx), CUDA_SUCCESS);
  }
  CUfunction own(const char* name) {
    CUfunction function = nullptr;
    EXPECT_EQ(cuModuleGetFunction(&function, loaded_, name), CUDA_SUCCESS) << name;
    return function;
  }
  // What the launch writes to standard error, and what waiting for it gives.
  template <class... Args>
  std::string messages(CUresult expected, const char* name, unsigned threads, Args... args) {
    testing::internal::CaptureStderr();
    void* params[] = {static_cast<void*>(&args)..., nullptr};
    EXPECT_EQ(cuLaunchKernel(own(name), 1, 1, 1, threads, 1, 1, 0, nullptr, params, nullptr),
              CUDA_SUCCESS);
    EXPECT_EQ(cuCtxSynchronize(), expected);
    return testing::internal::GetCapturedStderr();
  }
  void renew() {
    ASSERT_EQ(cuDevicePrimaryCtxReset(device_), CUDA_SUCCESS);
    ASSERT_EQ(cuDevicePrimaryCtxRetain(&context_, device_), CUDA_SUCCESS);
    ASSERT_EQ(cuCtxSetCurrent(context_), CUDA_SUCCESS);
    ASSERT_EQ(cuModuleLoadData(&loaded_, kPtx), CUDA_SUCCESS);
  }
  CUmodule loaded_ = nullptr;
};

std::string hex(CUdeviceptr address) {
  char text[32];
  std::snprintf(text, sizeof text, "0x%llx", address);
  return text;
}

// ---- faults, without any checker ----

TEST_F(CheckTest, AFaultNamesTheSourceTheThreadAndTheAllocationNearby) {
  begin();
  const CUdeviceptr pointer = allocate(1024);
  EXPECT_THAT(messages(CUDA_ERROR_ILLEGAL_ADDRESS, "write", 1, pointer + 1024),
              HasSubstr("CUDA_ERROR_ILLEGAL_ADDRESS: illegal address in kernel write, block "
                        "(0,0,0), thread (0,0,0), PTX line 17, kernels.cu:23: address " +
                        hex(pointer + 1024) +
                        " (write of 4 bytes): 0 bytes past the end of a 1024-byte allocation at " +
                        hex(pointer)));
  renew();
  const CUdeviceptr freed = allocate(5000);
  ASSERT_EQ(cuMemFree(freed), CUDA_SUCCESS);
  EXPECT_THAT(messages(CUDA_ERROR_ILLEGAL_ADDRESS, "read", 1, freed + 8),
              HasSubstr("byte 8 of a 5000-byte allocation at " + hex(freed) + ", which was freed"));
  renew();
  EXPECT_THAT(messages(CUDA_ERROR_ILLEGAL_ADDRESS, "read", 1, CUdeviceptr{16}),
              HasSubstr("16 bytes from a null pointer"));
  renew();
  EXPECT_THAT(messages(CUDA_ERROR_MISALIGNED_ADDRESS, "read", 1, allocate(64) + 2),
              HasSubstr("byte 2 of a 64-byte allocation"));
}

TEST_F(CheckTest, EveryCallTellsOfAFaultUntilTheReset) {
  begin();
  messages(CUDA_ERROR_ILLEGAL_ADDRESS, "read", 1, CUdeviceptr{0});
  CUdeviceptr pointer;
  CUstream stream;
  EXPECT_EQ(cuMemAlloc(&pointer, 4), CUDA_ERROR_ILLEGAL_ADDRESS);
  EXPECT_EQ(cuStreamCreate(&stream, 0), CUDA_ERROR_ILLEGAL_ADDRESS);
  EXPECT_EQ(launch(own("spin"), nullptr), CUDA_ERROR_ILLEGAL_ADDRESS);
  renew();
  pointer = cell(3);
  EXPECT_THAT(messages(CUDA_SUCCESS, "read", 1, pointer), IsEmpty());
}

// ---- checkers ----

TEST_F(CheckTest, MemcheckFindsWhatPagesDoNot) {
  begin("memcheck");
  const CUdeviceptr pointer = allocate(10);
  EXPECT_THAT(
      messages(CUDA_ERROR_ILLEGAL_ADDRESS, "write", 1, pointer + 8),
      HasSubstr("========= memcheck: invalid write of 4 bytes\n"
                "=========     in write, PTX line 17, kernels.cu:23\n"
                "=========     by thread (0,0,0) in block (0,0,0) of kernel write\n"
                "=========     address " +
                hex(pointer + 8) + " is byte 8 of a 10-byte allocation at " + hex(pointer) + "\n"));
}

TEST_F(CheckTest, InitcheckFollowsCopiesAndMemsets) {
  begin("initcheck");
  const CUdeviceptr fresh = allocate(64), copy = allocate(64);
  const char kTitle[] =
      "========= initcheck: uninitialised read of 4 bytes\n"
      "=========     in read, PTX line 10, kernels.cu:12\n";
  EXPECT_THAT(messages(CUDA_SUCCESS, "read", 1, fresh), HasSubstr(kTitle));
  // Told once for each place in the code.
  EXPECT_THAT(messages(CUDA_SUCCESS, "read", 1, fresh), IsEmpty());
  renew();
  const CUdeviceptr again = allocate(64), other = allocate(64);
  ASSERT_EQ(cuMemsetD8(again, 0, 16), CUDA_SUCCESS);
  ASSERT_EQ(cuMemcpyDtoD(other, again, 64), CUDA_SUCCESS);
  EXPECT_THAT(messages(CUDA_SUCCESS, "read", 1, other + 12), IsEmpty());
  EXPECT_THAT(messages(CUDA_SUCCESS, "read", 1, other + 16), HasSubstr(kTitle));
  renew();
  const uint32_t value = 1;
  const CUdeviceptr from_host = allocate(64), from_kernel = allocate(64);
  ASSERT_EQ(cuMemcpyHtoD(from_host, &value, 4), CUDA_SUCCESS);
  EXPECT_THAT(messages(CUDA_SUCCESS, "write", 1, from_kernel), IsEmpty());
  EXPECT_THAT(messages(CUDA_SUCCESS, "read", 1, from_host), IsEmpty());
  EXPECT_THAT(messages(CUDA_SUCCESS, "read", 1, from_kernel), IsEmpty());
  CUdeviceptr managed;
  ASSERT_EQ(cuMemAllocManaged(&managed, 4, CU_MEM_ATTACH_GLOBAL), CUDA_SUCCESS);
  EXPECT_THAT(messages(CUDA_SUCCESS, "read", 1, managed), IsEmpty());
  (void)copy;
}

TEST_F(CheckTest, RacecheckReportsAndTheKernelGoesOn) {
  begin("racecheck,memcheck");
  EXPECT_THAT(messages(CUDA_SUCCESS, "neighbours", 64),
              AllOf(HasSubstr("========= racecheck: race in shared memory, read after write\n"),
                    HasSubstr("shared variable 'words' of 256 bytes")));
}

// In a child, so that its end can be seen. Returns its exit status, or 1000 and a signal.
int in_child(const std::function<void()>& body, std::string* messages = nullptr) {
  int ends[2];
  EXPECT_EQ(pipe(ends), 0);
  const pid_t child = fork();
  if (child == 0) {
    dup2(ends[1], STDERR_FILENO);
    body();
    exit(0);
  }
  close(ends[1]);
  char buffer[4096];
  for (ssize_t got; (got = read(ends[0], buffer, sizeof buffer)) > 0;) {
    if (messages != nullptr) messages->append(buffer, static_cast<size_t>(got));
  }
  close(ends[0]);
  int status = 0;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

TEST_F(CheckTest, TheExitStatusTellsOfFindings) {
  setenv("FARCALL_SOFTGPU_CHECK_EXIT", "77", 1);
  std::string text;
  EXPECT_EQ(in_child(
                [this] {
                  begin("initcheck");
                  launch(own("read"), nullptr, allocate(4));
                  cuCtxSynchronize();
                },
                &text),
            77);
  EXPECT_THAT(text, HasSubstr("========= farcall: 1 finding: 1 by initcheck\n"));
  text.clear();
  EXPECT_EQ(in_child(
                [this] {
                  begin("initcheck");
                  launch(own("read"), nullptr, cell(4));
                  cuCtxSynchronize();
                },
                &text),
            0);
  EXPECT_THAT(text, HasSubstr("========= farcall: 0 findings\n"));
}

TEST_F(CheckTest, LeakcheckListsWhatWasNotFreed) {
  setenv("FARCALL_SOFTGPU_CHECK_EXIT", "9", 1);
  std::string text;
  EXPECT_EQ(in_child(
                [this] {
                  begin("leakcheck");
                  cuMemFree(allocate(100));
                  allocate(12345);
                },
                &text),
            9);
  EXPECT_THAT(text,
              AllOf(HasSubstr("========= leakcheck: 12345 bytes of device memory at 0x"),
                    Not(HasSubstr("100 bytes")), HasSubstr("1 leaks of 12345 bytes together")));
}

TEST_F(CheckTest, AnUnknownCheckerIsAnError) {
  testing::internal::CaptureStderr();
  begin("memcheck,rcecheck");
  EXPECT_THAT(testing::internal::GetCapturedStderr(), HasSubstr("'rcecheck' is none of"));
}

// ---- kernels that do not end ----

using Clock = std::chrono::steady_clock;
double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

TEST_F(CheckTest, AKernelThatRunsTooLongTimesOut) {
  setenv("FARCALL_SOFTGPU_TIMEOUT", "0.1", 1);
  begin();
  EXPECT_THAT(messages(CUDA_ERROR_LAUNCH_TIMEOUT, "spin", 64),
              HasSubstr("CUDA_ERROR_LAUNCH_TIMEOUT: timeout in kernel spin"));
  CUdeviceptr pointer;
  EXPECT_EQ(cuMemAlloc(&pointer, 4), CUDA_ERROR_LAUNCH_TIMEOUT);
  renew();
  EXPECT_EQ(cuMemAlloc(&pointer, 4), CUDA_SUCCESS);
}

// A context ends within 100 ms of the call, whatever its kernels do. A busy machine may keep us
// from the processor for longer than that; so it is enough if one of several tries is quick.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr double kEndSecondsMax = 2;  // everything takes longer
#else
constexpr double kEndSecondsMax = 0.1;
#endif
constexpr int kTries = 40;
bool ends_in_time(const std::function<double()>& seconds) {
  for (int i = 0; i < kTries; ++i) {
    if (seconds() < kEndSecondsMax) return true;
  }
  return false;
}

TEST_F(CheckTest, AContextWithARunningKernelEndsWithinATenthOfASecond) {
  begin();
  for (const unsigned threads : {1u, 1024u}) {
    EXPECT_TRUE(ends_in_time([&] {
      CUcontext other;
      EXPECT_EQ(cuCtxCreate(&other, nullptr, 0, device_), CUDA_SUCCESS);
      EXPECT_EQ(cuModuleLoadData(&loaded_, kPtx), CUDA_SUCCESS);
      EXPECT_EQ(cuLaunchKernel(own("spin"), 8, 1, 1, threads, 1, 1, 0, nullptr, nullptr, nullptr),
                CUDA_SUCCESS);
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
      EXPECT_EQ(cuStreamQuery(nullptr), CUDA_ERROR_NOT_READY);
      const auto start = Clock::now();
      EXPECT_EQ(cuCtxDestroy(other), CUDA_SUCCESS);
      return seconds_since(start);
    })) << threads;
  }
}

// Loose bounds: these machines are busy. What matters is that they end.
TEST_F(CheckTest, AContextEndsAlthoughItsKernelDoesNot) {
  begin();
  ASSERT_EQ(launch(own("spin"), nullptr), CUDA_SUCCESS);
  auto start = Clock::now();
  EXPECT_EQ(cuDevicePrimaryCtxReset(device_), CUDA_SUCCESS);
  EXPECT_LT(seconds_since(start), 5);
  ASSERT_EQ(cuDevicePrimaryCtxRetain(&context_, device_), CUDA_SUCCESS);
  EXPECT_EQ(cuCtxSynchronize(), CUDA_SUCCESS);

  CUcontext other;
  ASSERT_EQ(cuCtxCreate(&other, nullptr, 0, device_), CUDA_SUCCESS);
  ASSERT_EQ(cuModuleLoadData(&loaded_, kPtx), CUDA_SUCCESS);
  const CUstream busy = stream(CU_STREAM_NON_BLOCKING);
  ASSERT_EQ(launch(own("spin"), busy), CUDA_SUCCESS);
  ASSERT_EQ(launch(own("spin"), busy), CUDA_SUCCESS);  // and one that never starts
  CUresult waited = CUDA_SUCCESS;
  std::thread waiting([&] {
    cuCtxSetCurrent(other);
    waited = cuStreamSynchronize(busy);
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  start = Clock::now();
  EXPECT_EQ(cuCtxDestroy(other), CUDA_SUCCESS);
  EXPECT_LT(seconds_since(start), 5);
  waiting.join();
  EXPECT_EQ(waited, CUDA_ERROR_CONTEXT_IS_DESTROYED);
  // The primary context has seen nothing of it.
  ASSERT_EQ(cuCtxSetCurrent(context_), CUDA_SUCCESS);
  EXPECT_EQ(read(cell(8)), 8u);
}

TEST_F(CheckTest, AProcessEndsAlthoughItsKernelDoesNot) {
  const auto start = Clock::now();
  EXPECT_EQ(in_child([this] {
              begin();
              launch(own("spin"), nullptr);
            }),
            0);
  EXPECT_EQ(in_child([this] {
              begin();
              launch(own("spin"), nullptr);
              std::thread([] {
                std::this_thread::sleep_for(std::chrono::milliseconds(50));
                kill(getpid(), SIGTERM);
              }).detach();
              cuCtxSynchronize();
            }),
            1000 + SIGTERM);
  EXPECT_LT(seconds_since(start), 30);
}

// ---- limits ----

TEST_F(CheckTest, TheHeapOfMallocHasALimit) {
  begin();
  const CUdeviceptr out = allocate(8);
  const auto given = [&](uint64_t bytes) {
    uint64_t address = 1;
    EXPECT_EQ(launch(own("heap"), nullptr, bytes, out), CUDA_SUCCESS);
    EXPECT_EQ(cuMemcpyDtoH(&address, out, 8), CUDA_SUCCESS);
    return address != 0;
  };
  ASSERT_EQ(cuCtxSetLimit(CU_LIMIT_MALLOC_HEAP_SIZE, 1 << 20), CUDA_SUCCESS);
  EXPECT_FALSE(given(2 << 20));
  EXPECT_TRUE(given(1 << 19));
  // Now it is in use.
  EXPECT_EQ(cuCtxSetLimit(CU_LIMIT_MALLOC_HEAP_SIZE, 4 << 20), CUDA_ERROR_INVALID_VALUE);
  size_t bytes = 0;
  EXPECT_EQ(cuCtxGetLimit(&bytes, CU_LIMIT_MALLOC_HEAP_SIZE), CUDA_SUCCESS);
  EXPECT_EQ(bytes, size_t{1} << 20);
  // A new context has a new heap; one that the device has no room for gives nothing.
  renew();
  const CUdeviceptr again = allocate(8);
  ASSERT_EQ(cuCtxSetLimit(CU_LIMIT_MALLOC_HEAP_SIZE, size_t{1} << 30), CUDA_SUCCESS);
  uint64_t address = 1;
  ASSERT_EQ(launch(own("heap"), nullptr, uint64_t{16}, again), CUDA_SUCCESS);
  ASSERT_EQ(cuMemcpyDtoH(&address, again, 8), CUDA_SUCCESS);
  EXPECT_EQ(address, 0u);
}

}  // namespace
}  // namespace farcall::softgpu
