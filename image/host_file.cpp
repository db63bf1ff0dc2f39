#include "image/host_file.h"

#include <elf.h>

#include <charconv>

#include "image/report.h"

namespace farcall::image {
namespace {

constexpr std::string_view kArchiveMagic = "!<arch>\n", kElfMagic = "\177ELF";
constexpr uint32_t kContainerMagic = 0xba55ed50;
// The header of an archive's member: its size in decimal is at 48.
constexpr size_t kMemberHeaderBytes = 60, kMemberSizeAt = 48, kMemberSizeBytes = 10;

// A section is containers, one after the other, each at a multiple of 8.
void add_containers(Bytes section, std::vector<Bytes>& out, size_t* damaged) {
  for (uint64_t at = 0; fits(at, 16, section.size());) {
    if (load<uint32_t>(section, at) != kContainerMagic) {
      at += 8;
      continue;
    }
    const Result<Container> container = Container::parse(section.subspan(at));
    if (!container) {
      ++*damaged;
      at += 8;
      continue;
    }
    out.push_back(container->bytes());
    at += (container->bytes().size() + 7) / 8 * 8;
  }
}

Result<HostObject> read_elf(Bytes file) {
  if (file.size() < sizeof(Elf64_Ehdr)) return corrupt("object: {} bytes are no ELF", file.size());
  const auto header = load<Elf64_Ehdr>(file, 0);
  HostObject object;
  if (header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_shnum == 0) return object;
  const uint64_t table_bytes = uint64_t{header.e_shnum} * sizeof(Elf64_Shdr);
  if (header.e_shentsize != sizeof(Elf64_Shdr) || !fits(header.e_shoff, table_bytes, file.size()) ||
      header.e_shstrndx >= header.e_shnum) {
    return corrupt("object: {} sections at {} in a file of {} bytes", header.e_shnum,
                   header.e_shoff, file.size());
  }
  auto section = [&](uint64_t index) {
    return load<Elf64_Shdr>(file, header.e_shoff + index * sizeof(Elf64_Shdr));
  };
  const Elf64_Shdr names = section(header.e_shstrndx);
  if (!fits(names.sh_offset, names.sh_size, file.size()))
    return corrupt("object: section names at {} in a file of {}", names.sh_offset, file.size());
  const std::string_view strings = as_text(file.subspan(names.sh_offset, names.sh_size));
  for (uint64_t i = 0; i < header.e_shnum; ++i) {
    const Elf64_Shdr each = section(i);
    if (each.sh_type == SHT_NOBITS || each.sh_name >= strings.size()) continue;
    if (!fits(each.sh_offset, each.sh_size, file.size()))
      return corrupt("object: section {} of {} bytes at {} in a file of {}", i, each.sh_size,
                     each.sh_offset, file.size());
    const std::string_view rest = strings.substr(each.sh_name);
    const std::string_view name = rest.substr(0, rest.find('\0'));
    const Bytes data = file.subspan(each.sh_offset, each.sh_size);
    if (name == ".nv_fatbin") add_containers(data, object.containers, &object.damaged);
    if (name == "__nv_relfatbin") add_containers(data, object.parts, &object.damaged);
  }
  return object;
}

}  // namespace

Result<std::vector<HostObject>> host_objects(Bytes file) {
  std::vector<HostObject> objects;
  auto add = [&](Bytes bytes) {
    const Result<HostObject> object = read_elf(bytes);
    if (object && (!object->empty() || object->damaged != 0)) objects.push_back(*object);
    return object.ok();
  };
  if (as_text(file).starts_with(kElfMagic)) {
    if (!add(file)) return Status::kInvalid;
    return objects;
  }
  if (!as_text(file).starts_with(kArchiveMagic)) return Status::kInvalid;
  for (uint64_t at = kArchiveMagic.size(); fits(at, kMemberHeaderBytes, file.size());) {
    const std::string_view digits = as_text(file.subspan(at + kMemberSizeAt, kMemberSizeBytes));
    uint64_t size = 0;
    const auto [end, status] = std::from_chars(digits.data(), digits.data() + digits.size(), size);
    at += kMemberHeaderBytes;
    if (status != std::errc() || !fits(at, size, file.size()))
      return corrupt("archive: a member of {} bytes at {} in a file of {}", size, at, file.size());
    const Bytes member = file.subspan(at, size);
    if (as_text(member).starts_with(kElfMagic) && !add(member)) return Status::kInvalid;
    at += size + (size & 1);
  }
  return objects;
}

}  // namespace farcall::image
