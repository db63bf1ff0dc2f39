// Picks the build of the handlers that suits this processor.
#include <cstdlib>
#include <string_view>

#include "base/log.h"
#include "softgpu/exec/handlers/handlers.h"

namespace farcall::softgpu {

#if defined(__x86_64__)

// FARCALL_SOFTGPU_ISA_BUILDS(X): X(v2) X(v3) ..., what engine.cmake builds, worst first.
#define FARCALL_DECLARE_BUILD(isa)    \
  namespace isa_##isa {               \
    extern const HandlerTable kTable; \
  }
FARCALL_SOFTGPU_ISA_BUILDS(FARCALL_DECLARE_BUILD)

namespace {

[[maybe_unused]] bool runs_v2() {
  return __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("popcnt");
}
[[maybe_unused]] bool runs_v3() {
  return runs_v2() && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
         __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2");
}
[[maybe_unused]] bool runs_v4() {
  return runs_v3() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vl");
}

struct Build {
  std::string_view name;
  bool (*runs)();
  const HandlerTable* table;
};
#define FARCALL_LIST_BUILD(isa) {#isa, runs_##isa, &isa_##isa::kTable},
constexpr Build kBuilds[] = {FARCALL_SOFTGPU_ISA_BUILDS(FARCALL_LIST_BUILD)};

// FARCALL_SOFTGPU_ISA=v2, v3 or v4 asks for a lesser build than the best, to compare them.
const HandlerTable& choose() {
  __builtin_cpu_init();
  const char* const wanted = std::getenv("FARCALL_SOFTGPU_ISA");
  const std::string_view name = wanted == nullptr ? "" : wanted;
  const Build* best = &kBuilds[0];
  for (const Build& build : kBuilds) {
    if (!build.runs()) continue;
    best = &build;
    if (build.name == name) break;
  }
  if (!name.empty() && name != best->name) {
    log::warning(
        "FARCALL_SOFTGPU_ISA={}: not known, not built or not possible on this processor; using {}",
        name, best->name);
  }
  return *best->table;
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
