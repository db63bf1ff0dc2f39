// Images cut at every byte and with random bits flipped must give a Status or a result, and never a
// read outside; run it with a sanitizer to see the latter. Forged sizes must not make us allocate.
#include <algorithm>
#include <cstring>
#include <random>

#include "base/log.h"
#include "image/test_images.h"

namespace farcall::image {
namespace {

// Everything a reader may do with bytes of known size.
void read_everything(Bytes bytes) {
  const Result<Code> code = identify(bytes);
  if (!code) return;
  const Bytes image = code->images[0];
  if (code->kind == CodeKind::kElf) (void)read_cubin(image);
  if (code->kind == CodeKind::kPtx) (void)read_ptx(as_text(image));
  if (code->kind != CodeKind::kContainer) return;
  const Result<Container> container = Container::parse(image);
  if (!container) return;
  std::vector<const Entry*> all;
  for (const Entry& entry : container->entries()) {
    all.push_back(&entry);
    (void)read_entry(entry);
  }
  for (const int sm : {75, 90, 121}) {
    (void)choose(*container, {sm, false});
    (void)choose(*container, {sm, true});
  }
  EXPECT_EQ(trim(all).size() - 16, image.size() - std::to_integer<unsigned>(image[6]));
}

// The log of a hundred thousand bad images is of no use.
class Corrupt : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override { log::set_level(log::Level::kOff); }
  void TearDown() override { log::set_level(log::Level::kWarning); }
};

TEST_P(Corrupt, CutAtEveryByte) {
  const std::vector<std::byte> whole = read_image(GetParam());
  for (size_t size = 0; size < whole.size(); ++size) {
    const std::vector<std::byte> cut(whole.begin(), whole.begin() + static_cast<ptrdiff_t>(size));
    read_everything(cut);
  }
}

TEST_P(Corrupt, WithBitsFlipped) {
  const std::vector<std::byte> whole = read_image(GetParam());
  std::mt19937_64 random(20240229);
  for (int round = 0; round < 4000; ++round) {
    std::vector<std::byte> bad = whole;
    for (uint64_t flips = 1 + random() % 8; flips > 0; --flips) {
      // Headers are a small part of the bytes and matter most.
      const size_t at =
          random() % 2 ? random() % bad.size() : random() % std::min<size_t>(bad.size(), 160);
      bad[at] ^= static_cast<std::byte>(1u << random() % 8);
    }
    read_everything(bad);
  }
}

TEST_P(Corrupt, WithNumbersReplaced) {
  const std::vector<std::byte> whole = read_image(GetParam());
  const uint64_t numbers[] = {
      0, 1, 0x7fffffff, 0xffffffff, uint64_t{1} << 32, UINT64_MAX - 7, UINT64_MAX};
  std::mt19937_64 random(1);
  for (size_t at = 0; at + 8 <= whole.size(); at += 4) {
    for (const uint64_t number : numbers) {
      if (at > 512 && random() % 8 != 0) continue;
      std::vector<std::byte> bad = whole;
      std::memcpy(bad.data() + at, &number, at % 8 == 0 ? 8 : 4);
      read_everything(bad);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Images, Corrupt,
                         testing::Values("small-none.fatbin", "small-default.fatbin",
                                         "small-size.fatbin", "small-speed.fatbin", "small.cubin",
                                         "small.ptx"),
                         [](const auto& info) {
                           std::string name = info.param;
                           std::ranges::replace_if(
                               name, [](char c) { return !isalnum(c); }, '_');
                           return name;
                         });

TEST(CorruptContainer, SaysWhatIsWrong) {
  const std::vector<std::byte> good = read_image("small-size.fatbin");
  const auto complaint = [&good](size_t offset, uint64_t value, size_t bytes) {
    std::vector<std::byte> bad = good;
    std::memcpy(bad.data() + offset, &value, bytes);
    return logged([&bad] { EXPECT_EQ(Container::parse(bad).status(), Status::kInvalid); });
  };
  using testing::HasSubstr;
  EXPECT_THAT(complaint(0, 0, 4), HasSubstr("magic is 0x0"));
  EXPECT_THAT(complaint(4, 9, 2), HasSubstr("version 9"));
  EXPECT_THAT(complaint(8, UINT64_MAX, 8), HasSubstr("the limit is"));
  EXPECT_THAT(complaint(8, good.size(), 8), HasSubstr("there are"));
  constexpr size_t kEntry = 16;
  EXPECT_THAT(complaint(kEntry + 4, 8, 4), HasSubstr("entry at offset 16 claims 8"));
  EXPECT_THAT(complaint(kEntry + 8, UINT64_MAX - 15, 8), HasSubstr("entry at offset 16 claims"));
  EXPECT_THAT(complaint(kEntry + 16, 0x7fffffff, 4), HasSubstr("compressed bytes"));
  EXPECT_THAT(complaint(kEntry + 20, 0xfffffffe, 4), HasSubstr("options at"));
  EXPECT_THAT(complaint(kEntry + 32, 0x0000ffff00000041, 8), HasSubstr("bytes of name"));
}

// One entry with this compression flag that claims to become `claimed` bytes.
std::vector<std::byte> forged(uint64_t flags, std::string_view payload, uint64_t claimed) {
  constexpr size_t kHeaders = 16 + 64;
  std::vector<std::byte> out(kHeaders + payload.size());
  const auto put = [&out](size_t offset, uint64_t value, size_t bytes) {
    std::memcpy(out.data() + offset, &value, bytes);
  };
  put(0, 0xba55ed50, 4);
  put(4, 1, 2);
  put(6, 16, 2);
  put(8, 64 + payload.size(), 8);
  put(16 + 0, kEntryPtx, 2);
  put(16 + 4, 64, 4);
  put(16 + 8, payload.size(), 8);
  put(16 + 16, payload.size(), 4);
  put(16 + 28, 90, 4);
  put(16 + 40, flags, 8);
  put(16 + 56, claimed, 8);
  std::memcpy(out.data() + kHeaders, payload.data(), payload.size());
  return out;
}

TEST(CorruptContainer, BombsAreBounded) {
  constexpr uint64_t kLz4 = 0x2000, kZstd = 0x8000;
  // As LZ4 a run of over a thousand bytes; as zstd not even a frame.
  const std::string run(
      "\x1f"
      "a"
      "\x01\x00\xff\xff\xff\xff\x00",
      9);
  for (const uint64_t claimed : {uint64_t{8}, kUncompressedBytesMax + 1, UINT64_MAX}) {
    for (const uint64_t flags : {kLz4, kZstd}) {
      const std::vector<std::byte> bytes = forged(flags, run, claimed);
      const Container container = parse_or_fail(bytes);
      ASSERT_EQ(container.entries().size(), 1u);
      const std::string log =
          logged([&] { EXPECT_EQ(payload(container.entries()[0]).status(), Status::kInvalid); });
      EXPECT_FALSE(log.empty());
      if (claimed > kUncompressedBytesMax) {
        EXPECT_THAT(log, testing::HasSubstr("the limit is"));
      }
    }
  }
}

TEST(CorruptContainer, AFrameThatGivesMoreOrLessThanPromisedIsRefused) {
  // zstd: magic, single segment with 1-byte content size 5, one last raw block of 5 bytes.
  const std::string frame("\x28\xb5\x2f\xfd\x20\x05\x29\x00\x00hello", 14);
  for (const uint64_t claimed : {4, 5, 6}) {
    const std::vector<std::byte> bytes = forged(0x8000, frame, claimed);
    const Container container = parse_or_fail(bytes);
    const std::string log = logged([&] {
      const Result<std::vector<std::byte>> content = payload(container.entries()[0]);
      EXPECT_EQ(content.ok(), claimed == 5);
      if (content) {
        EXPECT_EQ(as_text(*content), "hello");
      }
    });
    EXPECT_EQ(log.empty(), claimed == 5) << log;
  }
}

}  // namespace
}  // namespace farcall::image
