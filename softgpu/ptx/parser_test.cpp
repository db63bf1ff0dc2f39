// What PTX text becomes, and that no text does worse than an error with its line.
#include "softgpu/ptx/parser.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

extern const char kernels_75[];

namespace farcall::softgpu::ptx {
namespace {

using testing::HasSubstr;

constexpr const char* kHeader = ".version 8.5\n.target sm_90a, debug\n.address_size 64\n";

std::unique_ptr<Module> parse(const std::string& text) {
  ParseError error;
  auto module = parse_module(kHeader + text, &error);
  EXPECT_TRUE(module) << error.line << ": " << error.message;
  return module;
}

// The first error, of the module or of a body; line 0 and empty if there is none. Lines count from
// `text`'s first.
ParseError error_of(const std::string& text) {
  ParseError error;
  auto module = parse_module(kHeader + text, &error);
  if (!module) return {error.line - 3, error.message};
  for (Function& function : module->functions) {
    if (auto problem = parse_body(function)) return {problem->line - 3, problem->message};
  }
  return {};
}
ParseError error_in_body(const std::string& body) {
  const ParseError error = error_of(".entry k() {\n" + body + "\n}");
  return {error.line - 1, error.message};
}

Function body(const std::string& text) {
  static std::vector<std::unique_ptr<Module>> kept;
  kept.push_back(parse(".entry k() {\n" + text + "\n}"));
  if (!kept.back()) return {};
  Function& function = kept.back()->functions.at(0);
  const auto error = parse_body(function);
  EXPECT_FALSE(error) << error->message;
  return function;
}

TEST(ParserTest, HeaderSaysVersionAndTarget) {
  const auto module = parse("");
  EXPECT_EQ(module->version, 85);
  EXPECT_EQ(module->target, 90);
}

TEST(ParserTest, TypesByName) {
  EXPECT_EQ(parse_type("u32"), (Type{Type::Kind::kUnsigned, 32, 1}));
  EXPECT_EQ(parse_type("f16x2"), (Type{Type::Kind::kFloat, 16, 2}));
  EXPECT_EQ(parse_type("bf16x2"), (Type{Type::Kind::kBfloat, 16, 2}));
  EXPECT_EQ(parse_type("b128").bits, 128);
  EXPECT_EQ(parse_type("pred").kind, Type::Kind::kPredicate);
  for (const char* word : {"u12", "f8", "x32", "u", "", "s3200000000000000", "e4m3", "v2", "u128"})
    EXPECT_FALSE(parse_type(word)) << word;
}

TEST(ParserTest, VariablesWithInitialisers) {
  const auto module = parse(
      ".visible .global .align 8 .b8 bytes[3] = {1, -2, 0xff};\n"
      ".global .u64 pointers[2] = {generic(bytes), bytes+4};\n"
      ".const .f32 floats[2] = {0f3F800000, 1.5};\n"
      ".weak .global .attribute(.managed) .u32 counter;\n"
      ".extern .shared .align 16 .b8 dynamic[];\n"
      ".global .b8 parts[2] = {0xFF(bytes), 0xFF00(bytes)};\n"
      ".global .b32 a, b;\n");
  ASSERT_EQ(module->variables.size(), 8u);
  const Variable& bytes = module->variables[0];
  EXPECT_EQ(bytes.name, "bytes");
  EXPECT_EQ(bytes.alignment, 8u);
  EXPECT_EQ(bytes.bytes(), 3u);
  EXPECT_TRUE(bytes.is_visible);
  EXPECT_EQ(bytes.initializers[1].value, -2);
  const Variable& pointers = module->variables[1];
  EXPECT_EQ(pointers.bytes(), 16u);
  EXPECT_TRUE(pointers.initializers[0].generic);
  EXPECT_EQ(pointers.initializers[1].symbol, "bytes");
  EXPECT_EQ(pointers.initializers[1].value, 4);
  EXPECT_EQ(module->variables[2].initializers[0].value, 0x3f800000);
  EXPECT_EQ(module->variables[2].initializers[1].value, 0x3fc00000);
  EXPECT_TRUE(module->variables[3].is_managed);
  EXPECT_TRUE(module->variables[3].is_weak);
  EXPECT_TRUE(module->variables[4].is_extern);
  EXPECT_EQ(module->variables[4].count, 0u);
  EXPECT_EQ(module->variables[5].initializers[0].shift, 0);
  EXPECT_EQ(module->variables[5].initializers[1].shift, 8);
  EXPECT_EQ(module->variables[7].name, "b");
}

TEST(ParserTest, FunctionsWithSignatures) {
  const auto module = parse(
      ".extern .func (.param .b32 result) vprintf (.param .b64 format, .param .b64 arguments);\n"
      ".visible .entry k(.param .u64 .ptr .global .align 16 p, .param .align 8 .b8 s[24],\n"
      "  .param .u64 .ptr .align 1 q)\n"
      ".maxntid 128, 2, 1\n.minnctapersm 2\n{ ret; }\n"
      ".func helper .noreturn { exit; }");
  ASSERT_EQ(module->functions.size(), 3u);
  EXPECT_TRUE(module->functions[0].is_declaration);
  EXPECT_EQ(module->functions[0].params.size(), 2u);
  const Function& k = module->functions[1];
  EXPECT_TRUE(k.is_entry);
  EXPECT_EQ(k.params[1].bytes(), 24u);
  EXPECT_EQ(k.params[1].alignment, 8u);
  // What follows .ptr is said of the memory, not of the pointer.
  EXPECT_EQ(k.params[0].alignment, 8u);
  EXPECT_EQ(k.params[2].alignment, 8u);
  EXPECT_EQ(k.max_threads[0], 128u);
  EXPECT_EQ(k.max_threads[1], 2u);
  EXPECT_EQ(k.body_line, 9);
}

TEST(ParserTest, OperandsOfEveryKind) {
  const Function f = body(
      ".reg .b32 %r<5>; .reg .pred %p; .reg .pred %q; .reg .b64 %rd; .local .b8 depot[16];\n"
      "@!%p add.s32 %r1, %r2, -3;\n"
      "mov.b64 {%r0, _}, %rd;\n"
      "ld.global.v2.b32 {%r1, %r2}, [%rd+-8];\n"
      "setp.eq.and.f32 %p|%q, %r1, 0f3F800000, !%q;\n"
      "mov.u32 %r1, %tid.x;\n"
      "mov.b64 %rd, depot+4;\n"
      "ld.shared.u32 %r1, [external];\n"
      "mov.u32 %r4, WARP_SZ;\n"
      "mov.b64 %rd, 0d3FF0000000000000;\n"
      "mov.u32 %r4, 0x10; mov.u32 %r4, 0b101; mov.u32 %r4, 017; mov.u32 %r4, 7U;\n");
  using Kind = Operand::Kind;
  EXPECT_EQ(f.registers.size(), 8u);
  EXPECT_TRUE(f.body[0].guard_negated);
  EXPECT_EQ(f.body[0].line, 6);
  EXPECT_EQ(f.body[0].name, (std::vector<std::string_view>{"add", "s32"}));
  EXPECT_EQ(f.body[0].operands[2].value, -3);
  EXPECT_EQ(f.body[1].operands[0].kind, Kind::kVector);
  EXPECT_EQ(f.body[1].operands[0].elements[1].kind, Kind::kSink);
  EXPECT_EQ(f.body[2].operands[1].kind, Kind::kAddress);
  EXPECT_EQ(f.body[2].operands[1].value, -8);
  EXPECT_GE(f.body[3].operands[0].second_reg, 0);
  EXPECT_EQ(f.body[3].operands[2].kind, Kind::kFloat32);
  EXPECT_TRUE(f.body[3].operands[3].negated);
  EXPECT_EQ(f.body[4].operands[1].symbol, "%tid.x");
  EXPECT_EQ(f.body[5].operands[1].local, 0);
  EXPECT_EQ(f.body[5].operands[1].value, 4);
  EXPECT_EQ(f.body[6].operands[1].symbol, "external");
  EXPECT_EQ(f.body[7].operands[1].value, 32);
  EXPECT_EQ(f.body[8].operands[1].kind, Kind::kFloat64);
  const int64_t values[] = {16, 5, 15, 7};
  for (size_t i = 0; i < 4; ++i) EXPECT_EQ(f.body[9 + i].operands[1].value, values[i]);
}

TEST(ParserTest, ConstantExpressions) {
  const Function f = body(
      ".reg .b32 %r;\n"
      "mov.b32 %r, 1 + 2 * 3 - 4 / 2;\n"
      "mov.b32 %r, (1 << 4 | 3) & ~1;\n"
      "mov.b32 %r, -8 >> 1;\n"
      "mov.b32 %r, 0xfffffffffffffff8 >> 1;\n"
      "mov.b32 %r, (.s64) 0xfffffffffffffff8 / 2;\n"
      "mov.b32 %r, 3 > 2 && 1 != 1 ? 10 : 5 < 6 ? 20 : 30;\n"
      "mov.b32 %r, 7U - 8U > 0;\n"
      "mov.b32 %r, -7 % 4;\n"
      "mov.b32 %r, 0x1e-5;\n"
      "mov.b32 %r, 1.5e-1;\n"
      "mov.b32 %r, 1.0 / 4.0 + 2.5;\n"
      "mov.b32 %r, -0f3f800000;\n"
      "ld.u32 %r, [16 * 4 + 2];\n");
  const int64_t values[] = {5, 18, -4, 0x7ffffffffffffffc, -4, 20, 1, -3, 0x19};
  for (size_t i = 0; i < std::size(values); ++i) {
    EXPECT_EQ(f.body[i].operands[1].kind, Operand::Kind::kInteger);
    EXPECT_EQ(f.body[i].operands[1].value, values[i]) << i;
  }
  EXPECT_EQ(std::bit_cast<double>(f.body[9].operands[1].value), 0.15);
  EXPECT_EQ(std::bit_cast<double>(f.body[10].operands[1].value), 2.75);
  EXPECT_EQ(f.body[11].operands[1].kind, Operand::Kind::kFloat32);
  EXPECT_EQ(f.body[11].operands[1].value, 0xbf800000);
  EXPECT_EQ(f.body[12].operands[1].value, 66);
}

TEST(ParserTest, RowsOfInitialisersMayBeIncomplete) {
  const auto module = parse(
      ".global .b32 a[2][3] = {{1}, {2, 3}};\n"
      ".global .b32 b[][2] = {{1, 2}, {3}, {4, 5}};\n"
      ".global .v2 .b32 c[2] = {{1, 2}, {3, 4}};\n"
      ".global .b32 d[2][2] = {1, 2, 3, 4}, e = 7, f[3];\n"
      ".global .f64 g[2] = {1, 0f40000000};\n"
      ".global .b64 h = generic(a + 4) + 8;\n");
  auto elements = [&](size_t variable) {
    std::vector<std::pair<uint64_t, int64_t>> all;
    for (const Initializer& each : module->variables[variable].initializers)
      all.emplace_back(each.index, each.value);
    return all;
  };
  using Elements = std::vector<std::pair<uint64_t, int64_t>>;
  EXPECT_EQ(elements(0), (Elements{{0, 1}, {3, 2}, {4, 3}}));
  EXPECT_EQ(elements(1), (Elements{{0, 1}, {1, 2}, {2, 3}, {4, 4}, {5, 5}}));
  EXPECT_EQ(module->variables[1].count, 6u);
  EXPECT_EQ(elements(2), (Elements{{0, 1}, {1, 2}, {2, 3}, {3, 4}}));
  EXPECT_EQ(elements(3), (Elements{{0, 1}, {1, 2}, {2, 3}, {3, 4}}));
  EXPECT_EQ(module->variables[4].count, 1u);
  EXPECT_EQ(elements(4), (Elements{{0, 7}}));
  EXPECT_EQ(module->variables[5].count, 3u);
  EXPECT_EQ(std::bit_cast<double>(module->variables[6].initializers[0].value), 1.0);
  EXPECT_EQ(std::bit_cast<double>(module->variables[6].initializers[1].value), 2.0);
  EXPECT_EQ(module->variables[7].initializers[0].symbol, "a");
  EXPECT_EQ(module->variables[7].initializers[0].value, 12);
}

TEST(ParserTest, VectorRegistersAndParts) {
  const Function f = body(
      ".reg .v4 .f32 v, w<2>; .reg .b32 %r;\n"
      "ld.v4.f32 v, [%r];\nmov.f32 w1.y, v.w;\nvadd.u32.u32.u32 %r.h1, %r.b0, -%r, %r;\n");
  EXPECT_EQ(f.registers.size(), 13u);
  ASSERT_EQ(f.body[0].operands[0].kind, Operand::Kind::kVector);
  EXPECT_EQ(f.body[0].operands[0].elements[3].reg, 3);
  EXPECT_EQ(f.body[1].operands[0].reg, 4 + 4 + 1);
  EXPECT_EQ(f.body[1].operands[1].reg, 3);
  EXPECT_EQ(f.body[2].operands[0].part, "h1");
  EXPECT_EQ(f.body[2].operands[1].part, "b0");
  EXPECT_TRUE(f.body[2].operands[2].minus);
}

TEST(ParserTest, NamesHaveNestedScopes) {
  const Function f = body(
      ".reg .b32 %r;\nL:\n"
      "{ .reg .b32 %r; .param .b32 p; mov.b32 %r, 1; bra L; L: bra M; }\n"
      "{ .param .b64 p; st.param.b64 [p], 2; }\n"
      "mov.b32 %r, 2;\nM: bra L;\n");
  EXPECT_EQ(f.body[0].operands[0].reg, 1);
  EXPECT_EQ(f.body[1].operands[0].target, 2) << "the inner L";
  EXPECT_EQ(f.body[2].operands[0].target, 5);
  EXPECT_EQ(f.body[3].operands[0].local, 1) << "the second p";
  EXPECT_EQ(f.body[4].operands[0].reg, 0);
  EXPECT_EQ(f.body[5].operands[0].target, 0) << "the outer L";
}

TEST(ParserTest, BranchTargetsAreResolved) {
  const Function f = body(".reg .b32 %r;\nT: .branchtargets A, B;\nA: brx.idx %r, T;\nB: ret;\n");
  EXPECT_EQ(f.branch_tables, (std::vector<std::vector<int32_t>>{{0, 1}}));
  EXPECT_EQ(f.body[0].operands[1].target, 0);
}

TEST(ParserTest, CommentsDebugInformationAndPragmas) {
  const auto module = parse(
      "// { a comment\n/* another }\n */ .file 1 \"a } file.cu\"\n.section .debug_str { info: .b8 "
      "1 \n }\n"
      ".entry k() {\n.loc 1 2 3, function_name info, inlined_at 1 2 3\n.pragma \"nounroll\";\n// "
      "}\nret;\n}\n");
  ASSERT_EQ(module->functions.size(), 1u);
  EXPECT_FALSE(parse_body(module->functions[0]));
  EXPECT_EQ(module->functions[0].body.size(), 1u);
  EXPECT_EQ(module->functions[0].body[0].line, 13);
}

struct BadText {
  const char* text;
  int line;
  const char* message;
};
class BadTextTest : public testing::TestWithParam<BadText> {};
TEST_P(BadTextTest, IsRefusedWithLineAndConstruct) {
  const ParseError error = error_of(GetParam().text);
  EXPECT_EQ(error.line, GetParam().line) << error.message;
  EXPECT_THAT(error.message, HasSubstr(GetParam().message));
}
INSTANTIATE_TEST_SUITE_P(
    Modules, BadTextTest,
    testing::Values(BadText{"hello", 1, "expected a directive near 'hello'"},
                    BadText{"\n.frobnicate 3", 2, "unknown directive '.frobnicate'"},
                    BadText{".global .u32 x[-1];", 1, "array size out of range"},
                    BadText{".global .u32 x[99999999999999999999];", 1, "malformed number"},
                    BadText{".global .u32 x[4000000000][4000000000];", 1, "array too large"},
                    BadText{".global .u32 x = {1, 2};", 1, "too many initialisers for 'x'"},
                    BadText{".global .u32 x[2][2] = {{1, 2, 3}};", 1, "too many initialisers"},
                    BadText{".global .u32 x = 1 / 0;", 1, "division by zero"},
                    BadText{".global .u32 x[][999999999999] = {1};", 1, "array too large"},
                    BadText{".global .align 3 .u32 x;", 1, "alignment"},
                    BadText{".global .what x;", 1, "unknown attribute"},
                    BadText{".global x;", 1, "without a type"},
                    BadText{".entry k( {", 1, "expected .param"},
                    BadText{".entry k()\n{ ret;", 2, "'{' without its '}'"},
                    BadText{".entry k() .frob {}", 1, "unknown directive '.frob'"},
                    BadText{".entry k() .maxntid 5000 {}", 1, "thread count"},
                    BadText{".address_size 32", 1, "only .address_size 64"}));

class BadBodyTest : public testing::TestWithParam<BadText> {};
TEST_P(BadBodyTest, IsRefusedWithLineAndConstruct) {
  const ParseError error = error_in_body(GetParam().text);
  EXPECT_EQ(error.line, GetParam().line) << error.message;
  EXPECT_THAT(error.message, HasSubstr(GetParam().message));
}
INSTANTIATE_TEST_SUITE_P(
    Bodies, BadBodyTest,
    testing::Values(BadText{"add.s32 %r1, %r2", 2, "expected ';'"},
                    BadText{".reg .b32 %r;\nadd.s32 %r, [%q], 1;", 2, "unknown register '%q'"},
                    BadText{"@%p ret;", 1, "unknown predicate '%p'"},
                    BadText{".reg .b32 %r; @%r ret;", 1, "unknown predicate '%r'"},
                    BadText{"bra nowhere;", 1, "undefined label 'nowhere'"},
                    BadText{"L: ret;\nL: ret;", 2, "label 'L' defined twice"},
                    BadText{".reg .b32 %r; brx.idx %r, T;", 1, "undefined branch targets 'T'"},
                    BadText{"T: .branchtargets A;", 1, "undefined label 'A'"},
                    BadText{".reg .b32 %r<99999999>;", 1, "register count out of range"},
                    BadText{".reg .v2 .b32 v; mov.b32 v.z, 1;", 1, "no such component"},
                    BadText{".reg .v2 .b32 v; ld.b32 v, [v];", 1, "a vector where an address"},
                    BadText{".reg .b33 %r;", 1, "unsupported register type '.b33'"},
                    BadText{"add.s32 %r1, @, 3;", 1, "expected an operand near '@'"},
                    BadText{"ret;\n{ ret;", 0,
                            "'{' without its '}'"},  // where the function's opens
                    BadText{"}\nret;", 2, "expected a directive"},
                    BadText{".global .u32 x;", 1, "inside a function"},
                    BadText{"mov.u32 x, 0xzz;", 1, "malformed number"},
                    BadText{".frob;", 1, "unknown directive '.frob'"}));

TEST(ParserTest, TextThatIsNotPtxIsRefused) {
  ParseError error;
  EXPECT_EQ(parse_module("", &error), nullptr);
  EXPECT_THAT(error.message, HasSubstr("no .version"));
  EXPECT_EQ(parse_module(std::string("\x7f"
                                     "ELF\0\1\2",
                                     7),
                         &error),
            nullptr);
  EXPECT_THAT(error.message, HasSubstr("near '?'"));
}

// No crash, no hang, no excess of memory: cut and damaged texts of real PTX.
TEST(ParserTest, DamagedTextsNeverCrash) {
  const std::string text = std::string(kernels_75).substr(0, 30'000);
  std::mt19937 random(1);
  auto attempt = [](std::string damaged) {
    ParseError error;
    auto module = parse_module(std::move(damaged), &error);
    if (!module) {
      EXPECT_GT(error.line, 0);
      EXPECT_FALSE(error.message.empty());
      return;
    }
    for (Function& function : module->functions) parse_body(function);
  };
  for (size_t cut = 0; cut < text.size(); cut += 97) attempt(text.substr(0, cut));
  for (int i = 0; i < 300; ++i) {
    std::string damaged = text;
    for (int k = 0; k < 20; ++k) {
      const size_t at = random() % damaged.size();
      switch (random() % 3) {
        case 0:
          damaged[at] = static_cast<char>(random());
          break;
        case 1:
          damaged.erase(at, random() % 20);
          break;
        default:
          damaged.insert(at, damaged.substr(random() % damaged.size(), random() % 40));
          break;
      }
    }
    attempt(damaged);
  }
  for (const char* deep :
       {"{", "[", "(", "!", "-", "~", "1?", "1+(", "{{", "[a,", ".reg .b32 %r<1000000>;"}) {
    std::string nested;
    for (int i = 0; i < 100'000; ++i) nested += deep;
    attempt(".version 8.0\n.target sm_75\n.entry k() { mov.u32 a, " + nested + "}");
    attempt(".version 8.0\n.target sm_75\n.entry k() {" + nested + "}");
    attempt(".version 8.0\n.target sm_75\n.global .u32 x = " + nested);
  }
}

}  // namespace
}  // namespace farcall::softgpu::ptx
