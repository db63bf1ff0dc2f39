// Client and server of one session over a simulated link that splits, delays and cuts as a seed
// says. Invariants, whatever happens: calls arrive in the order in which they were made and once
// each; every waiting call gets its own answer or, once the link is cut, kSessionLostResult;
// nothing hangs; no byte of a copy lies where it doesn't belong.
#include <gtest/gtest.h>

#include <atomic>
#include <random>
#include <thread>
#include <vector>

#include "rpc/answer_writer.h"
#include "rpc/client_connection.h"
#include "rpc/frame.h"
#include "rpc/schema/calls.capnp.h"
#include "rpc/testing.h"
#include "transport/sim_channel.h"

namespace farcall::rpc {
namespace {

constexpr auto kDtoH = Opcode::k_farcallMemcpyDtoH;
constexpr auto kHtoD = Opcode::k_farcallMemcpyHtoD;

// Every byte of a copy is a function of the call's number.
std::byte content(uint64_t number, size_t at) {
  return static_cast<std::byte>(number * 31 + at * 7 + at / 256);
}

// Plays the worker: in order, with answers of all kinds.
void serve(transport::Channel& channel, std::atomic<int>& wrong) {
  FrameReader reader(channel, FrameDirection::kCalls);
  AnswerWriter writer(channel);
  uint64_t expected = 1;
  for (;;) {
    const auto next = reader.next();
    if (!next.ok()) {
      wrong += next.status() == Status::kProtocol;
      break;
    }
    const Frame& frame = **next;
    if (frame.is_control()) continue;
    wrong += frame.number != expected++;
    uint64_t value = 0;
    if (frame.call == static_cast<uint16_t>(kDtoH)) {
      MessageDecoder decoder(frame.message);
      const auto args = decoder.root<schema::FarcallMemcpyDtoH>();
      std::vector<std::byte> bytes(args.getBytes());
      for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = content(args.getSource(), i);
      const size_t half = bytes.size() / 2;
      (void)writer.data(frame.sequence(), frame.call, half, std::span(bytes).subspan(half));
      (void)writer.data(frame.sequence(), frame.call, 0, std::span(bytes).first(half));
      value = args.getSource();
    } else if (frame.call == static_cast<uint16_t>(kHtoD)) {
      MessageDecoder decoder(frame.message);
      value = decoder.root<schema::FarcallMemcpyHtoD>().getDestination();
      for (size_t i = 0; i < frame.payload.size(); ++i) {
        wrong += frame.payload[i] != content(value, i);
      }
    }
    if (frame.has(kWantsReply)) {
      ScratchMessage<> results;
      results.builder().initRoot<schema::FarcallGlobalGetResults>().setAddress(value);
      kj::Array<capnp::word> flat;
      (void)writer.reply(frame.sequence(), frame.call, 0, encode(results.builder(), flat));
    }
    if (!reader.has_buffered_frame()) (void)writer.flush();
  }
  channel.shutdown();
}

// Memory of copies that nobody waited for: given back as the client library does it.
struct PostedCopies {
  explicit PostedCopies(ClientConnection& connection) : connection(connection) {}
  ~PostedCopies() {
    for (const auto& memory : all) connection.close_sinks(memory);
  }
  ClientConnection& connection;
  std::vector<std::vector<std::byte>> all;
};

class Simulation : public ::testing::TestWithParam<int> {};

TEST_P(Simulation, KeepsItsPromises) {
  std::mt19937 random(static_cast<unsigned>(GetParam()));
  const auto draw = [&](uint64_t below) { return random() % below; };
  transport::SimOptions options;
  options.seed = static_cast<uint64_t>(GetParam());
  options.bytes_in_flight_max = 1 << (12 + draw(8));
  if (draw(2) == 0) options.delay_max = std::chrono::microseconds(draw(300));
  if (draw(2) == 0) options.cut_after_near_sent = draw(400'000);
  if (draw(3) == 0) options.cut_after_far_sent = draw(400'000);
  const bool may_be_cut = options.cut_after_near_sent || options.cut_after_far_sent;
  auto pair = transport::make_sim_pair(options);

  std::atomic<int> wrong{0};
  std::thread server([&] { serve(*pair.far, wrong); });
  bool lost = false;
  {
    ::testing::internal::CaptureStderr();
    ClientConnection connection(std::move(pair.near));
    const auto application = [&](uint32_t lane_id, unsigned seed) {
      std::mt19937 random(seed);
      const Lane lane{.id = lane_id, .context = 1};
      PostedCopies posted(connection);
      for (int i = 0; i < 60; ++i) {
        const uint64_t value = lane_id * 1000 + static_cast<uint64_t>(i);
        const size_t size = random() % 3 == 0 ? random() % 50'000 : random() % 200;
        const auto check_answer = [&](Reply reply) {
          if (reply.result() == kSessionLostResult) return false;
          wrong += reply.result() != 0;
          wrong += reply.results<schema::FarcallGlobalGetResults>().getAddress() != value;
          return true;
        };
        switch (random() % 4) {
          case 0: {  // to the device
            std::vector<std::byte> bytes(size);
            for (size_t at = 0; at < size; ++at) bytes[at] = content(value, at);
            CallWriter call(connection, kHtoD, lane);
            call.args<schema::FarcallMemcpyHtoD>().setDestination(value);
            call.payload(bytes);
            if (call.post() != 0) return;
            break;
          }
          case 1: {  // from the device, waiting; with guards on both sides
            std::vector<std::byte> memory(size + 32, std::byte{0xcc});
            CallWriter call(connection, kDtoH, lane);
            auto args = call.args<schema::FarcallMemcpyDtoH>();
            args.setSource(value);
            args.setBytes(size);
            const bool answered = check_answer(call.wait({memory.data() + 16, size}));
            for (size_t at = 0; at < 16; ++at) {
              wrong += memory[at] != std::byte{0xcc} || memory[16 + size + at] != std::byte{0xcc};
            }
            for (size_t at = 0; answered && at < size; ++at) {
              wrong += memory[16 + at] != content(value, at);
            }
            if (!answered) return;
            break;
          }
          case 2: {  // from the device, not waiting
            auto& memory = posted.all.emplace_back(size);
            CallWriter call(connection, kDtoH, lane);
            auto args = call.args<schema::FarcallMemcpyDtoH>();
            args.setSource(value);
            args.setBytes(size);
            if (call.post({memory.data(), size}) != 0) return;
            break;
          }
          default: {
            CallWriter call(connection, Opcode::k_cuCtxSynchronize, lane);
            if (call.wait().result() != 0) return;
          }
        }
      }
      (void)CallWriter(connection, Opcode::k_cuCtxSynchronize, lane).wait();
    };
    std::thread other(application, 2, random());
    application(1, random());
    other.join();
    lost = connection.lost();
    connection.say_goodbye();
  }
  const std::string log = ::testing::internal::GetCapturedStderr();
  server.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_TRUE(may_be_cut || !lost) << log;
  if (lost) {
    EXPECT_NE(log.find("is lost"), std::string::npos);
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, Simulation, ::testing::Range(1, 61));

}  // namespace
}  // namespace farcall::rpc
