#include "server/captured_copies.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>

#include "base/log.h"
#include "server/driver_table.h"
#include "server/relaxed_capture.h"

namespace farcall::server {
namespace {

constexpr size_t kPageBytes = 4096;

size_t pages(size_t bytes) { return (bytes + kPageBytes - 1) / kPageBytes * kPageBytes; }

uint64_t address_of(const void* pointer) { return reinterpret_cast<uint64_t>(pointer); }

std::byte* allocate(const DriverTable& driver, size_t bytes) {
  void* memory =
      ::mmap(nullptr, pages(bytes), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return nullptr;
  if (driver.cuMemHostRegister_v2 != nullptr) {
    const RelaxedCapture relaxed(driver);
    const CUresult result =
        driver.cuMemHostRegister_v2(memory, pages(bytes), CU_MEMHOSTREGISTER_PORTABLE);
    if (result != CUDA_SUCCESS)
      log::debug("a captured copy is not pinned: CUresult {}", int(result));
  }
  return static_cast<std::byte*>(memory);
}

// The host side of a copy, 0: it has none. Unified memory is the host's if it is one of our
// buffers; a graph gets no other copies with unified addresses than those between device memory.
uint64_t host_side(CUmemorytype type, const void* host, CUdeviceptr device) {
  if (type == CU_MEMORYTYPE_HOST) return address_of(host);
  return type == CU_MEMORYTYPE_UNIFIED ? device : 0;
}

}  // namespace

struct CapturedCopies::Released {
  std::mutex mutex;
  std::vector<uint64_t> ids;
};

namespace {

// What a user object carries.
struct Hook {
  std::shared_ptr<void> released;
  uint64_t id;  // 0: of no copy any more
};

}  // namespace

CapturedCopies::CapturedCopies(const DriverTable& driver, Staging& staging,
                               const rpc::HandleTable& handles)
    : driver_(driver),
      staging_(staging),
      handles_(handles),
      released_(std::make_shared<Released>()) {}

CapturedCopies::~CapturedCopies() = default;

bool CapturedCopies::capturing(const DriverTable& driver, CUstream stream) {
  if (driver.cuStreamIsCapturing == nullptr) return false;
  CUstreamCaptureStatus status = CU_STREAM_CAPTURE_STATUS_NONE;
  return driver.cuStreamIsCapturing(stream, &status) == CUDA_SUCCESS &&
         status != CU_STREAM_CAPTURE_STATUS_NONE;
}

// --- Capturing

std::shared_ptr<CapturedCopy> CapturedCopies::add(uint64_t id, uint64_t bytes, bool to_device,
                                                  Status* broken, CUresult* result) {
  *result = CUDA_ERROR_INVALID_VALUE;
  *broken = id == 0 || copies_.contains(id) ? Status::kProtocol : Status::kOk;
  if (*broken != Status::kOk || bytes == 0) return nullptr;
  collect();
  *result = CUDA_ERROR_OUT_OF_MEMORY;
  if (bytes > kCapturedBytesMax || pages(bytes) > kCapturedBytesMax - bytes_ ||
      copies_.size() >= kCapturedCopiesMax) {
    log::warning("no room for a captured copy of {} bytes beside {} others of {} bytes", bytes,
                 copies_.size(), bytes_);
    return nullptr;
  }
  std::byte* const buffer = allocate(driver_, bytes);
  if (buffer == nullptr) return nullptr;
  auto copy = std::make_shared<CapturedCopy>(CapturedCopy{id, to_device, bytes, buffer});
  bytes_ += pages(bytes);
  copies_[id].copy = copy;
  id_of_buffer_[address_of(buffer)] = id;
  *result = CUDA_SUCCESS;
  return copy;
}

CUresult CapturedCopies::capture(uint64_t id, CUdeviceptr device, uint64_t bytes, bool to_device,
                                 CUstream stream, Status* broken) {
  const std::lock_guard lock(mutex_);
  CUresult result = CUDA_SUCCESS;
  const auto copy = add(id, device == 0 ? 0 : bytes, to_device, broken, &result);
  if (copy == nullptr) return result;
  result = to_device ? driver_.cuMemcpyHtoDAsync_v2(device, copy->buffer, bytes, stream)
                     : driver_.cuMemcpyDtoHAsync_v2(copy->buffer, device, bytes, stream);
  if (result != CUDA_SUCCESS) {
    forget_buffer(id);
    return result;
  }
  any_ = true;
  tie_to_graph(id, graph_of(stream));
  return CUDA_SUCCESS;
}

std::byte* CapturedCopies::make_buffer(uint64_t id, uint64_t bytes, bool to_device, Status* broken,
                                       CUresult* result) {
  const std::lock_guard lock(mutex_);
  const auto copy = add(id, bytes, to_device, broken, result);
  if (copy == nullptr) return nullptr;
  any_ = true;
  return copy->buffer;
}

void CapturedCopies::drop(uint64_t id) {
  const std::lock_guard lock(mutex_);
  if (copies_.contains(id)) forget_buffer(id);
}

uint64_t CapturedCopies::id_of(const void* buffer) {
  const std::lock_guard lock(mutex_);
  const auto found = id_of_buffer_.find(address_of(buffer));
  return found == id_of_buffer_.end() ? 0 : found->second;
}

void CapturedCopies::tie_to_node(CUgraph graph, CUgraphNode node,
                                 const std::vector<uint64_t>& ids) {
  const std::lock_guard lock(mutex_);
  const auto known = nodes_.find(node);
  if (graph != nullptr) {
    nodes_[node] = {graph, ids};
  } else if (known != nodes_.end()) {
    graph = known->second.graph;
    if (handles_.id_of(rpc::HandleType::kGraph, graph) == 0) graph = nullptr;  // destroyed
    for (const uint64_t old : known->second.copies) {
      const auto entry = copies_.find(old);
      if (graph == nullptr || entry == copies_.end() || entry->second.tie == nullptr ||
          driver_.cuGraphReleaseUserObject == nullptr) {
        continue;
      }
      (void)driver_.cuGraphReleaseUserObject(graph, entry->second.tie, 1);
    }
    known->second.copies = ids;
  }
  // A node that was captured or cloned: which graph has it isn't known, and its buffers stay.
  if (graph == nullptr) return;
  for (const uint64_t id : ids) tie_to_graph(id, graph);
}

CUresult CapturedCopies::check_exec_node(rpc::HandleId exec, bool has_buffers) {
  const std::lock_guard lock(mutex_);
  const auto known = execs_.find(exec);
  if (known == execs_.end() || !known->second.updated) return CUDA_SUCCESS;
  return has_buffers || !known->second.copies.all.empty() ? CUDA_ERROR_NOT_SUPPORTED : CUDA_SUCCESS;
}

std::vector<CapturedCopyRef> CapturedCopies::tie_to_exec(rpc::HandleId exec, CUgraphNode node,
                                                         const std::vector<uint64_t>& ids) {
  const std::lock_guard lock(mutex_);
  const auto known = execs_.find(exec);
  if (known == execs_.end() && ids.empty()) return {};
  Exec& changed = execs_[exec];
  changed.replaced.insert(changed.replaced.end(), changed.copies.all.begin(),
                          changed.copies.all.end());
  std::vector<CapturedCopyRef>& of_node = changed.copies.of_node[node];
  of_node.clear();
  for (const uint64_t id : ids) {
    const auto entry = copies_.find(id);
    if (entry == copies_.end()) continue;
    entry->second.in_use = false;  // by nothing but `exec`, which holds it
    of_node.push_back(entry->second.copy);
  }
  changed.copies.all.clear();
  for (const auto& [each, copies] : changed.copies.of_node) {
    for (const CapturedCopyRef& copy : copies) {
      if (std::find(changed.copies.all.begin(), changed.copies.all.end(), copy) ==
          changed.copies.all.end()) {
        changed.copies.all.push_back(copy);
      }
    }
  }
  return changed.copies.all;
}

void CapturedCopies::note_conditional(CUgraphNode node, std::vector<CUgraph> bodies) {
  const std::lock_guard lock(mutex_);
  conditionals_[node] = std::move(bodies);
}

void CapturedCopies::released(void* hook) {
  const std::unique_ptr<Hook> mine(static_cast<Hook*>(hook));
  if (mine->id == 0) return;
  Released& to = *static_cast<Released*>(mine->released.get());
  const std::lock_guard lock(to.mutex);
  to.ids.push_back(mine->id);
}

CUgraph CapturedCopies::graph_of(CUstream stream) {
  if (driver_.cuStreamGetCaptureInfo_v2 == nullptr) return nullptr;
  CUstreamCaptureStatus status = CU_STREAM_CAPTURE_STATUS_NONE;
  CUgraph graph = nullptr;
  const CUresult result =
      driver_.cuStreamGetCaptureInfo_v2(stream, &status, nullptr, &graph, nullptr, nullptr);
  return result == CUDA_SUCCESS ? graph : nullptr;
}

// Fails quietly: then the buffer stays.
void CapturedCopies::tie_to_graph(uint64_t id, CUgraph graph) {
  if (graph == nullptr || driver_.cuUserObjectCreate == nullptr ||
      driver_.cuUserObjectRelease == nullptr || driver_.cuGraphRetainUserObject == nullptr) {
    return;
  }
  auto hook = std::make_unique<Hook>(Hook{released_, id});
  CUuserObject object = nullptr;
  if (driver_.cuUserObjectCreate(&object, hook.get(), &CapturedCopies::released, 1,
                                 CU_USER_OBJECT_NO_DESTRUCTOR_SYNC) != CUDA_SUCCESS) {
    return;
  }
  Hook* const carried = hook.release();
  if (driver_.cuGraphRetainUserObject(graph, object, 1, CU_GRAPH_USER_OBJECT_MOVE) !=
      CUDA_SUCCESS) {
    carried->id = 0;
    (void)driver_.cuUserObjectRelease(object, 1);
    return;
  }
  copies_[id].tie = object;
}

// --- What is in a graph

CUresult CapturedCopies::find(CUgraph graph, GraphCopySet* out) {
  const std::lock_guard lock(mutex_);
  *out = {};
  if (!any_) return CUDA_SUCCESS;  // as in almost all programs
  return walk(graph, 0, out);
}

CUresult CapturedCopies::walk(CUgraph graph, int depth, GraphCopySet* out) {
  if (depth > kGraphDepthMax) {
    log::warning("child graphs are more than {} deep", kGraphDepthMax);
    return CUDA_ERROR_NOT_SUPPORTED;
  }
  if (driver_.cuGraphGetNodes == nullptr || driver_.cuGraphNodeGetType == nullptr ||
      driver_.cuGraphChildGraphNodeGetGraph == nullptr) {
    return CUDA_ERROR_NOT_SUPPORTED;
  }
  size_t count = 0;
  if (const CUresult failed = driver_.cuGraphGetNodes(graph, nullptr, &count)) return failed;
  std::vector<CUgraphNode> nodes(count);
  if (const CUresult failed = driver_.cuGraphGetNodes(graph, nodes.data(), &count)) return failed;
  nodes.resize(std::min(count, nodes.size()));
  for (CUgraphNode node : nodes) {
    CUgraphNodeType type = CU_GRAPH_NODE_TYPE_EMPTY;
    if (const CUresult failed = driver_.cuGraphNodeGetType(node, &type)) return failed;
    CUresult failed = CUDA_SUCCESS;
    if (type == CU_GRAPH_NODE_TYPE_MEMCPY) {
      failed = find_node(node, out);
    } else if (type == CU_GRAPH_NODE_TYPE_GRAPH) {
      CUgraph child = nullptr;
      failed = driver_.cuGraphChildGraphNodeGetGraph(node, &child);
      if (failed == CUDA_SUCCESS) failed = walk(child, depth + 1, out);
    } else if (type == CU_GRAPH_NODE_TYPE_CONDITIONAL) {
      failed = walk_bodies(node, depth);
    }
    if (failed != CUDA_SUCCESS) return failed;
  }
  return CUDA_SUCCESS;
}

// Whether a body runs, and how often, is known only on the GPU, so there may be no copies in it.
CUresult CapturedCopies::walk_bodies(CUgraphNode node, int depth) {
  const auto known = conditionals_.find(node);
  if (known == conditionals_.end()) {
    log::warning("a graph has copies with host memory, and a conditional node of a clone");
    return CUDA_ERROR_NOT_SUPPORTED;
  }
  GraphCopySet inside;
  for (CUgraph body : known->second) {
    if (const CUresult failed = walk(body, depth + 1, &inside)) return failed;
  }
  if (inside.all.empty()) return CUDA_SUCCESS;
  log::warning("a conditional node has copies with host memory");
  return CUDA_ERROR_NOT_SUPPORTED;
}

// A copy with host memory that we don't know would read or write what is no program's memory.
CUresult CapturedCopies::find_node(CUgraphNode node, GraphCopySet* out) {
  CUDA_MEMCPY3D copy = {};
  if (driver_.cuGraphMemcpyNodeGetParams == nullptr ||
      driver_.cuGraphMemcpyNodeGetParams(node, &copy) != CUDA_SUCCESS) {
    log::warning("a graph has a copy whose parameters the driver doesn't tell");
    return CUDA_ERROR_NOT_SUPPORTED;
  }
  const uint64_t sides[] = {host_side(copy.srcMemoryType, copy.srcHost, copy.srcDevice),
                            host_side(copy.dstMemoryType, copy.dstHost, copy.dstDevice)};
  const CUmemorytype types[] = {copy.srcMemoryType, copy.dstMemoryType};
  for (int i = 0; i < 2; ++i) {
    if (sides[i] == 0) continue;
    const auto id = id_of_buffer_.find(sides[i]);
    const auto known = id == id_of_buffer_.end() ? copies_.end() : copies_.find(id->second);
    if (known == copies_.end()) {
      if (types[i] == CU_MEMORYTYPE_UNIFIED) continue;
      log::warning("a graph has a copy with host memory that was not captured as one");
      return CUDA_ERROR_NOT_SUPPORTED;
    }
    const CapturedCopyRef found = known->second.copy;
    out->of_node[node].push_back(found);
    if (std::find(out->all.begin(), out->all.end(), found) == out->all.end()) {
      out->all.push_back(found);
    }
  }
  return CUDA_SUCCESS;
}

// --- Executable graphs

void CapturedCopies::set_copies(rpc::HandleId exec, GraphCopySet copies) {
  const std::lock_guard lock(mutex_);
  const auto known = execs_.find(exec);
  if (known != execs_.end()) {
    Exec& changed = known->second;
    changed.replaced.insert(changed.replaced.end(), changed.copies.all.begin(),
                            changed.copies.all.end());
    changed.copies = std::move(copies);
    changed.updated = true;
  } else if (!copies.all.empty()) {
    execs_[exec].copies = std::move(copies);
  }
}

bool CapturedCopies::has_copies(rpc::HandleId exec) {
  const std::lock_guard lock(mutex_);
  const auto known = execs_.find(exec);
  return known != execs_.end() && !known->second.copies.all.empty();
}

CUresult CapturedCopies::note_launch(rpc::HandleId exec, CUstream stream, CUresult result) {
  const std::lock_guard lock(mutex_);
  const auto known = execs_.find(exec);
  if (known == execs_.end()) return result;
  Exec& launched = known->second;
  if (result == CUDA_SUCCESS) {
    CopyEvent event;
    result = staging_.record(stream, &event);
    if (result == CUDA_SUCCESS) {
      if (launched.launch.event != nullptr) staging_.release_event(launched.launch);
      launched.launch = event;
    }
  }
  launched.last_launch = result;
  return result;
}

CapturedCopyRef CapturedCopies::find_copy(rpc::HandleId exec, uint64_t id) {
  const std::lock_guard lock(mutex_);
  const auto known = execs_.find(exec);
  if (known == execs_.end()) return nullptr;
  for (const CapturedCopyRef& copy : known->second.copies.all) {
    if (copy->id == id) return copy;
  }
  return nullptr;
}

CUresult CapturedCopies::last_launch(rpc::HandleId exec) {
  const std::lock_guard lock(mutex_);
  const auto known = execs_.find(exec);
  return known == execs_.end() ? CUDA_ERROR_INVALID_HANDLE : known->second.last_launch;
}

CUresult CapturedCopies::write(const CapturedCopy& copy, size_t offset,
                               std::span<const std::byte> bytes) {
  std::byte* const to = copy.buffer + offset;
  if (std::memcmp(to, bytes.data(), bytes.size()) == 0) return CUDA_SUCCESS;
  // A graph and its clones share the buffer. Nobody else takes these events away meanwhile: writes,
  // launches and the ends of contexts come in order, from the thread that leads.
  std::vector<CUevent> readers;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [id, exec] : execs_) {
      const auto is_it = [&](const CapturedCopyRef& other) { return other->id == copy.id; };
      if (exec.launch.event != nullptr &&
          std::any_of(exec.copies.all.begin(), exec.copies.all.end(), is_it)) {
        readers.push_back(exec.launch.event);
      }
    }
  }
  const RelaxedCapture relaxed(driver_);
  for (CUevent event : readers) {
    if (const CUresult failed = driver_.cuEventSynchronize(event)) return failed;
  }
  std::memcpy(to, bytes.data(), bytes.size());
  return CUDA_SUCCESS;
}

