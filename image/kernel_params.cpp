#include "image/kernel_params.h"

#include "image/report.h"

namespace farcall::image {

const Kernel* Module::kernel(std::string_view name) const {
  const auto found = kernels.find(name);
  return found == kernels.end() ? nullptr : &found->second;
}

const Variable* Module::variable(std::string_view name) const {
  const auto found = variables.find(name);
  return found == variables.end() ? nullptr : &found->second;
}

Result<Module> read_entry(const Entry& entry) {
  if (!entry.is_ptx() && !entry.is_cubin()) {
    log::info("fat binary: an entry of kind {} for sm_{} cannot be read here", entry.kind,
              entry.sm);
    return Status::kUnsupported;
  }
  const Result<std::vector<std::byte>> content = payload(entry);
  if (!content) return content.status();
  return entry.is_ptx() ? read_ptx(as_text(*content)) : read_cubin(*content);
}

}  // namespace farcall::image
