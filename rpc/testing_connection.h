// A client's connection and the server at its other end, for tests of what passes between them.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "rpc/answer_writer.h"
#include "rpc/client_connection.h"
#include "rpc/schema/calls.capnp.h"
#include "rpc/testing.h"

namespace farcall::rpc::testing {

inline constexpr Lane kLane{.id = 1, .context = 77};

// The other end: reads frames in a thread of its own and hands them to a function.
class Server {
 public:
  using Handler = std::function<void(const Frame&, AnswerWriter&)>;
  Server(std::unique_ptr<transport::Channel> channel, Handler handler)
      : channel_(std::move(channel)), writer_(*channel_), thread_([this, handler] {
          FrameReader reader(*channel_, FrameDirection::kCalls);
          for (;;) {
            const auto frame = reader.next();
            if (!frame.ok()) break;
            ++frames;
            if ((*frame)->call == kLaneSwitch) ++lane_switches;
            if ((*frame)->call == kGoodbye) goodbye = true;
            if (!(*frame)->is_control()) handler(**frame, writer_);
            if (!reader.has_buffered_frame()) (void)writer_.flush();
          }
          problem = reader.problem();
          ended = true;
        }) {}
  ~Server() {
    channel_->shutdown();
    if (thread_.joinable()) thread_.join();
  }
  void join() { thread_.join(); }
  transport::Channel& channel() { return *channel_; }

  std::atomic<int> frames{0}, lane_switches{0};
  std::atomic<bool> goodbye{false}, ended{false};
  std::string problem;

 private:
  std::unique_ptr<transport::Channel> channel_;
  AnswerWriter writer_;
  std::thread thread_;
};

inline void echo(const Frame& frame, AnswerWriter& writer) {
  if (frame.has(kWantsReply)) (void)writer.reply(frame.sequence(), frame.call, 0);
}

struct Session {
  explicit Session(Server::Handler handler = echo, const ConnectionOptions& options = {})
      : Session(make_pair(), std::move(handler), options) {}
  Session(ChannelPair pair, Server::Handler handler, const ConnectionOptions& options)
      : channel(pair.client.get()),
        server(std::move(pair.server), std::move(handler)),
        connection(std::move(pair.client), options) {}

  transport::Channel* channel;  // the client's
  Server server;
  ClientConnection connection;
};

inline void launch(CallWriter& call, size_t param_bytes = 80) {
  auto args = call.args<schema::FarcallLaunchKernel>();
  args.setFunction(0x0700000100000001);
  args.setStream(2);
  args.setGridX(10);
  args.setGridY(1);
  args.setGridZ(1);
  args.setBlockX(256);
  args.setBlockY(1);
  args.setBlockZ(1);
  args.setSharedBytes(0);
  auto params = args.initParams(param_bytes);
  for (size_t i = 0; i < param_bytes; ++i) params[i] = static_cast<kj::byte>(i);
}

inline int post_launch(ClientConnection& connection) {
  CallWriter call(connection, Opcode::k_farcallLaunchKernel, kLane);
  launch(call);
  return call.post();
}

inline Reply synchronize(ClientConnection& connection, const Lane& lane = kLane) {
  CallWriter call(connection, Opcode::k_cuCtxSynchronize, lane);
  return call.wait();
}

inline int copy_in(ClientConnection& connection, std::span<const std::byte> bytes) {
  CallWriter call(connection, Opcode::k_farcallMemcpyHtoD, kLane);
  call.args<schema::FarcallMemcpyHtoD>().setDestination(0x1000);
  call.payload(bytes);
  return call.post();
}

}  // namespace farcall::rpc::testing
