// What must be known of a module without a GPU: how many bytes cuLaunchKernel's `void** params`
// point to, and which variables there are. From a cubin: symbol table and .nv.info records. From
// PTX: a scan of the headers of kernels and variables that skips bodies by their braces; it is not
// a parser and does not judge the code.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "image/fatbin.h"

namespace farcall::image {

// The hardware's limits are 4 KiB and, from PTX 8.1 and sm_70 on, 32764 bytes; anything larger is a
// forgery.
constexpr uint32_t kParamBytesMax = 32768;
constexpr size_t kParamsMax = 8192;
constexpr size_t kKernelsMax = size_t{1} << 20;

struct Param {
  uint32_t offset = 0, size = 0;  // bytes in the parameter block
  bool operator==(const Param&) const = default;
};

struct Kernel {
  std::string name;
  bool params_known = false;  // a cubin stripped of .nv.info lacks them: ask cuFuncGetParamInfo
  std::vector<Param> params;  // in order of declaration
  uint32_t param_bytes = 0;   // up to the end of the last parameter
  // Attributes, as far as the image tells; 0 is "not told" (PTX knows only what directives say).
  uint32_t registers = 0;
  uint32_t local_bytes = 0;          // per thread: the frame size
  uint32_t static_shared_bytes = 0;  // per block
  uint32_t max_threads = 0;          // .maxntid / .reqntid, __launch_bounds__
  uint32_t param_base = 0;           // where parameters start in constant bank 0
};

struct Variable {
  std::string name;
  uint64_t size = 0;  // 0: an extern array of unknown size
  bool constant = false;
  bool managed = false;
  bool external = false;  // PTX .extern: defined in another module
};

struct Module {
  enum class Source : uint8_t { kCubin, kPtx };
  Source source = Source::kCubin;
  int sm = 0;
  std::map<std::string, Kernel, std::less<>> kernels;
  std::map<std::string, Variable, std::less<>> variables;

  const Kernel* kernel(std::string_view name) const;      // nullptr: none
  const Variable* variable(std::string_view name) const;  // nullptr: none
};

Result<Module> read_cubin(Bytes elf);
Result<Module> read_ptx(std::string_view text);
// Decompresses and reads; kUnsupported for kinds that cannot be read (LTO IR).
Result<Module> read_entry(const Entry& entry);

}  // namespace farcall::image
