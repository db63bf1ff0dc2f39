#include "codegen/testing/round_trip.h"

#include <capnp/serialize.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <mutex>
#include <span>
#include <thread>

#include "codegen/testing/bare_worker.h"
#include "rpc/answer_writer.h"
#include "rpc/frame.h"
#include "rpc/hello.h"
#include "transport/listener.h"

namespace farcall::codegen_testing {
namespace {

using Words = std::vector<uint64_t>;

struct Expectation {
  std::atomic<bool> cut{false}, reached{false}, nulls{false}, default_stream{false};
  std::atomic<int> calls{0};
};
Expectation expectation;

// One connection, served by one thread for the life of the process.
class FakeServer {
 public:
  FakeServer() {
    const auto url = transport::parse_url("unix://" + path_);
    listener_ = transport::listen(*url).take();
    ::setenv("FARCALL_SERVER", ("unix://" + path_).c_str(), 1);
    std::thread([this] { serve(); }).detach();
  }

  server::Worker worker;

  Words last_message(Opcode op) {
    const std::lock_guard lock(mutex_);
    return messages_[op];
  }

 private:
  void serve() {
    auto channel = listener_->accept(Deadline::never()).take();
    rpc::HelloReceiver hello(rpc::HelloReceiver::From::kClient);
    if (hello.receive(*channel, Deadline::never()) != Status::kOk) std::abort();
    const auto fill = [](rpc::schema::Accepted::Builder accepted) {
      accepted.setDriverVersion(CUDA_VERSION);
      accepted.setRuntimeVersion(CUDA_VERSION);
      accepted.setOpcodeCount(rpc::kOpcodeCount);
      accepted.initDevices(1)[0].setName("a device of tests");
    };
    if (rpc::accept(*channel, fill) != Status::kOk) std::abort();
    rpc::AnswerWriter answers(*channel);
    rpc::FrameReader reader(*channel, rpc::FrameDirection::kCalls);
    while (true) {
      const auto frame = reader.next();
      if (!frame.ok()) return;
      if ((*frame)->is_control()) continue;
      remember(**frame);
      worker.answers = &answers;
      worker.run(**frame);
      EXPECT_EQ(worker.failures, 0) << rpc::opcode_name(Opcode((*frame)->call));
      worker.failures = 0;
      worker.answers = nullptr;
      if (answers.flush() != Status::kOk) return;
    }
  }

  void remember(const rpc::Frame& frame) {
    const auto words = std::as_bytes(frame.message.words);
    Words copy(words.size() / sizeof(uint64_t));
    if (!copy.empty()) std::memcpy(copy.data(), words.data(), words.size());
    EXPECT_FALSE(frame.message.segment_table);
    const std::lock_guard lock(mutex_);
    messages_[Opcode(frame.call)] = std::move(copy);
  }

