// The generated table against what a runtime was seen to ask for and get, and against the toolkit's
// stub libcuda. A stand-in for every export (exports_stub.cpp, generated) lets the table link
// without any libcuda.
#include "driverabi/proc_address.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <memory>
#include <set>
#include <string>
#include <tuple>
#include <vector>

namespace farcall::driverabi {
namespace {

constexpr auto kDefault = CU_GET_PROC_ADDRESS_DEFAULT;
constexpr auto kLegacy = CU_GET_PROC_ADDRESS_LEGACY_STREAM;
constexpr auto kPerThread = CU_GET_PROC_ADDRESS_PER_THREAD_DEFAULT_STREAM;

// The export a query leads to, or "" if it leads nowhere.
std::string resolve(const char* symbol, int version, cuuint64_t flags = kDefault) {
  void* pointer = nullptr;
  if (get_proc_address(proc_table(), symbol, &pointer, version, flags, nullptr) != CUDA_SUCCESS)
    return "";
  for (const ProcEntry& row : proc_table()) {
    if (row.pointer == pointer) return row.export_name;
  }
  return "a pointer that is not in the table";
}

TEST(ProcAddress, TableIsSortedAndHasOneRowAndOneAddressPerExport) {
  std::set<std::string> names;
  std::set<void*> pointers;
  const auto key = [](const ProcEntry& row) {
    return std::tuple(std::string(row.symbol), row.per_thread, row.version);
  };
  for (const ProcEntry& row : proc_table()) {
    EXPECT_TRUE(names.insert(row.export_name).second) << row.export_name;
    EXPECT_TRUE(row.pointer != nullptr && pointers.insert(row.pointer).second) << row.export_name;
  }
  EXPECT_TRUE(std::is_sorted(proc_table().begin(), proc_table().end(),
                             [&](const auto& a, const auto& b) { return key(a) < key(b); }));
}

// Rows of what CUDA 13.0's runtime asks at start; each version answers for itself, so newer
// toolkits agree.
TEST(ProcAddress, AnswersLikeNvidiasDriver) {
  EXPECT_EQ(resolve("cuInit", 2000), "cuInit");
  EXPECT_EQ(resolve("cuGetProcAddress", 11030), "cuGetProcAddress");
  EXPECT_EQ(resolve("cuGetProcAddress", 12000), "cuGetProcAddress_v2");
  EXPECT_EQ(resolve("cuDeviceTotalMem", 3020), "cuDeviceTotalMem_v2");
  EXPECT_EQ(resolve("cuDeviceGetUuid", 9020), "cuDeviceGetUuid");
  EXPECT_EQ(resolve("cuDevicePrimaryCtxRelease", 7000), "cuDevicePrimaryCtxRelease");
  EXPECT_EQ(resolve("cuDevicePrimaryCtxSetFlags", 11000), "cuDevicePrimaryCtxSetFlags_v2");
  EXPECT_EQ(resolve("cuMemcpy", 4000), "cuMemcpy");
  EXPECT_EQ(resolve("cuMemcpy", 7000, kPerThread), "cuMemcpy_ptds");
  EXPECT_EQ(resolve("cuMemcpyHtoDAsync", 3020), "cuMemcpyHtoDAsync_v2");
  EXPECT_EQ(resolve("cuMemcpyHtoDAsync", 7000, kPerThread), "cuMemcpyHtoDAsync_v2_ptsz");
  EXPECT_EQ(resolve("cuLaunchKernel", 4000), "cuLaunchKernel");
  EXPECT_EQ(resolve("cuLaunchKernel", 7000, kPerThread), "cuLaunchKernel_ptsz");
  EXPECT_EQ(resolve("cuStreamDestroy", 4000), "cuStreamDestroy_v2");
  EXPECT_EQ(resolve("cuStreamBeginCapture", 10000), "cuStreamBeginCapture");
  EXPECT_EQ(resolve("cuStreamBeginCapture", 10010, kPerThread), "cuStreamBeginCapture_v2_ptsz");
  EXPECT_EQ(resolve("cuStreamGetCaptureInfo", 12030), "cuStreamGetCaptureInfo_v3");
  EXPECT_EQ(resolve("cuGraphInstantiate", 10000), "cuGraphInstantiate");
  EXPECT_EQ(resolve("cuGraphInstantiate", 11000), "cuGraphInstantiate_v2");
  EXPECT_EQ(resolve("cuIpcOpenMemHandle", 11000), "cuIpcOpenMemHandle_v2");
  EXPECT_EQ(resolve("cuProfilerStart", 4000), "cuProfilerStart");
}

TEST(ProcAddress, TakesTheNewestAbiThatIsNotTooNew) {
  EXPECT_EQ(resolve("cuMemAlloc", 3010), "cuMemAlloc");
  EXPECT_EQ(resolve("cuMemAlloc", 3020), "cuMemAlloc_v2");
  EXPECT_EQ(resolve("cuMemAlloc", 12080), "cuMemAlloc_v2");
}

TEST(ProcAddress, PerThreadFallsBackToThePlainExport) {
  EXPECT_EQ(resolve("cuMemAlloc", 12000, kPerThread), "cuMemAlloc_v2");
  EXPECT_EQ(resolve("cuLaunchKernel", 6050, kPerThread), "cuLaunchKernel");
  EXPECT_EQ(resolve("cuLaunchKernel", 12000, kLegacy), "cuLaunchKernel");
}

TEST(ProcAddress, SaysWhyThereIsNothing) {
  void* pointer = &pointer;
  CUdriverProcAddressQueryResult status;
  EXPECT_EQ(get_proc_address(proc_table(), "", &pointer, 0, kDefault, nullptr),
            CUDA_ERROR_NOT_FOUND);
  EXPECT_EQ(pointer, nullptr);
  EXPECT_EQ(get_proc_address(proc_table(), "cuNoSuch", &pointer, 13000, kDefault, nullptr),
            CUDA_ERROR_NOT_FOUND);
  EXPECT_EQ(get_proc_address(proc_table(), "cuNoSuch", &pointer, 13000, kDefault, &status),
            CUDA_SUCCESS);
  EXPECT_EQ(status, CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND);
  EXPECT_EQ(get_proc_address(proc_table(), "cuLaunchKernel", &pointer, 3020, kDefault, &status),
            CUDA_SUCCESS);
  EXPECT_EQ(status, CU_GET_PROC_ADDRESS_VERSION_NOT_SUFFICIENT);
  EXPECT_EQ(pointer, nullptr);
  EXPECT_EQ(get_proc_address(proc_table(), "cuLaunchKernel", &pointer, 4000, kDefault, &status),
            CUDA_SUCCESS);
  EXPECT_EQ(status, CU_GET_PROC_ADDRESS_SUCCESS);
  EXPECT_NE(pointer, nullptr);
}

TEST(ProcAddress, RefusesBadArguments) {
  void* pointer;
  EXPECT_EQ(get_proc_address(proc_table(), nullptr, &pointer, 13000, kDefault, nullptr),
            CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(get_proc_address(proc_table(), "cuInit", nullptr, 13000, kDefault, nullptr),
            CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(get_proc_address(proc_table(), "cuInit", &pointer, 13000, 4, nullptr),
            CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(get_proc_address(proc_table(), "cuInit", &pointer, 13010, kDefault, nullptr, 13000),
            CUDA_ERROR_INVALID_VALUE);
}

std::vector<std::string> exports_txt() {
  std::ifstream file(FARCALL_TEST_EXPORTS);
  std::vector<std::string> names;
  for (std::string line; std::getline(file, line);) names.push_back(line);
  return names;
}

TEST(Exports, AreTheRowsOfTheTable) {
  std::set<std::string> rows;
  for (const ProcEntry& row : proc_table()) rows.insert(row.export_name);
  const std::vector<std::string> names = exports_txt();
  EXPECT_EQ(std::set<std::string>(names.begin(), names.end()), rows);
  EXPECT_TRUE(std::is_sorted(names.begin(), names.end()));
}

// The toolkit's stub is the authority; the wheels lack it, so the headers are the source.
TEST(Exports, AreThoseOfTheToolkitsStub) {
  const std::unique_ptr<FILE, int (*)(FILE*)> pipe(
      popen("nm -D --defined-only " FARCALL_TEST_STUB_LIBCUDA " 2>/dev/null", "r"), pclose);
  std::set<std::string> stub;
  std::array<char, 512> line;
  char name[256];
  while (fgets(line.data(), line.size(), pipe.get()) != nullptr) {
    if (sscanf(line.data(), "%*s %*s %255s", name) == 1 && strncmp(name, "cu", 2) == 0)
      stub.insert(name);
  }
  if (stub.empty()) GTEST_SKIP() << "this toolkit has no " FARCALL_TEST_STUB_LIBCUDA;
  const std::vector<std::string> names = exports_txt();
  EXPECT_EQ(std::set<std::string>(names.begin(), names.end()), stub);
}

}  // namespace
}  // namespace farcall::driverabi
