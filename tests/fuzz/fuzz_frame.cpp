// Frames in both directions, as they come from a channel: small payloads in the reader's buffer,
// large ones placed.
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <vector>

#include "base/unique_fd.h"
#include "rpc/frame.h"

namespace {

using namespace farcall;

// What a socket takes without a reader; longer inputs are cut.
constexpr size_t kInputBytesMax = 64 * 1024;
constexpr size_t kPlacedBytesMin = 64;

class Placer : public rpc::PayloadPlacer {
 public:
  Result<std::byte*> place(const rpc::Frame&, size_t bytes) override {
    memory_.resize(bytes);
    return memory_.data();
  }

 private:
  std::vector<std::byte> memory_;
};

void read_all(const uint8_t* data, size_t size, rpc::FrameDirection direction,
              rpc::PayloadPlacer* placer) {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) return;
  UniqueFd mine(ends[0]);
  auto channel = transport::adopt(UniqueFd(ends[1]));
  if (!channel) return;
  if (::write(mine.get(), data, std::min(size, kInputBytesMax)) < 0) return;
  mine.reset();  // the stream ends where the input ends
  rpc::FrameReader reader(**channel, direction, placer, placer != nullptr ? kPlacedBytesMin : 0);
  uint64_t sum = 0;
  for (auto frame = reader.next(); frame; frame = reader.next()) {
    for (const std::byte byte : (*frame)->payload) sum += static_cast<uint64_t>(byte);
  }
  volatile uint64_t keep = sum;  // every byte handed out was read
  (void)keep;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Placer placer;
  for (const rpc::FrameDirection direction :
       {rpc::FrameDirection::kCalls, rpc::FrameDirection::kAnswers}) {
    read_all(data, size, direction, nullptr);
    read_all(data, size, direction, &placer);
  }
  return 0;
}
