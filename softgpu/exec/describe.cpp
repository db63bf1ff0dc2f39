#include "softgpu/exec/describe.h"

#include <cxxabi.h>
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>

#include "softgpu/decode/link.h"
#include "softgpu/exec/device_heap.h"
#include "softgpu/ptx/ast.h"

namespace farcall::softgpu {
namespace {

const DecodedFunction& function_of(const Kernel& kernel, const Op& op) {
  const auto index = static_cast<size_t>(&op - kernel.code.data());
  const DecodedFunction* found = &kernel.functions[0];
  for (const DecodedFunction& function : kernel.functions) {
    if (function.entry <= index && function.entry >= found->entry) found = &function;
  }
  return *found;
}

std::string_view base_name(std::string_view path) { return path.substr(path.rfind('/') + 1); }

// "scan.cu:12"; empty when the file is not known.
std::string file_and_line(const ptx::Module& module, u32 file, u32 line) {
  const auto found = module.files.find(file);
  if (found == module.files.end()) return {};
  return fmt::format("{}:{}", base_name(found->second), line);
}

// A string of .debug_str: "LABEL: .b8 95,90,0".
std::string debug_string(std::string_view text, std::string_view label) {
  size_t at = text.find(label);
  if (label.empty() || at == text.npos || text.substr(at + label.size(), 1) != ":") return {};
  at += label.size() + 1;
  std::string out;
  while (at < text.size()) {
    const char c = text[at];
    if (c == '.') {
      at += 3;  // .b8
    } else if (c >= '0' && c <= '9') {
      unsigned byte = 0;
      const auto [end, error] = std::from_chars(text.data() + at, text.data() + text.size(), byte);
      if (error != std::errc() || byte == 0 || byte > 255) break;
      out += static_cast<char>(byte);
      at = static_cast<size_t>(end - text.data());
    } else if (c == ' ' || c == ',' || c == '\t' || c == '\n' || c == '\r') {
      ++at;
    } else {
      break;
    }
  }
  return out;
}

std::string describe_variable(const char* kind, std::string_view name, u64 begin, u64 bytes,
                              u64 address) {
  if (address < begin) {
    return fmt::format("{} bytes before {} variable '{}' of {} bytes", begin - address, kind, name,
                       bytes);
  }
  if (address - begin >= bytes) {
    return fmt::format("{} bytes past the end of {} variable '{}' of {} bytes",
                       address - begin - bytes, kind, name, bytes);
  }
  return fmt::format("byte {} of {} variable '{}' of {} bytes", address - begin, kind, name, bytes);
}

u64 distance(u64 begin, u64 bytes, u64 address) {
  return address < begin ? begin - address : address - begin < bytes ? 0 : address - begin - bytes;
}

// The nearest of several variables, in the words above.
std::string nearest(const char* kind, const std::vector<NamedRange>& variables, u64 address) {
  const NamedRange* best = nullptr;
  for (const NamedRange& one : variables) {
    if (best == nullptr ||
        distance(one.offset, one.bytes, address) < distance(best->offset, best->bytes, address)) {
      best = &one;
    }
  }
  if (best == nullptr) return {};
  return describe_variable(kind, best->name, best->offset, best->bytes, address);
}

std::string describe_shared(const Block& block, u64 offset) {
  const Kernel& kernel = *block.kernel;
  const u64 dynamic = block.run->launch->dynamic_shared_bytes;
  std::vector<NamedRange> ranges = kernel.shared_variables;
  for (NamedRange& range : ranges) range.name = demangle(range.name);
  const u64 total = kernel.shared_bytes + dynamic;
  if (offset >= kernel.shared_bytes && offset < total) {
    return fmt::format("byte {} of {} bytes of dynamic shared memory", offset - kernel.shared_bytes,
                       dynamic);
  }
  if (dynamic != 0 && offset >= total) {
    return fmt::format("{} bytes past the end of {} bytes of dynamic shared memory", offset - total,
                       dynamic);
  }
  std::string text = nearest("shared", ranges, offset);
  if (text.empty()) text = fmt::format("shared memory of {} bytes, byte {}", total, offset);
  return text;
}

std::string describe_local(const Warp& warp, const Op& op, int lane, u64 address) {
  const Kernel& kernel = *warp.block->kernel;
  const u64 stack = warp.local_bytes / kLanes;
  const auto owner = static_cast<int>((address - warp.local_base) / stack);
  if (lane < 0 || owner != lane) {
    return fmt::format("local memory of another thread, {}",
                       describe_thread(*warp.block, warp.index * kLanes + static_cast<u32>(owner)));
  }
  const DecodedFunction& function = function_of(kernel, op);
  const u8* const frames = warp.base[0] + (function.frame_slot & kSlotOffsetMask);
  const u64 frame = reinterpret_cast<const u64*>(frames)[lane];
  std::string text = nearest("local", function.local_variables, address - frame);
  return text.empty() ? fmt::format("local memory, {} bytes from the frame", address - frame)
                      : text;
}

}  // namespace

std::string demangle(std::string_view name) {
  const std::string text(name);
  if (!name.starts_with("_Z")) return text;  // "a" would be a type
  int status = 0;
  char* const readable = abi::__cxa_demangle(text.c_str(), nullptr, nullptr, &status);
  if (readable == nullptr) return text;
  std::string out = status == 0 ? readable : text;
  std::free(readable);
  return out;
}

std::string describe_place(const Kernel& kernel, const Op& op) {
  if (op.line == 0) return {};
  std::string text = fmt::format("PTX line {}", op.line);
  const DecodedFunction& function = function_of(kernel, op);
  if (function.source == nullptr || function.module == nullptr) return text;
  const auto& locations = function.source->locations;
  const auto after =
      std::upper_bound(locations.begin(), locations.end(), static_cast<int>(op.line),
                       [](int line, const ptx::SourceLocation& at) { return line < at.ptx_line; });
  if (after == locations.begin()) return text;
  // Calls inlined into one another: a .loc for each, the innermost last.
  const ptx::SourceLocation& at = *std::prev(after);
  const std::string source = file_and_line(*function.module, at.file, at.line);
  if (source.empty()) return text;
  text += ", " + source;
  if (at.caller_file != 0) {
    const std::string name = demangle(debug_string(function.module->debug_strings, at.function));
    const std::string caller = file_and_line(*function.module, at.caller_file, at.caller_line);
    if (!name.empty() && !caller.empty())
      text += fmt::format(" ({} inlined at {})", name, caller);
    else if (!caller.empty())
      text += fmt::format(" (inlined at {})", caller);
  }
  return text;
}

std::string describe_code(const Kernel& kernel, const Op& op) {
  const std::string place = describe_place(kernel, op);
  return fmt::format("in {}{}{}", describe_function(kernel, op), place.empty() ? "" : ", ", place);
}

std::string describe_function(const Kernel& kernel, const Op& op) {
  return demangle(function_of(kernel, op).name);
}

std::string describe_thread(const Block& block, u32 thread) {
  const Dim3 shape = block.run->launch->block;
  return fmt::format("({},{},{})", thread % shape.x, thread / shape.x % shape.y,
                     thread / shape.x / shape.y);
}

std::string describe_block(const Block& block) {
  return fmt::format("({},{},{})", block.index[0], block.index[1], block.index[2]);
}

std::string describe_access(const Op& op, Access access, u64 bytes) {
  if (access == Access::kOfInstruction) access = op.access.kind;
  if (bytes == 0) bytes = op.access.bytes;
  const char* word = "access";
  switch (access) {
    case Access::kRead:
    case Access::kStrongRead:
      word = "read";
      break;
    case Access::kWrite:
    case Access::kStrongWrite:
      word = "write";
      break;
    case Access::kAtomic:
      word = "atomic operation";
      break;
    case Access::kUnknown:
    case Access::kOfInstruction:
      if (bytes == 0) return {};
      break;
  }
  return bytes == 0 ? std::string(word)
                    : fmt::format("{} of {} byte{}", word, bytes, bytes == 1 ? "" : "s");
}

std::string describe_address(const Warp& warp, const Op& op, int lane, u64 address) {
  const Block& block = *warp.block;
  const GridRun& run = *block.run;
  // Wild indices leave shared memory; an instruction that means it says so.
  const bool means_shared =
      op.access.bytes != 0 && (op.flags == static_cast<u8>(AddressKind::kShared32) ||
                               op.flags == static_cast<u8>(AddressKind::kShared64));
  if (means_shared || address - warp.shared_base < warp.shared_bytes) {
    return describe_shared(block, address - warp.shared_base);
  }
  if (address - warp.local_base < warp.local_bytes) return describe_local(warp, op, lane, address);
  if (address - block.params < run.param_bytes) return "a parameter of the kernel";
  if (block.kernel->program != nullptr) {
    for (const LinkedVariable& linked : block.kernel->program->variables()) {
      const ptx::Variable& variable = *linked.variable;
      constexpr u64 kNear = 16;  // what separates variables
      if (linked.address == 0 || distance(linked.address, variable.bytes(), address) >= kNear ||
          address < linked.address) {
        continue;
      }
      const bool constant = variable.space == "const";
      return describe_variable(constant ? "constant" : "device", demangle(variable.name),
                               linked.address, variable.bytes(), address);
    }
  }
  std::string heap = run.heap == nullptr ? std::string{} : run.heap->describe(address);
  return heap.empty() ? run.memory->describe(address) : heap;
}

}  // namespace farcall::softgpu
