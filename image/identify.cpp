// What a `const void* code` is. A wrapper is made of pointers and thus only ever comes from our own
// process.
#include <algorithm>

#include "image/elf.h"
#include "image/report.h"

namespace farcall::image {
namespace {

constexpr std::string_view kWrapperMagic{"\xb1\x43\x62\x46", 4};
constexpr std::string_view kContainerMagic{"\x50\xed\x55\xba", 4};
constexpr std::string_view kElfMagic{
    "\x7f"
    "ELF",
    4};

struct Wrapper {
  uint32_t magic, version;
  const void* container;
  const void* const* parts;  // version 2 (-rdc=true): what was linked, up to a nullptr
};
static_assert(sizeof(Wrapper) == 24);

// Compares byte by byte and stops at the first difference, so that a PTX text shorter than a magic
// is not overrun.
bool starts_with(const char* code, std::string_view magic) {
  for (size_t i = 0; i < magic.size(); ++i) {
    if (code[i] != magic[i]) return false;
  }
  return true;
}

// A PTX text starts with a directive, a comment or white space.
bool may_start_ptx(char c) {
  return c == '.' || c == '/' || c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

Result<Code> unknown(unsigned char first) {
  return corrupt("device code starts with byte {:#04x}: neither fat binary, cubin nor PTX", first);
}

Result<Code> wrapped(const void* code) {
  Wrapper wrapper;
  std::memcpy(&wrapper, code, sizeof wrapper);
  if (wrapper.version != 1 && wrapper.version != 2) {
    return corrupt("fat binary wrapper: unknown version {}", wrapper.version);
  }
  if (wrapper.container == nullptr) return corrupt("fat binary wrapper: no container");
  Code out{CodeKind::kWrapper, {}};
  const Result<Container> linked = Container::at(wrapper.container);
  if (!linked) return linked.status();
  out.images.push_back(linked->bytes());
  if (wrapper.version == 1 || wrapper.parts == nullptr) return out;
  for (const void* const* part = wrapper.parts; *part != nullptr; ++part) {
    if (out.images.size() == kWrapperImagesMax) {
      return corrupt("fat binary wrapper: more than {} containers", kWrapperImagesMax);
    }
    const Result<Container> container = Container::at(*part);
    if (!container) return container.status();
    out.images.push_back(container->bytes());
  }
  return out;
}

}  // namespace

std::string_view to_string(CodeKind kind) {
  switch (kind) {
    case CodeKind::kWrapper:
      return "fat binary wrapper";
    case CodeKind::kContainer:
      return "fat binary";
    case CodeKind::kElf:
      return "cubin";
    case CodeKind::kPtx:
      return "PTX";
  }
  return "unknown";
}

Result<Code> identify(const void* code) {
  if (code == nullptr) return corrupt("device code is a null pointer");
  const auto* text = static_cast<const char*>(code);
  if (starts_with(text, kWrapperMagic)) return wrapped(code);
  if (starts_with(text, kContainerMagic)) {
    const Result<Container> container = Container::at(code);
    if (!container) return container.status();
    return Code{CodeKind::kContainer, {container->bytes()}};
  }
  if (starts_with(text, kElfMagic)) {
    const Result<Elf> elf = Elf::at(code);
    if (!elf) return elf.status();
    return Code{CodeKind::kElf, {elf->bytes()}};
  }
  if (!may_start_ptx(*text)) return unknown(static_cast<unsigned char>(*text));
  const size_t size = strnlen(text, kImageBytesMax);
  if (size == kImageBytesMax) return corrupt("PTX text: no end within {} bytes", kImageBytesMax);
  return Code{CodeKind::kPtx, {Bytes{static_cast<const std::byte*>(code), size}}};
}

Result<Code> identify(Bytes image) {
  const std::string_view text = as_text(image);
  if (text.starts_with(kContainerMagic)) {
    const Result<Container> container = Container::parse(image);
    if (!container) return container.status();
    return Code{CodeKind::kContainer, {container->bytes()}};
  }
  if (text.starts_with(kElfMagic)) {
    const Result<Elf> elf = Elf::parse(image);
    if (!elf) return elf.status();
    return Code{CodeKind::kElf, {elf->bytes()}};
  }
  if (text.empty()) return corrupt("device code is empty");
  if (!may_start_ptx(text[0])) return unknown(static_cast<unsigned char>(text[0]));
  return Code{CodeKind::kPtx, {image.first(std::min(text.find('\0'), text.size()))}};
}

}  // namespace farcall::image
