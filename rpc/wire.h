// The bytes on the wire, as a specification. Everything is little endian and aligned to 8 bytes.
//
//   client                                      server
//   Preamble + Hello (session.capnp)    ->
//                                       <-      Preamble + HelloReply
//   frame frame frame ...               ->                              one ordered log per session
//                                       <-      reply frame, data frame, ...
//
// A frame is a FrameHeader, then, counted by `words`:
//   call frame     [PayloadHeader if kHasPayload] [message] [payload, zero-padded to 8 bytes]
//   control frame  one fixed struct (LaneSwitch)
//   answer frame   ReplyHeader, then as a call frame
// A message is one Cap'n Proto segment without a segment table; its root is the struct of that call
// (or of its results). A message of several segments (rare: an odd large argument) has its standard
// segment table in front and the flag kSegmentTable.
//
// Call frames are numbered from 1 in the order in which they appear; control frames do not count.
// The low 32 bits of that number are the `sequence` that answers refer to.
#pragma once

#include <cstddef>
#include <cstdint>

namespace farcall::rpc {

constexpr uint32_t kProtocolVersion = 1;
constexpr char kMagic[8] = {'F', 'A', 'R', 'C', 'A', 'L', 'L', '\n'};

struct Preamble {
  char magic[8];
  uint32_t protocol_version;
  uint32_t message_words;  // of the Hello or HelloReply that follows
};
static_assert(sizeof(Preamble) == 16);
constexpr uint32_t kHelloWordsMax =
    128 * 1024;  // 1 MiB: a reply holds the snapshot of every device

struct FrameHeader {
  uint32_t words;  // that follow this header
  uint16_t call;   // Opcode, or a control frame below kFirstOpcode
  uint16_t flags;
};
static_assert(sizeof(FrameHeader) == 8);

// Bulk data is cut into payloads of at most this size (1 MiB: research behind docs/decisions/0002).
constexpr size_t kPayloadBytesMax = 1 << 20;
constexpr uint32_t kMessageWordsMax = 64 * 1024;  // 512 KiB: parameters, names, small arrays
constexpr uint32_t kFrameWordsMax = kMessageWordsMax + kPayloadBytesMax / 8 + 8;

enum ControlFrame : uint16_t {
  kLaneSwitch = 1,  // LaneSwitch: the calls that follow come from this client thread
  kGoodbye = 2,     // no body: the client ends in good order; nothing follows
};
constexpr uint16_t kFirstOpcode = 16;

enum FrameFlags : uint16_t {
  kWantsReply = 1 << 0,    // call: a thread waits for the answer
  kHasPayload = 1 << 1,    // a PayloadHeader is there
  kSegmentTable = 1 << 2,  // the message starts with a segment table
  // Answers say what they are; exactly one of these is set.
  kReply = 1 << 8,        // the result of call `sequence`
  kData = 1 << 9,         // bytes for the destination that call `sequence` named, at `offset`
  kOutput = 1 << 10,      // text the program's kernels printed; `aux` is 1 for stdout, 2 for stderr
  kAsyncError = 1 << 11,  // an asynchronous call failed and nobody waits: async_call, async_result
  kFatal = 1 << 12,       // payload: a sentence that says why the server ends this session
  kHostFunction =
      1 << 13,  // a stream has come to the program's host function `offset`; `sequence` numbers
                // the occasion, `result` is what a stream callback is told; HostFunctionAux
};

// ReplyHeader::aux of kHostFunction.
enum HostFunctionAux : uint16_t {
  kHostFunctionAgain = 0,  // it is in a graph and may be called any number of times
  kHostFunctionLast = 1,   // this is its only call
  kHostFunctionNever = 2,  // it will not be called: enqueuing it failed
};

struct PayloadHeader {
  uint32_t message_words;
  uint32_t payload_bytes;
};
static_assert(sizeof(PayloadHeader) == 8);

// Which client thread the next calls belong to and what is current there.
struct LaneSwitch {
  uint32_t lane;
  uint32_t reserved;
  uint64_t context;  // HandleId of the current CUcontext, 0 for none
};
static_assert(sizeof(LaneSwitch) == 16);

struct ReplyHeader {
  uint32_t sequence;
  int32_t result;        // CUresult or cudaError_t of the call
  int32_t async_result;  // first failure of an asynchronous call not yet reported, else 0
  uint16_t async_call;   // its Opcode
  uint16_t aux;
  uint64_t offset;  // kData: byte offset in the destination
};
static_assert(sizeof(ReplyHeader) == 24);

}  // namespace farcall::rpc
