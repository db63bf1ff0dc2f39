// The first exchange of a session (wire.h: Preamble, session.capnp: Hello and HelloReply). The
// client says hello and waits; the daemon reads the hello, and either refuses in a sentence that a
// person can act on, or passes the connection and the hello's words to a worker, which accepts.
//
// Exactly the bytes of the exchange are read from the channel, so it can change hands, and process,
// in between. The client sends nothing more before it has the reply.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/status.h"
#include "rpc/message.h"
#include "rpc/schema/session.capnp.h"
#include "rpc/wire.h"
#include "transport/channel.h"

namespace farcall::rpc {

// The release of this build, "0.1.0".
std::string_view farcall_version();

// A Hello or a HelloReply that has arrived whole, as bytes that can be passed on.
class HelloMessage {
 public:
  explicit HelloMessage(kj::Array<capnp::word> words) : words_(std::move(words)) {}

  std::span<const capnp::word> words() const { return view_words(words_); }

 private:
  kj::Array<capnp::word> words_;
};

// Receives one side's preamble and message. poll() never waits, so an event loop can drive it.
class HelloReceiver {
 public:
  enum class From : uint8_t { kClient, kServer };
  explicit HelloReceiver(From from) : from_(from) {}

  // kOk: done, take() it. kBusy: more must arrive. kProtocol and kDisconnected: over; problem()
  // says why. After kProtocol with peer_protocol_version() != 0, the peer is a Farcall of another
  // version: refuse() still reaches it.
  Status poll(transport::Channel& channel);
  // The same, waiting until the deadline: also kTimeout.
  Status receive(transport::Channel& channel, Deadline deadline);

  HelloMessage take() { return HelloMessage(std::move(words_)); }
  const std::string& problem() const { return problem_; }
  uint32_t peer_protocol_version() const { return peer_protocol_version_; }

 private:
  template <class Receive>
  Status advance(Receive&& receive);
  Status check_preamble();

  From from_;
  Preamble preamble_ = {};
  size_t received_ = 0;  // bytes of preamble and message
  bool preamble_checked_ = false;
  kj::Array<capnp::word> words_;
  std::string problem_;
  uint32_t peer_protocol_version_ = 0;
};

// --- Client

// Fields that are left alone say what this build is.
using FillHello = std::function<void(schema::Hello::Builder)>;

// The server's Accepted, or why there is none.
class HelloAnswer {
 public:
  // Logged by nobody: a sentence for the log, naming both versions where they matter; empty if
  // accepted.
  std::string problem;
  // The CUresult that calls return when there is a problem.
  int result = 0;

  bool accepted() const { return decoder_ != nullptr; }
  schema::Accepted::Reader reader();  // valid while this lives; may throw kj::Exception

 private:
  friend HelloAnswer say_hello(transport::Channel&, const FillHello&, Deadline);
  std::unique_ptr<HelloMessage> message_;
  std::unique_ptr<MessageDecoder> decoder_;
};

HelloAnswer say_hello(transport::Channel& channel, const FillHello& fill, Deadline deadline);

// --- Server

// What a daemon or worker wants to know of a hello before it looks at policies; untrusted text is
// cut to length and cleaned of control characters, for logs.
struct ClientFacts {
  std::string farcall_version;
  uint32_t cuda_version = 0;
  uint32_t runtime_version = 0;
  uint32_t opcode_count = 0;
  std::string program, host_name;
  uint32_t pid = 0;
  uint32_t payload_bytes_max = 0;
  std::vector<std::byte> token;
  // Whole or not at all: a list that was cut would name other devices.
  std::optional<std::string> visible_devices, device_order;
};
// kProtocol, logged, when the words aren't a Hello.
Result<ClientFacts> read_hello(std::span<const capnp::word> words);

struct Refusal {
  std::string reason;         // a sentence
  int status = 0;             // CUresult of the client's calls
  uint32_t cuda_version = 0;  // of the server's driver, if known
};
Status refuse(transport::Channel& channel, const Refusal& refusal);
// What to tell a client whose preamble names another protocol.
std::string protocol_mismatch(uint32_t client_protocol_version);

using FillAccepted = std::function<void(schema::Accepted::Builder)>;
Status accept(transport::Channel& channel, const FillAccepted& fill);

}  // namespace farcall::rpc
