// wmma in all shapes, types and layouts: matrices in memory with gaps between their rows, loaded,
// multiplied and stored; only what comes back to memory is looked at. And whole kernels by nvcc.
#include <random>

#include "softgpu/exec/handlers/instruction_harness.h"
#include "softgpu/exec/handlers/reference_float.h"

extern const char matrices_80[];

namespace farcall::softgpu {
namespace {

struct Case {
  const char* shape;
  int rows, columns, depth;
  const char *d, *a, *b, *c;
};

int bits_of(const std::string& type) {
  if (type == "f16" || type == "bf16") return 16;
  if (type == "f64") return 64;
  if (type == "s8" || type == "u8") return 8;
  if (type == "s4" || type == "u4") return 4;
  return type == "b1" ? 1 : 32;
}
int registers_of(const Case& c, char matrix) {
  const std::string type = matrix == 'a' ? c.a : matrix == 'b' ? c.b : matrix == 'c' ? c.c : c.d;
  if (type == "f16" && (matrix == 'a' || matrix == 'b')) return 8;
  const int elements = matrix == 'a'   ? c.rows * c.depth
                       : matrix == 'b' ? c.columns * c.depth
                                       : c.rows * c.columns;
  return elements * bits_of(type) / 32 / (bits_of(type) == 64 ? 64 : 32);
}

uint64_t encode_number(const std::string& type, int v) {
  if (type == "f16") return encode(v, kF16);
  if (type == "bf16") return encode(v, kBf16);
  if (type == "f32" || type == "tf32") return std::bit_cast<uint32_t>(float(v));
  if (type == "f64") return std::bit_cast<uint64_t>(double(v));
  const int bits = bits_of(type);
  return static_cast<uint64_t>(v) & (bits == 64 ? ~uint64_t{0} : (uint64_t{1} << bits) - 1);
}

// A matrix in memory: by rows or columns, `stride` elements from one to the next.
struct InMemory {
  std::vector<uint8_t> bytes;
  int bits, stride;
  bool by_columns;
  size_t bit_of(int row, int column) const {
    return static_cast<size_t>(by_columns ? column * stride + row : row * stride + column) *
           static_cast<size_t>(bits);
  }
  void set(int row, int column, uint64_t value) {
    for (int i = 0; i < bits; ++i) {
      const size_t at = bit_of(row, column) + static_cast<size_t>(i);
      bytes[at / 8] =
          static_cast<uint8_t>((bytes[at / 8] & ~(1 << at % 8)) | int(value >> i & 1) << at % 8);
    }
  }
  uint64_t get(const uint8_t* from, int row, int column) const {
    uint64_t value = 0;
    for (int i = 0; i < bits; ++i) {
      const size_t at = bit_of(row, column) + static_cast<size_t>(i);
      value |= uint64_t(from[at / 8] >> at % 8 & 1) << i;
    }
    return value;
  }
};
InMemory make(const std::string& type, int rows, int columns, bool by_columns, int gap) {
  InMemory m{{}, bits_of(type), (by_columns ? rows : columns) + gap, by_columns};
  const int lines = by_columns ? columns : rows;
  m.bytes.assign(static_cast<size_t>(lines * m.stride * m.bits / 8 + 64), 0xee);
  return m;
}

std::string braces(char name, int count) {
  std::string out = "{";
  for (int i = 0; i < count; ++i)
    out += (i == 0 ? "%" : ", %") + std::string(1, name) + std::to_string(i);
  return out + "}";
}

class WmmaTest : public testing::TestWithParam<Case> {
 protected:
  // bit 0 to 3: A, B, C, D by columns; variant 1 goes through shared memory.
  void check(const Case& c, unsigned layouts, bool saturate, bool exclusive) {
    std::mt19937 random(layouts + 7);
    const std::string a_type = c.a, c_type = c.c, d_type = c.d;
    const bool bit = a_type == "b1", sub_byte = bits_of(a_type) < 8;
    auto small = [&](const std::string& type) {
      const int r = static_cast<int>(random() % 64);
      if (type == "b1") return r & 1;
      if (type == "u4") return r & 15;
      if (type == "s4") return (r & 15) - 8;
      if (type == "u8") return r * 4;
      if (type == "s8") return r * 4 - 128;
      return r % 9 - 4;
    };
    const bool a_columns = !sub_byte && (layouts & 1) != 0,
               b_columns = sub_byte || (layouts & 2) != 0, c_columns = (layouts & 4) != 0,
               d_columns = (layouts & 8) != 0;
    const int gap = bit ? 128 : 32;
    InMemory a = make(c.a, c.rows, c.depth, a_columns, gap),
             b = make(c.b, c.depth, c.columns, b_columns, gap),
             cs = make(c.c, c.rows, c.columns, c_columns, 8),
             d = make(c.d, c.rows, c.columns, d_columns, 8);
    std::vector<std::vector<int>> x(c.rows, std::vector<int>(c.depth)),
        y(c.depth, std::vector<int>(c.columns)), z(c.rows, std::vector<int>(c.columns));
    for (int i = 0; i < c.rows; ++i)
      for (int k = 0; k < c.depth; ++k) a.set(i, k, encode_number(c.a, x[i][k] = small(c.a)));
    for (int k = 0; k < c.depth; ++k)
      for (int j = 0; j < c.columns; ++j) b.set(k, j, encode_number(c.b, y[k][j] = small(c.b)));
    for (int i = 0; i < c.rows; ++i)
      for (int j = 0; j < c.columns; ++j)
        cs.set(i, j,
               encode_number(
                   c.c, z[i][j] = saturate ? 0x7fffffff - int(random() % 1000) : small("f16")));
    TestDevice device;
    auto layout = [](bool columns) { return std::string(columns ? ".col" : ".row"); };
    auto decl = [&](char name, const std::string& type) {
      return " .reg .b" + std::string(bits_of(type) == 64 ? "64" : "32") + " %" + name + "<8>;\n";
    };
    const std::string tail = std::string(".sync.aligned");
    auto load = [&](char name, const InMemory& m, const std::string& type,
                    const std::string& address) {
      return "wmma.load." + std::string(1, name) + tail + layout(m.by_columns) + "." + c.shape +
             ".global." + type + " " + braces(name, registers_of(c, name)) + ", [" + address +
             "], " + std::to_string(m.stride) + ";\n";
    };
    const std::string types =
        a_type == "f16" ? d_type + "." + c_type : d_type + "." + c.a + "." + c.b + "." + c_type;
    const std::string text =
        ".version 8.5\n.target sm_90\n.address_size 64\n.visible .entry k(.param .u64 a, .param "
        ".u64 b, "
        ".param .u64 c, .param .u64 d) {\n" +
        decl('a', c.a) + decl('b', c.b) + decl('c', c.c) + decl('d', c.d) +
        ".reg .b64 %p, %q, %r, %s; ld.param.u64 %p, [a]; ld.param.u64 %q, [b]; ld.param.u64 %r, "
        "[c]; "
        "ld.param.u64 %s, [d];\n" +
        load('a', a, c.a, "%p") + load('b', b, c.b, "%q") + load('c', cs, c.c, "%r") + "wmma.mma" +
        (bit ? (exclusive ? ".xor.popc" : ".and.popc") : "") + tail + layout(a_columns) +
        layout(b_columns) + "." + c.shape + "." + types + (saturate ? ".satfinite" : "") + " " +
        braces('d', registers_of(c, 'd')) + ", " + braces('a', registers_of(c, 'a')) + ", " +
        braces('b', registers_of(c, 'b')) + ", " + braces('c', registers_of(c, 'c')) + ";\n" +
        "wmma.store.d" + tail + layout(d_columns) + "." + c.shape + "." + c.d + " [%s], " +
        braces('d', registers_of(c, 'd')) + ", " + std::to_string(d.stride) + ";\nret; }";
    const auto program = device.load(text);
    ASSERT_TRUE(program);
    auto pa = device.upload(a.bytes), pb = device.upload(b.bytes), pc = device.upload(cs.bytes),
         pd = device.upload(d.bytes);
    device.launch(*program, "k", {1}, {32}, Params(pa.data(), pb.data(), pc.data(), pd.data()));
    for (int i = 0; i < c.rows; ++i) {
      for (int j = 0; j < c.columns; ++j) {
        int64_t want = z[i][j];
        for (int k = 0; k < c.depth; ++k)
          want += bit ? (exclusive ? x[i][k] ^ y[k][j] : x[i][k] & y[k][j]) : x[i][k] * y[k][j];
        if (saturate) want = std::min<int64_t>(want, 0x7fffffff);
        ASSERT_EQ(d.get(pd.data(), i, j), encode_number(c.d, static_cast<int>(want)))
            << c.shape << " " << types << " layouts " << layouts << " at " << i << " " << j;
        d.set(i, j, d.get(pd.data(), i, j));
      }
    }
    // Nothing between the rows has been written.
    EXPECT_EQ(std::vector<uint8_t>(pd.begin(), pd.end()), d.bytes);
  }
};

TEST_P(WmmaTest, LoadsMultipliesStoresInAnyLayout) {
  const Case& c = GetParam();
  for (unsigned layouts = 0; layouts < 16; ++layouts) check(c, layouts, false, layouts % 2 == 0);
  if (std::string(c.d) == "s32" && std::string(c.a) != "b1") check(c, 5, true, false);
}
INSTANTIATE_TEST_SUITE_P(Shapes, WmmaTest,
                         testing::Values(Case{"m16n16k16", 16, 16, 16, "f32", "f16", "f16", "f32"},
                                         Case{"m16n16k16", 16, 16, 16, "f16", "f16", "f16", "f16"},
                                         Case{"m8n32k16", 8, 32, 16, "f32", "f16", "f16", "f16"},
                                         Case{"m32n8k16", 32, 8, 16, "f16", "f16", "f16", "f32"},
                                         Case{"m16n16k16", 16, 16, 16, "f32", "bf16", "bf16",
                                              "f32"},
                                         Case{"m8n32k16", 8, 32, 16, "f32", "bf16", "bf16", "f32"},
                                         Case{"m32n8k16", 32, 8, 16, "f32", "bf16", "bf16", "f32"},
                                         Case{"m16n16k8", 16, 16, 8, "f32", "tf32", "tf32", "f32"},
                                         Case{"m8n8k4", 8, 8, 4, "f64", "f64", "f64", "f64"},
                                         Case{"m16n16k16", 16, 16, 16, "s32", "s8", "s8", "s32"},
                                         Case{"m8n32k16", 8, 32, 16, "s32", "u8", "u8", "s32"},
                                         Case{"m32n8k16", 32, 8, 16, "s32", "s8", "s8", "s32"},
                                         Case{"m8n8k32", 8, 8, 32, "s32", "s4", "s4", "s32"},
                                         Case{"m8n8k32", 8, 8, 32, "s32", "u4", "u4", "s32"},
                                         Case{"m8n8k128", 8, 8, 128, "s32", "b1", "b1", "s32"}));

TEST(WmmaKernelsTest, ProductsOfHalves) {
  TestDevice device;
  const auto program = device.load(matrices_80);
  const uint32_t n = 128;
  std::mt19937 random(9);
  std::vector<uint16_t> a(n * n), b(n * n), b_columns(n * n);
  std::vector<float> x(n * n), y(n * n), c(n * n);
  for (uint32_t i = 0; i < n * n; ++i) {
    x[i] = static_cast<float>(int(random() % 17) - 8) / 8;
    y[i] = static_cast<float>(int(random() % 17) - 8) / 8;
    c[i] = static_cast<float>(random() % 100);
    a[i] = static_cast<uint16_t>(encode(x[i], kF16));
    b[i] = static_cast<uint16_t>(encode(y[i], kF16));
  }
  for (uint32_t i = 0; i < n; ++i)
    for (uint32_t j = 0; j < n; ++j) b_columns[j * n + i] = b[i * n + j];
  auto da = device.upload(a), db = device.upload(b), dbc = device.upload(b_columns);
  auto dc = device.upload(c), dd = device.array<float>(n * n);
  device.launch(*program, "wmma_gemm", {n / 16, n / 16}, {32},
                Params(da.data(), dbc.data(), dc.data(), static_cast<int>(n)));
  device.launch(*program, "mma_gemm", {n / 64, n / 64}, {128},
                Params(da.data(), db.data(), dd.data(), static_cast<int>(n)));
  for (uint32_t i = 0; i < n; ++i) {
    for (uint32_t j = 0; j < n; ++j) {
      float sum = 0;  // exact: multiples of 1/64
      for (uint32_t k = 0; k < n; ++k) sum += x[i * n + k] * y[k * n + j];
      ASSERT_EQ(dc[i * n + j], (sum + c[i * n + j]) * 0.5f) << i << " " << j;
      ASSERT_EQ(dd[i * n + j], sum) << i << " " << j;
    }
  }
}

}  // namespace
}  // namespace farcall::softgpu
