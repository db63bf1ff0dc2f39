// A log of failures that a program may read back: the last few lines, numbered, with a limit on
// their bytes. Readers hold the number of the next line they want. Functions of the program may be
// called with each line, in the thread that adds it. Any thread may call anything.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

namespace farcall {

class ErrorLog {
 public:
  // `message` ends with a NUL that `length` does not count.
  using Callback = void (*)(void* data, int level, char* message, size_t length);
  static constexpr size_t kBytesMax = 25600;  // of all lines with their ends

  // A line gets time and thread in front. What a callback of this log adds in turn is kept, and no
  // callback hears of it.
  void add(int level, std::string_view line);
  unsigned end() const;  // the number of the next line

  // The lines from *from on (null: all that are kept), each with a newline. Says in a first line
  // that some are lost; moves *from behind the last.
  std::string read(unsigned* from) const;
  // The same, the newest of them that `room` bytes and a NUL hold. False, and no text: not even
  // the newest.
  bool read(unsigned* from, size_t room, std::string* text) const;

  // The same into a buffer of *size bytes, which becomes the length of the text; or into a file.
  bool write_text(unsigned* from, char* buffer, size_t* size) const;
  bool write_file(unsigned* from, const char* path) const;

  void* add_callback(Callback callback, void* data);
  bool remove_callback(void* handle);  // false: it is none

 private:
  struct Registered {
    Callback callback;
    void* data;
  };
  std::string lines(unsigned first, bool lost) const;  // mutex_ is held

  mutable std::mutex mutex_;  // guards what follows
  std::deque<std::string> lines_;
  size_t bytes_ = 0;
  unsigned end_ = 0;
  std::vector<std::unique_ptr<Registered>> callbacks_;
};

}  // namespace farcall
