// What calls of the runtime API say and set: banks of shared memory, entry points of the driver,
// what arrays, textures and surfaces are made of, host nodes of graphs. Prints the same locally
// and remotely.
//
//   runtime_settings SCENARIO
#include <cuda.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

#include "expect.h"

namespace {

__global__ void touch(int* out) { *out += 1; }

cudaError_t show(const char* call, cudaError_t status) {
  return report(std::string(call, std::strcspn(call, "(")).c_str(), status);
}
#define SHOW(call) show(#call, call)

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
void banks() {
  cudaSharedMemConfig config = cudaSharedMemBankSizeEightByte;
  SHOW(cudaDeviceSetSharedMemConfig(cudaSharedMemBankSizeFourByte));
  SHOW(cudaDeviceGetSharedMemConfig(&config));
  std::printf("banks of kind %d\n", int(config));
  SHOW(cudaFuncSetSharedMemConfig(touch, cudaSharedMemBankSizeDefault));
  SHOW(cudaFuncSetSharedMemConfig(nullptr, cudaSharedMemBankSizeDefault));
  std::printf("last: %s\n", cudaGetErrorName(cudaGetLastError()));
}

void entry_points() {
  void* entry = nullptr;
  cudaDriverEntryPointQueryResult found;
  SHOW(cudaGetDriverEntryPoint("cuDeviceGetCount", &entry, cudaEnableDefault, &found));
  int count = 0;
  if (entry != nullptr) {
    const CUresult result = reinterpret_cast<CUresult (*)(int*)>(entry)(&count);
    std::printf("result %d, %s\n", int(result), count > 0 ? "devices" : "no devices");
  }
  SHOW(cudaGetDriverEntryPoint("cuNothingLikeIt", &entry, cudaEnableDefault, &found));
  std::printf("found %d\n", int(found));
  SHOW(cudaGetDriverEntryPoint(nullptr, &entry, cudaEnableDefault, &found));
  (void)cudaGetLastError();
}
#pragma GCC diagnostic pop

void arrays() {
  const cudaChannelFormatDesc format = cudaCreateChannelDesc<float>();
  cudaArray_t array = nullptr, plane = nullptr;
  cudaMipmappedArray_t levels = nullptr;
  REQUIRE(cudaMallocArray(&array, &format, 8, 4, cudaArraySurfaceLoadStore));
  REQUIRE(cudaMallocMipmappedArray(&levels, &format, make_cudaExtent(8, 8, 0), 2));
  cudaArrayMemoryRequirements needs = {};
  cudaArraySparseProperties sparse = {};
  // Whole, of one plane, and with its memory from the start.
  SHOW(cudaArrayGetMemoryRequirements(&needs, array, 0));
  SHOW(cudaArrayGetSparseProperties(&sparse, array));
  SHOW(cudaArrayGetPlane(&plane, array, 0));
  SHOW(cudaMipmappedArrayGetMemoryRequirements(&needs, levels, 0));
  SHOW(cudaMipmappedArrayGetSparseProperties(&sparse, levels));
  std::printf("last: %s\n", cudaGetErrorName(cudaGetLastError()));

  cudaResourceDesc resource = {};
  resource.resType = cudaResourceTypeArray;
  resource.res.array.array = array;
  cudaTextureDesc reading = {};
  reading.addressMode[0] = cudaAddressModeMirror;
  reading.addressMode[1] = cudaAddressModeClamp;
  reading.filterMode = cudaFilterModeLinear;
  reading.readMode = cudaReadModeElementType;
  reading.normalizedCoords = 1;
  reading.maxAnisotropy = 4;
  cudaTextureObject_t texture = 0;
  cudaSurfaceObject_t surface = 0;
  SHOW(cudaCreateTextureObject(&texture, &resource, &reading, nullptr));
  SHOW(cudaCreateSurfaceObject(&surface, &resource));
  cudaTextureDesc told = {};
  SHOW(cudaGetTextureObjectTextureDesc(&told, texture));
  std::printf("modes %d %d, filter %d, normalized %d, anisotropy %u\n", int(told.addressMode[0]),
              int(told.addressMode[1]), int(told.filterMode), told.normalizedCoords,
              told.maxAnisotropy);
  cudaResourceDesc under = {};
  SHOW(cudaGetSurfaceObjectResourceDesc(&under, surface));
  std::printf("%s\n", under.resType == cudaResourceTypeArray && under.res.array.array == array
                          ? "the array"
                          : "something else");
  SHOW(cudaDestroySurfaceObject(surface));
  SHOW(cudaDestroyTextureObject(texture));
  REQUIRE(cudaFreeArray(array));
  REQUIRE(cudaFreeMipmappedArray(levels));
}

int called_with = 0;
void CUDART_CB remember(void* number) { called_with += *static_cast<int*>(number); }

void host_nodes() {
  int one = 1, hundred = 100, thousand = 1000;
  cudaGraph_t graph = nullptr;
  REQUIRE(cudaGraphCreate(&graph, 0));
  cudaHostNodeParams call = {remember, &one}, told = {};
  cudaGraphNode_t node = nullptr, empty = nullptr;
  REQUIRE(cudaGraphAddHostNode(&node, graph, nullptr, 0, &call));
  REQUIRE(cudaGraphAddEmptyNode(&empty, graph, nullptr, 0));
  call.userData = &hundred;
  SHOW(cudaGraphHostNodeSetParams(node, &call));
  SHOW(cudaGraphHostNodeGetParams(node, &told));
  std::printf("%s\n", told.userData == &hundred ? "the new" : "the old");
  cudaGraphExec_t exec = nullptr;
  REQUIRE(cudaGraphInstantiate(&exec, graph, 0));
  SHOW(cudaGraphLaunch(exec, nullptr));
  SHOW(cudaDeviceSynchronize());
  std::printf("sum %d\n", called_with);
  call.userData = &thousand;  // in the graph: what is instantiated already keeps its own
  SHOW(cudaGraphHostNodeSetParams(node, &call));
  SHOW(cudaGraphLaunch(exec, nullptr));
  SHOW(cudaDeviceSynchronize());
  std::printf("sum %d\n", called_with);
  char path[] = "/tmp/runtime_settings.XXXXXX";
  const int fd = mkstemp(path);
  if (fd < 0) std::exit(3);
  close(fd);
  SHOW(cudaGraphDebugDotPrint(graph, path, cudaGraphDebugDotFlagsVerbose));
  std::ifstream file(path);
  int nodes = 0;
  for (std::string line; std::getline(file, line);) {
    if (line.find("label") != std::string::npos) ++nodes;
  }
  std::printf("%d nodes in the text\n", nodes);
  unlink(path);
  SHOW(cudaGraphDebugDotPrint(graph, "/nonexistent/graph.dot", 0));
  SHOW(cudaGraphHostNodeSetParams(empty, &call));
  SHOW(cudaGraphHostNodeSetParams(node, nullptr));
  (void)cudaGetLastError();
  REQUIRE(cudaGraphExecDestroy(exec));
  REQUIRE(cudaGraphDestroy(graph));
}

// A graph that exists already takes what streams do; its handle stays the one it had.
void captures_to_graphs() {
  int* memory = nullptr;
  REQUIRE(cudaMalloc(&memory, 64));
  cudaStream_t stream = nullptr;
  REQUIRE(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  cudaGraph_t graph = nullptr, got = nullptr;
  REQUIRE(cudaGraphCreate(&graph, 0));
  size_t count = 0;
  SHOW(cudaStreamBeginCaptureToGraph(stream, graph, nullptr, nullptr, 0,
                                     cudaStreamCaptureModeRelaxed));
  SHOW(cudaMemsetAsync(memory, 1, 64, stream));
  SHOW(cudaStreamEndCapture(stream, nullptr));
  SHOW(cudaGraphGetNodes(graph, nullptr, &count));
  std::printf("%zu nodes\n", count);
  SHOW(cudaStreamBeginCaptureToGraph(stream, graph, nullptr, nullptr, 0,
                                     cudaStreamCaptureModeRelaxed));
  SHOW(cudaMemsetAsync(memory, 2, 64, stream));
  SHOW(cudaStreamEndCapture(stream, &got));
  std::printf("%s\n", got == graph ? "the same graph" : "another graph");
  SHOW(cudaGraphGetNodes(graph, nullptr, &count));
  std::printf("%zu nodes\n", count);
  // A node that copies nothing.
  cudaGraphNode_t node = nullptr;
  int host = 0;
  SHOW(
      cudaGraphAddMemcpyNode1D(&node, graph, nullptr, 0, memory, &host, 0, cudaMemcpyHostToDevice));
  SHOW(cudaGraphGetNodes(graph, nullptr, &count));
  std::printf("%zu nodes\n", count);
  cudaGraphExec_t exec = nullptr;
  SHOW(cudaGraphInstantiate(&exec, graph, 0));
  SHOW(cudaGraphLaunch(exec, stream));
  SHOW(cudaStreamSynchronize(stream));
  // The next capture makes a graph of its own again.
  SHOW(cudaStreamBeginCapture(stream, cudaStreamCaptureModeRelaxed));
  SHOW(cudaStreamEndCapture(stream, &got));
  std::printf("%s\n", got == graph ? "the same graph" : "another graph");
  REQUIRE(cudaGraphDestroy(got));
  REQUIRE(cudaGraphExecDestroy(exec));
  REQUIRE(cudaGraphDestroy(graph));
  REQUIRE(cudaStreamDestroy(stream));
  REQUIRE(cudaFree(memory));
}

struct Heard {
  int calls = 0;
  bool whole = true;
};
void CUDART_CB hear(void* data, cudaLogLevel, char* message, size_t length) {
  auto* heard = static_cast<Heard*>(data);
  ++heard->calls;
  heard->whole = heard->whole && std::strlen(message) == length;
}

// Which lines a failure leaves depends on who found it; that it leaves some does not.
void logs() {
  Heard heard;
  cudaLogsCallbackHandle handle = nullptr;
  cudaLogIterator at = 0, other = 0;
  SHOW(cudaLogsCurrent(&at, 0));
  other = at;
  SHOW(cudaLogsRegisterCallback(hear, &heard, &handle));
  SHOW(cudaDeviceSetLimit(cudaLimit(99), 1));
  std::printf("%s, %s\n", heard.calls > 0 ? "heard" : "not heard",
              heard.whole ? "whole" : "broken");
  std::vector<char> buffer(8192, 'x');
  size_t size = buffer.size();
  SHOW(cudaLogsDumpToMemory(&at, buffer.data(), &size, 0));
  std::printf("%s, %s\n", size > 0 && std::strlen(buffer.data()) == size ? "text" : "no text",
              std::strstr(buffer.data(), "SetLimit") != nullptr ? "of the call" : "of another");
  size = buffer.size();
  SHOW(cudaLogsDumpToMemory(&at, buffer.data(), &size, 0));
  std::printf("%zu bytes more\n", size);
  char path[] = "/tmp/runtime_settings.XXXXXX";
  const int fd = mkstemp(path);
  if (fd < 0) std::exit(3);
  close(fd);
  SHOW(cudaLogsDumpToFile(&other, path, 0));
  std::ifstream file(path);
  std::string line;
  std::printf("%s\n", std::getline(file, line) && line.find("SetLimit") != std::string::npos
                          ? "the file has it"
                          : "the file has it not");
  unlink(path);
  SHOW(cudaLogsUnregisterCallback(handle));
  const int before = heard.calls;
  SHOW(cudaDeviceSetLimit(cudaLimit(99), 1));
  std::printf("%d heard after that\n", heard.calls - before);
  SHOW(cudaLogsRegisterCallback(nullptr, nullptr, &handle));
  SHOW(cudaLogsCurrent(&at, 1));
  (void)cudaGetLastError();
}

int read_int(const void* at) {
  int value = 0;
  REQUIRE(cudaMemcpy(&value, at, sizeof value, cudaMemcpyDeviceToHost));
  return value;
}

void shared_memory() {
  constexpr auto kFile = cudaMemHandleTypePosixFileDescriptor;
  cudaMemPoolProps props = {};
  props.allocType = cudaMemAllocationTypePinned;
  props.handleTypes = kFile;
  props.location = {cudaMemLocationTypeDevice, 0};
  cudaMemPool_t pool = nullptr, imported = nullptr;
  SHOW(cudaMemPoolCreate(&pool, &props));
  int fd = -1;
  SHOW(cudaMemPoolExportToShareableHandle(&fd, pool, kFile, 0));
  SHOW(cudaMemPoolImportFromShareableHandle(
      &imported, reinterpret_cast<void*>(static_cast<intptr_t>(fd)), kFile, 0));
  void *one = nullptr, *two = nullptr;
  REQUIRE(cudaMallocFromPoolAsync(&one, 4096, pool, nullptr));
  const int value = 31;
  REQUIRE(cudaMemcpy(one, &value, sizeof value, cudaMemcpyHostToDevice));
  cudaMemPoolPtrExportData where;
  SHOW(cudaMemPoolExportPointer(&where, one));
  SHOW(cudaMemPoolImportPointer(&two, imported, &where));
  std::printf("%d\n", read_int(two));
  SHOW(cudaMemPoolExportToShareableHandle(&fd, pool, kFile, 7));
  SHOW(cudaMemPoolImportFromShareableHandle(&imported, reinterpret_cast<void*>(-1), kFile, 0));
  REQUIRE(cudaFree(two));
  REQUIRE(cudaFreeAsync(one, nullptr));
  REQUIRE(cudaDeviceSynchronize());
  close(fd);

  // The runtime has no memory of its own to export; the driver has.
  CUmemAllocationProp what = {};
  what.type = CU_MEM_ALLOCATION_TYPE_PINNED;
  what.location = {CU_MEM_LOCATION_TYPE_DEVICE, {0}};
  what.requestedHandleTypes = CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR;
  const auto entry = [](const char* name) {
    void* found = nullptr;
    REQUIRE(cudaGetDriverEntryPointByVersion(name, &found, 12000, cudaEnableDefault, nullptr));
    return found;
  };
  constexpr size_t kBytes = size_t{2} << 20;
  CUmemGenericAllocationHandle memory = 0;
  const auto create = reinterpret_cast<decltype(&cuMemCreate)>(entry("cuMemCreate"));
  const auto give_out = reinterpret_cast<decltype(&cuMemExportToShareableHandle)>(
      entry("cuMemExportToShareableHandle"));
  if (create(&memory, kBytes, &what, 0) != CUDA_SUCCESS ||
      give_out(&fd, memory, CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR, 0) != CUDA_SUCCESS) {
    std::exit(3);
  }
  cudaExternalMemoryHandleDesc from = {};
  from.type = cudaExternalMemoryHandleTypeOpaqueFd;
  from.handle.fd = fd;
  from.size = kBytes;
  cudaExternalMemory_t external = nullptr;
  SHOW(cudaImportExternalMemory(&external, &from));
  cudaExternalMemoryBufferDesc part = {};
  part.offset = 8192;
  part.size = 4096;
  void *buffer = nullptr, *again = nullptr;
  SHOW(cudaExternalMemoryGetMappedBuffer(&buffer, external, &part));
  SHOW(cudaExternalMemoryGetMappedBuffer(&again, external, &part));
  REQUIRE(cudaMemset(buffer, 5, 4096));
  std::printf("%#x in both\n", unsigned(read_int(again)));
  part.offset = kBytes;
  SHOW(cudaExternalMemoryGetMappedBuffer(&again, external, &part));
  cudaExternalMemoryMipmappedArrayDesc levels = {};
  levels.formatDesc = cudaCreateChannelDesc<float>();
  levels.extent = make_cudaExtent(8, 8, 0);
  levels.numLevels = 1;
  cudaMipmappedArray_t array = nullptr;
  SHOW(cudaExternalMemoryGetMappedMipmappedArray(&array, external, &levels));
  SHOW(cudaDestroyExternalMemory(external));
  SHOW(cudaFree(buffer));
  (void)cudaGetLastError();
}

struct Scenario {
  const char* name;
  void (*run)();
};
constexpr Scenario kScenarios[] = {
    {"banks", banks},
    {"entry_points", entry_points},
    {"arrays", arrays},
    {"host_nodes", host_nodes},
    {"captures_to_graphs", captures_to_graphs},
    {"logs", logs},
    {"shared_memory", shared_memory},
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
