// Runs grids: hands out blocks to the thread that launched and to the engine's workers.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "softgpu/exec/state.h"

namespace farcall::softgpu {

// Blocks with their buffers, kept between launches so that a small launch allocates nothing.
class BlockPool {
 public:
  std::unique_ptr<Block> take();
  void give(std::unique_ptr<Block> block);

 private:
  static constexpr size_t kKeptMax = 16;
  std::mutex mutex_;
  std::vector<std::unique_ptr<Block>> blocks_;
};

// Threads that help with grids. The launching thread works too, so each launch makes progress
// however many there are.
class WorkerPool {
 public:
  explicit WorkerPool(unsigned helpers) : helpers_max_(helpers) {}
  ~WorkerPool();
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  // Runs all blocks; returns when they are done or one has faulted. From any thread.
  void run(GridRun& run);

 private:
  struct Job {
    GridRun* run;
    unsigned wanted;   // helpers that may still join
    unsigned running;  // helpers at work
  };
  void start_threads(unsigned count);
  void help();

  const unsigned helpers_max_;
  BlockPool blocks_;
  std::mutex mutex_;
  std::condition_variable work_, done_;
  std::vector<Job*> jobs_;
  std::vector<std::thread> threads_;
  bool stopping_ = false;
};

}  // namespace farcall::softgpu
