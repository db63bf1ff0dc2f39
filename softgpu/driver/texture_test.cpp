// Arrays, textures and surfaces through the driver API: what may be made of what, what objects tell
// of themselves, and how long they live. What fetches give is the engine's tests' affair.
#include <bit>

#include "softgpu/driver/test_driver.h"

// References are deprecated, and tested all the same.
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

namespace farcall::softgpu {
namespace {

// fetch(texture, out, x): *out = tex2D(texture, x, 0.5).   read(out, x): the same of the reference
// `picture`.   write(value): into the surface reference `screen`, at 4.
constexpr char kPtx[] = R"(.version 7.0
.target sm_75
.address_size 64
.visible .global .texref picture;
.visible .global .surfref screen;
.visible .global .align 4 .u32 plain;
.visible .entry fetch(.param .u64 texture, .param .u64 out, .param .f32 x)
{
  .reg .b64 %t, %o; .reg .f32 %f<6>;
  ld.param.u64 %t, [texture];
  ld.param.u64 %o, [out];
  ld.param.f32 %f0, [x];
  mov.f32 %f1, 0f3F000000;
  tex.2d.v4.f32.f32 {%f2, %f3, %f4, %f5}, [%t, {%f0, %f1}];
  st.global.f32 [%o], %f2;
  ret;
}
.visible .entry fetch_linear(.param .u64 texture, .param .u64 out, .param .u32 x)
{
  .reg .b64 %t, %o; .reg .b32 %x; .reg .f32 %f<6>;
  ld.param.u64 %t, [texture];
  ld.param.u64 %o, [out];
  ld.param.u32 %x, [x];
  tex.1d.v4.f32.s32 {%f2, %f3, %f4, %f5}, [%t, {%x}];
  st.global.f32 [%o], %f2;
  ret;
}
.visible .entry read(.param .u64 out, .param .f32 x)
{
  .reg .b64 %o; .reg .f32 %f<6>;
  ld.param.u64 %o, [out];
  ld.param.f32 %f0, [x];
  mov.f32 %f1, 0f3F000000;
  tex.2d.v4.f32.f32 {%f2, %f3, %f4, %f5}, [picture, {%f0, %f1}];
  st.global.f32 [%o], %f2;
  ret;
}
.visible .entry write(.param .u32 value)
{
  .reg .b32 %v;
  ld.param.u32 %v, [value];
  sust.b.2d.b32.trap [screen, {4, 0}], {%v};
  ret;
}
)";

CUDA_ARRAY3D_DESCRIPTOR shape(size_t width, size_t height, size_t depth, unsigned flags = 0,
                              CUarray_format format = CU_AD_FORMAT_FLOAT, unsigned channels = 1) {
  CUDA_ARRAY3D_DESCRIPTOR d = {};
  d.Width = width;
  d.Height = height;
  d.Depth = depth;
  d.Format = format;
  d.NumChannels = channels;
  d.Flags = flags;
  return d;
}

class TextureTest : public DriverTest {
 protected:
  CUfunction function(const char* name) {
    if (code_ == nullptr) {
      EXPECT_EQ(cuModuleLoadData(&code_, kPtx), CUDA_SUCCESS);
    }
    CUfunction found = nullptr;
    EXPECT_EQ(cuModuleGetFunction(&found, code_, name), CUDA_SUCCESS) << name;
    return found;
  }
  static CUresult make(const CUDA_ARRAY3D_DESCRIPTOR& d) {
    CUarray array = nullptr;
    const CUresult result = cuArray3DCreate(&array, &d);
    if (result == CUDA_SUCCESS) {
      EXPECT_EQ(cuArrayDestroy(array), CUDA_SUCCESS);
    }
    return result;
  }
  static CUarray array(const CUDA_ARRAY3D_DESCRIPTOR& d) {
    CUarray made = nullptr;
    EXPECT_EQ(cuArray3DCreate(&made, &d), CUDA_SUCCESS);
    return made;
  }
  // 4 x 1 floats: 1, 2, 3, 4.
  static CUarray numbers(unsigned flags = 0) {
    CUarray made = array(shape(4, 1, 0, flags));
    const float values[] = {1, 2, 3, 4};
    EXPECT_EQ(cuMemcpyHtoA(made, 0, values, sizeof values), CUDA_SUCCESS);
    return made;
  }
  static CUDA_RESOURCE_DESC resource(CUarray made) {
    CUDA_RESOURCE_DESC d = {};
    d.resType = CU_RESOURCE_TYPE_ARRAY;
    d.res.array.hArray = made;
    return d;
  }
  static CUDA_TEXTURE_DESC sampling() {
    CUDA_TEXTURE_DESC d = {};
    d.addressMode[0] = d.addressMode[1] = d.addressMode[2] = CU_TR_ADDRESS_MODE_CLAMP;
    return d;
  }
  static CUtexObject texture(CUarray made) {
    const CUDA_RESOURCE_DESC r = resource(made);
    const CUDA_TEXTURE_DESC s = sampling();
    CUtexObject object = 0;
    EXPECT_EQ(cuTexObjectCreate(&object, &r, &s, nullptr), CUDA_SUCCESS);
    return object;
  }
  static CUresult try_texture(const CUDA_RESOURCE_DESC& r, const CUDA_TEXTURE_DESC& s,
                              const CUDA_RESOURCE_VIEW_DESC* view = nullptr) {
    CUtexObject object = 0;
    const CUresult result = cuTexObjectCreate(&object, &r, &s, view);
    if (result == CUDA_SUCCESS) {
      EXPECT_EQ(cuTexObjectDestroy(object), CUDA_SUCCESS);
    }
    return result;
  }
  float read_float(CUdeviceptr pointer) { return std::bit_cast<float>(read(pointer)); }

