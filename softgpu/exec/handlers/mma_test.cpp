// mma with narrow floats, bits, sparse and scaled matrices, and Volta's shape. Numbers are chosen
// so that all sums are exact and results can be compared for equality; where the manual has an
// element, a chunk's indices or a scale is written here once more, element by element.
#include <random>

#include "softgpu/exec/handlers/instruction_harness.h"
#include "softgpu/exec/handlers/reference_float.h"

namespace farcall::softgpu {
namespace {

// ---- numbers ----

struct Number {
  uint32_t bits;
  double value;
};

// A float of a sign, e exponent bits and m of fraction, by definition.
double narrow_value(uint32_t bits, int e, int m, int bias) {
  const double sign = (bits >> (e + m) & 1) != 0 ? -1 : 1;
  const int exponent = static_cast<int>(bits >> m & ((1u << e) - 1));
  const double fraction = (bits & ((1u << m) - 1)) / std::ldexp(1.0, m);
  return sign * (exponent == 0 ? std::ldexp(fraction, 1 - bias)
                               : std::ldexp(1 + fraction, exponent - bias));
}

class Numbers {
 public:
  explicit Numbers(unsigned seed) : random_(seed) {}
  unsigned below(unsigned n) { return static_cast<unsigned>(random_() % n); }

  // A multiple of `unit`, at most `most`, of the type.
  Number draw(const std::string& type, double unit, double most) {
    for (;;) {
      const Number n = any(type);
      if (std::fabs(n.value) <= most && std::fmod(n.value, unit) == 0) return n;
    }
  }

