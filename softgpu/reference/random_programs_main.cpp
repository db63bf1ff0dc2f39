// softgpu-random-programs: looks for programs on which the engine and the reference disagree.
//
//   softgpu-random-programs [--seconds=N] [--seed=N] [--count=N]
//   softgpu-random-programs --print --seed=N
//
// From the seed on, one after the other; prints the first ten that differ, shrunk, and ends with 1.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>

#include "softgpu/reference/random_programs.h"

using namespace farcall::softgpu::reference;

int main(int argc, char** argv) {
  uint64_t seed = 1, count = ~uint64_t{0};
  double seconds = 60;
  bool print = false;
  for (int i = 1; i < argc; ++i) {
    if (std::strncmp(argv[i], "--seconds=", 10) == 0)
      seconds = std::atof(argv[i] + 10);
    else if (std::strncmp(argv[i], "--seed=", 7) == 0)
      seed = std::strtoull(argv[i] + 7, nullptr, 0);
    else if (std::strncmp(argv[i], "--count=", 8) == 0)
      count = std::strtoull(argv[i] + 8, nullptr, 0);
    else if (std::strcmp(argv[i], "--print") == 0)
      print = true;
    else
      return std::fprintf(stderr, "usage: %s [--seconds=N] [--seed=N] [--count=N] [--print]\n",
                          argv[0]),
             2;
  }
  if (print) return std::fputs(generate(seed).text().c_str(), stdout), EXIT_SUCCESS;
  const auto start = std::chrono::steady_clock::now();
  auto elapsed = [&] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  };
  constexpr int kReportsMax = 10;
  uint64_t done = 0, too_long = 0;
  int found = 0;
  std::map<std::string, uint64_t> unsupported;
  for (; done < count && elapsed() < seconds && found < kReportsMax; ++done) {
    const Outcome outcome = check_seed(seed + done);
    if (outcome.verdict == Verdict::kTooLong) ++too_long;
    if (outcome.verdict == Verdict::kUnsupported)
      ++unsupported[outcome.detail.substr(outcome.detail.rfind("line "))];
    if (outcome.verdict != Verdict::kDiffer && outcome.verdict != Verdict::kInvalid) continue;
    ++found;
    std::printf("%s\n", outcome.detail.c_str());
    std::fflush(stdout);
  }
  std::map<std::string, uint64_t> instructions;
  for (const auto& [what, times] : unsupported)
    instructions[what.substr(what.find(':') + 2)] += times;
  for (const auto& [what, times] : instructions)
    std::printf("%llu times %s\n", static_cast<unsigned long long>(times), what.c_str());
  std::printf("%llu programs from seed %llu, %llu too long, %d differ, %.0f s\n",
              static_cast<unsigned long long>(done), static_cast<unsigned long long>(seed),
              static_cast<unsigned long long>(too_long), found, elapsed());
  return found == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
