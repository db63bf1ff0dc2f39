#include "base/error_log.h"

#include <fmt/format.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

namespace farcall {
namespace {

constexpr std::string_view kLost = "[older messages are lost]\n";

thread_local bool in_callback = false;

// "[14:03:59.123][1234]"
std::string prefix() {
  timespec now = {};
  clock_gettime(CLOCK_REALTIME, &now);
  tm local = {};
  localtime_r(&now.tv_sec, &local);
  return fmt::format("[{:02}:{:02}:{:02}.{:03}][{}]", local.tm_hour, local.tm_min, local.tm_sec,
                     now.tv_nsec / 1000000, syscall(SYS_gettid));
}

}  // namespace

void ErrorLog::add(int level, std::string_view line) {
  std::string text = prefix();
  text += line;
  std::vector<Registered> callbacks;
  {
    const std::lock_guard lock(mutex_);
    bytes_ += text.size() + 1;
    lines_.push_back(text);
    ++end_;
    while (bytes_ > kBytesMax) {
      bytes_ -= lines_.front().size() + 1;
      lines_.pop_front();
    }
    if (callbacks_.empty() || in_callback) return;
    for (const auto& each : callbacks_) callbacks.push_back(*each);
  }
  in_callback = true;
  for (const Registered& each : callbacks) {
    std::string copy = text;  // which it may change
    each.callback(each.data, level, copy.data(), copy.size());
  }
  in_callback = false;
}

unsigned ErrorLog::end() const {
  const std::lock_guard lock(mutex_);
  return end_;
}

std::string ErrorLog::lines(unsigned first, bool lost) const {
  std::string text;
  if (lost) text = kLost;
  const unsigned oldest = end_ - unsigned(lines_.size());
  for (size_t i = first - oldest; i < lines_.size(); ++i) (text += lines_[i]) += '\n';
  return text;
}

std::string ErrorLog::read(unsigned* from) const {
  std::string text;
  (void)read(from, 2 * kBytesMax, &text);
  return text;
}

bool ErrorLog::read(unsigned* from, size_t room, std::string* text) const {
  const std::lock_guard lock(mutex_);
  // Numbers wrap: distances don't.
  const unsigned wanted = from == nullptr ? unsigned(lines_.size()) : end_ - *from;
  const unsigned kept = std::min(wanted, unsigned(lines_.size()));
  bool lost = from != nullptr && wanted > kept && int(wanted) > 0;
  unsigned first = int(wanted) < 0 ? end_ : end_ - kept;
  text->clear();
  for (; first != end_; ++first, lost = true) {
    *text = lines(first, lost);
    if (text->size() >= room) continue;
    if (from != nullptr) *from = end_;
    return true;
  }
  const bool nothing = text->empty();
  text->clear();
  return nothing;
}

bool ErrorLog::write_text(unsigned* from, char* buffer, size_t* size) const {
  std::string text;
  const bool fits = read(from, *size, &text);
  if (*size > 0) text.copy(buffer, text.size()), buffer[text.size()] = '\0';
  *size = text.size();
  return fits;
}

bool ErrorLog::write_file(unsigned* from, const char* path) const {
  std::FILE* const file = std::fopen(path, "w");
  if (file == nullptr) return false;
  const std::string text = read(from);
  const bool written = std::fwrite(text.data(), 1, text.size(), file) == text.size();
  return std::fclose(file) == 0 && written;
}

void* ErrorLog::add_callback(Callback callback, void* data) {
  const std::lock_guard lock(mutex_);
  callbacks_.push_back(std::make_unique<Registered>(Registered{callback, data}));
  return callbacks_.back().get();
}

bool ErrorLog::remove_callback(void* handle) {
  const std::lock_guard lock(mutex_);
  return std::erase_if(callbacks_, [&](const auto& each) { return each.get() == handle; }) > 0;
}

}  // namespace farcall
