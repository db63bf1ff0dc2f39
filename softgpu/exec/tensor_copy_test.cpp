// Tensor copies against a reference that goes element by element: which coordinates an element of
// the box has, where it lies in global memory, where in shared memory.
#include <gmock/gmock.h>

#include <array>
#include <random>

#include "softgpu/exec/tensor_map.h"
#include "softgpu/exec/test_device.h"

namespace farcall::softgpu {
namespace {

using testing::HasSubstr;

constexpr uint32_t kBoxBytesMax = 32768;

struct Box {
  const char* name;
  TensorType type;
  std::vector<uint32_t> dimension, box, step;
  std::vector<int> at;
  unsigned swizzle = 0;  // bytes
  bool nan = false;
  uint32_t padding = 0;  // bytes behind each row of the tensor
};
void PrintTo(const Box& box, std::ostream* out) { *out << box.name; }

TensorMap make_map(const Box& b, const void* memory) {
  TensorMap map{};
  map.magic = TensorMap::kMagic;
  map.address = reinterpret_cast<uint64_t>(memory);
  map.rank = static_cast<uint8_t>(b.dimension.size());
  map.type = b.type;
  map.fill_nan = b.nan;
  map.swizzle = b.swizzle == 128  ? TensorSwizzle::k128
                : b.swizzle == 64 ? TensorSwizzle::k64
                : b.swizzle == 32 ? TensorSwizzle::k32
                                  : TensorSwizzle::kNone;
  uint64_t stride = b.dimension[0] * element_bytes(b.type) + b.padding;
  for (size_t d = 0; d < b.dimension.size(); ++d) {
    map.last[d] = b.dimension[d] - 1;
    map.box[d] = static_cast<uint16_t>(b.box[d]);
    map.element_stride[d] = static_cast<uint8_t>(b.step.empty() ? 1 : b.step[d]);
    if (d > 0) {
      map.stride[d - 1] = stride;
      stride *= b.dimension[d];
    }
  }
  return map;
}

// A place of the box: its coordinates in the tensor and its bytes in shared memory.
struct Element {
  bool inside;
  size_t global, shared;  // bytes
};
std::vector<Element> elements_of(const Box& b) {
  const size_t rank = b.dimension.size(), size = element_bytes(b.type);
  std::vector<uint32_t> count(rank);
  for (size_t d = 0; d < rank; ++d) {
    const uint32_t step = b.step.empty() || d == 0 ? 1 : b.step[d];
    count[d] = (b.box[d] + step - 1) / step;
  }
  size_t total = 1;
  for (uint32_t n : count) total *= n;
  std::vector<Element> out;
  for (size_t i = 0; i < total; ++i) {
    Element e{true, 0, i * size};
    size_t rest = i, stride = size;
    for (size_t d = 0; d < rank; ++d) {
      const int64_t step = b.step.empty() || d == 0 ? 1 : b.step[d];
      const int64_t c = b.at[d] + static_cast<int64_t>(rest % count[d]) * step;
      rest /= count[d];
      if (c < 0 || c >= b.dimension[d]) e.inside = false;
      e.global += static_cast<size_t>(c) * stride;
      stride = d == 0 ? b.dimension[0] * size + b.padding : stride * b.dimension[d];
    }
    if (b.swizzle != 0) {
      // Lines of 128 bytes have eight chunks of 16; within groups of `swizzle` bytes a chunk
      // changes places by the number of its line.
      const size_t line = e.shared / 128, chunk = e.shared % 128 / 16, chunks = b.swizzle / 16;
      const size_t moved = chunk / chunks * chunks + (chunk % chunks ^ line % chunks);
      e.shared = line * 128 + moved * 16 + e.shared % 16;
    }
    out.push_back(e);
  }
  return out;
}

std::string coordinates(const Box& b) {
  std::string out = "{";
  for (size_t d = 0; d < b.at.size(); ++d) out += (d == 0 ? "" : ", ") + std::to_string(b.at[d]);
  return out + "}";
}

// Parameters: map, out or in (the box as it lies in shared memory). One thread copies.
std::string kernel(const std::string& body) {
  return ".version 8.7\n.target sm_90\n.address_size 64\n.shared .align 1024 .b8 memory[32768];\n"
         ".shared .b64 barrier;\n.visible .entry k(.param .align 64 .b8 map[128], .param .u64 box) "
         "{\n"
         ".reg .b64 %map, %box, %rd<9>; .reg .b32 %s, %m, %r<9>; .reg .pred %p<4>; .reg .b16 "
         "%h<4>;\nmov.b64 %map, map; cvta.param.u64 %map, %map; ld.param.u64 %box, [box]; mov.u32 "
         "%s, memory; mov.u32 %m, barrier; mbarrier.init.shared.b64 [%m], 1;\n" +
         body + "\nret;\n}\n";
}
std::string name_of(const Box& b) { return std::to_string(b.dimension.size()) + "d"; }

class TensorCopyTest : public testing::TestWithParam<Box> {
 protected:
  void SetUp() override {
    const Box& b = GetParam();
    size_t bytes = b.dimension[0] * element_bytes(b.type) + b.padding;
    for (size_t d = 1; d < b.dimension.size(); ++d) bytes *= b.dimension[d];
    std::mt19937 random(7);
    std::vector<uint8_t> values(bytes);
    for (uint8_t& v : values) v = static_cast<uint8_t>(random());
    tensor_ = device_.upload(values);
    elements_ = elements_of(b);
    box_bytes_ = elements_.size() * element_bytes(b.type);
    ASSERT_LE(box_bytes_, kBoxBytesMax);
  }
  void run(const std::string& body, std::span<uint8_t> box) {
    const auto program = device_.load(kernel(body));
    ASSERT_TRUE(program);
    device_.launch(*program, "k", {1}, {1},
                   Params(make_map(GetParam(), tensor_.data()), box.data()));
  }
  TestDevice device_;
  std::span<uint8_t> tensor_;
  std::vector<Element> elements_;
  size_t box_bytes_ = 0;
};

TEST_P(TensorCopyTest, Loads) {
  const Box& b = GetParam();
  auto out = device_.array<uint8_t>(kBoxBytesMax);
  const std::string bytes = std::to_string(box_bytes_);
  run("mbarrier.arrive.expect_tx.shared.b64 _, [%m], " + bytes + "; cp.async.bulk.tensor." +
          name_of(b) + ".shared::cluster.global.tile.mbarrier::complete_tx::bytes [%s], [%map, " +
          coordinates(b) +
          "], [%m];\nmbarrier.test_wait.parity.shared.b64 %p0, [%m], 0; @!%p0 trap;\n"
          "cp.async.bulk.global.shared::cta.bulk_group [%box], [%s], " +
          bytes + ";",
      out);
  const size_t size = element_bytes(b.type);
  const uint64_t fill = !b.nan ? 0 : size == 2 ? 0x7fff : 0x7fffffff;
  for (const Element& e : elements_) {
    uint64_t have = 0, want = fill;
    std::memcpy(&have, &out[e.shared], size);
    if (e.inside) {
      want = 0;
      std::memcpy(&want, &tensor_[e.global], size);
    }
    ASSERT_EQ(have, want) << "at " << e.shared;
  }
}

TEST_P(TensorCopyTest, StoresWhatIsInside) {
  const Box& b = GetParam();
  std::vector<uint8_t> values(box_bytes_), want(tensor_.begin(), tensor_.end());
  std::mt19937 random(8);
  for (uint8_t& v : values) v = static_cast<uint8_t>(random());
  for (const Element& e : elements_) {
    if (e.inside) std::memcpy(&want[e.global], &values[e.shared], element_bytes(b.type));
  }
  run("mbarrier.arrive.expect_tx.shared.b64 _, [%m], " + std::to_string(box_bytes_) +
          "; cp.async.bulk.shared::cta.global.mbarrier::complete_tx::bytes [%s], [%box], " +
          std::to_string(box_bytes_) + ", [%m]; cp.async.bulk.tensor." + name_of(b) +
          ".global.shared::cta.tile.bulk_group [%map, " + coordinates(b) +
          "], [%s]; cp.async.bulk.commit_group; cp.async.bulk.wait_group 0;",
      device_.upload(values));
  EXPECT_EQ(std::vector<uint8_t>(tensor_.begin(), tensor_.end()), want);
}

INSTANTIATE_TEST_SUITE_P(
    Boxes, TensorCopyTest,
    testing::Values(
        Box{"line", TensorType::kF32, {100}, {64}, {}, {8}},
        Box{"line_over_both_ends", TensorType::kU8, {40}, {128}, {}, {-20}},
        Box{"outside", TensorType::kU16, {64, 8}, {16, 4}, {}, {64, 2}},
        Box{"tile", TensorType::kF16, {64, 32}, {16, 8}, {}, {16, 5}, 0, false, 32},
        Box{"corner", TensorType::kF32, {40, 20}, {8, 16}, {}, {-3, -5}, 0, true},
        Box{"swizzle_128", TensorType::kF16, {128, 64}, {64, 32}, {}, {64, 40}, 128},
        Box{"swizzle_64", TensorType::kF32, {32, 64}, {16, 24}, {}, {16, 50}, 64, true},
        Box{"swizzle_32", TensorType::kU8, {96, 16}, {32, 16}, {}, {70, 3}, 32},
        Box{"steps", TensorType::kU32, {16, 40, 9}, {8, 9, 7}, {1, 3, 2}, {4, 2, 1}},
        Box{"cube", TensorType::kF64, {10, 12, 14}, {4, 5, 6}, {}, {8, 10, -2}},
        Box{"four", TensorType::kBf16, {16, 7, 6, 5}, {8, 3, 2, 4}, {}, {8, 5, -1, 3}, 0, true},
        Box{"five", TensorType::kS32, {8, 5, 4, 3, 3}, {4, 2, 3, 2, 2}, {}, {4, 1, 2, 2, -1}, 0}),
    [](const auto& info) { return std::string(info.param.name); });

// ---- other forms ----

class TensorFormsTest : public testing::Test {
 protected:
  Fault fault(const std::string& body, const TensorMap& map) {
    const auto program = device_.load(kernel(body));
    auto memory = device_.array<uint8_t>(4096);
    const auto result = device_.try_launch(*program, "k", {1}, {1}, Params(map, memory.data()));
    EXPECT_TRUE(result);
    return result.value_or(Fault{});
  }
  TestDevice device_;
};

TEST_F(TensorFormsTest, RowsByTheirIndices) {
  std::vector<uint32_t> values(32 * 20);
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<uint32_t>(i);
  auto tensor = device_.upload(values);
  auto out = device_.array<uint32_t>(64);
  const TensorMap map = make_map({"", TensorType::kU32, {32, 20}, {16, 1}, {}, {}}, tensor.data());
  const auto program = device_.load(kernel(
      "mbarrier.arrive.expect_tx.shared.b64 _, [%m], 256; "
      "cp.async.bulk.tensor.2d.shared::cta.global"
      ".tile::gather4.mbarrier::complete_tx::bytes [%s], [%map, {24, 3, 19, -1, 7}], [%m];\n"
      "mbarrier.test_wait.parity.shared.b64 %p0, [%m], 0; @!%p0 trap;\n"
      "cp.async.bulk.global.shared::cta.bulk_group [%box], [%s], 256; "
      "cp.async.bulk.tensor.2d.global.shared::cta.tile::scatter4.bulk_group [%map, {0, 0, 2, 4, "
      "20}], [%s];"));
  device_.launch(*program, "k", {1}, {1}, Params(map, out.data()));
  const int rows[] = {3, 19, -1, 7};
  for (int r = 0; r < 4; ++r) {
    for (int i = 0; i < 16; ++i) {
      const uint32_t want =
          rows[r] < 0 || i >= 8 ? 0 : static_cast<uint32_t>(rows[r] * 32 + 24 + i);
      EXPECT_EQ(out[r * 16 + i], want);
      if (r < 3) {
        EXPECT_EQ(tensor[2 * r * 32 + i], want);
      }
    }
  }
}

TEST_F(TensorFormsTest, ReductionsByTheTensorsType) {
  std::vector<float> values(8 * 4, 0.5f);
  auto tensor = device_.upload(values);
  std::vector<float> box(8 * 4);
  for (size_t i = 0; i < box.size(); ++i) box[i] = static_cast<float>(i);
  auto from = device_.upload(box);
  const TensorMap map = make_map({"", TensorType::kF32, {8, 4}, {4, 8}, {}, {}}, tensor.data());
  const auto program = device_.load(kernel(
      "mbarrier.arrive.expect_tx.shared.b64 _, [%m], 128; cp.async.bulk.shared::cta.global.mbarrier"
      "::complete_tx::bytes [%s], [%box], 128, [%m]; cp.reduce.async.bulk.tensor.2d.global"
      ".shared::cta.add.tile.bulk_group [%map, {4, -2}], [%s];"));
  device_.launch(*program, "k", {1}, {1}, Params(map, from.data()));
  for (int y = 0; y < 4; ++y) {
    for (int x = 0; x < 8; ++x)
      EXPECT_EQ(tensor[y * 8 + x], 0.5f + (x >= 4 ? static_cast<float>((y + 2) * 4 + x - 4) : 0));
  }
}

// A convolution's input: pixels of a column follow each other within the box between the corners,
// then in the next image, displaced by the filter's position.
TEST_F(TensorFormsTest, Im2col) {
  const int c = 8, w = 5, h = 4, n = 3, pixels = 32;
  std::vector<float> values(static_cast<size_t>(c * w * h * n));
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i + 1);
  auto tensor = device_.upload(values);
  auto out = device_.array<float>(4 * pixels);
  TensorMap map =
      make_map({"", TensorType::kF32, {8, 5, 4, 3}, {4, 32, 1, 1}, {}, {}}, tensor.data());
  map.mode = TensorMode::kIm2col;
  map.lower[0] = map.lower[1] = -1;  // a filter of 3 x 3, padded by one
  map.upper[0] = map.upper[1] = -1;
  const auto program = device_.load(kernel(
      "mov.u16 %h0, 2; mov.u16 %h1, 1; mbarrier.arrive.expect_tx.shared.b64 _, [%m], 512; "
      "cp.async.bulk.tensor.4d.shared::cluster.global.im2col.mbarrier::complete_tx::bytes [%s], "
      "[%map, {4, 1, 2, 1}], [%m], {%h0, %h1};\n"
      "mbarrier.test_wait.parity.shared.b64 %p0, [%m], 0; @!%p0 trap; "
      "cp.async.bulk.global.shared::cta.bulk_group [%box], [%s], 512;"));
  device_.launch(*program, "k", {1}, {1}, Params(map, out.data()));
  int x = 1, y = 2, image = 1;
  for (int k = 0; k < pixels; ++k) {
    const int px = x + 2, py = y + 1;
    for (int i = 0; i < 4; ++i) {
      const bool inside = px >= 0 && px < w && py >= 0 && py < h && image < n;
      const float want =
          inside ? static_cast<float>(((image * h + py) * w + px) * c + 4 + i + 1) : 0.0f;
      ASSERT_EQ(out[k * 4 + i], want) << k << " " << i;
    }
    if (++x > w - 2) {
      x = -1;
      if (++y > h - 2) y = -1, ++image;
    }
  }
}

TEST_F(TensorFormsTest, MapsChangedByKernels) {
  std::vector<uint16_t> values(64 * 16);
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<uint16_t>(i);
  auto tensor = device_.upload(values);
  auto out = device_.array<uint16_t>(1024);
  TensorMap blank = make_map({"", TensorType::kF32, {1, 1, 1}, {4, 1, 1}, {}, {}}, nullptr);
  auto maps = device_.array<TensorMap>(2);
  Params params(blank, out.data());
  params.add(tensor.data());
  params.add(maps.data());
  std::string text = kernel(
      "ld.param.u64 %rd0, [tensor]; ld.param.u64 %rd5, [maps]; mov.u32 %r0, %s; add.u32 %r1, %s, "
      "2048;\n"
      "ld.global.v2.u64 {%rd1, %rd2}, [%map]; st.shared.v2.u64 [%r1], {%rd1, %rd2};\n"
      "mov.u32 %r2, 0; C: cvt.u64.u32 %rd3, %r2; add.u64 %rd3, %rd3, %map; ld.u64 %rd4, [%rd3]; "
      "add.u32 %r3, %r1, %r2; st.shared.u64 [%r3], %rd4; add.u32 %r2, %r2, 8; setp.lt.u32 %p0, "
      "%r2, 128; @%p0 bra C;\n"
      "tensormap.replace.tile.global_address.shared::cta.b1024.b64 [%r1], %rd0; "
      "tensormap.replace.tile.rank.shared::cta.b1024.b32 [%r1], 1; "
      "tensormap.replace.tile.elemtype.shared::cta.b1024.b32 [%r1], 1; "
      "tensormap.replace.tile.global_dim.shared::cta.b1024.b32 [%r1], 0, 64; "
      "tensormap.replace.tile.global_dim.shared::cta.b1024.b32 [%r1], 1, 16; "
      "tensormap.replace.tile.global_stride.shared::cta.b1024.b64 [%r1], 0, 128; "
      "tensormap.replace.tile.box_dim.shared::cta.b1024.b32 [%r1], 0, 16; "
      "tensormap.replace.tile.box_dim.shared::cta.b1024.b32 [%r1], 1, 8; "
      "tensormap.replace.tile.element_stride.shared::cta.b1024.b32 [%r1], 1, 2; "
      "tensormap.replace.tile.interleave_layout.shared::cta.b1024.b32 [%r1], 0; "
      "tensormap.replace.tile.swizzle_mode.shared::cta.b1024.b32 [%r1], 0; "
      "tensormap.replace.tile.fill_mode.shared::cta.b1024.b32 [%r1], 0;\n"
      "tensormap.cp_fenceproxy.global.shared::cta.tensormap::generic.release.gpu.sync.aligned "
      "[%rd5], [%r1], 128; fence.proxy.tensormap::generic.acquire.gpu [%rd5], 128;\n"
      "mbarrier.arrive.expect_tx.shared.b64 _, [%m], 128; "
      "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%s], [%rd5, "
      "{32, 4}], [%m]; mbarrier.test_wait.parity.shared.b64 %p0, [%m], 0; @!%p0 trap; "
      "cp.async.bulk.global.shared::cta.bulk_group [%box], [%s], 128;");
  const std::string at = ".param .u64 box)";
  text.replace(text.find(at), at.size(), ".param .u64 box, .param .u64 tensor, .param .u64 maps)");
  const auto program = device_.load(text);
  ASSERT_TRUE(program);
  device_.launch(*program, "k", {1}, {1}, params);
  for (int r = 0; r < 4; ++r) {
    for (int i = 0; i < 16; ++i) EXPECT_EQ(out[r * 16 + i], (4 + 2 * r) * 64 + 32 + i);
  }
}

TEST_F(TensorFormsTest, MistakesAreFaults) {
  const std::string load =
      "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%s], [%map, "
      "{0, "
      "0}], [%m];";
  EXPECT_THAT(fault(load, TensorMap{}).message, HasSubstr("no tensor map"));
  auto memory = device_.array<uint8_t>(64);
  const Box line{"", TensorType::kU8, {64}, {16}, {}, {}};
  EXPECT_THAT(fault(load, make_map(line, memory.data())).message,
              HasSubstr("number of dimensions"));
  const Box beyond{"", TensorType::kU8, {64, 4096}, {16, 1}, {}, {}};
  EXPECT_EQ(
      fault("cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%s], "
            "[%map, {0, 100}], [%m];",
            make_map(beyond, memory.data()))
          .kind,
      Fault::Kind::kIllegalAddress);
}

}  // namespace
}  // namespace farcall::softgpu
