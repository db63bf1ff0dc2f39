// Copies between host memory and the device inside captured graphs, replayed: every replay reads
// and writes the host memory anew. Prints sums of what arrives, the same locally and remotely.
//
//   graph_copies SCENARIO [COUNT]
//
// `refused` is for the remote run only: what can't be done there, and says so.
#include <cstring>
#include <numeric>
#include <string_view>
#include <vector>

#include "expect.h"

namespace {

__global__ void step(const unsigned* in, unsigned* out, size_t count) {
  for (size_t i = blockIdx.x * blockDim.x + threadIdx.x; i < count; i += gridDim.x * blockDim.x) {
    out[i] = in[i] * 3 + 1;
  }
}

struct Words {
  explicit Words(size_t count) : count(count) {
    REQUIRE(cudaMallocHost(&host, bytes()));
    REQUIRE(cudaMalloc(&device, bytes()));
    std::memset(host, 0, bytes());
  }
  ~Words() {
    REQUIRE(cudaFreeHost(host));
    REQUIRE(cudaFree(device));
  }
  size_t bytes() const { return count * sizeof(unsigned); }
  void fill(unsigned seed) {
    for (size_t i = 0; i < count; ++i) host[i] = static_cast<unsigned>(seed * 2654435761u + i);
  }
  unsigned long long sum() const { return std::accumulate(host, host + count, 0ull); }

