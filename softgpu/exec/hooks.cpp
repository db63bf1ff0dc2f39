#include "softgpu/exec/hooks.h"

namespace farcall::softgpu {
namespace {

EngineHooks& the_hooks() {
  static EngineHooks hooks;
  return hooks;
}

}  // namespace

void set_engine_hooks(const EngineHooks& hooks) { the_hooks() = hooks; }
const EngineHooks& engine_hooks() { return the_hooks(); }

}  // namespace farcall::softgpu
