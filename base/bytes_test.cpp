#include "base/bytes.h"

#include <gtest/gtest.h>

#include <array>
#include <limits>

namespace farcall {
namespace {

struct Header {
  uint32_t size;
  uint16_t kind;
  uint16_t flags;
};

TEST(Bytes, WhatAWriterWroteAReaderReads) {
  std::array<std::byte, 64> buffer;
  Writer writer(buffer);
  writer.write(uint8_t{7});  // everything after it is unaligned
  writer.write(Header{5, 2, 1});
  writer.write_bytes(bytes_of("hello"));
  writer.write(int64_t{-3});
  writer.write(2.5);
  ASSERT_FALSE(writer.fatal());
  EXPECT_EQ(writer.written().size(), 1u + 8 + 5 + 8 + 8);

  Reader reader(writer.written());
  EXPECT_EQ(reader.read<uint8_t>(), 7);
  const auto header = reader.read<Header>();
  EXPECT_EQ(header.size, 5u);
  EXPECT_EQ(header.kind, 2);
  EXPECT_EQ(header.flags, 1);
  EXPECT_EQ(reader.take_text(header.size), "hello");
  EXPECT_EQ(reader.read<int64_t>(), -3);
  EXPECT_EQ(reader.read<double>(), 2.5);
  EXPECT_TRUE(reader.at_end());
  EXPECT_EQ(reader.status(), Status::kOk);
}

TEST(Bytes, IntegersAreLittleEndian) {
  std::array<std::byte, 4> buffer;
  Writer(buffer).write(uint32_t{0x01020304});
  EXPECT_EQ(buffer[0], std::byte{4});
  EXPECT_EQ(buffer[3], std::byte{1});
}

TEST(Reader, AfterAViolationItReadsZerosForEver) {
  const std::array<std::byte, 6> source = {std::byte{1}, std::byte{1}, std::byte{1},
                                           std::byte{1}, std::byte{1}, std::byte{1}};
  Reader reader(source);
  EXPECT_EQ(reader.read<uint32_t>(), 0x01010101u);
  EXPECT_EQ(reader.read<uint32_t>(), 0u);  // 2 bytes are left
  EXPECT_EQ(reader.read<uint8_t>(), 0u);   // would have fitted
  EXPECT_TRUE(reader.take(0).empty());
  EXPECT_EQ(reader.remaining(), 0u);
  EXPECT_FALSE(reader.at_end());
  EXPECT_EQ(reader.status(), Status::kProtocol);
}

TEST(Reader, CutAtEveryLengthItFailsInsteadOfReadingOn) {
  std::array<std::byte, 13> whole;
  Writer writer(whole);
  writer.write(Header{5, 2, 1});
  writer.write_bytes(bytes_of("hello"));
  for (size_t length = 0; length <= whole.size(); ++length) {
    Reader reader(Bytes(whole).first(length));
    const auto header = reader.read<Header>();
    reader.skip(header.size);
    EXPECT_EQ(reader.fatal(), length < whole.size()) << length;
  }
}

TEST(Reader, ALengthNearTheLimitDoesNotWrapAround) {
  const std::array<std::byte, 8> source = {};
  for (const size_t count : {std::numeric_limits<size_t>::max(), size_t{9}}) {
    Reader reader(source);
    reader.skip(4);
    EXPECT_TRUE(reader.take(count).empty());
    EXPECT_TRUE(reader.fatal());
  }
}

TEST(Reader, TheCallersOwnChecksAreSticky) {
  const std::array<std::byte, 2> source = {std::byte{9}, std::byte{9}};
  Reader reader(source);
  reader.require(reader.read<uint8_t>() == 9);
  EXPECT_FALSE(reader.fatal());
  reader.require(false);
  reader.require(true);
  EXPECT_EQ(reader.read<uint8_t>(), 0);
  EXPECT_TRUE(reader.fatal());
}

TEST(Writer, AfterAnOverflowNothingIsWritten) {
  std::array<std::byte, 4> buffer = {};
  Writer writer(buffer);
  writer.write(uint16_t{0xffff});
  writer.write(uint32_t{0xffffffff});
  writer.write(uint8_t{1});
  EXPECT_TRUE(writer.fatal());
  EXPECT_TRUE(writer.written().empty());
  EXPECT_EQ(buffer[2], std::byte{0});
}

TEST(Writer, ReservedRoomCanBeFilledLater) {
  std::array<std::byte, 8> buffer;
  Writer writer(buffer);
  const MutableBytes length = writer.reserve(4);
  writer.write_bytes(bytes_of("abc"));
  const uint32_t count = 3;
  std::memcpy(length.data(), &count, sizeof count);
  Reader reader(writer.written());
  EXPECT_EQ(reader.take_text(reader.read<uint32_t>()), "abc");
}

}  // namespace
}  // namespace farcall
