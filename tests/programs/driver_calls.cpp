// What calls of the driver API mean, a scenario for each family: copies with arrays and between
// contexts, batches, words that streams wait for, occupancy, modules, texture references, tensor
// maps, capture modes. Prints the same locally and remotely.
//
//   driver_calls SCENARIO
#include <cudaTypedefs.h>

#include <thread>

#include "show.h"

namespace {

constexpr char kSource[] = R"ptx(
.version 7.8
.target sm_75
.address_size 64

.visible .global .align 4 .u32 factor = 3;
.global .texref image;
.global .surfref canvas;

.visible .entry scale(.param .u64 values)
{
    .reg .b32 %i, %v, %f;
    .reg .b64 %at, %offset;
    ld.param.u64        %at, [values];
    cvta.to.global.u64  %at, %at;
    mov.u32             %i, %tid.x;
    mul.wide.u32        %offset, %i, 4;
    add.s64             %at, %at, %offset;
    ld.global.u32       %v, [%at];
    ld.global.u32       %f, [factor];
    mul.lo.u32          %v, %v, %f;
    st.global.u32       [%at], %v;
    ret;
}
.visible .entry fetch(.param .u64 out)
{
    .reg .b32 %i, %v0, %v1, %v2, %v3;
    .reg .b64 %at, %offset;
    ld.param.u64        %at, [out];
    cvta.to.global.u64  %at, %at;
    mov.u32             %i, %tid.x;
    mul.wide.u32        %offset, %i, 4;
    add.s64             %at, %at, %offset;
    tex.1d.v4.s32.s32   {%v0, %v1, %v2, %v3}, [image, {%i}];
    st.global.u32       [%at], %v0;
    ret;
}
)ptx";

CUmodule load() {
  CUmodule module = nullptr;
  NEED(cuModuleLoadData(&module, kSource));
  return module;
}
CUfunction function(CUmodule module, const char* name) {
  CUfunction found = nullptr;
  NEED(cuModuleGetFunction(&found, module, name));
  return found;
}
void launch(CUfunction kernel, unsigned threads, CUdeviceptr argument, CUstream stream = nullptr) {
  void* params[] = {&argument};
  NEED(cuLaunchKernel(kernel, 1, 1, 1, threads, 1, 1, 0, stream, params, nullptr));
}

CUarray array_of_ints(size_t width, size_t height = 0) {
  CUDA_ARRAY_DESCRIPTOR shape = {};
  shape.Width = width;
  shape.Height = height;
  shape.Format = CU_AD_FORMAT_SIGNED_INT32;
  shape.NumChannels = 1;
  CUarray array = nullptr;
  NEED(cuArrayCreate(&array, &shape));
  return array;
}

// --- Copies

