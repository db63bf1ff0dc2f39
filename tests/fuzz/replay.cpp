// Runs a fuzzer's function without libFuzzer: over each seed (a file, or every file of a folder),
// over each seed cut at many lengths, and over each seed with single bytes changed. A fuzzer that
// has a mutator of its own is also given what that makes of the seeds, change upon change. The same
// inputs every time; --seconds=N goes on for longer, and --save=FILE writes each input there before
// it runs, so that the one that crashed is known.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "base/log.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);
// Only where the fuzzer has one.
extern "C" [[gnu::weak]] size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t size_max,
                                                        unsigned seed);

// What libFuzzer offers mutators for changes of bytes.
extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t) {
  static std::mt19937 random(1);
  if (size != 0) data[random() % size] = static_cast<uint8_t>(random());
  return size;
}

namespace {

namespace fs = std::filesystem;

// Per seed; keeps a large seed from taking minutes.
constexpr size_t kCutsMax = 2000, kChangesMax = 4000;
// By the fuzzer's own mutator, in all.
constexpr uint64_t kMutationsMin = 6000;

std::string save_to;

// A copy of exact size on the heap, so that a sanitizer sees a read past the end.
int run(const std::string& bytes) {
  if (!save_to.empty()) std::ofstream(save_to, std::ios::binary) << bytes;
  const std::vector<uint8_t> exact(bytes.begin(), bytes.end());
  return LLVMFuzzerTestOneInput(exact.data(), exact.size());
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

// Chains of changes, each from a seed on. What a fuzzer has no use for (it returns -1) is changed
// back: after a few such nothing would be left that gets past the parser.
uint64_t mutate(const std::vector<std::string>& seeds, double seconds) {
  constexpr size_t kBytesMax = 1 << 16;
  constexpr unsigned kChainMax = 40;
  const auto start = std::chrono::steady_clock::now();
  auto elapsed = [&] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  };
  std::mt19937 random(seconds > 0 ? std::random_device{}() : 7);
  std::vector<uint8_t> bytes(kBytesMax);
  uint64_t runs = 0;
  while (runs < kMutationsMin || elapsed() < seconds) {
    std::string current = seeds[random() % seeds.size()].substr(0, kBytesMax);
    for (unsigned left = 1 + random() % kChainMax; left > 0; --left, ++runs) {
      std::copy(current.begin(), current.end(), bytes.begin());
      const size_t size = LLVMFuzzerCustomMutator(bytes.data(), current.size(), kBytesMax,
                                                  static_cast<unsigned>(random()));
      std::string changed(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size));
      if (run(changed) == 0) current = std::move(changed);
    }
  }
  return runs;
}

std::string read(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

}  // namespace

int main(int argc, char** argv) {
  farcall::log::set_level(farcall::log::Level::kOff);  // every input is bad, and says so
  std::vector<fs::path> seeds;
  double seconds = 0;
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    if (argument.starts_with("--seconds=")) {
      seconds = std::atof(argv[i] + 10);
    } else if (argument.starts_with("--save=")) {
      save_to = argument.substr(7);
    } else if (fs::is_directory(argv[i])) {
      for (const fs::directory_entry& entry : fs::directory_iterator(argv[i]))
        seeds.push_back(entry.path());
    } else {
      seeds.emplace_back(argv[i]);
    }
  }
  std::sort(seeds.begin(), seeds.end());
  std::vector<std::string> texts;
  for (const fs::path& seed : seeds) texts.push_back(read(seed));
  if (seconds == 0) std::for_each(texts.begin(), texts.end(), run_all);
  uint64_t mutations = 0;
  if (LLVMFuzzerCustomMutator != nullptr && !texts.empty()) mutations = mutate(texts, seconds);
  std::printf("%zu seeds, %llu mutations\n", seeds.size(),
              static_cast<unsigned long long>(mutations));
  return seeds.empty() ? EXIT_FAILURE : EXIT_SUCCESS;
}
