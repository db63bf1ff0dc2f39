// The tables as NVIDIA's runtime uses them: by UUID and slot number.
#include "driverabi/private_tables.h"

#include <gtest/gtest.h>
#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "driverabi/md2.h"

namespace farcall::driverabi {
namespace {

const char* const kCudart = "6bd5fb6c-5bf4-e74a-8987-d93912fd9df9";
const char* const kHooks = "a094798c-2e74-2e74-93f2-0800200c0a66";
const char* const kTls = "42d85a81-23f6-cb47-8298-f6e78a3aecdc";
const char* const kStorage = "c693336e-1121-df11-a8c3-68f355d89593";
const char* const kChecks = "263e8860-7cd2-6143-92f6-bbd5006dfa7e";
const char* const kIntegrity = "d4082055-bde6-704b-8d34-ba123c66e1f2";
const char* const kContext = "21318c60-9714-3248-8ca6-41ff7324c8f2";
const char* const kModule = "6e163fbe-b958-444d-835c-e182aff1991e";
const char* const kUnnamed = "f8cff951-2146-8b4e-b9e2-fb469e7c0dd9";

CUuuid uuid(std::string_view text) {
  CUuuid id{};
  int n = 0;
  for (size_t i = 0; i < text.size(); i += text[i] == '-' ? 1 : 2) {
    if (text[i] == '-') continue;
    id.bytes[n++] = static_cast<char>(std::stoi(std::string(text.substr(i, 2)), nullptr, 16));
  }
  EXPECT_EQ(n, 16);
  return id;
}

// The driver under these tests: two devices, one current context per thread.
thread_local CUcontext t_current = nullptr;
const CUcontext kPrimary = reinterpret_cast<CUcontext>(0x1000),
                kOther = reinterpret_cast<CUcontext>(0x2000);
std::vector<DeviceIdentity> g_devices;
size_t g_function_count = 3;

Hooks test_hooks() {
  Hooks hooks;
  hooks.driver_version = 13000;
  hooks.primary_context = [](CUcontext* out, CUdevice device) {
    if (device != 0) return CUDA_ERROR_INVALID_DEVICE;
    *out = kPrimary;
    return CUDA_SUCCESS;
  };
  hooks.current_context = [](CUcontext* out) {
    *out = t_current;
    return CUDA_SUCCESS;
  };
  hooks.context_device = [](CUcontext context, CUdevice* out) {
    *out = context == kPrimary ? 0 : 1;
    return CUDA_SUCCESS;
  };
  hooks.context_id = [](CUcontext context, unsigned long long* out) {
    *out = reinterpret_cast<uintptr_t>(context) + 1;
    return CUDA_SUCCESS;
  };
  hooks.stream_id = [](CUcontext, CUstream stream, unsigned long long* out) {
    *out = reinterpret_cast<uintptr_t>(stream) + 2;
    return CUDA_SUCCESS;
  };
  hooks.module_functions = [](CUmodule module, std::span<CUfunction> out, size_t* count) {
    if (module == nullptr) return CUDA_ERROR_INVALID_HANDLE;
    *count = g_function_count;
    for (size_t i = 0; i < out.size(); ++i) out[i] = reinterpret_cast<CUfunction>(i + 1);
    return CUDA_SUCCESS;
  };
  hooks.load_module = [](CUmodule* out, const void* code) {
    *out = reinterpret_cast<CUmodule>(reinterpret_cast<uintptr_t>(code) + 8);
    return CUDA_SUCCESS;
  };
  hooks.device_identities = [](std::span<DeviceIdentity> out) {
    std::copy_n(g_devices.begin(), std::min(out.size(), g_devices.size()), out.begin());
    return g_devices.size();
  };
  return hooks;
}

class PrivateTables : public testing::Test {
 protected:
  void SetUp() override {
    set_hooks(test_hooks());
    t_current = nullptr;
    DeviceIdentity device{.uuid = uuid("00112233-4455-6677-8899-aabbccddeeff"),
                          .pci_domain = 0,
                          .pci_bus = 0x3b,
                          .pci_device = 0};
    g_devices = {device};
    device.pci_bus = 0x5e;
    g_devices.push_back(device);
  }

