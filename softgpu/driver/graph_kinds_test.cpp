// Graphs beyond kernels and copies: conditions, batches of words, edge data, memory, graphs in
// captures.
#include <fstream>
#include <iterator>

#include "softgpu/driver/test_driver.h"

namespace farcall::softgpu {
namespace {

// As nvcc writes cudaGraphSetConditional().
// choose(u64 condition, u32* value): sets the condition to *value
// count_down(u64 condition, u32* n, u32* sum): *sum += *n, then sets it to --*n
constexpr char kConditionPtx[] = R"(.version 8.3
.target sm_75
.address_size 64
.extern .func cudaGraphSetConditional(.param .b64 handle, .param .b32 value);

.visible .entry choose(.param .u64 condition_p, .param .u64 value_p)
{
  .reg .b32 %v;
  .reg .b64 %condition, %address;
  ld.param.u64 %condition, [condition_p];
  ld.param.u64 %address, [value_p];
  ld.global.u32 %v, [%address];
  {
  .param .b64 param0;
  st.param.b64 [param0+0], %condition;
  .param .b32 param1;
  st.param.b32 [param1+0], %v;
  call.uni cudaGraphSetConditional, (param0, param1);
  }
  ret;
}

.visible .entry count_down(.param .u64 condition_p, .param .u64 n_p, .param .u64 sum_p)
{
  .reg .b32 %n, %s;
  .reg .b64 %condition, %address;
  ld.param.u64 %address, [n_p];
  ld.global.u32 %n, [%address];
  sub.u32 %s, %n, 1;
  st.global.u32 [%address], %s;
  ld.param.u64 %address, [sum_p];
  ld.global.u32 %s, [%address];
  add.u32 %s, %s, %n;
  st.global.u32 [%address], %s;
  sub.u32 %n, %n, 1;
  ld.param.u64 %condition, [condition_p];
  {
  .param .b64 param0;
  st.param.b64 [param0+0], %condition;
  .param .b32 param1;
  st.param.b32 [param1+0], %n;
  call.uni cudaGraphSetConditional, (param0, param1);
  }
  ret;
}
)";

class GraphKindsTest : public DriverTest {
 protected:
  void SetUp() override {
    DriverTest::SetUp();
    ASSERT_EQ(cuGraphCreate(&graph_, 0), CUDA_SUCCESS);
    ASSERT_EQ(cuModuleLoadData(&conditions_, kConditionPtx), CUDA_SUCCESS);
  }
  CUfunction condition_kernel(const char* name) {
    CUfunction function = nullptr;
    EXPECT_EQ(cuModuleGetFunction(&function, conditions_, name), CUDA_SUCCESS);
    return function;
  }
  template <class... Args>
  CUgraphNode kernel_node(CUgraph graph, std::vector<CUgraphNode> after, CUfunction function,
                          Args... args) {
    void* params[] = {static_cast<void*>(&args)...};
    CUDA_KERNEL_NODE_PARAMS kernel = {};
    kernel.func = function;
    kernel.gridDimX = kernel.gridDimY = kernel.gridDimZ = 1;
    kernel.blockDimX = kernel.blockDimY = kernel.blockDimZ = 1;
    kernel.kernelParams = params;
    CUgraphNode node = nullptr;
    EXPECT_EQ(cuGraphAddKernelNode(&node, graph, after.data(), after.size(), &kernel),
              CUDA_SUCCESS);
    return node;
  }
  CUgraphNode add_node(CUgraph graph, std::vector<CUgraphNode> after, CUdeviceptr cell,
                       uint32_t value) {
    return kernel_node(graph, std::move(after), kernel("add"), cell, uint32_t{1}, value);
  }
  CUgraphConditionalHandle condition(CUgraph graph, unsigned initial = 0, unsigned flags = 0) {
    CUgraphConditionalHandle handle = 0;
    EXPECT_EQ(cuGraphConditionalHandleCreate(&handle, graph, context_, initial, flags),
              CUDA_SUCCESS);
    return handle;
  }
  // Its bodies.
  std::vector<CUgraph> conditional(CUgraph graph, std::vector<CUgraphNode> after,
                                   CUgraphConditionalHandle handle, CUgraphConditionalNodeType type,
                                   unsigned size, CUgraphNode* node = nullptr) {
    CUgraphNodeParams params = {};
    params.type = CU_GRAPH_NODE_TYPE_CONDITIONAL;
    params.conditional.handle = handle;
    params.conditional.type = type;
    params.conditional.size = size;
    params.conditional.ctx = context_;
    CUgraphNode made;
    EXPECT_EQ(cuGraphAddNode(&made, graph, after.data(), nullptr, after.size(), &params),
              CUDA_SUCCESS);
    if (node != nullptr) *node = made;
    return {params.conditional.phGraph_out, params.conditional.phGraph_out + size};
  }
  CUgraphExec instantiate() {
    CUgraphExec exec = nullptr;
    EXPECT_EQ(cuGraphInstantiateWithFlags(&exec, graph_, 0), CUDA_SUCCESS);
    return exec;
  }
  void run(CUgraphExec exec) {
    EXPECT_EQ(cuGraphLaunch(exec, nullptr), CUDA_SUCCESS);
    EXPECT_EQ(cuCtxSynchronize(), CUDA_SUCCESS);
  }
  void write(CUdeviceptr cell, uint32_t value) {
    EXPECT_EQ(cuMemcpyHtoD(cell, &value, sizeof(value)), CUDA_SUCCESS);
  }

