// What calls of the driver API say and set: devices, contexts, kernels, streams, memsets, row
// copies, and nodes of graphs. Prints the same locally and remotely.
//
//   driver_settings SCENARIO
#include <cudaProfiler.h>

#include "show.h"

namespace {

constexpr char kSource[] = R"ptx(
.version 7.8
.target sm_75
.address_size 64

.visible .entry nothing(.param .u32 number)
{
    ret;
}
)ptx";

void devices() {
  CUdevprop properties = {};
  int major = 0, minor = 0, supported = -1;
  size_t texels = 0;
  SHOW(cuDeviceGetProperties(&properties, 0));
  std::printf("%d threads a block, warps of %d\n", properties.maxThreadsPerBlock,
              properties.SIMDWidth);
  SHOW(cuDeviceComputeCapability(&major, &minor, 0));
  std::printf("compute %d.%d\n", major, minor);
  SHOW(cuDeviceGetTexture1DLinearMaxWidth(&texels, CU_AD_FORMAT_FLOAT, 1, 0));
  SHOW(cuDeviceGetExecAffinitySupport(&supported, CU_EXEC_AFFINITY_TYPE_SM_COUNT, 0));
  std::printf("texels %zu, affinity %d\n", texels, supported);
  unsigned capabilities = 0;
  CUatomicOperation operation = CU_ATOMIC_OPERATION_INTEGER_ADD;
  SHOW(cuDeviceGetP2PAtomicCapabilities(&capabilities, &operation, 1, 0, 0));
  const char* text = nullptr;
  SHOW(cuGetErrorString(CUDA_ERROR_OUT_OF_MEMORY, &text));
  std::printf("%s\n", text);
  SHOW(cuGetErrorString(CUresult(98765), &text));
  SHOW(cuProfilerStart());
  SHOW(cuProfilerStop());
}

void contexts() {
  CUfunc_cache cache;
  CUsharedconfig shared;
  int low = 9, high = 9;
  unsigned flags = 99;
  SHOW(cuCtxSetCacheConfig(CU_FUNC_CACHE_PREFER_SHARED));
  SHOW(cuCtxGetCacheConfig(&cache));
  SHOW(cuCtxSetSharedMemConfig(CU_SHARED_MEM_CONFIG_DEFAULT_BANK_SIZE));
  SHOW(cuCtxGetSharedMemConfig(&shared));
  SHOW(cuCtxGetStreamPriorityRange(&low, &high));
  std::printf("cache %d, priorities %d to %d\n", int(cache), low, high);
  SHOW(cuCtxGetFlags(&flags));
  SHOW(cuCtxResetPersistingL2Cache());
  CUevent event = nullptr;
  NEED(cuEventCreate(&event, CU_EVENT_DEFAULT));
  CUcontext current = nullptr;
  NEED(cuCtxGetCurrent(&current));
  SHOW(cuCtxRecordEvent(current, event));
  SHOW(cuCtxWaitEvent(current, event));
  SHOW(cuEventRecordWithFlags(event, nullptr, CU_EVENT_RECORD_DEFAULT));
  SHOW(cuEventSynchronize(event));
  NEED(cuEventDestroy(event));
}

void kernels() {
  CUlibrary library = nullptr;
  NEED(cuLibraryLoadData(&library, kSource, nullptr, nullptr, 0, nullptr, nullptr, 0));
  CUkernel kernel = nullptr;
  SHOW(cuLibraryEnumerateKernels(&kernel, 1, library));
  const char* name = nullptr;
  CUlibrary of = nullptr;
  int value = 0;
  SHOW(cuKernelGetName(&name, kernel));
  SHOW(cuKernelGetLibrary(&of, kernel));
  std::printf("%s of %s\n", name, of == library ? "the library" : "another");
  SHOW(cuKernelSetAttribute(CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, 2048, kernel, 0));
  SHOW(cuKernelGetAttribute(&value, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, kernel, 0));
  std::printf("bytes %d\n", value);
  SHOW(cuKernelSetCacheConfig(kernel, CU_FUNC_CACHE_PREFER_L1, 0));
  CUfunction function = nullptr;
  SHOW(cuKernelGetFunction(&function, kernel));
  SHOW(cuFuncSetCacheConfig(function, CU_FUNC_CACHE_PREFER_L1));
  SHOW(cuFuncSetSharedMemConfig(function, CU_SHARED_MEM_CONFIG_DEFAULT_BANK_SIZE));
  SHOW(cuLibraryLoadFromFile(&library, "/nonexistent", nullptr, nullptr, 0, nullptr, nullptr, 0));
  NEED(cuLibraryUnload(of));
}

