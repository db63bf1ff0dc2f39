// `farcall smi`: the devices as nvidia-smi shows them, for people and scripts that know that tool.
#pragma once

#include <filesystem>
#include <string>

namespace farcall::cli {

struct SmiOptions {
  bool list = false;           // -L: one line per device
  std::string query;           // --query-gpu: names of fields, separated by commas
  std::string format = "csv";  // of a query: csv, and noheader and nounits after commas
};

// Asks the libnvidia-ml.so.1 in `folder`. Gives the exit status.
int smi(const std::filesystem::path& folder, const SmiOptions& options);

}  // namespace farcall::cli
