#include "base/error_log.h"

#include <gtest/gtest.h>

namespace farcall {
namespace {

TEST(ErrorLogTest, KeepsLinesForReadersThatSayWhereTheyAre) {
  ErrorLog log;
  unsigned at = log.end();
  EXPECT_EQ(log.read(&at), "");
  log.add(0, "first");
  log.add(0, "second");
  const std::string text = log.read(&at);
  EXPECT_NE(text.find("first\n"), std::string::npos);
  EXPECT_LT(text.find("first"), text.find("second"));
  EXPECT_EQ(at, log.end());
  EXPECT_EQ(log.read(&at), "");
  EXPECT_EQ(log.read(nullptr), text);
}

TEST(ErrorLogTest, LosesTheOldestAndSaysSo) {
  ErrorLog log;
  unsigned at = log.end();
  for (int i = 0; i < 1000; ++i) log.add(0, "line " + std::to_string(i) + " of many");
  const std::string text = log.read(&at);
  EXPECT_LE(text.size(), ErrorLog::kBytesMax + 100);
  EXPECT_EQ(text.rfind("[older messages are lost]\n", 0), 0u);
  EXPECT_EQ(text.find("line 0 "), std::string::npos);
  EXPECT_NE(text.find("line 999 of many\n"), std::string::npos);
}

TEST(ErrorLogTest, GivesTheNewestThatFit) {
  ErrorLog log;
  log.add(0, "first" + std::string(100, '.'));
  log.add(0, "second");
  std::string text;
  EXPECT_FALSE(log.read(nullptr, 10, &text));
  EXPECT_EQ(text, "");
  ASSERT_TRUE(log.read(nullptr, 100, &text));
  EXPECT_EQ(text.find("first"), std::string::npos);
  EXPECT_NE(text.find("lost"), std::string::npos);
  EXPECT_NE(text.find("second\n"), std::string::npos);
}

TEST(ErrorLogTest, CallsBackUntilItIsToldNotTo) {
  ErrorLog log;
  struct Seen {
    ErrorLog* log;
    int calls = 0;
    std::string last = "";
  } seen{&log};
  void* const handle = log.add_callback(
      [](void* data, int level, char* message, size_t length) {
        auto* seen = static_cast<Seen*>(data);
        ++seen->calls;
        seen->last = std::string(message, length) + "/" + std::to_string(level);
        seen->log->add(0, "from a callback");  // nobody is called for this one
      },
      &seen);
  log.add(1, "hello");
  EXPECT_EQ(seen.calls, 1);
  EXPECT_NE(seen.last.find("hello/1"), std::string::npos);
  EXPECT_TRUE(log.remove_callback(handle));
  EXPECT_FALSE(log.remove_callback(handle));
  log.add(0, "unheard");
  EXPECT_EQ(seen.calls, 1);
}

}  // namespace
}  // namespace farcall
