// Containers as nvcc writes them: entries, compression, choice and trimming.
#include <algorithm>
#include <cstring>
#include <map>
#include <optional>
#include <set>

#include "image/test_images.h"

namespace farcall::image {
namespace {

std::set<std::pair<int, uint16_t>> kinds(const Container& container) {
  std::set<std::pair<int, uint16_t>> out;
  for (const Entry& entry : container.entries()) out.insert({entry.sm, entry.kind});
  return out;
}

TEST(Container, ListsItsEntries) {
  const std::vector<std::byte> bytes = read_image("kernels-default.fatbin");
  const Container container = parse_or_fail(bytes);
  EXPECT_EQ(container.bytes().size(), bytes.size());
  const std::set<std::pair<int, uint16_t>> expected = {
      {75, kEntryCubin}, {90, kEntryCubin}, {90, kEntryPtx}, {120, kEntryCubin}};
  EXPECT_EQ(kinds(container), expected);
}

TEST(Container, BelievesItsOwnSizeWhenTheCallerKnowsNone) {
  std::vector<std::byte> bytes = read_image("small-default.fatbin");
  const size_t size = bytes.size();
  bytes.resize(size + 100, std::byte{0x5a});
  const Result<Container> container = Container::at(bytes.data());
  ASSERT_TRUE(container.ok());
  EXPECT_EQ(container->bytes().size(), size);
  EXPECT_EQ(parse_or_fail(bytes).bytes().size(), size);
}

std::map<std::pair<int, uint16_t>, std::vector<std::byte>> contents(const std::string& name) {
  const std::vector<std::byte> bytes = read_image(name);
  const Container container = parse_or_fail(bytes);
  std::map<std::pair<int, uint16_t>, std::vector<std::byte>> out;
  for (const Entry& entry : container.entries()) {
    Result<std::vector<std::byte>> content = payload(entry);
    EXPECT_TRUE(content.ok()) << name;
    if (content) out[{entry.sm, entry.kind}] = content.take();
  }
  return out;
}

TEST(Container, GivesTheSameContentHoweverItWasCompressed) {
  const auto plain = contents("kernels-none.fatbin");
  ASSERT_EQ(plain.size(), 4u);
  for (const char* mode : {"default", "size", "speed"}) {
    const auto other = contents(std::string("kernels-") + mode + ".fatbin");
    ASSERT_EQ(other.size(), plain.size()) << mode;
    for (const auto& [key, content] : plain) {
      const auto& theirs = other.at(key);
      // An uncompressed cubin keeps its padding, a compressed one has none.
      const size_t size = std::min(content.size(), theirs.size());
      EXPECT_LT(std::max(content.size(), theirs.size()) - size, 8u) << mode;
      EXPECT_TRUE(std::equal(content.begin(), content.begin() + size, theirs.begin())) << mode;
    }
  }
}

TEST(Container, CompressionModesAreWhatTheirNamesSay) {
  const auto compressions = [](const char* name) {
    const std::vector<std::byte> bytes = read_image(name);
    std::set<Compression> out;
    for (const Entry& entry : parse_or_fail(bytes).entries()) out.insert(entry.compression);
    return out;
  };
  EXPECT_EQ(compressions("kernels-none.fatbin"), std::set{Compression::kNone});
  EXPECT_EQ(compressions("kernels-size.fatbin"), std::set{Compression::kZstd});
  EXPECT_TRUE(compressions("kernels-speed.fatbin").contains(Compression::kLz4));
}

TEST(Container, PtxHasNoNulsAtItsEnd) {
  for (const char* mode : {"none", "default", "size", "speed"}) {
    const auto all = contents(std::string("kernels-") + mode + ".fatbin");
    const std::string_view text = as_text(all.at({90, kEntryPtx}));
    EXPECT_NE(text.find(".version"), std::string_view::npos) << mode;
    EXPECT_NE(text.back(), '\0') << mode;
  }
}

TEST(Container, TellsOptionsAndSourceName) {
  const std::vector<std::byte> limited = read_image("kernels-options.fatbin");
  const Container container = parse_or_fail(limited);
  ASSERT_EQ(container.entries().size(), 1u);
  EXPECT_NE(container.entries()[0].options.find("-O1"), std::string_view::npos)
      << container.entries()[0].options;
  const std::vector<std::byte> debug = read_image("kernels-debug.fatbin");
  for (const Entry& entry : parse_or_fail(debug).entries())
    EXPECT_TRUE(entry.name.ends_with("kernels.cu")) << entry.name;
}

std::string chosen(const Container& container, Target target) {
  const Entry* entry = choose(container, target);
  if (entry == nullptr) return "none";
  const char* kind = entry->is_cubin() ? "sm_" : entry->is_ptx() ? "compute_" : "lto_";
  const char* feature = entry->feature == Feature::kArchitecture ? "a"
                        : entry->feature == Feature::kFamily     ? "f"
                                                                 : "";
  return kind + std::to_string(entry->sm) + feature;
}

TEST(Choose, TakesTheClosestCubinElseThePtx) {
  const std::vector<std::byte> bytes = read_image("kernels-default.fatbin");
  const Container container = parse_or_fail(bytes);
  EXPECT_EQ(chosen(container, {75, false}), "sm_75");
  EXPECT_EQ(chosen(container, {90, false}), "sm_90");
  EXPECT_EQ(chosen(container, {121, false}), "sm_120");
  EXPECT_EQ(chosen(container, {100, false}), "compute_90") << "another major version";
  EXPECT_EQ(chosen(container, {86, false}), "none") << "the PTX is newer than the device";
  EXPECT_EQ(chosen(container, {72, false}), "none");
}

TEST(Choose, TakesOnlyPtxForASoftwareDevice) {
  const std::vector<std::byte> bytes = read_image("kernels-default.fatbin");
  const Container container = parse_or_fail(bytes);
  EXPECT_EQ(chosen(container, {90, true}), "compute_90");
  EXPECT_EQ(chosen(container, {121, true}), "compute_90");
  EXPECT_EQ(chosen(container, {75, true}), "none");
}

TEST(Choose, TakesCodeForOneGpuOnlyThere) {
  const std::vector<std::byte> bytes = read_image("kernels-specific.fatbin");
  const Container container = parse_or_fail(bytes);
  EXPECT_EQ(chosen(container, {90, false}), "sm_90a");
  EXPECT_EQ(chosen(container, {100, false}), "sm_100f");
  EXPECT_EQ(chosen(container, {103, false}), "sm_100f");
  EXPECT_EQ(chosen(container, {103, true}), "compute_100f");
  EXPECT_EQ(chosen(container, {120, false}), "compute_90") << "neither 9.0 nor of 10.0's family";
  EXPECT_EQ(chosen(container, {90, true}), "compute_90a");
}

TEST(Choose, TakesLtoIrOnlyIfThereIsNothingElse) {
  const std::vector<std::byte> bytes = read_image("kernels-lto.fatbin");
  const Container container = parse_or_fail(bytes);
  EXPECT_EQ(chosen(container, {90, false}), "lto_90");
  EXPECT_EQ(chosen(container, {90, true}), "none");
}

TEST(Trim, KeepsEntriesByteForByte) {
  const std::vector<std::byte> bytes = read_image("kernels-default.fatbin");
  const Container container = parse_or_fail(bytes);
  const Entry* keep[] = {choose(container, {90, true}), choose(container, {120, false})};
  const std::vector<std::byte> small = trim(keep);
  EXPECT_LT(small.size(), bytes.size());
  const Container again = parse_or_fail(small);
  ASSERT_EQ(again.entries().size(), 2u);
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_TRUE(std::ranges::equal(again.entries()[i].whole, keep[i]->whole));
    EXPECT_EQ(*payload(again.entries()[i]), *payload(*keep[i]));
  }
  EXPECT_EQ(parse_or_fail(trim({})).entries().size(), 0u);
}

TEST(Trim, OfEverythingIsTheOriginal) {
  const std::vector<std::byte> bytes = read_image("kernels-size.fatbin");
  const Container container = parse_or_fail(bytes);
  std::vector<const Entry*> all;
  for (const Entry& entry : container.entries()) all.push_back(&entry);
  EXPECT_EQ(trim(all), bytes);
}

}  // namespace
}  // namespace farcall::image
