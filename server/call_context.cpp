#include "server/call_context.h"

#include <cuda.h>

#include "base/log.h"
#include "server/worker.h"

namespace farcall::server {

const DriverTable& CallContext::driver() const { return worker_.driver(); }
const RuntimeTable& CallContext::runtime() const { return worker_.runtime(); }

void* CallContext::resolve(rpc::HandleId id, rpc::HandleType type) {
  void* const object = look_up(id, type);
  if (type == rpc::HandleType::kStream && valid()) {
    worker_.ordered_copies().before_use(static_cast<CUstream>(object));
  }
  return object;
}

void* CallContext::look_up(rpc::HandleId id, rpc::HandleType type) {
  using rpc::HandleType;
  if (id == 0) return nullptr;
  if (type == HandleType::kStream && (id == rpc::kStreamLegacy || id == rpc::kStreamPerThread)) {
    return reinterpret_cast<void*>(id);
  }
  // A CUkernel is good wherever a CUfunction is, as in the driver.
  if (type == HandleType::kFunction && rpc::handle_type(id) == HandleType::kKernel) {
    type = HandleType::kKernel;
  }
  if (void* const object = worker_.handles().find(id, type)) return object;
  if (type == HandleType::kContext &&
      rpc::handle_generation(id) == rpc::kPrimaryContextGeneration &&
      rpc::handle_type(id) == HandleType::kContext) {
    if (CUcontext context = worker_.primary_context(int(rpc::handle_index(id)))) return context;
  }
  log::debug("{}: {:#x} is no live handle of type {}", rpc::opcode_name(opcode()), id, int(type));
  problem_ = Problem::kHandle;
  return nullptr;
}

void CallContext::invalidate(std::string_view why) {
  log::debug("{}: {}", rpc::opcode_name(opcode()), why);
  if (problem_ == Problem::kNone) problem_ = Problem::kValue;
}

void CallContext::bind(rpc::HandleId id, rpc::HandleType type, void* object) {
  if (object != nullptr && worker_.handles().bind(id, type, object) == Status::kOk) return;
  worker_.violation(fmt::format("{} would give its object the id {:#x}, which is in use or no id",
                                rpc::opcode_name(opcode()), id));
}

void CallContext::unbind(rpc::HandleId id, rpc::HandleType type) {
  worker_.handles().unbind(id, type);
}

rpc::HandleId CallContext::intern(rpc::HandleType type, void* object) {
  if (object == nullptr) return 0;
  return worker_.handles().intern(type, object);
}

void CallContext::send_data(uint64_t offset, std::span<const std::byte> bytes) {
  // A client that is gone is noticed by whoever reads from it.
  (void)worker_.answers().data(sequence(), frame_.call, offset, bytes);
}

void CallContext::finish(int result) {
  assert(!finished_);
  finished_ = true;
  result_ = result;
  if (!wants_reply()) {
    if (result != 0) worker_.keep_async_failure(frame_.call, result);
    if (result != 0) drop_destination();
    return;
  }
  worker_.before_answer(blocking_);
  kj::Array<capnp::word> flat;
  rpc::MessageView results;
  if (results_) results = rpc::encode(results_->builder(), flat);
  (void)worker_.answers().reply(sequence(), frame_.call, result, results, {},
                                worker_.take_async_failure());
}

// A copy to the host that failed before it began: the client need not keep its destination.
void CallContext::drop_destination() {
  const rpc::Opcode op = opcode();
  if (op != rpc::Opcode::k_farcallMemcpyDtoH && op != rpc::Opcode::k_farcallMemcpyRows &&
      op != rpc::Opcode::k_farcallGraphOutput && op != rpc::Opcode::k_farcallVisibleRead) {
    return;
  }
  (void)worker_.answers().async_error(sequence(), worker_.take_async_failure());
}

void CallContext::refuse() {
  finish(problem_ == Problem::kValue ? CUDA_ERROR_INVALID_VALUE : CUDA_ERROR_INVALID_HANDLE);
}

}  // namespace farcall::server
