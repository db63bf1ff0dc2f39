// Kernels, parameters and variables of a cubin. A kernel is a function symbol with a CUDA flag; its
// parameters are records in the section .nv.info.<kernel>:  u8 format, u8 attribute, u16 value, and
// if format is 4 also `value` bytes of data. NVIDIA does not document them; the facts used here are
// in image/README.md.
#include <elf.h>

#include <algorithm>

#include "image/elf.h"
#include "image/kernel_params.h"
#include "image/report.h"

namespace farcall::image {
namespace {

constexpr uint8_t kOtherEntry = 0x10;    // st_other of a kernel
constexpr uint8_t kOtherManaged = 0x04;  // st_other of a __managed__ variable

constexpr uint8_t kFormatHalfword = 3, kFormatSized = 4;

enum Attribute : uint8_t {
  kMaxThreads = 0x05,     // 3 x u32
  kParamBank = 0x0a,      // u32 symbol, u16 base, u16 size
  kFrameSize = 0x11,      // u32 symbol, u32 bytes
  kParamInfo = 0x17,      // u32 index, u16 ordinal, u16 offset, u32 with the size in bits 18-31
  kParamBytes = 0x19,     // the value itself
  kRegisters = 0x2f,      // u32 symbol, u32 count
  kParamInfoWide = 0x45,  // as kParamInfo, the size in bits 0-15; once parameters exceed 4 KiB
};

constexpr std::string_view kInfoPrefix = ".nv.info.";
constexpr std::string_view kSharedPrefix = ".nv.shared.";

struct Record {
  uint8_t format, attribute;
  uint16_t value;
  Bytes data;
};

// Calls each(record) for all records; it returns a Status too.
template <class Each>
Status for_each_record(const Section& section, Each each) {
  const Bytes data = section.data;
  for (size_t at = 0; at + 4 <= data.size();) {
    Record record{
        load<uint8_t>(data, at), load<uint8_t>(data, at + 1), load<uint16_t>(data, at + 2), {}};
    at += 4;
    if (record.format == kFormatSized) {
      if (!fits(at, record.value, data.size())) {
        return corrupt("cubin: a record of {} bytes at {} of the {} in {}", record.value, at,
                       data.size(), section.name);
      }
      record.data = data.subspan(at, record.value);
      at += record.value;
    }
    if (const Status status = each(record); status != Status::kOk) return status;
  }
  return Status::kOk;
}

Status add_param(Kernel& kernel, const Record& record) {
  const auto ordinal = load<uint16_t>(record.data, 4);
  const auto offset = load<uint16_t>(record.data, 6);
  const auto word = load<uint32_t>(record.data, 8);
  const uint32_t size = record.attribute == kParamInfo ? word >> 18 : word & 0xffff;
  if (ordinal >= kParamsMax || !fits(offset, size, kParamBytesMax)) {
    return corrupt("cubin: kernel {} has parameter {} of {} bytes at {}", kernel.name, ordinal,
                   size, offset);
  }
  if (kernel.params.size() <= ordinal) kernel.params.resize(ordinal + size_t{1});
  kernel.params[ordinal] = {offset, size};
  return Status::kOk;
}

Status read_kernel_info(const Section& section, Kernel& kernel) {
  kernel.params_known = true;
  const Status status = for_each_record(section, [&kernel](const Record& record) {
    const bool sized = record.format == kFormatSized;
    const size_t bytes = record.data.size();
    if (record.attribute == kParamBytes && record.format == kFormatHalfword) {
      kernel.param_bytes = record.value;
    } else if (record.attribute == kParamBank && sized && bytes >= 8) {
      kernel.param_base = load<uint16_t>(record.data, 4);
      kernel.param_bytes = load<uint16_t>(record.data, 6);
    } else if (record.attribute == kMaxThreads && sized && bytes >= 12) {
      kernel.max_threads = load<uint32_t>(record.data, 0) * load<uint32_t>(record.data, 4) *
                           load<uint32_t>(record.data, 8);
    } else if ((record.attribute == kParamInfo || record.attribute == kParamInfoWide) && sized &&
               bytes >= 12) {
      return add_param(kernel, record);
    }
    return Status::kOk;
  });
  if (status != Status::kOk) return status;
  // A launch copies by this layout: a parameter outside its own block, or one never described, is a
  // forgery.
  uint32_t end = 0;
  for (const Param& param : kernel.params) {
    if (param.size == 0) {
      return corrupt("cubin: kernel {} has {} parameters, one is not described", kernel.name,
                     kernel.params.size());
    }
    end = std::max(end, param.offset + param.size);
  }
  if (kernel.param_bytes < end) kernel.param_bytes = end;
  return Status::kOk;
}

// .nv.info of the whole module names functions by symbol index.
Status read_module_info(const Section& section, const std::vector<Symbol>& symbols,
                        Module& module) {
  return for_each_record(section, [&](const Record& record) {
    if (record.format != kFormatSized || record.data.size() < 8) return Status::kOk;
    if (record.attribute != kRegisters && record.attribute != kFrameSize) return Status::kOk;
    const auto symbol = load<uint32_t>(record.data, 0);
    const auto value = load<uint32_t>(record.data, 4);
    if (symbol >= symbols.size()) {
      return corrupt("cubin: .nv.info names symbol {} of {}", symbol, symbols.size());
    }
    const auto kernel = module.kernels.find(symbols[symbol].name);
    if (kernel == module.kernels.end()) return Status::kOk;  // a device function
    (record.attribute == kRegisters ? kernel->second.registers : kernel->second.local_bytes) =
        value;
    return Status::kOk;
  });
}

// Module-level constants lie in .nv.constant<bank>; .nv.constant<bank>.<kernel> is a kernel's own.
bool is_constant_bank(std::string_view section) {
  constexpr std::string_view kPrefix = ".nv.constant";
  return section.starts_with(kPrefix) &&
         section.find('.', kPrefix.size()) == std::string_view::npos;
}

void read_symbols(const Elf& elf, const std::vector<Symbol>& symbols, Module& module) {
  for (const Symbol& symbol : symbols) {
    if (symbol.name.empty() || symbol.section == SHN_UNDEF) continue;
    if (symbol.type == STT_FUNC && (symbol.other & kOtherEntry)) {
      std::string name(symbol.name);
      module.kernels.try_emplace(name).first->second.name = name;
    }
    if (symbol.type != STT_OBJECT || symbol.section >= elf.sections().size()) continue;
    const std::string_view section = elf.sections()[symbol.section].name;
    const bool constant = is_constant_bank(section);
    if (!constant && section != ".nv.global" && section != ".nv.global.init") continue;
    module.variables[std::string(symbol.name)] = {.name = std::string(symbol.name),
                                                  .size = symbol.size,
                                                  .constant = constant,
                                                  .managed = (symbol.other & kOtherManaged) != 0,
                                                  .external = false};
  }
}

}  // namespace

Result<Module> read_cubin(Bytes bytes) {
  const Result<Elf> elf = Elf::parse(bytes);
  if (!elf) return elf.status();
  const Result<std::vector<Symbol>> symbols = elf->symbols();
  if (!symbols) return symbols.status();

  Module module;
  module.source = Module::Source::kCubin;
  module.sm = elf->sm();
  read_symbols(*elf, *symbols, module);
  // From here on no new kernels appear.
  for (const Section& section : elf->sections()) {
    Status status = Status::kOk;
    if (section.name == ".nv.info") {
      status = read_module_info(section, *symbols, module);
    } else if (section.name.starts_with(kInfoPrefix)) {
      const auto kernel = module.kernels.find(section.name.substr(kInfoPrefix.size()));
      if (kernel != module.kernels.end()) status = read_kernel_info(section, kernel->second);
    } else if (section.name.starts_with(kSharedPrefix)) {
      const auto kernel = module.kernels.find(section.name.substr(kSharedPrefix.size()));
      if (kernel != module.kernels.end()) {
        kernel->second.static_shared_bytes = static_cast<uint32_t>(section.size);
      }
    }
    if (status != Status::kOk) return status;
  }
  return module;
}

}  // namespace farcall::image
