// Copies to the host that nobody waited for. Each piece has its staging chunk and an event behind
// it; its bytes are sent, in kData frames, before the answer to any later call that waits: the
// worker calls send_completed() before it answers. A piece is complete when the GPU says so, and
// pieces of one stream complete in order. Any thread.
#pragma once

#include <cuda.h>

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>

#include "rpc/answer_writer.h"
#include "server/staging.h"

namespace farcall::server {

class PendingCopies {
 public:
  PendingCopies(const DriverTable& driver, Staging& staging, rpc::AnswerWriter& answers)
      : driver_(driver), staging_(staging), answers_(answers) {}

  struct Piece {
    uint32_t sequence;  // of the call that named the destination
    uint16_t call;
    uint64_t offset;  // in the destination
    std::byte* chunk;
    size_t bytes;
    std::shared_ptr<const void> owner = nullptr;  // of a chunk that is not staging's
  };
  // The copy to the chunk has been enqueued in `stream` by the calling thread; the chunk is ours,
  // unless it has another owner, whom we keep until the bytes are sent.
  CUresult add(const Piece& piece, CUstream stream);

  // When it returns, the bytes of every copy that had completed are on their way to the client.
  void send_completed();
  // Waits for the oldest one; false if there is none. Makes room in staging.
  bool send_oldest();
  bool empty();

  void forget(CUcontext context);

 private:
  struct Entry {
    Piece piece;
    CopyEvent event;
    uint64_t age;
  };
  void send_and_free(const Entry& entry, CUresult result);
  void give_back(const Piece& piece);

  const DriverTable& driver_;
  Staging& staging_;
  rpc::AnswerWriter& answers_;
  // Held while sending: who finds nothing left to send must know that it has been sent.
  std::mutex mutex_;
  std::map<CUstream, std::deque<Entry>> streams_;
  uint64_t next_age_ = 0;
};

}  // namespace farcall::server
