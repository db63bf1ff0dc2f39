#include "cli/smi.h"

#include <dlfcn.h>
#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <functional>
#include <optional>
#include <string_view>
#include <vector>

#include "nvml/functions.h"
#include "nvml/nvml.h"

namespace farcall::cli {
namespace {

constexpr double kMiB = 1 << 20;
constexpr const char* kNotAvailable = "[N/A]";

// Success or not; a failure is printed.
template <class... Arguments>
bool check(const nvml::Functions& nvml, const char* name, Arguments... arguments) {
  const nvmlReturn_t result = nvml.call(name, arguments...);
  if (result != NVML_SUCCESS) {
    fmt::print(stderr, "farcall: {}: {}\n", name, nvml.error_string(result));
  }
  return result == NVML_SUCCESS;
}

class Device {
 public:
  Device(const nvml::Functions& nvml, nvmlDevice_t handle) : nvml_(nvml), handle_(handle) {}

  template <class Number = unsigned, class... Arguments>
  std::optional<Number> number(const char* name, Arguments... arguments) const {
    Number value{};
    if (nvml_.call(name, handle_, arguments..., &value) != NVML_SUCCESS) return std::nullopt;
    return value;
  }
  std::string text(const char* name) const {
    char buffer[NVML_DEVICE_NAME_V2_BUFFER_SIZE] = "";
    const nvmlReturn_t result = nvml_.call(name, handle_, &buffer[0], unsigned(sizeof buffer));
    return result == NVML_SUCCESS ? buffer : kNotAvailable;
  }
  std::string bus_id() const {
    nvmlPciInfo_t pci{};
    return nvml_.call("nvmlDeviceGetPciInfo_v3", handle_, &pci) == NVML_SUCCESS ? pci.busId
                                                                                : kNotAvailable;
  }
  std::optional<nvmlMemory_v2_t> memory() const {
    nvmlMemory_v2_t memory{};
    memory.version = NVML_STRUCT_VERSION(nvmlMemory_v2_t, 2);
    if (nvml_.call("nvmlDeviceGetMemoryInfo_v2", handle_, &memory) != NVML_SUCCESS) {
      return std::nullopt;
    }
    return memory;
  }
  std::optional<nvmlUtilization_t> utilization() const {
    return number<nvmlUtilization_t>("nvmlDeviceGetUtilizationRates");
  }
  std::string compute_capability() const {
    int major = 0, minor = 0;
    const nvmlReturn_t result =
        nvml_.call("nvmlDeviceGetCudaComputeCapability", handle_, &major, &minor);
    return result == NVML_SUCCESS ? fmt::format("{}.{}", major, minor) : kNotAvailable;
  }

