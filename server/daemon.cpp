#include "server/daemon.h"

#include <signal.h>

#include <asio/io_context.hpp>
#include <asio/signal_set.hpp>
#include <asio/steady_timer.hpp>
#include <cerrno>
#include <cstring>

#include "base/clock.h"
#include "base/log.h"
#include "server/acceptor.h"
#include "server/session_registry.h"

namespace farcall::server {
namespace {

// A worker that was asked to end has this long to tell its client why.
constexpr std::chrono::milliseconds kKillDelay{2000};
// Newcomers that were told to go get a moment to read it.
constexpr std::chrono::milliseconds kFarewell{1000};

rpc::Refusal unavailable(std::string reason) {
  return {.reason = std::move(reason), .status = kStatusUnavailable};
}

}  // namespace

struct Daemon::Parts {
  Parts(const ServerOptions& given, WorkerCommand worker_command)
      : options(given),
        command(std::move(worker_command)),
        acceptor(io, {options.hello_timeout, options.max_half_open},
                 [this](Arrival& arrival) { return admit(arrival); }) {}

  std::optional<rpc::Refusal> admit(Arrival& arrival);
  void await_signals();
  void on_signal(int signal);
  void drain();
  void end_sessions(int signal);
  void stop_when_done();

  const ServerOptions& options;
  const WorkerCommand command;
  asio::io_context io{1};
  asio::signal_set signals{io, SIGTERM, SIGINT, SIGCHLD};
  asio::steady_timer drain_timer{io}, kill_timer{io}, farewell_timer{io};
  SessionRegistry sessions;
  Acceptor acceptor;
  uint64_t last_session = 0;
  int stop_signals = 0;
  bool farewell_over = false;
};

Daemon::Daemon(const ServerOptions& options, WorkerCommand command)
    : parts_(std::make_unique<Parts>(options, std::move(command))) {}
Daemon::~Daemon() = default;

void Daemon::add(std::unique_ptr<transport::Listener> listener) {
  parts_->acceptor.add(std::move(listener));
}

void Daemon::run() {
  parts_->await_signals();
  for (;;) {
    try {
      parts_->io.run();
      return;
    } catch (const std::exception& error) {
      // Out of memory, in all likelihood, for one connection; the others go on.
      log::error("event loop: {}", error.what());
    }
  }
}

// --- Clients

std::optional<rpc::Refusal> Daemon::Parts::admit(Arrival& arrival) {
  sessions.reap();  // a place that has just become free counts
  if (stop_signals > 0) return unavailable("this server is shutting down");
  if (sessions.count() >= size_t(options.max_clients)) {
    return unavailable(
        fmt::format("this server is full: it serves {} clients at a time (--max-clients)",
                    options.max_clients));
  }

  const uint32_t payload_bytes_max = arrival.client.payload_bytes_max;
  if (payload_bytes_max != 0 && payload_bytes_max < rpc::kPayloadBytesMax) {
    return rpc::Refusal{
        .reason =
            fmt::format("Farcall {} of the client takes payloads of at most {} bytes, Farcall {} "
                        "of this server sends up to {}; install the same version on both",
                        arrival.client.farcall_version, payload_bytes_max, rpc::farcall_version(),
                        rpc::kPayloadBytesMax),
        .status = kStatusVersionMismatch};
  }

  SessionRegistry::Session session;
  session.id = ++last_session;
  session.client = fmt::format("{} (pid {} on {}, {})", arrival.client.program, arrival.client.pid,
                               arrival.client.host_name, arrival.channel->peer());
  session.began_ns = now_ns();
  UniqueFd page_fd;
  auto page =
      SessionPageMap::create(session.id, std::as_bytes(arrival.hello.words()), &page_fd);  // logs
  if (!page) return unavailable("this server is out of resources; try again later");
  session.page = page.take();

  std::string what_failed;
  const auto worker = spawn_worker(command, session.id, arrival.channel->native_handle(),
                                   page_fd.get(), &what_failed);
  if (!worker) {
    log::error("session {}: {}", session.id, what_failed);
    return unavailable("this server could not start a worker: " + what_failed);
  }
  sessions.add(*worker, std::move(session));
  arrival.channel.reset();  // the worker has it; ours would keep a dead worker's client waiting
  return std::nullopt;
}

// --- The end

void Daemon::Parts::await_signals() {
  signals.async_wait([this](const asio::error_code& error, int signal) {
    if (error) return;
    on_signal(signal);
    await_signals();
  });
}

void Daemon::Parts::on_signal(int signal) {
  if (signal == SIGCHLD) {
    sessions.reap();
  } else if (++stop_signals == 1) {
    log::info("{}: no new clients; {} have {} s to finish", ::strsignal(signal), sessions.count(),
              double(options.drain_timeout.count()) / 1000);
    drain();
  } else {
    log::info("{} again: ending {} sessions at once", ::strsignal(signal), sessions.count());
    end_sessions(SIGKILL);
  }
  stop_when_done();
}

void Daemon::Parts::drain() {
  acceptor.close();
  farewell_timer.expires_after(kFarewell);
  farewell_timer.async_wait([this](const asio::error_code&) {
    farewell_over = true;
    stop_when_done();
  });
  drain_timer.expires_after(options.drain_timeout);
  drain_timer.async_wait([this](const asio::error_code& error) {
    if (error || sessions.empty()) return;
    log::warning("{} clients did not finish in time; ending them", sessions.count());
    end_sessions(SIGTERM);
  });
}

void Daemon::Parts::end_sessions(int signal) {
  sessions.signal_all(signal);
  if (signal == SIGKILL) return;
  kill_timer.expires_after(kKillDelay);
  kill_timer.async_wait([this](const asio::error_code& error) {
    if (!error) sessions.signal_all(SIGKILL);
  });
}

void Daemon::Parts::stop_when_done() {
  if (stop_signals == 0 || !sessions.empty()) return;
  if (acceptor.half_open() > 0 && !farewell_over) return;
  io.stop();
}

}  // namespace farcall::server
