// What the driver API had before CUDA 4 and still has: launches of which a function keeps the
// shape and the parameters, sizes of 32 bits, contexts that are attached to. And questions about
// what arrays are not. Prints the same locally and remotely.
//
//   driver_legacy SCENARIO
#include <dlfcn.h>

#include "show.h"

#pragma GCC diagnostic ignored "-Wdeprecated-declarations"  // what this is about

namespace {

constexpr char kSource[] = R"ptx(
.version 7.8
.target sm_75
.address_size 64

.global .texref image;
.visible .global .attribute(.managed) .align 4 .u32 total = 5;

// values[block * threads + thread] += whole + part, and the last word is the shared memory's size.
.visible .entry add(.param .u64 values, .param .u32 whole, .param .f32 part)
{
    .reg .b32 %i, %t, %b, %v, %w, %s;
    .reg .f32 %f;
    .reg .b64 %at, %offset;
    ld.param.u64        %at, [values];
    cvta.to.global.u64  %at, %at;
    mov.u32             %b, %ctaid.x;
    mov.u32             %t, %ntid.x;
    mov.u32             %i, %tid.x;
    mad.lo.u32          %i, %b, %t, %i;
    mul.wide.u32        %offset, %i, 4;
    add.s64             %at, %at, %offset;
    ld.global.u32       %v, [%at];
    ld.param.u32        %w, [whole];
    add.u32             %v, %v, %w;
    ld.param.f32        %f, [part];
    cvt.rzi.u32.f32     %w, %f;
    add.u32             %v, %v, %w;
    mov.u32             %s, %dynamic_smem_size;
    add.u32             %v, %v, %s;
    st.global.u32       [%at], %v;
    ret;
}
)ptx";

