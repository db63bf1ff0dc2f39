#include "cli/doctor.h"

#include <cuda.h>

#include <fmt/format.h>
#include <kj/exception.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <optional>
#include <string_view>
#include <system_error>

#include "base/clock.h"
#include "cli/elf_dynamic.h"
#include "rpc/hello.h"
#include "transport/connect.h"
#include "transport/url.h"

namespace farcall::cli {
namespace fs = std::filesystem;
namespace {

// Enough for a slow network; a person is waiting.
constexpr std::chrono::seconds kServerWait{5};

Finding good(std::string what) { return {true, std::move(what), ""}; }
Finding bad(std::string what, std::string mend) {
  return {false, std::move(what), std::move(mend)};
}

bool is_there(const fs::path& path) {
  std::error_code ignored;
  return fs::exists(path, ignored);
}

std::optional<fs::path> find_program(const std::string& name) {
  if (name.find('/') != std::string::npos)
    return is_there(name) ? std::optional<fs::path>(name) : std::nullopt;
  std::string_view path = std::getenv("PATH") != nullptr ? std::getenv("PATH") : "";
  while (!path.empty()) {
    const size_t end = std::min(path.find(':'), path.size());
    const fs::path candidate = fs::path(path.substr(0, end)) / name;
    if (::access(candidate.c_str(), X_OK) == 0) return candidate;
    path.remove_prefix(std::min(end + 1, path.size()));
  }
  return std::nullopt;
}

// The dynamic linker drops LD_LIBRARY_PATH for these.
bool is_privileged(const fs::path& file) {
  struct stat status = {};
  return ::stat(file.c_str(), &status) == 0 && (status.st_mode & (S_ISUID | S_ISGID)) != 0;
}

void check_needed(const ElfDynamic& elf, const InstallPaths& paths,
                  std::vector<Finding>* findings) {
  for (const std::string& library : elf.needed) {
    if (library.starts_with("libcudart.so.") && !is_there(paths.stubs / library)) {
      findings->push_back(bad(
          fmt::format("it needs {}, which we do not have in {}", library, paths.stubs.string()),
          "build it with a CUDA release whose runtime is in that folder, or with nvcc's default, "
          "-cudart static"));
    }
  }
}

std::vector<Finding> check_answer(const std::string& name, rpc::HelloAnswer answer) {
  if (!answer.accepted()) {
    return {bad(fmt::format("{} refused: {}", name, answer.problem),
                "if the versions differ, install the same release on both sides; else see the "
                "server's log")};
  }
  const rpc::schema::Accepted::Reader accepted = answer.reader();
  std::vector<Finding> findings = {
      good(fmt::format("server at {}: Farcall {}, {}", name, accepted.getFarcallVersion().cStr(),
                       accepted.getDevice().cStr()))};
  if (accepted.getDevices().size() == 0) {
    findings.push_back(
        bad("the server has no device", "look at CUDA_VISIBLE_DEVICES and nvidia-smi there"));
  }
  if (accepted.getRuntimeVersion() == 0) {
    findings.push_back(
        bad(fmt::format("the server has no CUDA runtime: {}", accepted.getRuntimeProblem().cStr()),
            "install libcudart.so there (NVIDIA's CUDA toolkit or its wheel nvidia-cuda-runtime); "
            "until then only programs with a static runtime work"));
  }
  return findings;
}

}  // namespace

std::vector<Finding> check_installation(const InstallPaths& paths) {
  if (!is_there(paths.stubs)) {
    return {bad(fmt::format("no folder {}", paths.stubs.string()),
                "build the client library (./dev build), or reinstall: it belongs beside this "
                "command, in ../lib/farcall")};
  }
  std::vector<Finding> findings;
  for (const char* name : {"libcuda.so.1", "libfarcall.so"}) {
    if (!is_there(paths.stubs / name)) {
      findings.push_back(bad(fmt::format("no {} in {}", name, paths.stubs.string()),
                             "build again (./dev build), or reinstall"));
    }
  }
  if (findings.empty())
    findings.push_back(good(fmt::format("client libraries in {}", paths.stubs.string())));
  return findings;
}

std::vector<Finding> check_program(const std::string& program, const InstallPaths& paths) {
  const std::optional<fs::path> file = find_program(program);
  if (!file) return {bad(fmt::format("{}: no such program", program), "check its name and PATH")};
  const std::optional<ElfDynamic> elf = read_elf_dynamic(*file);
  if (!elf) {
    return {good(
        fmt::format("{} is a script or the like; its interpreter is what is run", file->string()))};
  }
  std::vector<Finding> findings;
  if (!elf->is_64_bit) {
    findings.push_back(bad(fmt::format("{} is a 32-bit program", file->string()),
                           "CUDA has no 32-bit programs since release 12: build it for 64 bit"));
    return findings;
  }
  if (!elf->has_interpreter) {
    findings.push_back(bad(
        fmt::format("{} is linked statically as a whole, it loads no libraries", file->string()),
        "link it without -static (-cudart static is fine)"));
  }
  if (is_privileged(*file)) {
    findings.push_back(
        bad(fmt::format("{} is set-user-id or set-group-id: LD_LIBRARY_PATH is ignored for it",
                        file->string()),
            "run a copy without those bits"));
  }
  for (const HiddenLibrary& hidden : find_hidden_libraries(*file)) {
    findings.push_back(
        bad(fmt::format("the RPATH of {} makes it load {} in place of ours",
                        hidden.because_of.string(), hidden.found.string()),
            fmt::format("remove that RPATH: 'patchelf --remove-rpath {}', or link with "
                        "-Wl,--enable-new-dtags, which makes it a RUNPATH",
                        hidden.because_of.string())));
  }
  check_needed(*elf, paths, &findings);
  if (findings.empty())
    findings.push_back(good(fmt::format("{} will load our libraries", file->string())));
  return findings;
}

std::vector<Finding> check_server(const ServerChoice& server) {
  const std::string name = fmt::format("{} (from {})", server.url, server.source);
  const Result<transport::Url> url = transport::parse_url(server.url);
  if (!url)
    return {
        bad(fmt::format("{} is no URL of a server", name), "use tcp://HOST:PORT or unix:///PATH")};
  const Deadline deadline = Deadline::after(kServerWait);
  Result<std::unique_ptr<transport::Channel>> channel = transport::connect(*url, kServerWait);
  if (!channel) {
    return {bad(fmt::format("no server at {}: {}", name,
                            channel.status() == Status::kTimeout ? "nobody answers"
                                                                 : "it can not be reached"),
                "start one on the GPU's machine: gpu-server --listen URL (or here, without a GPU: "
                "gpu-server "
                "--softgpu); or name another with --server, FARCALL_SERVER or 'server' in " +
                    config_path().string())};
  }
  try {
    const auto as_a_program_would = [](rpc::schema::Hello::Builder hello) {
      hello.setCudaVersion(CUDA_VERSION);
      hello.setRuntimeVersion(CUDA_VERSION / 1000 * 1000);
      hello.setProgram("farcall doctor");
    };
    return check_answer(name, rpc::say_hello(**channel, as_a_program_would, deadline));
  } catch (const kj::Exception& exception) {
    return {bad(fmt::format("{} answered something unreadable: {}", name,
                            exception.getDescription().cStr()),
                "is it a gpu-server? Use the same release on both sides")};
  }
}

int diagnose(const ServerChoice& server, const std::string& program, const InstallPaths& paths) {
  std::vector<Finding> findings = check_installation(paths);
  const auto add = [&findings](std::vector<Finding> more) {
    findings.insert(findings.end(), more.begin(), more.end());
  };
  add(check_server(server));
  if (!program.empty()) add(check_program(program, paths));
  bool all_good = true;
  for (const Finding& finding : findings) {
    fmt::print("{} {}\n", finding.good ? "ok      " : "PROBLEM ", finding.what);
    if (!finding.good) fmt::print("         to mend: {}\n", finding.mend);
    all_good = all_good && finding.good;
  }
  return all_good ? EXIT_SUCCESS : EXIT_FAILURE;
}

}  // namespace farcall::cli
