// Fat binaries as a broken build or a hostile plugin would hand them over. The good one is a file
// made by nvcc:
//
//   corrupt_fatbin FATBIN
//
// Each damage must be refused, or be harmless; never a crash, and the good one must load
// afterwards. Prints what named damages give and, for every single byte changed, only that it came
// back.
#include <cuda.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>

const char* name_of(CUresult status) {
  const char* name = nullptr;
  return cuGetErrorName(status, &name) == CUDA_SUCCESS ? name : "?";
}

void require(CUresult status, const char* what) {
  if (status == CUDA_SUCCESS) return;
  std::fprintf(stderr, "%s: %s\n", what, name_of(status));
  std::exit(3);
}

// The size fields inside are all that tells a driver where an image ends: what follows it must be
// readable, since a damaged size may point anywhere up to here.
constexpr size_t kSlack = 64 * 1024;

CUresult try_load(std::string bytes) {
  bytes.append(kSlack, '\0');
  CUmodule module;
  const CUresult status = cuModuleLoadData(&module, bytes.data());
  if (status == CUDA_SUCCESS) {
    CUfunction function;
    const CUresult found = cuModuleGetFunction(&function, module, "touch");
    cuModuleUnload(module);
    return found;
  }
  return status;
}

// The header of a fat binary and of its first entry (fatbinary_section.h and what nvcc writes).
constexpr size_t kVersionAt = 4, kHeaderBytesAt = 6, kEntryAt = 16, kPayloadAt = 80;

std::string with(std::string bytes, size_t at, uint8_t value) {
  bytes.at(at) = static_cast<char>(value);
  return bytes;
}

int main(int argc, char** argv) {
  std::ifstream file(argc > 1 ? argv[1] : "", std::ios::binary);
  const std::string good((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  if (good.size() < kPayloadAt) {
    std::fprintf(stderr, "usage: corrupt_fatbin FATBIN\n");
    return 2;
  }
  CUdevice device;
  CUcontext context;
  require(cuInit(0), "cuInit");
  require(cuDeviceGet(&device, 0), "cuDeviceGet");
  require(cuDevicePrimaryCtxRetain(&context, device), "cuDevicePrimaryCtxRetain");
  require(cuCtxSetCurrent(context), "cuCtxSetCurrent");

  const struct {
    const char* name;
    std::string bytes;
  } damages[] = {
      {"wrong magic", with(good, 0, 0x51)},
      {"wrong version", with(good, kVersionAt, 0x7f)},
      {"header of no size", with(with(good, kHeaderBytesAt, 0), kHeaderBytesAt + 1, 0)},
      {"no entry", good.substr(0, kEntryAt)},
      {"cut in the first entry's header", good.substr(0, kEntryAt + 20)},
      {"payload of zeros",
       good.substr(0, kPayloadAt) + std::string(good.size() - kPayloadAt, '\0')},
      {"all ones", std::string(good.size(), '\xff')},
  };
  bool all_refused = true;
  for (const auto& damage : damages) {
    const CUresult status = try_load(damage.bytes);
    std::printf("%s: %s\n", damage.name, status == CUDA_SUCCESS ? "accepted" : "refused");
    all_refused = all_refused && status != CUDA_SUCCESS;
  }
  for (size_t at = 0; at < kPayloadAt + 64 && at < good.size(); ++at) {
    // Sizes grow by little more than the slack: their upper bytes stay.
    const bool upper_byte_of_a_size =
        (at >= 10 && at < 16) || (at >= kEntryAt + 6 && at < kEntryAt + 8) ||
        (at >= kEntryAt + 10 && at < kEntryAt + 24) || (at >= kEntryAt + 58 && at < kEntryAt + 64);
    if (!upper_byte_of_a_size) try_load(with(good, at, static_cast<uint8_t>(good[at] ^ 0xff)));
  }
  std::printf("single bytes: survived\n");
  const CUresult last = try_load(good);
  std::printf("good: %s\n", name_of(last));
  return all_refused && last == CUDA_SUCCESS ? EXIT_SUCCESS : EXIT_FAILURE;
}
