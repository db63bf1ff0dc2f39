#include "server/image_store_folder.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "base/log.h"

namespace farcall::server {
namespace {

namespace fs = std::filesystem;

// Makes the folder and sees that it is ours alone.
bool usable(const std::string& path, std::string* why) {
  std::error_code error;
  fs::create_directories(path, error);
  if (error) {
    *why = error.message();
    return false;
  }
  struct stat found = {};
  if (::stat(path.c_str(), &found) != 0 || ::access(path.c_str(), W_OK | X_OK) != 0) {
    *why = std::strerror(errno);
    return false;
  }
  if (found.st_uid != ::geteuid()) {
    *why = "it belongs to another user";
    return false;
  }
  if ((found.st_mode & 0022) != 0) {
    *why = "others may write to it";
    return false;
  }
  return true;
}

std::string text_of(const char* variable) {
  const char* value = ::getenv(variable);
  return value != nullptr ? value : "";
}

}  // namespace

ImageStoreFolder::ImageStoreFolder(const std::string& wanted) {
  const mode_t old_mask = ::umask(0077);
  std::string why;
  const std::string runtime_dir = text_of("XDG_RUNTIME_DIR");
  if (!wanted.empty()) {
    if (usable(wanted, &why)) {
      path_ = fs::absolute(wanted).string();
    } else {
      log::error("--image-store {}: {}; workers keep images in memory", wanted, why);
    }
  } else if (!runtime_dir.empty() && usable(runtime_dir + "/farcall/images", &why)) {
    path_ = runtime_dir + "/farcall/images";
  } else {
    const std::string base = text_of("TMPDIR");
    std::string pattern = (base.empty() ? "/tmp" : base) + "/farcall-images-XXXXXX";
    if (::mkdtemp(pattern.data()) != nullptr) {
      path_ = pattern;
      temporary_ = true;
    } else {
      log::error("cannot make {}: {}; workers keep images in memory", pattern,
                 std::strerror(errno));
    }
  }
  ::umask(old_mask);
}

ImageStoreFolder::~ImageStoreFolder() {
  std::error_code ignored;
  if (temporary_) fs::remove_all(path_, ignored);
}

}  // namespace farcall::server
