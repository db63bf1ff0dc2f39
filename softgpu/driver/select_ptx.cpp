#include "softgpu/driver/select_ptx.h"

#include <dlfcn.h>
#include <fmt/format.h>

#include "image/fatbin.h"
#include "image/host_file.h"

namespace farcall::softgpu {
namespace {

// A comment to everyone else.
constexpr std::string_view kSeparator = "\n// farcall softgpu: next linked text\n";

std::vector<std::string> split_ptx(std::string_view text) {
  std::vector<std::string> texts;
  for (size_t end; (end = text.find(kSeparator)) != std::string_view::npos;
       text.remove_prefix(end + kSeparator.size())) {
    texts.emplace_back(text.substr(0, end));
  }
  texts.emplace_back(text);
  return texts;
}

// "cubin sm_90, PTX compute_130".
std::string contents(const image::Container& container) {
  std::string list;
  for (const image::Entry& entry : container.entries()) {
    if (!list.empty()) list += ", ";
    if (entry.is_ptx()) {
      list += fmt::format("PTX compute_{}", entry.sm);
    } else if (entry.is_cubin()) {
      list += fmt::format("cubin sm_{}", entry.sm);
    } else {
      list += fmt::format("kind {} sm_{}", entry.kind, entry.sm);
    }
  }
  return list;
}

// " of libcublasLt.so.13" if the image is part of a library or program; else "".
std::string owner(const void* code) {
  Dl_info object;
  if (dladdr(code, &object) == 0 || object.dli_fname == nullptr) return "";
  std::string_view file = object.dli_fname;
  file.remove_prefix(file.rfind('/') + 1);  // npos + 1 is 0
  return fmt::format(" of {}", file);
}

enum class Found { kPtx, kNothing, kDamaged };

Found add_container(image::Bytes bytes, int sm, SelectedPtx* out, std::string* seen) {
  Result<image::Container> container = image::Container::parse(bytes);
  if (!container) return Found::kDamaged;
  const image::Entry* entry = image::choose(*container, {.sm = sm, .ptx_only = true});
  if (entry == nullptr) {
    const std::string list = contents(*container);
    if (!list.empty()) *seen += (seen->empty() ? "" : ", ") + list;
    return Found::kNothing;
  }
  Result<std::vector<std::byte>> text = image::payload(*entry);
  if (!text) return Found::kDamaged;
  out->texts.emplace_back(image::as_text(*text));
  return Found::kPtx;
}

CUresult select(const image::Code& code, const void* pointer, int sm, SelectedPtx* out) {
  std::string seen;
  switch (code.kind) {
    case image::CodeKind::kPtx:
      out->texts = split_ptx(image::as_text(code.images.front()));
      out->plain_text = true;
      return CUDA_SUCCESS;
    case image::CodeKind::kElf:
      seen = "a cubin";
      break;
    case image::CodeKind::kContainer:
    case image::CodeKind::kWrapper:
      // The first image is the linked whole. Only if it has nothing for this device, as with
      // PTX-only -rdc=true, the parts must be linked here.
      for (size_t i = 0; i < code.images.size(); ++i) {
        const Found found = add_container(code.images[i], sm, out, &seen);
        if (found == Found::kDamaged) {
          out->why = "the fat binary is damaged";
          return CUDA_ERROR_INVALID_IMAGE;
        }
        if (i == 0 && found == Found::kPtx) break;
      }
      break;
  }
  if (!out->texts.empty()) return CUDA_SUCCESS;
  out->why = fmt::format(
      "softgpu runs PTX, and the image{} has none for compute capability {}.{} (it has {}); build "
      "with -gencode arch=compute_75,code=compute_75",
      owner(pointer), sm / 10, sm % 10, seen.empty() ? "no code" : seen);
  return CUDA_ERROR_NO_BINARY_FOR_GPU;
}

}  // namespace

CUresult select_ptx(const void* code, int sm, SelectedPtx* out) {
  *out = {};
  Result<image::Code> identified = image::identify(code);
  if (!identified) {
    out->why = "not a fat binary, cubin or PTX text, or a damaged one";
    return CUDA_ERROR_INVALID_IMAGE;
  }
  const CUresult result = select(*identified, code, sm, out);
  if (result != CUDA_SUCCESS) out->texts.clear();
  return result;
}

CUresult select_object_ptx(std::span<const std::byte> file, int sm,
                           std::vector<std::vector<std::string>>* out, std::string* why) {
  out->clear();
  const auto objects = image::host_objects(file);
  if (!objects) {
    *why = "not an object or an archive of objects, or a damaged one";
    return CUDA_ERROR_INVALID_IMAGE;
  }
  std::string seen;
  for (const image::HostObject& object : *objects) {
    SelectedPtx selected;
    for (const auto* containers : {&object.containers, &object.parts}) {
      for (image::Bytes container : *containers) {
        if (add_container(container, sm, &selected, &seen) != Found::kDamaged) continue;
        *why = "a fat binary in it is damaged";
        return CUDA_ERROR_INVALID_IMAGE;
      }
    }
    if (!selected.texts.empty()) out->push_back(std::move(selected.texts));
  }
  if (!out->empty()) return CUDA_SUCCESS;
  *why = fmt::format("it has no PTX for compute capability {}.{} (it has {})", sm / 10, sm % 10,
                     seen.empty() ? "no device code" : seen);
  return CUDA_ERROR_NO_BINARY_FOR_GPU;
}

std::string join_ptx(const std::vector<std::string>& texts) {
  std::string joined;
  for (size_t i = 0; i < texts.size(); ++i) {
    if (i > 0) joined += kSeparator;
    joined += texts[i];
  }
  return joined;
}

}  // namespace farcall::softgpu
