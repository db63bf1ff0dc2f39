// Pages, without a server and without faults: what the program may do is read from the table that
// Linux keeps, and what a fault would ask for is asked for here.
#include "client/tracked_pages.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <cstring>
#include <fstream>
#include <sstream>

namespace farcall::client {
namespace {

using Page = TrackedPages::Page;

struct Change {
  size_t offset, bytes;
  bool operator==(const Change&) const = default;
};

std::vector<Change> changes_of(TrackedPages& pages, bool fresh_ones = true) {
  std::vector<Change> all;
  pages.take_changes(fresh_ones, [&](size_t offset, std::span<const std::byte> bytes) {
    if (!all.empty() && all.back().offset + all.back().bytes == offset) {
      all.back().bytes += bytes.size();
    } else {
      all.push_back({offset, bytes.size()});
    }
  });
  return all;
}

// "rw", "r-" or "--": the program's protection of the page at `offset`.
std::string protection(const TrackedPages& pages, size_t offset) {
  const auto address = reinterpret_cast<uintptr_t>(pages.memory().program() + offset);
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    uintptr_t begin = 0, end = 0;
    char access[5] = {};
    if (std::sscanf(line.c_str(), "%lx-%lx %4s", &begin, &end, access) != 3) continue;
    if (address >= begin && address < end) return std::string(access, 2);
  }
  return "none";
}

std::unique_ptr<TrackedPages> make(size_t count) {
  auto memory = TwiceMapped::make(0, count * page_bytes());
  EXPECT_NE(memory, nullptr);
  return std::make_unique<TrackedPages>(std::move(memory));
}

void write(TrackedPages& pages, size_t offset, unsigned value) {
  std::memcpy(pages.memory().program() + offset, &value, sizeof value);
}

TEST(TwiceMapped, BothSeeTheSameBytes) {
  const auto memory = TwiceMapped::make(0, 5000);
  ASSERT_NE(memory, nullptr);
  EXPECT_EQ(memory->bytes(), round_to_pages(5000));
  memory->program()[3] = std::byte{7};
  EXPECT_EQ(memory->ours()[3], std::byte{7});
}

TEST(TwiceMapped, LiesWhereItIsWantedOrNowhere) {
  const auto first = TwiceMapped::make(0, page_bytes());
  const auto wanted = reinterpret_cast<uint64_t>(first->program());
  EXPECT_EQ(TwiceMapped::make(wanted, page_bytes()), nullptr) << "taken";
  constexpr uint64_t kFree = uint64_t{0x2f00} << 32;
  const auto second = TwiceMapped::make(kFree, page_bytes());
  ASSERT_NE(second, nullptr);
  EXPECT_EQ(reinterpret_cast<uint64_t>(second->program()), kFree);
}

TEST(TwiceMapped, NewMemoryIsZeroEvenWhereOldWas) {
  constexpr uint64_t kFree = uint64_t{0x2f01} << 32;
  auto memory = TwiceMapped::make(kFree, page_bytes());
  ASSERT_NE(memory, nullptr);
  memory->program()[0] = std::byte{1};
  memory.reset();
  memory = TwiceMapped::make(kFree, page_bytes());
  ASSERT_NE(memory, nullptr);
  EXPECT_EQ(memory->program()[0], std::byte{0});
}

TEST(TrackedPages, OnlyTouchedFreshPagesAreSent) {
  const auto pages = make(8);
  write(*pages, 2 * page_bytes(), 1);
  write(*pages, 5 * page_bytes() + 100, 1);
  EXPECT_EQ(changes_of(*pages), (std::vector<Change>{{2 * page_bytes(), page_bytes()},
                                                     {5 * page_bytes(), page_bytes()}}));
  EXPECT_EQ(protection(*pages, 0), "r-") << "the first write to it must be noticed";
  EXPECT_EQ(protection(*pages, 2 * page_bytes()), "r-");
  EXPECT_TRUE(changes_of(*pages).empty());
}

TEST(TrackedPages, FreshPagesStayOpenWhileOnlyChangesAreTaken) {
  const auto pages = make(2);
  write(*pages, 0, 1);
  EXPECT_TRUE(changes_of(*pages, /*fresh_ones=*/false).empty());
  pages->device_may_have_written();
  EXPECT_EQ(protection(*pages, 0), "rw");
  EXPECT_EQ(pages->page(0), Page::kFresh);
}

TEST(TrackedPages, OfAChangedPageTheWordsThatDifferAreSent) {
  const auto pages = make(2);
  changes_of(*pages);
  ASSERT_TRUE(pages->open_for_writing(page_bytes()));
  EXPECT_EQ(protection(*pages, 0), "r-");
  EXPECT_EQ(protection(*pages, page_bytes()), "rw");
  write(*pages, page_bytes() + 8, 1);
  write(*pages, page_bytes() + 12, 1);
  write(*pages, 2 * page_bytes() - 4, 1);
  write(*pages, page_bytes() + 40, 0);  // what it was
  EXPECT_EQ(changes_of(*pages),
            (std::vector<Change>{{page_bytes() + 8, 8}, {2 * page_bytes() - 4, 4}}));
  EXPECT_EQ(protection(*pages, page_bytes()), "r-");
}

TEST(TrackedPages, ProgressClosesWhatIsTheSame) {
  const auto pages = make(3);
  changes_of(*pages);
  ASSERT_TRUE(pages->open_for_writing(page_bytes()));
  pages->device_may_have_written();
  EXPECT_EQ(protection(*pages, 0), "--");
  EXPECT_EQ(protection(*pages, page_bytes()), "rw") << "its changes were not taken";
  EXPECT_EQ(protection(*pages, 2 * page_bytes()), "--");
}

TEST(TrackedPages, ASmallRangeIsFetchedWholeAndChangesAreNotOverwritten) {
  const auto pages = make(6);
  changes_of(*pages);
  ASSERT_TRUE(pages->open_for_writing(4 * page_bytes()));
  pages->device_may_have_written();
  const auto block = pages->missing_around(2 * page_bytes() + 5);
  EXPECT_EQ(block.offset, 0u);
  EXPECT_EQ(block.bytes, 4 * page_bytes());
  EXPECT_TRUE(pages->arrived(block));
  EXPECT_EQ(pages->page(3 * page_bytes()), Page::kSame);
  EXPECT_EQ(pages->page(4 * page_bytes()), Page::kChanged);
  EXPECT_EQ(pages->page(5 * page_bytes()), Page::kElsewhere);
}

TEST(TrackedPages, ALargeRangeThatIsReadInOrderComesInGrowingBlocks) {
  const auto pages = make(16384);
  changes_of(*pages);
  pages->device_may_have_written();
  size_t offset = 0;
  for (const size_t expected : {64, 128, 256, 512}) {
    const auto block = pages->missing_around(offset);
    EXPECT_EQ(block.offset, offset);
    EXPECT_EQ(block.bytes, expected * 4096);
    EXPECT_TRUE(pages->arrived(block));
    offset += block.bytes;
  }
  EXPECT_EQ(pages->missing_around(9000 * page_bytes()).bytes, size_t{64} * 4096) << "elsewhere";
}

TEST(TrackedPages, WritingInOrderOpensMoreAndMorePages) {
  const auto pages = make(64);
  changes_of(*pages);
  size_t page = 0;
  for (const size_t expected : {2, 4, 8}) {
    ASSERT_TRUE(pages->open_for_writing(page * page_bytes()));
    EXPECT_EQ(pages->page((page + expected - 1) * page_bytes()), Page::kChanged);
    EXPECT_EQ(pages->page((page + expected) * page_bytes()), Page::kSame);
    page += expected;
  }
  EXPECT_TRUE(changes_of(*pages).empty()) << "they were opened, not written to";
}

TEST(TrackedPages, RenewedPagesAreZeroAndAreSent) {
  const auto pages = make(4);
  write(*pages, page_bytes(), 9);
  changes_of(*pages);
  pages->device_may_have_written();
  pages->renew({page_bytes(), 2 * page_bytes()});
  EXPECT_EQ(pages->memory().program()[page_bytes()], std::byte{0});
  EXPECT_EQ(changes_of(*pages), (std::vector<Change>{{page_bytes(), 2 * page_bytes()}}));
}

TEST(TrackedPages, WithoutRoomForProtectionsEverythingIsClosedAndNothingIsLost) {
  const auto pages = make(8);
  write(*pages, 0, 1);
  changes_of(*pages);
  ASSERT_TRUE(pages->open_for_writing(3 * page_bytes()));
  write(*pages, 3 * page_bytes(), 2);
  EXPECT_EQ(changes_of(*pages), (std::vector<Change>{{3 * page_bytes(), 4}}));
  pages->close_all();
  EXPECT_EQ(protection(*pages, 0), "--");
  EXPECT_FALSE(pages->has_changed());
  EXPECT_FALSE(pages->has_fresh());
}

}  // namespace
}  // namespace farcall::client
