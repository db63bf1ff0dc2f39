// The library as programs find it: every driver function is exported and nothing else is.
#include <cuda.h>
#include <dlfcn.h>
#include <gtest/gtest.h>

#include <fstream>
#include <set>
#include <string>

namespace farcall::softgpu {
namespace {

class ExportsTest : public testing::Test {
 protected:
  void* library_ = dlopen(FARCALL_TEST_LIBCUDA, RTLD_NOW | RTLD_LOCAL);
};

TEST_F(ExportsTest, EveryDriverFunctionIsThere) {
  ASSERT_NE(library_, nullptr) << dlerror();
  std::ifstream names(FARCALL_TEST_EXPORTS);
  int count = 0;
  for (std::string name; std::getline(names, name); ++count) {
    EXPECT_NE(dlsym(library_, name.c_str()), nullptr) << name;
  }
  EXPECT_GT(count, 600);
  EXPECT_NE(dlsym(library_, "farcallSoftgpuVersion"), nullptr);
}

TEST_F(ExportsTest, NothingElseIs) {
  // The private parts, the libraries linked in.
  for (const char* name :
       {"_ZN7farcall7softgpu6Driver3getEv", "_ZN7farcall7softgpu3api6cuInitEj"}) {
    EXPECT_EQ(dlsym(library_, name), nullptr) << name;
  }
}

TEST_F(ExportsTest, WhatIsNotSupportedSaysSo) {
  auto init = reinterpret_cast<CUresult (*)(unsigned)>(dlsym(library_, "cuInit"));
  ASSERT_EQ(init(0), CUDA_SUCCESS);
  auto destroy = reinterpret_cast<CUresult (*)(CUexternalSemaphore)>(
      dlsym(library_, "cuDestroyExternalSemaphore"));
  testing::internal::CaptureStderr();
  EXPECT_EQ(destroy(nullptr), CUDA_ERROR_NOT_SUPPORTED);
  EXPECT_EQ(destroy(nullptr), CUDA_ERROR_NOT_SUPPORTED);
  const std::string log = testing::internal::GetCapturedStderr();
  const size_t first = log.find("cuDestroyExternalSemaphore");
  EXPECT_NE(first, std::string::npos);
  EXPECT_EQ(log.find("cuDestroyExternalSemaphore", first + 1), std::string::npos) << log;
}

TEST_F(ExportsTest, ProcAddressesAreTheExports) {
  using GetProcAddress =
      CUresult (*)(const char*, void**, int, cuuint64_t, CUdriverProcAddressQueryResult*);
  auto get = reinterpret_cast<GetProcAddress>(dlsym(library_, "cuGetProcAddress_v2"));
  void* found = nullptr;
  EXPECT_EQ(get("cuMemAlloc", &found, 13000, 0, nullptr), CUDA_SUCCESS);
  EXPECT_EQ(found, dlsym(library_, "cuMemAlloc_v2"));
  EXPECT_EQ(
      get("cuMemcpyAsync", &found, 13000, CU_GET_PROC_ADDRESS_PER_THREAD_DEFAULT_STREAM, nullptr),
      CUDA_SUCCESS);
  EXPECT_EQ(found, dlsym(library_, "cuMemcpyAsync_ptsz"));
  EXPECT_EQ(get("", &found, 0, 0, nullptr), CUDA_ERROR_NOT_FOUND);
}

}  // namespace
}  // namespace farcall::softgpu
