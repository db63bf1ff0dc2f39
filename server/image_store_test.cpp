#include "server/image_store.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

namespace farcall::server {
namespace {

namespace fs = std::filesystem;

std::vector<std::byte> image_of(size_t bytes, char content) {
  return std::vector<std::byte>(bytes, std::byte(content));
}

class ImageStoreTest : public testing::Test {
 protected:
  ImageStoreTest() {
    std::string pattern = testing::TempDir() + "farcall-images-XXXXXX";
    folder = ::mkdtemp(pattern.data());
  }
  ~ImageStoreTest() override { fs::remove_all(folder); }

  static Status put(ImageStore& store, const std::vector<std::byte>& image) {
    return store.add(hash_of(image), image.size(), 0, image);
  }
  std::string path_of(const std::vector<std::byte>& image) const {
    return folder + "/" + to_hex(hash_of(image)) + ".image";
  }
  size_t files() const {
    return size_t(std::distance(fs::directory_iterator(folder), fs::directory_iterator()));
  }

  std::string folder;
};

TEST_F(ImageStoreTest, GivesBackWhatWasAddedInChunks) {
  ImageStore store(folder, 1 << 20);
  const auto image = image_of(1000, 'a');
  const ImageHash hash = hash_of(image);
  EXPECT_FALSE(store.hold(hash, image.size()));
  for (size_t offset = 0; offset < 1000; offset += 250) {
    EXPECT_EQ(store.find(hash), nullptr) << "not before it is whole";
    EXPECT_EQ(store.add(hash, 1000, offset, std::span(image).subspan(offset, 250)), Status::kOk);
  }
  ASSERT_NE(store.find(hash), nullptr);
  EXPECT_TRUE(std::ranges::equal(store.find(hash)->bytes(), image));
  EXPECT_EQ(files(), 1u) << "no temporary file stays";
}

TEST_F(ImageStoreTest, AnotherSessionFindsIt) {
  const auto image = image_of(1000, 'a');
  {
    ImageStore first(folder, 1 << 20);
    EXPECT_EQ(put(first, image), Status::kOk);
  }
  ImageStore second(folder, 1 << 20);
  EXPECT_EQ(second.find(hash_of(image)), nullptr) << "find() is for what hold() said yes to";
  EXPECT_TRUE(second.hold(hash_of(image), 1000));
  EXPECT_FALSE(second.hold(hash_of(image), 999));
  EXPECT_TRUE(std::ranges::equal(second.find(hash_of(image))->bytes(), image));
}

TEST_F(ImageStoreTest, AFileThatIsNotWhatItsNameSaysIsRemoved) {
  const auto image = image_of(1000, 'a');
  std::ofstream(path_of(image)) << std::string(1000, 'b');
  ImageStore store(folder, 1 << 20);
  testing::internal::CaptureStderr();
  EXPECT_FALSE(store.hold(hash_of(image), 1000));
  EXPECT_NE(testing::internal::GetCapturedStderr().find("is not what its name says"),
            std::string::npos);
  EXPECT_EQ(files(), 0u);
}

TEST_F(ImageStoreTest, ALinkIsNotFollowed) {
  const auto image = image_of(1000, 'a');
  std::ofstream(folder + "/elsewhere") << std::string(1000, 'a');
  fs::create_symlink(folder + "/elsewhere", path_of(image));
  ImageStore store(folder, 1 << 20);
  EXPECT_FALSE(store.hold(hash_of(image), 1000));
}

TEST_F(ImageStoreTest, ChunksOutOfOrderOrBeyondTheEndAreRefusedAndForgotten) {
  ImageStore store(folder, 1 << 20);
  const auto image = image_of(1000, 'a');
  const ImageHash hash = hash_of(image);
  const auto part = std::span(image).first(600);
  testing::internal::CaptureStderr();
  EXPECT_EQ(store.add(hash, 1000, 400, part), Status::kInvalid) << "the first is missing";
  EXPECT_EQ(store.add(hash, 1000, 0, part), Status::kOk);
  EXPECT_EQ(store.add(hash, 1000, 600, part), Status::kInvalid) << "beyond the end";
  EXPECT_EQ(store.add(hash, 1000, 600, std::span(image).first(400)), Status::kInvalid)
      << "forgotten";
  EXPECT_EQ(store.add(hash, 1000, 0, {}), Status::kInvalid) << "no progress";
  EXPECT_EQ(store.add(hash, 10, 0, part), Status::kInvalid);
  testing::internal::GetCapturedStderr();
  EXPECT_EQ(put(store, image), Status::kOk) << "and can be tried again";
}

TEST_F(ImageStoreTest, AnUploadThatStartsAgainReplacesTheFirst) {
  ImageStore store(folder, 1 << 20);
  const auto image = image_of(1000, 'a');
  const auto wrong = image_of(600, 'b');
  EXPECT_EQ(store.add(hash_of(image), 1000, 0, wrong), Status::kOk);
  EXPECT_EQ(store.add(hash_of(image), 1000, 0, std::span(image).first(600)), Status::kOk);
  EXPECT_EQ(store.add(hash_of(image), 1000, 600, std::span(image).last(400)), Status::kOk);
  EXPECT_NE(store.find(hash_of(image)), nullptr);
}

TEST_F(ImageStoreTest, AnotherHashIsRefused) {
  ImageStore store(folder, 1 << 20);
  const auto image = image_of(1000, 'a'), other = image_of(1000, 'b');
  testing::internal::CaptureStderr();
  EXPECT_EQ(store.add(hash_of(other), 1000, 0, image), Status::kInvalid);
  testing::internal::GetCapturedStderr();
  EXPECT_EQ(store.find(hash_of(other)), nullptr);
  EXPECT_EQ(files(), 0u);
}

TEST_F(ImageStoreTest, TheImagesUsedLongestAgoMakeRoom) {
  ImageStore store(folder, 2500);
  const auto a = image_of(1000, 'a'), b = image_of(1000, 'b'), c = image_of(1000, 'c');
  EXPECT_EQ(put(store, a), Status::kOk);
  EXPECT_EQ(put(store, b), Status::kOk);
  const timespec long_ago[2] = {{1000, 0}, {1000, 0}};
  ASSERT_EQ(::utimensat(AT_FDCWD, path_of(b).c_str(), long_ago, 0), 0);
  EXPECT_EQ(put(store, c), Status::kOk);
  EXPECT_TRUE(fs::exists(path_of(a)));
  EXPECT_FALSE(fs::exists(path_of(b)));
  EXPECT_TRUE(fs::exists(path_of(c)));
  EXPECT_TRUE(std::ranges::equal(store.find(hash_of(b))->bytes(), b)) << "who holds it keeps it";
}

TEST_F(ImageStoreTest, WithoutAUsableFolderImagesStayInMemory) {
  const std::string gone = folder + "/gone";
  const auto image = image_of(1000, 'a');
  for (const std::string& place : {gone, std::string()}) {
    ImageStore store(place, 1 << 20);
    testing::internal::CaptureStderr();
    EXPECT_EQ(put(store, image), Status::kOk);
    const std::string said = testing::internal::GetCapturedStderr();
    const bool told = said.find("keeps its images in memory") != std::string::npos;
    EXPECT_EQ(told, !place.empty());
    EXPECT_TRUE(store.hold(hash_of(image), 1000));
    EXPECT_TRUE(std::ranges::equal(store.find(hash_of(image))->bytes(), image));
  }
}

TEST_F(ImageStoreTest, AFullDiskIsToldOnceAndImagesStayInMemory) {
  rlimit unlimited = {};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &unlimited), 0);
  const auto a = image_of(5000, 'a'), b = image_of(5000, 'b');
  ImageStore store(folder, 1 << 20);
  testing::internal::CaptureStderr();
  {
    // The nearest thing to a full disk: writes end early, as with ENOSPC.
    ::signal(SIGXFSZ, SIG_IGN);
    const rlimit small = {100, unlimited.rlim_max};
    ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
    EXPECT_EQ(put(store, a), Status::kOk);
    EXPECT_EQ(put(store, b), Status::kOk);
    ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &unlimited), 0);
  }
  const std::string said = testing::internal::GetCapturedStderr();
  EXPECT_EQ(said.find("can't take"), said.rfind("can't take"));
  EXPECT_TRUE(std::ranges::equal(store.find(hash_of(a))->bytes(), a));
  EXPECT_TRUE(std::ranges::equal(store.find(hash_of(b))->bytes(), b));
  EXPECT_EQ(files(), 0u) << "no half file stays";
}

TEST(ImageHashTest, IsSha256) {
  EXPECT_EQ(to_hex(hash_of({})),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_FALSE(parse_hash(image_of(31, 'x')));
  EXPECT_TRUE(parse_hash(image_of(32, 'x')));
}

}  // namespace
}  // namespace farcall::server
