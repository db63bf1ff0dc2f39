// Conditional nodes through the runtime: a loop that a kernel ends, and bodies that are captured.
#include "check.h"

__global__ void halve(cudaGraphConditionalHandle handle, unsigned* value, unsigned* steps) {
  *value /= 2;
  ++*steps;
  cudaGraphSetConditional(handle, *value > 0);
}
__global__ void choose(cudaGraphConditionalHandle handle, const unsigned* value) {
  cudaGraphSetConditional(handle, *value);
}
__global__ void put(unsigned* cell, unsigned value) { *cell = value; }

int main() {
  unsigned* cells;  // value, steps, chosen
  OK(cudaMallocManaged(&cells, 3 * sizeof(unsigned)));
  cells[0] = 1000;
  cells[1] = cells[2] = 0;

  cudaGraph_t graph;
  OK(cudaGraphCreate(&graph, 0));
  cudaGraphConditionalHandle loop_handle, choice_handle;
  OK(cudaGraphConditionalHandleCreate(&loop_handle, graph, 1, cudaGraphCondAssignDefault));
  OK(cudaGraphConditionalHandleCreate(&choice_handle, graph, 0, 0));
  cudaGraphNodeParams params = {};
  params.type = cudaGraphNodeTypeConditional;
  params.conditional.handle = loop_handle;
  params.conditional.type = cudaGraphCondTypeWhile;
  params.conditional.size = 1;
  cudaGraphNode_t loop, set, choice;
  OK(cudaGraphAddNode(&loop, graph, nullptr, nullptr, 0, &params));
  cudaGraph_t body = params.conditional.phGraph_out[0];

  cudaStream_t stream;
  OK(cudaStreamCreate(&stream));
  OK(cudaStreamBeginCaptureToGraph(stream, body, nullptr, nullptr, 0,
                                   cudaStreamCaptureModeRelaxed));
  halve<<<1, 1, 0, stream>>>(loop_handle, cells, cells + 1);
  cudaGraph_t captured;
  OK(cudaStreamEndCapture(stream, &captured));
  CHECK(captured == body);

  cudaKernelNodeParams kernel = {};
  const unsigned* steps = cells + 1;
  void* arguments[] = {&choice_handle, &steps};
  kernel.func = reinterpret_cast<void*>(choose);
  kernel.gridDim = kernel.blockDim = dim3(1);
  kernel.kernelParams = arguments;
  OK(cudaGraphAddKernelNode(&set, graph, &loop, 1, &kernel));
  params.conditional.handle = choice_handle;
  params.conditional.type = cudaGraphCondTypeSwitch;
  params.conditional.size = 12;
  OK(cudaGraphAddNode(&choice, graph, &set, nullptr, 1, &params));
  for (unsigned i = 0; i < 12; ++i) {
    unsigned *target = cells + 2, number = 100 + i;
    void* put_arguments[] = {&target, &number};
    kernel.func = reinterpret_cast<void*>(put);
    kernel.kernelParams = put_arguments;
    cudaGraphNode_t node;
    OK(cudaGraphAddKernelNode(&node, params.conditional.phGraph_out[i], nullptr, 0, &kernel));
  }

  cudaGraphExec_t exec;
  OK(cudaGraphInstantiate(&exec, graph, 0));
  OK(cudaGraphLaunch(exec, stream));
  OK(cudaStreamSynchronize(stream));
  CHECK(cells[0] == 0 && cells[1] == 10 && cells[2] == 110);
  cells[0] = 2;
  cells[1] = 0;
  OK(cudaGraphLaunch(exec, stream));
  OK(cudaStreamSynchronize(stream));
  CHECK(cells[1] == 2 && cells[2] == 102);
  OK(cudaGraphExecDestroy(exec));
  OK(cudaGraphDestroy(graph));
  return finish();
}
