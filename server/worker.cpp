#include "server/worker.h"

#include <kj/exception.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "base/log.h"
#include "rpc/schema/driver_capture.capnp.h"

namespace farcall::server {
namespace {

// Bounds what a session can hold of this host's memory besides its images: a fast client is slowed
// down to the GPU's pace when so much is under way.
constexpr size_t kStagingBytesMax = size_t{256} << 20;
// Threads wait in the driver on behalf of as many client threads; more wait for each other.
constexpr size_t kPoolThreadsMax = 256;
// The leader gets this long to find the end of the stream by itself, behind the calls before it,
// which says more about how the session ended. Then a call must be stuck.
constexpr std::chrono::milliseconds kEndOfStreamGrace{200};
constexpr size_t kPrimaryContextsMax = 256;

constexpr const char* kShutdownSentence = "the server is shutting down";

uint64_t data_of(int fd) { return uint64_t(uint32_t(fd)); }

}  // namespace

struct Worker::PoolThread {
  std::thread thread;
  // What this thread made current, and when.
  rpc::HandleId context = 0;
  uint64_t context_epoch = 0;
  std::vector<capnp::word> frame_copy;

  static thread_local PoolThread* current;
};
thread_local Worker::PoolThread* Worker::PoolThread::current = nullptr;

Worker::Worker(Setup setup)
    : setup_(std::move(setup)),
      answers_(setup_.channel),
      staging_(setup_.driver, kStagingBytesMax),
      pending_copies_(setup_.driver, staging_, answers_),
      ordered_copies_(setup_.driver, staging_),
      captured_copies_(setup_.driver, staging_, handles_),
      visible_memory_(setup_.driver, staging_),
      images_(setup_.image_store, setup_.image_store_bytes_max),
      output_(std::move(setup_.output)),
      host_functions_(setup_.driver, answers_, [this] { before_answer(true); }),
      nvml_(setup_.nvml, setup_.driver),
      placer_(staging_, [this] { return pending_copies_.send_oldest(); }),
      reader_(setup_.channel, rpc::FrameDirection::kCalls, &placer_,
              StagingPlacer::kPlacedBytesMin),
      primary_contexts_(kPrimaryContextsMax),
      epoll_(::epoll_create1(EPOLL_CLOEXEC)),
      wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  assert(epoll_ && wake_);
}

Worker::~Worker() {
  end("the worker is going", false);
  setup_.channel.shutdown();
  for (const auto& thread : pool_) thread->thread.join();
}

// --- The watcher

SessionEnd Worker::run() {
  const auto watch = [&](int fd, uint32_t events) {
    epoll_event event = {};
    event.events = events;
    event.data.u64 = data_of(fd);
    if (fd >= 0) ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event);
  };
  const int channel = setup_.channel.native_handle();
  watch(wake_.get(), EPOLLIN);
  watch(setup_.terminate_fd, EPOLLIN);
  watch(channel, EPOLLRDHUP);

  promote();
  while (!ended()) {
    epoll_event event;
    if (::epoll_wait(epoll_.get(), &event, 1, -1) != 1 || ended()) continue;  // EINTR
    if (event.data.u64 == data_of(wake_.get())) continue;
    if (event.data.u64 == data_of(setup_.terminate_fd)) {
      (void)answers_.fatal(kShutdownSentence);
      end(kShutdownSentence, false);
    } else if ((event.events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) {
      ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, channel, nullptr);
      std::unique_lock lock(end_mutex_);
      if (!end_wakes_.wait_for(lock, kEndOfStreamGrace, [this] { return ended(); })) {
        lock.unlock();
        end("the client went away during a call", false);
      }
    } else {
      watch_for_frames(false);
      Lead offered = Lead::kOffered;
      if (lead_.compare_exchange_strong(offered, Lead::kHeld)) promote();
    }
  }
  const std::lock_guard lock(end_mutex_);
  return end_;
}

void Worker::watch_for_frames(bool on) {
  const int channel = setup_.channel.native_handle();
  epoll_event event = {};
  event.events = EPOLLRDHUP | (on ? EPOLLIN : 0u);
  event.data.u64 = data_of(channel);
  // Fails only when the watcher has seen the client's end and taken the channel out.
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, channel, &event);
}

void Worker::end(std::string reason, bool faulted) {
  {
    const std::lock_guard lock(end_mutex_);
    if (ended()) return;
    end_ = {std::move(reason), faulted};
    ended_.store(true, std::memory_order_release);
  }
  end_wakes_.notify_all();
  {
    const std::lock_guard lock(pool_mutex_);  // nobody is between its look at ended() and its sleep
    pool_wakes_.notify_all();
  }
  const uint64_t one = 1;
  (void)!::write(wake_.get(), &one, sizeof one);
}

