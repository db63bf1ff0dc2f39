// Functions of the program that streams call. In their place the streams get one of ours: it asks
// the client to call the program's, and holds the stream until the client says that it returned.
//
// A host function may not call CUDA. What must happen before the client hears of it, copies to the
// host that have completed and what kernels printed, is therefore done by a thread of our own. Any
// thread may call this.
#pragma once

#include <cuda.h>

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <unordered_set>

#include "rpc/answer_writer.h"
#include "server/driver_table.h"

namespace farcall::server {

class HostFunctions {
 public:
  // before: sends what the program may look at in its function.
  HostFunctions(const DriverTable& driver, rpc::AnswerWriter& answers,
                std::function<void()> before);
  ~HostFunctions();

  // Enqueues one in the current context. A capture keeps it, to be called any number of times.
  CUresult launch(uint64_t id, CUstream stream, bool with_status);
  // For a node of a graph, which may call it any number of times: what to give the driver, and to
  // forget() if the driver refuses.
  CUDA_HOST_NODE_PARAMS node(uint64_t id);
  void forget(const CUDA_HOST_NODE_PARAMS& params);
  // For a user object: gone() is called and the client is told, once, and nobody waits.
  CUDA_HOST_NODE_PARAMS destructor(uint64_t id, std::function<void()> gone);
  // The reverse; 0: not one of ours.
  static uint64_t id_of(const CUDA_HOST_NODE_PARAMS& params);
  void returned(uint32_t occasion);
  void never(uint64_t id);  // tells the client

 private:
  struct Function {
    HostFunctions* owner;
    uint64_t id;
    CUcontext context;
    bool last;
    std::function<void()> gone = nullptr;
  };
  struct Due {
    Function function;
    uint32_t occasion;
    int result;
  };
  static void CUDA_CB run(void* function);
  static void CUDA_CB run_destructor(void* function);
  static void CUDA_CB run_with_status(CUstream stream, CUresult status, void* function);
  Function* keep(uint64_t id, bool last);
  void forget(const Function* function);
  void hold_stream(Function* function, int result);
  void send();

  const DriverTable& driver_;
  rpc::AnswerWriter& answers_;
  const std::function<void()> before_;

  std::mutex mutex_;  // guards what follows
  std::condition_variable sender_wakes_, streams_wake_;
  bool stop_ = false;
  uint32_t next_occasion_ = 0;
  std::deque<Due> due_;
  std::unordered_set<uint32_t> under_way_;
  // Until they have run; those of graphs for good.
  std::unordered_map<const Function*, std::unique_ptr<Function>> functions_;
  std::thread sender_;  // made with the first
};

}  // namespace farcall::server
