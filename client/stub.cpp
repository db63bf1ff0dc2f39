#include "client/stub.h"

#include <fmt/format.h>
#include <kj/exception.h>

#include <array>
#include <cstring>
#include <mutex>
#include <new>
#include <set>
#include <string>

#include "base/log.h"
#include "client/contexts.h"
#include "client/entry.h"
#include "client/program.h"
#include "client/stats.h"
#include "client/stub_args.h"
#include "driverabi/error_names.h"
#include "rpc/schema/driver_stream.capnp.h"

namespace farcall::client {

ErrorLog& error_log() {
  static ErrorLog* const instance = new ErrorLog;  // leaked: see program.h
  return *instance;
}

using rpc::HandleId;
using rpc::Opcode;

// --- Around a body

namespace detail {

std::atomic<bool> instrumented{false};

void note_call(Opcode op, int result, const ThreadState& thread, uint64_t remote_calls_before,
               uint64_t cached_answers_before) noexcept {
  const bool remote = thread.remote_calls != remote_calls_before;
  const bool cached = thread.cached_answers != cached_answers_before;
  count_function(op, remote ? CallClass::kRemote : cached ? CallClass::kCached : CallClass::kLocal);
  log::trace("{} = {}", opcode_name(op), result);
}

void enter_primary_context(ThreadState& thread) noexcept {
  thread.lane.context = rpc::primary_context_id(thread.device);
  contexts().hold_primary(thread.device);
}

void note_failure(Opcode op, int result) noexcept {
  // Not ready is an answer; and these two tell of a failure that is in the log.
  if (result == CUDA_ERROR_NOT_READY || op == Opcode::k_cudaGetLastError ||
      op == Opcode::k_cudaPeekAtLastError) {
    return;
  }
  try {
    const char* error = nullptr;
    if (driverabi::get_error_name(CUresult(result), &error) != CUDA_SUCCESS)
      error = "an error of the runtime";
    error_log().add(CU_LOG_LEVEL_ERROR,
                    fmt::format("[CUDA][E] {} returned {}", opcode_name(op), error));
  } catch (...) {  // out of memory
  }
}

int result_of_exception(Opcode op) noexcept {
  try {
    throw;
  } catch (const kj::Exception& exception) {
    if (Session* const session = session_if_connected()) {
      session->connection().lose(fmt::format("the results of {} don't decode: {}", opcode_name(op),
                                             exception.getDescription().cStr()));
    }
    return rpc::kSessionLostResult;
  } catch (const std::bad_alloc&) {
    return CUDA_ERROR_OUT_OF_MEMORY;
  } catch (const std::exception& exception) {
    log::error("{}: {}", opcode_name(op), exception.what());
    return CUDA_ERROR_UNKNOWN;
  } catch (...) {
    log::error("{}: an exception of unknown type", opcode_name(op));
    return CUDA_ERROR_UNKNOWN;
  }
}

void log_not_supported(const char* name, const char* reason) noexcept {
  try {
    static std::mutex& mutex = *new std::mutex;  // leaked: calls come after static destructors
    static auto& logged = *new std::set<std::string>;
    const std::lock_guard guard(mutex);
    if (!logged.emplace(name).second) return;
  } catch (...) {  // out of memory: then it is logged again
  }
  const bool has_reason = reason != nullptr && *reason != '\0';
  log::warning("{} is not supported{}{}", name, has_reason ? ": " : "", has_reason ? reason : "");
}

}  // namespace detail

// --- CachedCall

CachedCall::CachedCall(Session& session, Opcode op) : session_(session), op_(op) {}

CachedCall::~CachedCall() noexcept(false) = default;

rpc::Reply CachedCall::wait() {
  ThreadState& thread = thread_state();
  kj::Array<capnp::word> flat;
  const rpc::MessageView message = rpc::encode(message_.builder(), flat);
  struct Prefix {
    uint64_t op, context;
  };
  const Prefix prefix = {.op = static_cast<uint64_t>(op_), .context = thread.lane.context};
  std::array<std::byte, 512> small;  // most keys; the rest goes to the heap
  std::vector<std::byte> large;
  const size_t bytes = sizeof prefix + message.bytes();
  if (bytes > small.size()) large.resize(bytes);
  const std::span<std::byte> key(bytes > small.size() ? large.data() : small.data(), bytes);
  std::memcpy(key.data(), &prefix, sizeof prefix);
  if (message.bytes() > 0) {
    std::memcpy(key.data() + sizeof prefix, message.words.data(), message.bytes());
  }

  if (auto known = session_.cached(key)) {
    ++thread.cached_answers;
    return std::move(*known);
  }
  Call call(session_, op_);
  call.message(message);
  rpc::Reply reply = call.wait();
  session_.remember(key, reply);
  return reply;
}

// --- Streams

namespace {

// Where this thread keeps its stream in the current context.
HandleId& per_thread_stream(ThreadState& thread) {
  const HandleId context = thread.lane.context;
  if (rpc::handle_generation(context) == rpc::kPrimaryContextGeneration &&
      rpc::handle_index(context) < std::size(thread.per_thread_stream)) {
    return thread.per_thread_stream[rpc::handle_index(context)];
  }
  auto& streams = thread.per_thread_stream_of_context;
  for (auto& [known, stream] : streams) {
    if (known == context) return stream;
  }
  return streams.emplace_back(context, 0).second;
}

}  // namespace

int Call::post_blocking() {
  // A program that knows its memory to be freed may look at what kernels have written meanwhile.
  const bool wait_for_it = program().host_functions.pending() || program().visible.busy();
  return wait_for_it ? wait().result() : post();
}

HandleId stream_id(Session& session, const void* stream, bool per_thread_default) {
  const auto id = id_of(stream);
  const bool per_thread =
      id == rpc::kStreamPerThread || (id == rpc::kStreamDefault && per_thread_default);
  if (!per_thread) return id;
  HandleId& own = per_thread_stream(thread_state());
  if (own != 0) return own;
  // Where there can be no stream, the call that wants one will fail as well.
  if (broken_context(session) != 0) return rpc::kStreamPerThread;
  Minted minted(session, rpc::HandleType::kStream);
  Call call(session, Opcode::k_cuStreamCreate);
  auto args = call.args<rpc::schema::CuStreamCreate>();
  args.setPhStream(minted.id());
  args.setFlags(CU_STREAM_DEFAULT);
  if (call.post_creation() != 0) return rpc::kStreamPerThread;
  return own = minted.keep();
}

}  // namespace farcall::client
