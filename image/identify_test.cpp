// What a program hands to a driver. The wrappers are real ones: libraries built by nvcc register
// them at load, with the stand-ins for the runtime's registration functions below instead of with a
// runtime.
#include <dlfcn.h>

#include <algorithm>
#include <cstring>

#include "image/test_images.h"

namespace {
std::vector<const void*> g_registered;
void* g_handle[2];
}  // namespace

#define FARCALL_TEST_EXPORT extern "C" __attribute__((visibility("default")))
FARCALL_TEST_EXPORT void** __cudaRegisterFatBinary(void* wrapper) {
  g_registered.push_back(wrapper);
  return g_handle;
}
FARCALL_TEST_EXPORT void __cudaRegisterFatBinaryEnd(void**) {}
FARCALL_TEST_EXPORT void __cudaUnregisterFatBinary(void**) {}
FARCALL_TEST_EXPORT void __cudaRegisterVar(void**, char*, char*, const char*, int, size_t, int,
                                           int) {}
FARCALL_TEST_EXPORT void __cudaRegisterFunction(void**, const char*, char*, const char*, int, void*,
                                                void*, void*, void*, int*) {}

namespace farcall::image {
namespace {

// The wrappers a library of this name registers. The library stays loaded.
std::vector<const void*> wrappers_of(const std::string& library) {
  g_registered.clear();
  void* handle = dlopen((FARCALL_TEST_IMAGES "/" + library).c_str(), RTLD_LAZY);
  EXPECT_NE(handle, nullptr) << dlerror();
  return g_registered;
}

std::vector<std::string> kernels_in(Bytes image) {
  std::vector<std::string> names;
  const Container container = parse_or_fail(image);
  for (const Entry& entry : container.entries()) {
    const Result<Module> module = read_entry(entry);
    EXPECT_TRUE(module.ok());
    if (!module) continue;
    for (const auto& [name, kernel] : module->kernels) names.push_back(name);
  }
  std::sort(names.begin(), names.end());
  names.erase(std::unique(names.begin(), names.end()), names.end());
  return names;
}

TEST(Identify, FindsTheContainerOfAWrapper) {
  const std::vector<const void*> wrappers = wrappers_of("libplain.so");
  ASSERT_FALSE(wrappers.empty());
  std::vector<std::string> kernels;
  for (const void* wrapper : wrappers) {
    const Result<Code> code = identify(wrapper);
    ASSERT_TRUE(code.ok());
    EXPECT_EQ(code->kind, CodeKind::kWrapper);
    ASSERT_EQ(code->images.size(), 1u);
    for (const std::string& name : kernels_in(code->images[0])) kernels.push_back(name);
  }
  EXPECT_EQ(kernels, std::vector<std::string>{"small"});
}

TEST(Identify, FindsTheLinkedImageAndThePartsOfADeviceLinkedWrapper) {
  const std::vector<const void*> wrappers = wrappers_of("librdc.so");
  ASSERT_EQ(wrappers.size(), 1u);
  const Result<Code> code = identify(wrappers[0]);
  ASSERT_TRUE(code.ok());
  EXPECT_EQ(code->kind, CodeKind::kWrapper);
  ASSERT_GT(code->images.size(), 1u);
  EXPECT_EQ(kernels_in(code->images[0]), (std::vector<std::string>{"part_a", "part_b"}));
}

TEST(Identify, FindsPtxPartsBesideAnEmptyLinkedImage) {
  const std::vector<const void*> wrappers = wrappers_of("librdc-ptx.so");
  ASSERT_EQ(wrappers.size(), 1u);
  const Result<Code> code = identify(wrappers[0]);
  ASSERT_TRUE(code.ok());
  ASSERT_GT(code->images.size(), 2u);
  EXPECT_EQ(kernels_in(code->images[0]), std::vector<std::string>{});
  std::vector<std::string> kernels;
  for (const Bytes image : code->images) {
    for (const std::string& name : kernels_in(image)) kernels.push_back(name);
  }
  EXPECT_TRUE(std::ranges::count(kernels, "part_a") && std::ranges::count(kernels, "part_b"));
}

TEST(Identify, MeasuresContainersCubinsAndPtx) {
  const std::pair<const char*, CodeKind> files[] = {{"small-default.fatbin", CodeKind::kContainer},
                                                    {"kernels-75.cubin", CodeKind::kElf},
                                                    {"kernels-90.cubin", CodeKind::kElf},
                                                    {"kernels-120.cubin", CodeKind::kElf},
                                                    {"part-rdc.cubin", CodeKind::kElf},
                                                    {"small.ptx", CodeKind::kPtx}};
  for (const auto& [name, kind] : files) {
    std::vector<std::byte> bytes = read_image(name);
    const size_t size = bytes.size();
    bytes.push_back(std::byte{0});  // ends PTX; behind the others it must not count
    bytes.resize(size + 64, std::byte{0x5a});
    const Result<Code> unsized = identify(static_cast<const void*>(bytes.data()));
    ASSERT_TRUE(unsized.ok()) << name;
    EXPECT_EQ(unsized->kind, kind) << name;
    ASSERT_EQ(unsized->images.size(), 1u);
    EXPECT_EQ(unsized->images[0].data(), bytes.data()) << name;
    EXPECT_EQ(unsized->images[0].size(), size) << name;

    const Result<Code> sized = identify(Bytes(bytes));
    ASSERT_TRUE(sized.ok()) << name;
    EXPECT_EQ(sized->kind, kind) << name;
    EXPECT_EQ(sized->images[0].size(), size) << name;
  }
}

TEST(Identify, ReadsNoFurtherThanAShortTextGoes) {
  for (const char* text : {"", ".", "\x50", "\x7f",
                           "\x7f"
                           "EL",
                           "\xb1"}) {
    const std::vector<char> exact(text,
                                  text + std::strlen(text) + 1);  // a sanitizer sees an overrun
    const std::string log = logged([&] { EXPECT_EQ(identify(exact.data()).ok(), *text == '.'); });
    EXPECT_EQ(log.empty(), *text == '.') << log;
  }
}

TEST(Identify, SaysWhatIsWrong) {
  const auto complaint = [](const void* code) {
    return logged([code] { EXPECT_EQ(identify(code).status(), Status::kInvalid); });
  };
  EXPECT_THAT(complaint(nullptr), testing::HasSubstr("null pointer"));
  EXPECT_THAT(complaint("MZ"), testing::HasSubstr("starts with byte 0x4d"));

  struct {
    uint32_t magic = 0x466243b1, version = 1;
    const void* container = nullptr;
    const void* parts = nullptr;
  } wrapper;
  EXPECT_THAT(complaint(&wrapper), testing::HasSubstr("no container"));
  wrapper.version = 3;
  EXPECT_THAT(complaint(&wrapper), testing::HasSubstr("version 3"));
  wrapper.version = 1;
  const uint64_t not_a_container[2] = {0x1234, 0};
  wrapper.container = not_a_container;
  EXPECT_THAT(complaint(&wrapper), testing::HasSubstr("magic is 0x1234"));

  std::vector<std::byte> host = read_image("libplain.so");
  EXPECT_THAT(complaint(host.data()), testing::HasSubstr("not for CUDA"));
}

}  // namespace
}  // namespace farcall::image
