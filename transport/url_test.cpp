// What is a URL, what it means, and that everything else is refused.
#include "transport/url.h"

#include <gtest/gtest.h>

namespace farcall::transport {
namespace {

Url must_parse(std::string_view text) {
  Result<Url> url = parse_url(text);
  EXPECT_TRUE(url.ok()) << text;
  return url.ok() ? url.take() : Url{};
}

TEST(ParseUrl, TcpHasHostAndPort) {
  const Url url = must_parse("tcp://gpu-host:7000");
  EXPECT_EQ(url.kind, Url::Kind::kTcp);
  EXPECT_EQ(url.host, "gpu-host");
  EXPECT_EQ(url.port, 7000);
}

TEST(ParseUrl, TcpPortDefaultsTo7117) {
  EXPECT_EQ(must_parse("tcp://10.0.0.7").port, 7117);
  EXPECT_EQ(must_parse("tcp://10.0.0.7/").port, 7117);
  EXPECT_EQ(must_parse("tcp://[::1]").port, 7117);
}

TEST(ParseUrl, TcpTakesBracketedIpv6) {
  const Url url = must_parse("tcp://[fe80::1%eth0]:9");
  EXPECT_EQ(url.host, "fe80::1%eth0");
  EXPECT_EQ(url.port, 9);
}

TEST(ParseUrl, UnixTakesAbsoluteAndRelativePaths) {
  EXPECT_EQ(must_parse("unix:///run/farcall.sock").path, "/run/farcall.sock");
  EXPECT_EQ(must_parse("unix:/run/farcall.sock").path, "/run/farcall.sock");
  EXPECT_EQ(must_parse("unix:farcall.sock").path, "farcall.sock");
  EXPECT_EQ(must_parse("unix:farcall.sock").kind, Url::Kind::kUnix);
}

TEST(ParseUrl, TextParsesToTheSameUrl) {
  for (const char* text : {"tcp://a:1", "tcp://[::1]:65535", "unix:///a/b", "unix:b", "tcp://h"}) {
    const Url url = must_parse(text);
    EXPECT_EQ(must_parse(url.text()), url) << text;
  }
  EXPECT_EQ(must_parse("tcp://[::1]").text(), "tcp://[::1]:7117");
}

TEST(ParseUrl, FutureTransportsAreUnsupportedAndNotInvalid) {
  EXPECT_EQ(parse_url("shm://gpu0").status(), Status::kUnsupported);
  EXPECT_EQ(parse_url("rdma://host:7117").status(), Status::kUnsupported);
}

TEST(ParseUrl, EverythingElseIsInvalid) {
  const std::string long_path = "unix:///" + std::string(107, 'x');
  for (std::string_view text : {std::string_view(""),
                                std::string_view("gpu-host:7117"),
                                std::string_view("http://a"),
                                std::string_view("tcp:a:1"),
                                std::string_view("tcp://"),
                                std::string_view("tcp://:7117"),
                                std::string_view("tcp://a:"),
                                std::string_view("tcp://a:b"),
                                std::string_view("tcp://a:65536"),
                                std::string_view("tcp://a:-1"),
                                std::string_view("tcp://a:1x"),
                                std::string_view("tcp://a:+1"),
                                std::string_view("tcp://::1:80"),
                                std::string_view("tcp://[::1"),
                                std::string_view("tcp://[::1]80"),
                                std::string_view("tcp://a/b"),
                                std::string_view("tcp://me@a:1"),
                                std::string_view("tcp://a b"),
                                std::string_view("tcp://a]:1"),
                                std::string_view("unix:"),
                                std::string_view("unix://"),
                                std::string_view("unix://run/x"),
                                std::string_view("unix:///run/"),
                                std::string_view("unix:a\0b", 8),
                                std::string_view(long_path)}) {
    EXPECT_EQ(parse_url(text).status(), Status::kInvalid) << text;
  }
}

}  // namespace
}  // namespace farcall::transport
