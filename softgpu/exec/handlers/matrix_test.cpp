// mma and the moves of matrices. The test spreads matrices over lanes by the manual's formulas,
// element by element, and multiplies them on the host.
#include <random>

#include "softgpu/exec/handlers/instruction_harness.h"
#include "softgpu/exec/handlers/reference_float.h"

namespace farcall::softgpu {
namespace {

struct Case {
  const char* shape;
  int rows, depth;
  const char *d, *a, *b, *c;
  int a_bits;  // of an element
  bool a_signed, b_signed;
  const Format* format;  // of floats
};

class MmaTest : public testing::TestWithParam<Case> {};

// Where the manual's fragments have element i of a lane.
struct Place {
  int row, column;
};
Place place_a(int lane, int i, int rows, int per_register) {
  const int group = lane >> 2, thread = lane & 3, within = i % per_register, reg = i / per_register;
  const int halves = rows / 8;
  return {group + 8 * (reg % halves),
          thread * per_register + within + 4 * per_register * (reg / halves)};
}
Place place_b(int lane, int i, int per_register) {
  const int group = lane >> 2, thread = lane & 3;
  return {thread * per_register + i % per_register + 4 * per_register * (i / per_register), group};
}
Place place_c(int lane, int i) { return {(lane >> 2) + 8 * (i >> 1), (lane & 3) * 2 + (i & 1)}; }

std::string braces(const char* prefix, size_t count) {
  std::string out = "{";
  for (size_t i = 0; i < count; ++i)
    out += (i != 0 ? ", %" : "%") + std::string(prefix) + std::to_string(i);
  return out + "}";
}

TEST_P(MmaTest, MultipliesAndAdds) {
  const Case& c = GetParam();
  const int depth = c.depth;
  std::mt19937 random(17);
  const bool is_double = c.a_bits == 64, is_integer = c.format == nullptr && !is_double;
  const bool half_sums = std::string(c.d) == "f16";
  // Small numbers: sums are exact in any order, so the results can be compared for equality.
  auto number = [&](bool is_signed) {
    const int range = c.a_bits == 4 ? 8 : 64;
    return static_cast<int>(random() % static_cast<unsigned>(range)) - (is_signed ? range / 2 : 0);
  };
  std::vector<std::vector<int>> a(16, std::vector<int>(64)), b(64, std::vector<int>(8)),
      sum(16, std::vector<int>(8));
  for (auto& row : a)
    for (int& v : row) v = number(c.a_signed);
  for (auto& row : b)
    for (int& v : row) v = number(c.b_signed) / (half_sums ? 16 : 1);
  for (auto& row : sum)
    for (int& v : row) v = number(true);
  const int scale = half_sums ? 4 : 1;  // keeps f16 sums exact
  for (auto& row : a)
    for (int& v : row) v /= scale;

  const int register_bits = is_double ? 64 : 32, per = register_bits / c.a_bits;
  const size_t a_count = static_cast<size_t>(c.rows * depth / 32 / per),
               b_count = static_cast<size_t>(8 * depth / 32 / per);
  const size_t sums = static_cast<size_t>(c.rows / 4 / (half_sums ? 2 : 1));
  auto bits_of = [&](int v) -> uint64_t {
    if (is_double) return std::bit_cast<uint64_t>(double(v));
    if (is_integer) return static_cast<uint64_t>(v) & ((uint64_t{1} << c.a_bits) - 1);
    if (c.a_bits == 32) return std::bit_cast<uint32_t>(float(v));
    return encode(v, *c.format);
  };
  auto sum_bits = [&](int v) -> uint64_t {
    if (is_double) return std::bit_cast<uint64_t>(double(v));
    if (is_integer) return static_cast<uint32_t>(v);
    return std::bit_cast<uint32_t>(float(v));
  };
  // Per lane: registers of A, B, C; then D is read back.
  const size_t words = a_count + b_count + 2 * sums;
  std::vector<uint64_t> data(32 * words);
  for (int lane = 0; lane < 32; ++lane) {
    uint64_t* at = &data[static_cast<size_t>(lane) * words];
    for (size_t i = 0; i < a_count * static_cast<size_t>(per); ++i) {
      const Place p = place_a(lane, static_cast<int>(i), c.rows, per);
      at[i / per] |= bits_of(a[p.row][p.column]) << (i % per * c.a_bits % 64);
    }
    for (size_t i = 0; i < b_count * static_cast<size_t>(per); ++i) {
      const Place p = place_b(lane, static_cast<int>(i), per);
      at[a_count + i / per] |= bits_of(b[p.row][p.column]) << (i % per * c.a_bits % 64);
    }
    for (int i = 0; i < c.rows / 4; ++i) {
      const Place p = place_c(lane, i);
      const auto k = static_cast<size_t>(i);
      if (half_sums)
        at[a_count + b_count + k / 2] |= encode(sum[p.row][p.column], kF16) << (16 * (k % 2));
      else
        at[a_count + b_count + k] = sum_bits(sum[p.row][p.column]);
    }
  }
  TestDevice device;
  const std::string width = is_double ? "b64" : "b32";
  std::string text =
      ".version 8.5\n.target sm_90\n.address_size 64\n.visible .entry k(.param .u64 p) { .reg .b64 "
      "%p, %o; .reg .b32 %t; .reg ." +
      width +
      " %a<8>, %b<4>, %c<4>, %d<4>;\nld.param.u64 %p, [p]; mov.u32 %t, %tid.x; mad.wide.u32 %p, "
      "%t, " +
      std::to_string(8 * words) + ", %p;\n";
  for (size_t i = 0; i < a_count; ++i)
    text += "ld.global." + width + " %a" + std::to_string(i) + ", [%p+" + std::to_string(8 * i) +
            "];\n";
  for (size_t i = 0; i < b_count; ++i)
    text += "ld.global." + width + " %b" + std::to_string(i) + ", [%p+" +
            std::to_string(8 * (a_count + i)) + "];\n";
  for (size_t i = 0; i < sums; ++i)
    text += "ld.global." + width + " %c" + std::to_string(i) + ", [%p+" +
            std::to_string(8 * (a_count + b_count + i)) + "];\n";
  text += "mma.sync.aligned." + std::string(c.shape) + ".row.col." + c.d + "." + c.a + "." + c.b +
          "." + c.c + " " + braces("d", sums) + ", " + braces("a", a_count) + ", " +
          braces("b", b_count) + ", " + braces("c", sums) + ";\n";
  for (size_t i = 0; i < sums; ++i)
    text += "st.global." + width + " [%p+" + std::to_string(8 * (a_count + b_count + sums + i)) +
            "], %d" + std::to_string(i) + ";\n";
  const auto program = device.load(text + "ret; }\n");
  auto memory = device.upload(data);
  device.launch(*program, "k", {1}, {32}, Params(memory.data()));
  for (int lane = 0; lane < 32; ++lane) {
    const uint64_t* d = &memory[static_cast<size_t>(lane) * words + a_count + b_count + sums];
    for (int i = 0; i < c.rows / 4; ++i) {
      const Place p = place_c(lane, i);
      int want = sum[p.row][p.column];
      for (int k = 0; k < depth; ++k) want += a[p.row][k] * b[k][p.column];
      const auto k = static_cast<size_t>(i);
      if (half_sums)
        ASSERT_EQ(d[k / 2] >> (16 * (k % 2)) & 0xffff, encode(want, kF16)) << lane << " " << i;
      else
        ASSERT_EQ(d[k], sum_bits(want)) << lane << " " << i;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    Shapes, MmaTest,
    testing::Values(Case{"m16n8k8", 16, 8, "f32", "f16", "f16", "f32", 16, true, true, &kF16},
                    Case{"m16n8k16", 16, 16, "f32", "f16", "f16", "f32", 16, true, true, &kF16},
                    Case{"m16n8k8", 16, 8, "f16", "f16", "f16", "f16", 16, true, true, &kF16},
                    Case{"m16n8k16", 16, 16, "f16", "f16", "f16", "f16", 16, true, true, &kF16},
                    Case{"m16n8k8", 16, 8, "f32", "bf16", "bf16", "f32", 16, true, true, &kBf16},
                    Case{"m16n8k16", 16, 16, "f32", "bf16", "bf16", "f32", 16, true, true, &kBf16},
                    Case{"m16n8k4", 16, 4, "f32", "tf32", "tf32", "f32", 32, true, true, &kF32},
                    Case{"m16n8k8", 16, 8, "f32", "tf32", "tf32", "f32", 32, true, true, &kF32},
                    Case{"m8n8k4", 8, 4, "f64", "f64", "f64", "f64", 64, true, true, nullptr},
                    Case{"m16n8k16", 16, 16, "f64", "f64", "f64", "f64", 64, true, true, nullptr},
                    Case{"m8n8k16", 8, 16, "s32", "s8", "u8", "s32", 8, true, false, nullptr},
                    Case{"m16n8k16", 16, 16, "s32", "u8", "s8", "s32", 8, false, true, nullptr},
                    Case{"m16n8k32", 16, 32, "s32", "s8", "s8", "s32", 8, true, true, nullptr},
                    Case{"m8n8k32", 8, 32, "s32", "s4", "s4", "s32", 4, true, true, nullptr},
                    Case{"m16n8k64", 16, 64, "s32", "u4", "s4", "s32", 4, false, true, nullptr}),
    [](const auto& info) {
      return std::string(info.param.shape) + "_" + info.param.d + "_" + info.param.a;
    });

class MatrixMoveTest : public testing::Test {
 protected:
  // Four 8x8 matrices of 16-bit elements in shared memory, as bytes 0, 1, 2, ...; each lane's
  // results.
  std::vector<uint32_t> run(const std::string& code) {
    TestDevice device;
    const auto program = device.load(
        ".version 8.5\n.target sm_90\n.address_size 64\n.shared .align 16 .b8 s[1024];\n"
        ".visible .entry k(.param .u64 p) { .reg .b64 %p; .reg .b32 %t, %i, %v, %a, %r<4>;\n"
        "ld.param.u64 %p, [p]; mov.u32 %t, %tid.x; mad.wide.u32 %p, %t, 16, %p; mov.u32 %a, s; "
        "mad.lo.u32 %a, %t, 16, %a;\n"
        // Lane t writes row t: elements 8 t + 0 to 8 t + 7.
        "shl.b32 %v, %t, 3; mad.lo.u32 %v, %v, 0x10001, 0x10000; st.shared.u32 [%a], %v; add.u32 "
        "%v, %v, 0x20002; st.shared.u32 [%a+4], %v;\n"
        "add.u32 %v, %v, 0x20002; st.shared.u32 [%a+8], %v; add.u32 %v, %v, 0x20002; st.shared.u32 "
        "[%a+12], %v; bar.sync 0;\n" +
        code + "\nst.global.v4.u32 [%p], {%r0, %r1, %r2, %r3}; ret; }");
    auto out = device.array<uint32_t>(128);
    device.launch(*program, "k", {1}, {32}, Params(out.data()));
    return {out.begin(), out.end()};
  }
  static uint32_t pair(int first, int second) {
    return static_cast<uint32_t>(first | second << 16);
  }
};

TEST_F(MatrixMoveTest, LoadsPlainAndTransposed) {
  const auto plain = run("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%r0, %r1, %r2, %r3}, [%a];");
  const auto transposed =
      run("ldmatrix.sync.aligned.m8n8.x4.trans.shared::cta.b16 {%r0, %r1, %r2, %r3}, [%a];");
  for (int lane = 0; lane < 32; ++lane) {
    for (int k = 0; k < 4; ++k) {
      const int row = lane / 4, column = lane % 4 * 2, base = 64 * k;
      EXPECT_EQ(plain[4 * lane + k], pair(base + 8 * row + column, base + 8 * row + column + 1));
      EXPECT_EQ(transposed[4 * lane + k],
                pair(base + 8 * column + row, base + 8 * (column + 1) + row));
    }
  }
}

TEST_F(MatrixMoveTest, TransposesInRegistersAndStoresBack) {
  const auto moved =
      run("ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%r0}, [%a]; "
          "movmatrix.sync.aligned.m8n8.trans.b16 %r1, %r0; mov.u32 %r2, 0; mov.u32 %r3, 0;");
  const auto stored =
      run("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%r0, %r1}, [%a]; "
          "stmatrix.sync.aligned.m8n8.x2.trans.shared.b16 [%a], {%r1, %r0}; bar.sync 0;\n"
          "ld.shared.v4.u32 {%r0, %r1, %r2, %r3}, [%a];");
  for (int lane = 0; lane < 32; ++lane) {
    const int row = lane / 4, column = lane % 4 * 2;
    EXPECT_EQ(moved[4 * lane + 1], pair(8 * column + row, 8 * (column + 1) + row));
  }
  for (int row = 0; row < 16; ++row) {  // the matrices have changed places, rows and columns too
    for (int k = 0; k < 4; ++k) {
      const int base = row < 8 ? 64 : 0, r = row % 8;
      EXPECT_EQ(stored[4 * row + k], pair(base + 8 * (2 * k) + r, base + 8 * (2 * k + 1) + r));
    }
  }
}

// Shared memory has 512 bytes of an odd sequence; each lane names row t of 16 bytes.
class ByteMatrixTest : public testing::Test {
 protected:
  static uint32_t byte_at(int i) { return static_cast<uint32_t>(i * 37 + i / 7) & 0xff; }
  // Bits from..from + count of row `row`.
  static uint32_t bits_at(int row, int from, int count) {
    uint32_t value = 0;
    for (int i = 0; i < count; ++i)
      value |= (byte_at(16 * row + (from + i) / 8) >> ((from + i) % 8) & 1) << i;
    return value;
  }
  // Runs `code`; then each lane's %r0 to %r3, or its row of shared memory.
  std::vector<uint32_t> run(const std::string& code) {
    TestDevice device;
    const auto program = device.load(
        ".version 8.7\n.target sm_120a\n.address_size 64\n.shared .align 16 .b8 s[512];\n"
        ".visible .entry k(.param .u64 in, .param .u64 out) { .reg .b64 %p, %q; .reg .b32 %t, %a, "
        "%r<4>;\nld.param.u64 %p, [in]; ld.param.u64 %q, [out]; mov.u32 %t, %tid.x; mad.wide.u32 "
        "%p, %t, 16, %p; mad.wide.u32 %q, %t, 16, %q; mov.u32 %a, s; mad.lo.u32 %a, %t, 16, %a;\n"
        "ld.global.v4.u32 {%r0, %r1, %r2, %r3}, [%p]; st.shared.v4.u32 [%a], {%r0, %r1, %r2, "
        "%r3}; bar.sync 0;\n" +
        code + "\nst.global.v4.u32 [%q], {%r0, %r1, %r2, %r3}; ret; }");
    std::vector<uint8_t> bytes(512);
    for (int i = 0; i < 512; ++i) bytes[static_cast<size_t>(i)] = static_cast<uint8_t>(byte_at(i));
    auto in = device.upload(bytes);
    auto out = device.array<uint32_t>(128);
    device.launch(*program, "k", {1}, {32}, Params(in.data(), out.data()));
    return {out.begin(), out.end()};
  }
};

TEST_F(ByteMatrixTest, LoadsTransposedOfAnyWidth) {
  for (const auto& [format, bits] :
       {std::pair{"b8", 8}, {"b8x16.b6x16_p32", 6}, {"b8x16.b4x16_p64", 4}}) {
    const auto d = run("ldmatrix.sync.aligned.m16n16.x2.trans.shared." + std::string(format) +
                       " {%r0, %r1, %r2, %r3}, [%a];");
    for (int lane = 0; lane < 32; ++lane) {
      for (int i = 0; i < 16; ++i) {  // bytes of the four registers
        const int matrix = i / 8, column = lane / 4 + 8 * (i / 4 % 2), row = lane % 4 * 4 + i % 4;
        EXPECT_EQ(d[4 * lane + i / 4] >> (8 * (i % 4)) & 0xff,
                  bits_at(16 * matrix + row, bits * column, bits))
            << format << " " << lane << " " << i;
      }
    }
  }
}

TEST_F(ByteMatrixTest, TakesNarrowElementsApart) {
  for (const auto& [format, bits] : {std::pair{"b6x16_p32", 6}, {"b4x16_p64", 4}}) {
    const auto d = run("ldmatrix.sync.aligned.m8n16.x4.shared.b8x16." + std::string(format) +
                       " {%r0, %r1, %r2, %r3}, [%a];");
    for (int lane = 0; lane < 32; ++lane) {
      for (int i = 0; i < 16; ++i) {
        EXPECT_EQ(d[4 * lane + i / 4] >> (8 * (i % 4)) & 0xff,
                  bits_at(8 * (i / 4) + lane / 4, bits * (lane % 4 * 4 + i % 4), bits))
            << format << " " << lane << " " << i;
      }
    }
  }
}

TEST_F(ByteMatrixTest, StoresTransposed) {
  // Registers as they were loaded: lane t has bytes 16 t and following.
  const auto d =
      run("stmatrix.sync.aligned.m16n8.x4.trans.shared.b8 [%a], {%r0, %r1, %r2, %r3}; "
          "bar.sync 0; ld.shared.v4.u32 {%r0, %r1, %r2, %r3}, [%a];");
  for (int lane = 0; lane < 32; ++lane) {
    for (int i = 0; i < 16; ++i) {
      // Byte i % 4 of register i / 4 is an element of matrix i / 4.
      const int row = lane / 4 + 8 * (i % 4 / 2), column = lane % 4 * 2 + i % 2;
      const int to = 16 * (8 * (i / 4) + column) + row;
      EXPECT_EQ(d[to / 4] >> (8 * (to % 4)) & 0xff, byte_at(16 * lane + i)) << lane << " " << i;
    }
  }
}

}  // namespace
}  // namespace farcall::softgpu
