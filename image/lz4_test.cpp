// The LZ4 block decoder on blocks written by hand from the format's description; real ones are in
// fatbin_test.cpp.
#include <string>

#include "image/test_images.h"

namespace farcall::image {
namespace {

using namespace std::string_literals;

// The decoded text, or "corrupt".
std::string decode(const std::string& block, size_t size) {
  const std::vector<std::byte> in =
      to_bytes(block);  // its own allocation: a sanitizer sees every overrun
  std::vector<std::byte> out(size);
  return lz4_decompress(in, out) ? std::string(as_text(out)) : "corrupt";
}

TEST(Lz4, CopiesLiterals) {
  EXPECT_EQ(decode("\x30"
                   "abc"s,
                   3),
            "abc");
  EXPECT_EQ(decode("\x00"s, 0), "");
}

TEST(Lz4, ExtendsLengthsOf15) {
  EXPECT_EQ(decode("\xf0\x00"s + std::string(15, 'x'), 15), std::string(15, 'x'));
  EXPECT_EQ(decode("\xf0\xff\x02"s + std::string(272, 'x'), 272), std::string(272, 'x'));
  // 1 literal, then a match of 4 + 15 + 255 + 1 from one byte back, then 1 literal.
  EXPECT_EQ(decode("\x1f"
                   "a"
                   "\x01\x00"
                   "\xff\x01"
                   "\x10"
                   "b"s,
                   277),
            std::string(276, 'a') + "b");
}

TEST(Lz4, CopiesMatchesThatOverlapTheirOutput) {
  EXPECT_EQ(decode("\x22"
                   "ab"
                   "\x02\x00"
                   "\x10"
                   "c"s,
                   9),
            "ababababc");
  EXPECT_EQ(decode("\x40"
                   "abcd"
                   "\x04\x00"
                   "\x10"
                   "e"s,
                   9),
            "abcdabcde");
}

TEST(Lz4, RefusesCorruptBlocks) {
  EXPECT_EQ(decode("\x30"
                   "ab"s,
                   3),
            "corrupt")
      << "fewer literals than promised";
  EXPECT_EQ(decode("\xf0"s, 15), "corrupt") << "the length goes on past the end";
  EXPECT_EQ(decode("\xf0\xff"s, 270), "corrupt") << "the length goes on past the end";
  EXPECT_EQ(decode("\x10"
                   "a"
                   "\x01"s,
                   5),
            "corrupt")
      << "half a distance";
  EXPECT_EQ(decode("\x10"
                   "a"
                   "\x00\x00"s,
                   5),
            "corrupt")
      << "distance 0";
  EXPECT_EQ(decode("\x10"
                   "a"
                   "\x02\x00"s,
                   5),
            "corrupt")
      << "distance to before the start";
  EXPECT_EQ(decode("\x10"
                   "a"
                   "\x01\x00"s,
                   4),
            "corrupt")
      << "more output than room";
  EXPECT_EQ(decode("\x30"
                   "abc"s,
                   2),
            "corrupt")
      << "more output than room";
  EXPECT_EQ(decode("\x30"
                   "abc"s,
                   4),
            "corrupt")
      << "less output than promised";
  EXPECT_EQ(decode(""s, 1), "corrupt") << "less output than promised";
}

}  // namespace
}  // namespace farcall::image
