// What the generated round-trip tests are made of: the real stubs and the real session of this
// process, connected to a small server in a thread of it, which has the real decoders and tables of
// CUDA functions that the tests fill in. So a test sees what a program passes, what arrives at
// CUDA, and what comes back; the worker's own machinery is left out.
//
// A test also replays its last message cut short at every word: the decoders must refuse each
// without touching CUDA.
#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <vector>

#include "client/session.h"
#include "client/stub_args.h"
#include "rpc/handle_table.h"
#include "rpc/opcodes.h"
#include "server/driver_table.h"
#include "server/runtime_table.h"

namespace farcall::codegen_testing {

using rpc::HandleType;
using rpc::Opcode;

enum class Side : uint8_t {
  kClient,
  kServer
};  // where a struct is: handles are ids here, objects there

server::DriverTable& driver();  // set before the call that uses it
server::RuntimeTable& runtime();
rpc::HandleTable& server_handles();
client::Session& session();

// --- Values. `k` tells parameters apart; both sides compute the same
// ----------------------------------------------

constexpr size_t kCount = 3;      // elements of arrays
constexpr size_t kTextRoom = 16;  // of strings that come back
inline const char* const kTextIn = "sample text";
inline const char* const kTextOut = "written";

template <class T>
T sample(unsigned k) {
  if constexpr (std::is_pointer_v<T>) {
    return reinterpret_cast<T>(uintptr_t(0x7000) + 64 * k);
  } else if constexpr (std::is_enum_v<T>) {
    return static_cast<T>(1 + k % 2);
  } else if constexpr (std::is_floating_point_v<T>) {
    return static_cast<T>(k) + T(0.5);
  } else {
    return static_cast<T>(17 + k);
  }
}

std::vector<unsigned char> sample_bytes(size_t count);

// --- Objects. What CUDA calls them on the server, and their ids
// -------------------------------------------------------

template <class T>
T as_handle(uint64_t value) {
  return (T)value;  // NOLINT: some of CUDA's handles are integers
}

constexpr unsigned kObjects =
    24;  // of each type that are always there; enough for a parameter list
constexpr uint64_t object_number(HandleType type, unsigned k) {
  return 0x10000 + 0x1000 * uint64_t(type) + 16 * k;
}
rpc::HandleId id_for(HandleType type, unsigned k);
rpc::HandleId fresh_id_for(HandleType type);  // of a new one; last_object() on the server
uint64_t last_object();                       // the newest of fresh_id_for() and make_object()
uint64_t make_object();

template <class T>
T object(HandleType type, unsigned k) {
  return as_handle<T>(object_number(type, k));
}
template <class T>
T handle(HandleType type, unsigned k) {
  return as_handle<T>(id_for(type, k));
}
// As a struct on that side has it.
template <class T>
T handle_on(Side side, HandleType type, unsigned k) {
  return side == Side::kClient ? handle<T>(type, k) : object<T>(type, k);
}

// --- In the CUDA function that stands in
// ------------------------------------------------------------------------------

bool arrived();         // false: this message was cut or garbled; do nothing
bool nulls();           // pointers that may be NULL are, this time
bool default_stream();  // the call is an alias that names no stream

template <class T>
void same(const char* what, const T& got, const T& wanted) {
  if (!(got == wanted)) ADD_FAILURE() << what << " is not what was passed";
}

// --- A test
// ---------------------------------------------------------------------------------------------------------

class Trial {
 public:
  explicit Trial(Opcode op);
  ~Trial();

  void set_nulls(bool nulls);
  void set_default_stream(bool is_default);
  // Asynchronous calls have been made when this returns; none may have failed.
  void settle();
  int calls() const;  // that arrived so far
  // The last message of this opcode, cut short at every word: must not reach CUDA. And with every
  // word overwritten: may, but must not crash.
  void cut();
};

}  // namespace farcall::codegen_testing
