// Device images by content. A client offers a hash before it uploads, and uploads only what is not
// held, so code crosses the network once per server and not once per process. Images lie in a
// folder that all workers of a daemon share, one file each, named by its SHA-256; an upload becomes
// visible only when it is whole and its hash is right. Nothing read from the folder is believed:
// the hash is computed again when a worker opens a file, for another session's worker wrote it.
//
// When the folder can't take an image (full disk, no folder) the worker keeps it in memory for its
// session. The folder's size is bounded: before a new image, those used longest ago go. Any thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"

namespace farcall::server {

using ImageHash = std::array<std::byte, 32>;
std::optional<ImageHash> parse_hash(std::span<const std::byte> bytes);
ImageHash hash_of(std::span<const std::byte> bytes);
std::string to_hex(const ImageHash& hash);

// Bytes that stay where they are: a mapped file or memory.
class Image {
 public:
  explicit Image(std::vector<std::byte> memory) : memory_(std::move(memory)), bytes_(memory_) {}
  static std::shared_ptr<const Image> map(const std::string& path);  // nullptr: errno says why
  ~Image();
  Image(const Image&) = delete;
  Image& operator=(const Image&) = delete;

  std::span<const std::byte> bytes() const { return bytes_; }

 private:
  Image() = default;

  std::vector<std::byte> memory_;
  std::span<const std::byte> bytes_;
  bool mapped_ = false;
};

class ImageStore {
 public:
  // What one session may have in upload and in memory together.
  static constexpr uint64_t kMemoryBytesMax = uint64_t{1} << 30;

  ImageStore(std::string folder, uint64_t folder_bytes_max);

  // If so, find() gives it until the session ends, whatever happens to the folder.
  bool hold(const ImageHash& hash, uint64_t bytes);

  // Chunks of an image come in order. kInvalid: out of order, beyond its end, or the whole has
  // another hash; the upload is forgotten. kQuota: more than a session may have.
  Status add(const ImageHash& hash, uint64_t image_bytes, uint64_t offset,
             std::span<const std::byte> chunk);

  std::shared_ptr<const Image> find(const ImageHash& hash) const;  // nullptr: not held

 private:
  std::shared_ptr<const Image> open(const ImageHash& hash, uint64_t bytes) const;
  std::shared_ptr<const Image> finish(const ImageHash& hash, std::vector<std::byte> bytes);
  bool write(const ImageHash& hash, std::span<const std::byte> bytes);
  void make_room(uint64_t bytes) const;
  std::string path_of(const ImageHash& hash) const;

  const std::string folder_;
  const uint64_t folder_bytes_max_;

  mutable std::mutex mutex_;
  std::map<ImageHash, std::shared_ptr<const Image>> held_;
  std::map<ImageHash, std::vector<std::byte>> uploads_;
  uint64_t memory_bytes_ = 0;
  bool write_failure_logged_ = false;
};

}  // namespace farcall::server
