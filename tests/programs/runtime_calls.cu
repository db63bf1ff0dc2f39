// What calls of the runtime API mean, a scenario for each family. Each call's result is printed,
// and what it computes; the same locally and remotely.
//
//   runtime_calls SCENARIO
#include <cstring>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "expect.h"

namespace {

__device__ int counters[4];
__global__ void add(int* values, int amount) { values[threadIdx.x] += amount; }
__global__ void wide(int* out, int a, double b) { *out = a + int(b); }

cudaError_t show(const char* call, cudaError_t status) {
  return report(std::string(call, std::strcspn(call, "(")).c_str(), status);
}
#define SHOW(call) show(#call, call)

void print(const char* what, const std::vector<int>& values) {
  std::printf("%s:", what);
  for (const int value : values) std::printf(" %d", value);
  std::printf("\n");
}
std::vector<int> counting(int count, int first) {
  std::vector<int> values(static_cast<size_t>(count));
  for (int i = 0; i < count; ++i) values[size_t(i)] = first + i;
  return values;
}

struct Ints {
  explicit Ints(const std::vector<int>& from) : count(from.size()) {
    REQUIRE(cudaMalloc(&at, count * 4));
    REQUIRE(cudaMemcpy(at, from.data(), count * 4, cudaMemcpyHostToDevice));
  }
  ~Ints() { REQUIRE(cudaFree(at)); }
  std::vector<int> get() const {
    std::vector<int> out(count);
    REQUIRE(cudaMemcpy(out.data(), at, count * 4, cudaMemcpyDeviceToHost));
    return out;
  }
  size_t count;
  int* at = nullptr;
};

void devices() {
  int number = -1, value = -1;
  cudaDeviceProp wanted = {};
  wanted.major = 5;
  SHOW(cudaChooseDevice(&number, &wanted));
  std::printf("device %d\n", number);
  SHOW(cudaInitDevice(0, 0, 0));
  SHOW(cudaInitDevice(77, 0, 0));
  int list[] = {0};
  SHOW(cudaSetValidDevices(list, 1));
  list[0] = 55;
  SHOW(cudaSetValidDevices(list, 1));
  cudaFuncCache cache = cudaFuncCachePreferNone;
  SHOW(cudaDeviceSetCacheConfig(cudaFuncCachePreferL1));
  SHOW(cudaDeviceGetCacheConfig(&cache));
  std::printf("cache %d\n", int(cache));
  size_t texels = 0;
  const cudaChannelFormatDesc format = cudaCreateChannelDesc<float>();
  SHOW(cudaDeviceGetTexture1DLinearMaxWidth(&texels, &format, 0));
  std::printf("texels %zu\n", texels);
  SHOW(cudaDeviceGetP2PAttribute(&value, cudaDevP2PAttrAccessSupported, 0, 0));
  SHOW(cudaDeviceDisablePeerAccess(0));
  unsigned atomics = 0;
  cudaAtomicOperation operation = cudaAtomicOperationIntegerAdd;
  SHOW(cudaDeviceGetHostAtomicCapabilities(&atomics, &operation, 1, 0));
  std::printf("atomics %u\n", atomics);
  SHOW(cudaDeviceGetP2PAtomicCapabilities(&atomics, &operation, 1, 0, 0));
  SHOW(cudaDeviceFlushGPUDirectRDMAWrites(cudaFlushGPUDirectRDMAWritesTargetCurrentDevice,
                                          cudaFlushGPUDirectRDMAWritesToOwner));
  void* entry = nullptr;
  cudaDriverEntryPointQueryResult found;
  SHOW(cudaGetDriverEntryPointByVersion("cuMemAlloc", &entry, 12000, cudaEnableDefault, &found));
  std::printf("%s\n", entry != nullptr ? "there" : "missing");
  SHOW(cudaGetDriverEntryPointByVersion("cuNoSuchThing", &entry, 12000, cudaEnableDefault, &found));
  std::printf("found %d\n", int(found));
  std::printf("%s\n", cudaGetErrorString(cudaGetLastError()));
}

void functions() {
  const auto* kernel = reinterpret_cast<const void*>(wide);
  const char* name = nullptr;
  SHOW(cudaFuncGetName(&name, kernel));
  std::printf("%s\n", name);
  for (size_t i = 0; i < 4; ++i) {
    size_t offset = 0, bytes = 0;
    if (SHOW(cudaFuncGetParamInfo(kernel, i, &offset, &bytes)) == cudaSuccess)
      std::printf("offset %zu, %zu bytes\n", offset, bytes);
  }
  (void)cudaGetLastError();
  int blocks = 0, clusters = 0;
  size_t shared = 0;
  SHOW(cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(&blocks, kernel, 256, 0, 0));
  SHOW(cudaOccupancyAvailableDynamicSMemPerBlock(&shared, kernel, 2, 64));
  std::printf("blocks %d, shared %zu\n", blocks, shared);
  cudaLaunchConfig_t config = {};
  config.gridDim = dim3(4);
  config.blockDim = dim3(32);
  cudaLaunchAttribute attribute = {};
  attribute.id = cudaLaunchAttributeClusterDimension;
  attribute.val.clusterDim = {2, 1, 1};
  config.attrs = &attribute;
  config.numAttrs = 1;
  SHOW(cudaOccupancyMaxActiveClusters(&clusters, kernel, &config));
  std::printf("clusters %d\n", clusters);
  SHOW(cudaOccupancyMaxPotentialClusterSize(&clusters, kernel, &config));
  std::printf("size %d\n", clusters);
  Ints out({0});
  int a = 40;
  double b = 2.5;
  void* arguments[] = {&out.at, &a, &b};
  config.gridDim = dim3(1);
  config.blockDim = dim3(1);
  config.numAttrs = 0;
  SHOW(cudaLaunchKernelExC(&config, kernel, arguments));
  print("out", out.get());
  (void)cudaGetLastError();
}

void pinned() {
  int* memory = nullptr;
  unsigned flags = 99;
  SHOW(cudaHostAlloc(&memory, 64, cudaHostAllocPortable));
  SHOW(cudaHostGetFlags(&flags, memory));
  std::printf("portable: %d\n", int((flags & cudaHostAllocPortable) != 0));
  SHOW(cudaFreeHost(memory));
  SHOW(cudaFreeHost(memory));
  SHOW(cudaHostGetFlags(&flags, memory));
  (void)cudaGetLastError();
}

void copies() {
  cudaStream_t stream = nullptr;
  REQUIRE(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  cudaArray_t first = nullptr, second = nullptr;
  const cudaChannelFormatDesc format = cudaCreateChannelDesc<int>();
  REQUIRE(cudaMallocArray(&first, &format, 4, 4));
  REQUIRE(cudaMallocArray(&second, &format, 8, 2));
  const std::vector<int> values = counting(16, 1);
  std::vector<int> back(16);
  SHOW(cudaMemcpy2DToArrayAsync(first, 0, 0, values.data(), 16, 16, 4, cudaMemcpyHostToDevice,
                                stream));
  SHOW(cudaMemcpy2DFromArrayAsync(back.data(), 16, first, 0, 0, 16, 4, cudaMemcpyDeviceToHost,
                                  stream));
  SHOW(cudaStreamSynchronize(stream));
  print("2D", back);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
  SHOW(cudaMemcpyToArray(second, 0, 0, values.data(), 64, cudaMemcpyHostToDevice));
  SHOW(cudaMemcpyArrayToArray(first, 8, 0, second, 0, 0, 32, cudaMemcpyDeviceToDevice));
  SHOW(cudaMemcpyFromArray(back.data(), first, 0, 0, 64, cudaMemcpyDeviceToHost));
  print("moved on", back);
  SHOW(cudaMemcpyToArrayAsync(second, 4, 0, values.data() + 8, 8, cudaMemcpyHostToDevice, stream));
  SHOW(cudaMemcpyFromArrayAsync(back.data(), second, 0, 0, 32, cudaMemcpyDeviceToHost, stream));
  SHOW(cudaStreamSynchronize(stream));
  print("part", back);
#pragma GCC diagnostic pop
  cudaChannelFormatDesc asked = {};
  SHOW(cudaGetChannelDesc(&asked, first));
  std::printf("%d bits of kind %d\n", asked.x, int(asked.f));

  Ints a(counting(8, 100)), b(std::vector<int>(8, 0));
  SHOW(cudaMemcpyPeerAsync(b.at, 0, a.at, 0, 16, stream));
  cudaMemcpy3DPeerParms peers = {};
  peers.srcPtr = make_cudaPitchedPtr(a.at + 4, 8, 2, 1);
  peers.dstPtr = make_cudaPitchedPtr(b.at + 4, 8, 2, 1);
  peers.extent = make_cudaExtent(8, 1, 1);
  SHOW(cudaMemcpy3DPeerAsync(&peers, stream));
  SHOW(cudaStreamSynchronize(stream));
  print("peers", b.get());
  peers.dstPtr = make_cudaPitchedPtr(b.at + 6, 8, 2, 1);
  SHOW(cudaMemcpy3DPeer(&peers));
  print("peers", b.get());
  peers.dstDevice = 44;
  SHOW(cudaMemcpy3DPeer(&peers));

  const std::vector<int> host = counting(2, 700);
  void* targets[] = {b.at, b.at + 2};
  const void* sources[] = {host.data(), a.at};
  size_t sizes[] = {8, 8}, begin = 0;
  cudaMemcpyAttributes attributes = {};
  attributes.srcAccessOrder = cudaMemcpySrcAccessOrderDuringApiCall;
  SHOW(cudaMemcpyBatchAsync(targets, sources, sizes, 2, &attributes, &begin, 1, stream));
  cudaMemcpy3DBatchOp box = {};
  box.src.type = cudaMemcpyOperandTypePointer;
  box.src.op.ptr.ptr = a.at;
  box.dst.type = cudaMemcpyOperandTypeArray;
  box.dst.op.array.array = first;
  box.extent = make_cudaExtent(4, 2, 1);
  box.srcAccessOrder = cudaMemcpySrcAccessOrderStream;
  SHOW(cudaMemcpy3DBatchAsync(1, &box, 0, stream));
  SHOW(cudaStreamSynchronize(stream));
  print("batch", b.get());
  REQUIRE(cudaMemcpy2DFromArray(back.data(), 16, first, 0, 0, 16, 4, cudaMemcpyDeviceToHost));
  print("box", back);
  SHOW(cudaMemcpyBatchAsync(targets, sources, sizes, 2, &attributes, &begin, 1, nullptr));

  cudaMemcpy3DParms cube = {};
  cube.srcPtr = make_cudaPitchedPtr(const_cast<int*>(values.data()), 16, 4, 2);
  cube.dstPtr = make_cudaPitchedPtr(b.at, 16, 4, 2);
  cube.extent = make_cudaExtent(8, 2, 1);
  cube.kind = cudaMemcpyHostToDevice;
  SHOW(cudaMemcpy3DAsync(&cube, stream));
  SHOW(cudaMemset2DAsync(b.at + 2, 16, 0, 8, 2, stream));
  SHOW(cudaMemset3DAsync(make_cudaPitchedPtr(b.at, 16, 4, 2), 1, make_cudaExtent(4, 2, 1), stream));
  const int pair[] = {5, 6};
  SHOW(cudaMemcpyToSymbolAsync(counters, pair, 8, 8, cudaMemcpyHostToDevice, stream));
  int got[2] = {};
  SHOW(cudaMemcpyFromSymbolAsync(got, counters, 8, 8, cudaMemcpyDeviceToHost, stream));
  SHOW(cudaStreamSynchronize(stream));
  print("cube", b.get());
  std::printf("symbol %d %d\n", got[0], got[1]);
  // Nothing to copy is no error, whatever the pointers; a pitch that is too small is one.
  SHOW(cudaMemcpy(b.at, values.data(), 0, cudaMemcpyHostToDevice));
  SHOW(cudaMemcpyAsync(b.at, values.data(), 0, cudaMemcpyHostToDevice, stream));
  SHOW(cudaMemcpy2D(b.at, 16, values.data(), 4, 8, 2, cudaMemcpyHostToDevice));
  SHOW(cudaMemcpy2D(b.at, 4, values.data(), 16, 8, 2, cudaMemcpyHostToDevice));
  (void)cudaGetLastError();
  REQUIRE(cudaFreeArray(first));
  REQUIRE(cudaFreeArray(second));
  REQUIRE(cudaStreamDestroy(stream));
}

void streams() {
  cudaStream_t stream = nullptr, other = nullptr;
  REQUIRE(cudaStreamCreate(&stream));
  REQUIRE(cudaStreamCreate(&other));
  int device = -1;
  SHOW(cudaStreamGetDevice(stream, &device));
  std::printf("device %d\n", device);
  cudaLaunchAttributeValue value = {};
  value.syncPolicy = cudaSyncPolicyBlockingSync;
  SHOW(cudaStreamSetAttribute(stream, cudaLaunchAttributeSynchronizationPolicy, &value));
  SHOW(cudaStreamCopyAttributes(other, stream));
  value = {};
  SHOW(cudaStreamGetAttribute(other, cudaLaunchAttributeSynchronizationPolicy, &value));
  std::printf("policy %d\n", int(value.syncPolicy));
  cudaEvent_t event = nullptr;
  REQUIRE(cudaEventCreate(&event));
  SHOW(cudaEventRecordWithFlags(event, stream, cudaEventRecordDefault));
  SHOW(cudaEventSynchronize(event));
  cudaStreamCaptureMode mode = cudaStreamCaptureModeRelaxed;
  SHOW(cudaThreadExchangeStreamCaptureMode(&mode));
  std::printf("mode %d\n", int(mode));
  SHOW(cudaThreadExchangeStreamCaptureMode(&mode));
  std::printf("mode %d\n", int(mode));
  cudaStreamCaptureStatus status;
  unsigned long long id = 0;
  SHOW(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
  SHOW(cudaStreamGetCaptureInfo(stream, &status, &id));
  std::printf("status %d, id %s\n", int(status), id != 0 ? "given" : "none");
  SHOW(cudaStreamUpdateCaptureDependencies(stream, nullptr, nullptr, 0,
                                           cudaStreamSetCaptureDependencies));
  cudaGraph_t graph = nullptr;
  SHOW(cudaStreamEndCapture(stream, &graph));
  REQUIRE(cudaGraphDestroy(graph));
  REQUIRE(cudaEventDestroy(event));
  REQUIRE(cudaStreamDestroy(other));
  REQUIRE(cudaStreamDestroy(stream));
  SHOW(cudaStreamSynchronize(stream));
  (void)cudaGetLastError();
}

void pools() {
  cudaMemPool_t pool = nullptr, current = nullptr;
  SHOW(cudaDeviceGetMemPool(&current, 0));
  cudaMemPoolProps props = {};
  props.allocType = cudaMemAllocationTypePinned;
  props.location = {cudaMemLocationTypeDevice, 0};
  SHOW(cudaMemPoolCreate(&pool, &props));
  SHOW(cudaDeviceSetMemPool(0, pool));
  cudaMemPool_t now = nullptr;
  SHOW(cudaDeviceGetMemPool(&now, 0));
  std::printf("%s\n", now == pool ? "ours" : "another");
  cudaMemAccessDesc access = {{cudaMemLocationTypeDevice, 0}, cudaMemAccessFlagsProtReadWrite};
  SHOW(cudaMemPoolSetAccess(pool, &access, 1));
  cudaMemAccessFlags flags;
  SHOW(cudaMemPoolGetAccess(&flags, pool, &access.location));
  std::printf("flags %d\n", int(flags));
  void* memory = nullptr;
  SHOW(cudaMallocAsync(&memory, 256, nullptr));
  cudaMemPoolPtrExportData exported;
  SHOW(cudaMemPoolExportPointer(&exported, memory));
  SHOW(cudaFreeAsync(memory, nullptr));
  SHOW(cudaDeviceSetMemPool(0, current));
  SHOW(cudaMemPoolDestroy(pool));
  unsigned long long bytes = 1;
  SHOW(cudaDeviceGetGraphMemAttribute(0, cudaGraphMemAttrUsedMemCurrent, &bytes));
  std::printf("bytes %llu\n", bytes);
  SHOW(cudaDeviceSetGraphMemAttribute(0, cudaGraphMemAttrUsedMemHigh, &(bytes = 0)));
  cudaMemLocation here = {cudaMemLocationTypeDevice, 0};
  SHOW(cudaMemGetDefaultMemPool(&now, &here, cudaMemAllocationTypePinned));
  SHOW(cudaMemGetMemPool(&now, &here, cudaMemAllocationTypePinned));
  SHOW(cudaMemSetMemPool(&here, cudaMemAllocationTypePinned, now));
  (void)cudaGetLastError();
}

void graph_edges() {
  Ints values(std::vector<int>(4, 0));
  cudaGraph_t graph = nullptr, clone = nullptr, inner = nullptr;
  REQUIRE(cudaGraphCreate(&graph, 0));
  REQUIRE(cudaGraphCreate(&inner, 0));
  cudaGraphNode_t set = nullptr, record = nullptr, wait = nullptr, child = nullptr, empty = nullptr;
  cudaMemsetParams fill = {};
  fill.dst = values.at;
  fill.elementSize = 4;
  fill.value = 6;
  fill.width = 4;
  fill.height = 1;
  cudaEvent_t event = nullptr, other = nullptr, asked = nullptr;
  REQUIRE(cudaEventCreate(&event));
  REQUIRE(cudaEventCreate(&other));
  REQUIRE(cudaGraphAddEmptyNode(&empty, inner, nullptr, 0));
  REQUIRE(cudaGraphAddMemsetNode(&set, graph, nullptr, 0, &fill));
  SHOW(cudaGraphAddEventRecordNode(&record, graph, &set, 1, event));
  SHOW(cudaGraphAddEventWaitNode(&wait, graph, nullptr, 0, event));
  SHOW(cudaGraphAddChildGraphNode(&child, graph, nullptr, 0, inner));
  SHOW(cudaGraphAddDependencies(graph, &record, &wait, nullptr, 1));
  SHOW(cudaGraphAddDependencies(graph, &record, &wait, nullptr, 1));
  size_t count = 0;
  SHOW(cudaGraphGetRootNodes(graph, nullptr, &count));
  std::printf("roots %zu\n", count);
  SHOW(cudaGraphNodeGetDependencies(wait, nullptr, nullptr, &count));
  std::printf("dependencies %zu\n", count);
  SHOW(cudaGraphNodeGetDependentNodes(set, nullptr, nullptr, &count));
  std::printf("dependents %zu\n", count);
  SHOW(cudaGraphEventRecordNodeGetEvent(record, &asked));
  std::printf("%s\n", asked == event ? "the event" : "another");
  SHOW(cudaGraphEventRecordNodeSetEvent(record, other));
  SHOW(cudaGraphEventWaitNodeSetEvent(wait, other));
  SHOW(cudaGraphEventWaitNodeGetEvent(wait, &asked));
  std::printf("%s\n", asked == other ? "the other" : "not it");
  cudaGraph_t got = nullptr;
  SHOW(cudaGraphChildGraphNodeGetGraph(child, &got));
  SHOW(cudaGraphGetNodes(got, nullptr, &count));
  std::printf("inside %zu\n", count);
  cudaMemsetParams asked_fill = {};
  SHOW(cudaGraphMemsetNodeGetParams(set, &asked_fill));
  std::printf("value %u\n", asked_fill.value);
  fill.value = 8;
  SHOW(cudaGraphMemsetNodeSetParams(set, &fill));
  cudaGraphNode_t found = nullptr;
  REQUIRE(cudaGraphClone(&clone, graph));
  SHOW(cudaGraphNodeFindInClone(&found, set, clone));
  cudaGraphExec_t exec = nullptr;
  SHOW(cudaGraphInstantiateWithFlags(&exec, graph, cudaGraphInstantiateFlagAutoFreeOnLaunch));
  unsigned long long flags = 0;
  SHOW(cudaGraphExecGetFlags(exec, &flags));
  std::printf("flags %llu\n", flags);
  SHOW(cudaGraphUpload(exec, nullptr));
  fill.value = 9;
  SHOW(cudaGraphExecMemsetNodeSetParams(exec, set, &fill));
  SHOW(cudaGraphExecEventRecordNodeSetEvent(exec, record, event));
  SHOW(cudaGraphExecEventWaitNodeSetEvent(exec, wait, event));
  SHOW(cudaGraphExecChildGraphNodeSetParams(exec, child, inner));
  unsigned enabled = 0;
  SHOW(cudaGraphNodeGetEnabled(exec, set, &enabled));
  std::printf("enabled %u\n", enabled);
  SHOW(cudaGraphLaunch(exec, nullptr));
  SHOW(cudaDeviceSynchronize());
  print("filled", values.get());
  SHOW(cudaGraphRemoveDependencies(graph, &record, &wait, nullptr, 1));
  SHOW(cudaGraphDestroyNode(child));
  SHOW(cudaGraphGetNodes(graph, nullptr, &count));
  std::printf("nodes %zu\n", count);
  int amount = 1;
  void* arguments[] = {&values.at, &amount};
  cudaKernelNodeParams kernel = {};
  kernel.func = reinterpret_cast<void*>(add);
  kernel.gridDim = dim3(1);
  kernel.blockDim = dim3(4);
  kernel.kernelParams = arguments;
  cudaGraphNode_t first = nullptr, second = nullptr;
  REQUIRE(cudaGraphAddKernelNode(&first, graph, nullptr, 0, &kernel));
  REQUIRE(cudaGraphAddKernelNode(&second, graph, nullptr, 0, &kernel));
  cudaLaunchAttributeValue value = {};
  value.priority = 0;
  SHOW(cudaGraphKernelNodeSetAttribute(first, cudaLaunchAttributePriority, &value));
  SHOW(cudaGraphKernelNodeCopyAttributes(first, second));
  SHOW(cudaGraphKernelNodeGetAttribute(second, cudaLaunchAttributePriority, &value));
  std::printf("priority %d\n", value.priority);
  (void)cudaGetLastError();
  REQUIRE(cudaGraphExecDestroy(exec));
  REQUIRE(cudaGraphDestroy(clone));
  REQUIRE(cudaGraphDestroy(graph));
  REQUIRE(cudaGraphDestroy(inner));
}

void libraries() {
  constexpr char kSource[] =
      ".version 7.0\n.target sm_70\n.address_size 64\n.visible .global .align 4 .u32 number = 12;\n"
      ".visible .entry nothing() { ret; }\n";
  cudaLibrary_t library = nullptr;
  SHOW(cudaLibraryLoadData(&library, kSource, nullptr, nullptr, 0, nullptr, nullptr, 0));
  unsigned count = 0;
  SHOW(cudaLibraryGetKernelCount(&count, library));
  std::printf("kernels %u\n", count);
  cudaKernel_t kernel = nullptr, enumerated = nullptr;
  SHOW(cudaLibraryGetKernel(&kernel, library, "nothing"));
  SHOW(cudaLibraryEnumerateKernels(&enumerated, 1, library));
  std::printf("%s\n", kernel == enumerated ? "the same" : "another");
  void* number = nullptr;
  size_t bytes = 0;
  SHOW(cudaLibraryGetGlobal(&number, &bytes, library, "number"));
  unsigned value = 0;
  SHOW(cudaMemcpy(&value, number, 4, cudaMemcpyDeviceToHost));
  std::printf("%u in %zu bytes\n", value, bytes);
  SHOW(cudaLibraryGetKernel(&kernel, library, "missing"));
  SHOW(cudaLibraryGetGlobal(&number, &bytes, library, "missing"));
  void* unified = nullptr;
  SHOW(cudaLibraryGetUnifiedFunction(&unified, library, "nothing"));
  SHOW(cudaKernelSetAttributeForDevice(enumerated, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                       1024, 0));
  SHOW(cudaLaunchKernel(reinterpret_cast<const void*>(enumerated), dim3(1), dim3(1), nullptr, 0,
                        nullptr));
  SHOW(cudaLibraryUnload(library));
  SHOW(cudaLibraryLoadFromFile(&library, "/nonexistent", nullptr, nullptr, 0, nullptr, nullptr, 0));
  (void)cudaGetLastError();
}

// Errors that go away when they have been read, and errors of arguments that change nothing.
void errors() {
  int* memory = nullptr;
  SHOW(cudaMalloc(&memory, 64));
  SHOW(cudaFree(memory));
  SHOW(cudaFree(memory));
  std::printf("peek: %s\n", cudaGetErrorName(cudaPeekAtLastError()));
  std::printf("last: %s\n", cudaGetErrorName(cudaGetLastError()));
  std::printf("then: %s\n", cudaGetErrorName(cudaGetLastError()));
  SHOW(cudaSetDevice(1000));
  SHOW(cudaDeviceSynchronize());
  std::printf("last: %s\n", cudaGetErrorName(cudaGetLastError()));
  SHOW(cudaMalloc(&memory, size_t{1} << 60));
  std::printf("last: %s\n", cudaGetErrorName(cudaGetLastError()));
  SHOW(cudaStreamCreateWithFlags(nullptr, 0));
  SHOW(cudaEventElapsedTime(nullptr, nullptr, nullptr));
  (void)cudaGetLastError();
}

// Many streams, each in its own order; many threads, each with its default stream.
void many() {
  constexpr int kStreams = 2000, kThreads = 64;
  Ints values(std::vector<int>(4, 0));
  std::vector<cudaStream_t> streams(kStreams);
  for (cudaStream_t& stream : streams) {
    REQUIRE(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  }
  std::vector<int*> cells(kStreams);
  int* block = nullptr;
  REQUIRE(cudaMalloc(&block, kStreams * 16));
  REQUIRE(cudaMemset(block, 0, kStreams * 16));
  REQUIRE(cudaDeviceSynchronize());  // the streams do not wait for the legacy one
  for (size_t i = 0; i < streams.size(); ++i) {
    add<<<1, 4, 0, streams[i]>>>(block + 4 * i, 1);
    add<<<1, 4, 0, streams[i]>>>(block + 4 * i, int(i));
  }
  REQUIRE(cudaDeviceSynchronize());
  std::vector<int> all(kStreams * 4);
  REQUIRE(cudaMemcpy(all.data(), block, kStreams * 16, cudaMemcpyDeviceToHost));
  int wrong = 0;
  for (size_t i = 0; i < all.size(); ++i) wrong += all[i] != 1 + int(i / 4);
  std::printf("streams: %d wrong\n", wrong);
  for (cudaStream_t stream : streams) REQUIRE(cudaStreamDestroy(stream));
  REQUIRE(cudaFree(block));

  std::vector<int> bad(kThreads, -1);
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([t, &bad] {
      Ints mine(counting(32, t));
      for (int i = 0; i < 20; ++i) add<<<1, 32, 0, cudaStreamPerThread>>>(mine.at, 1);
      REQUIRE(cudaStreamSynchronize(cudaStreamPerThread));
      bad[size_t(t)] = mine.get() == counting(32, t + 20) ? 0 : 1;
    });
  }
  for (std::thread& thread : threads) thread.join();
  int failed = 0;
  for (const int each : bad) failed += each;
  std::printf("threads: %d wrong\n", failed);
}

struct Scenario {
  const char* name;
  void (*run)();
};
constexpr Scenario kScenarios[] = {
    {"devices", devices},         {"functions", functions},
    {"pinned", pinned},           {"copies", copies},
    {"streams", streams},         {"pools", pools},
    {"graph_edges", graph_edges}, {"libraries", libraries},
    {"errors", errors},           {"many", many},
};

}  // namespace

int main(int argc, char** argv) {
  for (const Scenario& scenario : kScenarios) {
    if (argc != 2 || std::string_view(argv[1]) != scenario.name) continue;
    scenario.run();
    return 0;
  }
  return 2;
}
