// NVIDIA's own runtime on a minimal driver made of this folder: it starts, checks the driver and
// makes a context. Each test body runs in a process of its own, since the runtime starts once per
// process.
#include <dlfcn.h>
#include <gtest/gtest.h>

#include <cstdlib>

namespace farcall::driverabi {
namespace {

enum : int { kSuccess = 0, kInvalidDevice = 101, kSoftwareValidityNotEstablished = 103 };

class Runtime {
 public:
  // The runtime opens "libcuda.so.1" by name and gets whatever of that name is loaded: ours.
  Runtime() {
    driver_ = dlopen(FARCALL_TEST_MINIMAL_LIBCUDA, RTLD_NOW | RTLD_GLOBAL);
    runtime_ = driver_ != nullptr ? dlopen(FARCALL_TEST_CUDART, RTLD_NOW) : nullptr;
    if (runtime_ == nullptr) {
      std::fprintf(stderr, "%s\n", dlerror());
      std::exit(99);
    }
  }
  template <class... Args>
  int call(const char* name, Args... args) {
    const auto function = reinterpret_cast<int (*)(Args...)>(dlsym(runtime_, name));
    const int result = function(args...);
    std::fprintf(stderr, "%s = %d\n", name, result);
    return result;
  }

 private:
  void* driver_;
  void* runtime_;
};

void expect_or_exit(bool fine, int code) {
  if (!fine) std::_Exit(code);
}

void use_the_runtime() {
  Runtime runtime;
  int count = 0;
  expect_or_exit(runtime.call("cudaGetDeviceCount", &count) == kSuccess && count == 2, 1);
  expect_or_exit(runtime.call("cudaSetDevice", 7) == kInvalidDevice, 2);
  for (int round = 0; round < 3;
       ++round) {  // a reset runs the destructors of what the runtime stored
    expect_or_exit(runtime.call("cudaSetDevice", round % 2) == kSuccess, 3);
    expect_or_exit(runtime.call("cudaFree", static_cast<void*>(nullptr)) == kSuccess, 4);
    expect_or_exit(runtime.call("cudaDeviceReset") == kSuccess, 5);
  }
  void* memory = nullptr;
  expect_or_exit(runtime.call("cudaMalloc", &memory, size_t{16}) != kSuccess, 6);
  std::exit(0);  // the runtime's own finalizers call back into the driver here
}

TEST(Handshake, NvidiasRuntimeAcceptsADriverMadeOfTheseTables) {
  EXPECT_EXIT(use_the_runtime(), testing::ExitedWithCode(0), "");
}

// The control: the check is made, and everything in it counts.
TEST(Handshake, NvidiasRuntimeRefusesADriverThatReportsOtherDevicesThanItDescribes) {
  const auto run = [] {
    setenv("FARCALL_TEST_LYING_DRIVER", "1", 1);
    Runtime runtime;
    int count = 0;
    expect_or_exit(runtime.call("cudaGetDeviceCount", &count) == kSoftwareValidityNotEstablished,
                   1);
    std::exit(0);
  };
  EXPECT_EXIT(run(), testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace farcall::driverabi
