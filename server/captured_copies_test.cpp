// CapturedCopies on a driver of plain functions: graphs are lists of nodes, events count how often
// they are waited for, and nothing is copied.
#include "server/captured_copies.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>

#include "server/driver_table.h"

namespace farcall::server {
namespace {

using rpc::HandleId;
using rpc::HandleType;

struct Node {
  CUgraphNodeType type = CU_GRAPH_NODE_TYPE_EMPTY;
  CUDA_MEMCPY3D copy = {};
  CUgraph child = nullptr;
};

struct UserObject {
  CUhostFn destroy;
  void* object;
};

// The fake's graph, behind a CUgraph.
struct FakeGraph {
  std::vector<Node> nodes;
  std::vector<UserObject> objects;
  ~FakeGraph() {
    for (const UserObject& object : objects) object.destroy(object.object);
  }
  operator CUgraph() { return reinterpret_cast<CUgraph>(this); }
};

// The capture in the one stream there is, or null; and what was asked of the driver.
struct Fake {
  FakeGraph* capturing = nullptr;
  int event_waits = 0;
  bool launch_is_done = true;
  CUresult copy_result = CUDA_SUCCESS;
} fake;

void add_copy(CUmemorytype from, const void* host_from, CUmemorytype to, void* host_to) {
  Node node = {CU_GRAPH_NODE_TYPE_MEMCPY, {}, nullptr};
  node.copy.srcMemoryType = from;
  node.copy.srcHost = host_from;
  node.copy.dstMemoryType = to;
  node.copy.dstHost = host_to;
  fake.capturing->nodes.push_back(node);
}

DriverTable fake_driver() {
  DriverTable table = {};
  table.cuStreamIsCapturing = [](CUstream, CUstreamCaptureStatus* status) {
    *status =
        fake.capturing != nullptr ? CU_STREAM_CAPTURE_STATUS_ACTIVE : CU_STREAM_CAPTURE_STATUS_NONE;
    return CUDA_SUCCESS;
  };
  table.cuStreamGetCaptureInfo_v2 = [](CUstream, CUstreamCaptureStatus* status, cuuint64_t*,
                                       CUgraph* graph, const CUgraphNode**, size_t*) {
    *status = CU_STREAM_CAPTURE_STATUS_ACTIVE;
    *graph = *fake.capturing;
    return CUDA_SUCCESS;
  };
  table.cuMemcpyHtoDAsync_v2 = [](CUdeviceptr, const void* host, size_t, CUstream) {
    if (fake.copy_result == CUDA_SUCCESS)
      add_copy(CU_MEMORYTYPE_HOST, host, CU_MEMORYTYPE_DEVICE, nullptr);
    return fake.copy_result;
  };
  table.cuMemcpyDtoHAsync_v2 = [](void* host, CUdeviceptr, size_t, CUstream) {
    if (fake.copy_result == CUDA_SUCCESS)
      add_copy(CU_MEMORYTYPE_DEVICE, nullptr, CU_MEMORYTYPE_HOST, host);
    return fake.copy_result;
  };
  table.cuUserObjectCreate = [](CUuserObject* out, void* object, CUhostFn destroy, unsigned,
                                unsigned) {
    *out = reinterpret_cast<CUuserObject>(new UserObject{destroy, object});
    return CUDA_SUCCESS;
  };
  table.cuUserObjectRelease = [](CUuserObject, unsigned) { return CUDA_SUCCESS; };
  table.cuGraphRetainUserObject = [](CUgraph graph, CUuserObject object, unsigned, unsigned) {
    const std::unique_ptr<UserObject> mine(reinterpret_cast<UserObject*>(object));
    reinterpret_cast<FakeGraph*>(graph)->objects.push_back(*mine);
    return CUDA_SUCCESS;
  };
  table.cuGraphGetNodes = [](CUgraph handle, CUgraphNode* nodes, size_t* count) {
    auto& graph = *reinterpret_cast<FakeGraph*>(handle);
    for (size_t i = 0; nodes != nullptr && i < *count; ++i) {
      nodes[i] = reinterpret_cast<CUgraphNode>(&graph.nodes[i]);
    }
    *count = graph.nodes.size();
    return CUDA_SUCCESS;
  };
  table.cuGraphNodeGetType = [](CUgraphNode node, CUgraphNodeType* type) {
    *type = reinterpret_cast<Node*>(node)->type;
    return CUDA_SUCCESS;
  };
  table.cuGraphMemcpyNodeGetParams = [](CUgraphNode node, CUDA_MEMCPY3D* copy) {
    *copy = reinterpret_cast<Node*>(node)->copy;
    return CUDA_SUCCESS;
  };
  table.cuGraphChildGraphNodeGetGraph = [](CUgraphNode node, CUgraph* child) {
    *child = reinterpret_cast<Node*>(node)->child;
    return CUDA_SUCCESS;
  };
  table.cuCtxGetCurrent = [](CUcontext* context) {
    *context = reinterpret_cast<CUcontext>(1);
    return CUDA_SUCCESS;
  };
  table.cuEventCreate = [](CUevent* event, unsigned) {
    *event = reinterpret_cast<CUevent>(1);
    return CUDA_SUCCESS;
  };
  table.cuEventRecord = [](CUevent, CUstream) { return CUDA_SUCCESS; };
  table.cuEventQuery = [](CUevent) {
    return fake.launch_is_done ? CUDA_SUCCESS : CUDA_ERROR_NOT_READY;
  };
  table.cuEventSynchronize = [](CUevent) {
    ++fake.event_waits;
    return CUDA_SUCCESS;
  };
  return table;
}

class CapturedCopiesTest : public ::testing::Test {
 protected:
  CapturedCopiesTest() { fake = {}; }

