// Runs one instruction over many operand values: arrays in, array out. What it should give is
// computed in the test, by other means than the interpreter's.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "softgpu/exec/test_device.h"

namespace farcall::softgpu {

// Types that edge cases hide in.
template <class T>
std::vector<T> edge_values() {
  using Limits = std::numeric_limits<T>;
  std::vector<T> values;
  if constexpr (std::is_floating_point_v<T>) {
    for (double v : {0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 0.1, 1.0 / 3, 127.4, 255.5, 65504.0, 1e10,
                     1e30, 6.25e-8}) {
      values.push_back(static_cast<T>(v));
    }
    for (T v : {Limits::min(), Limits::max(), Limits::denorm_min(), Limits::epsilon(),
                Limits::min() / 2, T(2147483648.0), T(4294967296.0), T(9223372036854775808.0),
                T(32767.5), T(8388607.5), T(16777215.0)}) {
      values.push_back(v);
      values.push_back(std::nextafter(v, T(0)));
      values.push_back(std::nextafter(v, Limits::infinity()));
    }
    values.push_back(Limits::infinity());
    values.push_back(Limits::quiet_NaN());
    for (size_t i = 0, n = values.size(); i < n; ++i) values.push_back(-values[i]);
  } else {
    using U = std::make_unsigned_t<T>;
    for (unsigned bit = 0; bit < 8 * sizeof(T); bit += sizeof(T) == 8 ? 7 : 3) {
      const U v = static_cast<U>(U{1} << bit);
      for (U w : {v, static_cast<U>(v - 1), static_cast<U>(v + 1), static_cast<U>(~v)})
        values.push_back(static_cast<T>(w));
    }
    for (T v : {Limits::min(), Limits::max(), T(0), T(-1), T(5), T(100), T(U(0x1234567890abcdefu))})
      values.push_back(v);
  }
  return values;
}

// All pairs (or triples, thinned out) of two lists.
template <class A, class B>
void cross(const std::vector<A>& a, const std::vector<B>& b, std::vector<A>& out_a,
           std::vector<B>& out_b) {
  for (const A& x : a) {
    for (const B& y : b) {
      out_a.push_back(x);
      out_b.push_back(y);
    }
  }
}

class InstructionHarness {
 public:
  // `code` reads %a, %b, %c and writes %d; predicates %p and %q, and %x, %y, %z (32 bits), %w (64
  // bits) are free.
  template <class D, class... Sources>
  std::vector<D> run(const std::string& code, const std::vector<Sources>&... sources) {
    const size_t n = std::min({sources.size()...});
    static constexpr const char* kNames[] = {"a", "b", "c", "e"};
    std::string text =
        ".version 8.5\n.target sm_90\n.address_size 64\n.visible .entry k(.param .u64 out, .param "
        ".u32 n";
    size_t index = 0;
    ((text += ", .param .u64 " + std::string(kNames[index++]), (void)sources), ...);
    text +=
        ") {\n .reg .b32 %i, %n, %t, %x, %y, %z;\n .reg .b64 %at, %p0, %w;\n .reg .pred %p, %q, "
        "%end;\n";
    text += declare<D>("d");
    index = 0;
    ((text += declare<Sources>(kNames[index++])), ...);
    text +=
        " mov.u32 %i, %ctaid.x;\n mov.u32 %n, %ntid.x;\n mov.u32 %t, %tid.x;\n mad.lo.u32 %i, %i, "
        "%n, %t;\n"
        " ld.param.u32 %n, [n];\n setp.ge.u32 %end, %i, %n;\n @%end exit;\n";
    index = 0;
    ((text += load<Sources>(kNames[index++])), ...);
    text += " " + code + "\n";
    text += address<D>("out") + " st.global.b" + bits<D>() + " [%at], %d;\n ret;\n}\n";

    const auto program = device_.load(text);
    if (!program) return {};
    auto out = device_.array<D>(n);
    Params params(out.data(), static_cast<uint32_t>(n));
    std::vector<void*> uploaded{out.data()};
    auto add = [&](const auto& values) {
      auto to = device_.upload(values);
      uploaded.push_back(to.data());
      params.add(to.data());
    };
    (add(sources), ...);
    device_.launch(*program, "k", {static_cast<uint32_t>((n + 127) / 128)}, {128}, params);
    std::vector<D> result(out.begin(), out.end());
    for (void* memory : uploaded) device_.memory.deallocate(memory);
    return result;
  }

  TestDevice& device() { return device_; }

 private:
  template <class T>
  static std::string bits() {
    return std::to_string(8 * sizeof(T));
  }
  template <class T>
  static std::string declare(const std::string& name) {
    return " .reg .b" + std::to_string(std::max<size_t>(16, 8 * sizeof(T))) + " %" + name + ";\n";
  }
  template <class T>
  static std::string address(const std::string& name) {
    return " ld.param.u64 %p0, [" + name + "];\n mad.wide.u32 %at, %i, " +
           std::to_string(sizeof(T)) + ", %p0;\n";
  }
  template <class T>
  static std::string load(const std::string& name) {
    return address<T>(name) + " ld.global.b" + bits<T>() + " %" + name + ", [%at];\n";
  }

  TestDevice device_;
};

// Equal bits, or both NaN.
template <class T>
bool same_value(T a, T b) {
  if constexpr (std::is_floating_point_v<T>) {
    if (std::isnan(a) || std::isnan(b)) return std::isnan(a) && std::isnan(b);
    return a == b && std::signbit(a) == std::signbit(b);
  } else {
    return a == b;
  }
}

}  // namespace farcall::softgpu
