// For programs of the driver API that show what calls do: each prints the call's name and result,
// which must be the same locally and remotely.
#pragma once

#include <cuda.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

inline const char* name_of(CUresult result) {
  const char* name = nullptr;
  return cuGetErrorName(result, &name) == CUDA_SUCCESS ? name : "?";
}

// "cuCtxGetId: CUDA_SUCCESS", from the text of the call.
inline CUresult show(const char* call, CUresult result) {
  std::printf("%.*s: %s\n", int(std::strcspn(call, "(")), call, name_of(result));
  std::fflush(stdout);
  return result;
}
#define SHOW(call) show(#call, call)

// Ends the program unless the call succeeds: what a scenario needs, rather than what it is about.
inline void need(const char* call, CUresult result) {
  if (result == CUDA_SUCCESS) return;
  std::fprintf(stderr, "%s: %s\n", call, name_of(result));
  std::exit(3);
}
#define NEED(call) need(#call, call)

inline void print(const char* what, const std::vector<int>& values) {
  std::printf("%s:", what);
  for (const int value : values) std::printf(" %d", value);
  std::printf("\n");
}

inline std::vector<int> counting(size_t count, int first = 0) {
  std::vector<int> values(count);
  for (size_t i = 0; i < count; ++i) values[i] = first + int(i);
  return values;
}

// Device memory of so many ints.
class Ints {
 public:
  explicit Ints(size_t count) : count_(count) { NEED(cuMemAlloc(&at_, count * sizeof(int))); }
  Ints(const Ints&) = delete;
  Ints& operator=(const Ints&) = delete;
  ~Ints() { (void)cuMemFree(at_); }
  void set(const std::vector<int>& values) {
    NEED(cuMemcpyHtoD(at_, values.data(), values.size() * sizeof(int)));
  }
  std::vector<int> get() const {
    std::vector<int> values(count_);
    NEED(cuMemcpyDtoH(values.data(), at_, count_ * sizeof(int)));
    return values;
  }
  CUdeviceptr at(size_t index = 0) const { return at_ + index * sizeof(int); }

 private:
  size_t count_;
  CUdeviceptr at_ = 0;
};

struct Scenario {
  const char* name;
  void (*run)();
};

// Runs the one that the command line names, in the first device's primary context.
template <size_t N>
int run_scenario(int argc, char** argv, const Scenario (&scenarios)[N]) {
  CUdevice device = 0;
  CUcontext context = nullptr;
  NEED(cuInit(0));
  NEED(cuDeviceGet(&device, 0));
  NEED(cuDevicePrimaryCtxRetain(&context, device));
  NEED(cuCtxSetCurrent(context));
  for (const Scenario& scenario : scenarios) {
    if (argc != 2 || std::string_view(argv[1]) != scenario.name) continue;
    scenario.run();
    return 0;
  }
  std::fprintf(stderr, "usage: %s SCENARIO\n", argv[0]);
  return 2;
}
