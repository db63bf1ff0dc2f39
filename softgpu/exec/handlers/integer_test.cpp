// Integer instructions against arithmetic in 128 bits, or bit by bit as the PTX manual defines
// them.
#include <algorithm>

#include "softgpu/exec/handlers/instruction_harness.h"

namespace farcall::softgpu {
namespace {

using Wide = __int128;

class IntegerTest : public testing::Test {
 protected:
  template <class T>
  static std::string type_name() {
    return (std::is_signed_v<T> ? "s" : "u") + std::to_string(8 * sizeof(T));
  }

  template <class T, class D = T>
  void check_unary(const std::string& name, const auto& expected) {
    const auto a = edge_values<T>();
    const std::string code = name + "." + type_name<T>() + " %d, %a;";
    const auto d = harness_.run<D>(code, a);
    ASSERT_EQ(d.size(), a.size()) << code;
    for (size_t i = 0; i < d.size(); ++i) ASSERT_EQ(d[i], expected(a[i])) << code << " " << +a[i];
  }
  template <class T, class D = T, class B = T>
  void check_binary(const std::string& name, const auto& expected,
                    std::string type = type_name<T>()) {
    std::vector<T> a;
    std::vector<B> b;
    cross(edge_values<T>(), edge_values<B>(), a, b);
    const std::string code = name + "." + type + " %d, %a, %b;";
    const auto d = harness_.run<D>(code, a, b);
    ASSERT_EQ(d.size(), a.size()) << code;
    for (size_t i = 0; i < d.size(); ++i)
      ASSERT_EQ(d[i], expected(a[i], b[i])) << code << " " << +a[i] << " " << +b[i];
  }
  template <class T, class D = T, class B = T, class C = D>
  void check_ternary(const std::string& name, const auto& expected,
                     std::string type = type_name<T>()) {
    std::vector<T> a;
    std::vector<B> b;
    cross(edge_values<T>(), edge_values<B>(), a, b);
    const auto edges = edge_values<C>();
    std::vector<C> c;
    for (size_t i = 0; i < a.size(); ++i) c.push_back(edges[(i * 7 + i / 11) % edges.size()]);
    const std::string code = name + "." + type + " %d, %a, %b, %c;";
    const auto d = harness_.run<D>(code, a, b, c);
    ASSERT_EQ(d.size(), a.size()) << code;
    for (size_t i = 0; i < d.size(); ++i) {
      ASSERT_EQ(d[i], expected(a[i], b[i], c[i]))
          << code << " " << +a[i] << " " << +b[i] << " " << +c[i];
    }
  }