void Worker::violation(std::string sentence) {
  if (ended()) return;
  (void)answers_.fatal(sentence);
  end("protocol violation: " + std::move(sentence), true);
}

void Worker::end_of_stream(Status status) {
  switch (status) {
    case Status::kProtocol:
      return violation(reader_.problem());
    case Status::kDisconnected:
      return end(reader_.problem().empty() ? "the client went away" : reader_.problem(), false);
    default:
      return violation(fmt::format("cannot go on: {}", to_string(status)));
  }
}

// --- The pool and its leader

void Worker::promote() {
  const std::lock_guard lock(pool_mutex_);
  lead_is_free_ = true;
  if (idle_count_ > 0) {
    pool_wakes_.notify_one();
    return;
  }
  pool_.push_back(std::make_unique<PoolThread>());
  PoolThread& thread = *pool_.back();
  thread.thread = std::thread([this, &thread] { pool_main(thread); });
}

void Worker::pool_main(PoolThread& self) {
  PoolThread::current = &self;
  std::unique_lock lock(pool_mutex_);
  while (!ended()) {
    if (!lead_is_free_) {
      ++idle_count_;
      pool_wakes_.wait(lock, [this] { return lead_is_free_ || ended(); });
      --idle_count_;
      continue;
    }
    lead_is_free_ = false;
    lock.unlock();
    lead(self);
    lock.lock();
  }
}

void Worker::lead(PoolThread& self) {
  while (!ended()) {
    const auto next = reader_.next();
    if (!next) return end_of_stream(next.status());
    const rpc::Frame& frame = **next;
    if (frame.call == rpc::kLaneSwitch) {
      lane_ = frame.lane;
    } else if (frame.call == rpc::kGoodbye) {
      return end("the client said goodbye", false);
    } else if (!make_call(self, frame)) {
      return;
    }
  }
}

bool Worker::make_call(PoolThread& self, const rpc::Frame& frame) {
  if (setup_.calls != nullptr) {
    setup_.calls->store(setup_.calls->load(std::memory_order_relaxed) + 1,
                        std::memory_order_relaxed);
  }
  const size_t row = size_t{frame.call} - rpc::kFirstOpcode;
  const DispatchEntry* const entry = row < setup_.dispatch.size() ? &setup_.dispatch[row] : nullptr;
  enter_context(self, lane_.context);
  if (!captures_.empty()) permit_unsafe_calls();
  if (entry != nullptr && entry->blocking && frame.has(rpc::kWantsReply) && captures_.empty()) {
    return make_blocking_call(self, *entry, frame);
  }
  dispatch(self, entry, frame);
  if (frame.has(rpc::kWantsReply)) (void)answers_.flush();
  return true;
}

bool Worker::make_blocking_call(PoolThread& self, const DispatchEntry& entry,
                                const rpc::Frame& borrowed) {
  // The reader's buffer is the next leader's.
  rpc::Frame frame = borrowed;
  const size_t payload_words = frame.placed ? 0 : (frame.payload.size() + 7) / 8;
  const size_t words = frame.message.words.size() + payload_words;
  if (self.frame_copy.size() < words) self.frame_copy = std::vector<capnp::word>(words);
  capnp::word* const to = self.frame_copy.data();
  if (!frame.message.words.empty()) {
    std::memcpy(static_cast<void*>(to), frame.message.words.data(), frame.message.bytes());
  }
  frame.message.words = {to, frame.message.words.size()};
  if (payload_words > 0) {
    std::memcpy(static_cast<void*>(to + frame.message.words.size()), frame.payload.data(),
                frame.payload.size());
    frame.payload = {reinterpret_cast<const std::byte*>(to + frame.message.words.size()),
                     frame.payload.size()};
  }

  const bool offered = offer_lead();
  dispatch(self, &entry, frame);
  // Before the answer leaves: the client's next call may come faster than we get to it afterwards.
  const bool leading = !offered || take_lead_back();
  (void)answers_.flush();
  return leading;
}

// False: nobody could take the lead.
bool Worker::offer_lead() {
  {
    const std::lock_guard lock(pool_mutex_);
    if (pool_.size() >= kPoolThreadsMax && idle_count_ == 0) return false;
  }
  // What has arrived already makes no descriptor readable; and some channels have none.
  const bool now = reader_.has_buffered_frame() || setup_.channel.native_handle() < 0;
  if (now) {
    promote();
    return true;
  }
  lead_.store(Lead::kOffered);
  watch_for_frames(true);
  return true;
}

