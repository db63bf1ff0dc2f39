// Graphs through the runtime: captured, built by hand, updated.
#include "check.h"

__global__ void put(int* cell, int value) { *cell = value; }
__global__ void add(int* cell, int value) { *cell += value; }

int main() {
  int *device, host = 0;
  cudaStream_t stream;
  OK(cudaMalloc(&device, 64));
  OK(cudaStreamCreate(&stream));
  const auto value = [&] {
    OK(cudaMemcpy(&host, device, sizeof(int), cudaMemcpyDeviceToHost));
    return host;
  };

  cudaGraph_t graph;
  cudaGraphExec_t exec;
  OK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
  put<<<1, 1, 0, stream>>>(device, 9);
  OK(cudaMemsetAsync(device + 1, 1, 4, stream));
  add<<<1, 1, 0, stream>>>(device, 1);
  cudaStreamCaptureStatus status;
  OK(cudaStreamIsCapturing(stream, &status));
  CHECK(status == cudaStreamCaptureStatusActive);
  OK(cudaStreamEndCapture(stream, &graph));
  size_t nodes = 0;
  OK(cudaGraphGetNodes(graph, nullptr, &nodes));
  CHECK(nodes == 3);
  OK(cudaGraphInstantiate(&exec, graph, 0));
  OK(cudaGraphLaunch(exec, stream));
  OK(cudaStreamSynchronize(stream));
  CHECK(value() == 10);
  OK(cudaGraphExecDestroy(exec));
  OK(cudaGraphDestroy(graph));

  // A capture that a call spoils ends with an error, and the stream works again.
  void* memory;
  OK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
  GIVES(cudaErrorStreamCaptureUnsupported, cudaMalloc(&memory, 4));
  GIVES(cudaErrorStreamCaptureInvalidated, cudaStreamEndCapture(stream, &graph));
  cudaGetLastError();
  OK(cudaStreamSynchronize(stream));

  OK(cudaGraphCreate(&graph, 0));
  cudaGraphNode_t first, second;
  int v = 3;
  void* params[] = {&device, &v};
  cudaKernelNodeParams node = {};
  node.func = reinterpret_cast<void*>(put);
  node.gridDim = node.blockDim = dim3(1);
  node.kernelParams = params;
  OK(cudaGraphAddKernelNode(&first, graph, nullptr, 0, &node));
  node.func = reinterpret_cast<void*>(add);
  OK(cudaGraphAddKernelNode(&second, graph, &first, 1, &node));
  OK(cudaGraphInstantiate(&exec, graph, 0));
  OK(cudaGraphLaunch(exec, stream));
  OK(cudaGraphLaunch(exec, stream));
  OK(cudaStreamSynchronize(stream));
  CHECK(value() == 6);
  v = 30;
  OK(cudaGraphExecKernelNodeSetParams(exec, second, &node));
  OK(cudaGraphLaunch(exec, stream));
  OK(cudaStreamSynchronize(stream));
  CHECK(value() == 33);
  cudaKernelNodeParams shown = {};
  OK(cudaGraphKernelNodeGetParams(second, &shown));
  CHECK(shown.func == reinterpret_cast<void*>(add));
  CHECK(*static_cast<int*>(shown.kernelParams[1]) == 3);
  OK(cudaGraphExecDestroy(exec));
  OK(cudaGraphDestroy(graph));
  return finish();
}
