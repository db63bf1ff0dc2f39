// The folder in which workers keep uploaded device images, as the daemon sets it up: the
// operator's choice, or $XDG_RUNTIME_DIR/farcall/images, or a private temporary folder that goes
// with the daemon. Only its owner may look into it: what lies there is run on behalf of others.
#pragma once

#include <string>

namespace farcall::server {

class ImageStoreFolder {
 public:
  // An empty path() afterwards: there is none (logged), and workers keep images in memory.
  explicit ImageStoreFolder(const std::string& wanted);
  ~ImageStoreFolder();
  ImageStoreFolder(const ImageStoreFolder&) = delete;
  ImageStoreFolder& operator=(const ImageStoreFolder&) = delete;

  const std::string& path() const { return path_; }

 private:
  std::string path_;
  bool temporary_ = false;
};

}  // namespace farcall::server
