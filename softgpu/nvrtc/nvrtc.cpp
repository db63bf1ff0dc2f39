// libnvrtc.so.13 for softgpu: NVIDIA's, except that what programs fetch as a cubin is PTX. Each
// exported function is a jump to NVIDIA's, whose address is looked up when this library is loaded:
// nothing is known here of arguments, so any version's will do. Without NVIDIA's library every call
// answers an error.
#include <dlfcn.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <string>
#include <string_view>

namespace {

// NVRTC_ERROR_INTERNAL_ERROR.
extern "C" __attribute__((visibility("hidden"))) int farcall_nvrtc_missing() { return 11; }

}  // namespace

#define FORWARD(name)                                               \
  extern "C" {                                                      \
  __attribute__((visibility("hidden"))) void* farcall_slot_##name = \
      reinterpret_cast<void*>(&farcall_nvrtc_missing);              \
  }                                                                 \
  asm(".text\n.globl " #name "\n.type " #name ", @function\n" #name \
      ":\n  endbr64\n  jmp *farcall_slot_" #name "(%rip)\n.size " #name ", . - " #name "\n")

FORWARD(__nvrtcCPEx);
FORWARD(nvrtcAddNameExpression);
FORWARD(nvrtcCompileProgram);
FORWARD(nvrtcCreateProgram);
FORWARD(nvrtcDestroyProgram);
FORWARD(nvrtcGetErrorString);
FORWARD(nvrtcGetLTOIR);
FORWARD(nvrtcGetLTOIRSize);
FORWARD(nvrtcGetLoweredName);
FORWARD(nvrtcGetNumSupportedArchs);
FORWARD(nvrtcGetOptiXIR);
FORWARD(nvrtcGetOptiXIRSize);
FORWARD(nvrtcGetPCHCreateStatus);
FORWARD(nvrtcGetPCHHeapSize);
FORWARD(nvrtcGetPCHHeapSizeRequired);
FORWARD(nvrtcGetPTX);
FORWARD(nvrtcGetPTXSize);
FORWARD(nvrtcGetProgramLog);
FORWARD(nvrtcGetProgramLogSize);
FORWARD(nvrtcGetSupportedArchs);
FORWARD(nvrtcSetFlowCallback);
FORWARD(nvrtcSetPCHHeapSize);
FORWARD(nvrtcVersion);

namespace {

int (*cubin_size)(void* program, size_t* bytes);
int (*ptx_size)(void* program, size_t* bytes);
int (*ptx)(void* program, char* text);

// The same file that this code is in must not be found again.
bool is_this_library(const std::string& path) {
  Dl_info self;
  struct stat ours, theirs;
  return dladdr(reinterpret_cast<void*>(&farcall_nvrtc_missing), &self) != 0 &&
         stat(self.dli_fname, &ours) == 0 && stat(path.c_str(), &theirs) == 0 &&
         ours.st_dev == theirs.st_dev && ours.st_ino == theirs.st_ino;
}

void* open_nvidias() {
  const char* variable = std::getenv("LD_LIBRARY_PATH");
  const std::string folders = std::string(variable != nullptr ? variable : "") +
                              ":/usr/local/cuda/lib64:/usr/lib/x86_64-linux-gnu";
  for (std::string_view rest = folders; !rest.empty();) {
    const std::string_view folder = rest.substr(0, rest.find(':'));
    rest.remove_prefix(std::min(rest.size(), folder.size() + 1));
    const std::string path = std::string(folder) + "/" FARCALL_NVRTC_SONAME;
    if (folder.empty() || access(path.c_str(), R_OK) != 0 || is_this_library(path)) continue;
    // By its path, since a library of this name is loaded already.
    if (void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL)) return library;
  }
  return nullptr;
}

template <class T>
void look_up(void* library, const char* name, T* target) {
  if (void* found = dlsym(library, name)) *target = reinterpret_cast<T>(found);
}

__attribute__((constructor)) void connect() {
  void* library = open_nvidias();
  if (library == nullptr) return;
#define LOOK_UP(name) look_up(library, #name, &farcall_slot_##name)
  LOOK_UP(__nvrtcCPEx);
  LOOK_UP(nvrtcAddNameExpression);
  LOOK_UP(nvrtcCompileProgram);
  LOOK_UP(nvrtcCreateProgram);
  LOOK_UP(nvrtcDestroyProgram);
  LOOK_UP(nvrtcGetErrorString);
  LOOK_UP(nvrtcGetLTOIR);
  LOOK_UP(nvrtcGetLTOIRSize);
  LOOK_UP(nvrtcGetLoweredName);
  LOOK_UP(nvrtcGetNumSupportedArchs);
  LOOK_UP(nvrtcGetOptiXIR);
  LOOK_UP(nvrtcGetOptiXIRSize);
  LOOK_UP(nvrtcGetPCHCreateStatus);
  LOOK_UP(nvrtcGetPCHHeapSize);
  LOOK_UP(nvrtcGetPCHHeapSizeRequired);
  LOOK_UP(nvrtcGetPTX);
  LOOK_UP(nvrtcGetPTXSize);
  LOOK_UP(nvrtcGetProgramLog);
  LOOK_UP(nvrtcGetProgramLogSize);
  LOOK_UP(nvrtcGetSupportedArchs);
  LOOK_UP(nvrtcSetFlowCallback);
  LOOK_UP(nvrtcSetPCHHeapSize);
  LOOK_UP(nvrtcVersion);
  look_up(library, "nvrtcGetCUBINSize", &cubin_size);
  look_up(library, "nvrtcGetPTXSize", &ptx_size);
  look_up(library, "nvrtcGetPTX", &ptx);
}

}  // namespace

extern "C" {

// Zero where NVIDIA's is zero: the program asked for a virtual architecture.
int nvrtcGetCUBINSize(void* program, size_t* bytes) {
  if (cubin_size == nullptr || ptx_size == nullptr) return farcall_nvrtc_missing();
  const int error = cubin_size(program, bytes);
  return error != 0 || *bytes == 0 ? error : ptx_size(program, bytes);
}

int nvrtcGetCUBIN(void* program, char* code) {
  return ptx != nullptr ? ptx(program, code) : farcall_nvrtc_missing();
}

}  // extern "C"
