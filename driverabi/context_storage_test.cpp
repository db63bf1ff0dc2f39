#include "driverabi/context_storage.h"

#include <gtest/gtest.h>

#include <thread>

namespace farcall::driverabi {
namespace {

CUcontext context(uintptr_t number) { return reinterpret_cast<CUcontext>(number << 8); }
void* pointer(uintptr_t number) { return reinterpret_cast<void*>(number); }

struct Gone {
  CUcontext context;
  void *key, *value;
};
std::vector<Gone> g_gone;  // what remember() was called with
void remember(CUcontext context, void* key, void* value) {
  g_gone.push_back({context, key, value});
}

TEST(ContextStorage, FindsWhatWasPut) {
  ContextStorage storage;
  void* value = pointer(99);
  EXPECT_FALSE(storage.get(context(1), pointer(1), &value));
  EXPECT_EQ(value, pointer(99)) << "a miss must leave the caller's variable alone";
  storage.put(context(1), pointer(1), pointer(11), nullptr);
  storage.put(context(1), pointer(2), pointer(12), nullptr);
  storage.put(context(2), pointer(1), pointer(21), nullptr);
  EXPECT_TRUE(storage.get(context(1), pointer(1), &value));
  EXPECT_EQ(value, pointer(11));
  EXPECT_TRUE(storage.get(context(1), pointer(2), &value));
  EXPECT_EQ(value, pointer(12));
  EXPECT_TRUE(storage.get(context(2), pointer(1), &value));
  EXPECT_EQ(value, pointer(21));
  storage.put(context(1), pointer(1), nullptr, nullptr);
  EXPECT_TRUE(storage.get(context(1), pointer(1), &value));
  EXPECT_EQ(value, nullptr) << "a null value is a value";
}

TEST(ContextStorage, RemovesOneEntryWithoutItsDestructor) {
  g_gone.clear();
  ContextStorage storage;
  storage.put(context(1), pointer(1), pointer(11), remember);
  storage.put(context(1), pointer(2), pointer(12), remember);
  EXPECT_TRUE(storage.remove(context(1), pointer(1)));
  EXPECT_FALSE(storage.remove(context(1), pointer(1)));
  void* value;
  EXPECT_FALSE(storage.get(context(1), pointer(1), &value));
  EXPECT_TRUE(storage.get(context(1), pointer(2), &value));
  EXPECT_TRUE(g_gone.empty());
}

TEST(ContextStorage, DestroyRunsTheDestructorsOfThatContextOnly) {
  g_gone.clear();
  ContextStorage storage;
  storage.put(context(1), pointer(1), pointer(11), remember);
  storage.put(context(2), pointer(1), pointer(21), remember);
  storage.put(context(1), pointer(2), pointer(12), nullptr);
  storage.destroy(context(1));
  ASSERT_EQ(g_gone.size(), 1u);
  EXPECT_EQ(g_gone[0].context, context(1));
  EXPECT_EQ(g_gone[0].key, pointer(1));
  EXPECT_EQ(g_gone[0].value, pointer(11));
  void* value;
  EXPECT_FALSE(storage.get(context(1), pointer(2), &value));
  EXPECT_TRUE(storage.get(context(2), pointer(1), &value));
}

ContextStorage* g_storage;
TEST(ContextStorage, DestructorsMayUseTheStorage) {
  ContextStorage storage;
  g_storage = &storage;
  storage.put(context(1), pointer(1), pointer(11), [](CUcontext context, void* key, void*) {
    void* value;
    EXPECT_FALSE(g_storage->get(context, key, &value));
    g_storage->remove(context, key);
    g_storage->put(context, pointer(7), pointer(77), nullptr);
  });
  storage.destroy(context(1));
  void* value;
  EXPECT_TRUE(storage.get(context(1), pointer(7), &value));
}

TEST(ContextStorage, GrowsAndShrinksAgain) {
  ContextStorage storage;
  constexpr uintptr_t kCount = 5000;
  for (uintptr_t i = 1; i <= kCount; ++i)
    storage.put(context(i), pointer(i * 16), pointer(i), nullptr);
  void* value;
  for (uintptr_t i = 1; i <= kCount; ++i) {
    ASSERT_TRUE(storage.get(context(i), pointer(i * 16), &value)) << i;
    ASSERT_EQ(value, pointer(i));
  }
  for (uintptr_t i = 1; i <= kCount; i += 7) storage.destroy(context(i));
  for (uintptr_t i = 1; i <= kCount; ++i) {
    ASSERT_EQ(storage.get(context(i), pointer(i * 16), &value), i % 7 != 1) << i;
  }
}

// Readers must never see another entry's value, nor miss one that stays, while writers add and
// remove others.
TEST(ContextStorage, ReadersAreRightWhileWritersWork) {
  ContextStorage storage;
  for (uintptr_t i = 1; i <= 8; ++i)
    storage.put(context(i), pointer(i), pointer(i * 1000), nullptr);
  std::atomic<bool> stop{false};
  std::atomic<uint64_t> wrong{0}, reads{0};
  std::vector<std::thread> readers;
  for (int reader = 0; reader < 3; ++reader) {
    readers.emplace_back([&] {
      for (uintptr_t i = 1; !stop; i = i % 8 + 1) {
        void* value = nullptr;
        if (!storage.get(context(i), pointer(i), &value) || value != pointer(i * 1000)) ++wrong;
        ++reads;
      }
    });
  }
  std::thread writer([&] {
    for (uintptr_t round = 0; round < 300; ++round) {
      for (uintptr_t i = 100; i < 140; ++i)
        storage.put(context(i), pointer(round), pointer(i), nullptr);
      for (uintptr_t i = 100; i < 140; ++i) storage.destroy(context(i));
      std::this_thread::yield();
    }
  });
  writer.join();
  while (reads < 1000) std::this_thread::yield();
  stop = true;
  for (std::thread& reader : readers) reader.join();
  EXPECT_EQ(wrong, 0u) << "of " << reads << " reads";
}

}  // namespace
}  // namespace farcall::driverabi
