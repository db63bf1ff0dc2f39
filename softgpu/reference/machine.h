// Runs a kernel one thread at a time: a thread goes on until it is done or has to meet others (a
// barrier, an instruction with .sync), then the next one. Everything is looked up when it is
// needed, in the words of the PTX manual; there are no warps in lockstep, no vectors and no
// shortcuts.
//
// What the manual leaves open is decided as softgpu documents it: a shuffle from a lane that does
// not take part gives 0. Programs with races, or with results that depend on which thread is first,
// are not for this machine. Faults are std::runtime_error: here they mean that a test is wrong.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "softgpu/reference/program.h"

namespace farcall::softgpu::reference {

struct Frame {
  const Function* function;
  std::vector<U128> registers;
  int pc = 0;
  uint64_t base = 0;                        // of its locals in the thread's stack
  std::map<std::string, uint64_t> formals;  // addresses
};

struct Thread {
  enum class State { kRunning, kAtWarpSync, kAtBarrier, kDone };
  State state = State::kRunning;
  uint32_t index = 0;  // in the block
  std::vector<Frame> frames;
  std::vector<uint8_t> stack;
  uint64_t stack_used = 0;
  bool carry = false;

  Frame& frame() { return frames.back(); }
};

// A program that runs for too long to be worth it.
struct TooLong : std::runtime_error {
  using std::runtime_error::runtime_error;
};

class Machine {
 public:
  explicit Machine(const Program& program);

  // Memory that kernels reach at `address`: a copy of its own, changed by run().
  void add_memory(uint64_t address, std::span<const uint8_t> bytes);
  std::span<const uint8_t> memory(uint64_t address) const { return memory_.at(address); }

  void run(std::string_view kernel, std::span<const uint8_t> params, uint32_t blocks,
           uint32_t threads, uint32_t dynamic_shared_bytes = 0);

  // ---- for the instructions ----

  uint64_t read(Thread& thread, const Operand& operand, int bits);
  // Cut to the register's width.
  void write(Thread& thread, const Operand& operand, U128 value);
  bool read_predicate(Thread& thread, const Operand& operand);
  void write_predicate(Thread& thread, int reg, bool value);
  // What an address operand means in a state space ("" is generic), and its bytes.
  uint64_t address(Thread& thread, const Operand& operand, const std::string& space);
  uint8_t* bytes_at(Thread& thread, const std::string& space, uint64_t address, uint64_t count);
  [[noreturn]] void fail(Thread& thread, const std::string& what);

  static constexpr uint64_t kSharedBase = 0x2000'0000'0000, kLocalBase = 0x3000'0000'0000,
                            kParamBase = 0x4000'0000'0000, kVariableBase = 0x5000'0000'0000,
                            kFunctionBase = 0x6000'0000'0000;

 private:
  struct Barrier {
    std::vector<Thread*> waiting;
    uint32_t arrived = 0, expected = 0, votes = 0;
  };
  struct Layout {  // of the variables inside a function
    std::map<std::string, uint64_t> offsets;
    uint64_t bytes = 0;
  };

  void lay_out();
  void initialise_variables();
  uint64_t symbol(Thread& thread, const std::string& name, const std::string& space);
  U128 special(const Thread& thread, const std::string& name) const;

  void run_block();
  void run_thread(Thread& thread);
  void execute(Thread& thread, const Instruction& instruction);
  void enter(Thread& thread, const Function& function, const Instruction* call);
  void call(Thread& thread, const Instruction& instruction);
  void arrive(Thread& thread, const Instruction& instruction);
  bool release_barriers();
  bool meet_in_warps();
  void warp_instruction(std::vector<Thread*>& group, const Instruction& instruction);

  const Program& program_;
  std::map<uint64_t, std::vector<uint8_t>> memory_;
  std::map<std::string, uint64_t> variables_;       // global and constant: address
  std::map<std::string, uint64_t> shared_offsets_;  // also those inside functions
  uint64_t static_shared_bytes_ = 0;
  std::map<const Function*, Layout> layouts_;
  std::map<std::string, const Function*> functions_;

  std::vector<uint8_t> params_;
  std::map<std::string, uint64_t> param_offsets_;
  uint32_t grid_ = 1, block_ = 1, block_index_ = 0, dynamic_shared_ = 0;
  std::vector<uint8_t> shared_;
  std::vector<Thread> threads_;
  uint64_t steps_ = 0;
  Barrier barriers_[16];
};

// Instructions of one thread: everything but control flow and what needs other threads.
// False: not one of those.
bool execute_scalar(Machine& machine, Thread& thread, const Instruction& instruction);

}  // namespace farcall::softgpu::reference
