// Code: loading PTX, saying what is wrong with it, libraries that load lazily, kernels that stand
// for functions.
#include "image/test_objects.h"
#include "softgpu/driver/test_driver.h"

namespace farcall::softgpu {
namespace {

using testing::HasSubstr;

class ModuleTest : public DriverTest {
 protected:
  // With a log buffer of 200 bytes.
  CUresult load(const char* ptx, std::string* log, CUmodule* out) {
    char text[200] = "not written";
    CUjit_option names[] = {CU_JIT_ERROR_LOG_BUFFER, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES};
    void* values[] = {text, reinterpret_cast<void*>(sizeof(text))};
    const CUresult result = cuModuleLoadDataEx(out, ptx, 2, names, values);
    *log = text;
    EXPECT_EQ(reinterpret_cast<size_t>(values[1]), log->size());
    return result;
  }
  // A fat binary container with one cubin entry for that SM and nothing in it that could be run.
  static std::vector<uint64_t> cubin_only(uint32_t sm) {
    std::vector<uint64_t> image(2 + 8 + 8);
    auto* bytes = reinterpret_cast<unsigned char*>(image.data());
    const auto put = [bytes](size_t at, auto value) {
      std::memcpy(bytes + at, &value, sizeof(value));
    };
    put(0, uint32_t{0xba55ed50});
    put(4, uint16_t{1});
    put(6, uint16_t{16});
    put(8, uint64_t{128});
    put(16, uint16_t{2});
    put(18, uint16_t{0x101});
    put(20, uint32_t{64});
    put(24, uint64_t{64});
    put(16 + 28, sm);
    put(16 + 40, uint64_t{1});
    return image;
  }
};

TEST_F(ModuleTest, VariablesAndFunctionsAreFoundByName) {
  CUdeviceptr fixed;
  size_t bytes = 0;
  ASSERT_EQ(cuModuleGetGlobal(&fixed, &bytes, module(), "fixed"), CUDA_SUCCESS);
  EXPECT_EQ(bytes, 4u);
  EXPECT_EQ(read(fixed), 7u);
  CUdeviceptr cells;
  ASSERT_EQ(cuModuleGetGlobal(&cells, &bytes, module(), "cells"), CUDA_SUCCESS);
  EXPECT_EQ(bytes, 16u);
  EXPECT_EQ(read(cells + 12), 0u);
  ASSERT_EQ(store(cells, 3, nullptr), CUDA_SUCCESS);
  EXPECT_EQ(read(cells), 3u);
  EXPECT_EQ(cuModuleGetGlobal(&fixed, &bytes, module(), "nothing"), CUDA_ERROR_NOT_FOUND);
  CUfunction function;
  EXPECT_EQ(cuModuleGetFunction(&function, module(), "nothing"), CUDA_ERROR_NOT_FOUND);
  const char* name;
  ASSERT_EQ(cuFuncGetName(&name, kernel("store")), CUDA_SUCCESS);
  EXPECT_STREQ(name, "store");
  unsigned count = 0;
  ASSERT_EQ(cuModuleGetFunctionCount(&count, module()), CUDA_SUCCESS);
  EXPECT_EQ(count, 8u);
}

TEST_F(ModuleTest, VariablesAreNotTheProgramsToFree) {
  CUdeviceptr fixed;
  ASSERT_EQ(cuModuleGetGlobal(&fixed, nullptr, module(), "fixed"), CUDA_SUCCESS);
  EXPECT_EQ(cuMemFree(fixed), CUDA_ERROR_INVALID_VALUE);
}

TEST_F(ModuleTest, BrokenPtxIsRefusedWithTheLine) {
  std::string log;
  CUmodule none = nullptr;
  EXPECT_EQ(
      load(".version 7.0\n.target sm_75\n.address_size 64\n.entry k()\n{\n  add.s32 %r1 %r2;\n}\n",
           &log, &none),
      CUDA_ERROR_INVALID_PTX);
  EXPECT_THAT(log, HasSubstr("line 6"));
  EXPECT_EQ(none, nullptr);
}

TEST_F(ModuleTest, AnInstructionThatIsNotThereIsNamed) {
  std::string log;
  CUmodule none = nullptr;
  EXPECT_EQ(load(".version 8.0\n.target sm_90a\n.address_size 64\n.entry k()\n{\n"
                 "  wgmma.fence.sync.aligned;\n}\n",
                 &log, &none),
            CUDA_ERROR_NOT_SUPPORTED);
  EXPECT_THAT(log, HasSubstr("line 6"));
  EXPECT_THAT(log, HasSubstr("wgmma.fence"));
}

TEST_F(ModuleTest, WhatIsNoImageIsRefused) {
  CUmodule none = nullptr;
  const uint64_t junk[8] = {0x1234567812345678};
  EXPECT_EQ(cuModuleLoadData(&none, junk), CUDA_ERROR_INVALID_IMAGE);
  EXPECT_EQ(cuModuleLoad(&none, "/nowhere/at/all.ptx"), CUDA_ERROR_FILE_NOT_FOUND);
}

TEST_F(ModuleTest, AnImageWithoutPtxHasNoBinary) {
  CUmodule none = nullptr;
  const std::vector<uint64_t> image = cubin_only(90);
  EXPECT_EQ(cuModuleLoadData(&none, image.data()), CUDA_ERROR_NO_BINARY_FOR_GPU);
}

TEST_F(ModuleTest, ALibraryWithoutPtxLoadsAndItsKernelsDoNot) {
  const std::vector<uint64_t> image = cubin_only(90);
  CUlibrary library;
  ASSERT_EQ(cuLibraryLoadData(&library, image.data(), nullptr, nullptr, 0, nullptr, nullptr, 0),
            CUDA_SUCCESS);
  CUkernel kernel;
  EXPECT_EQ(cuLibraryGetKernel(&kernel, library, "k"), CUDA_ERROR_NO_BINARY_FOR_GPU);
  EXPECT_EQ(cuLibraryUnload(library), CUDA_SUCCESS);
}

TEST_F(ModuleTest, ALibraryNeedsNoContextUntilItIsUsed) {
  ASSERT_EQ(cuCtxSetCurrent(nullptr), CUDA_SUCCESS);
  CUlibrary library;
  // An option without its value is what one of NVIDIA's libraries passes.
  CUlibraryOption option = CU_LIBRARY_BINARY_IS_PRESERVED;
  ASSERT_EQ(cuLibraryLoadData(&library, kTestPtx, nullptr, nullptr, 0, &option, nullptr, 1),
            CUDA_SUCCESS);
  CUkernel store;
  ASSERT_EQ(cuLibraryGetKernel(&store, library, "store"), CUDA_SUCCESS);
  EXPECT_EQ(cuLibraryGetKernel(&store, library, "nothing"), CUDA_ERROR_NOT_FOUND);
  size_t offset = 0, bytes = 0;
  EXPECT_EQ(cuKernelGetParamInfo(store, 1, &offset, &bytes), CUDA_SUCCESS);
  EXPECT_EQ(offset, 8u);
  EXPECT_EQ(bytes, 4u);
  EXPECT_EQ(cuKernelGetParamInfo(store, 2, &offset, &bytes), CUDA_ERROR_INVALID_VALUE);
  unsigned count = 0;
  EXPECT_EQ(cuLibraryGetKernelCount(&count, library), CUDA_SUCCESS);
  EXPECT_EQ(count, 8u);
  CUfunction function;
  EXPECT_EQ(cuKernelGetFunction(&function, store), CUDA_ERROR_INVALID_CONTEXT);
  EXPECT_EQ(cuCtxSetCurrent(context_), CUDA_SUCCESS);
  EXPECT_EQ(cuKernelGetFunction(&function, store), CUDA_SUCCESS);
}

TEST_F(ModuleTest, AKernelIsAFunctionWhereverOneIsWanted) {
  CUlibrary library;
  ASSERT_EQ(cuLibraryLoadData(&library, kTestPtx, nullptr, nullptr, 0, nullptr, nullptr, 0),
            CUDA_SUCCESS);
  CUkernel kernel;
  ASSERT_EQ(cuLibraryGetKernel(&kernel, library, "store"), CUDA_SUCCESS);
  const auto as_function = reinterpret_cast<CUfunction>(kernel);
  const CUdeviceptr target = cell(0);
  ASSERT_EQ(launch(as_function, nullptr, target, uint32_t{6}), CUDA_SUCCESS);
  EXPECT_EQ(read(target), 6u);
  int value = 0;
  EXPECT_EQ(cuFuncGetAttribute(&value, CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK, as_function),
            CUDA_SUCCESS);
  EXPECT_EQ(value, 1024);
  EXPECT_EQ(cuOccupancyMaxActiveBlocksPerMultiprocessor(&value, as_function, 128, 0), CUDA_SUCCESS);
  EXPECT_GT(value, 0);
  CUdeviceptr fixed;
  ASSERT_EQ(cuLibraryGetGlobal(&fixed, nullptr, library, "fixed"), CUDA_SUCCESS);
  EXPECT_EQ(read(fixed), 7u);
  ASSERT_EQ(cuLibraryUnload(library), CUDA_SUCCESS);
  EXPECT_EQ(launch(as_function, nullptr, target, uint32_t{6}), CUDA_ERROR_INVALID_HANDLE);
  EXPECT_EQ(cuMemcpyDtoH(&value, fixed, 4), CUDA_ERROR_INVALID_VALUE);
}

TEST_F(ModuleTest, ALibrarySurvivesAResetAndItsVariablesAreNew) {
  CUlibrary library;
  ASSERT_EQ(cuLibraryLoadData(&library, kTestPtx, nullptr, nullptr, 0, nullptr, nullptr, 0),
            CUDA_SUCCESS);
  CUkernel kernel;
  ASSERT_EQ(cuLibraryGetKernel(&kernel, library, "store"), CUDA_SUCCESS);
  CUdeviceptr fixed;
  ASSERT_EQ(cuLibraryGetGlobal(&fixed, nullptr, library, "fixed"), CUDA_SUCCESS);
  ASSERT_EQ(launch(reinterpret_cast<CUfunction>(kernel), nullptr, fixed, uint32_t{1}),
            CUDA_SUCCESS);
  EXPECT_EQ(read(fixed), 1u);
  ASSERT_EQ(cuDevicePrimaryCtxReset(device_), CUDA_SUCCESS);
  EXPECT_EQ(cuLibraryGetGlobal(&fixed, nullptr, library, "fixed"), CUDA_ERROR_CONTEXT_IS_DESTROYED);
  ASSERT_EQ(cuDevicePrimaryCtxRetain(&context_, device_), CUDA_SUCCESS);
  ASSERT_EQ(cuLibraryGetGlobal(&fixed, nullptr, library, "fixed"), CUDA_SUCCESS);
  EXPECT_EQ(read(fixed), 7u);
  ASSERT_EQ(launch(reinterpret_cast<CUfunction>(kernel), nullptr, fixed, uint32_t{2}),
            CUDA_SUCCESS);
  EXPECT_EQ(read(fixed), 2u);
}

TEST_F(ModuleTest, AnUnloadedModuleGivesItsMemoryBack) {
  size_t before = 0, after = 0, total;
  ASSERT_EQ(cuMemGetInfo(&before, &total), CUDA_SUCCESS);
  CUfunction function = kernel("store");
  ASSERT_EQ(cuMemGetInfo(&after, &total), CUDA_SUCCESS);
  EXPECT_LT(after, before);
  ASSERT_EQ(cuModuleUnload(module_), CUDA_SUCCESS);
  EXPECT_EQ(cuModuleUnload(module_), CUDA_ERROR_INVALID_HANDLE);
  EXPECT_EQ(launch(function, nullptr, CUdeviceptr{0}, 0u), CUDA_ERROR_INVALID_HANDLE);
  ASSERT_EQ(cuMemGetInfo(&after, &total), CUDA_SUCCESS);
  EXPECT_EQ(after, before);
}

TEST_F(ModuleTest, TextsAreLinked) {
  const char* caller =
      ".version 7.0\n.target sm_75\n.address_size 64\n"
      ".extern .func (.param .b32 out) twice(.param .b32 in);\n"
      ".visible .entry call(.param .u64 cell_p)\n{\n  .reg .b32 %v;\n  .reg .b64 %a;\n"
      "  ld.param.u64 %a, [cell_p];\n  ld.u32 %v, [%a];\n"
      "  {\n    .param .b32 in;\n    .param .b32 out;\n    st.param.b32 [in], %v;\n"
      "    call.uni (out), twice, (in);\n    ld.param.b32 %v, [out];\n  }\n"
      "  st.u32 [%a], %v;\n  ret;\n}\n";
  const char* callee =
      ".version 7.0\n.target sm_75\n.address_size 64\n"
      ".visible .func (.param .b32 out) twice(.param .b32 in)\n{\n  .reg .b32 %v;\n"
      "  ld.param.b32 %v, [in];\n  add.s32 %v, %v, %v;\n  st.param.b32 [out], %v;\n  ret;\n}\n";
  CUlinkState state;
  ASSERT_EQ(cuLinkCreate(0, nullptr, nullptr, &state), CUDA_SUCCESS);
  for (const char* text : {caller, callee}) {
    ASSERT_EQ(cuLinkAddData(state, CU_JIT_INPUT_PTX, const_cast<char*>(text), std::strlen(text) + 1,
                            "text", 0, nullptr, nullptr),
              CUDA_SUCCESS);
  }
  void* linked;
  size_t bytes;
  ASSERT_EQ(cuLinkComplete(state, &linked, &bytes), CUDA_SUCCESS);
  CUmodule module;
  ASSERT_EQ(cuModuleLoadData(&module, linked), CUDA_SUCCESS);
  ASSERT_EQ(cuLinkDestroy(state), CUDA_SUCCESS);
  CUfunction call;
  ASSERT_EQ(cuModuleGetFunction(&call, module, "call"), CUDA_SUCCESS);
  const CUdeviceptr target = cell(21);
  ASSERT_EQ(launch(call, nullptr, target), CUDA_SUCCESS);
  EXPECT_EQ(read(target), 42u);
  // The caller alone lacks something.
  CUmodule none;
  EXPECT_EQ(cuModuleLoadData(&none, caller), CUDA_ERROR_INVALID_PTX);
}

// Of a library the members that something wants, and what these want; a member that nobody wants
// may be of any kind.
TEST_F(ModuleTest, LibrariesGiveWhatIsWanted) {
  const std::string header = ".version 7.0\n.target sm_75\n.address_size 64\n";
  const std::string caller =
      header +
      ".extern .global .u32 addend;\n.extern .func (.param .b32 out) twice(.param .b32 in);\n"
      ".visible .entry call(.param .u64 p) { .reg .b32 %v, %w; .reg .b64 %a;\n"
      " .param .b32 in, out; ld.param.u64 %a, [p]; ld.u32 %v, [%a]; st.param.b32 [in], %v;\n"
      " call (out), twice, (in); ld.param.b32 %v, [out]; ld.global.u32 %w, [addend];\n"
      " add.u32 %v, %v, %w; st.u32 [%a], %v; ret; }\n";
  const std::string twice =
      header +
      ".extern .func (.param .b32 out) sum(.param .b32 a, .param .b32 b);\n"
      ".visible .func (.param .b32 out) twice(.param .b32 in) { .reg .b32 %v;\n"
      " .param .b32 a, b, r; ld.param.b32 %v, [in]; st.param.b32 [a], %v; st.param.b32 [b], %v;\n"
      " call (r), sum, (a, b); ld.param.b32 %v, [r]; st.param.b32 [out], %v; ret; }\n";
  const std::string sum =
      header +
      ".visible .func (.param .b32 out) sum(.param .b32 a, .param .b32 b) { .reg .b32 %v, %w;\n"
      " ld.param.b32 %v, [a]; ld.param.b32 %w, [b]; add.u32 %v, %v, %w;\n"
      " st.param.b32 [out], %v; ret; }\n";
  const std::string unwanted = header + ".visible .entry other() { frobnicate.b32 1; }\n";
  auto object = [](const std::string& text) {
    return image::object_of("__nv_relfatbin", {image::container_of(text)});
  };
  std::string library = image::archive_of({object(unwanted), object(sum), object(twice)});
  std::string data = object(header + ".visible .global .u32 addend = 100;\n");
  std::string text = caller;
  CUlinkState state;
  ASSERT_EQ(cuLinkCreate(0, nullptr, nullptr, &state), CUDA_SUCCESS);
  ASSERT_EQ(cuLinkAddData(state, CU_JIT_INPUT_LIBRARY, library.data(), library.size(), "library", 0,
                          nullptr, nullptr),
            CUDA_SUCCESS);
  ASSERT_EQ(cuLinkAddData(state, CU_JIT_INPUT_OBJECT, data.data(), data.size(), "data", 0, nullptr,
                          nullptr),
            CUDA_SUCCESS);
  ASSERT_EQ(cuLinkAddData(state, CU_JIT_INPUT_PTX, text.data(), text.size() + 1, "text", 0, nullptr,
                          nullptr),
            CUDA_SUCCESS);
  void* linked;
  ASSERT_EQ(cuLinkComplete(state, &linked, nullptr), CUDA_SUCCESS);
  CUmodule module;
  ASSERT_EQ(cuModuleLoadData(&module, linked), CUDA_SUCCESS);
  CUfunction call;
  ASSERT_EQ(cuModuleGetFunction(&call, module, "call"), CUDA_SUCCESS);
  const CUdeviceptr target = cell(21);
  ASSERT_EQ(launch(call, nullptr, target), CUDA_SUCCESS);
  EXPECT_EQ(read(target), 142u);
  std::string garbage = "garbage";
  EXPECT_EQ(cuLinkAddData(state, CU_JIT_INPUT_LIBRARY, garbage.data(), garbage.size(), "garbage", 0,
                          nullptr, nullptr),
            CUDA_ERROR_INVALID_IMAGE);
  std::string empty = image::object_of(".text", {"code"});
  EXPECT_EQ(cuLinkAddData(state, CU_JIT_INPUT_OBJECT, empty.data(), empty.size(), "empty", 0,
                          nullptr, nullptr),
            CUDA_ERROR_NO_BINARY_FOR_GPU);
  ASSERT_EQ(cuLinkDestroy(state), CUDA_SUCCESS);
}

}  // namespace
}  // namespace farcall::softgpu