void array_rows() {
  CUarray first = array_of_ints(16), second = array_of_ints(16);
  Ints linear(16);
  const std::vector<int> values = counting(16, 100);
  std::vector<int> back(16);
  SHOW(cuMemcpyHtoA(first, 0, values.data(), 64));
  SHOW(cuMemcpyAtoD(linear.at(), first, 16, 32));
  SHOW(cuMemcpyDtoA(second, 32, linear.at(), 32));
  SHOW(cuMemcpyAtoA(second, 0, first, 0, 32));
  SHOW(cuMemcpyAtoH(back.data(), second, 0, 64));
  print("back", back);
  CUstream stream = nullptr;
  NEED(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
  const int patch[2] = {7, 8};
  SHOW(cuMemcpyHtoAAsync(first, 8, patch, 8, stream));
  SHOW(cuMemcpyAtoHAsync(back.data(), first, 0, 64, stream));
  SHOW(cuStreamSynchronize(stream));
  print("patched", back);
  SHOW(cuMemcpyHtoA(first, 0, values.data(), 0));
  SHOW(cuMemcpyAtoH(back.data(), nullptr, 0, 4));
  NEED(cuStreamDestroy(stream));
  SHOW(cuArrayDestroy(first));
  SHOW(cuArrayDestroy(second));
  SHOW(cuMemcpyAtoH(back.data(), first, 0, 64));
}

void peers() {
  CUcontext primary = nullptr, other = nullptr;
  NEED(cuCtxGetCurrent(&primary));
  Ints here(8);
  here.set(counting(8));
  NEED(cuCtxCreate(&other, nullptr, 0, 0));
  {
    Ints there(8);
    SHOW(cuMemcpyPeer(there.at(), other, here.at(), primary, 32));
    print("there", there.get());
    CUstream stream = nullptr;
    NEED(cuStreamCreate(&stream, CU_STREAM_DEFAULT));
    SHOW(cuMemcpyPeerAsync(there.at(4), other, here.at(), primary, 16, stream));
    CUDA_MEMCPY3D_PEER boxes = {};
    boxes.srcMemoryType = boxes.dstMemoryType = CU_MEMORYTYPE_DEVICE;
    boxes.srcDevice = here.at(6);
    boxes.srcContext = primary;
    boxes.dstDevice = there.at();
    boxes.dstContext = other;
    boxes.srcPitch = boxes.dstPitch = boxes.WidthInBytes = 8;
    boxes.Height = boxes.Depth = 1;
    SHOW(cuMemcpy3DPeerAsync(&boxes, stream));
    SHOW(cuStreamSynchronize(stream));
    boxes.dstDevice = there.at(2);
    SHOW(cuMemcpy3DPeer(&boxes));
    print("there", there.get());
    SHOW(cuMemcpy3DPeer(nullptr));
    NEED(cuStreamDestroy(stream));
  }
  SHOW(cuCtxDestroy(other));
}

void batches() {
  Ints a(8), b(8);
  a.set(counting(8, 50));
  b.set(std::vector<int>(8, 0));
  CUstream stream = nullptr;
  NEED(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
  const std::vector<int> host = counting(4, 900);
  CUdeviceptr targets[] = {b.at(), b.at(4)};
  CUdeviceptr sources[] = {a.at(2), reinterpret_cast<CUdeviceptr>(host.data())};
  size_t sizes[] = {16, 16};
  CUmemcpyAttributes attributes = {};
  attributes.srcAccessOrder = CU_MEMCPY_SRC_ACCESS_ORDER_DURING_API_CALL;
  size_t first = 0;
  SHOW(cuMemcpyBatchAsync(targets, sources, sizes, 2, &attributes, &first, 1, stream));
  SHOW(cuStreamSynchronize(stream));
  print("b", b.get());
  SHOW(cuMemcpyBatchAsync(targets, sources, sizes, 2, &attributes, &first, 1, nullptr));
  SHOW(cuMemcpyBatchAsync(targets, sources, sizes, 0, &attributes, &first, 1, stream));
  attributes.srcAccessOrder = CUmemcpySrcAccessOrder(77);
  SHOW(cuMemcpyBatchAsync(targets, sources, sizes, 2, &attributes, &first, 1, stream));

  CUarray array = array_of_ints(4, 2);
  CUDA_MEMCPY3D_BATCH_OP boxes[2] = {};
  boxes[0].src.type = CU_MEMCPY_OPERAND_TYPE_POINTER;
  boxes[0].src.op.ptr.ptr = a.at();
  boxes[0].dst.type = CU_MEMCPY_OPERAND_TYPE_ARRAY;
  boxes[0].dst.op.array.array = array;
  boxes[0].extent = {4, 2, 1};
  boxes[0].srcAccessOrder = CU_MEMCPY_SRC_ACCESS_ORDER_STREAM;
  std::vector<int> back(2);
  boxes[1].src.type = CU_MEMCPY_OPERAND_TYPE_ARRAY;
  boxes[1].src.op.array.array = array;
  boxes[1].src.op.array.offset = {2, 1, 0};
  boxes[1].dst.type = CU_MEMCPY_OPERAND_TYPE_POINTER;
  boxes[1].dst.op.ptr.ptr = reinterpret_cast<CUdeviceptr>(back.data());
  boxes[1].extent = {2, 1, 1};
  boxes[1].srcAccessOrder = CU_MEMCPY_SRC_ACCESS_ORDER_STREAM;
  SHOW(cuMemcpy3DBatchAsync(2, boxes, 0, stream));
  SHOW(cuStreamSynchronize(stream));
  print("corner", back);
  boxes[1].extent.height = 0;
  SHOW(cuMemcpy3DBatchAsync(2, boxes, 0, stream));
  SHOW(cuMemcpy3DBatchAsync(2, boxes, 1, stream));
  SHOW(cuStreamBeginCapture(stream, CU_STREAM_CAPTURE_MODE_RELAXED));
  SHOW(cuMemcpy3DBatchAsync(1, boxes, 0, stream));
  CUgraph graph = nullptr;
  SHOW(cuStreamEndCapture(stream, &graph));

  // The forms of CUDA 12, which tell the copy that failed.
  PFN_cuMemcpyBatchAsync_v12080 old_batch = nullptr;
  PFN_cuMemcpy3DBatchAsync_v12080 old_boxes = nullptr;
  CUdriverProcAddressQueryResult found;
  NEED(cuGetProcAddress("cuMemcpyBatchAsync", reinterpret_cast<void**>(&old_batch), 12080, 0,
                        &found));
  NEED(cuGetProcAddress("cuMemcpy3DBatchAsync", reinterpret_cast<void**>(&old_boxes), 12080, 0,
                        &found));
  size_t failed = 0;
  attributes.srcAccessOrder = CU_MEMCPY_SRC_ACCESS_ORDER_ANY;
  sizes[1] = 1 << 20;  // past the end of b
  const CUresult refused =
      old_batch(targets, sources, sizes, 2, &attributes, &first, 1, &failed, stream);
  std::printf("old form: %s, copy %zd\n", name_of(refused), ssize_t(failed));
  boxes[1].extent = {2, 0, 1};
  const CUresult empty = old_boxes(2, boxes, &failed, 0, stream);
  std::printf("old form: %s, copy %zd\n", name_of(empty), ssize_t(failed));
  NEED(cuArrayDestroy(array));
  NEED(cuStreamDestroy(stream));
}

// --- Words in memory

void words() {
  Ints memory(4);
  memory.set({0, 0, 0, 0});
  CUstream waits = nullptr, writes = nullptr;
  NEED(cuStreamCreate(&waits, CU_STREAM_NON_BLOCKING));
  NEED(cuStreamCreate(&writes, CU_STREAM_NON_BLOCKING));
  CUmodule module = load();
  Ints values(2);
  values.set({5, 6});
  SHOW(cuStreamWaitValue32(waits, memory.at(), 7, CU_STREAM_WAIT_VALUE_GEQ));
  launch(function(module, "scale"), 2, values.at(), waits);
  SHOW(cuStreamQuery(waits));
  SHOW(cuStreamWriteValue32(writes, memory.at(), 9, 0));
  SHOW(cuStreamSynchronize(waits));
  print("after the word", values.get());
  SHOW(cuStreamWaitValue64(waits, memory.at(2), 1, CU_STREAM_WAIT_VALUE_EQ));
  SHOW(cuStreamWriteValue64(writes, memory.at(2), 1, 0));
  SHOW(cuStreamSynchronize(waits));
  CUstreamBatchMemOpParams both[2] = {};
  both[0].operation = CU_STREAM_MEM_OP_WAIT_VALUE_32;
  both[0].waitValue.address = memory.at();
  both[0].waitValue.value = 9;
  both[0].waitValue.flags = CU_STREAM_WAIT_VALUE_EQ;
  both[1].operation = CU_STREAM_MEM_OP_WRITE_VALUE_32;
  both[1].writeValue.address = memory.at(1);
  both[1].writeValue.value = 11;
  SHOW(cuStreamBatchMemOp(waits, 2, both, 0));
  SHOW(cuStreamSynchronize(waits));
  print("words", memory.get());
  // The forms before CUDA 12, which NVIDIA's driver has switched off.
  const auto old_form = [](const char* name, auto* function) {
    CUdriverProcAddressQueryResult found;
    NEED(cuGetProcAddress(name, reinterpret_cast<void**>(function), 8000,
                          CU_GET_PROC_ADDRESS_LEGACY_STREAM, &found));
  };
  CUresult(CUDAAPI * word)(CUstream, CUdeviceptr, cuuint32_t, unsigned) = nullptr;
  CUresult(CUDAAPI * long_word)(CUstream, CUdeviceptr, cuuint64_t, unsigned) = nullptr;
  CUresult(CUDAAPI * batch)(CUstream, unsigned, CUstreamBatchMemOpParams*, unsigned) = nullptr;
  old_form("cuStreamWriteValue32", &word);
  std::printf("cuStreamWriteValue32 of CUDA 8: %s\n", name_of(word(writes, memory.at(), 1, 0)));
  old_form("cuStreamWaitValue32", &word);
  std::printf("cuStreamWaitValue32 of CUDA 8: %s\n", name_of(word(writes, memory.at(), 1, 0)));
  old_form("cuStreamBatchMemOp", &batch);
  std::printf("cuStreamBatchMemOp of CUDA 8: %s\n", name_of(batch(writes, 1, both + 1, 0)));
  NEED(cuGetProcAddress("cuStreamWriteValue64", reinterpret_cast<void**>(&long_word), 9000,
                        CU_GET_PROC_ADDRESS_LEGACY_STREAM, nullptr));
  std::printf("cuStreamWriteValue64 of CUDA 9: %s\n",
              name_of(long_word(writes, memory.at(2), 1, 0)));
  NEED(cuGetProcAddress("cuStreamWaitValue64", reinterpret_cast<void**>(&long_word), 9000,
                        CU_GET_PROC_ADDRESS_LEGACY_STREAM, nullptr));
  std::printf("cuStreamWaitValue64 of CUDA 9: %s\n",
              name_of(long_word(writes, memory.at(2), 1, 0)));
  SHOW(cuStreamSynchronize(writes));
  NEED(cuStreamDestroy(waits));
  NEED(cuStreamDestroy(writes));
  NEED(cuModuleUnload(module));
}

// --- Occupancy

size_t CUDA_CB shared_of(int block_size) { return size_t(block_size) * 16; }

void occupancy() {
  CUmodule module = load();
  CUfunction scale = function(module, "scale");
  int grid = 0, block = 0, blocks = 0, clusters = 0;
  size_t bytes = 0;
  SHOW(cuOccupancyMaxPotentialBlockSize(&grid, &block, scale, nullptr, 0, 0));
  std::printf("grid %d, block %d\n", grid, block);
  SHOW(cuOccupancyMaxPotentialBlockSize(&grid, &block, scale, shared_of, 0, 0));
  std::printf("grid %d, block %d\n", grid, block);
  SHOW(cuOccupancyMaxPotentialBlockSizeWithFlags(&grid, &block, scale, nullptr, 1000, 100, 0));
  std::printf("grid %d, block %d\n", grid, block);
  SHOW(cuOccupancyMaxPotentialBlockSizeWithFlags(&grid, &block, scale, nullptr, 0, -1, 0));
  SHOW(cuOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, scale, 128, 0));
  std::printf("blocks %d\n", blocks);
  SHOW(cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(&blocks, scale, 128, 1024, 0));
  std::printf("blocks %d\n", blocks);
  SHOW(cuOccupancyAvailableDynamicSMemPerBlock(&bytes, scale, 2, 128));
  std::printf("bytes %zu\n", bytes);
  CUlaunchAttribute cluster = {};
  cluster.id = CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION;
  cluster.value.clusterDim = {2, 1, 1};
  CUlaunchConfig config = {};
  config.gridDimX = 8;
  config.gridDimY = config.gridDimZ = config.blockDimY = config.blockDimZ = 1;
  config.blockDimX = 64;
  config.attrs = &cluster;
  config.numAttrs = 1;
  SHOW(cuOccupancyMaxActiveClusters(&clusters, scale, &config));
  std::printf("clusters %d\n", clusters);
  SHOW(cuOccupancyMaxPotentialClusterSize(&clusters, scale, &config));
  std::printf("size %d\n", clusters);
  SHOW(cuOccupancyMaxActiveClusters(&clusters, scale, nullptr));
  SHOW(cuOccupancyMaxActiveClusters(nullptr, scale, &config));
  NEED(cuModuleUnload(module));
}

// --- Modules and libraries

void modules() {
  CUmodule module = load();
  unsigned count = 0;
  SHOW(cuModuleGetFunctionCount(&count, module));
  std::vector<CUfunction> functions(count);
  SHOW(cuModuleEnumerateFunctions(functions.data(), count, module));
  size_t names = 0;
  for (CUfunction each : functions) {
    const char* name = nullptr;
    NEED(cuFuncGetName(&name, each));
    names += std::strlen(name);
    CUmodule of = nullptr;
    NEED(cuFuncGetModule(&of, each));
    if (of != module) std::printf("a function of another module\n");
  }
  std::printf("%u functions, %zu letters\n", count, names);
  CUmoduleLoadingMode mode;
  SHOW(cuModuleGetLoadingMode(&mode));
  SHOW(cuFuncLoad(functions[0]));
  CUfunctionLoadingState state;
  SHOW(cuFuncIsLoaded(&state, functions[0]));
  std::printf("loaded: %d\n", int(state));
  SHOW(cuModuleUnload(module));
  SHOW(cuModuleEnumerateFunctions(functions.data(), 1, module));

  CUlibrary library = nullptr;
  NEED(cuLibraryLoadData(&library, kSource, nullptr, nullptr, 0, nullptr, nullptr, 0));
  CUmodule of_library = nullptr;
  SHOW(cuLibraryGetModule(&of_library, library));
  CUfunction scale = nullptr;
  SHOW(cuModuleGetFunction(&scale, of_library, "scale"));
  CUdeviceptr factor = 0;
  size_t bytes = 0;
  SHOW(cuModuleGetGlobal(&factor, &bytes, of_library, "factor"));
  const unsigned five = 5;
  SHOW(cuMemcpyHtoD(factor, &five, sizeof five));
  Ints values(4);
  values.set({1, 2, 3, 4});
  launch(scale, 4, values.at());
  print("scaled", values.get());
  void* unified = nullptr;
  SHOW(cuLibraryGetUnifiedFunction(&unified, library, "scale"));
  SHOW(cuLibraryUnload(library));
}

// --- Texture references

void texture_references() {
  CUmodule module = load();
  CUtexref image = nullptr;
  CUsurfref canvas = nullptr;
  SHOW(cuModuleGetTexRef(&image, module, "image"));
  SHOW(cuModuleGetTexRef(&image, module, "missing"));
  SHOW(cuModuleGetSurfRef(&canvas, module, "canvas"));
  Ints texels(8), out(8);
  texels.set(counting(8, 40));
  SHOW(cuTexRefSetFormat(image, CU_AD_FORMAT_SIGNED_INT32, 1));
  SHOW(cuTexRefSetFlags(image, CU_TRSF_READ_AS_INTEGER));
  SHOW(cuTexRefSetAddressMode(image, 0, CU_TR_ADDRESS_MODE_CLAMP));
  SHOW(cuTexRefSetFilterMode(image, CU_TR_FILTER_MODE_POINT));
  size_t offset = 99;
  SHOW(cuTexRefSetAddress(&offset, image, texels.at(), 32));
  std::printf("offset %zu\n", offset);
  launch(function(module, "fetch"), 8, out.at());
  print("fetched", out.get());
  CUdeviceptr bound = 0;
  SHOW(cuTexRefGetAddress(&bound, image));
  std::printf("bound: %s\n", bound == texels.at() ? "to what was set" : "elsewhere");
  CUarray_format format;
  int channels = 0, anisotropy = 0;
  CUaddress_mode mode;
  CUfilter_mode filter;
  unsigned flags = 0;
  SHOW(cuTexRefGetFormat(&format, &channels, image));
  SHOW(cuTexRefGetFlags(&flags, image));
  SHOW(cuTexRefGetAddressMode(&mode, image, 0));
  SHOW(cuTexRefGetFilterMode(&filter, image));
  std::printf("format %d x %d, flags %u, mode %d, filter %d\n", int(format), channels, flags,
              int(mode), int(filter));
  SHOW(cuTexRefSetMaxAnisotropy(image, 4));
  SHOW(cuTexRefGetMaxAnisotropy(&anisotropy, image));
  SHOW(cuTexRefSetMipmapFilterMode(image, CU_TR_FILTER_MODE_LINEAR));
  SHOW(cuTexRefGetMipmapFilterMode(&filter, image));
  float bias = 0, low = 0, high = 0;
  SHOW(cuTexRefSetMipmapLevelBias(image, 0.5f));
  SHOW(cuTexRefGetMipmapLevelBias(&bias, image));
  SHOW(cuTexRefSetMipmapLevelClamp(image, 1, 2));
  SHOW(cuTexRefGetMipmapLevelClamp(&low, &high, image));
  float border[4] = {1, 2, 3, 4}, border_back[4] = {};
  SHOW(cuTexRefSetBorderColor(image, border));
  SHOW(cuTexRefGetBorderColor(border_back, image));
  std::printf("anisotropy %d, filter %d, bias %g, clamp %g %g, border %g %g\n", anisotropy,
              int(filter), double(bias), double(low), double(high), double(border_back[0]),
              double(border_back[3]));

  CUarray array = array_of_ints(8);
  const std::vector<int> values = counting(8, 70);
  NEED(cuMemcpyHtoA(array, 0, values.data(), 32));
  SHOW(cuTexRefSetArray(image, array, CU_TRSA_OVERRIDE_FORMAT));
  CUarray array_back = nullptr;
  SHOW(cuTexRefGetArray(&array_back, image));
  std::printf("array: %s\n", array_back == array ? "what was set" : "another");
  launch(function(module, "fetch"), 8, out.at());
  print("fetched", out.get());
  CUmipmappedArray levels = nullptr;
  SHOW(cuTexRefGetMipmappedArray(&levels, image));
  SHOW(cuSurfRefGetArray(&array_back, canvas));
  SHOW(cuSurfRefSetArray(canvas, array, 0));
  CUDA_ARRAY_DESCRIPTOR shape = {};
  shape.Width = 4;
  shape.Height = 2;
  shape.Format = CU_AD_FORMAT_SIGNED_INT32;
  shape.NumChannels = 1;
  SHOW(cuTexRefSetAddress2D(image, &shape, texels.at(), 17));
  SHOW(cuCtxSynchronize());
  CUDA_ARRAY3D_DESCRIPTOR shape3 = {};
  shape3.Width = shape3.Height = 8;
  shape3.Format = CU_AD_FORMAT_SIGNED_INT32;
  shape3.NumChannels = 1;
  CUmipmappedArray mipmap = nullptr;
  NEED(cuMipmappedArrayCreate(&mipmap, &shape3, 2));
  SHOW(cuTexRefSetMipmappedArray(image, mipmap, CU_TRSA_OVERRIDE_FORMAT));
  SHOW(cuTexRefGetMipmappedArray(&levels, image));
  std::printf("mipmap: %s\n", levels == mipmap ? "what was set" : "another");
  CUtexref own = nullptr;
  SHOW(cuTexRefCreate(&own));
  SHOW(cuTexRefSetFormat(own, CU_AD_FORMAT_FLOAT, 2));
  SHOW(cuTexRefGetFormat(&format, &channels, own));
  std::printf("own: format %d x %d\n", int(format), channels);
  SHOW(cuTexRefDestroy(own));
  NEED(cuModuleUnload(module));
}

// --- Tensor maps

void tensor_maps() {
  Ints tensor(64 * 64);
  CUtensorMap map, other;
  std::memset(static_cast<void*>(&map), 0, sizeof map);
  std::memset(static_cast<void*>(&other), 0, sizeof other);
  const cuuint64_t dims[] = {64, 64};
  const cuuint64_t strides[] = {256};
  const cuuint32_t box[] = {16, 8}, steps[] = {1, 1};
  void* const at = reinterpret_cast<void*>(tensor.at());
  SHOW(cuTensorMapEncodeTiled(&map, CU_TENSOR_MAP_DATA_TYPE_INT32, 2, at, dims, strides, box, steps,
                              CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_NONE,
                              CU_TENSOR_MAP_L2_PROMOTION_NONE, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE));
  other = map;
  SHOW(cuTensorMapReplaceAddress(&other, reinterpret_cast<void*>(tensor.at(64))));
  std::printf("replaced: %s\n", std::memcmp(&map, &other, sizeof map) != 0 ? "another map" : "no");
  SHOW(cuTensorMapReplaceAddress(&other, at));
  std::printf("and back: %s\n", std::memcmp(&map, &other, sizeof map) == 0 ? "the same" : "no");
  SHOW(cuTensorMapReplaceAddress(&other, reinterpret_cast<void*>(tensor.at(1))));
  SHOW(cuTensorMapEncodeTiled(&map, CU_TENSOR_MAP_DATA_TYPE_INT32, 9, at, dims, strides, box, steps,
                              CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_NONE,
                              CU_TENSOR_MAP_L2_PROMOTION_NONE, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE));
  const cuuint64_t dims4[] = {16, 8, 8, 2}, strides4[] = {64, 512, 4096};
  const int lower[] = {0, 0}, upper[] = {0, 0};
  const cuuint32_t steps4[] = {1, 1, 1, 1};
  SHOW(cuTensorMapEncodeIm2col(&map, CU_TENSOR_MAP_DATA_TYPE_INT32, 4, at, dims4, strides4, lower,
                               upper, 16, 8, steps4, CU_TENSOR_MAP_INTERLEAVE_NONE,
                               CU_TENSOR_MAP_SWIZZLE_NONE, CU_TENSOR_MAP_L2_PROMOTION_NONE,
                               CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE));
  SHOW(cuTensorMapEncodeIm2colWide(
      &map, CU_TENSOR_MAP_DATA_TYPE_INT32, 4, at, dims4, strides4, 0, 0, 16, 8, steps4,
      CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_IM2COL_WIDE_MODE_W, CU_TENSOR_MAP_SWIZZLE_128B,
      CU_TENSOR_MAP_L2_PROMOTION_NONE, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE));
}

// --- Whose a stream is

void contexts_of_streams() {
  CUcontext primary = nullptr, other = nullptr, got = nullptr;
  CUgreenCtx green = nullptr;
  CUstream first = nullptr, second = nullptr;
  NEED(cuCtxGetCurrent(&primary));
  NEED(cuStreamCreate(&first, CU_STREAM_DEFAULT));
  NEED(cuCtxCreate(&other, nullptr, 0, 0));
  NEED(cuStreamCreate(&second, CU_STREAM_DEFAULT));
  SHOW(cuStreamGetCtx(first, &got));
  std::printf("the first is of the %s\n", got == primary ? "primary context" : "wrong context");
  SHOW(cuStreamGetCtx(second, &got));
  std::printf("the second is of the %s\n", got == other ? "created context" : "wrong context");
  SHOW(cuStreamGetCtx(nullptr, &got));
  std::printf("the default one is of the %s\n", got == other ? "current one" : "wrong context");
  SHOW(cuStreamGetCtx_v2(first, &got, &green));
  std::printf("green: %s\n", green == nullptr ? "no" : "yes");
  SHOW(cuStreamGetGreenCtx(first, &green));
  CUexecAffinityParam affinity = {};
  SHOW(cuCtxGetExecAffinity(&affinity, CU_EXEC_AFFINITY_TYPE_SM_COUNT));
  std::printf("affinity %u\n", affinity.param.smCount.val);
  NEED(cuStreamDestroy(second));
  SHOW(cuCtxDestroy(other));
  PFN_cuCtxCreate_v11040 create = nullptr;
  CUdriverProcAddressQueryResult found;
  NEED(cuGetProcAddress("cuCtxCreate", reinterpret_cast<void**>(&create), 11040, 0, &found));
  std::printf("cuCtxCreate_v3: %s\n", name_of(create(&other, nullptr, 0, 0, 0)));
  SHOW(cuCtxDestroy(other));
  SHOW(cuStreamGetCtx(reinterpret_cast<CUstream>(0x1234560), &got));
}

// --- Captures

// Memory is allocated by another thread while this one captures.
CUresult allocate_elsewhere(CUcontext context, CUstreamCaptureMode mode) {
  CUresult result = CUDA_SUCCESS;
  std::thread([&] {
    NEED(cuCtxSetCurrent(context));
    NEED(cuThreadExchangeStreamCaptureMode(&mode));
    CUdeviceptr memory = 0;
    result = cuMemAlloc(&memory, 256);
    if (result == CUDA_SUCCESS) NEED(cuMemFree(memory));
  }).join();
  return result;
}

void capture_modes() {
  CUcontext context = nullptr;
  NEED(cuCtxGetCurrent(&context));
  CUstream stream = nullptr;
  NEED(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
  CUstreamCaptureMode mode = CU_STREAM_CAPTURE_MODE_RELAXED;
  SHOW(cuThreadExchangeStreamCaptureMode(&mode));
  std::printf("before: %d\n", int(mode));
  SHOW(cuThreadExchangeStreamCaptureMode(&mode));
  std::printf("before: %d\n", int(mode));
  mode = CUstreamCaptureMode(9);
  SHOW(cuThreadExchangeStreamCaptureMode(&mode));
  SHOW(cuThreadExchangeStreamCaptureMode(nullptr));
  for (const auto capture : {CU_STREAM_CAPTURE_MODE_GLOBAL, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL,
                             CU_STREAM_CAPTURE_MODE_RELAXED}) {
    for (const auto other : {CU_STREAM_CAPTURE_MODE_GLOBAL, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL,
                             CU_STREAM_CAPTURE_MODE_RELAXED}) {
      CUgraph graph = nullptr;
      NEED(cuStreamBeginCapture(stream, capture));
      const CUresult elsewhere = allocate_elsewhere(context, other);
      const CUresult ended = cuStreamEndCapture(stream, &graph);
      std::printf("capture %d, another thread %d: %s, %s\n", int(capture), int(other),
                  name_of(elsewhere), name_of(ended));
      if (graph != nullptr) NEED(cuGraphDestroy(graph));
    }
    CUgraph graph = nullptr;
    NEED(cuStreamBeginCapture(stream, capture));
    CUdeviceptr memory = 0;
    const CUresult here = cuMemAlloc(&memory, 256);
    const CUresult ended = cuStreamEndCapture(stream, &graph);
    std::printf("capture %d, the same thread: %s, %s\n", int(capture), name_of(here),
                name_of(ended));
    if (here == CUDA_SUCCESS) NEED(cuMemFree(memory));
    if (graph != nullptr) NEED(cuGraphDestroy(graph));
  }
  CUresult(CUDAAPI * old)(CUstream) = nullptr;
  CUdriverProcAddressQueryResult found;
  NEED(cuGetProcAddress("cuStreamBeginCapture", reinterpret_cast<void**>(&old), 10000, 0, &found));
  std::printf("without a mode: %s\n", name_of(old(stream)));
  CUgraph graph = nullptr;
  SHOW(cuStreamEndCapture(stream, &graph));
  NEED(cuGraphDestroy(graph));
  NEED(cuStreamDestroy(stream));
}

// --- Virtual memory

void physical_memory() {
  CUmemAllocationProp what = {};
  what.type = CU_MEM_ALLOCATION_TYPE_PINNED;
  what.location = {CU_MEM_LOCATION_TYPE_DEVICE, {0}};
  size_t granularity = 0;
  SHOW(cuMemGetAllocationGranularity(&granularity, &what, CU_MEM_ALLOC_GRANULARITY_MINIMUM));
  CUmemGenericAllocationHandle memory = 0, again = 0;
  SHOW(cuMemCreate(&memory, granularity, &what, 0));
  CUdeviceptr at = 0;
  SHOW(cuMemAddressReserve(&at, granularity, 0, 0, 0));
  SHOW(cuMemMap(at, granularity, 0, memory, 0));
  CUmemAccessDesc access = {what.location, CU_MEM_ACCESS_FLAGS_PROT_READWRITE};
  SHOW(cuMemSetAccess(at, granularity, &access, 1));
  SHOW(cuMemRetainAllocationHandle(&again, reinterpret_cast<void*>(at)));
  SHOW(cuMemRelease(memory));
  CUmemAllocationProp got = {};
  SHOW(cuMemGetAllocationPropertiesFromHandle(&got, again));
  std::printf("type %d\n", int(got.type));
  const int value = 77;
  int back = 0;
  SHOW(cuMemcpyHtoD(at, &value, sizeof value));
  SHOW(cuMemcpyDtoH(&back, at, sizeof back));
  unsigned long long flags = 0;
  SHOW(cuMemGetAccess(&flags, &what.location, at));
  std::printf("value %d, access %llu\n", back, flags);
  SHOW(cuMemRelease(again));
  SHOW(cuMemUnmap(at, granularity));
  SHOW(cuMemcpyDtoH(&back, at, sizeof back));
  SHOW(cuMemAddressFree(at, granularity));
  SHOW(cuMemRetainAllocationHandle(&again, reinterpret_cast<void*>(at)));

  CUmulticastObjectProp group = {};
  group.numDevices = 1;
  group.size = granularity;
  CUmemGenericAllocationHandle multicast = 0;
  SHOW(cuMulticastGetGranularity(&granularity, &group, CU_MULTICAST_GRANULARITY_MINIMUM));
  if (SHOW(cuMulticastCreate(&multicast, &group)) == CUDA_SUCCESS) {
    SHOW(cuMulticastAddDevice(multicast, 0));
    SHOW(cuMulticastBindMem(multicast, 0, memory, 0, granularity, 0));
    SHOW(cuMulticastBindAddr(multicast, 0, at, granularity, 0));
    SHOW(cuMulticastUnbind(multicast, 0, 0, granularity));
  }
  unsigned on = 1;
  Ints plain(4);
  SHOW(cuPointerSetAttribute(&on, CU_POINTER_ATTRIBUTE_SYNC_MEMOPS, plain.at()));
  SHOW(cuPointerSetAttribute(&on, CU_POINTER_ATTRIBUTE_MEMORY_TYPE, plain.at()));
}

constexpr Scenario kScenarios[] = {
    {"array_rows", array_rows},
    {"peers", peers},
    {"batches", batches},
    {"words", words},
    {"occupancy", occupancy},
    {"modules", modules},
    {"texture_references", texture_references},
    {"tensor_maps", tensor_maps},
    {"contexts_of_streams", contexts_of_streams},
    {"capture_modes", capture_modes},
    {"physical_memory", physical_memory},
};

}  // namespace

int main(int argc, char** argv) { return run_scenario(argc, argv, kScenarios); }