  CUgraph graph_ = nullptr;
  CUmodule conditions_ = nullptr;
};

TEST_F(GraphKindsTest, IfRunsOneOfItsBodiesByWhatAKernelSet) {
  const CUdeviceptr value = cell(0), then = cell(0), otherwise = cell(0), after = cell(0);
  const CUgraphConditionalHandle handle = condition(graph_);
  CUgraphNode set = kernel_node(graph_, {}, condition_kernel("choose"), handle, value), node;
  const std::vector<CUgraph> bodies =
      conditional(graph_, {set}, handle, CU_GRAPH_COND_TYPE_IF, 2, &node);
  add_node(bodies[0], {}, then, 1);
  CUgraphNode first = add_node(bodies[1], {}, otherwise, 1);
  add_node(bodies[1], {first}, otherwise, 10);
  add_node(graph_, {node}, after, 1);
  CUgraphNodeType type;
  EXPECT_EQ(cuGraphNodeGetType(node, &type), CUDA_SUCCESS);
  EXPECT_EQ(type, CU_GRAPH_NODE_TYPE_CONDITIONAL);
  CUgraphExec exec = instantiate();
  ASSERT_EQ(cuGraphDestroy(graph_), CUDA_SUCCESS);  // the condition lives on
  run(exec);
  EXPECT_EQ(read(then), 0u);
  EXPECT_EQ(read(otherwise), 11u);
  write(value, 5);
  run(exec);
  run(exec);
  EXPECT_EQ(read(then), 2u);
  EXPECT_EQ(read(otherwise), 11u);
  EXPECT_EQ(read(after), 3u);
}

TEST_F(GraphKindsTest, WhileRunsUntilItsConditionIsZero) {
  const CUdeviceptr n = cell(100), sum = cell(0), after = cell(0);
  const CUgraphConditionalHandle handle = condition(graph_, 1, CU_GRAPH_COND_ASSIGN_DEFAULT);
  CUgraphNode loop;
  const std::vector<CUgraph> bodies =
      conditional(graph_, {}, handle, CU_GRAPH_COND_TYPE_WHILE, 1, &loop);
  kernel_node(bodies[0], {}, condition_kernel("count_down"), handle, n, sum);
  CUDA_MEMCPY3D copy = {};
  copy.srcMemoryType = copy.dstMemoryType = CU_MEMORYTYPE_DEVICE;
  copy.srcDevice = sum;
  copy.dstDevice = after;
  copy.WidthInBytes = 4;
  copy.Height = copy.Depth = 1;
  CUgraphNode copied;
  ASSERT_EQ(cuGraphAddMemcpyNode(&copied, graph_, &loop, 1, &copy, context_), CUDA_SUCCESS);
  CUgraphExec exec = instantiate();
  run(exec);
  EXPECT_EQ(read(sum), 5050u);
  EXPECT_EQ(read(after), 5050u);
  EXPECT_EQ(read(n), 0u);
  write(n, 3);  // the default opens the loop again
  run(exec);
  EXPECT_EQ(read(after), 5056u);
}

TEST_F(GraphKindsTest, WithoutADefaultTheLastValueHolds) {
  const CUdeviceptr cells = cell(0);
  const CUgraphConditionalHandle handle = condition(graph_, 1, 0);
  add_node(conditional(graph_, {}, handle, CU_GRAPH_COND_TYPE_IF, 1)[0], {}, cells, 1);
  run(instantiate());
  EXPECT_EQ(read(cells), 0u);
}

TEST_F(GraphKindsTest, SwitchRunsTheBodyOfItsNumberOrNone) {
  const CUdeviceptr value = cell(0), chosen = cell(0);
  const CUgraphConditionalHandle handle = condition(graph_);
  CUgraphNode set = kernel_node(graph_, {}, condition_kernel("choose"), handle, value);
  const std::vector<CUgraph> bodies =
      conditional(graph_, {set}, handle, CU_GRAPH_COND_TYPE_SWITCH, 3);
  for (uint32_t i = 0; i < 3; ++i) add_node(bodies[i], {}, chosen, i == 0 ? 1 : i * 10);
  CUgraphExec exec = instantiate();
  const uint32_t expected[] = {1, 11, 31, 31};
  for (uint32_t i = 0; i < 4; ++i) {
    write(value, i);
    run(exec);
    EXPECT_EQ(read(chosen), expected[i]) << i;
  }
}

TEST_F(GraphKindsTest, ConditionsNestAndTheirBodiesCanBeCaptured) {
  const CUdeviceptr n = cell(4), sum = cell(0), inner_cells = cell(0);
  const CUgraphConditionalHandle outer = condition(graph_, 1, CU_GRAPH_COND_ASSIGN_DEFAULT);
  const CUgraph loop = conditional(graph_, {}, outer, CU_GRAPH_COND_TYPE_WHILE, 1)[0];
  CUgraphNode step = kernel_node(loop, {}, condition_kernel("count_down"), outer, n, sum);
  const CUgraphConditionalHandle inner = condition(loop);
  CUgraphNode set = kernel_node(loop, {step}, condition_kernel("choose"), inner, n);
  const CUgraph body = conditional(loop, {set}, inner, CU_GRAPH_COND_TYPE_IF, 1)[0];
  CUstream s = stream();
  ASSERT_EQ(
      cuStreamBeginCaptureToGraph(s, body, nullptr, nullptr, 0, CU_STREAM_CAPTURE_MODE_RELAXED),
      CUDA_SUCCESS);
  ASSERT_EQ(add(inner_cells, 1, s), CUDA_SUCCESS);
  CUgraph ended;
  ASSERT_EQ(cuStreamEndCapture(s, &ended), CUDA_SUCCESS);
  EXPECT_EQ(ended, body);
  ASSERT_EQ(
      cuStreamBeginCaptureToGraph(s, body, nullptr, nullptr, 0, CU_STREAM_CAPTURE_MODE_RELAXED),
      CUDA_SUCCESS);
  ASSERT_EQ(add(inner_cells, 100, s), CUDA_SUCCESS);
  ASSERT_EQ(cuStreamEndCapture(s, nullptr), CUDA_SUCCESS);  // whose graph it is is known
  run(instantiate());
  EXPECT_EQ(read(sum), 10u);
  EXPECT_EQ(read(inner_cells), 303u);  // not when n had become 0
}

TEST_F(GraphKindsTest, WhatAConditionalNodeMayNotBeIsRefused) {
  const CUgraphConditionalHandle handle = condition(graph_);
  CUgraph other;
  ASSERT_EQ(cuGraphCreate(&other, 0), CUDA_SUCCESS);
  CUgraphNodeParams params = {};
  params.type = CU_GRAPH_NODE_TYPE_CONDITIONAL;
  params.conditional.handle = handle;
  params.conditional.type = CU_GRAPH_COND_TYPE_WHILE;
  params.conditional.size = 2;
  params.conditional.ctx = context_;
  CUgraphNode node;
  EXPECT_EQ(cuGraphAddNode(&node, graph_, nullptr, nullptr, 0, &params), CUDA_ERROR_INVALID_VALUE);
  params.conditional.size = 1;
  params.conditional.handle = 77;
  EXPECT_EQ(cuGraphAddNode(&node, graph_, nullptr, nullptr, 0, &params), CUDA_ERROR_INVALID_VALUE);
  params.conditional.handle = condition(graph_);
  EXPECT_EQ(cuGraphAddNode(&node, other, nullptr, nullptr, 0, &params), CUDA_ERROR_INVALID_VALUE);
  params.conditional.handle = handle;
  ASSERT_EQ(cuGraphAddNode(&node, graph_, nullptr, nullptr, 0, &params), CUDA_SUCCESS);
  EXPECT_EQ(cuGraphAddNode(&node, graph_, nullptr, nullptr, 0, &params), CUDA_ERROR_INVALID_VALUE);
  // A host function can't run under a condition.
  CUDA_HOST_NODE_PARAMS host = {[](void*) {}, nullptr};
  CUgraphNode bad;
  ASSERT_EQ(cuGraphAddHostNode(&bad, params.conditional.phGraph_out[0], nullptr, 0, &host),
            CUDA_SUCCESS);
  CUDA_GRAPH_INSTANTIATE_PARAMS instantiation = {};
  CUgraphExec exec;
  EXPECT_EQ(cuGraphInstantiateWithParams(&exec, graph_, &instantiation), CUDA_ERROR_NOT_SUPPORTED);
  EXPECT_EQ(instantiation.hErrNode_out, bad);
}

TEST_F(GraphKindsTest, AKernelThatSetsNoConditionFaults) {
  const CUdeviceptr value = cell(1);
  ASSERT_EQ(launch(condition_kernel("choose"), nullptr, uint64_t{1234}, value), CUDA_SUCCESS);
  EXPECT_EQ(cuCtxSynchronize(), CUDA_ERROR_ILLEGAL_ADDRESS);
}

TEST_F(GraphKindsTest, AnEndlessLoopEndsWhenTheContextFails) {
  const CUgraphConditionalHandle handle = condition(graph_, 1, CU_GRAPH_COND_ASSIGN_DEFAULT);
  const CUdeviceptr cells = cell(0);
  add_node(conditional(graph_, {}, handle, CU_GRAPH_COND_TYPE_WHILE, 1)[0], {}, cells, 1);
  CUstream s = stream(CU_STREAM_NON_BLOCKING);
  ASSERT_EQ(cuGraphLaunch(instantiate(), s), CUDA_SUCCESS);
  EXPECT_EQ(cuStreamQuery(s), CUDA_ERROR_NOT_READY);
  ASSERT_EQ(launch(kernel("trap"), nullptr), CUDA_SUCCESS);
  EXPECT_EQ(cuStreamSynchronize(s), CUDA_ERROR_LAUNCH_FAILED);
}

TEST_F(GraphKindsTest, UpdatesReachIntoBodies) {
  const CUdeviceptr cells = cell(0);
  const auto fill = [&](CUgraph graph, uint32_t value) {
    const CUgraphConditionalHandle handle = condition(graph, 1, CU_GRAPH_COND_ASSIGN_DEFAULT);
    return add_node(conditional(graph, {}, handle, CU_GRAPH_COND_TYPE_IF, 1)[0], {}, cells, value);
  };
  CUgraphNode inner = fill(graph_, 1);
  CUgraph other;
  ASSERT_EQ(cuGraphCreate(&other, 0), CUDA_SUCCESS);
  fill(other, 10);
  CUgraphExec exec = instantiate();
  run(exec);
  CUgraphExecUpdateResultInfo info;
  ASSERT_EQ(cuGraphExecUpdate(exec, other, &info), CUDA_SUCCESS);
  run(exec);
  EXPECT_EQ(read(cells), 11u);
  exec = instantiate();
  CUDA_KERNEL_NODE_PARAMS params;
  ASSERT_EQ(cuGraphKernelNodeGetParams(inner, &params), CUDA_SUCCESS);
  uint32_t hundred = 100;
  params.kernelParams[2] = &hundred;
  ASSERT_EQ(cuGraphExecKernelNodeSetParams(exec, inner, &params), CUDA_SUCCESS);
  run(exec);
  EXPECT_EQ(read(cells), 111u);
}

TEST_F(GraphKindsTest, ClonesHaveBodiesOfTheirOwn) {
  const CUdeviceptr cells = cell(0);
  const CUgraphConditionalHandle handle = condition(graph_, 1, CU_GRAPH_COND_ASSIGN_DEFAULT);
  const CUgraph body = conditional(graph_, {}, handle, CU_GRAPH_COND_TYPE_IF, 1)[0];
  add_node(body, {}, cells, 1);
  CUgraph clone;
  ASSERT_EQ(cuGraphClone(&clone, graph_), CUDA_SUCCESS);
  add_node(body, {}, cells, 10);
  CUgraphExec exec;
  ASSERT_EQ(cuGraphInstantiateWithFlags(&exec, clone, 0), CUDA_SUCCESS);
  run(exec);
  EXPECT_EQ(read(cells), 1u);
}

// ------------------------------------------------------------------ words

TEST_F(GraphKindsTest, BatchesOfWordsAreNodes) {
  const CUdeviceptr words = allocate(16);
  ASSERT_EQ(cuMemsetD32(words, 0, 4), CUDA_SUCCESS);
  CUstreamBatchMemOpParams operations[2] = {};
  operations[0].writeValue.operation = CU_STREAM_MEM_OP_WRITE_VALUE_64;
  operations[0].writeValue.address = words;
  operations[0].writeValue.value64 = 0x100000002ull;
  operations[1].waitValue.operation = CU_STREAM_MEM_OP_WAIT_VALUE_32;
  operations[1].waitValue.address = words;
  operations[1].waitValue.value = 2;
  operations[1].waitValue.flags = CU_STREAM_WAIT_VALUE_EQ;
  CUDA_BATCH_MEM_OP_NODE_PARAMS params = {context_, 2, operations, 0};
  CUgraphNode node;
  ASSERT_EQ(cuGraphAddBatchMemOpNode(&node, graph_, nullptr, 0, &params), CUDA_SUCCESS);
  CUgraphExec exec = instantiate();
  run(exec);
  EXPECT_EQ(read(words), 2u);
  EXPECT_EQ(read(words + 4), 1u);
  CUDA_BATCH_MEM_OP_NODE_PARAMS shown = {};
  ASSERT_EQ(cuGraphBatchMemOpNodeGetParams(node, &shown), CUDA_SUCCESS);
  ASSERT_EQ(shown.count, 2u);
  EXPECT_EQ(shown.paramArray[0].writeValue.value64, 0x100000002ull);
  operations[0].writeValue.address = words + 8;
  params.count = 1;
  ASSERT_EQ(cuGraphExecBatchMemOpNodeSetParams(exec, node, &params), CUDA_SUCCESS);
  run(exec);
  EXPECT_EQ(read(words + 8), 2u);
  operations[0].writeValue.address = words + 12;  // eight bytes do not fit there
  EXPECT_EQ(cuGraphBatchMemOpNodeSetParams(node, &params), CUDA_ERROR_INVALID_VALUE);
}

TEST_F(GraphKindsTest, WaitsForWordsAreCapturedToo) {
  const CUdeviceptr words = cell(0);
  CUstream s = stream();
  ASSERT_EQ(cuStreamBeginCapture(s, CU_STREAM_CAPTURE_MODE_RELAXED), CUDA_SUCCESS);
  ASSERT_EQ(cuStreamWriteValue32(s, words, 7, 0), CUDA_SUCCESS);
  CUgraph captured;
  ASSERT_EQ(cuStreamEndCapture(s, &captured), CUDA_SUCCESS);
  CUgraphNode node;
  size_t count = 1;
  ASSERT_EQ(cuGraphGetNodes(captured, &node, &count), CUDA_SUCCESS);
  CUDA_BATCH_MEM_OP_NODE_PARAMS shown = {};
  ASSERT_EQ(cuGraphBatchMemOpNodeGetParams(node, &shown), CUDA_SUCCESS);
  EXPECT_EQ(shown.paramArray[0].writeValue.value, 7u);
}

// ------------------------------------------------------------------ edges

TEST_F(GraphKindsTest, EdgeDataIsKeptAndNotLostUnasked) {
  const CUdeviceptr cells = cell(0);
  CUgraphNode first = add_node(graph_, {}, cells, 1), second = add_node(graph_, {}, cells, 2);
  CUgraphEdgeData data = {};
  data.type = CU_GRAPH_DEPENDENCY_TYPE_PROGRAMMATIC;
  data.from_port = CU_GRAPH_KERNEL_NODE_PORT_PROGRAMMATIC;
  ASSERT_EQ(cuGraphAddDependencies(graph_, &first, &second, &data, 1), CUDA_SUCCESS);
  CUgraphNode from, to;
  CUgraphEdgeData found = {};
  size_t count = 1;
  EXPECT_EQ(cuGraphGetEdges(graph_, &from, &to, nullptr, &count), CUDA_ERROR_LOSSY_QUERY);
  ASSERT_EQ(cuGraphGetEdges(graph_, &from, &to, &found, &count), CUDA_SUCCESS);
  EXPECT_EQ(std::memcmp(&found, &data, sizeof(data)), 0);
  EXPECT_EQ(cuGraphNodeGetDependencies(second, &from, &found, &count), CUDA_SUCCESS);
  EXPECT_EQ(found.from_port, data.from_port);
  CUgraph clone;
  ASSERT_EQ(cuGraphClone(&clone, graph_), CUDA_SUCCESS);
  ASSERT_EQ(cuGraphGetEdges(clone, &from, &to, &found, &count), CUDA_SUCCESS);
  EXPECT_EQ(found.type, data.type);
  run(instantiate());
  EXPECT_EQ(read(cells), 3u);
  EXPECT_EQ(cuGraphRemoveDependencies(graph_, &first, &second, nullptr, 1),
            CUDA_ERROR_INVALID_VALUE);  // not that edge
  EXPECT_EQ(cuGraphRemoveDependencies(graph_, &first, &second, &data, 1), CUDA_SUCCESS);
  CUgraphNode empty;
  ASSERT_EQ(cuGraphAddEmptyNode(&empty, graph_, nullptr, 0), CUDA_SUCCESS);
  EXPECT_EQ(cuGraphAddDependencies(graph_, &empty, &second, &data, 1), CUDA_ERROR_INVALID_VALUE);
  data.to_port = 1;
  EXPECT_EQ(cuGraphAddDependencies(graph_, &first, &second, &data, 1), CUDA_ERROR_INVALID_VALUE);
}

// ------------------------------------------------------------------ memory

TEST_F(GraphKindsTest, MemoryIsFreedBeforeItIsAllocatedAgain) {
  CUDA_MEM_ALLOC_NODE_PARAMS params = {};
  params.poolProps.allocType = CU_MEM_ALLOCATION_TYPE_PINNED;
  params.poolProps.location = {CU_MEM_LOCATION_TYPE_DEVICE, 0};
  params.bytesize = 1000;
  CUgraphNode node;
  ASSERT_EQ(cuGraphAddMemAllocNode(&node, graph_, nullptr, 0, &params), CUDA_SUCCESS);
  CUgraphExec exec = instantiate();
  EXPECT_EQ(cuMemFree(params.dptr), CUDA_ERROR_INVALID_VALUE);  // not launched yet
  run(exec);
  EXPECT_EQ(cuGraphLaunch(exec, nullptr), CUDA_ERROR_INVALID_VALUE);
  ASSERT_EQ(store(params.dptr, 1, nullptr), CUDA_SUCCESS);
  ASSERT_EQ(cuMemFreeAsync(params.dptr, nullptr), CUDA_SUCCESS);
  EXPECT_EQ(cuMemFreeAsync(params.dptr, nullptr), CUDA_ERROR_INVALID_VALUE);
  run(exec);
  ASSERT_EQ(cuMemFree(params.dptr), CUDA_SUCCESS);
  CUgraphExec freeing;
  ASSERT_EQ(cuGraphInstantiateWithFlags(&freeing, graph_,
                                        CUDA_GRAPH_INSTANTIATE_FLAG_AUTO_FREE_ON_LAUNCH),
            CUDA_SUCCESS);
  run(freeing);
  run(freeing);
}

// ------------------------------------------------------------------ graphs in captures, and on
// paper

TEST_F(GraphKindsTest, AGraphLaunchedIntoACaptureBecomesAChild) {
  const CUdeviceptr cells = cell(0);
  CUgraphNode first = add_node(graph_, {}, cells, 1);
  add_node(graph_, {first}, cells, 2);
  CUgraphExec exec = instantiate();
  CUstream s = stream();
  ASSERT_EQ(cuStreamBeginCapture(s, CU_STREAM_CAPTURE_MODE_RELAXED), CUDA_SUCCESS);
  ASSERT_EQ(add(cells, 10, s), CUDA_SUCCESS);
  ASSERT_EQ(cuGraphLaunch(exec, s), CUDA_SUCCESS);
  ASSERT_EQ(add(cells, 100, s), CUDA_SUCCESS);
  CUgraph captured;
  ASSERT_EQ(cuStreamEndCapture(s, &captured), CUDA_SUCCESS);
  EXPECT_EQ(read(cells), 0u);
  size_t count = 0;
  ASSERT_EQ(cuGraphGetNodes(captured, nullptr, &count), CUDA_SUCCESS);
  EXPECT_EQ(count, 3u);
  ASSERT_EQ(cuGraphInstantiateWithFlags(&exec, captured, 0), CUDA_SUCCESS);
  run(exec);
  EXPECT_EQ(read(cells), 113u);
}

TEST_F(GraphKindsTest, DrawingsShowWhatIsAskedFor) {
  const CUdeviceptr cells = cell(0);
  const CUgraphConditionalHandle handle = condition(graph_);
  add_node(conditional(graph_, {}, handle, CU_GRAPH_COND_TYPE_WHILE, 1)[0], {}, cells, 1);
  const auto drawn = [this](unsigned flags) {
    const std::string path = testing::TempDir() + "softgpu_graph.dot";
    EXPECT_EQ(cuGraphDebugDotPrint(graph_, path.c_str(), flags), CUDA_SUCCESS);
    std::ifstream file(path);
    return std::string(std::istreambuf_iterator<char>(file), {});
  };
  EXPECT_THAT(drawn(0), testing::AllOf(testing::HasSubstr("while"), testing::HasSubstr("body 0"),
                                       testing::HasSubstr("kernel add"),
                                       testing::Not(testing::HasSubstr("block (1, 1, 1)"))));
  EXPECT_THAT(drawn(CU_GRAPH_DEBUG_DOT_FLAGS_VERBOSE), testing::HasSubstr("block (1, 1, 1)"));
}

}  // namespace
}  // namespace farcall::softgpu