// --- Ends

void CapturedCopies::forget(CUcontext context) {
  const std::lock_guard lock(mutex_);
  for (auto& [id, exec] : execs_) {
    if (exec.launch.context == context) exec.launch = {};
  }
}

std::vector<uint64_t> CapturedCopies::take_gone() {
  const std::lock_guard lock(mutex_);
  return std::exchange(gone_, {});
}

// An error, too, is the end of its last launch.
bool CapturedCopies::idle(const Exec& exec) {
  return exec.launch.event == nullptr ||
         driver_.cuEventQuery(exec.launch.event) != CUDA_ERROR_NOT_READY;
}

void CapturedCopies::collect() {
  {
    const std::lock_guard lock(released_->mutex);
    for (uint64_t id : released_->ids) {
      if (const auto entry = copies_.find(id); entry != copies_.end()) {
        entry->second.in_use = false;
      }
    }
    released_->ids.clear();
  }
  const RelaxedCapture relaxed(driver_);
  for (auto it = execs_.begin(); it != execs_.end();) {
    auto& [id, exec] = *it;
    const bool done = idle(exec);
    if (done) exec.replaced.clear();
    if (!done || handles_.find(id, rpc::HandleType::kGraphExec) != nullptr) {
      ++it;
      continue;
    }
    if (exec.launch.event != nullptr) staging_.release_event(exec.launch);
    it = execs_.erase(it);
  }
  for (auto it = copies_.begin(); it != copies_.end();) {
    const Entry& entry = it->second;
    // Others hold it: an executable graph, or bytes on their way to the client.
    if (entry.in_use || entry.copy.use_count() > 1) {
      ++it;
      continue;
    }
    const uint64_t id = (it++)->first;
    gone_.push_back(id);
    forget_buffer(id);
  }
}

void CapturedCopies::forget_buffer(uint64_t id) {
  const auto found = copies_.find(id);
  id_of_buffer_.erase(address_of(found->second.copy->buffer));
  free_buffer(*found->second.copy);
  copies_.erase(found);
}

void CapturedCopies::free_buffer(const CapturedCopy& copy) {
  const RelaxedCapture relaxed(driver_);
  if (driver_.cuMemHostUnregister != nullptr) (void)driver_.cuMemHostUnregister(copy.buffer);
  ::munmap(copy.buffer, pages(copy.bytes));
  bytes_ -= pages(copy.bytes);
}

}  // namespace farcall::server
