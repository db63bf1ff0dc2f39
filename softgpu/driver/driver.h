// The driver's one process-wide object and its handle tables. Made by the first cuInit() and never
// destroyed: NVIDIA's runtime, and the program's own static destructors, call after ours would have
// run.
#pragma once

#include <memory>
#include <mutex>
#include <set>
#include <shared_mutex>
#include <string>
#include <vector>

#include "softgpu/driver/api.h"
#include "softgpu/driver/check_report.h"
#include "softgpu/driver/config.h"
#include "softgpu/driver/handles.h"
#include "softgpu/driver/memory_map.h"
#include "softgpu/driver/scheduler.h"
#include "softgpu/exec/unwritten.h"

namespace farcall::softgpu {

class Array;
class Context;
class Device;
class Event;
struct ExternalMemory;
class Function;
class Graph;
class GraphExec;
class GraphNode;
class Library;
class LibraryKernel;
class LinkState;
class MipmappedArray;
class Module;
class Pool;
class Stream;
class SurfaceObject;
class TextureObject;
class UserObject;
class VirtualMemory;

using ContextRef = std::shared_ptr<Context>;
using StreamRef = std::shared_ptr<Stream>;
using FunctionRef = std::shared_ptr<Function>;

constexpr int kDriverVersion = 13000;

class Driver {
 public:
  static Driver* get();          // nullptr before initialise()
  static CUresult initialise();  // cuInit; again: nothing happens

  const Config config;
  const int process;  // that called cuInit()
  MemoryMap memory_map;
  Scheduler scheduler;
  // Held shared by whatever writes device memory, and alone by who moves memory to other pages.
  std::shared_mutex memory_moves;
  VirtualMemory& virtual_memory;
  CheckReport check_report;
  UnwrittenBytes* unwritten() { return config.check.initialized ? &unwritten_ : nullptr; }

  HandleTable<Context, CUcontext, HandleKind::kContext> contexts;
  HandleTable<Stream, CUstream, HandleKind::kStream> streams;
  HandleTable<Event, CUevent, HandleKind::kEvent> events;
  HandleTable<Module, CUmodule, HandleKind::kModule> modules;
  HandleTable<Function, CUfunction, HandleKind::kFunction> functions;
  HandleTable<Library, CUlibrary, HandleKind::kLibrary> libraries;
  HandleTable<LibraryKernel, CUkernel, HandleKind::kKernel> kernels;
  HandleTable<Array, CUarray, HandleKind::kArray> arrays;
  HandleTable<MipmappedArray, CUmipmappedArray, HandleKind::kMipmappedArray> mipmapped_arrays;
  HandleTable<Pool, CUmemoryPool, HandleKind::kPool> pools;
  HandleTable<Graph, CUgraph, HandleKind::kGraph> graphs;
  HandleTable<GraphNode, CUgraphNode, HandleKind::kGraphNode> graph_nodes;
  HandleTable<GraphExec, CUgraphExec, HandleKind::kGraphExec> graph_execs;
  HandleTable<LinkState, CUlinkState, HandleKind::kLinkState> link_states;
  HandleTable<UserObject, CUuserObject, HandleKind::kUserObject> user_objects;
  HandleTable<ExternalMemory, CUexternalMemory, HandleKind::kExternalMemory> external_memory;
  // Their handles are numbers, in kernels too.
  HandleTable<TextureObject, struct TextureNumber*, HandleKind::kTexture> textures;
  HandleTable<SurfaceObject, struct SurfaceNumber*, HandleKind::kSurface> surfaces;

  int device_count() const { return static_cast<int>(devices_.size()); }
  Device* device(CUdevice ordinal) const;  // nullptr: no such device

  uint64_t next_id() { return ++ids_; }  // of contexts, streams, captures: unique in the process

  void thread_ends(uint64_t number);
  // exit() has been called: nobody waits for work any more, which may never end.
  // Whether this is the first time for this sentence: libraries try again and again what can't be.
  bool says_first(const std::string& sentence);
  bool exiting() const { return exiting_.load(std::memory_order_relaxed); }
  // Every context that lives.
  std::vector<ContextRef> live_contexts() const;
  void add_context(const ContextRef& context);

  ~Driver() = delete;

 private:
  explicit Driver(Config from_environment);

  UnwrittenBytes unwritten_;
  std::vector<Device*> devices_;
  std::atomic<uint64_t> ids_ = 0;
  std::atomic<bool> exiting_ = false;
  mutable std::mutex mutex_;
  std::vector<std::weak_ptr<Context>> contexts_;  // guarded by mutex_
  std::set<std::string> said_;                    // guarded by mutex_
};

// For bodies and what they call: cuInit() has succeeded.
Driver& driver();

// The context calls of this thread are for. Errors: none is current, it was destroyed, or it has
// failed (a fault of a kernel is every later call's result until the context is gone).
CUresult current_context(ContextRef* out);
// The same, but a context that has failed is good enough: for calls that look or clean up.
CUresult current_context_even_failed(ContextRef* out);
CUresult find_context(CUcontext handle, ContextRef* out);  // nullptr: the current one
CUresult find_device(CUdevice ordinal, Device** out);
// 0, CU_STREAM_LEGACY and CU_STREAM_PER_THREAD included. Checks the stream's context like
// current_context().
CUresult find_stream(CUstream handle, StreamRef* out);
// A CUfunction, or a CUkernel: then the function of the kernel in the current context.
CUresult find_function(CUfunction handle, FunctionRef* out);

}  // namespace farcall::softgpu
