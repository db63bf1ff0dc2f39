// MD2 against RFC 1319's own vectors, HMAC against its definition in RFC 2104.
#include "driverabi/md2.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <string_view>
#include <vector>

namespace farcall::driverabi {
namespace {

std::span<const std::byte> bytes(std::string_view text) { return std::as_bytes(std::span(text)); }

std::string hex(const Md2Digest& digest) {
  std::string out;
  for (const std::byte byte : digest) {
    out += "0123456789abcdef"[std::to_integer<int>(byte) >> 4];
    out += "0123456789abcdef"[std::to_integer<int>(byte) & 15];
  }
  return out;
}

TEST(Md2, GivesTheDigestsOfTheRfc) {
  EXPECT_EQ(hex(md2(bytes(""))), "8350e5a3e24c153df2275c9f80692773");
  EXPECT_EQ(hex(md2(bytes("a"))), "32ec01ec4a6dac72c0ab96fb34c0b5d1");
  EXPECT_EQ(hex(md2(bytes("abc"))), "da853b0d3f88d99b30283a69e6ded6bb");
  EXPECT_EQ(hex(md2(bytes("message digest"))), "ab4f496bfb2a530b219ff33031fe06b0");
  EXPECT_EQ(hex(md2(bytes("abcdefghijklmnopqrstuvwxyz"))), "4e8ddff3650292ab5a4108c3aa47940b");
  EXPECT_EQ(hex(md2(bytes("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"))),
            "da33def2a42df13975352846c30338cd");
  EXPECT_EQ(hex(md2(bytes("1234567890123456789012345678901234567890"
                          "1234567890123456789012345678901234567890"))),
            "d5976f79d83d3a0dc9806c3c66f3efd8");
}

TEST(HmacMd2, IsTheOuterHashOfTheInnerHash) {
  const std::string key = "0123456789abcdef", message = "what the driver reports of itself";
  std::string inner, outer;
  for (const char c : key) {
    inner += static_cast<char>(c ^ 0x36);
    outer += static_cast<char>(c ^ 0x5c);
  }
  const Md2Digest hash = md2(bytes(inner + message));
  outer.append(reinterpret_cast<const char*>(hash.data()), hash.size());
  EXPECT_EQ(hmac_md2(bytes(key).first<16>(), bytes(message)), md2(bytes(outer)));
}

}  // namespace
}  // namespace farcall::driverabi
