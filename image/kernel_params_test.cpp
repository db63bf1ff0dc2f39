// Parameter layouts and variables, from cubins of several architectures and from PTX: all must
// agree.
#include <algorithm>
#include <cstring>

#include "image/test_images.h"

namespace farcall::image {
namespace {

Module cubin(const std::string& name) {
  Result<Module> module = read_cubin(read_image(name));
  EXPECT_TRUE(module.ok()) << name;
  return module ? module.take() : Module();
}

Module ptx(const std::string& name) {
  const std::vector<std::byte> bytes = read_image(name);
  Result<Module> module = read_ptx(as_text(bytes));
  EXPECT_TRUE(module.ok()) << name;
  return module ? module.take() : Module();
}

Module ptx_text(std::string_view text) {
  Result<Module> module = read_ptx(text);
  EXPECT_TRUE(module.ok()) << text;
  return module ? module.take() : Module();
}

const std::vector<Module>& all() {
  static const std::vector<Module> modules = [] {
    std::vector<Module> out;
    for (const char* sm : {"75", "90", "120"}) {
      out.push_back(cubin(std::string("kernels-") + sm + ".cubin"));
      out.push_back(ptx(std::string("kernels-") + sm + ".ptx"));
      EXPECT_EQ(out[out.size() - 2].sm, std::stoi(sm));
      EXPECT_EQ(out.back().sm, std::stoi(sm));
    }
    return out;
  }();
  return modules;
}

TEST(KernelParams, AreWhatTheSourceDeclares) {
  using Params = std::vector<Param>;
  for (const Module& module : all()) {
    SCOPED_TRACE(std::to_string(module.sm) +
                 (module.source == Module::Source::kPtx ? " ptx" : " cubin"));
    ASSERT_TRUE(module.kernel("no_parameters") && module.kernel("scalars") &&
                module.kernel("structs") && module.kernel("large"));
    EXPECT_EQ(module.kernel("no_parameters")->params, Params{});
    EXPECT_TRUE(module.kernel("no_parameters")->params_known);
    EXPECT_EQ(module.kernel("scalars")->params,
              (Params{{0, 1}, {2, 2}, {4, 4}, {8, 8}, {16, 4}, {24, 8}, {32, 1}, {40, 8}}));
    EXPECT_EQ(module.kernel("scalars")->param_bytes, 48u);
    EXPECT_EQ(module.kernel("structs")->params,
              (Params{{0, 24}, {24, 1}, {32, 32}, {64, 12}, {76, 4}, {80, 8}}));
    EXPECT_EQ(module.kernel("large")->params, (Params{{0, 20000}, {20000, 8}, {20008, 1}}));
    EXPECT_EQ(module.kernel("large")->param_bytes, 20009u);
    EXPECT_EQ(module.kernel("templated"), nullptr);
    EXPECT_EQ(module.kernels.size(), 6u) << "four and two instances of the template";
  }
}

TEST(KernelParams, AgreeBetweenCubinsAndPtx) {
  const Module& first = all()[0];
  for (const Module& module : all()) {
    ASSERT_EQ(module.kernels.size(), first.kernels.size());
    for (const auto& [name, kernel] : first.kernels) {
      const Kernel* other = module.kernel(name);
      ASSERT_NE(other, nullptr) << name;
      EXPECT_EQ(other->params, kernel.params) << name;
      EXPECT_EQ(other->param_bytes, kernel.param_bytes) << name;
      EXPECT_EQ(other->name, name);
    }
  }
}

TEST(KernelParams, KnowAttributes) {
  for (const Module& module : all()) {
    ASSERT_TRUE(module.kernel("scalars") && module.kernel("structs"));
    EXPECT_EQ(module.kernel("scalars")->max_threads, 256u);
    if (module.source == Module::Source::kPtx) continue;
    EXPECT_GT(module.kernel("scalars")->registers, 0u);
    EXPECT_GT(module.kernel("scalars")->param_base, 0u);
    EXPECT_GE(module.kernel("structs")->static_shared_bytes, 64 * 4u);
    EXPECT_EQ(module.kernel("scalars")->static_shared_bytes, 0u);
  }
}

TEST(Variables, AreWhatTheSourceDeclares) {
  for (const Module& module : all()) {
    SCOPED_TRACE(std::to_string(module.sm) +
                 (module.source == Module::Source::kPtx ? " ptx" : " cubin"));
    const auto expect = [&module](const char* name, uint64_t size, bool constant, bool managed) {
      const Variable* variable = module.variable(name);
      ASSERT_NE(variable, nullptr) << name;
      EXPECT_EQ(variable->size, size) << name;
      EXPECT_EQ(variable->constant, constant) << name;
      EXPECT_EQ(variable->managed, managed) << name;
      EXPECT_FALSE(variable->external) << name;
    };
    expect("counter", 4, false, false);
    expect("table", 24, false, false);
    expect("text", 38, false, false);
    expect("pointer", 8, false, false);
    expect("coefficients", 28, true, false);
    expect("shared_with_host", 8, false, true);
  }
}

// CUDA 12's toolchain had the SM number in other bits of the flags; nvcc 13 cannot be asked to
// write that.
TEST(Cubin, KnowsTheElderAbi) {
  std::vector<std::byte> bytes = read_image("kernels-90.cubin");
  bytes[7] = std::byte{0x33};  // EI_OSABI
  bytes[8] = std::byte{7};     // EI_ABIVERSION
  const uint32_t flags = 0x005a055a;
  std::memcpy(bytes.data() + 48, &flags, sizeof flags);
  const Result<Module> module = read_cubin(bytes);
  ASSERT_TRUE(module.ok());
  EXPECT_EQ(module->sm, 90);
  EXPECT_EQ(module->kernels.size(), 6u);
}

TEST(Cubin, OfAPartIsReadToo) {
  const Module module = cubin("part-rdc.cubin");
  ASSERT_NE(module.kernel("part_a"), nullptr);
  EXPECT_EQ(module.kernel("part_a")->params, (std::vector<Param>{{0, 8}, {8, 2}}));
}

TEST(Entry, IsReadWhateverItHolds) {
  for (const char* name : {"kernels-none.fatbin", "kernels-size.fatbin", "kernels-speed.fatbin"}) {
    const std::vector<std::byte> bytes = read_image(name);
    for (const Entry& entry : parse_or_fail(bytes).entries()) {
      const Result<Module> module = read_entry(entry);
      ASSERT_TRUE(module.ok()) << name;
      EXPECT_EQ(module->sm, entry.sm);
      EXPECT_EQ(module->kernels.size(), 6u);
    }
  }
  const std::vector<std::byte> lto = read_image("kernels-lto.fatbin");
  EXPECT_EQ(read_entry(parse_or_fail(lto).entries()[0]).status(), Status::kUnsupported);
}

TEST(Ptx, ReadsEveryKindOfParameter) {
  const Module module = ptx_text(R"(
    .version 8.0  // not { this
    .target sm_90a, debug
    .address_size 64
    /* nor { this */
    .visible .entry a(.param .u8 x, .param .align 16 .b8 y[3], .param .u64 .ptr .global .align 1 z,
                      .param .v4 .f32 v, .param .texref t, .param .f16x2 h, .param .b8 m[2][0x10])
    .maxntid 8, 4, 2
    .minnctapersm 1
    { .pragma "a } brace"; { ret; } }
    .weak .entry b() .reqntid 32 { ret; }
    .entry c { ret; }
    .entry later(.param .u32 n);
    .func (.param .u32 r) device(.param .u64 p) { ret; }
    .entry later(.param .u32 n) { ret; })");
  EXPECT_EQ(module.sm, 90);
  EXPECT_EQ(module.kernels.size(), 4u);
  EXPECT_EQ(module.kernel("a")->params,
            (std::vector<Param>{{0, 1}, {16, 3}, {24, 8}, {32, 16}, {48, 8}, {56, 4}, {60, 32}}));
  EXPECT_EQ(module.kernel("a")->max_threads, 64u);
  EXPECT_EQ(module.kernel("b")->max_threads, 32u);
  EXPECT_TRUE(module.kernel("c")->params.empty() && module.kernel("c")->params_known);
  EXPECT_EQ(module.kernel("later")->params, (std::vector<Param>{{0, 4}}));
}

TEST(Ptx, ReadsEveryKindOfVariable) {
  const Module module = ptx_text(R"(
    .version 8.0
    .target sm_75
    .extern .global .align 4 .b8 elsewhere[];
    .visible .global .align 8 .u64 three[3] = {generic(one)+4, 0xff, 7};
    .global .attribute(.managed) .align 4 .u32 managed = 1;
    .global .attribute(.unified(19, 95)) .f32 unified;
    .global .b8 counted[] = {1, 2, 3, 4, 5};
    .global .s32 rows[][2] = {{1, 2}, {3, 4}, {5, 6}};
    .const[3] .v2 .f64 banked;
    .const .align 1 .b8 text[6] = {104, 101, 108, 108, 111, 0};
    .global .u16 one, two[2], four = 4;
    .global .surfref surface;
    .shared .b8 not_a_variable[16];)");
  const auto size = [&module](const char* name) {
    const Variable* variable = module.variable(name);
    return variable != nullptr ? static_cast<int64_t>(variable->size) : -1;
  };
  EXPECT_EQ(size("elsewhere"), 0);
  EXPECT_TRUE(module.variable("elsewhere")->external);
  EXPECT_EQ(size("three"), 24);
  EXPECT_EQ(size("managed"), 4);
  EXPECT_TRUE(module.variable("managed")->managed);
  EXPECT_EQ(size("unified"), 4);
  EXPECT_FALSE(module.variable("unified")->managed);
  EXPECT_EQ(size("counted"), 5);
  EXPECT_EQ(size("rows"), 24);
  EXPECT_EQ(size("banked"), 16);
  EXPECT_TRUE(module.variable("banked")->constant);
  EXPECT_EQ(size("text"), 6);
  EXPECT_EQ(size("one"), 2);
  EXPECT_EQ(size("two"), 4);
  EXPECT_EQ(size("four"), 2);
  EXPECT_EQ(size("surface"), 8);
  EXPECT_EQ(size("not_a_variable"), -1);
}

TEST(Ptx, SaysWhatIsWrong) {
  const auto complaint = [](std::string_view text) {
    return logged([text] { EXPECT_EQ(read_ptx(text).status(), Status::kInvalid); });
  };
  using testing::HasSubstr;
  EXPECT_THAT(complaint(""), HasSubstr("no .target"));
  EXPECT_THAT(complaint(".target sm_90\n.entry a(.param .u32 x)\n{ ret;"),
              HasSubstr("line 3: the text ends"));
  EXPECT_THAT(complaint(".target sm_90\n.entry a(.param .u32 x"), HasSubstr("the text ends"));
  EXPECT_THAT(complaint(".target sm_90\n.global .u32 x = {1"), HasSubstr("the text ends"));
  EXPECT_THAT(complaint(".target sm_90\n.entry a(.param .align 3 .b8 x[4]) { }"),
              HasSubstr("power of two"));
  EXPECT_THAT(complaint(".target sm_90\n.entry a(.param .b8 x[40000]) { }"),
              HasSubstr("more bytes"));
  EXPECT_THAT(complaint(".target sm_90\n.entry a(.param .b8 x[18446744073709551615][9]) { }"),
              HasSubstr("more bytes"));
}

TEST(Cubin, SaysWhatIsWrong) {
  const std::vector<std::byte> good = read_image("small.cubin");
  const auto complaint = [&good](size_t offset, uint64_t value, size_t bytes) {
    std::vector<std::byte> bad = good;
    std::memcpy(bad.data() + offset, &value, bytes);
    return logged([&bad] { EXPECT_EQ(read_cubin(bad).status(), Status::kInvalid); });
  };
  using testing::HasSubstr;
  EXPECT_THAT(complaint(0, 0, 4), HasSubstr("not an ELF"));
  EXPECT_THAT(complaint(18, 62, 2), HasSubstr("for machine 62"));
  EXPECT_THAT(complaint(40, UINT64_MAX - 8, 8), HasSubstr("section table"));
  EXPECT_THAT(complaint(60, 0xffff, 2), HasSubstr("section table"));
  EXPECT_THAT(complaint(62, 0xfff0, 2), HasSubstr("section names"));
}

}  // namespace
}  // namespace farcall::image
