// Graphs: captured from streams, built by hand, launched again and again, changed.
#include <chrono>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <thread>

#include "softgpu/driver/test_driver.h"

namespace farcall::softgpu {
namespace {

class GraphTest : public DriverTest {
 protected:
  void SetUp() override {
    DriverTest::SetUp();
    module();  // a capture would not allow to load it
  }
  CUgraphExec instantiate(CUgraph graph) {
    CUgraphExec exec = nullptr;
    EXPECT_EQ(cuGraphInstantiate(&exec, graph, 0), CUDA_SUCCESS);
    return exec;
  }
  void run(CUgraphExec exec) {
    ASSERT_EQ(cuGraphLaunch(exec, nullptr), CUDA_SUCCESS);
    ASSERT_EQ(cuCtxSynchronize(), CUDA_SUCCESS);
  }
  size_t node_count(CUgraph graph) {
    size_t count = 0;
    EXPECT_EQ(cuGraphGetNodes(graph, nullptr, &count), CUDA_SUCCESS);
    return count;
  }
  size_t edge_count(CUgraph graph) {
    size_t count = 0;
    EXPECT_EQ(cuGraphGetEdges(graph, nullptr, nullptr, nullptr, &count), CUDA_SUCCESS);
    return count;
  }
  CUgraph empty_graph() {
    CUgraph graph = nullptr;
    EXPECT_EQ(cuGraphCreate(&graph, 0), CUDA_SUCCESS);
    return graph;
  }
  CUgraphNode add_node(CUgraph graph, std::vector<CUgraphNode> after, CUdeviceptr cells,
                       uint32_t value) {
    uint32_t count = 1;
    void* params[] = {&cells, &count, &value};
    CUDA_KERNEL_NODE_PARAMS node = {};
    node.func = kernel("add");
    node.gridDimX = node.gridDimY = node.gridDimZ = 1;
    node.blockDimX = node.blockDimY = node.blockDimZ = 1;
    node.kernelParams = params;
    CUgraphNode added = nullptr;
    EXPECT_EQ(cuGraphAddKernelNode(&added, graph, after.data(), after.size(), &node), CUDA_SUCCESS);
    return added;
  }
  CUgraphNode memset_node(CUgraph graph, std::vector<CUgraphNode> after, CUdeviceptr target,
                          uint32_t value) {
    const CUDA_MEMSET_NODE_PARAMS params = {target, 0, value, 4, 1, 1};
    CUgraphNode added = nullptr;
    EXPECT_EQ(cuGraphAddMemsetNode(&added, graph, after.data(), after.size(), &params, context_),
              CUDA_SUCCESS);
    return added;
  }
};

TEST_F(GraphTest, ACaptureRunsNothingUntilItIsLaunched) {
  CUstream s = stream();
  const CUdeviceptr target = cell(100);
  CUgraph graph;
  ASSERT_EQ(cuStreamBeginCapture(s, CU_STREAM_CAPTURE_MODE_GLOBAL), CUDA_SUCCESS);
  ASSERT_EQ(add(target, 1, s), CUDA_SUCCESS);
  ASSERT_EQ(add(target, 10, s), CUDA_SUCCESS);
  CUstreamCaptureStatus status;
  ASSERT_EQ(cuStreamIsCapturing(s, &status), CUDA_SUCCESS);
  EXPECT_EQ(status, CU_STREAM_CAPTURE_STATUS_ACTIVE);
  ASSERT_EQ(cuStreamEndCapture(s, &graph), CUDA_SUCCESS);
  EXPECT_EQ(node_count(graph), 2u);
  EXPECT_EQ(edge_count(graph), 1u);
  EXPECT_EQ(read(target), 100u);
  CUgraphExec exec = instantiate(graph);
  ASSERT_EQ(cuGraphDestroy(graph), CUDA_SUCCESS);  // the exec is a copy
  run(exec);
  run(exec);
  EXPECT_EQ(read(target), 122u);
  EXPECT_EQ(cuGraphExecDestroy(exec), CUDA_SUCCESS);
  EXPECT_EQ(cuGraphLaunch(exec, nullptr), CUDA_ERROR_INVALID_HANDLE);
}

TEST_F(GraphTest, StreamsJoinACaptureByEvents) {
  CUstream a = stream(), b = stream();
  CUevent fork = event(), join = event();
  const CUdeviceptr x = cell(0), y = cell(0), z = cell(0);
  CUgraph graph;
  ASSERT_EQ(cuStreamBeginCapture(a, CU_STREAM_CAPTURE_MODE_GLOBAL), CUDA_SUCCESS);
  ASSERT_EQ(store(x, 1, a), CUDA_SUCCESS);
  ASSERT_EQ(cuEventRecord(fork, a), CUDA_SUCCESS);
  ASSERT_EQ(cuStreamWaitEvent(b, fork, 0), CUDA_SUCCESS);
  ASSERT_EQ(cuMemcpyDtoDAsync(y, x, 4, b), CUDA_SUCCESS);
  ASSERT_EQ(add(x, 5, a), CUDA_SUCCESS);  // beside the copy
  ASSERT_EQ(cuEventRecord(join, b), CUDA_SUCCESS);
  ASSERT_EQ(cuStreamWaitEvent(a, join, 0), CUDA_SUCCESS);
  ASSERT_EQ(cuMemcpyDtoDAsync(z, y, 4, a), CUDA_SUCCESS);
  // An event of a capture is not for anything else.
  EXPECT_EQ(cuEventQuery(fork), CUDA_ERROR_CAPTURED_EVENT);
  ASSERT_EQ(cuStreamEndCapture(a, &graph), CUDA_SUCCESS);
  EXPECT_EQ(node_count(graph), 4u);
  EXPECT_EQ(edge_count(graph), 4u);
  size_t roots = 0;
  EXPECT_EQ(cuGraphGetRootNodes(graph, nullptr, &roots), CUDA_SUCCESS);
  EXPECT_EQ(roots, 1u);
  CUstreamCaptureStatus status;
  ASSERT_EQ(cuStreamIsCapturing(b, &status), CUDA_SUCCESS);
  EXPECT_EQ(status, CU_STREAM_CAPTURE_STATUS_NONE);
  run(instantiate(graph));
  EXPECT_EQ(read(x), 6u);
  const uint32_t copied = read(z);
  EXPECT_TRUE(copied == 1 || copied == 6);
}

TEST_F(GraphTest, AStreamThatIsNotJoinedBackSpoilsTheCapture) {
  CUstream a = stream(), b = stream();
  CUevent fork = event();
  const CUdeviceptr x = cell(0);
  ASSERT_EQ(cuStreamBeginCapture(a, CU_STREAM_CAPTURE_MODE_GLOBAL), CUDA_SUCCESS);
  ASSERT_EQ(cuEventRecord(fork, a), CUDA_SUCCESS);
  ASSERT_EQ(cuStreamWaitEvent(b, fork, 0), CUDA_SUCCESS);
  ASSERT_EQ(store(x, 1, b), CUDA_SUCCESS);
  CUgraph graph = reinterpret_cast<CUgraph>(1);
  EXPECT_EQ(cuStreamEndCapture(b, &graph), CUDA_ERROR_STREAM_CAPTURE_UNMATCHED);
  EXPECT_EQ(cuStreamEndCapture(a, &graph), CUDA_ERROR_STREAM_CAPTURE_UNJOINED);
  EXPECT_EQ(graph, nullptr);
  EXPECT_EQ(store(x, 1, b), CUDA_SUCCESS);  // an ordinary stream again
  EXPECT_EQ(read(x), 1u);
}

TEST_F(GraphTest, AJoinedStreamMayBeDestroyedBeforeTheCaptureEnds) {
  CUstream a = stream(), b;
  CUevent fork = event(), join = event();
  const CUdeviceptr x = cell(0);
  CUgraph graph;
  for (bool joins : {true, false}) {
    ASSERT_EQ(cuStreamCreate(&b, CU_STREAM_NON_BLOCKING), CUDA_SUCCESS);
    ASSERT_EQ(cuStreamBeginCapture(a, CU_STREAM_CAPTURE_MODE_GLOBAL), CUDA_SUCCESS);
    ASSERT_EQ(cuEventRecord(fork, a), CUDA_SUCCESS);
    ASSERT_EQ(cuStreamWaitEvent(b, fork, 0), CUDA_SUCCESS);
    ASSERT_EQ(store(x, 1, b), CUDA_SUCCESS);
    ASSERT_EQ(cuEventRecord(join, b), CUDA_SUCCESS);
    if (joins) {
      ASSERT_EQ(cuStreamWaitEvent(a, join, 0), CUDA_SUCCESS);
    }
    ASSERT_EQ(cuStreamDestroy(b), CUDA_SUCCESS);
    EXPECT_EQ(cuStreamEndCapture(a, &graph),
              joins ? CUDA_SUCCESS : CUDA_ERROR_STREAM_CAPTURE_UNJOINED);
  }
}

TEST_F(GraphTest, WaitingForACapturedStreamSpoilsTheCapture) {
  CUstream s = stream();
  CUgraph graph;
  ASSERT_EQ(cuStreamBeginCapture(s, CU_STREAM_CAPTURE_MODE_RELAXED), CUDA_SUCCESS);
  EXPECT_EQ(cuStreamSynchronize(s), CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
  EXPECT_EQ(store(0, 1, s), CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
  EXPECT_EQ(cuStreamEndCapture(s, &graph), CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
}

TEST_F(GraphTest, TheLegacyStreamSpoilsACapture) {
  CUstream s = stream();
  const CUdeviceptr x = cell(0);
  CUfunction function = kernel("store");
  CUgraph graph;
  ASSERT_EQ(cuStreamBeginCapture(s, CU_STREAM_CAPTURE_MODE_RELAXED), CUDA_SUCCESS);
  EXPECT_EQ(launch(function, nullptr, x, 1u), CUDA_ERROR_STREAM_CAPTURE_IMPLICIT);
  EXPECT_EQ(cuStreamEndCapture(s, &graph), CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
  EXPECT_EQ(cuStreamBeginCapture(nullptr, CU_STREAM_CAPTURE_MODE_RELAXED),
            CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
  CUstream other = stream(CU_STREAM_NON_BLOCKING);
  ASSERT_EQ(cuStreamBeginCapture(other, CU_STREAM_CAPTURE_MODE_RELAXED), CUDA_SUCCESS);
  EXPECT_EQ(launch(function, nullptr, x, 1u), CUDA_SUCCESS);
  EXPECT_EQ(cuStreamEndCapture(other, &graph), CUDA_SUCCESS);
}

TEST_F(GraphTest, AskingTheLegacyStreamSpoilsNothing) {
  CUstream s = stream();
  CUgraph graph;
  ASSERT_EQ(cuStreamBeginCapture(s, CU_STREAM_CAPTURE_MODE_GLOBAL), CUDA_SUCCESS);
  CUstreamCaptureStatus status;
  EXPECT_EQ(cuStreamIsCapturing(nullptr, &status), CUDA_ERROR_STREAM_CAPTURE_IMPLICIT);
  EXPECT_EQ(cuStreamEndCapture(s, &graph), CUDA_SUCCESS);
}

TEST_F(GraphTest, MemoryOfADestroyedGraphIsThereForItsLaunch) {
  CUstream s = stream();
  const CUdeviceptr out = cell(0);
  CUfunction hold = kernel("hold");
  CUgraph graph;
  CUdeviceptr scratch;
  ASSERT_EQ(cuStreamBeginCapture(s, CU_STREAM_CAPTURE_MODE_RELAXED), CUDA_SUCCESS);
  ASSERT_EQ(cuMemAllocAsync(&scratch, 4, s), CUDA_SUCCESS);
  ASSERT_EQ(store(scratch, 3, s), CUDA_SUCCESS);
  ASSERT_EQ(cuMemcpyDtoDAsync(out, scratch, 4, s), CUDA_SUCCESS);
  ASSERT_EQ(cuStreamEndCapture(s, &graph), CUDA_SUCCESS);
  CUgraphExec exec = instantiate(graph);
  ASSERT_EQ(cuGraphDestroy(graph), CUDA_SUCCESS);
  Held held(hold, s);
  ASSERT_EQ(cuGraphLaunch(exec, s), CUDA_SUCCESS);
  std::thread later([&held] {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    held.release();
  });
  ASSERT_EQ(cuGraphExecDestroy(exec), CUDA_SUCCESS);
  later.join();
  ASSERT_EQ(cuStreamSynchronize(s), CUDA_SUCCESS);
  EXPECT_EQ(read(out), 3u);
}

TEST_F(GraphTest, CallsThatMightSpoilACaptureAreRefusedByMode) {
  CUstream s = stream();
  CUdeviceptr pointer;
  CUgraph graph;
  ASSERT_EQ(cuStreamBeginCapture(s, CU_STREAM_CAPTURE_MODE_GLOBAL), CUDA_SUCCESS);
  EXPECT_EQ(cuMemAlloc(&pointer, 4), CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
  EXPECT_EQ(cuStreamEndCapture(s, &graph), CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);

  ASSERT_EQ(cuStreamBeginCapture(s, CU_STREAM_CAPTURE_MODE_GLOBAL), CUDA_SUCCESS);
  CUstreamCaptureMode mode = CU_STREAM_CAPTURE_MODE_RELAXED;
  ASSERT_EQ(cuThreadExchangeStreamCaptureMode(&mode), CUDA_SUCCESS);
  EXPECT_EQ(mode, CU_STREAM_CAPTURE_MODE_GLOBAL);
  EXPECT_EQ(cuMemAlloc(&pointer, 4), CUDA_SUCCESS);
  ASSERT_EQ(cuThreadExchangeStreamCaptureMode(&mode), CUDA_SUCCESS);
  EXPECT_EQ(cuStreamEndCapture(s, &graph), CUDA_SUCCESS);
  EXPECT_EQ(cuStreamEndCapture(s, &graph), CUDA_ERROR_ILLEGAL_STATE);
}

TEST_F(GraphTest, AnEventFromOutsideIsNoPartOfACapture) {
  CUstream s = stream(), other = stream();
  CUevent e = event();
  CUgraph graph;
  ASSERT_EQ(cuEventRecord(e, other), CUDA_SUCCESS);
  ASSERT_EQ(cuStreamBeginCapture(s, CU_STREAM_CAPTURE_MODE_GLOBAL), CUDA_SUCCESS);
  EXPECT_EQ(cuStreamWaitEvent(s, e, 0), CUDA_ERROR_STREAM_CAPTURE_ISOLATION);
  EXPECT_EQ(cuStreamEndCapture(s, &graph), CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
}

TEST_F(GraphTest, NodesRunByTheirEdges) {
  CUgraph graph = empty_graph();
  const CUdeviceptr x = cell(99), y = cell(99);
  CUgraphNode reset = memset_node(graph, {}, x, 1);
  CUgraphNode plus = add_node(graph, {reset}, x, 2);
  CUDA_MEMCPY3D shape = {};
  shape.srcMemoryType = shape.dstMemoryType = CU_MEMORYTYPE_DEVICE;
  shape.srcDevice = x;
  shape.dstDevice = y;
  shape.WidthInBytes = 4;
  shape.Height = shape.Depth = 1;
  CUgraphNode copy;
  ASSERT_EQ(cuGraphAddMemcpyNode(&copy, graph, &plus, 1, &shape, context_), CUDA_SUCCESS);
  add_node(graph, {copy}, x, 4);
  CUgraphExec exec = instantiate(graph);
  for (int i = 0; i < 3; ++i) run(exec);
  EXPECT_EQ(read(x), 7u);
  EXPECT_EQ(read(y), 3u);
  CUgraphNodeType type;
  EXPECT_EQ(cuGraphNodeGetType(copy, &type), CUDA_SUCCESS);
  EXPECT_EQ(type, CU_GRAPH_NODE_TYPE_MEMCPY);
  CUDA_MEMCPY3D shown = {};
  EXPECT_EQ(cuGraphMemcpyNodeGetParams(copy, &shown), CUDA_SUCCESS);
  EXPECT_EQ(shown.dstDevice, y);
}

TEST_F(GraphTest, LaunchesOfOneGraphFollowEachOther) {
  CUgraph graph = empty_graph();
  const CUdeviceptr x = cell(0);
  // Two steps in one go would lose additions if launches overlapped.
  CUgraphNode first = add_node(graph, {}, x, 1);
  add_node(graph, {first}, x, 1);
  CUgraphExec exec = instantiate(graph);
  CUstream a = stream(CU_STREAM_NON_BLOCKING), b = stream(CU_STREAM_NON_BLOCKING);
  for (int i = 0; i < 100; ++i) {
    ASSERT_EQ(cuGraphLaunch(exec, i % 2 == 0 ? a : b), CUDA_SUCCESS);
  }
  ASSERT_EQ(cuCtxSynchronize(), CUDA_SUCCESS);
  EXPECT_EQ(read(x), 200u);
}

TEST_F(GraphTest, CyclesAreRefused) {
  CUgraph graph = empty_graph();
  const CUdeviceptr x = cell(0);
  CUgraphNode a = add_node(graph, {}, x, 1), b = add_node(graph, {a}, x, 1);
  ASSERT_EQ(cuGraphAddDependencies(graph, &b, &a, nullptr, 1), CUDA_SUCCESS);
  CUgraphExec exec;
  EXPECT_EQ(cuGraphInstantiate(&exec, graph, 0), CUDA_ERROR_INVALID_VALUE);
  ASSERT_EQ(cuGraphRemoveDependencies(graph, &b, &a, nullptr, 1), CUDA_SUCCESS);
  EXPECT_EQ(cuGraphRemoveDependencies(graph, &b, &a, nullptr, 1), CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(cuGraphInstantiate(&exec, graph, 0), CUDA_SUCCESS);
  EXPECT_EQ(cuGraphAddDependencies(graph, &a, &b, nullptr, 1), CUDA_ERROR_INVALID_VALUE);
}

TEST_F(GraphTest, ChildGraphsRunAsAWhole) {
  CUgraph child = empty_graph(), parent = empty_graph();
  const CUdeviceptr x = cell(0);
  CUgraphNode reset = memset_node(child, {}, x, 10);
  add_node(child, {reset}, x, 1);
  CUgraphNode before = memset_node(parent, {}, x, 1000), node;
  ASSERT_EQ(cuGraphAddChildGraphNode(&node, parent, &before, 1, child), CUDA_SUCCESS);
  add_node(parent, {node}, x, 100);
  ASSERT_EQ(cuGraphDestroy(child), CUDA_SUCCESS);  // the node has a copy
  CUgraphExec exec = instantiate(parent);
  run(exec);
  EXPECT_EQ(read(x), 111u);
  // Another child of the same shape.
  CUgraph other = empty_graph();
  reset = memset_node(other, {}, x, 20);
  add_node(other, {reset}, x, 2);
  ASSERT_EQ(cuGraphExecChildGraphNodeSetParams(exec, node, other), CUDA_SUCCESS);
  run(exec);
  EXPECT_EQ(read(x), 122u);
  CUgraph larger = empty_graph();
  memset_node(larger, {}, x, 20);
  EXPECT_EQ(cuGraphExecChildGraphNodeSetParams(exec, node, larger),
            CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE);
}

void CUDA_CB count_up(void* data) { ++*static_cast<int*>(data); }

TEST_F(GraphTest, HostNodesAndEventsAndEmptyNodes) {
  CUgraph graph = empty_graph();
  int calls = 0;
  const CUDA_HOST_NODE_PARAMS host = {count_up, &calls};
  CUgraphNode first, join, last, record;
  CUevent done = event();
  ASSERT_EQ(cuGraphAddHostNode(&first, graph, nullptr, 0, &host), CUDA_SUCCESS);
  ASSERT_EQ(cuGraphAddEmptyNode(&join, graph, &first, 1), CUDA_SUCCESS);
  ASSERT_EQ(cuGraphAddHostNode(&last, graph, &join, 1, &host), CUDA_SUCCESS);
  ASSERT_EQ(cuGraphAddEventRecordNode(&record, graph, &last, 1, done), CUDA_SUCCESS);
  ASSERT_EQ(cuGraphLaunch(instantiate(graph), nullptr), CUDA_SUCCESS);
  ASSERT_EQ(cuEventSynchronize(done), CUDA_SUCCESS);
  EXPECT_EQ(calls, 2);
  CUevent shown;
  EXPECT_EQ(cuGraphEventRecordNodeGetEvent(record, &shown), CUDA_SUCCESS);
  EXPECT_EQ(shown, done);
}

TEST_F(GraphTest, AnEventNodeWaitsForWhatTheEventStandsForAtLaunch) {
  CUgraph graph = empty_graph();
  const CUdeviceptr x = cell(0);
  CUevent e = event();
  CUgraphNode wait;
  ASSERT_EQ(cuGraphAddEventWaitNode(&wait, graph, nullptr, 0, e), CUDA_SUCCESS);
  add_node(graph, {wait}, x, 1);
  CUgraphExec exec = instantiate(graph);
  CUstream s = stream(CU_STREAM_NON_BLOCKING), other = stream(CU_STREAM_NON_BLOCKING);
  Held held(kernel("hold"), other);
  ASSERT_EQ(store(x, 10, other), CUDA_SUCCESS);
  ASSERT_EQ(cuEventRecord(e, other), CUDA_SUCCESS);
  ASSERT_EQ(cuGraphLaunch(exec, s), CUDA_SUCCESS);
  EXPECT_EQ(cuStreamQuery(s), CUDA_ERROR_NOT_READY);
  held.release();
  ASSERT_EQ(cuStreamSynchronize(s), CUDA_SUCCESS);
  EXPECT_EQ(read(x), 11u);
}

TEST_F(GraphTest, ParametersOfAnExecutableGraphChange) {
  CUgraph graph = empty_graph();
  const CUdeviceptr x = cell(0), y = cell(0);
  CUgraphNode plus = add_node(graph, {}, x, 1);
  CUgraphExec exec = instantiate(graph);
  CUDA_KERNEL_NODE_PARAMS params = {};
  ASSERT_EQ(cuGraphKernelNodeGetParams(plus, &params), CUDA_SUCCESS);
  EXPECT_EQ(params.func, kernel("add"));
  EXPECT_EQ(*static_cast<uint32_t*>(params.kernelParams[2]), 1u);
  CUdeviceptr cells = y;
  uint32_t count = 1, value = 7;
  void* changed[] = {&cells, &count, &value};
  params.kernelParams = changed;
  ASSERT_EQ(cuGraphExecKernelNodeSetParams(exec, plus, &params), CUDA_SUCCESS);
  run(exec);
  EXPECT_EQ(read(x), 0u);
  EXPECT_EQ(read(y), 7u);
  // Disabled, it does nothing; enabled again, it does.
  unsigned enabled = 1;
  ASSERT_EQ(cuGraphNodeSetEnabled(exec, plus, 0), CUDA_SUCCESS);
  ASSERT_EQ(cuGraphNodeGetEnabled(exec, plus, &enabled), CUDA_SUCCESS);
  EXPECT_EQ(enabled, 0u);
  run(exec);
  EXPECT_EQ(read(y), 7u);
  // The graph itself was not changed; taking it over again undoes the change.
  CUgraphExecUpdateResultInfo info = {};
  ASSERT_EQ(cuGraphNodeSetEnabled(exec, plus, 1), CUDA_SUCCESS);
  ASSERT_EQ(cuGraphExecUpdate(exec, graph, &info), CUDA_SUCCESS);
  EXPECT_EQ(info.result, CU_GRAPH_EXEC_UPDATE_SUCCESS);
  run(exec);
  EXPECT_EQ(read(x), 1u);
  add_node(graph, {plus}, x, 1);
  EXPECT_EQ(cuGraphExecUpdate(exec, graph, &info), CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE);
  EXPECT_EQ(info.result, CU_GRAPH_EXEC_UPDATE_ERROR_TOPOLOGY_CHANGED);
}

TEST_F(GraphTest, ClonesAreGraphsOfTheirOwn) {
  CUgraph graph = empty_graph(), clone;
  const CUdeviceptr x = cell(0);
  CUgraphNode plus = add_node(graph, {}, x, 1), found;
  ASSERT_EQ(cuGraphClone(&clone, graph), CUDA_SUCCESS);
  ASSERT_EQ(cuGraphNodeFindInClone(&found, plus, clone), CUDA_SUCCESS);
  EXPECT_NE(found, plus);
  ASSERT_EQ(cuGraphDestroyNode(plus), CUDA_SUCCESS);
  EXPECT_EQ(cuGraphDestroyNode(plus), CUDA_ERROR_INVALID_HANDLE);
  EXPECT_EQ(node_count(graph), 0u);
  EXPECT_EQ(node_count(clone), 1u);
  run(instantiate(clone));
  EXPECT_EQ(read(x), 1u);
}

TEST_F(GraphTest, MemoryOfAGraphLivesAsLongAsTheGraph) {
  size_t before = 0, after = 0, total;
  CUstream s = stream();
  const CUdeviceptr out = cell(0);
  module();
  ASSERT_EQ(cuMemGetInfo(&before, &total), CUDA_SUCCESS);
  CUgraph graph;
  CUdeviceptr scratch;
  ASSERT_EQ(cuStreamBeginCapture(s, CU_STREAM_CAPTURE_MODE_GLOBAL), CUDA_SUCCESS);
  ASSERT_EQ(cuMemAllocAsync(&scratch, 4, s), CUDA_SUCCESS);
  ASSERT_EQ(store(scratch, 3, s), CUDA_SUCCESS);
  ASSERT_EQ(cuMemcpyDtoDAsync(out, scratch, 4, s), CUDA_SUCCESS);
  ASSERT_EQ(cuMemFreeAsync(scratch, s), CUDA_SUCCESS);
  ASSERT_EQ(cuStreamEndCapture(s, &graph), CUDA_SUCCESS);
  CUgraphExec exec = instantiate(graph);
  ASSERT_EQ(cuGraphDestroy(graph), CUDA_SUCCESS);
  run(exec);
  EXPECT_EQ(read(out), 3u);
  cuuint64_t used = 0;
  EXPECT_EQ(cuDeviceGetGraphMemAttribute(0, CU_GRAPH_MEM_ATTR_USED_MEM_CURRENT, &used),
            CUDA_SUCCESS);
  EXPECT_EQ(used, 4u);
  ASSERT_EQ(cuGraphExecDestroy(exec), CUDA_SUCCESS);
  EXPECT_EQ(cuDeviceGetGraphMemAttribute(0, CU_GRAPH_MEM_ATTR_USED_MEM_CURRENT, &used),
            CUDA_SUCCESS);
  EXPECT_EQ(used, 0u);
  EXPECT_EQ(cuDeviceGetGraphMemAttribute(0, CU_GRAPH_MEM_ATTR_USED_MEM_HIGH, &used), CUDA_SUCCESS);
  EXPECT_EQ(used, 4u);
  ASSERT_EQ(cuMemGetInfo(&after, &total), CUDA_SUCCESS);
  EXPECT_EQ(after, before);
}

TEST_F(GraphTest, AFaultInAGraphIsTheContexts) {
  CUstream s = stream();
  CUgraph graph;
  CUfunction trap = kernel("trap");
  ASSERT_EQ(cuStreamBeginCapture(s, CU_STREAM_CAPTURE_MODE_GLOBAL), CUDA_SUCCESS);
  ASSERT_EQ(launch(trap, s), CUDA_SUCCESS);
  ASSERT_EQ(cuStreamEndCapture(s, &graph), CUDA_SUCCESS);
  ASSERT_EQ(cuGraphLaunch(instantiate(graph), s), CUDA_SUCCESS);
  EXPECT_EQ(cuStreamSynchronize(s), CUDA_ERROR_LAUNCH_FAILED);
}

TEST_F(GraphTest, AGraphIsDrawn) {
  CUgraph graph = empty_graph();
  const CUdeviceptr x = cell(0);
  add_node(graph, {memset_node(graph, {}, x, 16)}, x, 2);
  const std::string path = testing::TempDir() + "softgpu_graph_test.dot";
  ASSERT_EQ(cuGraphDebugDotPrint(graph, path.c_str(), 0), CUDA_SUCCESS);
  std::ifstream file(path);
  const std::string dot((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  EXPECT_THAT(dot, testing::HasSubstr("kernel add"));
  EXPECT_THAT(dot, testing::HasSubstr("memset 0x10"));
  EXPECT_THAT(dot, testing::HasSubstr("->"));
  std::remove(path.c_str());
}

void CUDA_CB count_down(void* data) { --*static_cast<int*>(data); }

TEST_F(GraphTest, UserObjectsLiveAsLongAsWhoHoldsThem) {
  int alive = 1;
  CUuserObject object;
  CUgraph graph = empty_graph();
  ASSERT_EQ(cuUserObjectCreate(&object, &alive, count_down, 1, CU_USER_OBJECT_NO_DESTRUCTOR_SYNC),
            CUDA_SUCCESS);
  ASSERT_EQ(cuGraphRetainUserObject(graph, object, 1, CU_GRAPH_USER_OBJECT_MOVE), CUDA_SUCCESS);
  CUgraphExec exec = instantiate(graph);
  ASSERT_EQ(cuGraphDestroy(graph), CUDA_SUCCESS);
  EXPECT_EQ(alive, 1);
  ASSERT_EQ(cuGraphExecDestroy(exec), CUDA_SUCCESS);
  EXPECT_EQ(alive, 0);
}

}  // namespace
}  // namespace farcall::softgpu
