#include "rpc/hello.h"

#include <fmt/format.h>
#include <kj/exception.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "base/log.h"
#include "rpc/opcodes.h"

namespace farcall::rpc {
namespace {

// The client's calls can't do anything without a server: CUDA_ERROR_NO_DEVICE.
constexpr int kNoDevice = 100;
// Of untrusted text in logs.
constexpr size_t kTextBytesMax = 256;
constexpr size_t kReasonBytesMax = 2048;
constexpr size_t kTokenBytesMax = 4096;

Status send_message(transport::Channel& channel, capnp::MessageBuilder& builder) {
  kj::Array<capnp::word> flat = capnp::messageToFlatArray(builder);
  if (flat.size() > kHelloWordsMax) return Status::kInvalid;
  Preamble preamble = {};
  std::memcpy(preamble.magic, kMagic, sizeof kMagic);
  preamble.protocol_version = kProtocolVersion;
  preamble.message_words = static_cast<uint32_t>(flat.size());
  const std::array<iovec, 2> pieces = {
      {{&preamble, sizeof preamble}, {flat.begin(), flat.size() * sizeof(capnp::word)}}};
  return channel.send(pieces);
}

std::string printable(capnp::Text::Reader text, size_t bytes_max = kTextBytesMax) {
  std::string out(text.begin(), std::min(text.size(), bytes_max));
  for (char& c : out) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';
  }
  return out;
}

MessageView hello_view(std::span<const capnp::word> words) {
  return {.words = words, .segment_table = true};
}

}  // namespace

std::string_view farcall_version() { return FARCALL_VERSION; }

// --- Receiving

Status HelloReceiver::poll(transport::Channel& channel) {
  return advance([&](std::span<std::byte> into) -> Result<size_t> {
    auto received = channel.try_receive(into);
    if (received.ok() && *received == 0) return Status::kBusy;
    return received;
  });
}

Status HelloReceiver::receive(transport::Channel& channel, Deadline deadline) {
  return advance([&](std::span<std::byte> into) { return channel.receive(into, deadline); });
}

template <class Receive>
Status HelloReceiver::advance(Receive&& receive) {
  for (;;) {
    std::span<std::byte> into;
    if (received_ < sizeof preamble_) {
      into = std::as_writable_bytes(std::span(&preamble_, 1)).subspan(received_);
    } else {
      if (!preamble_checked_) {
        const Status status = check_preamble();
        if (status != Status::kOk) return status;
        preamble_checked_ = true;
        words_ = kj::heapArray<capnp::word>(preamble_.message_words);
      }
      into = std::as_writable_bytes(std::span(words_.begin(), words_.size()))
                 .subspan(received_ - sizeof preamble_);
      if (into.empty()) return Status::kOk;
    }
    const auto received = receive(into);
    if (!received.ok()) {
      if (received.status() == Status::kDisconnected) {
        problem_ = from_ == From::kClient ? "the client hung up during the hello"
                                          : "the server hung up during the hello";
      } else if (received.status() == Status::kTimeout) {
        problem_ = from_ == From::kClient ? "the client didn't finish its hello in time"
                                          : "the server didn't answer the hello in time";
      }
      return received.status();
    }
    received_ += *received;
  }
}

Status HelloReceiver::check_preamble() {
  if (std::memcmp(preamble_.magic, kMagic, sizeof kMagic) != 0) {
    problem_ = from_ == From::kClient
                   ? "the peer doesn't speak Farcall's protocol"
                   : "what answers there isn't a Farcall server; check host and port";
    return Status::kProtocol;
  }
  if (preamble_.protocol_version != kProtocolVersion) {
    peer_protocol_version_ = preamble_.protocol_version;
    problem_ = from_ == From::kClient
                   ? protocol_mismatch(peer_protocol_version_)
                   : fmt::format(
                         "the server speaks Farcall protocol {}, this client (Farcall {}) "
                         "protocol {}: install the same Farcall release on both sides",
                         peer_protocol_version_, farcall_version(), kProtocolVersion);
    return Status::kProtocol;
  }
  if (preamble_.message_words == 0 || preamble_.message_words > kHelloWordsMax) {
    problem_ = fmt::format("a hello of {} words; from 1 to {} are allowed", preamble_.message_words,
                           kHelloWordsMax);
    return Status::kProtocol;
  }
  return Status::kOk;
}

// --- Client

schema::Accepted::Reader HelloAnswer::reader() {
  return decoder_->root<schema::HelloReply>().getAccepted();
}