  const void* const* table(const char* id) {
    const CUuuid wanted = uuid(id);
    const void* out = nullptr;
    EXPECT_EQ(get_export_table(&out, &wanted), CUDA_SUCCESS) << id;
    return static_cast<const void* const*>(out);
  }
  template <class Function>
  Function* slot(const char* id, int number) {
    return reinterpret_cast<Function*>(const_cast<void*>(table(id)[number]));
  }
};

TEST_F(PrivateTables, StartWithTheirSizeInBytes) {
  EXPECT_GE(reinterpret_cast<size_t>(table(kCudart)[0]), 3 * sizeof(void*));
  EXPECT_GE(reinterpret_cast<size_t>(table(kHooks)[0]), 56u);
  for (const char* id : {kTls, kChecks, kIntegrity, kContext, kModule}) {
    EXPECT_EQ(reinterpret_cast<size_t>(table(id)[0]) % sizeof(void*), 0u) << id;
    EXPECT_GE(reinterpret_cast<size_t>(table(id)[0]), 3 * sizeof(void*)) << id;
  }
  EXPECT_EQ(table(kStorage)[3], nullptr);
  EXPECT_EQ(table(kCudart), table(kCudart)) << "addresses are part of the integrity check";
}

TEST_F(PrivateTables, RefusesTablesItDoesNotHave) {
  for (const char* id : {kUnnamed, "00000000-0000-0000-0000-000000000000"}) {
    const CUuuid wanted = uuid(id);
    const void* out = &wanted;
    EXPECT_EQ(get_export_table(&out, &wanted), CUDA_ERROR_INVALID_VALUE);
    EXPECT_EQ(out, nullptr);
  }
  const CUuuid wanted = uuid(kCudart);
  EXPECT_EQ(get_export_table(nullptr, &wanted), CUDA_ERROR_INVALID_VALUE);
}

TEST_F(PrivateTables, UnknownSlotsRefuseAndSaySo) {
  testing::internal::CaptureStderr();
  EXPECT_EQ(slot<CUresult()>(kContext, 17)(), CUDA_ERROR_NOT_SUPPORTED);
  const std::string log = testing::internal::GetCapturedStderr();
  EXPECT_NE(log.find("slot 17"), std::string::npos) << log;
  EXPECT_NE(log.find("TOOLS_CONTEXT"), std::string::npos) << log;
}

TEST_F(PrivateTables, CudartGivesThePrimaryContextAndLoadsModules) {
  CUcontext context = nullptr;
  EXPECT_EQ(slot<CUresult()>(kCudart, 12)(), CUDA_SUCCESS);  // by runtimes since 13.1
  auto* primary = slot<CUresult(CUcontext*, CUdevice)>(kCudart, 2);
  EXPECT_EQ(primary(&context, 0), CUDA_SUCCESS);
  EXPECT_EQ(context, kPrimary);
  EXPECT_EQ(primary(&context, 7), CUDA_ERROR_INVALID_DEVICE);

  CUmodule module = nullptr;
  const void* code = reinterpret_cast<const void*>(0x100);
  EXPECT_EQ((slot<CUresult(CUmodule*, const void*)>(kCudart, 1)(&module, code)), CUDA_SUCCESS);
  EXPECT_EQ(module, reinterpret_cast<CUmodule>(0x108));
  EXPECT_EQ((slot<CUresult(const void*, CUmodule*, void*, void*, unsigned)>(kCudart, 8)(
                code, &module, nullptr, nullptr, 0)),
            CUDA_SUCCESS);
}

TEST_F(PrivateTables, HooksGiveEnoughZeroedFlags) {
  uint32_t* flags = nullptr;
  size_t count = 0;
  slot<void(uint32_t**, size_t*)>(kHooks, 2)(&flags, &count);
  ASSERT_GE(count, 523u);
  for (size_t i = 0; i < count; ++i) ASSERT_EQ(flags[i], 0u);
  slot<void(uint32_t**, size_t*)>(kHooks, 6)(&flags, &count);
  ASSERT_GE(count, 14u);
  for (size_t i = 0; i < count; ++i) ASSERT_EQ(flags[i], 0u);
}

TEST_F(PrivateTables, TlsGivesTheCurrentContext) {
  t_current = kOther;
  CUcontext context = nullptr;
  EXPECT_EQ(slot<CUresult(CUcontext*)>(kTls, 2)(&context), CUDA_SUCCESS);
  EXPECT_EQ(context, kOther);
}

using Destructor = void(CUcontext, void*, void*);
int g_destroyed;

TEST_F(PrivateTables, StorageTakesNullForTheCurrentContextAndFailsOnAMiss) {
  auto* put = slot<CUresult(CUcontext, void*, void*, Destructor*)>(kStorage, 0);
  auto* remove = slot<CUresult(CUcontext, void*)>(kStorage, 1);
  auto* get = slot<CUresult(void**, CUcontext, void*)>(kStorage, 2);
  int key, value;
  void* found = nullptr;
  EXPECT_EQ(get(&found, nullptr, &key), CUDA_ERROR_INVALID_CONTEXT) << "no context is current";
  t_current = kPrimary;
  EXPECT_EQ(get(&found, nullptr, &key), CUDA_ERROR_INVALID_HANDLE);
  EXPECT_EQ(put(nullptr, &key, &value, nullptr), CUDA_SUCCESS);
  EXPECT_EQ(get(&found, kPrimary, &key), CUDA_SUCCESS);
  EXPECT_EQ(found, &value);
  EXPECT_EQ(get(&found, kOther, &key), CUDA_ERROR_INVALID_HANDLE);
  EXPECT_EQ(remove(nullptr, &key), CUDA_SUCCESS);
  EXPECT_EQ(remove(nullptr, &key), CUDA_ERROR_INVALID_HANDLE);

  g_destroyed = 0;
  EXPECT_EQ(put(kOther, &key, &value, [](CUcontext, void*, void*) { ++g_destroyed; }),
            CUDA_SUCCESS);
  destroy_context_storage(kPrimary);
  EXPECT_EQ(g_destroyed, 0);
  destroy_context_storage(kOther);
  EXPECT_EQ(g_destroyed, 1);
  EXPECT_EQ(get(&found, kOther, &key), CUDA_ERROR_INVALID_HANDLE);
}

TEST_F(PrivateTables, ChecksSayThatNoContextIsAWrapper) {
  uint32_t wrapped = 7;
  CUcontext inner = nullptr;
  EXPECT_EQ(
      (slot<CUresult(CUcontext, uint32_t*, CUcontext*)>(kChecks, 2)(kPrimary, &wrapped, &inner)),
      CUDA_SUCCESS);
  EXPECT_EQ(wrapped, 0u);
  EXPECT_EQ(slot<uint32_t()>(kChecks, 3)(), 0u);
}

TEST_F(PrivateTables, IntegrityAnswersTheFixedSchemes) {
  auto* ask = slot<CUresult(uint32_t, uint64_t, uint64_t*)>(kIntegrity, 1);
  uint64_t answer[2] = {};
  EXPECT_EQ(ask(13000, 1700000000, answer), CUDA_SUCCESS);
  EXPECT_EQ(answer[0], 0x3341181c03cb675cu);
  EXPECT_EQ(answer[1], 0x8ed383aa1f4cd1e8u);
  EXPECT_EQ(ask(13001, 1700000000, answer), CUDA_SUCCESS);
  EXPECT_EQ(answer[0], 0x1841181c03cb675cu);
}

// The message is put together here byte by byte, independently of the implementation's struct.
TEST_F(PrivateTables, IntegrityIsAKeyedDigestOfWhatTheDriverReports) {
  std::vector<std::byte> message;
  const auto append = [&message](uint64_t value, int bytes) {
    for (int i = 0; i < bytes; ++i) message.push_back(static_cast<std::byte>(value >> (8 * i)));
  };
  const uint64_t seconds = 1763900000;
  append(13000, 4);
  append(13002, 4);
  append(static_cast<uint64_t>(getpid()), 4);
  append(pthread_self(), 4);
  append(reinterpret_cast<uintptr_t>(table(kCudart)), 8);
  append(reinterpret_cast<uintptr_t>(table(kIntegrity)), 8);
  append(reinterpret_cast<uintptr_t>(table(kIntegrity)[1]), 8);
  append(seconds, 8);
  for (const DeviceIdentity& device : g_devices) {
    for (const char byte : device.uuid.bytes) append(static_cast<unsigned char>(byte), 1);
    append(static_cast<uint64_t>(device.pci_domain), 4);
    append(static_cast<uint64_t>(device.pci_bus), 4);
    append(static_cast<uint64_t>(device.pci_device), 4);
  }
  ASSERT_EQ(message.size(), 48u + 2 * 28u);
  const unsigned char key[16] = {0x14, 0x6a, 0xdd, 0xae, 0x53, 0xa9, 0xa7, 0x52,
                                 0xaa, 0x08, 0x41, 0x36, 0x0b, 0xf5, 0x5a, 0x9f};
  const Md2Digest expected = hmac_md2(std::as_bytes(std::span(key)), message);

  auto* ask = slot<CUresult(uint32_t, uint64_t, uint64_t*)>(kIntegrity, 1);
  uint64_t answer[2] = {};
  EXPECT_EQ(ask(13002, seconds, answer), CUDA_SUCCESS);
  EXPECT_EQ(std::memcmp(answer, expected.data(), sizeof answer), 0);
}

TEST_F(PrivateTables, IntegrityRefusesSchemesItDoesNotKnow) {
  testing::internal::CaptureStderr();
  uint64_t answer[2] = {};
  EXPECT_EQ((slot<CUresult(uint32_t, uint64_t, uint64_t*)>(kIntegrity, 1)(14003, 1, answer)),
            CUDA_ERROR_NOT_SUPPORTED);
  EXPECT_NE(testing::internal::GetCapturedStderr().find("14003"), std::string::npos);
}

TEST_F(PrivateTables, ContextTableIdentifiesContextsAndStreams) {
  t_current = kPrimary;
  CUdevice device = -1;
  EXPECT_EQ((slot<CUresult(CUcontext, CUdevice*)>(kContext, 3)(kOther, &device)), CUDA_SUCCESS);
  EXPECT_EQ(device, 1);
  unsigned long long id = 0;
  EXPECT_EQ((slot<CUresult(CUcontext, unsigned long long*)>(kContext, 4)(nullptr, &id)),
            CUDA_SUCCESS);
  EXPECT_EQ(id, 0x1001u);

  auto* inner_stream = slot<CUresult(CUcontext, CUstream, void**, int)>(kContext, 51);
  void* inner = nullptr;
  EXPECT_EQ(inner_stream(kPrimary, nullptr, &inner, 0), CUDA_SUCCESS);
  EXPECT_EQ(inner, CU_STREAM_LEGACY);
  EXPECT_EQ(inner_stream(kPrimary, nullptr, &inner, 1), CUDA_SUCCESS);
  EXPECT_EQ(inner, CU_STREAM_PER_THREAD);
  EXPECT_EQ(inner_stream(kPrimary, reinterpret_cast<CUstream>(0x40), &inner, 0), CUDA_SUCCESS);
  EXPECT_EQ(
      (slot<CUresult(CUcontext, void*, unsigned long long*)>(kContext, 39)(kPrimary, inner, &id)),
      CUDA_SUCCESS);
  EXPECT_EQ(id, 0x42u);
}

TEST_F(PrivateTables, ModuleTableVisitsEachFunctionAndReturnsTheirCount) {
  auto* each = slot<int(CUcontext, CUmodule, void (*)(void*, CUfunction), void*)>(kModule, 7);
  std::vector<CUfunction> seen;
  const auto remember = [](void* user, CUfunction function) {
    static_cast<std::vector<CUfunction>*>(user)->push_back(function);
  };
  EXPECT_EQ(each(kPrimary, reinterpret_cast<CUmodule>(1), remember, &seen), 3);
  EXPECT_EQ(seen.size(), 3u);
  EXPECT_EQ(seen[2], reinterpret_cast<CUfunction>(3));
  EXPECT_EQ(each(kPrimary, nullptr, remember, &seen), 0);
}

// Its own process, as there is no way back.
using PrivateTablesDeathTest = PrivateTables;
TEST_F(PrivateTablesDeathTest, EverythingIsDeinitialisedAfterTheEnd) {
  t_current = kPrimary;
  auto* put = slot<CUresult(CUcontext, void*, void*, Destructor*)>(kStorage, 0);
  auto* remove = slot<CUresult(CUcontext, void*)>(kStorage, 1);
  auto* get = slot<CUresult(void**, CUcontext, void*)>(kStorage, 2);
  auto* tls = slot<CUresult(CUcontext*)>(kTls, 2);
  const auto run = [&] {
    int key;
    void* value;
    CUcontext context;
    if (put(nullptr, &key, &key, nullptr) != CUDA_SUCCESS) _exit(1);
    deinitialise();
    if (get(&value, nullptr, &key) != CUDA_ERROR_DEINITIALIZED) _exit(2);
    if (remove(nullptr, &key) != CUDA_ERROR_DEINITIALIZED) _exit(3);
    if (tls(&context) != CUDA_ERROR_DEINITIALIZED) _exit(4);
    const CUuuid id = uuid(kCudart);
    const void* out = nullptr;
    if (get_export_table(&out, &id) != CUDA_ERROR_DEINITIALIZED) _exit(5);
    _exit(0);
  };
  EXPECT_EXIT(run(), testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace farcall::driverabi
