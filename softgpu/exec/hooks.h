// What device code asks of whoever drives the engine, beside memory: set once, before the first
// launch, for all engines of the process.
#pragma once

#include <cstdint>

namespace farcall::softgpu {

struct EngineHooks {
  // cudaGraphSetConditional(); false: there is no such condition.
  bool (*set_condition)(uint64_t handle, uint32_t value) = nullptr;
};

void set_engine_hooks(const EngineHooks& hooks);
const EngineHooks& engine_hooks();

}  // namespace farcall::softgpu
