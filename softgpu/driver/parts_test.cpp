// The driver's parts that need no device: configuration, ranges, the scheduler, device memory, JIT
// options.
#define __CUDA_API_VERSION_INTERNAL
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <thread>

#include "softgpu/driver/config.h"
#include "softgpu/driver/device_memory.h"
#include "softgpu/driver/jit_options.h"
#include "softgpu/driver/library_views.h"
#include "softgpu/driver/memory_map.h"
#include "softgpu/driver/range_allocator.h"
#include "softgpu/driver/scheduler.h"
#include "softgpu/driver/select_ptx.h"

namespace farcall::softgpu {
namespace {

std::map<std::string, std::string> environment;
const char* lookup(const char* name) {
  auto found = environment.find(name);
  return found == environment.end() ? nullptr : found->second.c_str();
}

TEST(Config, UnitsAndNonsense) {
  environment = {{"FARCALL_SOFTGPU_MEMORY", "512M"}, {"FARCALL_SOFTGPU_DEVICES", "2"}};
  EXPECT_EQ(read_config(lookup).memory_bytes, size_t{512} << 20);
  environment["FARCALL_SOFTGPU_MEMORY"] = "2GiB";
  EXPECT_EQ(read_config(lookup).memory_bytes, size_t{2} << 30);
  environment["FARCALL_SOFTGPU_MEMORY"] = "1073741824";
  EXPECT_EQ(read_config(lookup).memory_bytes, size_t{1} << 30);
  const Config standard;
  for (const char* nonsense : {"", "G", "-1", "1X", "99999999T", "1"}) {
    environment["FARCALL_SOFTGPU_MEMORY"] = nonsense;
    EXPECT_EQ(read_config(lookup).memory_bytes, standard.memory_bytes) << nonsense;
  }
  environment["FARCALL_SOFTGPU_CC"] = "9.0";
  EXPECT_EQ(read_config(lookup).sm, 90);
  for (const char* nonsense : {"9", "9.", ".1", "9.10", "nine"}) {
    environment["FARCALL_SOFTGPU_CC"] = nonsense;
    EXPECT_EQ(read_config(lookup).sm, standard.sm) << nonsense;
  }
  environment["FARCALL_SOFTGPU_DEVICES"] = "17";
  EXPECT_EQ(read_config(lookup).devices, 1);
}

TEST(Config, LibrariesMaySeeAnotherComputeCapability) {
  environment.clear();
  ASSERT_EQ(read_config(lookup).library_views.size(), 1u);
  EXPECT_EQ(read_config(lookup).library_views[0].library, "libcublasLt");
  environment["FARCALL_SOFTGPU_CC"] = "8.0";
  EXPECT_TRUE(read_config(lookup).library_views.empty());
  environment["FARCALL_SOFTGPU_CC_OF"] = "libone=9.0,libtwo=7.5";
  const std::vector<LibraryView> views = read_config(lookup).library_views;
  ASSERT_EQ(views.size(), 2u);
  EXPECT_EQ(views[1].library, "libtwo");
  EXPECT_EQ(views[1].sm, 75);
  environment["FARCALL_SOFTGPU_CC"] = "12.1";
  environment["FARCALL_SOFTGPU_CC_OF"] = "";
  EXPECT_TRUE(read_config(lookup).library_views.empty());
  for (const char* nonsense : {"=9.0", "libone", "libone=", "libone=9", "libone=9.0,x"}) {
    environment["FARCALL_SOFTGPU_CC_OF"] = nonsense;
    EXPECT_EQ(read_config(lookup).library_views.size(), 1u) << nonsense;
  }
}

TEST(LibraryViews, AreForCallersInThatLibraryAlone) {
  const std::vector<LibraryView> views = {{"libgtest", 75}, {"libc", 90}};
  const auto* in_libc = reinterpret_cast<const void*>(&strtol);
  const auto* here = reinterpret_cast<const void*>(&lookup);
  EXPECT_EQ(sm_seen_by(in_libc, 121, views), 90);
  EXPECT_EQ(sm_seen_by(in_libc, 121, {}), 121);
  EXPECT_EQ(sm_seen_by(here, 121, views), 121);
  EXPECT_EQ(sm_seen_by(nullptr, 121, views), 121);
}

TEST(RangeAllocator, TakesAlignedRangesThatDoNotOverlapAndMergesWhatComesBack) {
  RangeAllocator ranges;
  ranges.give(1000, 1000);
  const auto a = ranges.take(100, 1), b = ranges.take(100, 64), c = ranges.take(500, 1);
  ASSERT_TRUE(a && b && c);
  EXPECT_EQ(*b % 64, 0u);
  EXPECT_GE(*b, *a + 100);
  EXPECT_EQ(ranges.take(400, 1), std::nullopt);
  ranges.give(*b, 100);
  ranges.give(*a, 100);
  ranges.give(*c, 500);
  EXPECT_EQ(ranges.take(1000, 1), 1000u);
  EXPECT_EQ(ranges.take(1, 1), std::nullopt);
}

TEST(RangeAllocator, DoesNotReuseAnAddressSoon) {
  RangeAllocator ranges;
  ranges.give(0x1000, 0x10000);
  const auto first = ranges.take(0x100, 1);
  ranges.give(*first, 0x100);
  for (int i = 0; i < 100; ++i) {
    const auto next = ranges.take(0x100, 1);
    EXPECT_NE(next, first);
    ranges.give(*next, 0x100);
  }
}

TEST(MemoryMap, FindsRegionsByAnyOfTheirAddresses) {
  MemoryMap map;
  Region region;
  region.base = 1000;
  region.bytes = 10;
  EXPECT_TRUE(map.insert(region));
  EXPECT_FALSE(map.insert(region));
  region.base = 1009;
  EXPECT_FALSE(map.insert(region));
  region.base = 1010;
  EXPECT_TRUE(map.insert(region));
  EXPECT_FALSE(map.find(999));
  EXPECT_EQ(map.find(1009)->base, 1000u);
  EXPECT_EQ(map.find(1010)->base, 1010u);
  EXPECT_NE(map.find(1009)->id, map.find(1010)->id);
  EXPECT_TRUE(map.find_overlap(990, 11));
  EXPECT_FALSE(map.find_overlap(990, 10));
  EXPECT_TRUE(map.remove(1000));
  EXPECT_FALSE(map.remove(1000));
}

TEST(MemoryMap, KernelsSeeTheirDeviceAndTheHostAndEnabledPeers) {
  MemoryMap map;
  Region device, host;
  device.base = 1000;
  device.bytes = host.bytes = 100;
  device.device = 1;
  host.base = 2000;
  host.kind = Region::Kind::kRegistered;
  ASSERT_TRUE(map.insert(device));
  ASSERT_TRUE(map.insert(host));
  EXPECT_TRUE(map.kernel_visible(1, 1000, 100));
  EXPECT_FALSE(map.kernel_visible(1, 1000, 101));
  EXPECT_FALSE(map.kernel_visible(0, 1000, 1));
  EXPECT_TRUE(map.kernel_visible(0, 2099, 1));
  EXPECT_FALSE(map.kernel_visible(0, 2100, 1));
  map.enable_peer(0, 1, true);
  EXPECT_TRUE(map.kernel_visible(0, 1000, 1));
  map.enable_peer(0, 1, false);
  EXPECT_FALSE(map.kernel_visible(0, 1000, 1));  // also right after it was true
  ASSERT_TRUE(map.remove(2000));
  EXPECT_FALSE(map.kernel_visible(0, 2099, 1));
}

TEST(DeviceMemory, IsChargedExactlyAndGivenBack) {
  MemoryMap map;
  DeviceMemory memory(map, 0, 1 << 20);
  ASSERT_EQ(memory.capacity(), size_t{1} << 20);
  Region region;
  const uint64_t a = memory.allocate_region(1, region), b = memory.allocate_region(1000, region);
  EXPECT_EQ(memory.used(), 512u + 1024u);
  EXPECT_TRUE(memory.owns(a));
  EXPECT_EQ(memory.allocate_region(1 << 20, region), 0u);
  std::memset(reinterpret_cast<void*>(b), 1, 1000);
  EXPECT_TRUE(memory.free_region(a));
  EXPECT_FALSE(memory.free_region(a));
  EXPECT_FALSE(memory.free_region(b + 1));
  EXPECT_TRUE(memory.free_region(b));
  EXPECT_EQ(memory.used(), 0u);
  region.kind = Region::Kind::kManaged;  // beyond the capacity: the host's
  const uint64_t managed = memory.allocate_region(2 << 20, region, 4096);
  EXPECT_EQ(managed % 4096, 0u);
  EXPECT_EQ(memory.used(), 0u);
}

TEST(DeviceMemory, ManyAllocationsStayWithinTheHostsLimits) {
  MemoryMap map;
  DeviceMemory memory(map, 0, size_t{1} << 30);
  std::vector<uint64_t> all;
  for (int i = 0; i < 60'000; ++i) {
    const uint64_t address = memory.allocate_region(100, {});
    ASSERT_NE(address, 0u) << i;
    *reinterpret_cast<int*>(address) = i;
    all.push_back(address);
  }
  for (int i = 0; i < 60'000; ++i) {
    ASSERT_EQ(*reinterpret_cast<int*>(all[i]), i);
    ASSERT_TRUE(memory.free_region(all[i]));
  }
  EXPECT_EQ(memory.used(), 0u);
}

// ------------------------------------------------------------------ the scheduler

Scheduler& scheduler() {
  static Scheduler& instance = *new Scheduler;  // its threads never end
  return instance;
}

TEST(Scheduler, RunsAfterEverythingItShould) {
  std::atomic<int> done = 0;
  std::atomic<bool> go = false;
  const OperationRef blocker = scheduler().submit([&go] { go.wait(false); }, {});
  std::vector<OperationRef> middle;
  for (int i = 0; i < 20; ++i)
    middle.push_back(scheduler().submit([&done] { ++done; }, {&blocker, 1}));
  int seen = -1;
  const OperationRef last = scheduler().submit([&] { seen = done; }, middle);
  const OperationRef marker = scheduler().submit(nullptr, {&last, 1});
  EXPECT_FALSE(marker->done());
  EXPECT_EQ(done, 0);
  go = true;
  go.notify_all();
  marker->wait();
  EXPECT_EQ(seen, 20);
  EXPECT_GE(marker->finished_at(), last->finished_at());
}

TEST(Scheduler, AMarkerWithNothingBeforeItIsDoneAtOnce) {
  EXPECT_TRUE(scheduler().submit(nullptr, {})->done());
  const OperationRef nothing[] = {nullptr};
  EXPECT_TRUE(scheduler().submit(nullptr, nothing)->done());
}

TEST(Scheduler, BlockedOperationsDoNotKeepOthersFromRunning) {
  std::atomic<bool> go = false;
  std::vector<OperationRef> blocked;
  for (int i = 0; i < 30; ++i) blocked.push_back(scheduler().submit([&go] { go.wait(false); }, {}));
  scheduler().submit([&go] { go = true, go.notify_all(); }, {})->wait();
  for (const OperationRef& operation : blocked) operation->wait();
}

TEST(Scheduler, ALongChainNeedsNoDeepStack) {
  OperationRef last;
  std::atomic<bool> go = false;
  int count = 0;
  last = scheduler().submit([&go] { go.wait(false); }, {});
  for (int i = 0; i < 200'000; ++i) {
    last = i % 2 == 0 ? scheduler().submit([&count] { ++count; }, {&last, 1})
                      : scheduler().submit(nullptr, {&last, 1});
  }
  go = true;
  go.notify_all();
  last->wait();
  EXPECT_EQ(count, 100'000);
}

TEST(Scheduler, AClaimedOperationIsDoneWhenItsOwnerSaysSo) {
  const OperationRef claimed = scheduler().claim();
  bool ran = false;
  const OperationRef next = scheduler().submit([&ran] { ran = true; }, {&claimed, 1});
  std::this_thread::sleep_for(std::chrono::milliseconds(5));
  EXPECT_FALSE(next->done());
  scheduler().complete(claimed);
  next->wait();
  EXPECT_TRUE(ran);
}

// ------------------------------------------------------------------ JIT options and linked texts

TEST(JitOptions, LogsAreCutToTheBuffer) {
  char text[10];
  CUjit_option names[] = {CU_JIT_TARGET, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES,
                          CU_JIT_ERROR_LOG_BUFFER};
  void* values[] = {nullptr, reinterpret_cast<void*>(sizeof(text)), text};
  JitOptions options;
  ASSERT_EQ(JitOptions::parse(3, names, values, &options), CUDA_SUCCESS);
  EXPECT_TRUE(options.has_logs());
  EXPECT_EQ(values[1], nullptr);
  options.write_info("goes nowhere");
  options.write_error("one");
  EXPECT_STREQ(text, "one\n");
  options.write_error("two three");
  EXPECT_STREQ(text, "one\ntwo t");
  EXPECT_EQ(reinterpret_cast<size_t>(values[1]), 9u);
  EXPECT_EQ(JitOptions::parse(1, nullptr, values, &options), CUDA_ERROR_INVALID_VALUE);
}

TEST(SelectPtx, JoinedTextsComeApartAgain) {
  const std::vector<std::string> texts = {".version 7.0\n// one", ".version 7.0\n// two"};
  const std::string joined = join_ptx(texts);
  SelectedPtx selected;
  ASSERT_EQ(select_ptx(joined.c_str(), 75, &selected), CUDA_SUCCESS);
  EXPECT_EQ(selected.texts, texts);
  EXPECT_TRUE(selected.plain_text);
}

}  // namespace
}  // namespace farcall::softgpu
