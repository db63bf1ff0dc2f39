#include "cli/elf_dynamic.h"

#include <elf.h>

#include <cstring>
#include <fstream>
#include <iterator>
#include <set>
#include <string_view>
#include <system_error>

namespace farcall::cli {
namespace fs = std::filesystem;
namespace {

// More than any program's file part that matters; a bound for what we read into memory.
constexpr std::streamsize kFileBytesMax = 1024LL * 1024 * 1024;

// The bytes of a file, every access checked.
class Image {
 public:
  explicit Image(std::string bytes) : bytes_(std::move(bytes)) {}

  template <class T>
  std::optional<T> at(uint64_t offset) const {
    if (offset > bytes_.size() || bytes_.size() - offset < sizeof(T)) return std::nullopt;
    T value;
    std::memcpy(&value, bytes_.data() + offset, sizeof(T));
    return value;
  }

  // Up to the terminating zero; nullopt: there is none.
  std::optional<std::string> text(uint64_t offset) const {
    const size_t end = offset < bytes_.size() ? bytes_.find('\0', offset) : std::string::npos;
    if (end == std::string::npos) return std::nullopt;
    return bytes_.substr(offset, end - offset);
  }

 private:
  std::string bytes_;
};

std::optional<Image> read_file(const fs::path& path) {
  std::error_code error;
  if (!fs::is_regular_file(path, error)) return std::nullopt;
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  const std::streamsize bytes = file.tellg();
  if (!file || bytes < 0 || bytes > kFileBytesMax) return std::nullopt;
  std::string content(static_cast<size_t>(bytes), '\0');
  file.seekg(0);
  if (!file.read(content.data(), bytes)) return std::nullopt;
  return Image(std::move(content));
}

std::vector<Elf64_Phdr> program_headers(const Image& image, const Elf64_Ehdr& header) {
  std::vector<Elf64_Phdr> headers;
  for (unsigned i = 0; i < header.e_phnum; ++i) {
    const auto one = image.at<Elf64_Phdr>(header.e_phoff + uint64_t{i} * sizeof(Elf64_Phdr));
    if (!one) break;
    headers.push_back(*one);
  }
  return headers;
}

// Where a virtual address lies in the file.
std::optional<uint64_t> file_offset(const std::vector<Elf64_Phdr>& headers, uint64_t address) {
  for (const Elf64_Phdr& segment : headers) {
    if (segment.p_type == PT_LOAD && address >= segment.p_vaddr &&
        address - segment.p_vaddr < segment.p_filesz) {
      return segment.p_offset + (address - segment.p_vaddr);
    }
  }
  return std::nullopt;
}

std::string replace_all(std::string text, std::string_view what, const std::string& by) {
  for (size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + by.size())) {
    text.replace(at, what.size(), by);
  }
  return text;
}

std::vector<std::string> split_search_path(const std::string& text, const fs::path& file) {
  const std::string origin = fs::absolute(file).parent_path().string();
  std::vector<std::string> folders;
  size_t begin = 0;
  while (begin <= text.size()) {
    const size_t end = std::min(text.find(':', begin), text.size());
    std::string folder = text.substr(begin, end - begin);
    folder = replace_all(replace_all(std::move(folder), "${ORIGIN}", origin), "$ORIGIN", origin);
    if (!folder.empty()) folders.push_back(std::move(folder));
    begin = end + 1;
  }
  return folders;
}

bool is_ours_to_replace(const std::string& library) {
  return library.starts_with("libcudart.so.") || library == "libcuda.so.1";
}

std::optional<fs::path> find_in(const std::vector<std::string>& folders,
                                const std::string& library) {
  for (const std::string& folder : folders) {
    std::error_code ignored;
    if (fs::exists(fs::path(folder) / library, ignored)) return fs::path(folder) / library;
  }
  return std::nullopt;
}

}  // namespace