 private:
  const nvml::Functions& nvml_;
  const nvmlDevice_t handle_;
};

// --- Fields of --query-gpu, by nvidia-smi's names

struct System {
  std::string driver_version;
  int cuda_version = 0;
  unsigned devices = 0;
};

struct Field {
  std::string_view name;
  const char* unit;  // nullptr: none
  std::function<std::string(const Device&, const System&)> value;
};

template <class Number>
std::string show(std::optional<Number> value, double scale = 1, int digits = 0) {
  return value ? fmt::format("{:.{}f}", double(*value) / scale, digits) : kNotAvailable;
}

std::string show_mode(std::optional<int> value) {
  if (!value) return kNotAvailable;
  return *value != 0 ? "Enabled" : "Disabled";
}

std::string show_compute_mode(std::optional<int> value) {
  constexpr std::array kNames = {"Default", "Exclusive_Thread", "Prohibited", "Exclusive_Process"};
  return value && size_t(*value) < kNames.size() ? kNames[size_t(*value)] : kNotAvailable;
}

Field memory_field(std::string_view name, unsigned long long nvmlMemory_v2_t::*member) {
  return {name, "MiB", [member](const Device& device, const System&) {
            const auto memory = device.memory();
            return memory ? fmt::format("{:.0f}", double((*memory).*member) / kMiB)
                          : std::string(kNotAvailable);
          }};
}
Field number_field(std::string_view name, const char* unit, const char* function, double scale = 1,
                   int digits = 0) {
  return {name, unit, [=](const Device& device, const System&) {
            return show(device.number(function), scale, digits);
          }};
}
Field clock_field(std::string_view name, const char* function, unsigned type) {
  return {name, "MHz",
          [=](const Device& device, const System&) { return show(device.number(function, type)); }};
}
Field text_field(std::string_view name, const char* function) {
  return {name, nullptr,
          [=](const Device& device, const System&) { return device.text(function); }};
}

std::string time_text() {
  return fmt::format("{:%Y/%m/%d %H:%M:%S}.000", fmt::localtime(std::time(nullptr)));
}

const std::vector<Field>& fields() {
  static const std::vector<Field> fields = {
      {"timestamp", nullptr, [](const Device&, const System&) { return time_text(); }},
      {"driver_version", nullptr,
       [](const Device&, const System& system) { return system.driver_version; }},
      {"count", nullptr,
       [](const Device&, const System& system) { return std::to_string(system.devices); }},
      text_field("name", "nvmlDeviceGetName"),
      text_field("gpu_name", "nvmlDeviceGetName"),
      text_field("uuid", "nvmlDeviceGetUUID"),
      text_field("gpu_uuid", "nvmlDeviceGetUUID"),
      text_field("serial", "nvmlDeviceGetSerial"),
      text_field("gpu_serial", "nvmlDeviceGetSerial"),
      text_field("vbios_version", "nvmlDeviceGetVbiosVersion"),
      number_field("index", nullptr, "nvmlDeviceGetIndex"),
      {"pci.bus_id", nullptr, [](const Device& device, const System&) { return device.bus_id(); }},
      {"gpu_bus_id", nullptr, [](const Device& device, const System&) { return device.bus_id(); }},
      {"compute_cap", nullptr,
       [](const Device& device, const System&) { return device.compute_capability(); }},
      {"compute_mode", nullptr,
       [](const Device& device, const System&) {
         return show_compute_mode(device.number<int>("nvmlDeviceGetComputeMode"));
       }},
      {"persistence_mode", nullptr,
       [](const Device& device, const System&) {
         return show_mode(device.number<int>("nvmlDeviceGetPersistenceMode"));
       }},
      {"pstate", nullptr,
       [](const Device& device, const System&) {
         const auto state = device.number<int>("nvmlDeviceGetPerformanceState");
         return state ? fmt::format("P{}", *state) : std::string(kNotAvailable);
       }},
      memory_field("memory.total", &nvmlMemory_v2_t::total),
      memory_field("memory.reserved", &nvmlMemory_v2_t::reserved),
      memory_field("memory.used", &nvmlMemory_v2_t::used),
      memory_field("memory.free", &nvmlMemory_v2_t::free),
      {"utilization.gpu", "%",
       [](const Device& device, const System&) {
         const auto rates = device.utilization();
         return rates ? std::to_string(rates->gpu) : std::string(kNotAvailable);
       }},
      {"utilization.memory", "%",
       [](const Device& device, const System&) {
         const auto rates = device.utilization();
         return rates ? std::to_string(rates->memory) : std::string(kNotAvailable);
       }},
      number_field("fan.speed", "%", "nvmlDeviceGetFanSpeed"),
      {"temperature.gpu", nullptr,
       [](const Device& device, const System&) {
         return show(device.number("nvmlDeviceGetTemperature", int{NVML_TEMPERATURE_GPU}));
       }},
      number_field("power.draw", "W", "nvmlDeviceGetPowerUsage", 1000, 2),
      number_field("power.limit", "W", "nvmlDeviceGetPowerManagementLimit", 1000, 2),
      number_field("enforced.power.limit", "W", "nvmlDeviceGetEnforcedPowerLimit", 1000, 2),
      clock_field("clocks.sm", "nvmlDeviceGetClockInfo", NVML_CLOCK_SM),
      clock_field("clocks.gr", "nvmlDeviceGetClockInfo", NVML_CLOCK_GRAPHICS),
      clock_field("clocks.mem", "nvmlDeviceGetClockInfo", NVML_CLOCK_MEM),
      clock_field("clocks.max.sm", "nvmlDeviceGetMaxClockInfo", NVML_CLOCK_SM),
      clock_field("clocks.max.mem", "nvmlDeviceGetMaxClockInfo", NVML_CLOCK_MEM),
      number_field("pcie.link.gen.current", nullptr, "nvmlDeviceGetCurrPcieLinkGeneration"),
      number_field("pcie.link.gen.max", nullptr, "nvmlDeviceGetMaxPcieLinkGeneration"),
      number_field("pcie.link.width.current", nullptr, "nvmlDeviceGetCurrPcieLinkWidth"),
      number_field("pcie.link.width.max", nullptr, "nvmlDeviceGetMaxPcieLinkWidth"),
  };
  return fields;
}

std::vector<std::string> split(const std::string& text) {
  std::vector<std::string> parts;
  size_t from = 0;
  while (from <= text.size()) {
    const size_t comma = std::min(text.find(',', from), text.size());
    std::string part = text.substr(from, comma - from);
    part.erase(0, part.find_first_not_of(' '));
    part.erase(part.find_last_not_of(' ') + 1);
    if (!part.empty()) parts.push_back(std::move(part));
    from = comma + 1;
  }
  return parts;
}

// One line per device, as `nvidia-smi --query-gpu=... --format=csv` has it.
int print_query(const std::vector<Device>& devices, const System& system,
                const SmiOptions& options) {
  bool header = true, units = true, csv = false;
  for (const std::string& word : split(options.format)) {
    if (word == "csv") {
      csv = true;
    } else if (word == "noheader") {
      header = false;
    } else if (word == "nounits") {
      units = false;
    } else {
      csv = false;
      break;
    }
  }
  if (!csv) {
    fmt::print(stderr, "farcall: smi: --format is csv, csv,noheader or csv,noheader,nounits\n");
    return 2;
  }
  std::vector<const Field*> wanted;
  for (const std::string& name : split(options.query)) {
    const auto found = std::find_if(fields().begin(), fields().end(),
                                    [&](const Field& field) { return field.name == name; });
    if (found == fields().end()) {
      fmt::print(stderr, "farcall: smi: no field '{}'; there are:", name);
      for (const Field& field : fields()) fmt::print(stderr, " {}", field.name);
      fmt::print(stderr, "\n");
      return 2;
    }
    wanted.push_back(&*found);
  }
  const auto print_line = [&](const std::function<std::string(const Field&)>& of) {
    std::string line;
    for (const Field* field : wanted) line += (line.empty() ? "" : ", ") + of(*field);
    fmt::print("{}\n", line);
  };
  if (header) {
    print_line([&](const Field& field) {
      return field.unit != nullptr && units ? fmt::format("{} [{}]", field.name, field.unit)
                                            : std::string(field.name);
    });
  }
  for (const Device& device : devices) {
    print_line([&](const Field& field) {
      std::string value = field.value(device, system);
      if (field.unit != nullptr && units && value != kNotAvailable) {
        value += fmt::format(" {}", field.unit);
      }
      return value;
    });
  }
  return EXIT_SUCCESS;
}

// --- The table

std::string short_or(std::string value) { return value == kNotAvailable ? "N/A" : value; }

void print_table(const std::vector<Device>& devices, const System& system) {
  const std::string line =
      "+" + std::string(41, '-') + "+" + std::string(24, '-') + "+" + std::string(22, '-') + "+\n";
  fmt::print("{:%a %b %d %H:%M:%S %Y}\n", fmt::localtime(std::time(nullptr)));
  fmt::print("+{}+\n", std::string(89, '-'));
  fmt::print("| {:<25}{:<37}{:<26}|\n", "Farcall " FARCALL_VERSION,
             "Driver Version: " + system.driver_version,
             fmt::format("CUDA Version: {}.{}", system.cuda_version / 1000,
                         system.cuda_version % 1000 / 10));
  fmt::print("{}", line);
  fmt::print("| {:<40}| {:<23}| {:<21}|\n", "GPU  Name                 Persistence-M", "Bus-Id",
             "GPU-Util  Compute M.");
  fmt::print("| {:<40}| {:<23}| {:<21}|\n", "Fan  Temp   Perf          Pwr:Usage/Cap",
             "          Memory-Usage", "");
  fmt::print("|{}+{}+{}|\n", std::string(41, '='), std::string(24, '='), std::string(22, '='));
  for (const Device& device : devices) {
    const auto persistence = device.number<int>("nvmlDeviceGetPersistenceMode");
    const auto state = device.number<int>("nvmlDeviceGetPerformanceState");
    const auto memory = device.memory();
    const auto rates = device.utilization();
    const auto fan = device.number("nvmlDeviceGetFanSpeed");
    const auto celsius = device.number("nvmlDeviceGetTemperature", int{NVML_TEMPERATURE_GPU});
    const auto milliwatts = device.number("nvmlDeviceGetPowerUsage");
    const auto limit = device.number("nvmlDeviceGetEnforcedPowerLimit");
    fmt::print("| {:>3}  {:<26.26} {:>7} | {:<23}| {:>8}  {:>10} |\n",
               device.number("nvmlDeviceGetIndex").value_or(0), device.text("nvmlDeviceGetName"),
               persistence ? (*persistence != 0 ? "On" : "Off") : "N/A", device.bus_id(),
               rates ? fmt::format("{}%", rates->gpu) : "N/A",
               short_or(show_compute_mode(device.number<int>("nvmlDeviceGetComputeMode"))));
    fmt::print("| {:>3}  {:>4}   {:<3} {:>23} | {:>22} | {:>20} |\n",
               fan ? fmt::format("{}%", *fan) : "N/A",
               celsius ? fmt::format("{}C", *celsius) : "N/A",
               state ? fmt::format("P{}", *state) : "N/A",
               fmt::format("{} / {}", milliwatts ? fmt::format("{}W", *milliwatts / 1000) : "N/A",
                           limit ? fmt::format("{}W", *limit / 1000) : "N/A"),
               memory ? fmt::format("{:.0f}MiB / {:.0f}MiB", double(memory->used) / kMiB,
                                    double(memory->total) / kMiB)
                      : "N/A",
               "");
    fmt::print("{}", line);
  }
}

}  // namespace

int smi(const std::filesystem::path& folder, const SmiOptions& options) {
  // Never closed, as in devices.cpp.
  void* const library = ::dlopen((folder / "libnvidia-ml.so.1").c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    fmt::print(stderr, "farcall: {}\n", ::dlerror());
    return EXIT_FAILURE;
  }
  const nvml::Functions nvml(library);
  System system;
  if (!check(nvml, "nvmlInit_v2") || !check(nvml, "nvmlDeviceGetCount_v2", &system.devices)) {
    return EXIT_FAILURE;
  }
  char version[NVML_SYSTEM_DRIVER_VERSION_BUFFER_SIZE] = "";
  const nvmlReturn_t result =
      nvml.call("nvmlSystemGetDriverVersion", &version[0], unsigned(sizeof version));
  system.driver_version = result == NVML_SUCCESS ? version : "N/A";
  nvml.call("nvmlSystemGetCudaDriverVersion_v2", &system.cuda_version);

  std::vector<Device> devices;
  for (unsigned index = 0; index < system.devices; ++index) {
    nvmlDevice_t handle = nullptr;
    if (!check(nvml, "nvmlDeviceGetHandleByIndex_v2", index, &handle)) return EXIT_FAILURE;
    devices.emplace_back(nvml, handle);
  }
  if (!options.query.empty()) return print_query(devices, system, options);
  if (!options.list) {
    print_table(devices, system);
    return EXIT_SUCCESS;
  }
  for (const Device& device : devices) {
    fmt::print("GPU {}: {} (UUID: {})\n", device.number("nvmlDeviceGetIndex").value_or(0),
               device.text("nvmlDeviceGetName"), device.text("nvmlDeviceGetUUID"));
  }
  return EXIT_SUCCESS;
}

}  // namespace farcall::cli
