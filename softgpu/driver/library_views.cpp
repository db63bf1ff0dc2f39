#include "softgpu/driver/library_views.h"

#include <dlfcn.h>

#include <string_view>

namespace farcall::softgpu {

int sm_seen_by(const void* caller, int sm, const std::vector<LibraryView>& views) {
  Dl_info object;
  if (views.empty() || dladdr(caller, &object) == 0 || object.dli_fname == nullptr) return sm;
  std::string_view file = object.dli_fname;
  file.remove_prefix(file.rfind('/') + 1);  // npos + 1 is 0
  const std::string_view name = file.substr(0, file.find(".so"));
  for (const LibraryView& view : views) {
    if (view.library == name) return view.sm;
  }
  return sm;
}

}  // namespace farcall::softgpu