void streams() {
  CUstream stream = nullptr;
  CUdevice device = 9;
  unsigned flags = 9;
  unsigned long long id = 0, other = 0;
  SHOW(cuStreamCreateWithPriority(&stream, CU_STREAM_NON_BLOCKING, 0));
  SHOW(cuStreamGetDevice(stream, &device));
  SHOW(cuStreamGetFlags(stream, &flags));
  SHOW(cuStreamGetId(stream, &id));
  SHOW(cuStreamGetId(nullptr, &other));
  std::printf("device %d, flags %u, ids %s\n", device, flags, id != other ? "differ" : "agree");
  CUstreamCaptureStatus status;
  NEED(cuStreamBeginCapture(stream, CU_STREAM_CAPTURE_MODE_RELAXED));
  cuuint64_t capture = 0;
  SHOW(cuStreamGetCaptureInfo(stream, &status, &capture, nullptr, nullptr, nullptr, nullptr));
  std::printf("status %d\n", int(status));
  SHOW(cuStreamUpdateCaptureDependencies(stream, nullptr, nullptr, 0,
                                         CU_STREAM_SET_CAPTURE_DEPENDENCIES));
  CUgraph graph = nullptr;
  SHOW(cuStreamEndCapture(stream, &graph));
  NEED(cuGraphDestroy(graph));
  NEED(cuStreamDestroy(stream));
}

