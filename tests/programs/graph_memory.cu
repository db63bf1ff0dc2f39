// Graphs whose nodes the program adds itself and that copy or allocate memory, nodes of any kind
// through one call, conditional nodes, and user objects. Prints what they compute, the same locally
// and remotely.
//
//   graph_memory SCENARIO
#include <atomic>
#include <chrono>
#include <cstring>
#include <string_view>
#include <thread>
#include <vector>

#include "expect.h"

namespace {

__device__ int table[8];
__global__ void add(int* values, int amount) { values[threadIdx.x] += amount; }
__global__ void add_table(int* values) { values[threadIdx.x] += table[threadIdx.x]; }
__global__ void count_down(int* counter, cudaGraphConditionalHandle handle) {
  if (--*counter == 0) cudaGraphSetConditional(handle, 0);
}
__global__ void decide(const int* which, cudaGraphConditionalHandle handle) {
  cudaGraphSetConditional(handle, unsigned(*which));
}

struct Device {
  explicit Device(size_t count) { REQUIRE(cudaMalloc(&at, count * sizeof(int))); }
  ~Device() { REQUIRE(cudaFree(at)); }
  int* at = nullptr;
};

void print(const char* what, const std::vector<int>& values) {
  std::printf("%s:", what);
  for (const int value : values) std::printf(" %d", value);
  std::printf("\n");
}

cudaStream_t stream() {
  static cudaStream_t made = [] {
    cudaStream_t stream;
    REQUIRE(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    return stream;
  }();
  return made;
}
void run(cudaGraphExec_t exec) {
  REQUIRE(cudaGraphLaunch(exec, stream()));
  REQUIRE(cudaStreamSynchronize(stream()));
}
cudaGraphExec_t instantiate(cudaGraph_t graph) {
  cudaGraphExec_t exec = nullptr;
  REQUIRE(cudaGraphInstantiate(&exec, graph, 0));
  return exec;
}
cudaGraphNode_t kernel(cudaGraph_t graph, std::vector<cudaGraphNode_t> after, void* function,
                       void** params, unsigned threads = 8) {
  cudaKernelNodeParams node = {};
  node.func = function;
  node.gridDim = dim3(1);
  node.blockDim = dim3(threads);
  node.kernelParams = params;
  cudaGraphNode_t added = nullptr;
  REQUIRE(cudaGraphAddKernelNode(&added, graph, after.data(), after.size(), &node));
  return added;
}

void copies() {
  Device values(8);
  std::vector<int> in = {1, 2, 3, 4, 5, 6, 7, 8}, out(8), other_out(8);
  cudaGraph_t graph = nullptr;
  REQUIRE(cudaGraphCreate(&graph, 0));
  cudaGraphNode_t to = nullptr, from = nullptr;
  REQUIRE(cudaGraphAddMemcpyNode1D(&to, graph, nullptr, 0, values.at, in.data(), 32,
                                   cudaMemcpyHostToDevice));
  int amount = 10;
  void* params[] = {&values.at, &amount};
  cudaGraphNode_t middle = kernel(graph, {to}, reinterpret_cast<void*>(add), params);
  REQUIRE(cudaGraphAddMemcpyNode1D(&from, graph, &middle, 1, out.data(), values.at, 32,
                                   cudaMemcpyDeviceToHost));
  cudaGraphExec_t exec = instantiate(graph);
  run(exec);
  print("out", out);
  in[0] = 100;  // read at each launch
  run(exec);
  print("again", out);

  // Only the executable graph writes elsewhere.
  report("cudaGraphExecMemcpyNodeSetParams1D",
         cudaGraphExecMemcpyNodeSetParams1D(exec, from, other_out.data(), values.at, 32,
                                            cudaMemcpyDeviceToHost));
  in[1] = 200;
  run(exec);
  print("out stays", out);
  print("other", other_out);
  for (int i = 0; i < 300; ++i) {  // does not pile up
    REQUIRE(cudaGraphExecMemcpyNodeSetParams1D(exec, from,
                                               i % 2 == 0 ? out.data() : other_out.data(),
                                               values.at, 32, cudaMemcpyDeviceToHost));
  }
  in[2] = 300;
  run(exec);
  print("other", other_out);
  REQUIRE(cudaGraphExecDestroy(exec));

  // Now the graph's own node.
  std::vector<int> in2(8, -1);
  report("cudaGraphMemcpyNodeSetParams1D",
         cudaGraphMemcpyNodeSetParams1D(to, values.at, in2.data(), 16, cudaMemcpyHostToDevice));
  exec = instantiate(graph);
  run(exec);
  print("half of another", out);
  cudaMemcpy3DParms asked = {};
  report("cudaGraphMemcpyNodeGetParams", cudaGraphMemcpyNodeGetParams(to, &asked));
  std::printf("kind %d, width %zu, from %s, to %s\n", int(asked.kind), asked.extent.width,
              asked.srcPtr.ptr == in2.data() ? "the program" : "elsewhere",
              asked.dstPtr.ptr == values.at ? "the device" : "elsewhere");
  report("no such kind", cudaGraphAddMemcpyNode1D(&to, graph, nullptr, 0, values.at, in.data(), 4,
                                                  cudaMemcpyKind(9)));
  REQUIRE(cudaGraphExecDestroy(exec));
  cudaGraph_t clone = nullptr;
  REQUIRE(cudaGraphClone(&clone, graph));
  REQUIRE(cudaGraphDestroy(graph));
  exec = instantiate(clone);
  in2[0] = 55;
  run(exec);
  print("a clone", out);
  REQUIRE(cudaGraphExecDestroy(exec));
  REQUIRE(cudaGraphDestroy(clone));
}

// Rows with gaps, which keep what they hold; arrays; and host to host.
void boxes() {
  int* device = nullptr;
  size_t pitch = 0;
  REQUIRE(cudaMallocPitch(&device, &pitch, 12, 4));
  std::vector<int> in(5 * 4), out(5 * 4, -7);
  for (size_t i = 0; i < in.size(); ++i) in[i] = int(i);
  cudaGraph_t graph = nullptr;
  REQUIRE(cudaGraphCreate(&graph, 0));
  cudaMemcpy3DParms up = {};
  up.srcPtr = make_cudaPitchedPtr(in.data(), 20, 5, 4);
  up.dstPtr = make_cudaPitchedPtr(device, pitch, 3, 4);
  up.extent = make_cudaExtent(12, 4, 1);
  up.kind = cudaMemcpyHostToDevice;
  cudaGraphNode_t first = nullptr, second = nullptr, third = nullptr;
  report("cudaGraphAddMemcpyNode", cudaGraphAddMemcpyNode(&first, graph, nullptr, 0, &up));
  cudaMemcpy3DParms down = {};
  down.srcPtr = up.dstPtr;
  down.dstPtr = make_cudaPitchedPtr(out.data(), 20, 5, 4);
  down.dstPos = make_cudaPos(4, 0, 0);
  down.extent = up.extent;
  down.kind = cudaMemcpyDeviceToHost;
  report("cudaGraphAddMemcpyNode", cudaGraphAddMemcpyNode(&second, graph, &first, 1, &down));
  cudaGraphExec_t exec = instantiate(graph);
  run(exec);
  print("rows", out);
  down.dstPos = make_cudaPos(0, 1, 0);
  down.extent = make_cudaExtent(8, 2, 1);
  report("cudaGraphExecMemcpyNodeSetParams", cudaGraphExecMemcpyNodeSetParams(exec, second, &down));
  run(exec);
  print("rows", out);
  REQUIRE(cudaGraphExecDestroy(exec));
  report("cudaGraphMemcpyNodeSetParams", cudaGraphMemcpyNodeSetParams(second, &down));

  cudaArray_t array = nullptr;
  const cudaChannelFormatDesc format = cudaCreateChannelDesc<int>();
  REQUIRE(cudaMallocArray(&array, &format, 4, 2));
  cudaMemcpy3DParms into = {};
  into.srcPtr = make_cudaPitchedPtr(in.data(), 20, 5, 4);
  into.dstArray = array;
  into.extent = make_cudaExtent(4, 2, 1);
  into.kind = cudaMemcpyHostToDevice;
  report("to an array", cudaGraphAddMemcpyNode(&third, graph, &second, 1, &into));
  cudaMemcpy3DParms asked = {};
  report("cudaGraphMemcpyNodeGetParams", cudaGraphMemcpyNodeGetParams(third, &asked));
  std::printf("array: %s, extent %zu %zu %zu\n", asked.dstArray == array ? "the same" : "another",
              asked.extent.width, asked.extent.height, asked.extent.depth);
  exec = instantiate(graph);
  run(exec);
  std::vector<int> back(8);
  REQUIRE(cudaMemcpy2DFromArray(back.data(), 16, array, 0, 0, 16, 2, cudaMemcpyDeviceToHost));
  print("array", back);
  REQUIRE(cudaGraphExecDestroy(exec));
  REQUIRE(cudaGraphDestroy(graph));
  REQUIRE(cudaFreeArray(array));
  REQUIRE(cudaFree(device));

  REQUIRE(cudaGraphCreate(&graph, 0));
  int a[2] = {1, 2}, b[2] = {0, 0};
  report("host to host",
         cudaGraphAddMemcpyNode1D(&first, graph, nullptr, 0, b, a, 8, cudaMemcpyHostToHost));
  exec = instantiate(graph);
  run(exec);
  a[0] = 9;
  run(exec);
  std::printf("b: %d %d\n", b[0], b[1]);
  REQUIRE(cudaGraphExecDestroy(exec));
  REQUIRE(cudaGraphDestroy(graph));
}

void symbols() {
  Device values(8);
  REQUIRE(cudaMemset(values.at, 0, 32));
  REQUIRE(cudaDeviceSynchronize());  // the graph's stream does not wait for the legacy one
  int in[8] = {1, 2, 3, 4, 5, 6, 7, 8}, part[2] = {50, 60}, out[8] = {}, tail[2] = {};
  cudaGraph_t graph = nullptr;
  REQUIRE(cudaGraphCreate(&graph, 0));
  cudaGraphNode_t to = nullptr, from = nullptr;
  report("cudaGraphAddMemcpyNodeToSymbol",
         cudaGraphAddMemcpyNodeToSymbol(&to, graph, nullptr, 0, table, in, 32, 0,
                                        cudaMemcpyHostToDevice));
  void* params[] = {&values.at};
  cudaGraphNode_t middle = kernel(graph, {to}, reinterpret_cast<void*>(add_table), params);
  report("cudaGraphAddMemcpyNodeFromSymbol",
         cudaGraphAddMemcpyNodeFromSymbol(&from, graph, &middle, 1, out, table, 32, 0,
                                          cudaMemcpyDeviceToHost));
  cudaGraphExec_t exec = instantiate(graph);
  run(exec);
  std::printf("out: %d %d\n", out[0], out[7]);
  report("cudaGraphExecMemcpyNodeSetParamsToSymbol",
         cudaGraphExecMemcpyNodeSetParamsToSymbol(exec, to, table, part, 8, 8,
                                                  cudaMemcpyHostToDevice));
  report("cudaGraphExecMemcpyNodeSetParamsFromSymbol",
         cudaGraphExecMemcpyNodeSetParamsFromSymbol(exec, from, tail, table, 8, 8,
                                                    cudaMemcpyDeviceToHost));
  run(exec);
  std::printf("tail: %d %d\n", tail[0], tail[1]);
  report("cudaGraphMemcpyNodeSetParamsToSymbol",
         cudaGraphMemcpyNodeSetParamsToSymbol(to, table, part, 8, 0, cudaMemcpyHostToDevice));
  report("cudaGraphMemcpyNodeSetParamsFromSymbol",
         cudaGraphMemcpyNodeSetParamsFromSymbol(from, out, table, 32, 0, cudaMemcpyDeviceToHost));
  report("beyond the symbol",
         cudaGraphMemcpyNodeSetParamsToSymbol(to, table, part, 8, 28, cudaMemcpyHostToDevice));
  REQUIRE(cudaGraphExecDestroy(exec));
  exec = instantiate(graph);
  run(exec);
  std::printf("out: %d %d\n", out[0], out[7]);
  REQUIRE(cudaGraphExecDestroy(exec));
  REQUIRE(cudaGraphDestroy(graph));
}

void allocations() {
  cudaGraph_t graph = nullptr;
  REQUIRE(cudaGraphCreate(&graph, 0));
  cudaMemAllocNodeParams params = {};
  params.poolProps.allocType = cudaMemAllocationTypePinned;
  params.poolProps.location.type = cudaMemLocationTypeDevice;
  params.bytesize = 32;
  cudaGraphNode_t made = nullptr, freed = nullptr, out = nullptr;
  report("cudaGraphAddMemAllocNode", cudaGraphAddMemAllocNode(&made, graph, nullptr, 0, &params));
  cudaMemAllocNodeParams asked = {};
  report("cudaGraphMemAllocNodeGetParams", cudaGraphMemAllocNodeGetParams(made, &asked));
  std::printf("%zu bytes, %s\n", asked.bytesize,
              asked.dptr == params.dptr ? "the same address" : "another address");
  cudaMemsetParams set = {};
  set.dst = params.dptr;
  set.elementSize = 4;
  set.value = 21;
  set.width = 8;
  set.height = 1;
  cudaGraphNode_t filled = nullptr;
  REQUIRE(cudaGraphAddMemsetNode(&filled, graph, &made, 1, &set));
  std::vector<int> host(8);
  report("copied out", cudaGraphAddMemcpyNode1D(&out, graph, &filled, 1, host.data(), params.dptr,
                                                32, cudaMemcpyDefault));
  report("cudaGraphAddMemFreeNode", cudaGraphAddMemFreeNode(&freed, graph, &out, 1, params.dptr));
  void* address = nullptr;
  report("cudaGraphMemFreeNodeGetParams", cudaGraphMemFreeNodeGetParams(freed, &address));
  std::printf("frees %s\n", address == params.dptr ? "it" : "something else");
  cudaGraphInstantiateParams how = {};
  how.flags = cudaGraphInstantiateFlagUpload;
  how.uploadStream = stream();
  cudaGraphExec_t exec = nullptr;
  report("cudaGraphInstantiateWithParams", cudaGraphInstantiateWithParams(&exec, graph, &how));
  std::printf("outcome %d\n", int(how.result_out));
  run(exec);
  print("out", host);
  run(exec);
  print("out", host);
  REQUIRE(cudaGraphExecDestroy(exec));
  REQUIRE(cudaGraphDestroy(graph));
  report("cudaDeviceGraphMemTrim", cudaDeviceGraphMemTrim(0));
}

std::atomic<int> calls{0};
void CUDART_CB count_call(void* data) { calls += *static_cast<int*>(data); }

void any_node() {
  Device values(8);
  cudaGraph_t graph = nullptr, inner = nullptr;
  REQUIRE(cudaGraphCreate(&graph, 0));
  REQUIRE(cudaGraphCreate(&inner, 0));
  cudaGraphNode_t node = nullptr, last = nullptr;
  cudaGraphNodeParams params = {};
  const auto add_node = [&](const char* what, cudaGraphNodeType type, auto&& fill) {
    params = {};
    params.type = type;
    fill(params);
    const cudaGraphNode_t after = last;
    report(what, cudaGraphAddNode(&node, graph, after != nullptr ? &after : nullptr, nullptr,
                                  after != nullptr ? 1 : 0, &params));
    last = node;
    return node;
  };
  int one = 1, amount = 5;
  std::vector<int> out(8);
  cudaEvent_t event = nullptr;
  REQUIRE(cudaEventCreate(&event));
  add_node("empty", cudaGraphNodeTypeEmpty, [](auto&) {});
  cudaGraphNode_t set = add_node("memset", cudaGraphNodeTypeMemset, [&](auto& p) {
    p.memset.dst = values.at;
    p.memset.value = 3;
    p.memset.elementSize = 4;
    p.memset.width = 8;
    p.memset.height = 1;
  });
  void* arguments[] = {&values.at, &amount};
  cudaGraphNode_t work = add_node("kernel", cudaGraphNodeTypeKernel, [&](auto& p) {
    p.kernel.func = reinterpret_cast<void*>(add);
    p.kernel.gridDim = {1, 1, 1};
    p.kernel.blockDim = {8, 1, 1};
    p.kernel.kernelParams = arguments;
  });
  add_node("event record", cudaGraphNodeTypeEventRecord,
           [&](auto& p) { p.eventRecord.event = event; });
  add_node("event wait", cudaGraphNodeTypeWaitEvent, [&](auto& p) { p.eventWait.event = event; });
  cudaGraphNode_t host = add_node("host", cudaGraphNodeTypeHost, [&](auto& p) {
    p.host.fn = count_call;
    p.host.userData = &one;
  });
  cudaGraphNode_t unused = nullptr;
  REQUIRE(cudaGraphAddEmptyNode(&unused, inner, nullptr, 0));
  add_node("child graph", cudaGraphNodeTypeGraph, [&](auto& p) { p.graph.graph = inner; });
  cudaGraphNode_t copy = add_node("memcpy", cudaGraphNodeTypeMemcpy, [&](auto& p) {
    p.memcpy.copyParams.srcPtr = make_cudaPitchedPtr(values.at, 32, 8, 1);
    p.memcpy.copyParams.dstPtr = make_cudaPitchedPtr(out.data(), 32, 8, 1);
    p.memcpy.copyParams.extent = make_cudaExtent(32, 1, 1);
    p.memcpy.copyParams.kind = cudaMemcpyDeviceToHost;
  });
  cudaGraphExec_t exec = instantiate(graph);
  run(exec);
  print("out", out);
  std::printf("calls %d\n", calls.load());

  params = {};
  params.type = cudaGraphNodeTypeMemset;
  params.memset.dst = values.at;
  params.memset.value = 40;
  params.memset.elementSize = 4;
  params.memset.width = 8;
  params.memset.height = 1;
  report("cudaGraphExecNodeSetParams", cudaGraphExecNodeSetParams(exec, set, &params));
  report("cudaGraphNodeSetParams", cudaGraphNodeSetParams(set, &params));
  int ten = 10;
  params = {};
  params.type = cudaGraphNodeTypeHost;
  params.host.fn = count_call;
  params.host.userData = &ten;
  report("cudaGraphExecNodeSetParams", cudaGraphExecNodeSetParams(exec, host, &params));
  amount = 7;
  params = {};
  params.type = cudaGraphNodeTypeKernel;
  params.kernel.func = reinterpret_cast<void*>(add);
  params.kernel.gridDim = {1, 1, 1};
  params.kernel.blockDim = {4, 1, 1};
  params.kernel.kernelParams = arguments;
  report("cudaGraphExecNodeSetParams", cudaGraphExecNodeSetParams(exec, work, &params));
  run(exec);
  print("out", out);
  std::printf("calls %d\n", calls.load());
  params = {};
  params.type = cudaGraphNodeType(99);
  report("no such type", cudaGraphAddNode(&node, graph, nullptr, nullptr, 0, &params));
  report("no graph", cudaGraphAddNode(&node, nullptr, nullptr, nullptr, 0, &params));
  report("no parameters", cudaGraphExecNodeSetParams(exec, copy, nullptr));
  REQUIRE(cudaGraphExecDestroy(exec));
  REQUIRE(cudaGraphDestroy(graph));
  REQUIRE(cudaGraphDestroy(inner));
  REQUIRE(cudaEventDestroy(event));
}

void conditionals() {
  Device values(8), counter(1);
  REQUIRE(cudaMemset(values.at, 0, 32));
  REQUIRE(cudaDeviceSynchronize());  // the graph's stream does not wait for the legacy one
  const int three = 3;
  cudaGraph_t graph = nullptr;
  REQUIRE(cudaGraphCreate(&graph, 0));
  cudaGraphConditionalHandle handle;
  report("cudaGraphConditionalHandleCreate",
         cudaGraphConditionalHandleCreate(&handle, graph, 1, cudaGraphCondAssignDefault));
  cudaGraphNodeParams params = {};
  params.type = cudaGraphNodeTypeConditional;
  params.conditional.handle = handle;
  params.conditional.type = cudaGraphCondTypeWhile;
  params.conditional.size = 1;
  cudaGraphNode_t loop = nullptr;
  report("while", cudaGraphAddNode(&loop, graph, nullptr, nullptr, 0, &params));
  cudaGraph_t body = params.conditional.phGraph_out[0];
  int amount = 2;
  void* adds[] = {&values.at, &amount};
  cudaGraphNode_t first = kernel(body, {}, reinterpret_cast<void*>(add), adds);
  void* counts[] = {&counter.at, &handle};
  kernel(body, {first}, reinterpret_cast<void*>(count_down), counts, 1);
  cudaGraphExec_t exec = instantiate(graph);
  std::vector<int> out(8);
  for (int i = 0; i < 2; ++i) {
    REQUIRE(cudaMemcpy(counter.at, &three, 4, cudaMemcpyHostToDevice));
    run(exec);
    REQUIRE(cudaMemcpy(out.data(), values.at, 32, cudaMemcpyDeviceToHost));
    print("after three rounds", out);
  }
  REQUIRE(cudaGraphExecDestroy(exec));
  REQUIRE(cudaGraphDestroy(graph));

  // If, with the choice made by a kernel before it.
  REQUIRE(cudaGraphCreate(&graph, 0));
  REQUIRE(cudaGraphConditionalHandleCreate(&handle, graph, 0, 0));
  void* decides[] = {&counter.at, &handle};
  cudaGraphNode_t before = kernel(graph, {}, reinterpret_cast<void*>(decide), decides, 1);
  params = {};
  params.type = cudaGraphNodeTypeConditional;
  params.conditional.handle = handle;
  params.conditional.type = cudaGraphCondTypeIf;
  params.conditional.size = 1;
  cudaGraphNode_t branch = nullptr;
  report("if", cudaGraphAddNode(&branch, graph, &before, nullptr, 1, &params));
  amount = 1000;
  kernel(params.conditional.phGraph_out[0], {}, reinterpret_cast<void*>(add), adds);
  exec = instantiate(graph);
  for (const int choice : {0, 1}) {
    REQUIRE(cudaMemcpy(counter.at, &choice, 4, cudaMemcpyHostToDevice));
    run(exec);
    REQUIRE(cudaMemcpy(out.data(), values.at, 32, cudaMemcpyDeviceToHost));
    print(choice != 0 ? "yes" : "no", out);
  }
  cudaGraphNodeType type;
  REQUIRE(cudaGraphNodeGetType(branch, &type));
  std::printf("type %d\n", int(type));
  REQUIRE(cudaGraphExecDestroy(exec));
  REQUIRE(cudaGraphDestroy(graph));
}

std::atomic<int> destroyed{0};
void CUDART_CB note_destroyed(void* data) { destroyed += *static_cast<int*>(data); }

int wait_for_destroyed(int count) {
  for (int i = 0; i < 2000 && destroyed.load() != count; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return destroyed.load();
}

void user_objects() {
  static int one = 1, hundred = 100;
  cudaUserObject_t first = nullptr, second = nullptr;
  report("cudaUserObjectCreate",
         cudaUserObjectCreate(&first, &one, note_destroyed, 1, cudaUserObjectNoDestructorSync));
  report("without the flag", cudaUserObjectCreate(&second, &one, note_destroyed, 1, 0));
  report("cudaUserObjectCreate", cudaUserObjectCreate(&second, &hundred, note_destroyed, 2,
                                                      cudaUserObjectNoDestructorSync));
  report("cudaUserObjectRetain", cudaUserObjectRetain(first, 2));
  report("cudaUserObjectRelease", cudaUserObjectRelease(first, 3));
  std::printf("destroyed %d\n", wait_for_destroyed(1));
  cudaGraph_t graph = nullptr, clone = nullptr;
  REQUIRE(cudaGraphCreate(&graph, 0));
  report("cudaGraphRetainUserObject",
         cudaGraphRetainUserObject(graph, second, 2, cudaGraphUserObjectMove));
  cudaGraphNode_t node = nullptr;
  REQUIRE(cudaGraphAddEmptyNode(&node, graph, nullptr, 0));
  cudaGraphExec_t exec = instantiate(graph);
  REQUIRE(cudaGraphClone(&clone, graph));
  report("cudaGraphReleaseUserObject", cudaGraphReleaseUserObject(graph, second, 2));
  REQUIRE(cudaGraphDestroy(graph));
  REQUIRE(cudaGraphDestroy(clone));
  std::printf("destroyed %d\n", destroyed.load());
  REQUIRE(cudaGraphExecDestroy(exec));
  std::printf("destroyed %d\n", wait_for_destroyed(101));
}

}  // namespace

int main(int argc, char** argv) {
  const std::string_view scenario = argc == 2 ? argv[1] : "";
  if (scenario == "copies")
    copies();
  else if (scenario == "boxes")
    boxes();
  else if (scenario == "symbols")
    symbols();
  else if (scenario == "allocations")
    allocations();
  else if (scenario == "any_node")
    any_node();
  else if (scenario == "conditionals")
    conditionals();
  else if (scenario == "user_objects")
    user_objects();
  else
    return 2;
  return 0;
}