bool Worker::take_lead_back() {
  Lead offered = Lead::kOffered;
  if (!lead_.compare_exchange_strong(offered, Lead::kHeld)) return false;
  watch_for_frames(false);
  return true;
}

// --- Calls

void Worker::enter_context(PoolThread& self, rpc::HandleId id) {
  const uint64_t epoch = context_epoch_.load(std::memory_order_acquire);
  if (self.context == id && self.context_epoch == epoch) return;
  CUcontext context = nullptr;
  if (id != 0) {
    context = static_cast<CUcontext>(handles_.find(id, rpc::HandleType::kContext));
    if (context == nullptr && rpc::handle_type(id) == rpc::HandleType::kContext &&
        rpc::handle_generation(id) == rpc::kPrimaryContextGeneration) {
      context = primary_context(int(rpc::handle_index(id)));
    }
    if (context == nullptr) log::debug("lane {}: {:#x} is no context", lane_.lane, id);
  }
  // An error here is a broken GPU or a destroyed context; the call that follows reports it.
  (void)driver().cuCtxSetCurrent(context);
  self.context = id;
  self.context_epoch = epoch;
}

void Worker::dispatch(PoolThread& self, const DispatchEntry* entry, const rpc::Frame& frame) {
  CallContext call(*this, frame, entry != nullptr && entry->blocking);
  const auto not_supported = [&](const std::string& why) {
    log_once(frame.call,
             fmt::format("{} is not supported: {}", rpc::opcode_name(call.opcode()), why));
    call.finish(CUDA_ERROR_NOT_SUPPORTED);
  };
  if (entry == nullptr) {
    not_supported(fmt::format("opcode {} is newer than this server", frame.call));
  } else if (entry->run == nullptr) {
    not_supported("this server does not remote it");
  } else if (entry->runtime && !setup_.runtime_problem.empty()) {
    not_supported(setup_.runtime_problem);
  } else {
    try {
      entry->run(call);
    } catch (const kj::Exception& error) {
      return violation(fmt::format("{} does not decode: {}", entry->name,
                                   std::string_view(error.getDescription().cStr())));
    } catch (const std::exception& error) {
      return violation(fmt::format("{}: {}", entry->name, error.what()));
    }
    assert(call.finished() || ended());
    // NVIDIA's runtime makes a context current when none is.
    if (entry->runtime && self.context == 0) self.context_epoch = 0;
    note_capture(call, frame);
  }
  if (std::byte* chunk = call.take_staged_payload()) staging_.release(chunk);
}

// --- Captures
// The driver ties a capture to the thread that begins it and, in modes other than RELAXED, refuses
// unsafe calls there, or everywhere. For a program that is the client's thread; here the leader
// makes the calls of all of them. So we decide who may, and let the driver refuse the others.

void Worker::set_capture_mode(int mode) {
  if (mode == CU_STREAM_CAPTURE_MODE_GLOBAL) {
    capture_modes_.erase(lane_.lane);
  } else {
    capture_modes_[lane_.lane] = mode;
  }
}

void Worker::permit_unsafe_calls() {
  const auto set = capture_modes_.find(lane_.lane);
  const int mode = set == capture_modes_.end() ? CU_STREAM_CAPTURE_MODE_GLOBAL : set->second;
  const bool refused = std::ranges::any_of(captures_, [&](const Capture& capture) {
    if (mode == CU_STREAM_CAPTURE_MODE_RELAXED) return false;
    if (capture.lane == lane_.lane) return capture.mode != CU_STREAM_CAPTURE_MODE_RELAXED;
    return mode == CU_STREAM_CAPTURE_MODE_GLOBAL && capture.mode == CU_STREAM_CAPTURE_MODE_GLOBAL;
  });
  if (refused != unsafe_calls_permitted_) return;
  CUstreamCaptureMode exchanged =
      refused ? CU_STREAM_CAPTURE_MODE_GLOBAL : CU_STREAM_CAPTURE_MODE_RELAXED;
  if (driver().cuThreadExchangeStreamCaptureMode != nullptr)
    (void)driver().cuThreadExchangeStreamCaptureMode(&exchanged);
  unsafe_calls_permitted_ = !refused;
}

