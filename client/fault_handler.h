// SIGSEGV, shared with the program. Our handler is installed when the first page is about to be
// closed, and again whenever another one has taken its place since; a fault that isn't ours goes to
// the handler that the program has, or had before us, as if we weren't there. The handler runs on
// the thread's own stack, since answering a fault may mean a round trip to the server.
#pragma once

#include <cstdint>

namespace farcall::client {

// `address` was touched; true: the program may go on. `write`: it is known to be a write.
using FaultAnswer = bool (*)(uint64_t address, bool write);

// Call it before pages are closed; `answer` is the same every time.
void handle_faults(FaultAnswer answer);

}  // namespace farcall::client
