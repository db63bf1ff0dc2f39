// Fat binary containers: parsing, decompression, choice; what was trimmed must parse to the same
// entries.
#include <algorithm>
#include <cassert>

#include "image/kernel_params.h"

using namespace farcall;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const image::Bytes bytes = std::as_bytes(std::span(data, size));
  (void)image::identify(bytes);
  const Result<image::Container> container = image::Container::parse(bytes);
  if (!container) return 0;
  assert(container->bytes().size() <= size);

  std::vector<const image::Entry*> all;
  for (const image::Entry& entry : container->entries()) {
    all.push_back(&entry);
    constexpr uint64_t kFastBytes = 1 << 20;
    if (entry.uncompressed_bytes <= kFastBytes) (void)image::read_entry(entry);
  }
  for (const int sm : {75, 90, 100, 121}) {
    for (const bool ptx_only : {false, true}) {
      const image::Entry* entry = image::choose(*container, {sm, ptx_only});
      assert(entry == nullptr || image::runs_on(*entry, {sm, ptx_only}));
    }
  }
  const std::vector<std::byte> trimmed = image::trim(all);
  const Result<image::Container> again = image::Container::parse(trimmed);
  assert(again && again->entries().size() == all.size());
  for (size_t i = 0; i < all.size(); ++i) {
    assert(std::ranges::equal(again->entries()[i].whole, all[i]->whole));
  }
  return 0;
}
