#include "rpc/answer_writer.h"

#include <algorithm>
#include <mutex>
#include <utility>

namespace farcall::rpc {
namespace {

constexpr size_t words_of(size_t bytes) { return (bytes + 7) / 8; }

}  // namespace

Status AnswerWriter::reply(uint32_t sequence, uint16_t call, int32_t result, MessageView results,
                           std::span<const std::byte> payload, AsyncFailure async) {
  const ReplyHeader header = {.sequence = sequence,
                              .result = result,
                              .async_result = async.result,
                              .async_call = async.call,
                              .aux = 0,
                              .offset = 0};
  return append(call, kReply, header, results, payload);
}

Status AnswerWriter::data(uint32_t sequence, uint16_t call, uint64_t offset,
                          std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const auto part = bytes.first(std::min(bytes.size(), kPayloadBytesMax));
    const ReplyHeader header = {.sequence = sequence,
                                .result = 0,
                                .async_result = 0,
                                .async_call = 0,
                                .aux = 0,
                                .offset = offset};
    const Status status = append(call, kData, header, {}, part);
    if (status != Status::kOk) return status;
    offset += part.size();
    bytes = bytes.subspan(part.size());
  }
  return Status::kOk;
}

Status AnswerWriter::output(bool is_stderr, std::string_view text) {
  while (!text.empty()) {
    const std::string_view part = text.substr(0, kPayloadBytesMax);
    ReplyHeader header = {};
    header.aux = is_stderr ? 2 : 1;
    const Status status = append(0, kOutput, header, {}, std::as_bytes(std::span(part)));
    if (status != Status::kOk) return status;
    text.remove_prefix(part.size());
  }
  return Status::kOk;
}

Status AnswerWriter::async_error(uint32_t sequence, AsyncFailure failure) {
  ReplyHeader header = {};
  header.sequence = sequence;
  header.async_call = failure.call;
  header.async_result = failure.result;
  return append(failure.call, kAsyncError, header, {}, {});
}

Status AnswerWriter::host_function(uint64_t id, uint32_t occasion, int32_t result,
                                   HostFunctionAux aux) {
  ReplyHeader header = {};
  header.sequence = occasion;
  header.result = result;
  header.aux = aux;
  header.offset = id;
  return append(0, kHostFunction, header, {}, {});
}

Status AnswerWriter::fatal(std::string_view sentence) {
  const auto bytes = std::as_bytes(std::span(sentence.substr(0, kPayloadBytesMax)));
  const Status status = append(0, kFatal, {}, {}, bytes);
  return status == Status::kOk ? flush() : status;
}

Status AnswerWriter::append(uint16_t call, uint16_t flags, const ReplyHeader& reply,
                            MessageView message, std::span<const std::byte> payload) {
  if (message.words.size() > kMessageWordsMax || payload.size() > kPayloadBytesMax) {
    return Status::kInvalid;
  }
  const bool borrow_message = message.bytes() > Batch::kCopiedBytesMax;
  const bool borrow_payload = payload.size() > Batch::kCopiedBytesMax;
  const size_t payload_words = words_of(payload.size());

  struct Prefix {
    FrameHeader frame;
    ReplyHeader reply;
    PayloadHeader payload;
  } prefix = {};
  static_assert(sizeof(Prefix) ==
                sizeof(FrameHeader) + sizeof(ReplyHeader) + sizeof(PayloadHeader));
  const size_t prefix_words = (sizeof prefix - (payload.empty() ? sizeof(PayloadHeader) : 0)) / 8;
  if (!payload.empty()) flags |= kHasPayload;
  if (message.segment_table) flags |= kSegmentTable;
  prefix.frame = {
      .words = static_cast<uint32_t>(prefix_words - 1 + message.words.size() + payload_words),
      .call = call,
      .flags = flags};
  prefix.reply = reply;
  prefix.payload = {.message_words = static_cast<uint32_t>(message.words.size()),
                    .payload_bytes = static_cast<uint32_t>(payload.size())};

  {
    batch_.lock_with_room(prefix_words + (borrow_message ? 0 : message.words.size()) +
                              (borrow_payload ? 0 : payload_words),
                          size_t{borrow_message} + size_t{borrow_payload});
    const std::lock_guard guard(batch_, std::adopt_lock);
    batch_.append(std::as_bytes(std::span(&prefix, 1)).first(prefix_words * 8));
    if (borrow_message) {
      batch_.borrow(std::as_bytes(message.words));
    } else if (!message.words.empty()) {
      batch_.append(std::as_bytes(message.words));
    }
    if (borrow_payload) {
      batch_.borrow(payload);
    } else if (!payload.empty()) {
      batch_.append(payload);
    }
  }
  // Borrowed memory is the caller's again when we return.
  const bool now = borrow_message || borrow_payload || batch_.full_enough();
  return now ? batch_.flush() : Status::kOk;
}

}  // namespace farcall::rpc