// A spoiled capture ends, too.
void Worker::note_capture(const CallContext& call, const rpc::Frame& frame) {
  namespace schema = rpc::schema;
  const auto begins = [&](rpc::HandleId stream, int mode) {
    if (call.result() == CUDA_SUCCESS) captures_.push_back({stream, lane_.lane, mode});
  };
  switch (call.opcode()) {
    case rpc::Opcode::k_cuStreamBeginCapture_v2: {
      rpc::MessageDecoder message(frame.message);
      const auto args = message.root<schema::CuStreamBeginCaptureV2>();
      return begins(args.getHStream(), args.getMode());
    }
    case rpc::Opcode::k_cuStreamBeginCaptureToGraph: {
      rpc::MessageDecoder message(frame.message);
      const auto args = message.root<schema::CuStreamBeginCaptureToGraph>();
      return begins(args.getHStream(), args.getMode());
    }
    case rpc::Opcode::k_cuStreamEndCapture: {
      if (call.result() != CUDA_SUCCESS && call.result() != CUDA_ERROR_STREAM_CAPTURE_INVALIDATED &&
          call.result() != CUDA_ERROR_STREAM_CAPTURE_UNJOINED) {
        return;
      }
      rpc::MessageDecoder message(frame.message);
      const rpc::HandleId stream = message.root<schema::CuStreamEndCapture>().getHStream();
      std::erase_if(captures_, [&](const Capture& capture) { return capture.stream == stream; });
      if (captures_.empty() && unsafe_calls_permitted_) {
        CUstreamCaptureMode exchanged = CU_STREAM_CAPTURE_MODE_GLOBAL;
        if (driver().cuThreadExchangeStreamCaptureMode != nullptr)
          (void)driver().cuThreadExchangeStreamCaptureMode(&exchanged);
        unsafe_calls_permitted_ = false;
      }
      return;
    }
    default:
      return;
  }
}

CUcontext Worker::primary_context(int device) {
  if (device < 0 || size_t(device) >= kPrimaryContextsMax) return nullptr;
  const std::lock_guard lock(contexts_mutex_);
  CUcontext& context = primary_contexts_[size_t(device)];
  if (context != nullptr) return context;
  CUdevice handle = 0;
  if (driver().cuDeviceGet(&handle, device) != CUDA_SUCCESS) return nullptr;
  const CUresult result = driver().cuDevicePrimaryCtxRetain(&context, handle);
  if (result != CUDA_SUCCESS || context == nullptr) {
    log::warning("cuDevicePrimaryCtxRetain of device {}: CUresult {}", device, int(result));
    context = nullptr;
    return nullptr;
  }
  (void)handles_.bind(rpc::primary_context_id(device), rpc::HandleType::kContext, context);
  return context;
}

void Worker::context_gone(CUcontext context) {
  pending_copies_.forget(context);
  ordered_copies_.forget(context);
  captured_copies_.forget(context);
  visible_memory_.forget(context);
  staging_.forget(context);
  context_epoch_.fetch_add(1, std::memory_order_release);
}

void Worker::primary_context_gone(int device) {
  if (device < 0 || size_t(device) >= kPrimaryContextsMax) return;
  CUcontext context = nullptr;
  {
    const std::lock_guard lock(contexts_mutex_);
    context = std::exchange(primary_contexts_[size_t(device)], nullptr);
    handles_.unbind(rpc::primary_context_id(device), rpc::HandleType::kContext);
  }
  if (context != nullptr) context_gone(context);
}

void Worker::current_context_unknown() {
  if (PoolThread::current != nullptr) PoolThread::current->context_epoch = 0;
}

std::byte* Worker::staging_chunk() {
  for (;;) {
    if (std::byte* chunk = staging_.acquire()) return chunk;
    if (!pending_copies_.send_oldest()) return nullptr;
  }
}

void Worker::before_answer(bool waited) {
  if (waited) {
    output_.collect([this](std::string_view text) { (void)answers_.output(false, text); });
  }
  pending_copies_.send_completed();
}

void Worker::keep_async_failure(uint16_t call, int result) {
  uint64_t none = 0;
  const uint64_t failure = uint64_t{call} << 32 | uint32_t(result);
  async_failure_.compare_exchange_strong(none, failure);
}

rpc::AsyncFailure Worker::take_async_failure() {
  if (async_failure_.load(std::memory_order_relaxed) == 0) return {};
  const uint64_t failure = async_failure_.exchange(0);
  return {.call = uint16_t(failure >> 32), .result = int32_t(uint32_t(failure))};
}

void Worker::log_once(uint16_t call, const std::string& sentence) {
  const std::lock_guard lock(logged_mutex_);
  if (logged_.insert(call).second) log::warning("{}", sentence);
}

}  // namespace farcall::server