  CUresult capture(FakeGraph& graph, uint64_t id, uint64_t bytes, bool to_device = true) {
    fake.capturing = &graph;
    const CUresult result = copies.capture(id, 4096, bytes, to_device, nullptr, &broken);
    fake.capturing = nullptr;
    return result;
  }
  GraphCopySet find_set(FakeGraph& graph) {
    GraphCopySet found;
    EXPECT_EQ(copies.find(graph, &found), CUDA_SUCCESS);
    return found;
  }
  std::vector<CapturedCopyRef> find(FakeGraph& graph) { return find_set(graph).all; }
  HandleId instantiate(FakeGraph& graph) {
    const HandleId id = rpc::make_handle_id(HandleType::kGraphExec, 1, next_exec++);
    EXPECT_EQ(handles.bind(id, HandleType::kGraphExec, &graph), Status::kOk);
    copies.set_copies(id, find_set(graph));
    return id;
  }

  const DriverTable driver = fake_driver();
  rpc::HandleTable handles;
  Staging staging{driver, size_t{4} << 20};
  CapturedCopies copies{driver, staging, handles};
  Status broken = Status::kOk;
  uint32_t next_exec = 1;
};

TEST_F(CapturedCopiesTest, AnIdThatIsInUseOrNoneBreaksTheProtocol) {
  FakeGraph graph;
  EXPECT_EQ(capture(graph, 1, 8), CUDA_SUCCESS);
  EXPECT_EQ(broken, Status::kOk);
  EXPECT_NE(capture(graph, 1, 8), CUDA_SUCCESS);
  EXPECT_EQ(broken, Status::kProtocol);
  EXPECT_NE(capture(graph, 0, 8), CUDA_SUCCESS);
  EXPECT_EQ(broken, Status::kProtocol);
}

TEST_F(CapturedCopiesTest, SizesBeyondTheLimitAreRefusedAndLeaveNoTrace) {
  FakeGraph graph;
  EXPECT_EQ(capture(graph, 1, 0), CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(capture(graph, 2, UINT64_MAX), CUDA_ERROR_OUT_OF_MEMORY);
  EXPECT_EQ(capture(graph, 3, kCapturedBytesMax + 1), CUDA_ERROR_OUT_OF_MEMORY);
  EXPECT_EQ(capture(graph, 4, kCapturedBytesMax), CUDA_SUCCESS);
  EXPECT_EQ(capture(graph, 5, 1), CUDA_ERROR_OUT_OF_MEMORY);
  EXPECT_EQ(broken, Status::kOk);
  EXPECT_EQ(find(graph).size(), 1u);
}

TEST_F(CapturedCopiesTest, ACopyThatIsNotCapturedTakesNoRoom) {
  FakeGraph graph;
  fake.copy_result = CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
  for (uint64_t id = 1; id < 10; ++id) {
    EXPECT_EQ(capture(graph, id, kCapturedBytesMax), CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
  }
  fake.copy_result = CUDA_SUCCESS;
  EXPECT_EQ(capture(graph, 10, kCapturedBytesMax), CUDA_SUCCESS);
}

TEST_F(CapturedCopiesTest, CopiesInChildGraphsAreFoundOnce) {
  FakeGraph inner, outer;
  ASSERT_EQ(capture(inner, 1, 8), CUDA_SUCCESS);
  ASSERT_EQ(capture(inner, 2, 16, false), CUDA_SUCCESS);
  for (int i = 0; i < 2; ++i) outer.nodes.push_back({CU_GRAPH_NODE_TYPE_GRAPH, {}, inner});
  const auto found = find(outer);
  ASSERT_EQ(found.size(), 2u);
  EXPECT_TRUE(found[0]->to_device);
  EXPECT_EQ(found[0]->bytes, 8u);
  EXPECT_FALSE(found[1]->to_device);
}

TEST_F(CapturedCopiesTest, HostMemoryThatWasNotCapturedIsRefused) {
  FakeGraph ours, other;
  ASSERT_EQ(capture(ours, 1, 8), CUDA_SUCCESS);
  int somewhere = 0;
  fake.capturing = &other;
  add_copy(CU_MEMORYTYPE_DEVICE, nullptr, CU_MEMORYTYPE_HOST, &somewhere);
  GraphCopySet found;
  EXPECT_EQ(copies.find(other, &found), CUDA_ERROR_NOT_SUPPORTED);
}

TEST_F(CapturedCopiesTest, EndlesslyNestedGraphsAreRefused) {
  FakeGraph ours, endless;
  ASSERT_EQ(capture(ours, 1, 8), CUDA_SUCCESS);
  endless.nodes.push_back({CU_GRAPH_NODE_TYPE_GRAPH, {}, endless});
  GraphCopySet found;
  EXPECT_EQ(copies.find(endless, &found), CUDA_ERROR_NOT_SUPPORTED);
}

TEST_F(CapturedCopiesTest, OnlyNewBytesWaitForLaunchesThatReadTheBuffer) {
  FakeGraph graph;
  ASSERT_EQ(capture(graph, 1, 8), CUDA_SUCCESS);
  const HandleId first = instantiate(graph), second = instantiate(graph);
  const CapturedCopyRef copy = copies.find_copy(first, 1);
  ASSERT_NE(copy, nullptr);
  std::vector<std::byte> bytes(8, std::byte{1});
  EXPECT_EQ(copies.write(*copy, 0, bytes), CUDA_SUCCESS);
  EXPECT_EQ(fake.event_waits, 0);
  EXPECT_EQ(copies.note_launch(first, nullptr, CUDA_SUCCESS), CUDA_SUCCESS);
  EXPECT_EQ(copies.note_launch(second, nullptr, CUDA_SUCCESS), CUDA_SUCCESS);
  EXPECT_EQ(copies.write(*copy, 0, bytes), CUDA_SUCCESS);
  EXPECT_EQ(fake.event_waits, 0);
  bytes[7] = std::byte{2};
  EXPECT_EQ(copies.write(*copy, 0, bytes), CUDA_SUCCESS);
  EXPECT_EQ(fake.event_waits, 2);
  EXPECT_EQ(std::memcmp(copy->buffer, bytes.data(), 8), 0);
}

TEST_F(CapturedCopiesTest, AFailedLaunchIsRemembered) {
  FakeGraph graph;
  ASSERT_EQ(capture(graph, 1, 8, false), CUDA_SUCCESS);
  const HandleId exec = instantiate(graph);
  EXPECT_NE(copies.last_launch(exec), CUDA_SUCCESS);
  EXPECT_EQ(copies.note_launch(exec, nullptr, CUDA_SUCCESS), CUDA_SUCCESS);
  EXPECT_EQ(copies.last_launch(exec), CUDA_SUCCESS);
  copies.note_launch(exec, nullptr, CUDA_ERROR_LAUNCH_FAILED);
  EXPECT_EQ(copies.last_launch(exec), CUDA_ERROR_LAUNCH_FAILED);
}

TEST_F(CapturedCopiesTest, ABufferGoesWhenNoGraphAndNoExecutableGraphHasIt) {
  auto graph = std::make_unique<FakeGraph>();
  FakeGraph later;
  ASSERT_EQ(capture(*graph, 1, 8), CUDA_SUCCESS);
  const HandleId exec = instantiate(*graph);
  EXPECT_EQ(copies.note_launch(exec, nullptr, CUDA_SUCCESS), CUDA_SUCCESS);
  graph.reset();
  ASSERT_EQ(capture(later, 2, 8), CUDA_SUCCESS);
  EXPECT_TRUE(copies.take_gone().empty());  // the executable graph has it

  fake.launch_is_done = false;
  handles.unbind(exec, HandleType::kGraphExec);
  ASSERT_EQ(capture(later, 3, 8), CUDA_SUCCESS);
  EXPECT_TRUE(copies.take_gone().empty());  // its last launch does
  fake.launch_is_done = true;
  ASSERT_EQ(capture(later, 4, 8), CUDA_SUCCESS);
  EXPECT_EQ(copies.take_gone(), std::vector<uint64_t>{1});
  EXPECT_TRUE(copies.take_gone().empty());
}

TEST_F(CapturedCopiesTest, ABufferThatAnUpdateReplacedStaysUntilTheLaunchBeforeItIsDone) {
  auto graph = std::make_unique<FakeGraph>();
  FakeGraph updated;
  ASSERT_EQ(capture(*graph, 1, 8), CUDA_SUCCESS);
  ASSERT_EQ(capture(updated, 2, 8), CUDA_SUCCESS);
  const HandleId exec = instantiate(*graph);
  EXPECT_EQ(copies.note_launch(exec, nullptr, CUDA_SUCCESS), CUDA_SUCCESS);
  copies.set_copies(exec, find_set(updated));
  EXPECT_EQ(copies.find_copy(exec, 1), nullptr);
  EXPECT_NE(copies.find_copy(exec, 2), nullptr);
  graph.reset();
  fake.launch_is_done = false;
  ASSERT_EQ(capture(updated, 3, 8), CUDA_SUCCESS);
  EXPECT_TRUE(copies.take_gone().empty());
  fake.launch_is_done = true;
  ASSERT_EQ(capture(updated, 4, 8), CUDA_SUCCESS);
  EXPECT_EQ(copies.take_gone(), std::vector<uint64_t>{1});
}

}  // namespace
}  // namespace farcall::server
