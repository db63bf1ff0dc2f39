// An instruction of every family, with operands missing, added, or of another kind: decoded if it
// happens to make sense, refused with its line otherwise, and never read past what is there. Most
// useful under AddressSanitizer.
#include <gmock/gmock.h>

#include "softgpu/exec/test_device.h"

namespace farcall::softgpu {
namespace {

using testing::HasSubstr;

// One line each; operands are cut at the commas outside of brackets.
constexpr const char* kInstructions[] = {
    "add.s32 %r0, %r1, %r2;",
    "mad.wide.u32 %rd0, %r0, %r1, %rd1;",
    "addc.cc.u32 %r0, %r1, %r2;",
    "bfi.b32 %r0, %r1, %r2, 3, 4;",
    "shf.l.wrap.b32 %r0, %r1, %r2, 5;",
    "lop3.b32 %r0, %r1, %r2, %r3, 0x80;",
    "prmt.b32 %r0, %r1, %r2, 0x3210;",
    "dp4a.u32.u32 %r0, %r1, %r2, %r3;",
    "fns.b32 %r0, %r1, %r2, %r3;",
    "bfind.u32 %r0, %r1;",
    "vadd.u32.u32.u32.add %r0, %r1.b0, %r2.h1, %r3;",
    "vmad.u32.u32.u32 %r0, %r1.b0, %r2.b1, %r3;",
    "vset4.u32.u32.eq %r0, %r1, %r2, %r3;",
    "fma.rn.f32 %f0, %f1, %f2, %f3;",
    "add.f16x2 %r0, %r1, %r2;",
    "testp.finite.f32 %p0, %f0;",
    "setp.eq.and.s32 %p0|%p1, %r0, %r1, %p2;",
    "selp.b32 %r0, %r1, %r2, %p0;",
    "slct.u32.f32 %r0, %r1, %r2, %f0;",
    "set.lt.u32.f32 %r0, %f0, %f1;",
    "cvt.rzi.s32.f32 %r0, %f0;",
    "cvt.rn.satfinite.e4m3x2.f32 %h0, %f0, %f1;",
    "mov.b64 {%r0, %r1}, %rd0;",
    "mov.b32 %r0, {%h0, %h1};",
    "mov.b128 %q0, {%rd0, %rd1};",
    "cvta.global.u64 %rd0, %rd1;",
    "isspacep.global %p0, %rd0;",
    "ld.global.v4.u32 {%r0, %r1, %r2, %r3}, [%rd0+16];",
    "ld.global.L2::cache_hint.b32 %r0, [%rd0], %rd1;",
    "st.global.v2.f32 [%rd0], {%f0, %f1};",
    "prefetch.global.L2 [%rd0];",
    "discard.global.L2 [%rd0], 128;",
    "createpolicy.fractional.L2::evict_last.b64 %rd0, 0.5;",
    "cp.async.ca.shared.global [%r0], [%rd0], 4, 2;",
    "cp.async.wait_group 0;",
    "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%r0], [%rd0], 16, [%r1];",
    "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes"
    " [%r0], [%rd0, {%r1, %r2}], [%r3];",
    "cp.reduce.async.bulk.global.shared::cta.bulk_group.add.u32 [%rd0], [%r0], 16;",
    "mapa.shared::cluster.u32 %r0, %r1, %r2;",
    "getctarank.shared::cluster.u32 %r0, %r1;",
    "mbarrier.init.shared.b64 [%r0], 1;",
    "mbarrier.arrive.shared.b64 %rd0, [%r0];",
    "mbarrier.try_wait.parity.shared.b64 %p0, [%r0], %r1;",
    "atom.global.add.u32 %r0, [%rd0], %r1;",
    "atom.global.cas.b32 %r0, [%rd0], %r1, %r2;",
    "atom.global.add.noftz.v2.f16x2 {%r0, %r1}, [%rd0], {%r2, %r3};",
    "atom.global.v2.f32.add {%f0, %f1}, [%rd0], {%f2, %f3};",
    "red.global.add.f32 [%rd0], %f0;",
    "red.async.relaxed.cluster.mbarrier::complete_tx::bytes.shared::cluster.inc.u32"
    " [%r0], %r1, [%r2];",
    "st.async.shared::cluster.mbarrier::complete_tx::bytes.u32 [%r0], %r1, [%r2];",
    "fence.acq_rel.gpu;",
    "bra LABEL;",
    "brx.idx %r0, TABLE;",
    "call (result), function, (value);",
    "call (%r0), %rd0, (%r1), prototype;",
    "alloca.u64 %rd0, %rd1, 16;",
    "stacksave.u64 %rd0;",
    "stackrestore.u64 %rd0;",
    "ret;",
    "trap;",
    "nanosleep.u32 %r0;",
    "bar.sync 1, 64;",
    "bar.red.popc.u32 %r0, 1, 64, !%p0;",
    "bar.arrive 1, 64;",
    "bar.warp.sync %r0;",
    "barrier.cluster.arrive;",
    "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32"
    " {%f0, %f1, %f2, %f3}, {%r0, %r1, %r2, %r3}, {%r4, %r5}, {%f4, %f5, %f6, %f7};",
    "mma.sp.sync.aligned.m16n8k32.row.col.f32.f16.f16.f32"
    " {%f0, %f1, %f2, %f3}, {%r0, %r1, %r2, %r3}, {%r4, %r5, %r6, %r7}, {%f4, %f5, %f6, %f7},"
    " %r8, 0;",
    "wmma.load.a.sync.aligned.row.m16n16k16.global.f16"
    " {%r0, %r1, %r2, %r3, %r4, %r5, %r6, %r7}, [%rd0], %r8;",
    "wmma.store.d.sync.aligned.row.m16n16k16.global.f16 [%rd0], {%r0, %r1, %r2, %r3}, %r8;",
    "ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%r0, %r1}, [%r2];",
    "stmatrix.sync.aligned.m8n8.x2.shared.b16 [%r2], {%r0, %r1};",
    "movmatrix.sync.aligned.m8n8.trans.b16 %r0, %r1;",
    "shfl.sync.up.b32 %r0|%p0, %r1, 1, 0, -1;",
    "vote.sync.ballot.b32 %r0, %p0, -1;",
    "match.all.sync.b32 %r0|%p0, %r1, -1;",
    "redux.sync.add.u32 %r0, %r1, -1;",
    "activemask.b32 %r0;",
    "elect.sync %r0|%p0, -1;",
    "tex.2d.v4.f32.f32 {%f0, %f1, %f2, %f3}, [%rd0, {%f4, %f5}];",
    "tex.level.a2d.v4.u32.f32 {%r0, %r1, %r2, %r3}, [%rd0, {%r4, %f5, %f6, %f6}], %f7;",
    "tex.grad.2d.v4.f32.f32 {%f0, %f1, %f2, %f3}, [%rd0, {%f4, %f5}], {%f0, %f1}, {%f2, %f3};",
    "tld4.r.2d.v4.f32.f32 {%f0, %f1, %f2, %f3}, [%rd0, {%f4, %f5}];",
    "txq.width.b32 %r0, [%rd0];",
    "suld.b.2d.v2.b32.trap {%r0, %r1}, [%rd0, {%r2, %r3}];",
    "sust.b.1d.b32.clamp [%rd0, {%r0}], {%r1};",
    "sured.b.add.2d.u32.trap [%rd0, {%r0, %r1}], %r2;",
    "suq.width.b32 %r0, [%rd0];",
    "tensormap.replace.tile.rank.global.b1024.b32 [%rd0], 2;",
};

// "a, {b, c}, [d]" at its commas.
std::vector<std::string> split(const std::string& operands) {
  std::vector<std::string> parts;
  int depth = 0;
  std::string part;
  for (const char c : operands) {
    if (c == '{' || c == '[' || c == '(') ++depth;
    if (c == '}' || c == ']' || c == ')') --depth;
    if (c == ',' && depth == 0) {
      parts.push_back(std::move(part));
      part.clear();
    } else {
      part += c;
    }
  }
  if (!part.empty()) parts.push_back(part);
  return parts;
}

class DamagedInstructionsTest : public testing::TestWithParam<const char*> {
 protected:
  static std::string kernel(const std::string& instruction) {
    return ".version 9.0\n.target sm_120a\n.address_size 64\n"
           ".func (.param .b32 r) function(.param .b32 v) { ret; }\n"
           ".visible .entry k(.param .u64 p) {\n"
           ".reg .b16 %h<4>; .reg .b32 %r<9>; .reg .b64 %rd<9>; .reg .b128 %q<4>;\n"
           ".reg .f32 %f<9>; .reg .pred %p<4>; .param .b32 result, value; .local .b32 local[4];\n"
           "prototype: .callprototype (.reg .b32 _) _ (.reg .b32 _);\n"
           "TABLE: .branchtargets LABEL;\n" +
           instruction + "\nLABEL: ret;\n}\n";
  }
  // True: it is decoded.
  bool decode(const std::string& instruction, LoadError* error) {
    const std::string text = kernel(instruction);
    const std::string_view view = text;
    const auto program = device_.engine->load({&view, 1}, error);
    return program != nullptr && program->kernel("k", error) != nullptr;
  }
  void decode_or_refuse(const std::string& instruction) {
    LoadError error{};
    if (decode(instruction, &error)) return;
    EXPECT_THAT(error.message, HasSubstr("line ")) << instruction;
  }