void launch_state() {
  CUmodule module = nullptr;
  NEED(cuModuleLoadData(&module, kSource));
  CUfunction add = nullptr;
  NEED(cuModuleGetFunction(&add, module, "add"));
  CUtexref image = nullptr;
  NEED(cuModuleGetTexRef(&image, module, "image"));
  Ints values(8);
  values.set(std::vector<int>(8, 0));
  CUdeviceptr at = values.at();
  SHOW(cuFuncSetBlockShape(add, 2, 1, 1));
  SHOW(cuFuncSetSharedSize(add, 64));
  SHOW(cuParamSetSize(add, 16));
  SHOW(cuParamSetv(add, 0, &at, sizeof at));
  SHOW(cuParamSeti(add, 8, 10));
  SHOW(cuParamSetf(add, 12, 3.75f));
  SHOW(cuParamSetTexRef(add, CU_PARAM_TR_DEFAULT, image));
  SHOW(cuLaunch(add));
  print("one block", values.get());
  SHOW(cuLaunchGrid(add, 3, 1));
  print("three blocks", values.get());
  CUstream stream = nullptr;
  NEED(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
  SHOW(cuParamSeti(add, 8, 100));  // the rest stays as it was
  SHOW(cuFuncSetSharedSize(add, 0));
  SHOW(cuLaunchGridAsync(add, 4, 1, stream));
  SHOW(cuStreamSynchronize(stream));
  print("in a stream", values.get());
  SHOW(cuFuncSetBlockShape(add, 0, 1, 1));
  SHOW(cuFuncSetBlockShape(add, 1 << 20, 1, 1));
  SHOW(cuLaunch(add));
  SHOW(cuFuncSetBlockShape(add, 1, 1, 1));
  SHOW(cuLaunchGrid(add, 0, 1));
  SHOW(cuParamSetv(add, -4, &at, sizeof at));
  SHOW(cuParamSetv(add, 0, nullptr, 4));
  SHOW(cuParamSetSize(add, 1 << 20));
  SHOW(cuParamSetTexRef(add, 0, image));
  SHOW(cuParamSetTexRef(add, CU_PARAM_TR_DEFAULT, nullptr));
  print("refused", values.get());
  NEED(cuStreamDestroy(stream));
  NEED(cuModuleUnload(module));
  SHOW(cuParamSeti(add, 8, 1));
  SHOW(cuLaunch(add));
}

// The exported name, which cuda.h replaces by that of a later version.
template <class Function>
Function* exported(const char* name) {
  return reinterpret_cast<Function*>(dlsym(RTLD_DEFAULT, name));
}

struct SmallShape {  // CUDA_ARRAY_DESCRIPTOR_v1
  unsigned width, height;
  CUarray_format format;
  unsigned channels;
};
struct SmallBox {  // CUDA_ARRAY3D_DESCRIPTOR_v1
  unsigned width, height, depth;
  CUarray_format format;
  unsigned channels, flags;
};

void small_sizes() {
  auto* create = exported<CUresult(CUarray*, const SmallShape*)>("cuArrayCreate");
  auto* shape_of = exported<CUresult(SmallShape*, CUarray)>("cuArrayGetDescriptor");
  auto* create_3d = exported<CUresult(CUarray*, const SmallBox*)>("cuArray3DCreate");
  auto* box_of = exported<CUresult(SmallBox*, CUarray)>("cuArray3DGetDescriptor");
  auto* to_array = exported<CUresult(CUarray, unsigned, const void*, unsigned)>("cuMemcpyHtoA");
  auto* to_array_async =
      exported<CUresult(CUarray, unsigned, const void*, unsigned, CUstream)>("cuMemcpyHtoAAsync");
  auto* to_host = exported<CUresult(void*, CUarray, unsigned, unsigned)>("cuMemcpyAtoH");
  auto* to_host_async =
      exported<CUresult(void*, CUarray, unsigned, unsigned, CUstream)>("cuMemcpyAtoHAsync");
  auto* between =
      exported<CUresult(CUarray, unsigned, CUarray, unsigned, unsigned)>("cuMemcpyAtoA");
  auto* pinned = exported<CUresult(void**, unsigned)>("cuMemAllocHost");

  CUarray row = nullptr, box = nullptr;
  SmallShape shape = {8, 0, CU_AD_FORMAT_SIGNED_INT32, 1};
  SHOW(create(&row, &shape));
  shape = {};
  SHOW(shape_of(&shape, row));
  std::printf("%u x %u, format %d, %u channels\n", shape.width, shape.height, int(shape.format),
              shape.channels);
  SmallBox room = {4, 3, 2, CU_AD_FORMAT_FLOAT, 2, 0};
  SHOW(create_3d(&box, &room));
  room = {};
  SHOW(box_of(&room, box));
  std::printf("%u x %u x %u, %u channels\n", room.width, room.height, room.depth, room.channels);
  CUDA_ARRAY3D_DESCRIPTOR today = {};
  SHOW(cuArray3DGetDescriptor(&today, box));
  std::printf("depth %zu\n", today.Depth);

  int* page = nullptr;
  SHOW(pinned(reinterpret_cast<void**>(&page), 64));
  for (int i = 0; i < 16; ++i) page[i] = 200 + i;
  std::vector<int> back(8);
  SHOW(to_array(row, 0, page, 32));
  SHOW(between(row, 16, row, 0, 8));
  SHOW(to_host(back.data(), row, 0, 32));
  print("back", back);
  CUstream stream = nullptr;
  NEED(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
  SHOW(to_array_async(row, 4, page + 8, 8, stream));
  SHOW(to_host_async(page, row, 0, 32, stream));
  SHOW(cuStreamSynchronize(stream));
  std::printf("%d %d %d %d\n", page[0], page[1], page[2], page[3]);
  SHOW(create(&row, nullptr));
  SHOW(shape_of(nullptr, row));
  SHOW(box_of(&room, nullptr));
  SHOW(cuMemFreeHost(page));
  NEED(cuStreamDestroy(stream));
  NEED(cuArrayDestroy(row));
  NEED(cuArrayDestroy(box));

  // Memory does not lie where 32 bits reach.
  auto* low = exported<CUresult(unsigned*, unsigned)>("cuMemAlloc");
  unsigned address = 0;
  SHOW(low(&address, 64));
}

void contexts() {
  CUcontext primary = nullptr, made = nullptr, attached = nullptr;
  NEED(cuCtxGetCurrent(&primary));
  unsigned flags = 99;
  SHOW(cuCtxSetFlags(CU_CTX_SCHED_SPIN));
  SHOW(cuCtxGetFlags(&flags));
  std::printf("flags %u\n", flags);
  SHOW(cuCtxSetFlags(CU_CTX_SCHED_SPIN | CU_CTX_SCHED_YIELD));
  SHOW(cuCtxSetFlags(0x4000));
  NEED(cuCtxCreate(&made, nullptr, CU_CTX_SCHED_BLOCKING_SYNC, 0));
  SHOW(cuCtxGetFlags(&flags));
  std::printf("flags of the other %u\n", flags);
  SHOW(cuCtxAttach(&attached, 0));
  std::printf("%s\n", attached == made ? "the current one" : "another");
  SHOW(cuCtxAttach(&attached, 1));
  SHOW(cuCtxDetach(primary));
  SHOW(cuCtxDetach(made));
  SHOW(cuCtxSynchronize());
  SHOW(cuCtxDetach(made));
  SHOW(cuCtxDetach(made));
  CUcontext now = nullptr;
  SHOW(cuCtxGetCurrent(&now));
  std::printf("%s\n", now == primary ? "back" : "elsewhere");
  SHOW(cuCtxDetach(primary));
  SHOW(cuCtxGetFlags(&flags));
  std::printf("flags %u\n", flags);
}

// Arrays here are whole, of one plane, and have their memory from the start.
void arrays() {
  CUDA_ARRAY3D_DESCRIPTOR shape = {8, 8, 0, CU_AD_FORMAT_FLOAT, 1, 0};
  CUmipmappedArray levels = nullptr;
  CUarray array = nullptr;
  NEED(cuMipmappedArrayCreate(&levels, &shape, 2));
  NEED(cuArray3DCreate(&array, &shape));
  CUDA_ARRAY_SPARSE_PROPERTIES sparse = {};
  CUDA_ARRAY_MEMORY_REQUIREMENTS needs = {};
  SHOW(cuMipmappedArrayGetSparseProperties(&sparse, levels));
  SHOW(cuMipmappedArrayGetMemoryRequirements(&needs, levels, 0));
  CUarrayMapInfo map = {};
  map.resourceType = CU_RESOURCE_TYPE_ARRAY;
  map.resource.array = array;
  map.subresourceType = CU_ARRAY_SPARSE_SUBRESOURCE_TYPE_SPARSE_LEVEL;
  map.subresource.sparseLevel.extentWidth = 8;
  map.subresource.sparseLevel.extentHeight = map.subresource.sparseLevel.extentDepth = 1;
  map.memOperationType = CU_MEM_OPERATION_TYPE_UNMAP;
  map.memHandleType = CU_MEM_HANDLE_TYPE_GENERIC;
  map.deviceBitMask = 1;
  CUstream stream = nullptr;
  NEED(cuStreamCreate(&stream, CU_STREAM_DEFAULT));
  // An asynchronous call may tell its failure when it is waited for.
  const CUresult mapped = cuMemMapArrayAsync(&map, 1, stream);
  const CUresult waited = cuStreamSynchronize(stream);
  std::printf("cuMemMapArrayAsync: %s\n", name_of(mapped != CUDA_SUCCESS ? mapped : waited));
  NEED(cuStreamDestroy(stream));
  NEED(cuMipmappedArrayDestroy(levels));
  SHOW(cuMipmappedArrayGetSparseProperties(&sparse, levels));
  SHOW(cuMipmappedArrayGetMemoryRequirements(&needs, levels, 0));
  NEED(cuArrayDestroy(array));
}

void managed() {
  CUlibrary library = nullptr;
  NEED(cuLibraryLoadData(&library, kSource, nullptr, nullptr, 0, nullptr, nullptr, 0));
  CUdeviceptr total = 0;
  size_t bytes = 0;
  SHOW(cuLibraryGetManaged(&total, &bytes, library, "total"));
  SHOW(cuLibraryGetManaged(&total, &bytes, library, "image"));
  unsigned* const word = reinterpret_cast<unsigned*>(total);
  std::printf("%zu bytes, %u\n", bytes, *word);
  CUdeviceptr memory = 0;
  NEED(cuMemAllocManaged(&memory, 4096, CU_MEM_ATTACH_HOST));
  CUstream stream = nullptr;
  NEED(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
  *reinterpret_cast<unsigned*>(memory) = 3;
  SHOW(cuStreamAttachMemAsync(stream, memory, 0, CU_MEM_ATTACH_SINGLE));
  SHOW(cuStreamSynchronize(stream));
  SHOW(cuMemsetD32Async(memory + 4, 9, 1, stream));
  SHOW(cuStreamSynchronize(stream));
  const unsigned* const words = reinterpret_cast<const unsigned*>(memory);
  std::printf("%u %u\n", words[0], words[1]);
  SHOW(cuStreamAttachMemAsync(stream, memory, 0, 77));
  SHOW(cuStreamAttachMemAsync(stream, 0, 0, CU_MEM_ATTACH_GLOBAL));
  NEED(cuStreamDestroy(stream));
  NEED(cuMemFree(memory));
  NEED(cuLibraryUnload(library));
}

// What NVIDIA's runtime asks a driver for, by tables without names.
void tables() {
  const void* table = nullptr;
  // Of the primary contexts: its first word is its size.
  constexpr CUuuid kToolsRuntimeCallbacks = {{char(0xa0), char(0x94), char(0x79), char(0x8c), 0x2e,
                                              0x74, 0x2e, 0x74, char(0x93), char(0xf2), 0x08, 0x00,
                                              0x20, 0x0c, 0x0a, 0x66}};
  SHOW(cuGetExportTable(&table, &kToolsRuntimeCallbacks));
  std::printf("%s\n",
              table != nullptr && *static_cast<const size_t*>(table) > 8 ? "a table" : "no");
  constexpr CUuuid kUnknown = {{1, 2, 3}};
  SHOW(cuGetExportTable(&table, &kUnknown));
  SHOW(cuGetExportTable(nullptr, &kToolsRuntimeCallbacks));
}

constexpr Scenario kScenarios[] = {
    {"launch_state", launch_state}, {"small_sizes", small_sizes},
    {"contexts", contexts},         {"arrays", arrays},
    {"managed", managed},           {"tables", tables},
};

}  // namespace

int main(int argc, char** argv) { return run_scenario(argc, argv, kScenarios); }
