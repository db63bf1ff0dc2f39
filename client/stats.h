// What FARCALL_STATS=path reports when the program ends: how often it waited for the server,
// exactly, and which calls it made. "-" is stderr; "%p" in a path is the process id.
#pragma once

#include <cstdint>
#include <string>

#include "client/session.h"
#include "rpc/opcodes.h"

namespace farcall::client {

// Where a call was answered: by the server, by an earlier answer, by the client itself.
enum class CallClass : uint8_t { kRemote, kCached, kLocal };

// Empty: nobody asked.
std::string stats_path();

// Counts one call of a function; only while detail::instrumented is set. Any thread.
void count_function(rpc::Opcode op, CallClass call_class) noexcept;

struct StartupStats {
  uint64_t round_trips = 1;  // the hello
  uint64_t ns = 0;           // from the first call to the accepted hello
  std::string server;
};
// One JSON object with a newline; integers only.
std::string stats_json(const rpc::ConnectionStats& connection, const StartupStats& startup);
// Logs why it couldn't.
void write_stats(const std::string& path, const std::string& json);

}  // namespace farcall::client
