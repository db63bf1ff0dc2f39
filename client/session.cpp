#include "client/session.h"

#include <cuda.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <new>

#include "base/log.h"
#include "client/contexts.h"
#include "rpc/convert.h"

namespace farcall::client {
namespace {

using rpc::HandleId;
using rpc::HandleType;

// A program that asks the same things with ever new arguments doesn't fill its memory with answers.
constexpr size_t kCachedAnswersMax = 1 << 16;

// Results that the same arguments will always give: success, invalid value, no or invalid device,
// invalid handle, not found, not supported (CUresult and cudaError_t agree on the numbers).
bool depends_on_arguments_only(int result) {
  constexpr int kResults[] = {0, 1, 100, 101, 400, 500, 801};
  return std::ranges::find(kResults, result) != std::end(kResults);
}

std::string_view text(std::span<const std::byte> key) {
  return {reinterpret_cast<const char*>(key.data()), key.size()};
}

// Kernels print through C's stdio, as CUDA's do, so that their lines mix with the program's in
// order.
void print(std::string_view text, bool is_stderr) {
  std::fwrite(text.data(), 1, text.size(), is_stderr ? stderr : stdout);
}

DeviceInfo device_info(rpc::schema::Device::Reader device) {
  DeviceInfo info = {};
  info.name = device.getName();
  rpc::from_data(device.getUuid(), info.uuid, sizeof info.uuid);
  info.total_memory = device.getTotalMemory();
  for (const auto attribute : device.getAttributes()) {
    info.attributes[attribute.getId()] = attribute.getValue();
  }
  info.pci_bus_id = device.getPciBusId();
  // Over a network the program and its kernels don't share memory at the same time.
  for (const int attribute :
       {CU_DEVICE_ATTRIBUTE_CONCURRENT_MANAGED_ACCESS, CU_DEVICE_ATTRIBUTE_PAGEABLE_MEMORY_ACCESS,
        CU_DEVICE_ATTRIBUTE_PAGEABLE_MEMORY_ACCESS_USES_HOST_PAGE_TABLES,
        CU_DEVICE_ATTRIBUTE_DIRECT_MANAGED_MEM_ACCESS_FROM_HOST,
        CU_DEVICE_ATTRIBUTE_HOST_NATIVE_ATOMIC_SUPPORTED}) {
    const auto known = info.attributes.find(attribute);
    if (known != info.attributes.end()) known->second = 0;
  }
  return info;
}

}  // namespace

Session::Session(std::unique_ptr<transport::Channel> channel,
                 rpc::schema::Accepted::Reader accepted, const rpc::ConnectionOptions& options)
    : driver_version_(accepted.getDriverVersion()),
      runtime_version_(accepted.getRuntimeVersion()),
      runtime_problem_(accepted.getRuntimeProblem()),
      ptx_only_(accepted.getPtxOnly()) {
  for (const auto device : accepted.getDevices()) {
    if (devices_.size() == kDevicesMax) {
      log::warning("the server has {} devices; the first {} can be used",
                   accepted.getDevices().size(), kDevicesMax);
      break;
    }
    devices_.push_back(device_info(device));
  }
  connection_ = std::make_unique<rpc::ClientConnection>(std::move(channel), options);
  connection_->set_output_handler(print);
}

HandleId Session::mint(HandleType type) {
  const HandleId id = handles_.mint(type);
  if (id == 0) throw std::bad_alloc();
  return id;
}

bool Session::valid(HandleId id, HandleType type) const {
  if (type == HandleType::kContext &&
      rpc::handle_generation(id) == rpc::kPrimaryContextGeneration) {
    return rpc::handle_type(id) == type && rpc::handle_index(id) < devices_.size();
  }
  return handles_.alive(id, type);
}

std::optional<rpc::Reply> Session::cached(std::span<const std::byte> key) const {
  const std::shared_lock lock(cache_mutex_);
  const auto found = cache_.find(text(key));
  if (found == cache_.end()) return std::nullopt;
  return found->second;
}

void Session::remember(std::span<const std::byte> key, rpc::Reply reply) {
  if (!depends_on_arguments_only(reply.own_result())) return;
  const std::lock_guard lock(cache_mutex_);
  if (cache_.size() >= kCachedAnswersMax) return;
  cache_.try_emplace(std::string(text(key)), reply.without_async_failure());
}

void Session::forget_cached() {
  const std::lock_guard lock(cache_mutex_);
  cache_.clear();
}

namespace {

// CUDA's errors that leave the context unusable ("the process must be terminated and relaunched" in
// cuda.h).
bool is_sticky(int result) {
  switch (result) {
    case CUDA_ERROR_ILLEGAL_ADDRESS:
    case CUDA_ERROR_LAUNCH_TIMEOUT:
    case CUDA_ERROR_ASSERT:
    case CUDA_ERROR_HARDWARE_STACK_ERROR:
    case CUDA_ERROR_ILLEGAL_INSTRUCTION:
    case CUDA_ERROR_MISALIGNED_ADDRESS:
    case CUDA_ERROR_INVALID_ADDRESS_SPACE:
    case CUDA_ERROR_INVALID_PC:
    case CUDA_ERROR_LAUNCH_FAILED:
    case CUDA_ERROR_ECC_UNCORRECTABLE:
      return true;
    default:
      return false;
  }
}

}  // namespace

int Session::find_sticky_error(rpc::HandleId context) const {
  const std::lock_guard lock(sticky_mutex_);
  const auto found = sticky_errors_.find(context);
  return found == sticky_errors_.end() ? 0 : found->second;
}

void Session::note_result(rpc::HandleId context, int result) {
  if (!is_sticky(result)) return;
  const std::lock_guard lock(sticky_mutex_);
  sticky_errors_.try_emplace(context, result);
  any_sticky_.store(true, std::memory_order_relaxed);
}

void Session::forget_sticky_error(rpc::HandleId context) {
  const std::lock_guard lock(sticky_mutex_);
  sticky_errors_.erase(context);
  any_sticky_.store(!sticky_errors_.empty(), std::memory_order_relaxed);
}

}  // namespace farcall::client
