// What the dynamic linker will read in a program or library: its needed libraries and search paths.
// Files are read, not run, and may be anything.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace farcall::cli {

struct ElfDynamic {
  bool is_64_bit = false;
  bool has_interpreter = false;     // false for libraries, and for programs linked with -static
  std::vector<std::string> needed;  // DT_NEEDED
  std::vector<std::string>
      rpath;  // DT_RPATH: searched before LD_LIBRARY_PATH; split, $ORIGIN expanded
  std::vector<std::string>
      runpath;  // DT_RUNPATH: searched after it; if present, DT_RPATH does not count
};

// nullopt: not an ELF file for this kind of machine, or a broken one.
std::optional<ElfDynamic> read_elf_dynamic(const std::filesystem::path& file);

// A library that programs would find before any LD_LIBRARY_PATH, in place of ours.
struct HiddenLibrary {
  std::string needed;                // "libcudart.so.13"
  std::filesystem::path found;       // what is loaded instead
  std::filesystem::path because_of;  // the file with the RPATH
};

// Follows `program` and the libraries that it finds through search paths of its own.
std::vector<HiddenLibrary> find_hidden_libraries(const std::filesystem::path& program);

}  // namespace farcall::cli
