// softgpu-coverage: how much of the PTX in a set of files softgpu can decode.
//
// Takes what PTX comes in: texts, fat binaries, objects, archives, executables and shared
// libraries. Of each container the entry is taken that a device of --sm would get, every kernel in
// it is decoded, and what stands in the way is counted, all of it and not just the first per
// kernel. One text is in memory at a time, so that libraries of hundreds of megabytes can be looked
// at.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <map>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "image/fatbin.h"
#include "image/host_file.h"
#include "softgpu/decode/decoder.h"
#include "softgpu/decode/link.h"

namespace farcall::softgpu {
namespace {

constexpr const char* kHelp =
    "usage: softgpu-coverage [options] FILE|FOLDER...\n"
    "Decodes the kernels of all PTX in the files (PTX texts, fat binaries, objects, archives,\n"
    "libraries, executables; of folders: every *.ptx below) and prints what is missing.\n"
    "  --sm N         compute capability of the device, 10 * major + minor (default 121)\n"
    "  --sample N     only each Nth kernel\n"
    "  --examples     with each missing construct, one kernel that has it\n"
    "  --dump FOLDER  also write every PTX text into this folder\n"
    "  --limit P      fail if less than P percent of the kernels can be decoded\n";

struct Options {
  int sm = 121;
  unsigned sample = 1;
  bool examples = false;
  double limit = 0;
  std::string dump;
  std::vector<std::string> inputs;
};

// Memory for variables of programs that never run.
class HostMemory final : public AddressSpace {
 public:
  uint64_t window_base() const override { return 0; }
  uint64_t window_bytes() const override { return 0; }
  bool host_visible(uint64_t, size_t) const override { return false; }
  void* allocate(size_t bytes, size_t alignment) override {
    const size_t unit = std::max<size_t>(alignment, 64);
    return std::aligned_alloc(unit, (bytes + unit - 1) / unit * unit);
  }
  void deallocate(void* address) override { std::free(address); }
};

struct Missing {
  size_t kernels = 0;
  std::set<std::string> inputs;
  std::string example;
};

struct Counts {
  size_t texts = 0, bytes = 0, kernels = 0, decoded = 0, without_ptx = 0, damaged = 0;
  std::map<int, size_t> targets;  // sm -> texts
};

class Survey {
 public:
  explicit Survey(const Options& options) : options_(options) {}

  void add_file(const std::string& path, const std::string& name) {
    const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
    struct stat status {};
    if (fd < 0 || fstat(fd, &status) != 0) {
      fmt::print(stderr, "softgpu-coverage: cannot open {}: {}\n", path, std::strerror(errno));
      if (fd >= 0) close(fd);
      failed_ = true;
      return;
    }
    const auto size = static_cast<size_t>(status.st_size);
    input_ = name;
    if (size != 0) {
      void* const at = mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd, 0);
      if (at != MAP_FAILED) {
        add_image({static_cast<const std::byte*>(at), size});
        munmap(at, size);
      }
    }
    close(fd);
  }

  void print() const {
    fmt::print("{:<44} {:>6} {:>8} {:>9} {:>9} {:>8}  {}\n", "input", "texts", "MB", "kernels",
               "decoded", "%", "PTX for");
    Counts all;
    for (const auto& [name, counts] : inputs_) {
      print_row(name, counts);
      all.texts += counts.texts;
      all.bytes += counts.bytes;
      all.kernels += counts.kernels;
      all.decoded += counts.decoded;
    }
    if (inputs_.size() > 1) print_row("all", all);
    if (missing_.empty()) return;
    std::vector<std::pair<std::string, Missing>> rows(missing_.begin(), missing_.end());
    std::stable_sort(rows.begin(), rows.end(), [](const auto& a, const auto& b) {
      return a.second.kernels > b.second.kernels;
    });
    fmt::print("\n{:>9} {:>6}  missing\n", "kernels", "inputs");
    for (const auto& [what, missing] : rows) {
      fmt::print("{:>9} {:>6}  {}\n", missing.kernels, missing.inputs.size(), what);
      if (options_.examples) fmt::print("{:>18}{}\n", "", missing.example);
    }
  }

  int exit_code() const {
    size_t kernels = 0, decoded = 0;
    for (const auto& [name, counts] : inputs_) {
      kernels += counts.kernels;
      decoded += counts.decoded;
    }
    const bool enough =
        static_cast<double>(decoded) * 100 >= options_.limit * static_cast<double>(kernels);
    return failed_ || !enough ? 1 : 0;
  }

 private:
  static void print_row(const std::string& name, const Counts& counts) {
    std::string targets;
    for (const auto& [sm, texts] : counts.targets)
      targets += fmt::format("{}sm_{} x{}", targets.empty() ? "" : ", ", sm, texts);
    if (counts.without_ptx != 0)
      targets += fmt::format("{}no PTX x{}", targets.empty() ? "" : ", ", counts.without_ptx);
    if (counts.damaged != 0) targets += fmt::format(", damaged x{}", counts.damaged);
    const double percent = counts.kernels == 0 ? 100
                                               : 100.0 * static_cast<double>(counts.decoded) /
                                                     static_cast<double>(counts.kernels);
    fmt::print("{:<44} {:>6} {:>8.1f} {:>9} {:>9} {:>8.2f}  {}\n", name, counts.texts,
               static_cast<double>(counts.bytes) / 1e6, counts.kernels, counts.decoded, percent,
               targets);
  }

