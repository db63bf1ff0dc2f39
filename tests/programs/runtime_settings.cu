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

struct Scenario {
  const char* name;
  void (*run)();
};
constexpr Scenario kScenarios[] = {
    {"banks", banks},
    {"entry_points", entry_points},
    {"arrays", arrays},
    {"host_nodes", host_nodes},
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
