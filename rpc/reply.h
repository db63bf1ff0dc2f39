// The answer to one call, as the thread that waited for it gets it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/status.h"
#include "rpc/message.h"

namespace farcall::rpc {

// CUDA_ERROR_DEVICE_UNAVAILABLE = cudaErrorDevicesUnavailable: what every call gives once the
// session is gone.
constexpr int kSessionLostResult = 46;

struct ReplyBody {
  kj::Array<capnp::word> message;
  bool segment_table = false;
  std::vector<std::byte> payload;
};

// Owns its words; copies share them.
class Reply {
 public:
  Reply() = default;
  explicit Reply(int result) : result_(result), own_result_(result) {}
  Reply(const Reply& other)
      : result_(other.result_),
        own_result_(other.own_result_),
        data_bytes_(other.data_bytes_),
        body_(other.body_) {}
  Reply& operator=(const Reply& other) {
    Reply copy(other);
    return *this = std::move(copy);
  }
  Reply(Reply&&) = default;
  Reply& operator=(Reply&&) = default;

  // The call's own result or, if that is success, the first unreported failure of an earlier
  // asynchronous call. A session that is gone gives kSessionLostResult.
  int result() const { return result_; }
  // Only what this call did: what an answer that is kept is worth later.
  int own_result() const { return own_result_; }
  bool has_results() const { return body_ != nullptr && body_->message.size() > 0; }
  // Valid while this Reply lives; absent results read as defaults. Words that don't decode throw
  // kj::Exception, which enter() turns into a lost session.
  template <class T>
  typename T::Reader results() {
    if (!decoder_) {
      decoder_ = std::make_unique<MessageDecoder>(
          body_ ? MessageView{.words = view_words(body_->message),
                              .segment_table = body_->segment_table}
                : MessageView{});
    }
    return decoder_->root<T>();
  }
  std::span<const std::byte> payload() const {
    return body_ ? std::span<const std::byte>(body_->payload) : std::span<const std::byte>();
  }
  // How much of the DataSink was written.
  size_t data_bytes() const { return data_bytes_; }

  // This answer as if no asynchronous failure had come along with it.
  Reply without_async_failure() const {
    Reply own(*this);
    own.result_ = own_result_;
    return own;
  }

 private:
  friend class Answers;

  int result_ = 0, own_result_ = 0;
  size_t data_bytes_ = 0;
  std::shared_ptr<const ReplyBody> body_;
  // Of this object only: reading counts against the message's limits, which copies mustn't share.
  std::unique_ptr<MessageDecoder> decoder_;
};

}  // namespace farcall::rpc