  void add_image(image::Bytes bytes) {
    const std::string_view text = image::as_text(bytes);
    if (text.starts_with("\x50\xed\x55\xba")) return add_container(bytes);
    if (const auto objects = image::host_objects(bytes)) {
      for (const image::HostObject& object : *objects) {
        inputs_[input_].damaged += object.damaged;
        for (image::Bytes each : object.containers) add_container(each);
        add_parts(object.parts);
      }
      return;
    }
    if (text.find(".version") != text.npos && text.find(".target") != text.npos) add_texts({text});
  }

  // The text for the device; empty: there is none.
  std::string chosen_text(image::Bytes bytes) {
    Counts& counts = inputs_[input_];
    const auto container = image::Container::parse(bytes);
    if (!container) {
      ++counts.damaged;
      return {};
    }
    const image::Entry* const entry =
        image::choose(*container, {.sm = options_.sm, .ptx_only = true});
    if (entry == nullptr) {
      ++counts.without_ptx;
      return {};
    }
    auto payload = image::payload(*entry);
    if (!payload) {
      ++counts.damaged;
      return {};
    }
    return std::string(image::as_text(*payload));
  }

  void add_container(image::Bytes bytes) {
    const std::string text = chosen_text(bytes);
    if (!text.empty()) add_texts({text});
  }

  // With -rdc=true the parts are linked with each other.
  void add_parts(std::span<const image::Bytes> parts) {
    std::vector<std::string> texts;
    for (image::Bytes part : parts) {
      std::string text = chosen_text(part);
      if (!text.empty()) texts.push_back(std::move(text));
    }
    if (!texts.empty()) add_texts({texts.begin(), texts.end()});
  }

  void add_texts(std::vector<std::string_view> texts) {
    Counts& counts = inputs_[input_];
    for (std::string_view text : texts) {
      ++counts.texts;
      counts.bytes += text.size();
      dump(text);
    }
    HostMemory memory;
    LoadError error{};
    const auto program = LinkedProgram::link(texts, memory, &error);
    if (!program) {
      // Nobody knows how many kernels; the text says how often it has the directive.
      size_t entries = 0;
      for (std::string_view text : texts) {
        for (size_t at = 0; (at = text.find(".entry", at)) != text.npos; at += 6) ++entries;
      }
      counts.kernels += entries;
      note(error, entries, texts.front().substr(0, 40));
      return;
    }
    for (size_t m = 0; m < texts.size(); ++m) ++counts.targets[program->module(m).target];
    for (u32 i = 0; i < program->functions().size(); ++i) {
      const ptx::Function& function = *program->functions()[i].function;
      if (!function.is_entry || seen_++ % options_.sample != 0) continue;
      ++counts.kernels;
      const std::vector<LoadError> errors = survey_kernel(*program, i);
      if (errors.empty()) ++counts.decoded;
      std::set<std::string> of_kernel;
      for (const LoadError& each : errors) {
        if (of_kernel.insert(construct(each)).second) note(each, 1, function.name);
      }
    }
  }

  // "line 17: unsupported instruction 'x'" -> "unsupported instruction 'x'"
  static std::string construct(const LoadError& error) {
    std::string_view message = error.message;
    const size_t line = message.find("line ");
    if (line != message.npos) {
      const size_t colon = message.find(": ", line);
      if (colon != message.npos) message.remove_prefix(colon + 2);
    }
    return std::string(message);
  }

  void note(const LoadError& error, size_t kernels, std::string_view kernel) {
    Missing& missing = missing_[construct(error)];
    missing.kernels += kernels;
    missing.inputs.insert(input_);
    if (missing.example.empty())
      missing.example = fmt::format("{}: {}: line {}", input_, kernel.substr(0, 120), error.line);
  }

  void dump(std::string_view text) {
    if (options_.dump.empty()) return;
    const std::string path = fmt::format("{}/{:06}.ptx", options_.dump, dumped_++);
    if (FILE* const file = std::fopen(path.c_str(), "w")) {
      std::fwrite(text.data(), 1, text.size(), file);
      std::fclose(file);
    }
  }

  const Options& options_;
  std::string input_;
  std::map<std::string, Counts> inputs_;
  std::map<std::string, Missing> missing_;
  size_t seen_ = 0, dumped_ = 0;
  bool failed_ = false;
};

bool parse_options(int argc, char** argv, Options* options) {
  for (int i = 1; i < argc; ++i) {
    const std::string_view word = argv[i];
    auto value = [&] { return i + 1 < argc ? argv[++i] : ""; };
    if (word == "--sm") {
      options->sm = std::atoi(value());
    } else if (word == "--sample") {
      options->sample = static_cast<unsigned>(std::max(1, std::atoi(value())));
    } else if (word == "--limit") {
      options->limit = std::atof(value());
    } else if (word == "--dump") {
      options->dump = value();
    } else if (word == "--examples") {
      options->examples = true;
    } else if (word.starts_with("-")) {
      return false;
    } else {
      options->inputs.emplace_back(word);
    }
  }
  return !options->inputs.empty();
}

int run(int argc, char** argv) {
  Options options;
  if (!parse_options(argc, argv, &options)) {
    std::fputs(kHelp, stderr);
    return 2;
  }
  Survey survey(options);
  for (const std::string& input : options.inputs) {
    const std::filesystem::path path(input);
    std::error_code error;
    if (!std::filesystem::is_directory(path, error)) {
      survey.add_file(input, path.filename());
      continue;
    }
    std::vector<std::string> files;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(path, error)) {
      if (entry.path().extension() == ".ptx") files.push_back(entry.path());
    }
    std::sort(files.begin(), files.end());
    for (const std::string& file : files) survey.add_file(file, input);
  }
  survey.print();
  return survey.exit_code();
}

}  // namespace
}  // namespace farcall::softgpu

int main(int argc, char** argv) { return farcall::softgpu::run(argc, argv); }