 private:
  Number any(const std::string& type) {
    const auto r = static_cast<uint32_t>(random_());
    if (type == "e4m3") {
      const uint32_t b = r & 0xff;
      return {b, (b & 0x7f) == 0x7f ? NAN : narrow_value(b, 4, 3, 7)};
    }
    if (type == "e5m2") {
      const uint32_t b = r & 0xff;
      return {b, (b & 0x7c) == 0x7c ? NAN : narrow_value(b, 5, 2, 15)};
    }
    if (type == "e3m2") return {r & 0x3f, narrow_value(r & 0x3f, 3, 2, 3)};
    if (type == "e2m3") return {r & 0x3f, narrow_value(r & 0x3f, 2, 3, 1)};
    if (type == "e2m1") return {r & 0xf, narrow_value(r & 0xf, 2, 1, 1)};
    const int small = static_cast<int>(r % 33) - 16;
    if (type == "f16") return {static_cast<uint32_t>(encode(small / 4.0L, kF16)), small / 4.0};
    if (type == "bf16") return {static_cast<uint32_t>(encode(small / 4.0L, kBf16)), small / 4.0};
    if (type == "tf32")
      return {std::bit_cast<uint32_t>(float(small)) | (r & 0x1fff), double(small)};
    if (type == "s8") return {r & 0xff, double(static_cast<int8_t>(r))};
    if (type == "u8") return {r & 0xff, double(r & 0xff)};
    if (type == "s4") return {r & 0xf, double(static_cast<int8_t>(r << 4) >> 4)};
    if (type == "u4") return {r & 0xf, double(r & 0xf)};
    ADD_FAILURE() << type;
    return {};
  }
  std::mt19937 random_;
};

// ---- the instruction ----

struct Case {
  const char* instruction;  // without types
  int depth;
  const char *d, *a, *b;
  int bits;  // of an element in a register
  int sparse_chunk = 0;
  int selector = 0;
  int scales = 0;
  const char* scale_type = "";
  int byte_a = 0, thread_a = 0, byte_b = 0, thread_b = 0;
};

// Runs one instruction over the registers of 32 lanes. `more`: operands behind C, of which %e, %f
// and %g are further registers.
std::vector<std::array<uint32_t, 32>> run(const std::string& instruction,
                                          std::vector<std::array<uint32_t, 32>> a,
                                          const std::vector<std::array<uint32_t, 32>>& b,
                                          const std::vector<std::array<uint32_t, 32>>& c,
                                          const std::vector<std::array<uint32_t, 32>>& more,
                                          size_t d_count, const std::string& more_operands) {
  TestDevice device;
  std::vector<uint32_t> data;
  for (const auto* part :
       std::initializer_list<const std::vector<std::array<uint32_t, 32>>*>{&a, &b, &c, &more}) {
    for (const auto& reg : *part) data.insert(data.end(), reg.begin(), reg.end());
  }
  std::string text =
      ".version 8.7\n.target sm_120a\n.address_size 64\n.visible .entry k(.param .u64 p, .param "
      ".u64 q) { .reg .b64 %p, %q; .reg .b32 %t, %a<8>, %b<8>, %c<8>, %d<8>, %m<4>;\n"
      "ld.param.u64 %p, [p]; ld.param.u64 %q, [q]; mov.u32 %t, %tid.x; mad.wide.u32 %p, %t, 4, "
      "%p; mad.wide.u32 %q, %t, 4, %q;\n";
  size_t offset = 0;
  auto load = [&](const char* name, size_t count) {
    std::string list = "{";
    for (size_t i = 0; i < count; ++i) {
      text += "ld.global.b32 %" + std::string(name) + std::to_string(i) + ", [%p+" +
              std::to_string(offset) + "];\n";
      list += (i == 0 ? "%" : ", %") + std::string(name) + std::to_string(i);
      offset += 128;
    }
    return list + "}";
  };
  const std::string as = load("a", a.size()), bs = load("b", b.size()), cs = load("c", c.size());
  load("m", more.size());
  std::string ds = "{", stores;
  for (size_t i = 0; i < d_count; ++i) {
    ds += (i == 0 ? "%d" : ", %d") + std::to_string(i);
    stores += "st.global.b32 [%q+" + std::to_string(128 * i) + "], %d" + std::to_string(i) + ";\n";
  }
  text += instruction + " " + ds + "}, " + as + ", " + bs + ", " + cs + more_operands + ";\n" +
          stores + "ret; }\n";
  const auto program = device.load(text);
  std::vector<std::array<uint32_t, 32>> result(d_count);
  if (!program) return result;
  auto in = device.upload(data);
  auto out = device.array<uint32_t>(32 * d_count);
  device.launch(*program, "k", {1}, {32}, Params(in.data(), out.data()));
  for (size_t i = 0; i < d_count; ++i) std::copy_n(&out[32 * i], 32, result[i].begin());
  return result;
}

void put(uint32_t& word, uint32_t bits, int index, int width) {
  if (width == 32)
    word = bits;
  else
    word |= bits << (index * width);
}

class NarrowMmaTest : public testing::TestWithParam<Case> {};

TEST_P(NarrowMmaTest, MultipliesAndAdds) {
  const Case& c = GetParam();
  Numbers numbers(c.depth + c.bits);
  const std::string d_type = c.d, a_type = c.a;
  const bool integer = d_type == "s32", half = d_type == "f16";
  const int depth = c.depth, stored = c.sparse_chunk != 0 ? depth / 2 : depth;
  const double unit = integer ? 1 : half ? 0.5 : 0.125, most = integer ? 1000 : half ? 2 : 8;
  const auto width = c.bits;
  const bool container = std::string(c.instruction).find("f8f6f4") != std::string::npos;
  auto placed = [&](const std::string& type, uint32_t bits) {  // in its byte
    return container && type == "e2m1" ? bits << 2 : bits;
  };

  // A as it is stored, and where its elements are in the full matrix.
  std::vector<std::vector<Number>> compressed(16, std::vector<Number>(stored));
  std::vector<std::vector<double>> a(16, std::vector<double>(depth)),
      b(depth, std::vector<double>(8)), sum(16, std::vector<double>(8));
  std::vector<std::vector<uint32_t>> indices(16);  // four bits for each chunk
  for (int row = 0; row < 16; ++row) {
    for (Number& n : compressed[row]) n = numbers.draw(c.a, unit, most);
    if (c.sparse_chunk == 0) {
      for (int k = 0; k < depth; ++k) a[row][k] = compressed[row][k].value;
      continue;
    }
    for (int chunk = 0; chunk < depth / c.sparse_chunk; ++chunk) {
      const Number* from = &compressed[row][chunk * c.sparse_chunk / 2];
      double* to = &a[row][chunk * c.sparse_chunk];
      if (c.sparse_chunk == 2) {  // one of two: 0b0100 or 0b1110
        const unsigned which = numbers.below(2);
        to[which] = from[0].value;
        indices[row].push_back(which == 0 ? 0b0100 : 0b1110);
        continue;
      }
      const unsigned first = numbers.below(3), second = first + 1 + numbers.below(3 - first);
      indices[row].push_back(first | second << 2);
      if (c.sparse_chunk == 4) {
        to[first] = from[0].value;
        to[second] = from[1].value;
      } else {
        to[2 * first] = from[0].value;
        to[2 * first + 1] = from[1].value;
        to[2 * second] = from[2].value;
        to[2 * second + 1] = from[3].value;
      }
    }
  }
  const int per = 32 / width;
  std::vector<std::array<uint32_t, 32>> a_regs(16 * stored / per / 32),
      b_regs(8 * depth / per / 32), c_regs(half ? 2 : 4);
  for (auto& r : a_regs) r = {};
  for (auto& r : b_regs) r = {};
  for (auto& r : c_regs) r = {};
  for (int lane = 0; lane < 32; ++lane) {
    const int group = lane >> 2, thread = lane & 3;
    for (size_t i = 0; i < a_regs.size() * per; ++i) {
      const int reg = static_cast<int>(i) / per, within = static_cast<int>(i) % per;
      const int row = group + (reg % 2 == 1 ? 8 : 0);
      const int column = thread * per + within + (reg >= 2 ? 4 * per : 0);
      put(a_regs[reg][lane], placed(c.a, compressed[row][column].bits), within, width);
    }
    for (size_t i = 0; i < b_regs.size() * per; ++i) {
      const int reg = static_cast<int>(i) / per, within = static_cast<int>(i) % per;
      const Number n = numbers.draw(c.b, unit, most);
      b[thread * per + within + 4 * per * reg][group] = n.value;
      put(b_regs[reg][lane], placed(c.b, n.bits), within, width);
    }
    for (int i = 0; i < 4; ++i) {
      const int row = group + (i >= 2 ? 8 : 0), column = thread * 2 + i % 2;
      const int v = static_cast<int>(numbers.below(100)) - 50;
      sum[row][column] = v;
      if (half)
        c_regs[i / 2][lane] |= static_cast<uint32_t>(encode(v, kF16)) << (16 * (i % 2));
      else
        c_regs[i][lane] = integer ? static_cast<uint32_t>(v) : std::bit_cast<uint32_t>(float(v));
    }
  }
  std::vector<std::array<uint32_t, 32>> more;
  std::string operands;
  if (c.sparse_chunk != 0) {
    // Lanes that are not asked for have other bits.
    std::array<uint32_t, 32> metadata;
    for (uint32_t& word : metadata) word = 0x4e4e4e4e;
    const int chunks = depth / c.sparse_chunk;
    const bool wide = width >= 16;  // a word has 16 bits for each of two rows; else 32 for one
    const int providers = chunks * 4 * 2 / 32;  // lanes of a quad
    for (int row = 0; row < 16; ++row) {
      for (int chunk = 0; chunk < chunks; ++chunk) {
        const int quad = 4 * (row % 8), upper = row / 8;
        const int provider = wide ? chunk / 4 : chunk / 8 * 2 + upper;
        const int shift = wide ? chunk % 4 * 4 + 16 * upper : chunk % 8 * 4;
        uint32_t& word = metadata[quad + providers * c.selector + provider];
        word = (word & ~(15u << shift)) | indices[row][chunk] << shift;
      }
    }
    more.push_back(metadata);
    operands += ", %m0, " + std::to_string(c.selector);
  }
  if (c.scales != 0) {
    std::array<uint32_t, 32> data_a, data_b;
    for (int lane = 0; lane < 32; ++lane) data_a[lane] = data_b[lane] = 0xfefefefe;
    const bool ue8m0 = std::string(c.scale_type) == "ue8m0";
    auto scale = [&](uint32_t* word, int byte) {
      const uint32_t bits = ue8m0 ? 125 + numbers.below(4) : 0x30 + 4 * numbers.below(5);
      *word = (*word & ~(0xffu << (8 * byte))) | bits << (8 * byte);
      return ue8m0 ? std::ldexp(1.0, static_cast<int>(bits) - 127) : narrow_value(bits, 4, 3, 7);
    };
    for (int row = 0; row < 16; ++row) {
      for (int s = 0; s < c.scales; ++s) {
        // Thread pair of the quad by the selector; the second of the pair has the lower rows.
        const int lane = row % 8 * 4 + 2 * c.thread_a + (row >= 8 ? 1 : 0);
        const double factor = scale(&data_a[lane], c.byte_a + s);
        for (int k = s * depth / c.scales; k < (s + 1) * depth / c.scales; ++k) a[row][k] *= factor;
      }
    }
    for (int column = 0; column < 8; ++column) {
      for (int s = 0; s < c.scales; ++s) {
        const double factor = scale(&data_b[column * 4 + c.thread_b], c.byte_b + s);
        for (int k = s * depth / c.scales; k < (s + 1) * depth / c.scales; ++k)
          b[k][column] *= factor;
      }
    }
    const std::string first = std::to_string(more.size()), second = std::to_string(more.size() + 1);
    more.push_back(data_a);
    more.push_back(data_b);
    operands += ", %m" + first + ", {" + std::to_string(c.byte_a) + ", " +
                std::to_string(c.thread_a) + "}, {%m" + second + "}, {" + std::to_string(c.byte_b) +
                ", " + std::to_string(c.thread_b) + "}";
  }
  std::string instruction = std::string(c.instruction) + ".row.col." + c.d + "." + c.a + "." + c.b +
                            "." + c.d + (c.scales != 0 ? "." + std::string(c.scale_type) : "");
  const auto d = run(instruction, a_regs, b_regs, c_regs, more, c_regs.size(), operands);
  for (int lane = 0; lane < 32; ++lane) {
    for (int i = 0; i < 4; ++i) {
      const int row = lane / 4 + (i >= 2 ? 8 : 0), column = lane % 4 * 2 + i % 2;
      double want = sum[row][column];
      for (int k = 0; k < depth; ++k) want += a[row][k] * b[k][column];
      if (half) {
        ASSERT_EQ(d[i / 2][lane] >> (16 * (i % 2)) & 0xffff, encode(want, kF16))
            << lane << " " << i;
      } else if (integer) {
        ASSERT_EQ(static_cast<int32_t>(d[i][lane]), static_cast<int32_t>(want)) << lane << " " << i;
      } else {
        ASSERT_EQ(std::bit_cast<float>(d[i][lane]), static_cast<float>(want)) << lane << " " << i;
      }
    }
  }
}

constexpr const char* kPlain16 = "mma.sync.aligned.m16n8k16";
constexpr const char* kPlain32 = "mma.sync.aligned.m16n8k32";
constexpr const char* kF8f6f4 = "mma.sync.aligned.kind::f8f6f4.m16n8k32";
constexpr const char* kMx8 = "mma.sync.aligned.kind::mxf8f6f4.block_scale.scale_vec::1X.m16n8k32";
constexpr const char* kMx4 = "mma.sync.aligned.kind::mxf4.block_scale.scale_vec::2X.m16n8k64";
constexpr const char* kNv4 = "mma.sync.aligned.kind::mxf4nvf4.block_scale.scale_vec::4X.m16n8k64";

INSTANTIATE_TEST_SUITE_P(
    Narrow, NarrowMmaTest,
    testing::Values(
        Case{kPlain32, 32, "f32", "e4m3", "e5m2", 8}, Case{kPlain32, 32, "f16", "e5m2", "e4m3", 8},
        Case{kPlain16, 16, "f32", "e5m2", "e5m2", 8}, Case{kPlain16, 16, "f16", "e4m3", "e4m3", 8},
        Case{kF8f6f4, 32, "f32", "e3m2", "e2m1", 8}, Case{kF8f6f4, 32, "f16", "e2m3", "e4m3", 8},
        Case{kF8f6f4, 32, "f32", "e2m1", "e2m3", 8},
        Case{kMx8, 32, "f32", "e4m3", "e2m1", 8, 0, 0, 1, "ue8m0", 0, 0, 0, 0},
        Case{kMx8, 32, "f32", "e3m2", "e2m3", 8, 0, 0, 1, "ue8m0", 3, 1, 2, 3},
        Case{kMx4, 64, "f32", "e2m1", "e2m1", 4, 0, 0, 2, "ue8m0", 0, 1, 2, 2},
        Case{"mma.sync.aligned.kind::mxf4.block_scale.m16n8k64", 64, "f32", "e2m1", "e2m1", 4, 0, 0,
             2, "ue8m0", 2, 0, 0, 1},
        Case{kNv4, 64, "f32", "e2m1", "e2m1", 4, 0, 0, 4, "ue4m3", 0, 1, 0, 3},
        Case{kNv4, 64, "f32", "e2m1", "e2m1", 4, 0, 0, 4, "ue8m0", 0, 0, 0, 0}));

INSTANTIATE_TEST_SUITE_P(
    Sparse, NarrowMmaTest,
    testing::Values(
        Case{"mma.sp.sync.aligned.m16n8k16", 16, "f32", "f16", "f16", 16, 4, 0},
        Case{"mma.sp::ordered_metadata.sync.aligned.m16n8k16", 16, "f16", "f16", "f16", 16, 4, 3},
        Case{"mma.sp::ordered_metadata.sync.aligned.m16n8k32", 32, "f32", "bf16", "bf16", 16, 4, 1},
        Case{"mma.sp.sync.aligned.m16n8k32", 32, "f16", "f16", "f16", 16, 4, 0},
        Case{"mma.sp.sync.aligned.m16n8k8", 8, "f32", "tf32", "tf32", 32, 2, 2},
        Case{"mma.sp.sync.aligned.m16n8k16", 16, "f32", "tf32", "tf32", 32, 2, 1},
        Case{"mma.sp.sync.aligned.m16n8k32", 32, "s32", "s8", "u8", 8, 4, 1},
        Case{"mma.sp::ordered_metadata.sync.aligned.m16n8k64", 64, "s32", "u8", "u8", 8, 4, 0},
        Case{"mma.sp.sync.aligned.m16n8k64", 64, "s32", "s4", "u4", 4, 8, 1},
        Case{"mma.sp.sync.aligned.m16n8k128", 128, "s32", "u4", "s4", 4, 8, 0},
        Case{"mma.sp.sync.aligned.m16n8k64", 64, "f32", "e4m3", "e5m2", 8, 4, 0},
        Case{"mma.sp::ordered_metadata.sync.aligned.kind::f8f6f4.m16n8k64", 64, "f32", "e3m2",
             "e2m1", 8, 4, 0},
        Case{"mma.sp::ordered_metadata.sync.aligned.kind::mxf8f6f4.block_scale.scale_vec::1X."
             "m16n8k64",
             64, "f32", "e2m3", "e4m3", 8, 4, 0, 1, "ue8m0", 1, 0, 3, 1},
        Case{"mma.sp::ordered_metadata.sync.aligned.kind::mxf4nvf4.block_scale.scale_vec::4X."
             "m16n8k128",
             128, "f32", "e2m1", "e2m1", 4, 8, 0, 4, "ue4m3", 0, 1, 0, 2}));

// ---- single bits ----

TEST(BitMmaTest, CountsCommonOrDifferentBits) {
  std::mt19937 random(4);
  for (const auto& [shape, rows, depth] :
       {std::tuple{"m8n8k128", 8, 128}, {"m16n8k128", 16, 128}, {"m16n8k256", 16, 256}}) {
    for (bool exclusive : {false, true}) {
      std::vector<std::vector<int>> a(rows, std::vector<int>(depth)), b(depth, std::vector<int>(8));
      std::vector<std::array<uint32_t, 32>> a_regs(rows * depth / 1024), b_regs(8 * depth / 1024),
          c_regs(rows / 4);
      for (auto* regs : {&a_regs, &b_regs, &c_regs}) {
        for (auto& reg : *regs) {
          for (uint32_t& word : reg) word = static_cast<uint32_t>(random());
        }
      }
      for (int lane = 0; lane < 32; ++lane) {
        for (int i = 0; i < 32 * static_cast<int>(a_regs.size()); ++i) {
          const int reg = i / 32;
          const int row = lane / 4 + (rows == 16 && reg % 2 == 1 ? 8 : 0);
          const int column = lane % 4 * 32 + i % 32 + (rows == 16 && reg >= 2 ? 128 : 0);
          a[row][column] = a_regs[reg][lane] >> (i % 32) & 1;
        }
        for (int i = 0; i < 32 * static_cast<int>(b_regs.size()); ++i)
          b[lane % 4 * 32 + i % 32 + i / 32 * 128][lane / 4] = b_regs[i / 32][lane] >> (i % 32) & 1;
      }
      const auto d = run("mma.sync.aligned." + std::string(shape) + ".row.col.s32.b1.b1.s32." +
                             (exclusive ? "xor" : "and") + ".popc",
                         a_regs, b_regs, c_regs, {}, c_regs.size(), "");
      for (int lane = 0; lane < 32; ++lane) {
        for (int i = 0; i < rows / 4; ++i) {
          const int row = lane / 4 + 8 * (i / 2), column = lane % 4 * 2 + i % 2;
          uint32_t want = c_regs[i][lane];
          for (int k = 0; k < depth; ++k)
            want += exclusive ? a[row][k] ^ b[k][column] : a[row][k] & b[k][column];
          ASSERT_EQ(d[i][lane], want) << shape;
        }
      }
    }
  }
}

// ---- Volta ----

TEST(VoltaMmaTest, FourProductsInAllLayouts) {
  Numbers numbers(2);
  for (const auto& [a_columns, b_columns, d_half, c_half] : {std::tuple{false, true, false, false},
                                                             {false, false, true, true},
                                                             {true, true, false, true},
                                                             {true, false, true, false}}) {
    double a[4][8][4], b[4][4][8], sum[4][8][8];
    std::vector<std::array<uint32_t, 32>> a_regs(2), b_regs(2), c_regs(c_half ? 4 : 8);
    for (auto* regs : {&a_regs, &b_regs, &c_regs})
      for (auto& reg : *regs) reg = {};
    auto place = [](bool half, int lane, int i, int* row, int* column) {
      if (half) {
        *row = lane % 4 + (lane < 16 ? 0 : 4);
        *column = i;
      } else {
        *row = (lane & 1) + (i & 2) + (lane < 16 ? 0 : 4);
        *column = (i & 4) + (lane & 2) + (i & 1);
      }
    };
    for (int lane = 0; lane < 32; ++lane) {
      const int product = lane % 16 / 4, upper = lane < 16 ? 0 : 4;
      for (int i = 0; i < 4; ++i) {
        const Number x = numbers.draw("f16", 0.5, 4), y = numbers.draw("f16", 0.5, 4);
        put(a_regs[i / 2][lane], x.bits, i % 2, 16);
        put(b_regs[i / 2][lane], y.bits, i % 2, 16);
        if (a_columns)
          a[product][i + upper][lane % 4] = x.value;
        else
          a[product][lane % 4 + upper][i] = x.value;
        if (b_columns)
          b[product][i][lane % 4 + upper] = y.value;
        else
          b[product][lane % 4][i + upper] = y.value;
      }
      for (int i = 0; i < 8; ++i) {
        const Number x = numbers.draw("f16", 0.5, 4);
        int row, column;
        place(c_half, lane, i, &row, &column);
        sum[product][row][column] = x.value;
        if (c_half)
          put(c_regs[i / 2][lane], x.bits, i % 2, 16);
        else
          c_regs[i][lane] = std::bit_cast<uint32_t>(static_cast<float>(x.value));
      }
    }
    const auto d = run(std::string("mma.sync.aligned.m8n8k4.") + (a_columns ? "col." : "row.") +
                           (b_columns ? "col." : "row.") + (d_half ? "f16" : "f32") + ".f16.f16." +
                           (c_half ? "f16" : "f32"),
                       a_regs, b_regs, c_regs, {}, d_half ? 4 : 8, "");
    for (int lane = 0; lane < 32; ++lane) {
      for (int i = 0; i < 8; ++i) {
        const int product = lane % 16 / 4;
        int row, column;
        place(d_half, lane, i, &row, &column);
        double want = sum[product][row][column];
        for (int k = 0; k < 4; ++k) want += a[product][row][k] * b[product][k][column];
        if (d_half)
          ASSERT_EQ(d[i / 2][lane] >> (16 * (i % 2)) & 0xffff, encode(want, kF16));
        else
          ASSERT_EQ(std::bit_cast<float>(d[i][lane]), static_cast<float>(want));
      }
    }
  }
}

// ---- odds and ends ----

TEST(MmaTest, SaturatesAndSpecialValues) {
  std::vector<std::array<uint32_t, 32>> ones(4), c(4);
  for (auto& reg : ones) reg.fill(0x7f7f7f7f);
  for (size_t i = 0; i < 4; ++i) c[i].fill(i % 2 == 0 ? 0x7fffff00 : 0);
  const std::vector<std::array<uint32_t, 32>> b(ones.begin(), ones.begin() + 2);
  auto d = run("mma.sync.aligned.m16n8k32.row.col.satfinite.s32.s8.s8.s32", ones, b, c, {}, 4, "");
  EXPECT_EQ(d[0][5], 0x7fffffffu);
  EXPECT_EQ(d[1][5], 32u * 127 * 127);
  d = run("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32", ones, b, c, {}, 4, "");
  EXPECT_EQ(d[0][5], 0x7fffff00u + 32u * 127 * 127);
  // e4m3's only NaN; e5m2's infinity.
  std::vector<std::array<uint32_t, 32>> a(4), e(2), zero(4);
  for (auto& reg : a) reg.fill(0);
  for (auto& reg : e) reg.fill(0x3c3c3c3c);
  for (auto& reg : zero) reg.fill(0);
  a[0][8] = 0x7f;  // row 2
  a[1][8] = 0x7b;  // of e5m2 the largest
  d = run("mma.sync.aligned.m16n8k32.row.col.f32.e4m3.e5m2.f32", a, e, zero, {}, 4, "");
  EXPECT_TRUE(std::isnan(std::bit_cast<float>(d[0][8])));
  EXPECT_EQ(std::bit_cast<float>(d[0][4]), 0);
  a[0][8] = 0x7c;
  d = run("mma.sync.aligned.m16n8k32.row.col.f32.e5m2.e5m2.f32", a, e, zero, {}, 4, "");
  EXPECT_TRUE(std::isinf(std::bit_cast<float>(d[0][8])));
  EXPECT_EQ(std::bit_cast<float>(d[2][8]), 57344.0f);
}

TEST(MmaTest, ResultsMayOverwriteSources) {
  // D's registers are C's, A's and B's in another order.
  TestDevice device;
  const auto program = device.load(
      ".version 8.7\n.target sm_90\n.address_size 64\n.visible .entry k(.param .u64 p) { .reg .b64 "
      "%p; .reg .b32 %t, %r<10>; ld.param.u64 %p, [p]; mov.u32 %t, %tid.x; mad.wide.u32 %p, %t, "
      "16, %p; mov.u32 %r0, 0x02020202; mov.u32 %r1, 0x03030303; mov.u32 %r2, 10; mov.u32 %r3, "
      "20;\n"
      "mma.sync.aligned.m8n8k16.row.col.satfinite.s32.s8.s8.s32 {%r3, %r2}, {%r0}, {%r1}, {%r2, "
      "%r3};\n mma.sync.aligned.m8n8k16.row.col.s32.s8.s8.s32 {%r1, %r0}, %r0, %r1, {%r0, %r1};\n"
      "st.global.v4.u32 [%p], {%r0, %r1, %r2, %r3}; ret; }");
  auto out = device.array<uint32_t>(128);
  device.launch(*program, "k", {1}, {32}, Params(out.data()));
  EXPECT_EQ(out[3], 10u + 96);
  EXPECT_EQ(out[2], 20u + 96);
  EXPECT_EQ(out[1], 0x02020202u + 96);
  EXPECT_EQ(out[0], 0x03030303u + 96);
}

TEST(MmaTest, RefusesWhatDoesNotExist) {
  TestDevice device;
  for (const char* code :
       {"mma.sync.aligned.m16n8k16.row.row.f32.f16.f16.f32 {%r0,%r1,%r2,%r3}, "
        "{%r0,%r1,%r2,%r3}, {%r0,%r1}, {%r0,%r1,%r2,%r3};",
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.bf16.f32 {%r0,%r1,%r2,%r3}, "
        "{%r0,%r1,%r2,%r3}, {%r0,%r1}, {%r0,%r1,%r2,%r3};",
        "mma.sync.aligned.m16n8k32.row.col.f32.e4m3.e3m2.f32 {%r0,%r1,%r2,%r3}, "
        "{%r0,%r1,%r2,%r3}, {%r0,%r1}, {%r0,%r1,%r2,%r3};",
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%r0,%r1,%r2,%r3}, "
        "{%r0,%r1,%r2}, {%r0,%r1}, {%r0,%r1,%r2,%r3};",
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32.frob {%r0,%r1,%r2,%r3}, "
        "{%r0,%r1,%r2,%r3}, {%r0,%r1}, {%r0,%r1,%r2,%r3};",
        "mma.sp.sync.aligned.m16n8k32.row.col.f32.f16.f16.f32 {%r0,%r1,%r2,%r3}, "
        "{%r0,%r1,%r2,%r3}, {%r0,%r1,%r2,%r3}, {%r0,%r1,%r2,%r3}, %r4, 2;",
        "mma.sync.aligned.kind::mxf8f6f4.m16n8k32.row.col.f32.e4m3.e4m3.f32 {%r0,%r1,%r2,%r3}, "
        "{%r0,%r1,%r2,%r3}, {%r0,%r1}, {%r0,%r1,%r2,%r3};"}) {
    const std::string text =
        ".version 8.7\n.target sm_120a\n.address_size 64\n.visible .entry k() { .reg .b32 %r<8>; " +
        std::string(code) + " ret; }";
    EXPECT_FALSE(device.load_error(text).message.empty()) << code;
  }
}

}  // namespace
}  // namespace farcall::softgpu
