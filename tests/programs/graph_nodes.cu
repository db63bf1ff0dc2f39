// Graphs whose nodes the program adds and changes itself: kernels and functions of the program.
// Prints what they compute, the same locally and remotely.
//
//   graph_nodes SCENARIO
#include <atomic>
#include <cstring>
#include <string_view>
#include <vector>

#include "expect.h"

namespace {

struct Pair {
  short first;
  double second;
};

__global__ void multiply(int* values, int factor) { values[threadIdx.x] *= factor; }
__global__ void combine(int* out, const int* a, const int* b, Pair pair, char flag) {
  const unsigned i = threadIdx.x;
  out[i] = a[i] * pair.first + int(b[i] * pair.second) + flag;
}

constexpr unsigned kCount = 32;

struct Values {
  Values() {
    REQUIRE(cudaMalloc(&device, kCount * sizeof(int)));
    std::vector<int> host(kCount);
    for (unsigned i = 0; i < kCount; ++i) host[i] = int(i + 1);
    REQUIRE(cudaMemcpy(device, host.data(), kCount * sizeof(int), cudaMemcpyHostToDevice));
  }
  ~Values() { REQUIRE(cudaFree(device)); }
  long sum() const {
    std::vector<int> host(kCount);
    REQUIRE(cudaMemcpy(host.data(), device, kCount * sizeof(int), cudaMemcpyDeviceToHost));
    long sum = 0;
    for (const int value : host) sum += value;
    return sum;
  }
  int* device = nullptr;
};

cudaKernelNodeParams kernel(void* function, void** params) {
  cudaKernelNodeParams node = {};
  node.func = function;
  node.gridDim = dim3(1);
  node.blockDim = dim3(kCount);
  node.kernelParams = params;
  return node;
}

void run(cudaGraphExec_t exec) {
  cudaStream_t stream;
  REQUIRE(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  REQUIRE(cudaGraphLaunch(exec, stream));
  REQUIRE(cudaStreamSynchronize(stream));
  REQUIRE(cudaStreamDestroy(stream));
}

// a *= 3 and b *= 5 beside each other, then out = combine(a, b, ...).
void kernels() {
  Values a, b, out;
  int three = 3, five = 5;
  Pair pair = {7, 0.5};
  char flag = 1;
  void* of_a[] = {&a.device, &three};
  void* of_b[] = {&b.device, &five};
  void* of_out[] = {&out.device, &a.device, &b.device, &pair, &flag};
  cudaGraph_t graph;
  REQUIRE(cudaGraphCreate(&graph, 0));
  cudaGraphNode_t nodes[3];
  cudaKernelNodeParams params = kernel(reinterpret_cast<void*>(multiply), of_a);
  REQUIRE(cudaGraphAddKernelNode(&nodes[0], graph, nullptr, 0, &params));
  params = kernel(reinterpret_cast<void*>(multiply), of_b);
  REQUIRE(cudaGraphAddKernelNode(&nodes[1], graph, nullptr, 0, &params));
  params = kernel(reinterpret_cast<void*>(combine), of_out);
  REQUIRE(cudaGraphAddKernelNode(&nodes[2], graph, nodes, 2, &params));
  size_t count = 0;
  REQUIRE(cudaGraphGetEdges(graph, nullptr, nullptr, nullptr, &count));
  std::printf("edges %zu\n", count);

  cudaGraphExec_t exec;
  REQUIRE(cudaGraphInstantiate(&exec, graph, 0));
  run(exec);
  std::printf("%ld %ld %ld\n", a.sum(), b.sum(), out.sum());

  // In the executable graph alone, then in the graph.
  three = -1;
  params = kernel(reinterpret_cast<void*>(multiply), of_a);
  REQUIRE(cudaGraphExecKernelNodeSetParams(exec, nodes[0], &params));
  run(exec);
  std::printf("%ld %ld %ld\n", a.sum(), b.sum(), out.sum());
  pair.first = 100;
  params = kernel(reinterpret_cast<void*>(combine), of_out);
  REQUIRE(cudaGraphKernelNodeSetParams(nodes[2], &params));
  run(exec);  // unchanged
  std::printf("%ld %ld %ld\n", a.sum(), b.sum(), out.sum());
  cudaGraphExecUpdateResultInfo info;
  REQUIRE(cudaGraphExecUpdate(exec, graph, &info));
  run(exec);
  std::printf("%ld %ld %ld\n", a.sum(), b.sum(), out.sum());
  REQUIRE(cudaGraphExecDestroy(exec));
  REQUIRE(cudaGraphDestroy(graph));
}

// What was captured can be asked for, changed and put back: how inference engines renew pointers.
void change_a_captured_kernel() {
  Values a, b;
  cudaStream_t stream;
  REQUIRE(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  REQUIRE(cudaStreamBeginCapture(stream, cudaStreamCaptureModeRelaxed));
  multiply<<<1, kCount, 0, stream>>>(a.device, 2);
  combine<<<1, kCount, 0, stream>>>(a.device, a.device, b.device, Pair{1, 2.0}, 3);
  cudaGraph_t graph;
  REQUIRE(cudaStreamEndCapture(stream, &graph));
  cudaGraphExec_t exec;
  REQUIRE(cudaGraphInstantiate(&exec, graph, 0));
  size_t count = 2;
  cudaGraphNode_t nodes[2];
  REQUIRE(cudaGraphGetNodes(graph, nodes, &count));
  for (size_t i = 0; i < count; ++i) {
    cudaKernelNodeParams params = {};
    REQUIRE(cudaGraphKernelNodeGetParams(nodes[i], &params));
    const bool is_multiply = params.func == reinterpret_cast<void*>(multiply);
    const bool is_combine = params.func == reinterpret_cast<void*>(combine);
    std::printf("%s, block %u, shared %u\n",
                is_multiply  ? "multiply"
                : is_combine ? "combine"
                             : "neither",
                params.blockDim.x, params.sharedMemBytes);
    if (is_multiply) {
      std::printf("factor %d\n", *static_cast<int*>(params.kernelParams[1]));
      int ten = 10;
      params.kernelParams[1] = &ten;
      REQUIRE(cudaGraphKernelNodeSetParams(nodes[i], &params));
    } else if (is_combine) {
      const Pair* const pair = static_cast<Pair*>(params.kernelParams[3]);
      std::printf("pair %d %.1f, flag %d, same pointer %d\n", pair->first, pair->second,
                  *static_cast<char*>(params.kernelParams[4]),
                  *static_cast<int**>(params.kernelParams[2]) == b.device);
    }
  }
  cudaGraphExecUpdateResultInfo info;
  REQUIRE(cudaGraphExecUpdate(exec, graph, &info));
  run(exec);
  std::printf("%ld %ld\n", a.sum(), b.sum());
}

void host_nodes() {
  static std::atomic<int> calls{0};
  static int last = 0;
  Values a;
  int two = 2;
  void* of_a[] = {&a.device, &two};
  cudaGraph_t graph;
  REQUIRE(cudaGraphCreate(&graph, 0));
  cudaGraphNode_t first, host;
  cudaKernelNodeParams params = kernel(reinterpret_cast<void*>(multiply), of_a);
  REQUIRE(cudaGraphAddKernelNode(&first, graph, nullptr, 0, &params));
  int one = 1, hundred = 100;
  cudaHostNodeParams function = {};
  function.fn = [](void* data) {
    calls.fetch_add(1);
    last = *static_cast<int*>(data);
  };
  function.userData = &one;
  REQUIRE(cudaGraphAddHostNode(&host, graph, &first, 1, &function));
  cudaHostNodeParams got = {};
  REQUIRE(cudaGraphHostNodeGetParams(host, &got));
  std::printf("same function %d, same data %d\n", got.fn == function.fn, got.userData == &one);
  cudaGraphExec_t exec;
  REQUIRE(cudaGraphInstantiate(&exec, graph, 0));
  for (int i = 0; i < 3; ++i) run(exec);
  std::printf("calls %d, data %d, sum %ld\n", calls.load(), last, a.sum());
  function.userData = &hundred;
  REQUIRE(cudaGraphExecHostNodeSetParams(exec, host, &function));
  run(exec);
  std::printf("calls %d, data %d, sum %ld\n", calls.load(), last, a.sum());
  REQUIRE(cudaGraphExecDestroy(exec));
  REQUIRE(cudaGraphDestroy(graph));
}

void errors() {
  Values a;
  int two = 2;
  void* of_a[] = {&a.device, &two};
  cudaGraph_t graph;
  REQUIRE(cudaGraphCreate(&graph, 0));
  cudaGraphNode_t node;
  cudaKernelNodeParams params = kernel(reinterpret_cast<void*>(multiply), of_a);
  params.blockDim = dim3(2048);
  const bool refused = cudaGraphAddKernelNode(&node, graph, nullptr, 0, &params) != cudaSuccess;
  std::printf("too many threads refused: %d\n", refused);
  params = kernel(reinterpret_cast<void*>(multiply), of_a);
  report("no such function",
         (params.func = &two, cudaGraphAddKernelNode(&node, graph, nullptr, 0, &params)));
  report("no params", cudaGraphAddKernelNode(&node, graph, nullptr, 0, nullptr));
  size_t count = 1;
  REQUIRE(cudaGraphGetNodes(graph, nullptr, &count));
  std::printf("nodes %zu\n", count);
  REQUIRE(cudaGraphDestroy(graph));
}

}  // namespace

int main(int argc, char** argv) {
  const std::string_view scenario = argc > 1 ? argv[1] : "";
  const struct {
    std::string_view name;
    void (*run)();
  } scenarios[] = {{"kernels", kernels},
                   {"change_a_captured_kernel", change_a_captured_kernel},
                   {"host_nodes", host_nodes},
                   {"errors", errors}};
  for (const auto& s : scenarios) {
    if (s.name == scenario) {
      s.run();
      return 0;
    }
  }
  std::fprintf(stderr, "no such scenario\n");
  return 2;
}