  CUmodule code_ = nullptr;
};

TEST_F(TextureTest, ArraysHaveTheirTablesSizes) {
  const auto good = [](const CUDA_ARRAY3D_DESCRIPTOR& d) { EXPECT_EQ(make(d), CUDA_SUCCESS); };
  const auto bad = [](const CUDA_ARRAY3D_DESCRIPTOR& d) {
    EXPECT_EQ(make(d), CUDA_ERROR_INVALID_VALUE)
        << d.Width << " x " << d.Height << " x " << d.Depth << ", " << d.Flags;
  };
  good(shape(131072, 0, 0));
  bad(shape(131073, 0, 0));
  bad(shape(0, 1, 0));
  good(shape(16, 65536, 0));
  bad(shape(16, 65537, 0));
  good(shape(2, 2, 16384));
  good(shape(2, 2, 32768));  // the other limit
  bad(shape(2, 2, 32769));
  bad(shape(16384, 2, 32768));
  bad(shape(4, 0, 4));  // no rows, and no layers either
  good(shape(4, 0, 2048, CUDA_ARRAY3D_LAYERED));
  bad(shape(4, 0, 2049, CUDA_ARRAY3D_LAYERED));
  bad(shape(4, 4, 0, CUDA_ARRAY3D_LAYERED));
  good(shape(8, 8, 6, CUDA_ARRAY3D_CUBEMAP));
  bad(shape(8, 4, 6, CUDA_ARRAY3D_CUBEMAP));
  bad(shape(8, 8, 5, CUDA_ARRAY3D_CUBEMAP));
  good(shape(8, 8, 18, CUDA_ARRAY3D_CUBEMAP | CUDA_ARRAY3D_LAYERED));
  bad(shape(8, 8, 20, CUDA_ARRAY3D_CUBEMAP | CUDA_ARRAY3D_LAYERED));
  good(shape(8, 8, 0, CUDA_ARRAY3D_TEXTURE_GATHER));
  bad(shape(8, 8, 8, CUDA_ARRAY3D_TEXTURE_GATHER));
  bad(shape(32769, 8, 0, CUDA_ARRAY3D_TEXTURE_GATHER));
  bad(shape(8, 8, 0, 0x8000));
}

TEST_F(TextureTest, ArraysHaveKnownFormats) {
  const auto made = [](CUarray_format format, unsigned channels) {
    return make(shape(8, 8, 0, 0, format, channels));
  };
  for (const CUarray_format format :
       {CU_AD_FORMAT_UNSIGNED_INT8, CU_AD_FORMAT_UNSIGNED_INT16, CU_AD_FORMAT_UNSIGNED_INT32,
        CU_AD_FORMAT_SIGNED_INT8, CU_AD_FORMAT_SIGNED_INT16, CU_AD_FORMAT_SIGNED_INT32,
        CU_AD_FORMAT_HALF, CU_AD_FORMAT_FLOAT}) {
    for (const unsigned channels : {1u, 2u, 4u}) EXPECT_EQ(made(format, channels), CUDA_SUCCESS);
    for (const unsigned channels : {0u, 3u, 5u})
      EXPECT_EQ(made(format, channels), CUDA_ERROR_INVALID_VALUE);
  }
  EXPECT_EQ(made(CU_AD_FORMAT_UNORM_INT8X4, 4), CUDA_SUCCESS);
  EXPECT_EQ(made(CU_AD_FORMAT_UNORM_INT8X4, 1), CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(made(CU_AD_FORMAT_NV12, 3), CUDA_ERROR_NOT_SUPPORTED);
  EXPECT_EQ(made(CU_AD_FORMAT_BC1_UNORM, 4), CUDA_ERROR_NOT_SUPPORTED);
  EXPECT_EQ(made(static_cast<CUarray_format>(5), 1), CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(make(shape(64, 64, 0, CUDA_ARRAY3D_SPARSE)), CUDA_ERROR_NOT_SUPPORTED);
}

TEST_F(TextureTest, ArraysSayWhatTheyAreNot) {
  CUarray flat = numbers();
  CUDA_ARRAY_SPARSE_PROPERTIES sparse;
  CUDA_ARRAY_MEMORY_REQUIREMENTS requirements;
  CUarray plane;
  EXPECT_EQ(cuArrayGetSparseProperties(&sparse, flat), CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(cuArrayGetMemoryRequirements(&requirements, flat, device_), CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(cuArrayGetPlane(&plane, flat, 0), CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(cuArrayDestroy(flat), CUDA_SUCCESS);
  EXPECT_EQ(cuArrayGetSparseProperties(&sparse, flat), CUDA_ERROR_INVALID_HANDLE);
  EXPECT_EQ(cuArrayDestroy(flat), CUDA_ERROR_INVALID_HANDLE);
}

TEST_F(TextureTest, MipmapsHaveLevelsUntilTheyEnd) {
  const CUDA_ARRAY3D_DESCRIPTOR d = shape(16, 8, 0);
  CUmipmappedArray mipmapped;
  ASSERT_EQ(cuMipmappedArrayCreate(&mipmapped, &d, 100), CUDA_SUCCESS);
  CUarray level;
  ASSERT_EQ(cuMipmappedArrayGetLevel(&level, mipmapped, 4), CUDA_SUCCESS);
  CUDA_ARRAY3D_DESCRIPTOR asked;
  ASSERT_EQ(cuArray3DGetDescriptor(&asked, level), CUDA_SUCCESS);
  EXPECT_EQ(asked.Width, 1u);
  EXPECT_EQ(asked.Height, 1u);
  EXPECT_EQ(cuMipmappedArrayGetLevel(&level, mipmapped, 5), CUDA_ERROR_INVALID_VALUE);
  ASSERT_EQ(cuMipmappedArrayGetLevel(&level, mipmapped, 1), CUDA_SUCCESS);
  EXPECT_EQ(cuArrayDestroy(level), CUDA_ERROR_INVALID_HANDLE);  // it is not the program's
  EXPECT_EQ(cuMipmappedArrayDestroy(mipmapped), CUDA_SUCCESS);
  EXPECT_EQ(cuArray3DGetDescriptor(&asked, level), CUDA_ERROR_INVALID_HANDLE);
}

TEST_F(TextureTest, ObjectsTellHowTheyWereMade) {
  CUarray made = numbers();
  const CUDA_RESOURCE_DESC r = resource(made);
  CUDA_TEXTURE_DESC s = sampling();
  s.filterMode = CU_TR_FILTER_MODE_LINEAR;
  s.maxAnisotropy = 7;
  s.borderColor[2] = 0.25f;
  CUtexObject object;
  ASSERT_EQ(cuTexObjectCreate(&object, &r, &s, nullptr), CUDA_SUCCESS);
  CUDA_RESOURCE_DESC r_asked;
  CUDA_TEXTURE_DESC s_asked;
  CUDA_RESOURCE_VIEW_DESC v_asked;
  EXPECT_EQ(cuTexObjectGetResourceDesc(&r_asked, object), CUDA_SUCCESS);
  EXPECT_EQ(std::memcmp(&r, &r_asked, sizeof r), 0);
  EXPECT_EQ(cuTexObjectGetTextureDesc(&s_asked, object), CUDA_SUCCESS);
  EXPECT_EQ(std::memcmp(&s, &s_asked, sizeof s), 0);
  EXPECT_EQ(cuTexObjectGetResourceViewDesc(&v_asked, object), CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(cuTexObjectDestroy(object), CUDA_SUCCESS);
  EXPECT_EQ(cuTexObjectGetTextureDesc(&s_asked, object), CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(cuTexObjectDestroy(object), CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(cuTexObjectDestroy(0), CUDA_ERROR_INVALID_VALUE);
}

TEST_F(TextureTest, TexturesAreChecked) {
  CUarray made = numbers();
  const CUDA_RESOURCE_DESC r = resource(made);
  const auto with = [&](auto change) {
    CUDA_TEXTURE_DESC s = sampling();
    change(s);
    return try_texture(r, s);
  };
  EXPECT_EQ(with([](auto&) {}), CUDA_SUCCESS);
  EXPECT_EQ(with([](auto& s) { s.flags = 0x8000; }), CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(with([](auto& s) { s.flags = CU_TRSF_SEAMLESS_CUBEMAP; }), CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(with([](auto& s) { s.addressMode[1] = static_cast<CUaddress_mode>(4); }),
            CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(with([](auto& s) { s.filterMode = static_cast<CUfilter_mode>(2); }),
            CUDA_ERROR_INVALID_VALUE);
  CUDA_RESOURCE_DESC wrong = r;
  wrong.flags = 1;
  EXPECT_EQ(try_texture(wrong, sampling()), CUDA_ERROR_INVALID_VALUE);
  wrong = resource(reinterpret_cast<CUarray>(uintptr_t{0x1234}));
  EXPECT_EQ(try_texture(wrong, sampling()), CUDA_ERROR_INVALID_HANDLE);
  wrong.resType = static_cast<CUresourcetype>(9);
  EXPECT_EQ(try_texture(wrong, sampling()), CUDA_ERROR_INVALID_VALUE);
}

TEST_F(TextureTest, MemoryIsChecked) {
  const CUdeviceptr memory = allocate(4096);
  CUDA_RESOURCE_DESC linear = {};
  linear.resType = CU_RESOURCE_TYPE_LINEAR;
  linear.res.linear.devPtr = memory;
  linear.res.linear.format = CU_AD_FORMAT_FLOAT;
  linear.res.linear.numChannels = 1;
  linear.res.linear.sizeInBytes = 4096;
  const auto linear_with = [&](auto change) {
    CUDA_RESOURCE_DESC r = linear;
    change(r.res.linear);
    return try_texture(r, sampling());
  };
  EXPECT_EQ(linear_with([](auto&) {}), CUDA_SUCCESS);
  EXPECT_EQ(linear_with([](auto& l) { l.devPtr += 4; }), CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(linear_with([](auto& l) { l.sizeInBytes = 3; }), CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(linear_with([](auto& l) { l.numChannels = 3; }), CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(linear_with([](auto& l) { l.devPtr = 0; }), CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(linear_with([](auto& l) { l.devPtr = 4096; }), CUDA_ERROR_INVALID_VALUE);

  CUDA_RESOURCE_DESC pitched = {};
  pitched.resType = CU_RESOURCE_TYPE_PITCH2D;
  pitched.res.pitch2D.devPtr = memory;
  pitched.res.pitch2D.format = CU_AD_FORMAT_FLOAT;
  pitched.res.pitch2D.numChannels = 1;
  pitched.res.pitch2D.width = 16;
  pitched.res.pitch2D.height = 32;
  pitched.res.pitch2D.pitchInBytes = 128;
  const auto pitched_with = [&](auto change) {
    CUDA_RESOURCE_DESC r = pitched;
    change(r.res.pitch2D);
    return try_texture(r, sampling());
  };
  EXPECT_EQ(pitched_with([](auto&) {}), CUDA_SUCCESS);
  EXPECT_EQ(pitched_with([](auto& p) { p.width = 33; }), CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(pitched_with([](auto& p) { p.height = 33; }), CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(pitched_with([](auto& p) { p.height = 0; }), CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(pitched_with([](auto& p) { p.pitchInBytes = 100; }), CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(pitched_with([](auto& p) { p.height = 65001; }), CUDA_ERROR_INVALID_VALUE);
}

TEST_F(TextureTest, ViewsKeepTheSizeOfTexels) {
  CUarray made = array(shape(8, 8, 4, CUDA_ARRAY3D_LAYERED, CU_AD_FORMAT_UNSIGNED_INT32));
  CUDA_RESOURCE_VIEW_DESC view = {};
  view.format = CU_RES_VIEW_FORMAT_FLOAT_1X32;
  view.width = view.height = 8;
  view.depth = 4;
  view.firstLayer = 1;
  view.lastLayer = 3;
  const auto with = [&](auto change) {
    CUDA_RESOURCE_VIEW_DESC v = view;
    change(v);
    return try_texture(resource(made), sampling(), &v);
  };
  EXPECT_EQ(with([](auto&) {}), CUDA_SUCCESS);
  EXPECT_EQ(with([](auto& v) { v.format = CU_RES_VIEW_FORMAT_UINT_4X8; }), CUDA_SUCCESS);
  EXPECT_EQ(with([](auto& v) { v.format = CU_RES_VIEW_FORMAT_UINT_2X8; }),
            CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(with([](auto& v) { v.format = CU_RES_VIEW_FORMAT_UNSIGNED_BC1; }),
            CUDA_ERROR_NOT_SUPPORTED);
  EXPECT_EQ(with([](auto& v) { v.width = 16; }), CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(with([](auto& v) { v.lastLayer = 4; }), CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(with([](auto& v) { v.lastMipmapLevel = 1; }), CUDA_ERROR_INVALID_VALUE);
}

TEST_F(TextureTest, SurfacesNeedArraysMadeForThem) {
  CUsurfObject surface;
  CUDA_RESOURCE_DESC r = resource(numbers());
  EXPECT_EQ(cuSurfObjectCreate(&surface, &r), CUDA_ERROR_INVALID_VALUE);
  r = resource(numbers(CUDA_ARRAY3D_SURFACE_LDST));
  ASSERT_EQ(cuSurfObjectCreate(&surface, &r), CUDA_SUCCESS);
  CUDA_RESOURCE_DESC asked;
  EXPECT_EQ(cuSurfObjectGetResourceDesc(&asked, surface), CUDA_SUCCESS);
  EXPECT_EQ(asked.res.array.hArray, r.res.array.hArray);
  EXPECT_EQ(cuTexObjectDestroy(surface), CUDA_ERROR_INVALID_VALUE);  // another kind of number
  EXPECT_EQ(cuSurfObjectDestroy(surface), CUDA_SUCCESS);
  EXPECT_EQ(cuSurfObjectDestroy(surface), CUDA_ERROR_INVALID_VALUE);
  r.resType = CU_RESOURCE_TYPE_LINEAR;
  EXPECT_EQ(cuSurfObjectCreate(&surface, &r), CUDA_ERROR_INVALID_VALUE);
}

TEST_F(TextureTest, LinearMemoryMayEndBeforeItsTexture) {
  const CUdeviceptr memory = allocate(4096), out = cell(0);
  ASSERT_EQ(cuMemsetD32(memory, std::bit_cast<uint32_t>(3.5f), 1024), CUDA_SUCCESS);
  CUDA_RESOURCE_DESC linear = {};
  linear.resType = CU_RESOURCE_TYPE_LINEAR;
  linear.res.linear = {memory, CU_AD_FORMAT_FLOAT, 1, size_t{1} << 20};
  const CUDA_TEXTURE_DESC s = sampling();
  CUtexObject object = 0;
  ASSERT_EQ(cuTexObjectCreate(&object, &linear, &s, nullptr), CUDA_SUCCESS);
  const auto at = [&](uint32_t index) {
    EXPECT_EQ(launch(function("fetch_linear"), nullptr, object, out, index), CUDA_SUCCESS);
    EXPECT_EQ(cuCtxSynchronize(), CUDA_SUCCESS);
    return read_float(out);
  };
  EXPECT_EQ(at(1023), 3.5f);
  EXPECT_EQ(at(1024), 0.0f);
  EXPECT_EQ(at(200'000), 0.0f);
  EXPECT_EQ(cuTexObjectDestroy(object), CUDA_SUCCESS);
}

// ---- life ----

TEST_F(TextureTest, WorkSubmittedBeforeStillSeesADestroyedObject) {
  const CUtexObject object = texture(numbers());
  const CUdeviceptr out = cell(0);
  CUstream s = stream(CU_STREAM_NON_BLOCKING);
  Held held(kernel("hold"), s);
  ASSERT_EQ(launch(function("fetch"), s, object, out, 2.5f), CUDA_SUCCESS);
  EXPECT_EQ(cuTexObjectDestroy(object), CUDA_SUCCESS);  // does not wait
  held.release();
  EXPECT_EQ(cuStreamSynchronize(s), CUDA_SUCCESS);
  EXPECT_EQ(read_float(out), 3);
  ASSERT_EQ(cuCtxSynchronize(), CUDA_SUCCESS);
  ASSERT_EQ(launch(function("fetch"), s, object, out, 2.5f), CUDA_SUCCESS);
  EXPECT_EQ(cuStreamSynchronize(s), CUDA_ERROR_ILLEGAL_ADDRESS);
}

TEST_F(TextureTest, AnObjectDoesNotKeepItsArray) {
  CUarray made = numbers();
  const CUtexObject object = texture(made);
  size_t before = 0, after = 0, total = 0;
  EXPECT_EQ(cuMemGetInfo(&before, &total), CUDA_SUCCESS);
  EXPECT_EQ(cuArrayDestroy(made), CUDA_SUCCESS);
  EXPECT_EQ(cuMemGetInfo(&after, &total), CUDA_SUCCESS);
  EXPECT_GT(after, before);
  ASSERT_EQ(launch(function("fetch"), nullptr, object, cell(0), 0.5f), CUDA_SUCCESS);
  EXPECT_EQ(cuCtxSynchronize(), CUDA_ERROR_ILLEGAL_ADDRESS);
}

TEST_F(TextureTest, ObjectsEndWithTheirContext) {
  const CUtexObject object = texture(numbers());
  EXPECT_EQ(cuDevicePrimaryCtxReset(device_), CUDA_SUCCESS);
  ASSERT_EQ(cuDevicePrimaryCtxRetain(&context_, device_), CUDA_SUCCESS);
  ASSERT_EQ(cuCtxSetCurrent(context_), CUDA_SUCCESS);
  EXPECT_EQ(cuTexObjectDestroy(object), CUDA_ERROR_INVALID_VALUE);
}

TEST_F(TextureTest, NumbersThatAreNoTextureAreFaultsNotReads) {
  ASSERT_EQ(launch(function("fetch"), nullptr, uint64_t{0xdeadbeef}, cell(0), 0.5f), CUDA_SUCCESS);
  EXPECT_EQ(cuCtxSynchronize(), CUDA_ERROR_ILLEGAL_ADDRESS);
}

// ---- references ----

TEST_F(TextureTest, ReferencesAreBoundByName) {
  CUfunction read_kernel = function("read");
  CUtexref reference, again;
  ASSERT_EQ(cuModuleGetTexRef(&reference, code_, "picture"), CUDA_SUCCESS);
  ASSERT_EQ(cuModuleGetTexRef(&again, code_, "picture"), CUDA_SUCCESS);
  EXPECT_EQ(reference, again);
  EXPECT_EQ(cuModuleGetTexRef(&again, code_, "plain"), CUDA_ERROR_NOT_FOUND);
  EXPECT_EQ(cuModuleGetTexRef(&again, code_, "screen"), CUDA_ERROR_NOT_FOUND);
  CUdeviceptr address;
  size_t bytes;
  EXPECT_EQ(cuModuleGetGlobal(&address, &bytes, code_, "picture"), CUDA_ERROR_NOT_FOUND);

  const CUdeviceptr out = cell(0);
  EXPECT_EQ(cuTexRefSetArray(reference, numbers(), 0), CUDA_ERROR_INVALID_VALUE);
  ASSERT_EQ(cuTexRefSetArray(reference, numbers(), CU_TRSA_OVERRIDE_FORMAT), CUDA_SUCCESS);
  ASSERT_EQ(launch(read_kernel, nullptr, out, 1.5f), CUDA_SUCCESS);
  EXPECT_EQ(read_float(out), 2);
  ASSERT_EQ(cuTexRefSetFilterMode(reference, CU_TR_FILTER_MODE_LINEAR), CUDA_SUCCESS);
  ASSERT_EQ(cuTexRefSetFlags(reference, CU_TRSF_NORMALIZED_COORDINATES), CUDA_SUCCESS);
  for (int k = 0; k < 3; ++k)
    ASSERT_EQ(cuTexRefSetAddressMode(reference, k, CU_TR_ADDRESS_MODE_WRAP), CUDA_SUCCESS);
  ASSERT_EQ(launch(read_kernel, nullptr, out, 1.0f), CUDA_SUCCESS);
  EXPECT_EQ(read_float(out), 2.5f);  // between the last and the first
  CUfilter_mode filter;
  unsigned flags;
  EXPECT_EQ(cuTexRefGetFilterMode(&filter, reference), CUDA_SUCCESS);
  EXPECT_EQ(filter, CU_TR_FILTER_MODE_LINEAR);
  EXPECT_EQ(cuTexRefGetFlags(&flags, reference), CUDA_SUCCESS);
  EXPECT_EQ(flags, unsigned{CU_TRSF_NORMALIZED_COORDINATES});

  // Memory by rows.
  const CUdeviceptr memory = allocate(512);
  const float values[] = {10, 20, 30, 40};
  ASSERT_EQ(cuMemcpyHtoD(memory, values, sizeof values), CUDA_SUCCESS);
  const CUDA_ARRAY_DESCRIPTOR flat = {4, 1, CU_AD_FORMAT_FLOAT, 1};
  ASSERT_EQ(cuTexRefSetAddress2D(reference, &flat, memory, 32), CUDA_SUCCESS);
  ASSERT_EQ(launch(read_kernel, nullptr, out, 0.5f), CUDA_SUCCESS);
  EXPECT_EQ(read_float(out), 25);
  CUdeviceptr bound;
  EXPECT_EQ(cuTexRefGetAddress(&bound, reference), CUDA_SUCCESS);
  EXPECT_EQ(bound, memory);
  CUarray none;
  EXPECT_EQ(cuTexRefGetArray(&none, reference), CUDA_ERROR_INVALID_VALUE);
  // Addresses that are not aligned come with an offset.
  size_t offset = 0;
  ASSERT_EQ(cuTexRefSetFormat(reference, CU_AD_FORMAT_FLOAT, 1), CUDA_SUCCESS);
  EXPECT_EQ(cuTexRefSetAddress(&offset, reference, memory + 8, 8), CUDA_SUCCESS);
  EXPECT_EQ(offset, 8u);
  EXPECT_EQ(cuTexRefSetAddress(nullptr, reference, memory + 8, 8), CUDA_ERROR_INVALID_VALUE);
}

TEST_F(TextureTest, AReferenceThatNothingIsBoundToIsAFault) {
  ASSERT_EQ(launch(function("read"), nullptr, cell(0), 0.5f), CUDA_SUCCESS);
  EXPECT_EQ(cuCtxSynchronize(), CUDA_ERROR_ILLEGAL_ADDRESS);
}

TEST_F(TextureTest, SurfaceReferencesAreWrittenThrough) {
  CUfunction write_kernel = function("write");
  CUsurfref reference;
  ASSERT_EQ(cuModuleGetSurfRef(&reference, code_, "screen"), CUDA_SUCCESS);
  EXPECT_EQ(cuSurfRefSetArray(reference, numbers(), 0), CUDA_ERROR_INVALID_VALUE);
  CUarray made = numbers(CUDA_ARRAY3D_SURFACE_LDST), asked;
  ASSERT_EQ(cuSurfRefSetArray(reference, made, 0), CUDA_SUCCESS);
  EXPECT_EQ(cuSurfRefGetArray(&asked, reference), CUDA_SUCCESS);
  EXPECT_EQ(asked, made);
  ASSERT_EQ(launch(write_kernel, nullptr, uint32_t{0x41200000}), CUDA_SUCCESS);
  float values[4];
  ASSERT_EQ(cuMemcpyAtoH(values, made, 0, sizeof values), CUDA_SUCCESS);
  EXPECT_THAT(values, testing::ElementsAre(1, 10, 3, 4));
}

TEST_F(TextureTest, ReferencesEndWithTheirModule) {
  CUtexref reference;
  function("read");
  ASSERT_EQ(cuModuleGetTexRef(&reference, code_, "picture"), CUDA_SUCCESS);
  EXPECT_EQ(cuModuleUnload(code_), CUDA_SUCCESS);
  EXPECT_EQ(cuTexRefSetFilterMode(reference, CU_TR_FILTER_MODE_LINEAR), CUDA_ERROR_INVALID_VALUE);
}

}  // namespace
}  // namespace farcall::softgpu