  std::string path_ = (std::filesystem::temp_directory_path() /
                       ("farcall-round-trip-" + std::to_string(::getpid()) + ".sock"))
                          .string();
  std::unique_ptr<transport::Listener> listener_;
  std::mutex mutex_;
  std::map<Opcode, Words> messages_;
};

FakeServer& fake_server() {
  static FakeServer* const server = new FakeServer;  // its thread outlives everything
  return *server;
}

void run_damaged(Opcode op, std::span<const uint64_t> message) {
  // A block of exactly that size, so that a sanitizer sees whoever reads past its end.
  const auto block = std::make_unique<uint64_t[]>(message.size());
  std::ranges::copy(message, block.get());
  rpc::Frame frame;
  frame.call = uint16_t(op);
  frame.message.words = {reinterpret_cast<const capnp::word*>(block.get()), message.size()};
  try {
    fake_server().worker.run(frame);
  } catch (const kj::Exception&) {
    // Refused by Cap'n Proto; the real worker ends the session.
  }
}

// The message as a fuzzer wants it: opcode, then the words.
void write_seed(Opcode op, const Words& message) {
  const char* const folder = std::getenv("FARCALL_SEED_FOLDER");
  if (folder == nullptr) return;
  std::ofstream file(std::filesystem::path(folder) / rpc::opcode_name(op), std::ios::binary);
  const auto number = uint16_t(op);
  file.write(reinterpret_cast<const char*>(&number), sizeof number);
  file.write(reinterpret_cast<const char*>(message.data()),
             std::streamsize(message.size() * sizeof(uint64_t)));
}

std::atomic<uint64_t> object_counter{0x900000};

}  // namespace

server::DriverTable& driver() { return fake_server().worker.driver; }
server::RuntimeTable& runtime() { return fake_server().worker.runtime; }
rpc::HandleTable& server_handles() { return fake_server().worker.handles; }

client::Session& session() {
  fake_server();
  int error = 0;
  client::Session* const connected = client::session(&error);
  if (connected == nullptr) {
    std::fprintf(stderr, "no session: %d\n", error);
    std::abort();
  }
  return *connected;
}

std::vector<unsigned char> sample_bytes(size_t count) {
  std::vector<unsigned char> bytes(count);
  for (size_t i = 0; i < count; ++i) bytes[i] = static_cast<unsigned char>(0xa0 + i);
  return bytes;
}

rpc::HandleId id_for(HandleType type, unsigned k) {
  static std::map<std::pair<HandleType, unsigned>, rpc::HandleId> ids;
  rpc::HandleId& id = ids[{type, k}];
  if (id != 0) return id;
  id = session().mint(type);
  EXPECT_EQ(server_handles().bind(id, type, reinterpret_cast<void*>(object_number(type, k))),
            Status::kOk);
  return id;
}

rpc::HandleId fresh_id_for(HandleType type) {
  const rpc::HandleId id = session().mint(type);
  EXPECT_EQ(server_handles().bind(id, type, reinterpret_cast<void*>(make_object())), Status::kOk);
  return id;
}

uint64_t last_object() { return object_counter; }
uint64_t make_object() { return object_counter += 16; }

bool arrived() {
  ++expectation.calls;
  if (expectation.cut) expectation.reached = true;
  return !expectation.cut;
}
bool nulls() { return expectation.nulls; }
bool default_stream() { return expectation.default_stream; }

namespace {
Opcode current_op;
}

Trial::Trial(Opcode op) {
  current_op = op;
  // The server gives an object that it does not know an id of its own, so all are made known first.
  for (unsigned type = 1; type < unsigned(HandleType::kCount); ++type) {
    for (unsigned k = 0; k < kObjects; ++k) id_for(HandleType(type), k);
  }
  expectation.cut = expectation.reached = expectation.nulls = expectation.default_stream = false;
  expectation.calls = 0;
}

Trial::~Trial() {
  driver() = {};
  runtime() = {};
}

void Trial::set_nulls(bool nulls) { expectation.nulls = nulls; }
void Trial::set_default_stream(bool is_default) { expectation.default_stream = is_default; }
int Trial::calls() const { return expectation.calls; }

void Trial::settle() {
  // Any call that waits comes after all before it. This one has no arguments and no decoder.
  rpc::CallWriter call(session().connection(), Opcode::k_cuProfilerInitialize,
                       client::thread_state().lane);
  EXPECT_EQ(call.wait().result(), CUDA_ERROR_NOT_SUPPORTED);
  EXPECT_EQ(session().connection().take_async_error(), 0);
}

void Trial::cut() {
  const Words message = fake_server().last_message(current_op);
  write_seed(current_op, message);
  expectation.cut = true;
  // From 1: no words at all is a message of defaults.
  for (size_t words = 1; words < message.size(); ++words) {
    expectation.reached = false;
    run_damaged(current_op, std::span(message).first(words));
    EXPECT_FALSE(expectation.reached) << rpc::opcode_name(current_op) << " was called though only "
                                      << words << " of " << message.size() << " words came";
  }
  run_damaged(current_op, {});
  for (size_t at = 0; at < message.size(); ++at) {
    for (const uint64_t garbage :
         {uint64_t(0), ~uint64_t(0), message[at] << 8, uint64_t(0x7fffffff00000001)}) {
      Words garbled = message;
      garbled[at] = garbage;
      run_damaged(current_op, garbled);
    }
  }
  fake_server().worker.failures = 0;
  expectation.cut = false;
}

}  // namespace farcall::codegen_testing
