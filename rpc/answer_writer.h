// The server's side of writing: answers are appended to a batch, which leaves at flush() or when it
// has grown to a send's worth, so a row of small answers costs one system call. Any thread may
// write; answers leave in the order in which they were written.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "base/status.h"
#include "rpc/batch.h"
#include "rpc/message.h"
#include "rpc/wire.h"
#include "transport/channel.h"

namespace farcall::rpc {

// The first failure of an asynchronous call that the client hasn't heard of.
struct AsyncFailure {
  uint16_t call = 0;
  int32_t result = 0;
};

class AnswerWriter {
 public:
  explicit AnswerWriter(transport::Channel& channel) : batch_(channel) {}

  // Each returns kOk or why the channel is gone; what was written is on its way only after flush().
  // At most kMessageWordsMax and kPayloadBytesMax; more is kInvalid and nothing is written.
  Status reply(uint32_t sequence, uint16_t call, int32_t result, MessageView results = {},
               std::span<const std::byte> payload = {}, AsyncFailure async = {});
  // Bytes for the destination that call `sequence` named: any number, cut into frames. Sent when
  // this returns, or copied.
  Status data(uint32_t sequence, uint16_t call, uint64_t offset, std::span<const std::byte> bytes);
  Status output(bool is_stderr, std::string_view text);
  Status async_error(uint32_t sequence, AsyncFailure failure);
  // The stream waits until the client says that the function has returned.
  Status host_function(uint64_t id, uint32_t occasion, int32_t result, HostFunctionAux aux);
  // The sentence goes out at once; nothing should follow it.
  Status fatal(std::string_view sentence);
  Status flush() { return batch_.flush(); }

 private:
  Status append(uint16_t call, uint16_t flags, const ReplyHeader& reply, MessageView message,
                std::span<const std::byte> payload);

  Batch batch_;
};

}  // namespace farcall::rpc
