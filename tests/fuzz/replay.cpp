// Runs a fuzzer's function without libFuzzer: over each seed (a file, or every file of a folder),
// over each seed cut at many lengths, and over each seed with single bytes changed. The same inputs
// every time.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "base/log.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace {

namespace fs = std::filesystem;

// Per seed; keeps a large seed from taking minutes.
constexpr size_t kCutsMax = 2000, kChangesMax = 4000;

// A copy of exact size on the heap, so that a sanitizer sees a read past the end.
void run(const std::string& bytes) {
  const std::vector<uint8_t> exact(bytes.begin(), bytes.end());
  LLVMFuzzerTestOneInput(exact.data(), exact.size());
}

void run_all(const std::string& seed) {
  run(seed);
  const size_t cut_step = std::max<size_t>(1, seed.size() / kCutsMax);
  for (size_t length = 0; length < seed.size(); length += cut_step) run(seed.substr(0, length));
  const size_t change_step = std::max<size_t>(1, seed.size() / kChangesMax);
  for (size_t at = 0; at < seed.size(); at += change_step) {
    for (const unsigned change : {0x01u, 0x80u, 0xffu}) {
      std::string changed = seed;
      changed[at] = static_cast<char>(static_cast<uint8_t>(changed[at]) ^ change);
      run(changed);
    }
  }
}

std::string read(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

}  // namespace

int main(int argc, char** argv) {
  farcall::log::set_level(farcall::log::Level::kOff);  // every input is bad, and says so
  std::vector<fs::path> seeds;
  for (int i = 1; i < argc; ++i) {
    if (fs::is_directory(argv[i])) {
      for (const fs::directory_entry& entry : fs::directory_iterator(argv[i]))
        seeds.push_back(entry.path());
    } else {
      seeds.emplace_back(argv[i]);
    }
  }
  std::sort(seeds.begin(), seeds.end());
  for (const fs::path& seed : seeds) run_all(read(seed));
  std::printf("%zu seeds\n", seeds.size());
  return seeds.empty() ? EXIT_FAILURE : EXIT_SUCCESS;
}
