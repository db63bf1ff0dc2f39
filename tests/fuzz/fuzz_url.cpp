// URLs of servers; what parses must give the same URL again when written out.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "transport/url.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using farcall::transport::parse_url;
  const auto url = parse_url({reinterpret_cast<const char*>(data), size});
  if (!url) return 0;
  const auto again = parse_url(url->text());
  if (!again || !(*again == *url)) std::abort();
  return 0;
}
