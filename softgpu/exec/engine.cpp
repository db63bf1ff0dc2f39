// The engine behind softgpu/exec/engine.h. So far it refuses every program; the interpreter follows.
#include "softgpu/exec/engine.h"

namespace farcall::softgpu {
namespace {

class InterpreterEngine final : public Engine {
 public:
  std::unique_ptr<Program> load(std::span<const std::string_view>, LoadError* error) override {
    *error = {LoadError::Kind::kUnsupported, 0, "the interpreter is not part of this build"};
    return nullptr;
  }

  std::optional<Fault> launch(const Launch&) override {
    return Fault{Fault::Kind::kIllegalInstruction, "the interpreter is not part of this build"};
  }
};

}  // namespace

std::unique_ptr<Engine> Engine::create(AddressSpace&, EngineOptions) {
  return std::make_unique<InterpreterEngine>();
}

}  // namespace farcall::softgpu
