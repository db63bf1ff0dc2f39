#include "server/image_store.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>

#include "base/log.h"
#include "base/unique_fd.h"

namespace farcall::server {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kSuffix = ".image";

bool write_all(int fd, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t got = ::write(fd, bytes.data(), bytes.size());
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    bytes = bytes.subspan(size_t(got));
  }
  return true;
}

}  // namespace

std::optional<ImageHash> parse_hash(std::span<const std::byte> bytes) {
  ImageHash hash;
  if (bytes.size() != hash.size()) return std::nullopt;
  std::copy(bytes.begin(), bytes.end(), hash.begin());
  return hash;
}

ImageHash hash_of(std::span<const std::byte> bytes) {
  ImageHash hash{};
  unsigned length = 0;
  const int done =
      EVP_Digest(bytes.data(), bytes.size(), reinterpret_cast<unsigned char*>(hash.data()), &length,
                 EVP_sha256(), nullptr);
  assert(done == 1 && length == hash.size());
  return hash;
}

std::string to_hex(const ImageHash& hash) {
  std::string text;
  for (const std::byte byte : hash) {
    text += "0123456789abcdef"[unsigned(byte) >> 4];
    text += "0123456789abcdef"[unsigned(byte) & 15];
  }
  return text;
}

std::shared_ptr<const Image> Image::map(const std::string& path) {
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  struct stat found = {};
  if (!file || ::fstat(file.get(), &found) != 0) return nullptr;
  if (!S_ISREG(found.st_mode) || found.st_size == 0) {
    errno = EINVAL;
    return nullptr;
  }
  void* memory = ::mmap(nullptr, size_t(found.st_size), PROT_READ, MAP_PRIVATE, file.get(), 0);
  if (memory == MAP_FAILED) return nullptr;
  std::shared_ptr<Image> image(new Image);
  image->bytes_ = {static_cast<const std::byte*>(memory), size_t(found.st_size)};
  image->mapped_ = true;
  return image;
}

Image::~Image() {
  if (mapped_) ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
}

ImageStore::ImageStore(std::string folder, uint64_t folder_bytes_max)
    : folder_(std::move(folder)), folder_bytes_max_(folder_bytes_max) {}

bool ImageStore::hold(const ImageHash& hash, uint64_t bytes) {
  const std::lock_guard lock(mutex_);
  const auto known = held_.find(hash);
  if (known != held_.end()) return known->second->bytes().size() == bytes;
  std::shared_ptr<const Image> image = open(hash, bytes);
  if (!image) return false;
  held_[hash] = std::move(image);
  return true;
}

Status ImageStore::add(const ImageHash& hash, uint64_t image_bytes, uint64_t offset,
                       std::span<const std::byte> chunk) {
  const std::lock_guard lock(mutex_);
  if (held_.contains(hash)) return Status::kOk;  // another thread of the client was faster
  std::vector<std::byte>& upload = uploads_[hash];
  const auto give_up = [&](Status status) {
    memory_bytes_ -= upload.size();
    uploads_.erase(hash);
    return status;
  };
  if (offset == 0 && !upload.empty()) {  // starts again
    memory_bytes_ -= upload.size();
    upload.clear();
  }
  if (offset != upload.size() || chunk.empty() || image_bytes < upload.size() ||
      image_bytes - upload.size() < chunk.size()) {
    log::warning("image {}: a chunk of {} bytes at {} of {} does not follow {} received ones",
                 to_hex(hash), chunk.size(), offset, image_bytes, upload.size());
    return give_up(Status::kInvalid);
  }
  if (memory_bytes_ + chunk.size() > kMemoryBytesMax) {
    log::warning("image {}: uploads of this session exceed {} MiB", to_hex(hash),
                 kMemoryBytesMax >> 20);
    return give_up(Status::kQuota);
  }
  upload.insert(upload.end(), chunk.begin(), chunk.end());
  memory_bytes_ += chunk.size();
  if (upload.size() < image_bytes) return Status::kOk;

  if (hash_of(upload) != hash) {
    log::warning("image {}: what was uploaded has another hash", to_hex(hash));
    return give_up(Status::kInvalid);
  }
  std::vector<std::byte> whole = std::move(upload);
  uploads_.erase(hash);
  held_[hash] = finish(hash, std::move(whole));
  return Status::kOk;
}

std::shared_ptr<const Image> ImageStore::find(const ImageHash& hash) const {
  const std::lock_guard lock(mutex_);
  const auto known = held_.find(hash);
  return known != held_.end() ? known->second : nullptr;
}

// From the folder, if it is there and what its name says.
std::shared_ptr<const Image> ImageStore::open(const ImageHash& hash, uint64_t bytes) const {
  if (folder_.empty()) return nullptr;
  const std::string path = path_of(hash);
  std::shared_ptr<const Image> image = Image::map(path);
  if (!image) return nullptr;
  if (image->bytes().size() != bytes || hash_of(image->bytes()) != hash) {
    log::warning("{} is not what its name says; removing it", path);
    ::unlink(path.c_str());
    return nullptr;
  }
  ::utimensat(AT_FDCWD, path.c_str(), nullptr, 0);  // used now: others go first
  return image;
}

// To the folder, or else it stays in memory.
std::shared_ptr<const Image> ImageStore::finish(const ImageHash& hash,
                                                std::vector<std::byte> bytes) {
  const size_t size = bytes.size();
  if (!folder_.empty() && size <= folder_bytes_max_) {
    make_room(size);
    if (write(hash, bytes)) {
      if (auto image = Image::map(path_of(hash))) {
        memory_bytes_ -= size;
        return image;
      }
    }
  }
  return std::make_shared<const Image>(std::move(bytes));
}

bool ImageStore::write(const ImageHash& hash, std::span<const std::byte> bytes) {
  const std::string temporary = fmt::format("{}/{}.{}.tmp", folder_, to_hex(hash), ::getpid());
  ::unlink(temporary.c_str());  // of a dead process that had our number
  UniqueFd file(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  const bool written = file && write_all(file.get(), bytes) &&
                       ::rename(temporary.c_str(), path_of(hash).c_str()) == 0;
  if (written) return true;
  const int error = errno;
  if (file) ::unlink(temporary.c_str());
  if (!std::exchange(write_failure_logged_, true)) {
    log::warning(
        "the image store {} can't take {} bytes: {}; this session keeps its images in "
        "memory",
        folder_, bytes.size(), std::strerror(error));
  }
  return false;
}

void ImageStore::make_room(uint64_t bytes) const {
  struct Stored {
    fs::path path;
    uint64_t bytes;
    fs::file_time_type used;
  };
  std::vector<Stored> stored;
  uint64_t total = bytes;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder_, error)) {
    if (entry.path().extension() != kSuffix) continue;
    const uint64_t size = entry.file_size(error);
    if (error) continue;  // another worker removed it
    stored.push_back({entry.path(), size, entry.last_write_time(error)});
    total += size;
  }
  std::sort(stored.begin(), stored.end(),
            [](const Stored& a, const Stored& b) { return a.used < b.used; });
  for (const Stored& oldest : stored) {
    if (total <= folder_bytes_max_) return;
    fs::remove(oldest.path, error);  // who has it mapped keeps it
    total -= oldest.bytes;
  }
}

std::string ImageStore::path_of(const ImageHash& hash) const {
  return folder_ + "/" + to_hex(hash) + std::string(kSuffix);
}

}  // namespace farcall::server
