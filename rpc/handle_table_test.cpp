#include "rpc/handle_table.h"

#include <gtest/gtest.h>

#include <thread>

namespace farcall::rpc {
namespace {

constexpr auto kStream = HandleType::kStream;
constexpr auto kEvent = HandleType::kEvent;

int objects[8];

TEST(HandleTable, FindsWhatWasBoundAndBack) {
  HandleTable table;
  const HandleId id = make_handle_id(kStream, 3, 5000);
  EXPECT_EQ(table.bind(id, kStream, &objects[0]), Status::kOk);
  EXPECT_EQ(table.find(id, kStream), &objects[0]);
  EXPECT_EQ(table.id_of(kStream, &objects[0]), id);
  EXPECT_EQ(table.intern(kStream, &objects[0]), id);
  EXPECT_EQ(table.unbind(id, kStream), &objects[0]);
  EXPECT_EQ(table.find(id, kStream), nullptr);
  EXPECT_EQ(table.id_of(kStream, &objects[0]), 0u);
  EXPECT_EQ(table.unbind(id, kStream), nullptr);
}

TEST(HandleTable, RefusesStaleMistypedAndUnknownIds) {
  HandleTable table;
  const HandleId id = make_handle_id(kStream, 3, 7);
  ASSERT_EQ(table.bind(id, kStream, &objects[0]), Status::kOk);
  EXPECT_EQ(table.find(make_handle_id(kStream, 2, 7), kStream), nullptr);
  EXPECT_EQ(table.find(make_handle_id(kStream, 3, 8), kStream), nullptr);
  EXPECT_EQ(table.find(make_handle_id(kStream, 3, 7 | kServerMinted), kStream), nullptr);
  EXPECT_EQ(table.find(make_handle_id(kStream, 3, 0x7fffffff), kStream), nullptr);
  EXPECT_EQ(table.find(id, kEvent), nullptr);
  EXPECT_EQ(table.find(make_handle_id(kEvent, 3, 7), kStream), nullptr);
  EXPECT_EQ(table.find(make_handle_id(kEvent, 3, 7), kEvent), nullptr);
  for (const HandleId special : {0, 1, 2}) {
    EXPECT_EQ(table.find(special, kStream), nullptr);
    EXPECT_EQ(table.find(special, HandleType::kNone), nullptr);
  }
  EXPECT_EQ(table.find(make_handle_id(HandleType(200), 1, 1), HandleType(200)), nullptr);
}

TEST(HandleTable, BindRefusesWhatNoClientMints) {
  HandleTable table;
  const HandleId id = make_handle_id(kStream, 1, 1);
  ASSERT_EQ(table.bind(id, kStream, &objects[0]), Status::kOk);
  EXPECT_EQ(table.bind(id, kStream, &objects[1]), Status::kProtocol) << "alive";
  EXPECT_EQ(table.bind(make_handle_id(kStream, 2, 1), kStream, &objects[1]), Status::kProtocol);
  EXPECT_EQ(table.bind(make_handle_id(kEvent, 1, 2), kStream, &objects[1]), Status::kProtocol);
  EXPECT_EQ(table.bind(make_handle_id(kStream, 1, kHandleIndexMax), kStream, &objects[1]),
            Status::kProtocol);
  EXPECT_EQ(table.bind(make_handle_id(kStream, 1, kServerMinted), kStream, &objects[1]),
            Status::kProtocol);
  EXPECT_EQ(table.bind(0, kStream, &objects[1]), Status::kProtocol);
  EXPECT_EQ(table.bind(make_handle_id(HandleType::kContext, kPrimaryContextGeneration, 1u << 20),
                       HandleType::kContext, &objects[1]),
            Status::kProtocol);
  EXPECT_EQ(table.find(id, kStream), &objects[0]);
}

TEST(HandleTable, PrimaryContextsDontMeetMintedOnes) {
  HandleTable table;
  const auto type = HandleType::kContext;
  EXPECT_EQ(table.bind(primary_context_id(0), type, &objects[0]), Status::kOk);
  EXPECT_EQ(table.bind(make_handle_id(type, 1, 0), type, &objects[1]), Status::kOk);
  EXPECT_EQ(table.find(primary_context_id(0), type), &objects[0]);
  EXPECT_EQ(table.find(make_handle_id(type, 1, 0), type), &objects[1]);
  EXPECT_EQ(table.count(type), 2u);
}

TEST(HandleTable, InternsObjectsOfTheDriverUnderItsOwnIds) {
  HandleTable table;
  const auto type = HandleType::kGraphNode;
  const HandleId id = table.intern(type, &objects[0]);
  EXPECT_NE(handle_index(id) & kServerMinted, 0u);
  EXPECT_EQ(table.intern(type, &objects[0]), id);
  EXPECT_EQ(table.find(id, type), &objects[0]);
  EXPECT_NE(table.intern(type, &objects[1]), id);
  EXPECT_EQ(table.unbind(id, type), &objects[0]);
  const HandleId again = table.intern(type, &objects[2]);
  EXPECT_EQ(handle_index(again), handle_index(id)) << "indices are reused";
  EXPECT_NE(again, id) << "with another generation";
  EXPECT_EQ(table.find(id, type), nullptr);
}

TEST(HandleMinter, MintsWhatTheTableTakes) {
  HandleMinter minter;
  HandleTable table;
  std::vector<HandleId> ids;
  for (int i = 0; i < 3000; ++i) {
    ids.push_back(minter.mint(kEvent));
    ASSERT_GT(ids.back(), kStreamPerThread);
    ASSERT_EQ(table.bind(ids.back(), kEvent, reinterpret_cast<void*>(uintptr_t(i + 1))),
              Status::kOk);
  }
  for (const HandleId id : ids) EXPECT_TRUE(minter.alive(id, kEvent));
  EXPECT_EQ(minter.count(kEvent), 3000u);
}

TEST(HandleMinter, AReleasedIdIsDeadAndItsIndexComesBackUnderAnotherGeneration) {
  HandleMinter minter;
  const HandleId first = minter.mint(kStream);
  EXPECT_TRUE(minter.alive(first, kStream));
  EXPECT_FALSE(minter.alive(first, kEvent));
  minter.release(first);
  EXPECT_FALSE(minter.alive(first, kStream));
  minter.release(first);  // twice does no harm
  const HandleId second = minter.mint(kStream);
  EXPECT_EQ(handle_index(second), handle_index(first));
  EXPECT_NE(second, first);
  EXPECT_FALSE(minter.alive(first, kStream));
  EXPECT_NE(minter.mint(kStream), second);
  for (const HandleId bad :
       {HandleId{0}, HandleId{1}, HandleId{2}, ~HandleId{0}, make_handle_id(kStream, 1, 99),
        make_handle_id(kStream, 1, 1u << 20)}) {
    EXPECT_FALSE(minter.alive(bad, kStream)) << bad;
  }
}

TEST(HandleMinter, StopsAtTheLimit) {
  HandleMinter minter;
  HandleId last = 0;
  for (uint32_t i = 0; i < kHandleIndexMax; ++i) last = minter.mint(kEvent);
  EXPECT_NE(last, 0u);
  EXPECT_EQ(minter.mint(kEvent), 0u);
  minter.release(last);
  EXPECT_NE(minter.mint(kEvent), 0u);
}

TEST(HandleMinter, MayBeUsedByManyThreads) {
  HandleMinter minter;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 5000; ++i) {
        const HandleId id = minter.mint(kEvent);
        EXPECT_TRUE(minter.alive(id, kEvent));
        minter.release(id);
        EXPECT_FALSE(minter.alive(id, kEvent));
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(minter.count(kEvent), 0u);
}

}  // namespace
}  // namespace farcall::rpc