std::optional<ElfDynamic> read_elf_dynamic(const fs::path& file) {
  const std::optional<Image> image = read_file(file);
  if (!image) return std::nullopt;
  const auto header = image->at<Elf64_Ehdr>(0);
  if (!header || std::memcmp(header->e_ident, ELFMAG, SELFMAG) != 0) return std::nullopt;
  ElfDynamic result;
  result.is_64_bit = header->e_ident[EI_CLASS] == ELFCLASS64;
  if (!result.is_64_bit) return result;
  if (header->e_phentsize != sizeof(Elf64_Phdr)) return std::nullopt;

  const std::vector<Elf64_Phdr> headers = program_headers(*image, *header);
  std::vector<Elf64_Dyn> entries;
  for (const Elf64_Phdr& segment : headers) {
    if (segment.p_type == PT_INTERP) result.has_interpreter = true;
    if (segment.p_type != PT_DYNAMIC) continue;
    for (uint64_t at = 0; at < segment.p_filesz; at += sizeof(Elf64_Dyn)) {
      const auto entry = image->at<Elf64_Dyn>(segment.p_offset + at);
      if (!entry || entry->d_tag == DT_NULL) break;
      entries.push_back(*entry);
    }
  }

  std::optional<uint64_t> strings;
  for (const Elf64_Dyn& entry : entries) {
    if (entry.d_tag == DT_STRTAB) strings = file_offset(headers, entry.d_un.d_ptr);
  }
  if (!strings) return entries.empty() ? std::optional(result) : std::nullopt;
  for (const Elf64_Dyn& entry : entries) {
    if (entry.d_tag != DT_NEEDED && entry.d_tag != DT_RPATH && entry.d_tag != DT_RUNPATH) continue;
    const std::optional<std::string> text = image->text(*strings + entry.d_un.d_val);
    if (!text) return std::nullopt;
    if (entry.d_tag == DT_NEEDED) result.needed.push_back(*text);
    if (entry.d_tag == DT_RPATH) result.rpath = split_search_path(*text, file);
    if (entry.d_tag == DT_RUNPATH) result.runpath = split_search_path(*text, file);
  }
  return result;
}

std::vector<HiddenLibrary> find_hidden_libraries(const fs::path& program) {
  std::vector<HiddenLibrary> hidden;
  std::set<fs::path> seen;
  // A file to look into, and the RPATHs it inherits from those that loaded it.
  struct Visit {
    fs::path file;
    std::vector<std::string> inherited;
    fs::path inherited_from;
  };
  std::vector<Visit> to_visit = {{program, {}, program}};
  while (!to_visit.empty()) {
    const Visit visit = std::move(to_visit.back());
    to_visit.pop_back();
    std::error_code ignored;
    if (!seen.insert(fs::weakly_canonical(visit.file, ignored)).second) continue;
    const std::optional<ElfDynamic> elf = read_elf_dynamic(visit.file);
    if (!elf) continue;
    // The linker's rule: with a DT_RUNPATH neither one's own nor the inherited DT_RPATHs count.
    std::vector<std::string> before, inherited;
    if (elf->runpath.empty()) {
      before = elf->rpath;
      before.insert(before.end(), visit.inherited.begin(), visit.inherited.end());
    }
    inherited = visit.inherited;
    inherited.insert(inherited.begin(), elf->rpath.begin(), elf->rpath.end());
    for (const std::string& library : elf->needed) {
      const std::optional<fs::path> found = find_in(before, library);
      if (is_ours_to_replace(library)) {
        if (found)
          hidden.push_back(
              {library, *found, elf->rpath.empty() ? visit.inherited_from : visit.file});
        continue;
      }
      const std::optional<fs::path> next = found ? found : find_in(elf->runpath, library);
      if (next)
        to_visit.push_back(
            {*next, inherited, elf->rpath.empty() ? visit.inherited_from : visit.file});
    }
  }
  return hidden;
}

}  // namespace farcall::cli