HelloAnswer say_hello(transport::Channel& channel, const FillHello& fill, Deadline deadline) {
  HelloAnswer answer;
  const auto fail = [&](std::string problem, int result) {
    answer.decoder_.reset();
    answer.problem = std::move(problem);
    answer.result = result;
  };

  ScratchMessage<256> message;
  auto hello = message.builder().initRoot<schema::Hello>();
  hello.setFarcallVersion(kj::StringPtr(FARCALL_VERSION));
  hello.setOpcodeCount(kOpcodeCount);
  hello.setPid(static_cast<uint32_t>(::getpid()));
  hello.setPayloadBytesMax(kPayloadBytesMax);
  std::array<char, 256> host = {};
  if (::gethostname(host.data(), host.size() - 1) == 0) hello.setHostName(host.data());
  fill(hello);
  if (send_message(channel, message.builder()) != Status::kOk) {
    fail("the server hung up during the hello", kNoDevice);
    return answer;
  }

  HelloReceiver receiver(HelloReceiver::From::kServer);
  if (receiver.receive(channel, deadline) != Status::kOk) {
    fail(receiver.problem(), kNoDevice);
    return answer;
  }
  try {
    answer.message_ = std::make_unique<HelloMessage>(receiver.take());
    answer.decoder_ = std::make_unique<MessageDecoder>(hello_view(answer.message_->words()));
    const auto reply = answer.decoder_->root<schema::HelloReply>();
    if (reply.isRefused()) {
      const auto refused = reply.getRefused();
      const int status = refused.getStatus();
      fail(fmt::format("the server (Farcall {}) refused this client (Farcall {}): {}",
                       printable(refused.getFarcallVersion()), farcall_version(),
                       printable(refused.getReason(), kReasonBytesMax)),
           status != 0 ? status : kNoDevice);
    } else if (!reply.isAccepted()) {
      fail("the server's answer to the hello is neither yes nor no", kNoDevice);
    }
  } catch (const kj::Exception&) {
    fail("the server's answer to the hello doesn't decode", kNoDevice);
  }
  return answer;
}

// --- Server

Result<ClientFacts> read_hello(std::span<const capnp::word> words) {
  try {
    MessageDecoder decoder(hello_view(words));
    const auto hello = decoder.root<schema::Hello>();
    ClientFacts facts;
    facts.farcall_version = printable(hello.getFarcallVersion());
    facts.cuda_version = hello.getCudaVersion();
    facts.runtime_version = hello.getRuntimeVersion();
    facts.opcode_count = hello.getOpcodeCount();
    facts.program = printable(hello.getProgram());
    facts.host_name = printable(hello.getHostName());
    facts.pid = hello.getPid();
    facts.payload_bytes_max = hello.getPayloadBytesMax();
    const auto token = hello.getToken();
    if (token.size() > kTokenBytesMax) {
      log::warning("hello with a token of {} bytes; at most {} are allowed", token.size(),
                   kTokenBytesMax);
      return Status::kProtocol;
    }
    const auto* const bytes = reinterpret_cast<const std::byte*>(token.begin());
    facts.token.assign(bytes, bytes + token.size());
    if (hello.hasVisibleDevices()) facts.visible_devices = hello.getVisibleDevices().cStr();
    if (hello.hasDeviceOrder()) facts.device_order = hello.getDeviceOrder().cStr();
    return facts;
  } catch (const kj::Exception& exception) {
    log::warning("hello that doesn't decode: {}", exception.getDescription().cStr());
    return Status::kProtocol;
  }
}

std::string protocol_mismatch(uint32_t client_protocol_version) {
  return fmt::format(
      "the client speaks Farcall protocol {}, this server (Farcall {}) protocol {}: install the "
      "same "
      "Farcall release on both sides",
      client_protocol_version, farcall_version(), kProtocolVersion);
}

Status refuse(transport::Channel& channel, const Refusal& refusal) {
  ScratchMessage<128> message;
  auto refused = message.builder().initRoot<schema::HelloReply>().initRefused();
  refused.setReason(kj::StringPtr(refusal.reason.c_str(), refusal.reason.size()));
  refused.setProtocolVersion(kProtocolVersion);
  refused.setFarcallVersion(kj::StringPtr(FARCALL_VERSION));
  refused.setCudaVersion(refusal.cuda_version);
  refused.setStatus(refusal.status);
  return send_message(channel, message.builder());
}

Status accept(transport::Channel& channel, const FillAccepted& fill) {
  capnp::MallocMessageBuilder message;
  auto accepted = message.initRoot<schema::HelloReply>().initAccepted();
  accepted.setFarcallVersion(kj::StringPtr(FARCALL_VERSION));
  accepted.setOpcodeCount(kOpcodeCount);
  fill(accepted);
  const Status status = send_message(channel, message);
  if (status == Status::kInvalid) {
    log::error("the snapshot of this server's devices is larger than the {} words a hello may have",
               kHelloWordsMax);
  }
  return status;
}

}  // namespace farcall::rpc
