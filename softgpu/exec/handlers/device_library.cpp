// The functions that CUDA provides to device code without PTX of their own: printf, assert, malloc,
// free.
//
// A fault may jump out of the middle of any of these, so text is built in the block's own string.
#include <cstdio>
#include <cstring>
#include <string>

#include "softgpu/exec/device_heap.h"
#include "softgpu/exec/handlers/common.h"
#include "softgpu/exec/handlers/device_library_inl.h"
#include "softgpu/exec/handlers/lanes_inl.h"
#include "softgpu/exec/memory.h"

namespace farcall::softgpu {

using namespace FARCALL_ISA;

namespace {

constexpr size_t kFormatBytesMax = 4096;
constexpr size_t kStringBytesMax = 64 << 10;   // of one %s
constexpr size_t kMessageBytesMax = 1u << 20;  // of one printf; CUDA's whole buffer

template <class Value>
void append(std::string& out, const char* specification, Value value) {
  const int length = std::snprintf(nullptr, 0, specification, value);
  if (length <= 0 || out.size() + static_cast<size_t>(length) > kMessageBytesMax) return;
  const size_t start = out.size();
  out.resize(start + static_cast<size_t>(length) + 1);
  std::snprintf(out.data() + start, static_cast<size_t>(length) + 1, specification, value);
  out.pop_back();
}

// Reads what nvcc packed: like a C struct, ints of 4 bytes, everything else of 8.
class Arguments {
 public:
  Arguments(Warp& warp, const Op& op, int lane, u64 address)
      : warp_(warp), op_(op), lane_(lane), at_(address) {}
  template <class T>
  T next() {
    at_ = (at_ + sizeof(T) - 1) & ~(u64{sizeof(T)} - 1);
    const u64 address = at_;
    at_ += sizeof(T);
    return read_device<T>(warp_, op_, lane_, address);
  }

