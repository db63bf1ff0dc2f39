#include "softgpu/exec/child_launch.h"

#include <algorithm>
#include <cstring>
#include <iterator>
#include <utility>

namespace farcall::softgpu {
namespace {

// More than CUDA's 2048 of cudaLimitDevRuntimePendingLaunchCount: a GPU begins some while the grid
// still runs.
constexpr size_t kPendingMax = size_t{1} << 18;
constexpr u64 kBufferUnit = 256, kSlabBytes = 64 << 10;

// cudaStreamTailLaunch, cudaStreamFireAndForget; 0 is the block's own stream.
constexpr u64 kTailStream = 3, kFireAndForgetStream = 4;

// Of compute capability 12.x, as the driver reports them; a child can't be told to use less.
constexpr u64 kGridX = 0x7fffffff, kGridYZ = 65535, kBlockXY = 1024, kBlockZ = 64,
              kSharedBytes = 99 << 10;

bool within(u32 value, u64 max) { return value >= 1 && value <= max; }

bool valid(const KernelInfo& info, const ChildLaunch& launch) {
  const Dim3 &grid = launch.grid, &block = launch.block, &cluster = launch.cluster;
  if (!within(grid.x, kGridX) || !within(grid.y, kGridYZ) || !within(grid.z, kGridYZ) ||
      !within(block.x, kBlockXY) || !within(block.y, kBlockXY) || !within(block.z, kBlockZ)) {
    return false;
  }
  return u64{block.x} * block.y * block.z <= info.max_threads && grid.x % cluster.x == 0 &&
         grid.y % cluster.y == 0 && grid.z % cluster.z == 0 &&
         u64{info.static_shared_bytes} + launch.dynamic_shared_bytes <= kSharedBytes;
}

void move_reversed(std::vector<ChildLaunch>* from, std::vector<ChildLaunch>* to) {
  to->insert(to->end(), std::make_move_iterator(from->rbegin()),
             std::make_move_iterator(from->rend()));
  from->clear();
}

}  // namespace

ChildLaunches::~ChildLaunches() {
  for (void* slab : slabs_) memory_.deallocate(slab);
}

u64 ChildLaunches::take_buffer(u64 bytes) {
  std::vector<u64>& free = free_buffers_[bytes];
  if (free.empty()) {
    const u64 slab_bytes = std::max(bytes, kSlabBytes / bytes * bytes);
    void* const slab = memory_.allocate(slab_bytes, kBufferUnit);
    if (slab == nullptr) return 0;
    slabs_.push_back(slab);
    for (u64 at = slab_bytes; at >= bytes; at -= bytes)
      free.push_back(reinterpret_cast<u64>(slab) + at - bytes);
  }
  const u64 buffer = free.back();
  free.pop_back();
  return buffer;
}

u64 ChildLaunches::prepare(ChildLaunch launch, DeviceError* error) {
  const auto info = launch.program->kernel_info_at(launch.kernel_address);
  if (!info) {
    *error = DeviceError::kInvalidDeviceFunction;
    return 0;
  }
  if (info->cluster.x != 0) launch.cluster = info->cluster;
  if (!valid(*info, launch)) {
    *error = DeviceError::kInvalidConfiguration;
    return 0;
  }
  launch.params.resize(info->param_bytes);
  const u64 bytes =
      (std::max<u64>(info->param_bytes, 1) + kBufferUnit - 1) / kBufferUnit * kBufferUnit;
  const std::lock_guard lock(mutex_);
  const bool full =
      prepared_.size() + launched_.size() + tail_.size() + waiting_.size() >= kPendingMax;
  const u64 buffer = full ? 0 : take_buffer(bytes);
  if (buffer == 0) {
    *error = DeviceError::kLaunchPendingCountExceeded;
    return 0;
  }
  prepared_.insert_or_assign(buffer, Prepared{std::move(launch), bytes});
  return buffer;
}

DeviceError ChildLaunches::launch(u64 buffer, u64 stream) {
  const std::lock_guard lock(mutex_);
  const auto found = prepared_.find(buffer);
  if (found == prepared_.end()) return DeviceError::kInvalidValue;
  if (stream != 0 && stream != kTailStream && stream != kFireAndForgetStream &&
      !handles_.contains(stream)) {
    return DeviceError::kInvalidResourceHandle;
  }
  ChildLaunch& launch = found->second.launch;
  if (!launch.params.empty())
    std::memcpy(launch.params.data(), reinterpret_cast<const void*>(buffer), launch.params.size());
  free_buffers_[found->second.buffer_bytes].push_back(buffer);
  (stream == kTailStream ? tail_ : launched_).push_back(std::move(launch));
  prepared_.erase(found);
  return DeviceError::kNone;
}

u64 ChildLaunches::create_handle() {
  const std::lock_guard lock(mutex_);
  handles_.insert(next_handle_);
  return next_handle_++;
}
bool ChildLaunches::destroy_handle(u64 handle) {
  const std::lock_guard lock(mutex_);
  return handles_.erase(handle) != 0;
}
bool ChildLaunches::knows(u64 handle) const {
  const std::lock_guard lock(mutex_);
  return handle == 0 || handles_.contains(handle);
}

void ChildLaunches::set_error(u64 thread, DeviceError error) {
  const std::lock_guard lock(mutex_);
  if (error == DeviceError::kNone) {
    errors_.erase(thread);
  } else {
    errors_[thread] = error;
  }
}
DeviceError ChildLaunches::error(u64 thread) const {
  const std::lock_guard lock(mutex_);
  const auto found = errors_.find(thread);
  return found == errors_.end() ? DeviceError::kNone : found->second;
}

void ChildLaunches::grid_ended() {
  errors_.clear();
  // Buffers that nobody launched are the grid's no longer.
  for (auto& [buffer, prepared] : prepared_) free_buffers_[prepared.buffer_bytes].push_back(buffer);
  prepared_.clear();
  move_reversed(&tail_, &waiting_);
  move_reversed(&launched_, &waiting_);
}

bool ChildLaunches::next(ChildLaunch* out) {
  if (waiting_.empty()) return false;
  *out = std::move(waiting_.back());
  waiting_.pop_back();
  return true;
}

}  // namespace farcall::softgpu