void memsets() {
  Ints values(16);
  CUstream stream = nullptr;
  NEED(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
  SHOW(cuMemsetD32(values.at(), 0, 16));
  NEED(cuCtxSynchronize());  // the stream does not wait for the legacy one
  SHOW(cuMemsetD8Async(values.at(), 1, 4, stream));
  SHOW(cuMemsetD16Async(values.at(1), 2, 2, stream));
  SHOW(cuMemsetD2D8Async(values.at(2), 16, 3, 4, 2, stream));
  SHOW(cuMemsetD2D16Async(values.at(8), 16, 4, 2, 2, stream));
  SHOW(cuMemsetD2D32Async(values.at(9), 16, 5, 1, 2, stream));
  SHOW(cuStreamSynchronize(stream));
  print("set", values.get());
  SHOW(cuMemsetD2D16(values.at(10), 16, 6, 2, 2));
  SHOW(cuMemsetD2D32(values.at(11), 16, 7, 1, 2));
  print("set", values.get());

  std::vector<int> from = counting(12, 1), to(12);
  CUDA_MEMCPY2D rows = {};
  rows.srcMemoryType = CU_MEMORYTYPE_HOST;
  rows.srcHost = from.data();
  rows.srcPitch = 12;
  rows.dstMemoryType = CU_MEMORYTYPE_DEVICE;
  rows.dstDevice = values.at();
  rows.dstPitch = 16;
  rows.WidthInBytes = 12;
  rows.Height = 4;
  SHOW(cuMemcpy2DAsync(&rows, stream));
  SHOW(cuStreamSynchronize(stream));
  print("rows", values.get());
  rows.WidthInBytes = 4;
  SHOW(cuMemcpy2DUnaligned(&rows));
  rows.dstPitch = 2;
  SHOW(cuMemcpy2DUnaligned(&rows));
  CUDA_MEMCPY3D box = {};
  box.srcMemoryType = CU_MEMORYTYPE_DEVICE;
  box.srcDevice = values.at();
  box.srcPitch = 16;
  box.srcHeight = 2;
  box.dstMemoryType = CU_MEMORYTYPE_HOST;
  box.dstHost = to.data();
  box.dstPitch = 12;
  box.dstHeight = 2;
  box.WidthInBytes = 12;
  box.Height = 2;
  box.Depth = 2;
  SHOW(cuMemcpy3DAsync(&box, stream));
  SHOW(cuStreamSynchronize(stream));
  print("box", to);
  NEED(cuStreamDestroy(stream));
}

void pools() {
  CUmemLocation here = {CU_MEM_LOCATION_TYPE_DEVICE, {0}};
  CUmemoryPool pool = nullptr;
  SHOW(cuMemGetDefaultMemPool(&pool, &here, CU_MEM_ALLOCATION_TYPE_PINNED));
  SHOW(cuMemGetMemPool(&pool, &here, CU_MEM_ALLOCATION_TYPE_PINNED));
  SHOW(cuMemSetMemPool(&here, CU_MEM_ALLOCATION_TYPE_PINNED, pool));
  cuuint64_t high = 0;
  SHOW(cuDeviceSetGraphMemAttribute(0, CU_GRAPH_MEM_ATTR_USED_MEM_HIGH, &high));
  SHOW(cuDeviceGraphMemTrim(0));
}

int ran = 0;
void CUDA_CB run_by_graph(void* step) { ran += *static_cast<int*>(step); }

void graph_nodes() {
  Ints values(4);
  values.set({0, 0, 0, 0});
  CUcontext context = nullptr;
  NEED(cuCtxGetCurrent(&context));
  CUgraph graph = nullptr, inner = nullptr, got = nullptr;
  NEED(cuGraphCreate(&graph, 0));
  NEED(cuGraphCreate(&inner, 0));
  CUgraphNode set = nullptr, host = nullptr, record = nullptr, wait = nullptr, child = nullptr,
              copy = nullptr;
  CUDA_MEMSET_NODE_PARAMS fill = {};
  fill.dst = values.at();
  fill.elementSize = 4;
  fill.value = 3;
  fill.width = 4;
  fill.height = 1;
  int one = 1, ten = 10;
  CUDA_HOST_NODE_PARAMS call = {run_by_graph, &one};
  CUevent event = nullptr, other = nullptr, asked = nullptr;
  NEED(cuEventCreate(&event, CU_EVENT_DEFAULT));
  NEED(cuEventCreate(&other, CU_EVENT_DEFAULT));
  NEED(cuGraphAddMemsetNode(&set, graph, nullptr, 0, &fill, context));
  NEED(cuGraphAddHostNode(&host, graph, &set, 1, &call));
  NEED(cuGraphAddEventRecordNode(&record, graph, &host, 1, event));
  NEED(cuGraphAddEventWaitNode(&wait, graph, &record, 1, event));
  NEED(cuGraphAddChildGraphNode(&child, graph, nullptr, 0, inner));
  std::vector<int> out(4);
  CUDA_MEMCPY3D box = {};
  box.srcMemoryType = CU_MEMORYTYPE_DEVICE;
  box.srcDevice = values.at();
  box.dstMemoryType = CU_MEMORYTYPE_HOST;
  box.dstHost = out.data();
  box.srcPitch = box.dstPitch = box.WidthInBytes = 16;
  box.Height = box.Depth = 1;
  SHOW(cuGraphAddMemcpyNode(&copy, graph, &wait, 1, &box, context));
  CUDA_MEMCPY3D box_back = {};
  SHOW(cuGraphMemcpyNodeGetParams(copy, &box_back));
  std::printf("%s\n", box_back.dstHost == out.data() ? "to the program" : "elsewhere");
  SHOW(cuGraphMemcpyNodeSetParams(copy, &box));
  SHOW(cuGraphChildGraphNodeGetGraph(child, &got));
  size_t count = 0;
  SHOW(cuGraphNodeGetDependentNodes(set, nullptr, nullptr, &count));
  std::printf("%zu behind\n", count);
  CUDA_MEMSET_NODE_PARAMS fill_back = {};
  SHOW(cuGraphMemsetNodeGetParams(set, &fill_back));
  std::printf("value %u\n", fill_back.value);
  SHOW(cuGraphMemsetNodeSetParams(set, &fill));
  CUDA_HOST_NODE_PARAMS call_back = {};
  SHOW(cuGraphHostNodeGetParams(host, &call_back));
  std::printf("%s\n", call_back.userData == &one ? "the same" : "another");
  SHOW(cuGraphHostNodeSetParams(host, &call));
  SHOW(cuGraphEventRecordNodeSetEvent(record, other));
  SHOW(cuGraphEventWaitNodeSetEvent(wait, other));
  SHOW(cuGraphEventWaitNodeGetEvent(wait, &asked));
  std::printf("%s\n", asked == other ? "the other" : "not it");
  CUgraphExec exec = nullptr;
  NEED(cuGraphInstantiate(&exec, graph, 0));
  cuuint64_t flags = 9;
  SHOW(cuGraphExecGetFlags(exec, &flags));
  SHOW(cuGraphUpload(exec, nullptr));
  fill.value = 4;
  call.userData = &ten;
  SHOW(cuGraphExecMemsetNodeSetParams(exec, set, &fill, context));
  SHOW(cuGraphExecHostNodeSetParams(exec, host, &call));
  SHOW(cuGraphExecEventRecordNodeSetEvent(exec, record, event));
  SHOW(cuGraphExecEventWaitNodeSetEvent(exec, wait, event));
  SHOW(cuGraphExecMemcpyNodeSetParams(exec, copy, &box, context));
  SHOW(cuGraphLaunch(exec, nullptr));
  SHOW(cuCtxSynchronize());
  print("out", out);
  std::printf("ran %d\n", ran);
  CUgraphNodeParams any = {};
  any.type = CU_GRAPH_NODE_TYPE_MEMSET;
  any.memset = {values.at(), 0, 9, 4, 4, 1, context};
  SHOW(cuGraphNodeSetParams(set, &any));
  SHOW(cuGraphExecNodeSetParams(exec, set, &any));
  SHOW(cuGraphLaunch(exec, nullptr));
  SHOW(cuCtxSynchronize());
  print("out", out);
  NEED(cuGraphExecDestroy(exec));
  NEED(cuGraphDestroy(graph));

  // Memory and words.
  NEED(cuGraphCreate(&graph, 0));
  CUDA_MEM_ALLOC_NODE_PARAMS memory = {};
  memory.poolProps.allocType = CU_MEM_ALLOCATION_TYPE_PINNED;
  memory.poolProps.location.type = CU_MEM_LOCATION_TYPE_DEVICE;
  memory.bytesize = 64;
  CUgraphNode made = nullptr, freed = nullptr, words = nullptr;
  SHOW(cuGraphAddMemAllocNode(&made, graph, nullptr, 0, &memory));
  CUDA_MEM_ALLOC_NODE_PARAMS memory_back = {};
  SHOW(cuGraphMemAllocNodeGetParams(made, &memory_back));
  SHOW(cuGraphAddMemFreeNode(&freed, graph, &made, 1, memory.dptr));
  CUdeviceptr address = 0;
  SHOW(cuGraphMemFreeNodeGetParams(freed, &address));
  std::printf("%s\n", address == memory.dptr && memory_back.dptr == address ? "it" : "another");
  CUstreamBatchMemOpParams write = {};
  write.operation = CU_STREAM_MEM_OP_WRITE_VALUE_32;
  write.writeValue.address = values.at();
  write.writeValue.value = 1234;
  CUDA_BATCH_MEM_OP_NODE_PARAMS batch = {context, 1, &write, 0};
  SHOW(cuGraphAddBatchMemOpNode(&words, graph, nullptr, 0, &batch));
  CUDA_BATCH_MEM_OP_NODE_PARAMS batch_back = {};
  SHOW(cuGraphBatchMemOpNodeGetParams(words, &batch_back));
  std::printf("%u operation, value %u\n", batch_back.count,
              unsigned(batch_back.paramArray[0].writeValue.value));
  write.writeValue.value = 4321;
  SHOW(cuGraphBatchMemOpNodeSetParams(words, &batch));
  NEED(cuGraphInstantiate(&exec, graph, 0));
  write.writeValue.value = 77;
  SHOW(cuGraphExecBatchMemOpNodeSetParams(exec, words, &batch));
  SHOW(cuGraphLaunch(exec, nullptr));
  SHOW(cuCtxSynchronize());
  print("words", values.get());
  NEED(cuGraphExecDestroy(exec));
  NEED(cuGraphDestroy(graph));
  NEED(cuGraphDestroy(inner));
}

// Attributes of kernel nodes, and objects of the program that graphs keep.
void CUDA_CB nothing_to_do(void*) {}

void graph_extras() {
  CUmodule module = nullptr;
  SHOW(cuModuleLoadFatBinary(&module, nullptr));
  NEED(cuModuleLoadData(&module, kSource));
  CUfunction nothing = nullptr;
  NEED(cuModuleGetFunction(&nothing, module, "nothing"));
  CUgraph graph = nullptr;
  NEED(cuGraphCreate(&graph, 0));
  unsigned number = 5;
  void* arguments[] = {&number};
  CUDA_KERNEL_NODE_PARAMS kernel = {};
  kernel.func = nothing;
  kernel.gridDimX = kernel.gridDimY = kernel.gridDimZ = 1;
  kernel.blockDimX = kernel.blockDimY = kernel.blockDimZ = 1;
  kernel.kernelParams = arguments;
  CUgraphNode first = nullptr, second = nullptr;
  NEED(cuGraphAddKernelNode(&first, graph, nullptr, 0, &kernel));
  NEED(cuGraphAddKernelNode(&second, graph, nullptr, 0, &kernel));
  kernel.blockDimX = 2;
  SHOW(cuGraphKernelNodeSetParams(first, &kernel));
  CUkernelNodeAttrValue value = {};
  SHOW(cuGraphKernelNodeSetAttribute(first, CU_LAUNCH_ATTRIBUTE_PRIORITY, &value));
  SHOW(cuGraphKernelNodeCopyAttributes(second, first));
  SHOW(cuGraphKernelNodeGetAttribute(second, CU_LAUNCH_ATTRIBUTE_PRIORITY, &value));
  std::printf("priority %d\n", value.priority);
  CUuserObject object = nullptr;
  SHOW(cuUserObjectCreate(&object, &number, nothing_to_do, 1, CU_USER_OBJECT_NO_DESTRUCTOR_SYNC));
  SHOW(cuUserObjectRetain(object, 1));
  SHOW(cuGraphRetainUserObject(graph, object, 1, CU_GRAPH_USER_OBJECT_MOVE));
  SHOW(cuGraphReleaseUserObject(graph, object, 1));
  SHOW(cuUserObjectRelease(object, 1));
  SHOW(cuDevicePrimaryCtxSetFlags(0, CU_CTX_SCHED_YIELD));
  NEED(cuGraphDestroy(graph));
  NEED(cuModuleUnload(module));
}

constexpr Scenario kScenarios[] = {
    {"devices", devices},         {"contexts", contexts},         {"kernels", kernels},
    {"streams", streams},         {"memsets", memsets},           {"pools", pools},
    {"graph_nodes", graph_nodes}, {"graph_extras", graph_extras},
};

}  // namespace

int main(int argc, char** argv) { return run_scenario(argc, argv, kScenarios); }
