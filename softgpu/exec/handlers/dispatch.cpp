// Picks the build of the handlers that suits this processor.
#include "softgpu/exec/handlers/handlers.h"

namespace farcall::softgpu {

namespace isa_base {
extern const HandlerTable kTable;
}

const HandlerTable& handlers() { return isa_base::kTable; }

}  // namespace farcall::softgpu
