#include "cli/devices.h"

#include <cuda.h>
#include <dlfcn.h>
#include <fmt/format.h>

#include <cstdio>
#include <cstdlib>

namespace farcall::cli {
namespace {

// The few functions of a driver that a listing needs, by dlsym: this program is not linked to any
// driver.
struct Driver {
  decltype(&::cuInit) init;
  decltype(&::cuDriverGetVersion) version;
  decltype(&::cuGetErrorName) error_name;
  decltype(&::cuDeviceGetCount) count;
  decltype(&::cuDeviceGetName) name;
  decltype(&::cuDeviceTotalMem_v2) total_memory;
  decltype(&::cuDeviceGetAttribute) attribute;
  decltype(&::cuDeviceGetPCIBusId) bus_id;

  bool load(void* library) {
    return find(library, "cuInit", &init) && find(library, "cuDriverGetVersion", &version) &&
           find(library, "cuGetErrorName", &error_name) &&
           find(library, "cuDeviceGetCount", &count) && find(library, "cuDeviceGetName", &name) &&
           find(library, "cuDeviceTotalMem_v2", &total_memory) &&
           find(library, "cuDeviceGetAttribute", &attribute) &&
           find(library, "cuDeviceGetPCIBusId", &bus_id);
  }

  // Success or not; a failure is printed.
  bool check(CUresult result, const char* call) const {
    if (result == CUDA_SUCCESS) return true;
    const char* text = nullptr;
    error_name(result, &text);
    fmt::print(stderr, "farcall: {}: {}\n", call,
               text != nullptr ? text : fmt::format("error {}", int{result}));
    return false;
  }

 private:
  template <class Function>
  static bool find(void* library, const char* name, Function* function) {
    *function = reinterpret_cast<Function>(::dlsym(library, name));
    if (*function == nullptr) fmt::print(stderr, "farcall: the library has no {}\n", name);
    return *function != nullptr;
  }
};

bool list_one(const Driver& driver, CUdevice device) {
  char name[256] = "", bus_id[32] = "";
  size_t bytes = 0;
  int major = 0, minor = 0, multiprocessors = 0;
  if (!driver.check(driver.name(name, sizeof(name), device), "cuDeviceGetName") ||
      !driver.check(driver.total_memory(&bytes, device), "cuDeviceTotalMem") ||
      !driver.check(driver.attribute(&major, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, device),
                    "cuDeviceGetAttribute") ||
      !driver.check(driver.attribute(&minor, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, device),
                    "cuDeviceGetAttribute") ||
      !driver.check(
          driver.attribute(&multiprocessors, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT, device),
          "cuDeviceGetAttribute") ||
      !driver.check(driver.bus_id(bus_id, sizeof(bus_id), device), "cuDeviceGetPCIBusId")) {
    return false;
  }
  fmt::print("{:3}  {:<32}  {}.{}  {:8.1f} GiB  {:4} multiprocessors  {}\n", device, name, major,
             minor, static_cast<double>(bytes) / (1 << 30), multiprocessors, bus_id);
  return true;
}

}  // namespace

int list_devices(const std::filesystem::path& folder, const std::string& where) {
  // Never closed: what CUDA does at exit may still run in it.
  void* library = ::dlopen((folder / "libcuda.so.1").c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    fmt::print(stderr, "farcall: {}\n", ::dlerror());
    return EXIT_FAILURE;
  }
  Driver driver;
  int count = 0, version = 0;
  if (!driver.load(library) || !driver.check(driver.init(0), "cuInit") ||
      !driver.check(driver.version(&version), "cuDriverGetVersion") ||
      !driver.check(driver.count(&count), "cuDeviceGetCount")) {
    return EXIT_FAILURE;
  }
  fmt::print("{}: CUDA {}.{}, {} {}\n", where, version / 1000, version % 1000 / 10, count,
             count == 1 ? "device" : "devices");
  for (int device = 0; device < count; ++device) {
    if (!list_one(driver, device)) return EXIT_FAILURE;
  }
  return EXIT_SUCCESS;
}

}  // namespace farcall::cli
