// Objects and archives with PTX in them, made by hand for tests: what nvcc and ar would make, but
// without either.
#pragma once

#include <elf.h>

#include <cstring>
#include <string>
#include <string_view>
#include <vector>

namespace farcall::image {

// A container with one PTX text, not compressed.
inline std::string container_of(std::string_view ptx, uint32_t sm = 75) {
  std::string payload(ptx);
  payload.resize((payload.size() + 8) / 8 * 8);
  auto word = [](auto value) {
    return std::string(reinterpret_cast<const char*>(&value), sizeof value);
  };
  const std::string entry = word(uint16_t{1}) + word(uint16_t{0x101}) + word(uint32_t{64}) +
                            word(uint64_t{payload.size()}) + word(uint32_t{0}) + word(uint32_t{0}) +
                            word(uint16_t{0}) + word(uint16_t{8}) + word(sm) + word(uint32_t{0}) +
                            word(uint32_t{0}) + word(uint64_t{0}) + word(uint64_t{0}) +
                            word(uint64_t{0}) + payload;
  return word(uint32_t{0xba55ed50}) + word(uint16_t{1}) + word(uint16_t{16}) +
         word(uint64_t{entry.size()}) + entry;
}

// An ELF object whose section of that name holds the containers, one after the other.
inline std::string object_of(const std::string& section,
                             const std::vector<std::string>& containers) {
  std::string contents;
  for (const std::string& each : containers) {
    contents += each;
    contents.resize((contents.size() + 7) / 8 * 8);
  }
  const std::string names = std::string("\0.shstrtab\0", 11) + section + '\0';
  Elf64_Ehdr header{};
  std::memcpy(header.e_ident, ELFMAG, SELFMAG);
  header.e_ident[EI_CLASS] = ELFCLASS64;
  header.e_machine = EM_X86_64;
  header.e_shentsize = sizeof(Elf64_Shdr);
  header.e_shnum = 3;
  header.e_shstrndx = 2;
  header.e_shoff = sizeof header + contents.size() + names.size();
  Elf64_Shdr sections[3] = {};
  sections[1].sh_name = 11;
  sections[1].sh_type = SHT_PROGBITS;
  sections[1].sh_offset = sizeof header;
  sections[1].sh_size = contents.size();
  sections[2].sh_name = 1;
  sections[2].sh_type = SHT_STRTAB;
  sections[2].sh_offset = sizeof header + contents.size();
  sections[2].sh_size = names.size();
  return std::string(reinterpret_cast<const char*>(&header), sizeof header) + contents + names +
         std::string(reinterpret_cast<const char*>(sections), sizeof sections);
}

inline std::string archive_of(const std::vector<std::string>& members) {
  std::string archive = "!<arch>\n";
  for (const std::string& member : members) {
    std::string size = std::to_string(member.size());
    size.resize(10, ' ');
    std::string name = "member.o/";
    name.resize(48, ' ');
    archive += name + size + "`\n" + member;
    if (member.size() % 2 != 0) archive += '\n';
  }
  return archive;
}

}  // namespace farcall::image
