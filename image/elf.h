// A checked view of a cubin's ELF structure: sections and symbols, names resolved. For this
// folder's own files.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "image/fatbin.h"

namespace farcall::image {

struct Section {
  std::string_view name;
  uint32_t type = 0, link = 0;
  uint64_t size = 0;
  Bytes data;  // empty for sections that occupy no file space
};

struct Symbol {
  std::string_view name;
  uint8_t type = 0, other = 0;
  uint16_t section = 0;
  uint64_t size = 0;
};

class Elf {
 public:
  static Result<Elf> parse(Bytes bytes);
  // From a bare pointer: the extent is what header, tables and sections reach.
  static Result<Elf> at(const void* pointer);

  Bytes bytes() const { return bytes_; }  // exactly the ELF
  int sm() const { return sm_; }
  const std::vector<Section>& sections() const { return sections_; }
  Result<std::vector<Symbol>> symbols() const;

 private:
  Bytes bytes_;
  int sm_ = 0;
  std::vector<Section> sections_;
};

}  // namespace farcall::image
