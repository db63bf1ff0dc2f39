#include "softgpu/driver/thread_state.h"

#include <pthread.h>

#include <atomic>

#include "softgpu/driver/driver.h"

namespace farcall::softgpu {
namespace {

std::atomic<uint64_t> threads_seen = 0;
thread_local ThreadState* state = nullptr;

void thread_ends(void* ended) {
  auto* mine = static_cast<ThreadState*>(ended);
  if (state == mine) state = nullptr;
  if (Driver* driver = Driver::get()) driver->thread_ends(mine->number);
  delete mine;
}

// Not a thread_local object: its destructor would run at exit() in the main thread, before the last
// CUDA calls.
pthread_key_t exit_key() {
  static const pthread_key_t key = [] {
    pthread_key_t created;
    pthread_key_create(&created, thread_ends);
    return created;
  }();
  return key;
}

}  // namespace

ThreadState& this_thread() {
  if (state == nullptr) {
    state = new ThreadState;
    state->number = ++threads_seen;
    pthread_setspecific(exit_key(), state);
  }
  return *state;
}

}  // namespace farcall::softgpu