  size_t count;
  unsigned *host = nullptr, *device = nullptr;
};

cudaStream_t make_stream() {
  cudaStream_t stream;
  REQUIRE(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  return stream;
}

// in's host memory -> device -> one step -> out's host memory; out may be in.
void work(Words& in, Words& out, cudaStream_t stream) {
  REQUIRE(cudaMemcpyAsync(in.device, in.host, in.bytes(), cudaMemcpyHostToDevice, stream));
  step<<<4, 64, 0, stream>>>(in.device, out.device, in.count);
  REQUIRE(cudaGetLastError());
  REQUIRE(cudaMemcpyAsync(out.host, out.device, out.bytes(), cudaMemcpyDeviceToHost, stream));
}

cudaGraph_t capture(Words& in, Words& out, cudaStream_t stream) {
  REQUIRE(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
  work(in, out, stream);
  cudaGraph_t graph;
  REQUIRE(cudaStreamEndCapture(stream, &graph));
  return graph;
}

cudaGraphExec_t instantiate(cudaGraph_t graph) {
  cudaGraphExec_t exec;
  REQUIRE(cudaGraphInstantiate(&exec, graph, 0));
  return exec;
}

void replay(cudaGraphExec_t exec, cudaStream_t stream) {
  REQUIRE(cudaGraphLaunch(exec, stream));
  REQUIRE(cudaStreamSynchronize(stream));
}

void print_nodes(cudaGraph_t graph) {
  size_t count = 0;
  REQUIRE(cudaGraphGetNodes(graph, nullptr, &count));
  std::printf("%zu nodes\n", count);
}

void changed_input(size_t count) {
  const cudaStream_t stream = make_stream();
  Words in(count), out(count);
  in.fill(7);
  cudaGraph_t graph = capture(in, out, stream);
  print_nodes(graph);
  std::printf("capturing copies nothing: %llu\n", out.sum());
  cudaGraphExec_t exec = instantiate(graph);
  REQUIRE(cudaGraphDestroy(graph));
  for (unsigned round = 0; round < 4; ++round) {
    in.fill(round);
    replay(exec, stream);
    std::printf("round %u: %llu\n", round, out.sum());
  }
  in.host[count / 2] += 5;  // one word
  replay(exec, stream);
  std::printf("one word more: %llu\n", out.sum());
  replay(exec, stream);  // nothing changed
  std::printf("again: %llu\n", out.sum());
  REQUIRE(cudaGraphExecDestroy(exec));
}

// Each replay reads what the one before has written, without a wait in between.
void in_place() {
  const cudaStream_t stream = make_stream();
  Words words(1000);
  words.fill(1);
  cudaGraphExec_t exec = instantiate(capture(words, words, stream));
  for (int i = 0; i < 5; ++i) REQUIRE(cudaGraphLaunch(exec, stream));
  REQUIRE(cudaStreamSynchronize(stream));
  std::printf("five steps: %llu\n", words.sum());
}

void clones_and_children() {
  const cudaStream_t stream = make_stream(), other = make_stream();
  Words a(500), b(500), c(500);
  cudaGraph_t first = capture(a, b, stream), second = capture(b, c, stream), clone, whole;
  REQUIRE(cudaGraphClone(&clone, first));
  cudaGraphExec_t of_clone = instantiate(clone), of_first = instantiate(first);
  a.fill(3);
  REQUIRE(cudaGraphLaunch(of_first, stream));
  REQUIRE(cudaGraphLaunch(of_clone, other));
  REQUIRE(cudaDeviceSynchronize());
  std::printf("graph and clone: %llu\n", b.sum());
  replay(instantiate(second), stream);
  std::printf("what was copied out goes in again: %llu\n", c.sum());

  REQUIRE(cudaGraphCreate(&whole, 0));
  cudaGraphNode_t child;
  REQUIRE(cudaGraphAddChildGraphNode(&child, whole, nullptr, 0, first));
  print_nodes(whole);
  cudaGraphExec_t of_whole = instantiate(whole);
  for (cudaGraph_t graph : {first, clone, whole}) REQUIRE(cudaGraphDestroy(graph));
  a.fill(4);
  replay(of_whole, stream);
  std::printf("as a child: %llu\n", b.sum());
  REQUIRE(cudaGraphLaunch(of_whole, stream));
  REQUIRE(cudaGraphExecDestroy(of_whole));
  a.fill(5);
  replay(of_clone, other);
  std::printf("the clone's: %llu\n", b.sum());
  REQUIRE(cudaDeviceSynchronize());
}

void update() {
  const cudaStream_t stream = make_stream();
  Words a(300), b(300), c(300), d(300);
  cudaGraphExec_t exec = instantiate(capture(a, b, stream));
  a.fill(1);
  replay(exec, stream);
  cudaGraphExecUpdateResultInfo info;
  REQUIRE(cudaGraphExecUpdate(exec, capture(c, d, stream), &info));
  c.fill(2);
  std::memset(b.host, 0, b.bytes());
  replay(exec, stream);
  std::printf("update result %d: %llu and %llu\n", int(info.result), b.sum(), d.sum());
}

// More memory in captured copies than a session may have at a time.
void many_captures(int count) {
  const cudaStream_t stream = make_stream();
  Words in(1 << 20), out(1 << 20);
  unsigned long long sum = 0;
  for (int i = 0; i < count; ++i) {
    cudaGraph_t graph = capture(in, out, stream);
    cudaGraphExec_t exec = instantiate(graph);
    in.host[i] = unsigned(i) + 17;
    REQUIRE(cudaGraphLaunch(exec, stream));
    REQUIRE(cudaGraphExecDestroy(exec));
    REQUIRE(cudaGraphDestroy(graph));
    REQUIRE(cudaStreamSynchronize(stream));
    sum += out.sum();
  }
  std::printf("%d captures: %llu\n", count, sum);
}

// A stream beside the capturing one copies as ever.
void beside_a_capture() {
  const cudaStream_t stream = make_stream(), other = make_stream();
  Words in(2000), out(2000), beside(2000);
  REQUIRE(cudaStreamBeginCapture(stream, cudaStreamCaptureModeRelaxed));
  REQUIRE(cudaMemcpyAsync(in.device, in.host, in.bytes(), cudaMemcpyHostToDevice, stream));
  beside.fill(9);
  work(beside, beside, other);
  REQUIRE(cudaStreamSynchronize(other));
  std::printf("beside: %llu\n", beside.sum());
  step<<<1, 32, 0, stream>>>(in.device, out.device, in.count);
  REQUIRE(cudaMemcpyAsync(out.host, out.device, out.bytes(), cudaMemcpyDeviceToHost, stream));
  cudaGraph_t graph;
  REQUIRE(cudaStreamEndCapture(stream, &graph));
  in.fill(10);
  replay(instantiate(graph), stream);
  std::printf("captured: %llu\n", out.sum());
}

void expect_failure(const char* what, cudaError_t status) {
  report(what, status);
  (void)cudaGetLastError();
}

void refused() {
  const cudaStream_t stream = make_stream(), other = make_stream();
  Words a(100), b(100);
  REQUIRE(cudaStreamBeginCapture(stream, cudaStreamCaptureModeRelaxed));
  work(a, b, stream);
  work(b, a, stream);
  cudaGraph_t graph;
  REQUIRE(cudaStreamEndCapture(stream, &graph));
  cudaGraphExec_t exec = nullptr;
  expect_failure("reads back", cudaGraphInstantiate(&exec, graph, 0));

  graph = capture(a, b, stream);
  exec = instantiate(graph);
  cudaGraphNode_t nodes[3];
  size_t count = 3;
  REQUIRE(cudaGraphGetNodes(graph, nodes, &count));
  expect_failure("switched off", cudaGraphNodeSetEnabled(exec, nodes[0], 0));
  REQUIRE(cudaStreamBeginCapture(other, cudaStreamCaptureModeRelaxed));
  expect_failure("launched into a capture", cudaGraphLaunch(exec, other));
  expect_failure("rows",
                 cudaMemcpy2DAsync(a.device, 40, a.host, 40, 20, 5, cudaMemcpyHostToDevice, other));
  REQUIRE(cudaStreamEndCapture(other, &graph));
  a.fill(6);
  replay(exec, stream);
  std::printf("still good: %llu\n", b.sum());
}

// For counting round trips: COUNT launches, and one wait.
void launches(int count) {
  const cudaStream_t stream = make_stream();
  Words in(100), out(100);
  in.fill(1);
  cudaGraphExec_t exec = instantiate(capture(in, out, stream));
  for (int i = 0; i < count; ++i) REQUIRE(cudaGraphLaunch(exec, stream));
  REQUIRE(cudaStreamSynchronize(stream));
  std::printf("%llu\n", out.sum());
}

}  // namespace

int main(int argc, char** argv) {
  const std::string_view scenario = argc > 1 ? argv[1] : "";
  const int count = argc > 2 ? std::atoi(argv[2]) : 0;
  if (scenario == "changed_input") {
    changed_input(size_t(count));
  } else if (scenario == "in_place") {
    in_place();
  } else if (scenario == "clones_and_children") {
    clones_and_children();
  } else if (scenario == "update") {
    update();
  } else if (scenario == "many_captures") {
    many_captures(count);
  } else if (scenario == "beside_a_capture") {
    beside_a_capture();
  } else if (scenario == "refused") {
    refused();
  } else if (scenario == "launches") {
    launches(count);
  } else {
    return EXIT_FAILURE;
  }
  REQUIRE(cudaDeviceSynchronize());
  return EXIT_SUCCESS;
}
