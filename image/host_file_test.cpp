#include "image/host_file.h"

#include <gtest/gtest.h>

#include "image/test_objects.h"

namespace farcall::image {
namespace {

Bytes bytes_of(const std::string& text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

TEST(HostFileTest, ObjectsHaveContainersAndParts) {
  const std::string a = container_of("a"), b = container_of("bb");
  const std::string plain = object_of(".nv_fatbin", {a, b});
  const auto objects = host_objects(bytes_of(plain));
  ASSERT_TRUE(objects);
  ASSERT_EQ(objects->size(), 1u);
  ASSERT_EQ((*objects)[0].containers.size(), 2u);
  EXPECT_TRUE((*objects)[0].parts.empty());
  EXPECT_EQ(as_text((*objects)[0].containers[0]), a);
  EXPECT_EQ(as_text((*objects)[0].containers[1]), b);
  const std::string parts = object_of("__nv_relfatbin", {a});
  EXPECT_EQ(host_objects(bytes_of(parts)).take().at(0).parts.size(), 1u);
}

TEST(HostFileTest, ArchivesHaveThoseOfTheirMembers) {
  const std::string archive = archive_of(
      {"the table of symbols", object_of("__nv_relfatbin", {container_of("one")}),
       object_of(".text", {"code"}), object_of("__nv_relfatbin", {container_of("two")})});
  const auto objects = host_objects(bytes_of(archive));
  ASSERT_TRUE(objects);
  ASSERT_EQ(objects->size(), 2u) << "only members with device code";
  const auto container = Container::parse((*objects)[1].parts.at(0));
  ASSERT_TRUE(container);
  EXPECT_EQ(as_text(payload(container->entries().at(0)).take()), "two");
}

TEST(HostFileTest, DamagedFilesAreRefusedAtEveryByte) {
  const std::string archive = archive_of(
      {object_of("__nv_relfatbin", {container_of("one")}), object_of(".nv_fatbin", {"garbage"})});
  for (size_t cut = 0; cut < archive.size(); ++cut) {
    const std::string part = archive.substr(0, cut);
    if (const auto objects = host_objects(bytes_of(part)); objects && !objects->empty()) {
      EXPECT_GT(cut, 64u);
    }
    std::string flipped = archive;
    flipped[cut] = static_cast<char>(~flipped[cut]);
    (void)host_objects(bytes_of(flipped));
  }
  EXPECT_FALSE(host_objects(bytes_of("hello")));
  EXPECT_FALSE(host_objects({}));
}

}  // namespace
}  // namespace farcall::image
