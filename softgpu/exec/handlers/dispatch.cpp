// Picks the build of the handlers that suits this processor.
#include <cstdlib>
#include <string_view>

#include "base/log.h"
#include "softgpu/exec/handlers/handlers.h"

namespace farcall::softgpu {

#if defined(__x86_64__)

namespace isa_v2 {
extern const HandlerTable kTable;
}
namespace isa_v3 {
extern const HandlerTable kTable;
}
namespace isa_v4 {
extern const HandlerTable kTable;
}

namespace {

bool has_v3() {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
         __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2") &&
         __builtin_cpu_supports("popcnt");
}
bool has_v4() {
  return has_v3() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vl");
}

// FARCALL_SOFTGPU_ISA=v2, v3 or v4 asks for a lesser build than the best, to compare them.
const HandlerTable& choose() {
  __builtin_cpu_init();
  const char* const wanted = std::getenv("FARCALL_SOFTGPU_ISA");
  const std::string_view name = wanted == nullptr ? "" : wanted;
  const HandlerTable* best = has_v4()   ? &isa_v4::kTable
                             : has_v3() ? &isa_v3::kTable
                                        : &isa_v2::kTable;
  if (name == "v2") best = &isa_v2::kTable;
  if (name == "v3" && has_v3()) best = &isa_v3::kTable;
  if (!name.empty() && name != std::string_view(best->name).substr(4)) {
    log::warning("FARCALL_SOFTGPU_ISA={}: not known, or not possible on this processor; using {}",
                 name, best->name);
  }
  return *best;
}

}  // namespace

const HandlerTable& handlers() {
  static const HandlerTable& table = choose();
  return table;
}

#else

namespace isa_base {
extern const HandlerTable kTable;
}
const HandlerTable& handlers() { return isa_base::kTable; }

#endif

}  // namespace farcall::softgpu
