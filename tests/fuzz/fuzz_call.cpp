// The generated decoders of all calls: two bytes of opcode, then the words of a message. No CUDA
// function is there, so everything up to the call itself runs.
#include <kj/exception.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>

#include "codegen/testing/bare_worker.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace farcall;
  static server::Worker worker;
  uint16_t opcode;
  if (size < sizeof opcode) return 0;
  std::memcpy(&opcode, data, sizeof opcode);
  const size_t words = std::min<size_t>((size - sizeof opcode) / 8, rpc::kMessageWordsMax);
  const auto message = std::make_unique<uint64_t[]>(words);  // of exact size, for sanitizers
  std::memcpy(message.get(), data + sizeof opcode, words * 8);

  rpc::Frame frame;
  frame.call = opcode;
  frame.flags = rpc::kWantsReply;
  frame.message.words = {reinterpret_cast<const capnp::word*>(message.get()), words};
  try {
    worker.run(frame);
  } catch (const kj::Exception&) {
    // How a message that does not decode is refused.
  }
  return 0;
}
