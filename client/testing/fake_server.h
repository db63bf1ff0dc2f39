// A server for tests of the client library: accepts programs on a Unix socket, says it has two
// devices, answers every call that waits, and writes down what it saw.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "rpc/answer_writer.h"
#include "rpc/frame.h"
#include "rpc/hello.h"
#include "rpc/opcodes.h"
#include "transport/listener.h"

namespace farcall::client::testing {

class FakeServer {
 public:
  struct Seen {
    rpc::ClientFacts hello;
    std::map<std::string, int> calls;
    std::vector<uint32_t> lanes;
    bool goodbye = false, ended = false;
  };
  using Handler = std::function<void(const rpc::Frame&, rpc::AnswerWriter&)>;

  // The default handler answers success.
  explicit FakeServer(Handler handler = {}, rpc::Refusal refusal = {})
      : handler_(std::move(handler)), refusal_(std::move(refusal)) {
    std::string folder = std::filesystem::temp_directory_path() / "farcall-test-XXXXXX";
    EXPECT_NE(::mkdtemp(folder.data()), nullptr);
    folder_ = folder;
    auto listener = transport::listen(*transport::parse_url("unix://" + folder + "/socket"));
    listener_ = listener.take();
    acceptor_ = std::thread([this] { accept(); });
  }
  ~FakeServer() {
    stop_ = true;
    acceptor_.join();
    for (auto& client : clients_) client->channel->shutdown();
    for (auto& client : clients_) client->thread.join();
    listener_.reset();
    std::filesystem::remove_all(folder_);
  }

  std::string url() const { return listener_->url().text(); }
  // Waits until so many programs came and went.
  std::vector<Seen> wait_for(size_t count) {
    const Deadline deadline = Deadline::after(std::chrono::seconds(10));
    for (;;) {
      {
        const std::lock_guard guard(mutex_);
        std::vector<Seen> ended;
        for (const auto& client : clients_) {
          if (client->seen.ended) ended.push_back(client->seen);
        }
        if (ended.size() >= count || deadline.expired()) return ended;
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
  }
  size_t connections() {
    const std::lock_guard guard(mutex_);
    return clients_.size();
  }

 private:
  struct Client {
    std::unique_ptr<transport::Channel> channel;
    Seen seen;
    std::thread thread;
  };

  void accept() {
    while (!stop_) {
      auto channel = listener_->accept(Deadline::after(std::chrono::milliseconds(20)));
      if (!channel.ok()) continue;
      const std::lock_guard guard(mutex_);
      clients_.push_back(std::make_unique<Client>());
      Client& client = *clients_.back();
      client.channel = channel.take();
      client.thread = std::thread([this, &client] { serve(client); });
    }
  }
  void serve(Client& client) {
    run(client);
    const std::lock_guard guard(mutex_);
    client.seen.ended = true;
  }
  void run(Client& client) {
    rpc::HelloReceiver receiver(rpc::HelloReceiver::From::kClient);
    if (receiver.receive(*client.channel, Deadline::after(std::chrono::seconds(10))) != Status::kOk)
      return;
    const auto facts = rpc::read_hello(receiver.take().words());
    if (!facts.ok()) return;
    {
      const std::lock_guard guard(mutex_);
      client.seen.hello = *facts;
    }
    if (!refusal_.reason.empty()) {
      (void)rpc::refuse(*client.channel, refusal_);
      return;
    }
    (void)rpc::accept(*client.channel, [](rpc::schema::Accepted::Builder accepted) {
      accepted.setDriverVersion(13000);
      accepted.setRuntimeProblem("no libcudart here");
      accepted.setPtxOnly(true);
      auto devices = accepted.initDevices(2);
      for (unsigned i = 0; i < 2; ++i) {
        devices[i].setName(i == 0 ? "first" : "second");
        devices[i].setTotalMemory(1000 + i);
        devices[i].setPciBusId("0000:01:00.0");
        auto uuid = devices[i].initUuid(16);
        for (unsigned j = 0; j < 16; ++j) uuid[j] = static_cast<kj::byte>(16 * i + j);
        auto attributes = devices[i].initAttributes(1);
        attributes[0].setId(75);
        attributes[0].setValue(static_cast<int>(7 + i));
      }
    });
    rpc::AnswerWriter writer(*client.channel);
    rpc::FrameReader reader(*client.channel, rpc::FrameDirection::kCalls);
    for (;;) {
      const auto next = reader.next();
      if (!next.ok()) return;
      const rpc::Frame& frame = **next;
      {
        const std::lock_guard guard(mutex_);
        if (frame.call == rpc::kLaneSwitch) client.seen.lanes.push_back(frame.lane.lane);
        if (frame.call == rpc::kGoodbye) client.seen.goodbye = true;
        if (!frame.is_control()) ++client.seen.calls[opcode_name(rpc::Opcode(frame.call))];
      }
      if (!frame.is_control() && handler_) {
        handler_(frame, writer);
      } else if (frame.has(rpc::kWantsReply)) {
        (void)writer.reply(frame.sequence(), frame.call, 0);
      }
      if (!reader.has_buffered_frame()) (void)writer.flush();
    }
  }

  const Handler handler_;
  const rpc::Refusal refusal_;
  std::string folder_;
  std::unique_ptr<transport::Listener> listener_;
  std::atomic<bool> stop_{false};
  std::thread acceptor_;
  std::mutex mutex_;  // guards the clients and what they have seen
  std::vector<std::unique_ptr<Client>> clients_;
};

}  // namespace farcall::client::testing