 private:
  Warp& warp_;
  const Op& op_;
  int lane_;
  u64 at_;
};

// Appends one formatted message to `out`; returns the number of conversions, or -1 for a malformed
// format.
int format_message(Warp& warp, const Op& op, int lane, const char* format, Arguments arguments,
                   std::string& out) {
  static constexpr size_t kSpecificationMax = 64;
  static constexpr int kWidthMax = 65536;
  int conversions = 0;
  for (const char* p = format; *p != '\0';) {
    if (*p != '%') {
      const size_t run = std::strcspn(p, "%");
      out.append(p, run);
      p += run;
      continue;
    }
    if (p[1] == '%') {
      out += '%';
      p += 2;
      continue;
    }
    char specification[kSpecificationMax];
    size_t length = 0;
    auto put = [&](char c) {
      if (length + 4 < sizeof specification) specification[length++] = c;
    };
    auto put_number = [&](int n) {
      char digits[16];
      std::snprintf(digits, sizeof digits, "%d",
                    n > kWidthMax    ? kWidthMax
                    : n < -kWidthMax ? -kWidthMax
                                     : n);
      for (const char* d = digits; *d != '\0'; ++d) put(*d);
    };
    put(*p++);
    while (*p != '\0' && std::strchr("-+ #0", *p) != nullptr) put(*p++);
    for (int part = 0; part < 2; ++part) {  // width, then precision
      if (part == 1) {
        if (*p != '.') break;
        put(*p++);
      }
      if (*p == '*') {
        put_number(arguments.next<int>());
        ++p;
      } else {
        int n = 0;
        bool any = false;
        while (*p >= '0' && *p <= '9') {
          any = true;
          n = n > kWidthMax ? n : n * 10 + (*p - '0');
          ++p;
        }
        if (any) put_number(n);
      }
    }
    bool wide = false;
    while (*p != '\0' && std::strchr("hlLjztq", *p) != nullptr) {
      if (*p != 'h') wide = true;
      ++p;
    }
    const char conversion = *p;
    if (conversion == '\0') return -1;
    ++p;
    ++conversions;
    auto finish = [&](const char* modifier) {
      for (const char* m = modifier; *m != '\0'; ++m) specification[length++] = *m;
      specification[length++] = conversion;
      specification[length] = '\0';
      return specification;
    };
    switch (conversion) {
      case 'd':
      case 'i':
        if (wide)
          append(out, finish("ll"), arguments.next<long long>());
        else
          append(out, finish(""), arguments.next<int>());
        break;
      case 'u':
      case 'o':
      case 'x':
      case 'X':
        if (wide)
          append(out, finish("ll"), arguments.next<unsigned long long>());
        else
          append(out, finish(""), arguments.next<unsigned>());
        break;
      case 'c':
        append(out, finish(""), arguments.next<int>());
        break;
      case 'a':
      case 'A':
      case 'e':
      case 'E':
      case 'f':
      case 'F':
      case 'g':
      case 'G':
        append(out, finish(""), arguments.next<double>());
        break;
      case 'p':
        append(out, finish(""), reinterpret_cast<const void*>(arguments.next<u64>()));
        break;
      case 's': {
        const u64 address = arguments.next<u64>();
        std::string& text = warp.block->string_argument;
        text.clear();
        if (address == 0) {
          text = "(null)";
        } else {
          text.resize(kStringBytesMax);
          text.resize(read_string(warp, op, lane, address, text.data(), kStringBytesMax));
        }
        append(out, finish(""), text.c_str());
        break;
      }
      default:
        return -1;
    }
  }
  return conversions;
}

void print(GridRun& run, std::string_view text, bool is_stderr) {
  const std::lock_guard lock(*run.output_mutex);
  if (*run.output) (*run.output)(text, is_stderr);
}

void library_vprintf(Warp& warp, const Op& op, u32 mask) {
  warp.current = &op;
  for_each_lane(mask, [&](int lane) {
    warp.current_mask = u32{1} << lane;
    char format[kFormatBytesMax];
    read_string(warp, op, lane, argument<u64>(warp, op, lane, 1), format, sizeof format);
    std::string& text = warp.block->text;
    text.clear();
    const int conversions = format_message(
        warp, op, lane, format, {warp, op, lane, argument<u64>(warp, op, lane, 2)}, text);
    print(*warp.block->run, text, false);
    give_back<s32>(warp, op, lane, conversions);
  });
}

void library_assertfail(Warp& warp, const Op& op, u32 mask) {
  warp.current = &op;
  int last = 0;
  for_each_lane(mask, [&](int lane) {
    warp.current_mask = u32{1} << lane;
    char message[1024], file[1024], function[1024], text[4096];
    read_string(warp, op, lane, argument<u64>(warp, op, lane, 0), message, sizeof message);
    read_string(warp, op, lane, argument<u64>(warp, op, lane, 1), file, sizeof file);
    read_string(warp, op, lane, argument<u64>(warp, op, lane, 3), function, sizeof function);
    const Block& block = *warp.block;
    const Dim3 shape = block.run->launch->block;
    const u32 thread = warp.index * kLanes + static_cast<u32>(lane);
    std::snprintf(text, sizeof text,
                  "%s:%u: %s: block: [%u,%u,%u], thread: [%u,%u,%u] Assertion `%s` failed.\n", file,
                  argument<u32>(warp, op, lane, 2), function, block.index[0], block.index[1],
                  block.index[2], thread % shape.x, thread / shape.x % shape.y,
                  thread / shape.x / shape.y, message);
    print(*block.run, text, true);
    last = lane;
  });
  raise_fault(warp, op, last, Fault::Kind::kAssert, 0, nullptr);
}

void library_malloc(Warp& warp, const Op& op, u32 mask) {
  for_each_lane(mask, [&](int lane) {
    give_back<u64>(warp, op, lane,
                   warp.block->run->heap->allocate(argument<u64>(warp, op, lane, 1)));
  });
}

void library_free(Warp& warp, const Op& op, u32 mask) {
  for_each_lane(mask, [&](int lane) {
    const u64 address = argument<u64>(warp, op, lane, 0);
    if (address != 0 && !warp.block->run->heap->release(address)) {
      raise_fault(warp, op, lane, Fault::Kind::kIllegalAddress, address,
                  "free() of what malloc() did not give");
    }
  });
}

void library_set_condition(Warp& warp, const Op& op, u32 mask) {
  const auto& set = *warp.block->run->set_condition;
  for_each_lane(mask, [&](int lane) {
    const u64 handle = argument<u64>(warp, op, lane, 0);
    if (!set || !set(handle, argument<u32>(warp, op, lane, 1))) {
      raise_fault(warp, op, lane, Fault::Kind::kIllegalAddress, handle,
                  "cudaGraphSetConditional() of what is no condition");
    }
  });
}

}  // namespace

Handler find_library_function(std::string_view name, unsigned* formals) {
  struct Entry {
    std::string_view name;
    Handler handler;
    unsigned formals;
  };
  static constexpr Entry kEntries[] = {
      {"vprintf", library_vprintf, 3},
      {"__assertfail", library_assertfail, 5},
      {"malloc", library_malloc, 2},
      {"free", library_free, 1},
      {"cudaGraphSetConditional", library_set_condition, 2},
  };
  for (const Entry& entry : kEntries) {
    if (entry.name != name) continue;
    *formals = entry.formals;
    return entry.handler;
  }
  return nullptr;
}

void trap(Warp& warp, const Op& op, u32 mask) {
  raise_fault(warp, op, __builtin_ctz(mask), Fault::Kind::kTrap, 0, nullptr);
}

void undecoded(Warp& warp, const Op& op, u32 mask) {
  raise_fault(warp, op, __builtin_ctz(mask), Fault::Kind::kIllegalInstruction, 0,
              reinterpret_cast<const char*>(op.imm));
}

}  // namespace farcall::softgpu
