// The process-wide state of the client library, and the moments that C and Linux give us: the first
// call, fork, the end of a thread, the end of the process. All of it is leaked on purpose: a
// program's static destructors, and NVIDIA's runtime, still call us while the process exits.
//
// entry.cpp defines session(), session_if_connected() and thread_state() of session.h.
#pragma once

#include <cstdint>
#include <string>

namespace farcall::client {

// Where a server is expected when FARCALL_SERVER isn't set.
constexpr const char* kDefaultServer = "tcp://127.0.0.1:7117";

}  // namespace farcall::client
