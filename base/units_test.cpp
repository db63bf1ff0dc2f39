#include "base/units.h"

#include <gtest/gtest.h>

namespace farcall {
namespace {

using namespace std::chrono_literals;

TEST(ByteCount, ParsesNumbersWithBinaryUnits) {
  EXPECT_EQ(parse_byte_count("0"), 0u);
  EXPECT_EQ(parse_byte_count("4097"), 4097u);
  EXPECT_EQ(parse_byte_count("64KiB"), 65536u);
  EXPECT_EQ(parse_byte_count("16 MiB"), 16u << 20);
  EXPECT_EQ(parse_byte_count("80GiB"), uint64_t{80} << 30);
  EXPECT_EQ(parse_byte_count("18446744073709551615"), ~uint64_t{0});
}

TEST(ByteCount, RefusesTheRest) {
  for (const char* text : {"", "MiB", "-1", "1.5GiB", "16MB", "16mib", "1 KiB ", "0x10",
                           "18446744073709551616", "16777216TiB"}) {
    EXPECT_EQ(parse_byte_count(text), std::nullopt) << text;
  }
}

TEST(Duration, ParsesNumbersWithUnits) {
  EXPECT_EQ(parse_duration("0"), 0ns);
  EXPECT_EQ(parse_duration("7ns"), 7ns);
  EXPECT_EQ(parse_duration("20us"), 20us);
  EXPECT_EQ(parse_duration("5 ms"), 5ms);
  EXPECT_EQ(parse_duration("30s"), 30s);
  EXPECT_EQ(parse_duration("2min"), 2min);
  EXPECT_EQ(parse_duration("24h"), 24h);
}

TEST(Duration, RefusesTheRest) {
  for (const char* text : {"", "20", "us", "-1s", "1.5s", "1m", "10 000 us", "99999999999h"}) {
    EXPECT_EQ(parse_duration(text), std::nullopt) << text;
  }
}

TEST(Units, WhatIsFormattedParsesBack) {
  for (const uint64_t bytes : {uint64_t{0}, uint64_t{1}, uint64_t{1023}, uint64_t{1024},
                               uint64_t{1536}, uint64_t{1} << 40, ~uint64_t{0}}) {
    EXPECT_EQ(parse_byte_count(format_byte_count(bytes)), bytes);
  }
  EXPECT_EQ(format_byte_count(16 << 20), "16MiB");
  for (const std::chrono::nanoseconds time :
       {0ns, 1ns, std::chrono::nanoseconds(20us), std::chrono::nanoseconds(90s),
        std::chrono::nanoseconds::max()}) {
    EXPECT_EQ(parse_duration(format_duration(time)), time);
  }
  EXPECT_EQ(format_duration(90s), "90s");
  EXPECT_EQ(format_duration(-5ms), "-5ms");
}

}  // namespace
}  // namespace farcall
