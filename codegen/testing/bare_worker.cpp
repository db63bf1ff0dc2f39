#include "codegen/testing/bare_worker.h"

#include <cuda.h>

namespace farcall::server {

void Worker::run(const rpc::Frame& frame) {
  const auto table = dispatch_table();
  const size_t index = size_t(frame.call) - rpc::kFirstOpcode;
  CallContext call(*this, frame, false);
  if (index >= table.size() || table[index].run == nullptr) {
    call.finish(CUDA_ERROR_NOT_SUPPORTED);
    return;
  }
  table[index].run(call);
}

const DriverTable& CallContext::driver() const { return worker_.driver; }
const RuntimeTable& CallContext::runtime() const { return worker_.runtime; }

void* CallContext::resolve(rpc::HandleId id, rpc::HandleType type) {
  if (id == 0) return nullptr;
  if (type == rpc::HandleType::kStream && id <= rpc::kStreamPerThread)
    return reinterpret_cast<void*>(id);
  void* const object = worker_.handles.find(id, type);
  if (object == nullptr) problem_ = Problem::kHandle;
  return object;
}

void CallContext::invalidate(std::string_view) { problem_ = Problem::kValue; }

void CallContext::bind(rpc::HandleId id, rpc::HandleType type, void* object) {
  if (worker_.handles.bind(id, type, object) != Status::kOk) ++worker_.failures;
}

void CallContext::unbind(rpc::HandleId id, rpc::HandleType type) {
  worker_.handles.unbind(id, type);
}

rpc::HandleId CallContext::intern(rpc::HandleType type, void* object) {
  return worker_.handles.intern(type, object);
}

void CallContext::send_data(uint64_t, std::span<const std::byte>) {}

void CallContext::finish(int result) {
  finished_ = true;
  result_ = result;
  if (worker_.answers == nullptr) return;
  if (!wants_reply()) {
    worker_.failures += result != 0;
    return;
  }
  kj::Array<capnp::word> flat;
  rpc::MessageView results;
  if (results_) results = rpc::encode(results_->builder(), flat);
  if (worker_.answers->reply(sequence(), frame_.call, result, results) != Status::kOk)
    ++worker_.failures;
}

void CallContext::refuse() {
  finish(problem_ == Problem::kValue ? CUDA_ERROR_INVALID_VALUE : CUDA_ERROR_INVALID_HANDLE);
}

}  // namespace farcall::server
