// A program as users have them, for entry_test: it calls the client library the way generated stubs
// do, in the situation that its argument names, and prints what it got.
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <set>
#include <string>
#include <thread>

#include "base/clock.h"
#include "client/stub.h"
#include "rpc/schema/calls.capnp.h"

namespace {

using namespace farcall;
using client::Call;
using client::Session;
using rpc::Opcode;

cudaError_t launch() {
  return client::enter<cudaError_t>(Opcode::k_cudaLaunchKernel, [](Session& session) -> int {
    Call call(session, Opcode::k_farcallLaunchKernel);
    call.args<rpc::schema::FarcallLaunchKernel>().setGridX(1);
    return call.post();
  });
}

cudaError_t synchronize() {
  return client::enter<cudaError_t>(Opcode::k_cudaDeviceSynchronize, [](Session& session) -> int {
    Call call(session, Opcode::k_farcallContextSynchronize);
    return call.wait().result();
  });
}

CUresult limit(int which) {
  return client::enter<CUresult>(Opcode::k_cuCtxGetLimit, [&](Session& session) -> int {
    client::CachedCall call(session, Opcode::k_farcallGlobalGet);
    call.args<rpc::schema::FarcallGlobalGet>().setModule(uint64_t(which));
    return call.wait().result();
  });
}

cudaError_t last_error() {
  return client::enter_local<cudaError_t>(Opcode::k_cudaGetLastError, [] {
    return static_cast<cudaError_t>(std::exchange(client::thread_state().last_error, 0));
  });
}

struct AtExit {
  bool armed = false;
  ~AtExit() {
    if (armed) std::printf("in a static destructor: %d\n", int(synchronize()));
  }
} at_exit;

void calls() {
  for (int i = 0; i < 1000; ++i) {
    if (launch() != cudaSuccess) std::printf("launch failed\n");
  }
  for (int i = 0; i < 10; ++i) limit(i % 2);
  std::printf("synchronize %d\n", int(synchronize()));
  std::printf("last error %d\n", int(last_error()));
}

void no_server() {
  const uint64_t start = now_ns();
  for (int i = 0; i < 1000; ++i) {
    if (launch() != cudaErrorNoDevice) std::printf("launch: not NoDevice\n");
  }
  std::printf("%s\n", now_ns() - start < 900'000'000u ? "fast" : "slow");
  std::printf("last error %d\n", int(last_error()));
}

void fork_after_use() {
  std::printf("parent %d\n", int(synchronize()));
  std::fflush(stdout);
  const pid_t child = ::fork();
  if (child == 0) {
    std::printf("child %d", int(launch()));
    std::printf(" %d %d\n", int(synchronize()), int(last_error()));
    std::exit(0);
  }
  ::waitpid(child, nullptr, 0);
  std::printf("parent %d\n", int(synchronize()));
}

void fork_before_use() {
  const pid_t child = ::fork();
  if (child == 0) {
    std::printf("child %d\n", int(synchronize()));
    std::exit(0);
  }
  ::waitpid(child, nullptr, 0);
  std::printf("parent %d\n", int(synchronize()));
}

void threads() {
  std::set<uint32_t> lanes;
  for (int i = 0; i < 50; ++i) {
    std::thread([&] {
      synchronize();
      lanes.insert(client::thread_state().lane.id);
    }).join();
  }
  std::printf("%zu lanes\n", lanes.size());
}

void per_thread_streams() {
  const auto stream = [](bool per_thread_default, uintptr_t handle) {
    rpc::HandleId id = 0;
    (void)client::enter<cudaError_t>(Opcode::k_cudaStreamSynchronize, [&](Session& session) -> int {
      id = client::stream_id(session, reinterpret_cast<void*>(handle), per_thread_default);
      return 0;
    });
    return id;
  };
  const auto own = stream(false, 2);
  std::printf("%d %d %d\n", int(stream(false, 0)), int(stream(false, 1)), int(stream(true, 1)));
  std::printf("%d %d\n", own > 2, stream(true, 0) == own && stream(false, 2) == own);
  std::thread([&] { std::printf("%d\n", stream(true, 0) != own); }).join();
}

void output() {
  std::printf("before\n");
  synchronize();
  std::printf("after\n");
}

void stuck_server() {
  // More than the socket takes, from a thread that then hangs in its call, as the program ends.
  std::thread([] {
    while (launch() == cudaSuccess) {
    }
  }).detach();
  ::usleep(300'000);
  std::exit(0);
}

void exceptions() {
  std::printf("%d\n", int(client::enter<CUresult>(Opcode::k_cuCtxGetLimit, [](Session&) -> int {
                throw std::bad_alloc();
              })));
  // Results that don't decode end the session.
  std::printf(
      "%d\n", int(client::enter<CUresult>(Opcode::k_cuCtxGetLimit, [](Session& session) -> int {
        Call call(session, Opcode::k_farcallGlobalGet);
        rpc::Reply reply = call.wait();
        return int(reply.results<rpc::schema::FarcallModuleLoadResults>().getErrorLog().size());
      })));
  std::printf("%d\n", int(synchronize()));
  for (int i = 0; i < 2; ++i) {
    std::printf("%d\n", int(client::not_supported<cudaError_t>("cudaNoSuchThing", "a test")));
  }
}

}  // namespace

int main(int argc, char** argv) {
  const std::string what = argc > 1 ? argv[1] : "";
  at_exit.armed = what == "static_destructor";
  if (what == "calls") calls();
  if (what == "no_server") no_server();
  if (what == "fork_after_use") fork_after_use();
  if (what == "fork_before_use") fork_before_use();
  if (what == "static_destructor") synchronize();
  if (what == "threads") threads();
  if (what == "per_thread_streams") per_thread_streams();
  if (what == "output") output();
  if (what == "stuck_server") stuck_server();
  if (what == "exceptions") exceptions();
  if (what == "lost") {
    const int first = synchronize(), second = synchronize();
    std::printf("%d %d %d\n", first, second, int(launch()));
  }
  return 0;
}