  InstructionHarness harness_;
};

template <class T>
class TypedIntegerTest : public IntegerTest {};
using Integers = testing::Types<uint16_t, int16_t, uint32_t, int32_t, uint64_t, int64_t>;
TYPED_TEST_SUITE(TypedIntegerTest, Integers);

TYPED_TEST(TypedIntegerTest, ArithmeticWraps) {
  using T = TypeParam;
  this->template check_binary<T>("add", [](T a, T b) { return static_cast<T>(Wide{a} + b); });
  this->template check_binary<T>("sub", [](T a, T b) { return static_cast<T>(Wide{a} - b); });
  this->template check_binary<T>("mul.lo", [](T a, T b) {
    return static_cast<T>(static_cast<unsigned __int128>(a) * static_cast<unsigned __int128>(b));
  });
  this->template check_binary<T>("mul.hi", [](T a, T b) {
    if constexpr (std::is_signed_v<T>)
      return static_cast<T>(Wide{a} * b >> (8 * sizeof(T)));
    else
      return static_cast<T>(static_cast<unsigned __int128>(a) * b >> (8 * sizeof(T)));
  });
  this->template check_ternary<T>("mad.lo", [](T a, T b, T c) {
    return static_cast<T>(static_cast<unsigned __int128>(a) * static_cast<unsigned __int128>(b) +
                          static_cast<unsigned __int128>(c));
  });
  this->template check_ternary<T>("sad", [](T a, T b, T c) {
    return static_cast<T>(Wide{c} + (a > b ? Wide{a} - b : Wide{b} - a));
  });
}

TYPED_TEST(TypedIntegerTest, DivisionNeverTraps) {
  using T = TypeParam;
  this->template check_binary<T>(
      "div", [](T a, T b) { return b == 0 ? static_cast<T>(-1) : static_cast<T>(Wide{a} / b); });
  this->template check_binary<T>("rem",
                                 [](T a, T b) { return b == 0 ? a : static_cast<T>(Wide{a} % b); });
}

TYPED_TEST(TypedIntegerTest, OrderAndSign) {
  using T = TypeParam;
  this->template check_binary<T>("min", [](T a, T b) { return std::min(a, b); });
  this->template check_binary<T>("max", [](T a, T b) { return std::max(a, b); });
  if constexpr (std::is_signed_v<T>) {
    this->template check_unary<T>("neg", [](T a) { return static_cast<T>(-Wide{a}); });
    this->template check_unary<T>("abs",
                                  [](T a) { return static_cast<T>(a < 0 ? -Wide{a} : Wide{a}); });
  }
}

TYPED_TEST(TypedIntegerTest, LogicAndShifts) {
  using T = TypeParam;
  using U = std::make_unsigned_t<T>;
  const std::string b = "b" + std::to_string(8 * sizeof(T));
  constexpr uint32_t kBits = 8 * sizeof(T);
  this->template check_binary<T>(
      "and", [](T a, T b) { return static_cast<T>(a & b); }, b);
  this->template check_binary<T>(
      "or", [](T a, T b) { return static_cast<T>(a | b); }, b);
  this->template check_binary<T>(
      "xor", [](T a, T b) { return static_cast<T>(a ^ b); }, b);
  this->template check_binary<T, T, uint32_t>(
      "shl",
      [](T a, uint32_t n) { return n >= kBits ? T{0} : static_cast<T>(static_cast<U>(a) << n); },
      b);
  this->template check_binary<T, T, uint32_t>(
      "shr", [](T a, uint32_t n) { return static_cast<T>(Wide{a} >> std::min(n, 100u)); });
}

TEST_F(IntegerTest, WideProductsKeepEveryBit) {
  check_binary<uint16_t, uint32_t>("mul.wide",
                                   [](uint16_t a, uint16_t b) { return uint32_t{a} * b; });
  check_binary<int16_t, int32_t>("mul.wide", [](int16_t a, int16_t b) { return int32_t{a} * b; });
  check_binary<uint32_t, uint64_t>("mul.wide",
                                   [](uint32_t a, uint32_t b) { return uint64_t{a} * b; });
  check_binary<int32_t, int64_t>("mul.wide", [](int32_t a, int32_t b) { return int64_t{a} * b; });
  check_ternary<int32_t, int64_t>("mad.wide", [](int32_t a, int32_t b, int64_t c) {
    return static_cast<int64_t>(Wide{a} * b + c);
  });
  check_ternary<uint32_t, uint64_t>(
      "mad.wide", [](uint32_t a, uint32_t b, uint64_t c) { return uint64_t{a} * b + c; });
  check_ternary<int32_t>("mad.hi", [](int32_t a, int32_t b, int32_t c) {
    return static_cast<int32_t>((Wide{a} * b >> 32) + c);
  });
  check_ternary<uint64_t>("mad.hi", [](uint64_t a, uint64_t b, uint64_t c) {
    return static_cast<uint64_t>(static_cast<unsigned __int128>(a) * b >> 64) + c;
  });
}

TEST_F(IntegerTest, SaturationClamps) {
  auto clamp = [](Wide v) {
    return static_cast<int32_t>(std::clamp<Wide>(v, INT32_MIN, INT32_MAX));
  };
  check_binary<int32_t>("add.sat", [&](int32_t a, int32_t b) { return clamp(Wide{a} + b); });
  check_binary<int32_t>("sub.sat", [&](int32_t a, int32_t b) { return clamp(Wide{a} - b); });
  check_ternary<int32_t>("mad.hi.sat", [&](int32_t a, int32_t b, int32_t c) {
    return clamp((Wide{a} * b >> 32) + c);
  });
}

TEST_F(IntegerTest, TwentyFourBitProducts) {
  auto s24 = [](int32_t v) { return Wide{(v & 0xffffff) - ((v & 0x800000) != 0 ? 0x1000000 : 0)}; };
  auto u24 = [](uint32_t v) { return Wide{v & 0xffffff}; };
  check_binary<int32_t>(
      "mul24.lo", [&](int32_t a, int32_t b) { return static_cast<int32_t>(s24(a) * s24(b)); });
  check_binary<int32_t>("mul24.hi", [&](int32_t a, int32_t b) {
    return static_cast<int32_t>(s24(a) * s24(b) >> 16);
  });
  check_binary<uint32_t>("mul24.hi", [&](uint32_t a, uint32_t b) {
    return static_cast<uint32_t>(u24(a) * u24(b) >> 16);
  });
  check_ternary<uint32_t>("mad24.lo", [&](uint32_t a, uint32_t b, uint32_t c) {
    return static_cast<uint32_t>(u24(a) * u24(b) + c);
  });
}

TEST_F(IntegerTest, BitsAreCountedAndFound) {
  auto popc = [](auto v) {
    uint32_t n = 0;
    for (unsigned i = 0; i < 8 * sizeof v; ++i) n += v >> i & 1;
    return n;
  };
  auto clz = [](auto v) {
    uint32_t n = 0;
    for (unsigned i = 8 * sizeof v; i-- > 0 && (v >> i & 1) == 0;) ++n;
    return n;
  };
  // From here on as the manual has them.
  auto bfind = [](auto a, bool shift) -> uint32_t {
    const int msb = 8 * sizeof a - 1;
    auto v = a;
    if (v < 0) v = static_cast<decltype(v)>(~v);
    uint32_t d = ~0u;
    for (int i = msb; i >= 0; --i) {
      if ((v >> i & 1) != 0) {
        d = static_cast<uint32_t>(i);
        break;
      }
    }
    return shift && d != ~0u ? msb - d : d;
  };
  for (const char* name : {"popc.b32", "clz.b32"}) {
    const auto a = edge_values<uint32_t>();
    const auto d = harness_.run<uint32_t>(std::string(name) + " %d, %a;", a);
    for (size_t i = 0; i < a.size(); ++i)
      ASSERT_EQ(d[i], name[0] == 'p' ? popc(a[i]) : clz(a[i])) << name << a[i];
  }
  for (const char* name : {"popc.b64", "clz.b64"}) {
    const auto a = edge_values<uint64_t>();
    const auto d = harness_.run<uint32_t>(std::string(name) + " %d, %a;", a);
    for (size_t i = 0; i < a.size(); ++i)
      ASSERT_EQ(d[i], name[0] == 'p' ? popc(a[i]) : clz(a[i])) << name << a[i];
  }
  check_unary<uint32_t, uint32_t>("bfind", [&](uint32_t a) { return bfind(a, false); });
  check_unary<int32_t, uint32_t>("bfind", [&](int32_t a) { return bfind(a, false); });
  check_unary<int64_t, uint32_t>("bfind", [&](int64_t a) { return bfind(a, false); });
  check_unary<uint64_t, uint32_t>("bfind.shiftamt", [&](uint64_t a) { return bfind(a, true); });
  check_unary<int32_t, uint32_t>("bfind.shiftamt", [&](int32_t a) { return bfind(a, true); });
  const auto a = edge_values<uint32_t>();
  const auto d = harness_.run<uint32_t>("brev.b32 %d, %a;", a);
  for (size_t i = 0; i < a.size(); ++i) {
    uint32_t expected = 0;
    for (int k = 0; k < 32; ++k) expected |= (a[i] >> k & 1) << (31 - k);
    ASSERT_EQ(d[i], expected);
  }
  const auto a64 = edge_values<uint64_t>();
  const auto d64 = harness_.run<uint64_t>("brev.b64 %d, %a;", a64);
  for (size_t i = 0; i < a64.size(); ++i) {
    uint64_t expected = 0;
    for (int k = 0; k < 64; ++k) expected |= (a64[i] >> k & 1) << (63 - k);
    ASSERT_EQ(d64[i], expected);
  }
}

template <class T>
T reference_bfe(T a, uint32_t b, uint32_t c) {  // the manual's loop
  const uint32_t msb = 8 * sizeof(T) - 1, pos = b & 0xff, len = c & 0xff;
  auto bit = [&](uint32_t i) { return static_cast<uint64_t>(a) >> i & 1; };
  const uint64_t sign = !std::is_signed_v<T> || len == 0 ? 0 : bit(std::min(pos + len - 1, msb));
  uint64_t d = 0;
  for (uint32_t i = 0; i <= msb; ++i) d |= (i < len && pos + i <= msb ? bit(pos + i) : sign) << i;
  return static_cast<T>(d);
}

TEST_F(IntegerTest, BitFieldsFollowTheManual) {
  check_ternary<uint32_t, uint32_t, uint32_t, uint32_t>("bfe", reference_bfe<uint32_t>);
  check_ternary<int32_t, int32_t, uint32_t, uint32_t>("bfe", reference_bfe<int32_t>);
  check_ternary<uint64_t, uint64_t, uint32_t, uint32_t>("bfe", reference_bfe<uint64_t>);
  check_ternary<int64_t, int64_t, uint32_t, uint32_t>("bfe", reference_bfe<int64_t>);

  std::vector<uint32_t> a, b, position, length;
  for (uint32_t p : {0u, 1u, 5u, 16u, 30u, 31u, 32u, 40u, 255u, 256u, 261u}) {
    for (uint32_t n : {0u, 1u, 7u, 16u, 31u, 32u, 33u, 255u, 256u}) {
      a.push_back(0xdeadbeef);
      b.push_back(0x12345678);
      position.push_back(p);
      length.push_back(n);
    }
  }
  const auto d = harness_.run<uint32_t>("bfi.b32 %d, %a, %b, %c, %e;", a, b, position, length);
  for (size_t i = 0; i < d.size(); ++i) {
    const uint32_t pos = position[i] & 0xff, len = length[i] & 0xff;
    uint32_t expected = b[i];
    for (uint32_t k = 0; k < len && pos + k <= 31; ++k) {
      expected = (expected & ~(1u << (pos + k))) | (a[i] >> k & 1) << (pos + k);
    }
    ASSERT_EQ(d[i], expected) << pos << " " << len;
  }
}

TEST_F(IntegerTest, BytesArePermuted) {
  check_ternary<uint32_t>(
      "prmt",
      [](uint32_t a, uint32_t b, uint32_t c) {
        uint8_t bytes[8];
        std::memcpy(bytes, &a, 4);
        std::memcpy(bytes + 4, &b, 4);
        uint8_t out[4];
        for (int k = 0; k < 4; ++k) {
          const unsigned selector = c >> (4 * k) & 0xf;
          const uint8_t byte = bytes[selector & 7];
          out[k] = (selector & 8) != 0 ? ((byte & 0x80) != 0 ? 0xff : 0) : byte;
        }
        uint32_t d;
        std::memcpy(&d, out, 4);
        return d;
      },
      "b32");
}

TEST_F(IntegerTest, FunnelShiftsAndMasks) {
  auto funnel = [](bool left, bool wrap) {
    return [=](uint32_t lo, uint32_t hi, uint32_t c) {
      const uint32_t n = wrap ? c & 31 : std::min(c, 32u);
      const uint64_t v = uint64_t{hi} << 32 | lo;
      return left ? static_cast<uint32_t>((n == 0 ? v : v << n) >> 32)
                  : static_cast<uint32_t>(v >> n);
    };
  };
  check_ternary<uint32_t>("shf.l.wrap", funnel(true, true), "b32");
  check_ternary<uint32_t>("shf.l.clamp", funnel(true, false), "b32");
  check_ternary<uint32_t>("shf.r.wrap", funnel(false, true), "b32");
  check_ternary<uint32_t>("shf.r.clamp", funnel(false, false), "b32");
  auto bmsk = [](bool wrap) {
    return [=](uint32_t a, uint32_t b) {
      const uint32_t first = wrap ? a & 31 : a, width = wrap ? b & 31 : b;
      uint32_t d = 0;
      for (uint64_t i = first; i < uint64_t{first} + width && i < 32; ++i) d |= 1u << i;
      return d;
    };
  };
  check_binary<uint32_t>("bmsk.clamp", bmsk(false), "b32");
  check_binary<uint32_t>("bmsk.wrap", bmsk(true), "b32");
  check_binary<int32_t, int32_t, uint32_t>("szext.clamp", [](int32_t a, uint32_t n) {
    if (n == 0) return 0;
    return n >= 32 ? a : static_cast<int32_t>(Wide{a} << (128 - n) >> (128 - n));
  });
  check_binary<uint32_t, uint32_t, uint32_t>(
      "szext.wrap", [](uint32_t a, uint32_t n) { return a & ((1u << (n & 31)) - 1); });
}

TEST_F(IntegerTest, EveryTableOfLop3) {
  const std::vector<uint32_t> a = {0x0f0ff00f}, b = {0x3333cc3c}, c = {0x55aa9655};
  for (unsigned table = 0; table < 256; ++table) {
    const auto d =
        harness_.run<uint32_t>("lop3.b32 %d, %a, %b, %c, " + std::to_string(table) + ";", a, b, c);
    uint32_t expected = 0;
    for (int i = 0; i < 32; ++i) {
      const unsigned row = (a[0] >> i & 1) << 2 | (b[0] >> i & 1) << 1 | (c[0] >> i & 1);
      expected |= (table >> row & 1) << i;
    }
    ASSERT_EQ(d[0], expected) << table;
  }
}

TEST_F(IntegerTest, CarriesChainThroughWideNumbers) {
  std::vector<uint64_t> a, b;
  cross(edge_values<uint64_t>(), edge_values<uint64_t>(), a, b);
  const std::string split =
      ".reg .b32 %al, %ah, %bl, %bh; mov.b64 {%al, %ah}, %a; mov.b64 {%bl, %bh}, %b; ";
  const auto sum = harness_.run<uint64_t>(
      split + "add.cc.u32 %x, %al, %bl; addc.u32 %y, %ah, %bh; mov.b64 %d, {%x, %y};", a, b);
  const auto difference = harness_.run<uint64_t>(
      split + "sub.cc.u32 %x, %al, %bl; subc.u32 %y, %ah, %bh; mov.b64 %d, {%x, %y};", a, b);
  // The upper 64 bits of the 128-bit product of (2^32-1 times a) and b's parts would need a long
  // chain: low words here.
  const auto product =
      harness_.run<uint64_t>(split +
                                 "mul.lo.u32 %x, %al, %bl; mul.hi.u32 %y, %al, %bl; mad.lo.cc.u32 "
                                 "%y, %al, %bh, %y; madc.hi.u32 %z, %al, %bh, 0;"
                                 "mad.lo.cc.u32 %y, %ah, %bl, %y; mov.b64 %d, {%x, %y};",
                             a, b);
  for (size_t i = 0; i < a.size(); ++i) {
    ASSERT_EQ(sum[i], a[i] + b[i]);
    ASSERT_EQ(difference[i], a[i] - b[i]);
    ASSERT_EQ(product[i], a[i] * b[i]);
  }
  const auto carry = harness_.run<uint64_t>("add.cc.u64 %w, %a, %b; addc.u64 %d, 0, 0;", a, b);
  for (size_t i = 0; i < a.size(); ++i)
    ASSERT_EQ(carry[i], static_cast<uint64_t>((static_cast<unsigned __int128>(a[i]) + b[i]) >> 64));
  const auto high =
      harness_.run<uint64_t>("mad.lo.cc.u64 %w, %a, %b, %a; madc.hi.u64 %d, %a, %b, 0;", a, b);
  for (size_t i = 0; i < a.size(); ++i)
    ASSERT_EQ(high[i],
              static_cast<uint64_t>((static_cast<unsigned __int128>(a[i]) * b[i] + a[i]) >> 64));
}

TEST_F(IntegerTest, DotProductsOfBytes) {
  std::vector<uint32_t> a, b, c;
  cross(edge_values<uint32_t>(), edge_values<uint32_t>(), a, b);
  for (size_t i = 0; i < a.size(); ++i) c.push_back(static_cast<uint32_t>(i * 2654435761u));
  for (const bool a_signed : {false, true}) {
    for (const bool b_signed : {false, true}) {
      const std::string types =
          std::string(a_signed ? ".s32" : ".u32") + (b_signed ? ".s32" : ".u32");
      auto byte = [](uint32_t v, int k, bool is_signed) -> int64_t {
        const auto u = static_cast<uint8_t>(v >> (8 * k));
        return is_signed ? static_cast<int8_t>(u) : u;
      };
      const auto four = harness_.run<uint32_t>("dp4a" + types + " %d, %a, %b, %c;", a, b, c);
      const auto two = harness_.run<uint32_t>("dp2a.hi" + types + " %d, %a, %b, %c;", a, b, c);
      for (size_t i = 0; i < a.size(); ++i) {
        int64_t sum = c[i];
        for (int k = 0; k < 4; ++k) sum += byte(a[i], k, a_signed) * byte(b[i], k, b_signed);
        ASSERT_EQ(four[i], static_cast<uint32_t>(sum));
        sum = c[i];
        for (int k = 0; k < 2; ++k) {
          const auto half = static_cast<uint16_t>(a[i] >> (16 * k));
          sum += (a_signed ? int64_t{static_cast<int16_t>(half)} : int64_t{half}) *
                 byte(b[i], k + 2, b_signed);
        }
        ASSERT_EQ(two[i], static_cast<uint32_t>(sum));
      }
    }
  }
}

}  // namespace
}  // namespace farcall::softgpu
