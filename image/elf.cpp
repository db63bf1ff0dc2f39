#include "image/elf.h"

#include <elf.h>

#include <algorithm>

#include "image/report.h"

namespace farcall::image {
namespace {

constexpr uint16_t kMachineCuda = 190;
// Shared memory of a part (.nv_debug.shared, with -rdc=true): like SHT_NOBITS it occupies no space
// in the file.
constexpr uint32_t kSectionShared = 0x7000000a;
// The CUDA 13 toolchain marks its ELFs with ABI version 8 and keeps the SM number in bits 8-15 of
// e_flags; before, it was in bits 0-7.
constexpr uint8_t kAbiVersionShiftedSm = 8;
// Template-heavy code has names of several KiB; the limit keeps forged string tables from costing
// quadratic time.
constexpr size_t kNameBytesMax = size_t{1} << 16;

std::string_view name_at(Bytes strings, uint32_t offset) {
  if (offset >= strings.size()) return {};
  const std::string_view rest = as_text(strings.subspan(offset)).substr(0, kNameBytesMax);
  return rest.substr(0, std::min(rest.find('\0'), rest.size()));
}

}  // namespace

Result<Elf> Elf::parse(Bytes bytes) {
  if (bytes.size() < sizeof(Elf64_Ehdr)) {
    return corrupt("cubin: {} bytes are too few for an ELF header", bytes.size());
  }
  const auto header = load<Elf64_Ehdr>(bytes, 0);
  if (std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0) return corrupt("cubin: not an ELF file");
  if (header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_machine != kMachineCuda) {
    return corrupt("cubin: an ELF for machine {} (class {}), not for CUDA", header.e_machine,
                   header.e_ident[EI_CLASS]);
  }
  if (header.e_shnum == 0 || header.e_shentsize != sizeof(Elf64_Shdr)) {
    return corrupt("cubin: {} sections of {} bytes in the section table", header.e_shnum,
                   header.e_shentsize);
  }
  const uint64_t table_bytes = uint64_t{header.e_shnum} * sizeof(Elf64_Shdr);
  const uint64_t program_bytes = uint64_t{header.e_phnum} * header.e_phentsize;
  if (!fits(header.e_shoff, table_bytes, bytes.size())) {
    return corrupt("cubin: section table of {} bytes at {} in an ELF of {}", table_bytes,
                   header.e_shoff, bytes.size());
  }
  if (program_bytes != 0 && !fits(header.e_phoff, program_bytes, bytes.size())) {
    return corrupt("cubin: program table of {} bytes at {} in an ELF of {}", program_bytes,
                   header.e_phoff, bytes.size());
  }

  Elf elf;
  elf.sm_ =
      static_cast<int>((header.e_ident[EI_ABIVERSION] >= kAbiVersionShiftedSm ? header.e_flags >> 8
                                                                              : header.e_flags) &
                       0xff);
  uint64_t end = std::max<uint64_t>(sizeof header, header.e_shoff + table_bytes);
  if (program_bytes != 0) end = std::max(end, header.e_phoff + program_bytes);
  std::vector<uint32_t> names;
  for (uint64_t i = 0; i < header.e_shnum; ++i) {
    const auto raw = load<Elf64_Shdr>(bytes, header.e_shoff + i * sizeof(Elf64_Shdr));
    Section section;
    section.type = raw.sh_type;
    section.link = raw.sh_link;
    section.size = raw.sh_size;
    const bool in_file =
        raw.sh_type != SHT_NULL && raw.sh_type != SHT_NOBITS && raw.sh_type != kSectionShared;
    if (in_file) {
      if (!fits(raw.sh_offset, raw.sh_size, bytes.size())) {
        return corrupt("cubin: section {} of {} bytes at {} in an ELF of {}", i, raw.sh_size,
                       raw.sh_offset, bytes.size());
      }
      section.data = bytes.subspan(raw.sh_offset, raw.sh_size);
      end = std::max(end, raw.sh_offset + raw.sh_size);
    }
    names.push_back(raw.sh_name);
    elf.sections_.push_back(section);
  }
  elf.bytes_ = bytes.first(end);
  if (header.e_shstrndx >= header.e_shnum) {
    return corrupt("cubin: section names in section {} of {}", header.e_shstrndx, header.e_shnum);
  }
  const Bytes strings = elf.sections_[header.e_shstrndx].data;
  for (size_t i = 0; i < names.size(); ++i) elf.sections_[i].name = name_at(strings, names[i]);
  return elf;
}

Result<Elf> Elf::at(const void* pointer) {
  return parse({static_cast<const std::byte*>(pointer), kImageBytesMax});
}

Result<std::vector<Symbol>> Elf::symbols() const {
  std::vector<Symbol> symbols;
  for (const Section& section : sections_) {
    if (section.type != SHT_SYMTAB) continue;
    if (section.link >= sections_.size()) {
      return corrupt("cubin: symbol names in section {} of {}", section.link, sections_.size());
    }
    const Bytes strings = sections_[section.link].data;
    const size_t count = section.data.size() / sizeof(Elf64_Sym);
    symbols.reserve(count);
    for (size_t i = 0; i < count; ++i) {
      const auto raw = load<Elf64_Sym>(section.data, i * sizeof(Elf64_Sym));
      symbols.push_back({.name = name_at(strings, raw.st_name),
                         .type = static_cast<uint8_t>(ELF64_ST_TYPE(raw.st_info)),
                         .other = raw.st_other,
                         .section = raw.st_shndx,
                         .size = raw.st_size});
    }
    break;  // the format has one; record symbol indexes refer to it
  }
  return symbols;
}

}  // namespace farcall::image
