// A bug on purpose: the check of a length is missing. `./dev fuzz` fails unless it is found.
#include <cstdint>
#include <cstring>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 4 || std::memcmp(data, "bug", 3) != 0) return 0;
  volatile uint8_t last = data[data[3]];
  (void)last;
  return 0;
}