  TestDevice device_{1};
};

TEST_P(DamagedInstructionsTest, AreDecodedOrRefused) {
  const std::string whole = GetParam();
  LoadError error{};
  EXPECT_TRUE(decode(whole, &error)) << whole << ": " << error.message;

  const size_t space = std::min(whole.find(' '), whole.size() - 1);
  const std::string name = whole.substr(0, space);
  const std::vector<std::string> operands = split(whole.substr(space, whole.size() - 1 - space));
  const auto join = [&](const std::vector<std::string>& parts) {
    std::string text = name;
    for (size_t i = 0; i < parts.size(); ++i) text += (i == 0 ? " " : ", ") + parts[i];
    return text + ";";
  };
  for (size_t count = 0; count < operands.size(); ++count) {
    decode_or_refuse(join({operands.begin(), operands.begin() + static_cast<long>(count)}));
    decode_or_refuse(join({operands.begin() + static_cast<long>(count) + 1, operands.end()}));
  }
  std::vector<std::string> more = operands;
  for (int i = 0; i < 4; ++i) {
    more.push_back("%r0");
    decode_or_refuse(join(more));
  }
  for (const char* other : {"_",
                            "5",
                            "0.5",
                            "%r0",
                            "%rd0",
                            "%h0",
                            "%q0",
                            "%p0",
                            "!%p0",
                            "-%r0",
                            "%r0.b1",
                            "%p0|%p1",
                            "%tid.x",
                            "%clock64",
                            "LABEL",
                            "TABLE",
                            "function",
                            "k",
                            "p",
                            "local",
                            "value",
                            "unknown",
                            "[%rd0]",
                            "[%r0]",
                            "[local]",
                            "[p]",
                            "[5]",
                            "[%rd0, {%r0}]",
                            "[%rd0, %rd1, {%f0, %f1}]",
                            "{%r0}",
                            "{%rd0, %rd1}",
                            "{%r0, %r1, %r2, %r3, %r4, %r5, %r6, %r7}",
                            "{_, _}",
                            "{5}",
                            "{{%r0}, %r1}",
                            "(value)",
                            "()"}) {
    for (size_t i = 0; i < operands.size(); ++i) {
      std::vector<std::string> changed = operands;
      changed[i] = other;
      decode_or_refuse(join(changed));
    }
  }
  // Modifiers: each left out, each twice.
  for (size_t dot = name.find('.'); dot != std::string::npos; dot = name.find('.', dot + 1)) {
    const size_t end = std::min(name.find('.', dot + 1), name.size());
    decode_or_refuse(name.substr(0, dot) + name.substr(end) + whole.substr(space));
    decode_or_refuse(name.substr(0, end) + name.substr(dot) + whole.substr(space));
  }
}

INSTANTIATE_TEST_SUITE_P(All, DamagedInstructionsTest, testing::ValuesIn(kInstructions));

}  // namespace
}  // namespace farcall::softgpu
