#include "softgpu/driver/check_report.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <string>

#include "softgpu/driver/driver.h"

namespace farcall::softgpu {
namespace {

// Every line begins so, which tells the report from what the program prints.
constexpr char kMark[] = "========= ";

const char* name_of(CheckTool tool) {
  switch (tool) {
    case CheckTool::kMemory:
      return "memcheck";
    case CheckTool::kRaces:
      return "racecheck";
    case CheckTool::kInitialized:
      return "initcheck";
  }
  return "";
}

void print(const std::string& text) { std::fwrite(text.data(), 1, text.size(), stderr); }

bool can_leak(const Region& region) {
  switch (region.kind) {
    case Region::Kind::kDevice:
    case Region::Kind::kPool:
    case Region::Kind::kManaged:
    case Region::Kind::kHost:
      return true;
    default:
      return false;
  }
}

const char* maker_of(Region::Kind kind) {
  switch (kind) {
    case Region::Kind::kManaged:
      return "managed memory";
    case Region::Kind::kHost:
      return "pinned host memory";
    case Region::Kind::kPool:
      return "memory of a pool";
    default:
      return "device memory";
  }
}

// Runs when the process ends, after the program's own destructors and exit handlers.
[[gnu::destructor]] void at_exit() {
  Driver* const driver = Driver::get();
  if (driver == nullptr || !driver->config.check.any()) return;
  if (getpid() != driver->process) return;  // a forked child
  if (driver->config.check_leaks) driver->check_report.add_leaks(nullptr);
  const uint64_t found = driver->check_report.finish();
  if (found == 0 || driver->config.check_exit == 0) return;
  std::fflush(nullptr);
  _exit(driver->config.check_exit);
}

}  // namespace

void CheckReport::add(const Finding& finding) {
  const std::lock_guard lock(mutex_);
  if (finding.repeated) {
    ++repetitions_;
    return;
  }
  ++findings_[static_cast<int>(finding.tool)];
  std::string text = fmt::format("{}{}: {}\n", kMark, name_of(finding.tool), finding.title);
  for (const std::string& line : finding.details) text += fmt::format("{}    {}\n", kMark, line);
  text += fmt::format("{}\n", kMark);
  print(text);
}

void CheckReport::add_leaks(const Context* context) {
  constexpr size_t kShownMax = 20;
  uint64_t count = 0, bytes = 0;
  std::string text;
  for (const Region& region : driver().memory_map.all()) {
    if (!can_leak(region) || (context != nullptr && region.context != context)) continue;
    bytes += region.bytes;
    if (++count > kShownMax) continue;
    text += fmt::format("{}leakcheck: {} bytes of {} at {:#x} were not freed\n", kMark,
                        region.bytes, maker_of(region.kind), region.base);
  }
  if (count == 0) return;
  if (count > kShownMax) {
    text += fmt::format("{}leakcheck: and {} more\n", kMark, count - kShownMax);
  }
  const std::lock_guard lock(mutex_);
  leaks_ += count;
  leaked_bytes_ += bytes;
  print(text);
}

uint64_t CheckReport::finish() {
  const std::lock_guard lock(mutex_);
  uint64_t total = leaks_;
  std::string text;
  auto append = [&text](const std::string& part) { text += (text.empty() ? "" : ", ") + part; };
  for (const CheckTool tool : {CheckTool::kMemory, CheckTool::kRaces, CheckTool::kInitialized}) {
    const uint64_t count = findings_[static_cast<int>(tool)];
    total += count;
    if (count > 0) append(fmt::format("{} by {}", count, name_of(tool)));
  }
  if (leaks_ > 0) append(fmt::format("{} leaks of {} bytes together", leaks_, leaked_bytes_));
  if (repetitions_ > 0) append(fmt::format("{} repetitions not shown", repetitions_));
  print(fmt::format("{}farcall: {} finding{}{}{}\n", kMark, total, total == 1 ? "" : "s",
                    text.empty() ? "" : ": ", text));
  return total;
}

}  // namespace farcall::softgpu
