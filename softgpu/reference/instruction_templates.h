// The instructions that random programs are made of, in the little language of Generator::expand():
// <a|b> is a choice, $r a destination, #r a source that may be a constant, &r a register, #n a
// small number. Letters are classes of registers: r d s integers of 32, 64, 16 bits; f g floats; h
// b halves and bfloats, x y pairs of them; p predicates.
//
// A NaN's bits may differ between two right implementations, so a float becomes an integer, or
// gives its sign away, only after every NaN has been replaced by one.
#pragma once

#include <cstddef>
#include <string>

namespace farcall::softgpu::reference {

inline const std::string kIntegerTemplates[] = {
    "<add|sub><.u32|.s32|.sat.s32> $r, #r, #r;",
    "<add|sub><.u64|.s64> $d, #d, #d;",
    "<add|sub><.u16|.s16> $s, #s, #s;",
    "mul<.lo|.hi><.u32|.s32> $r, #r, #r;",
    "mul<.lo|.hi><.u64|.s64> $d, #d, #d;",
    "mul<.lo|.hi><.u16|.s16> $s, #s, #s;",
    "mul.wide<.u32|.s32> $d, #r, #r;",
    "mul.wide<.u16|.s16> $r, #s, #s;",
    "mad<.lo|.hi><.u32|.s32> $r, #r, #r, #r;",
    "mad<.lo|.hi><.u64|.s64> $d, #d, #d, #d;",
    "mad<.lo|.hi><.u16|.s16> $s, #s, #s, #s;",
    "mad.hi.sat.s32 $r, #r, #r, #r;",
    "mad.wide<.u32|.s32> $d, #r, #r, #d;",
    "mad.wide<.u16|.s16> $r, #s, #s, #r;",
    "mul24<.lo|.hi><.u32|.s32> $r, #r, #r;",
    "mad24<.lo|.hi><.u32|.s32> $r, #r, #r, #r;",
    "sad<.u32|.s32> $r, #r, #r, #r;",
    "sad<.u64|.s64> $d, #d, #d, #d;",
    "sad<.u16|.s16> $s, #s, #s, #s;",
    "<min|max><.u32|.s32|.relu.s32> $r, #r, #r;",
    "<min|max><.u64|.s64> $d, #d, #d;",
    "<min|max><.u16|.s16> $s, #s, #s;",
    "<min|max><.u16x2|.s16x2|.relu.s16x2> $r, &r, &r;",
    "<abs|neg>.s32 $r, &r;",
    "<abs|neg>.s64 $d, &d;",
    "<abs|neg>.s16 $s, &s;",
    // Division by zero is nobody's business, and neither is -2^31 / -1.
    "and.b32 %t0, #r, 0x7fffffff; or.b32 %t0, %t0, 1; <div|rem><.u32|.s32> $r, #r, %t0;",
    "shr.u64 %e0, #d, <1|7|33>; or.b64 %e0, %e0, 1; <div|rem><.u64|.s64> $d, #d, %e0;",
    "and.b16 %v0, #s, 0x7fff; or.b16 %v0, %v0, 1; <div|rem><.u16|.s16> $s, #s, %v0;",
    "add.cc.u32 $r, #r, #r; addc.cc.u32 $r, #r, #r; addc.u32 $r, #r, #r;",
    "sub.cc.u32 $r, #r, #r; subc.cc.s32 $r, #r, #r; subc.u32 $r, #r, #r;",
    "add.cc.u64 $d, #d, #d; addc.u64 $d, #d, #d;",
    "sub.cc.u64 $d, #d, #d; subc.u64 $d, #d, #d;",
    "mad.lo.cc.u32 $r, #r, #r, #r; madc.hi.cc.u32 $r, #r, #r, #r; madc.lo.u32 $r, #r, #r, #r;",
    "mad.hi.cc.u32 $r, #r, #r, #r; addc.u32 $r, 0, 0;",
    "mad.lo.cc.u64 $d, #d, #d, #d; madc.hi.u64 $d, #d, #d, #d;",
    "dp4a<.u32|.s32><.u32|.s32> $r, #r, #r, #r;",
    "dp2a<.lo|.hi><.u32|.s32><.u32|.s32> $r, #r, #r, #r;",
};

inline const std::string kBitTemplates[] = {
    "<popc|clz>.b32 $r, &r;",
    "<popc|clz>.b64 $r, &d;",
    "bfind<|.shiftamt><.u32|.s32> $r, &r;",
    "bfind<|.shiftamt><.u64|.s64> $r, &d;",
    "brev.b32 $r, &r;",
    "brev.b64 $d, &d;",
    "bfe<.u32|.s32> $r, #r, #n, #n;",
    "bfe<.u64|.s64> $d, #d, #n, #n;",
    "bfi.b32 $r, #r, #r, #n, #n;",
    "bfi.b64 $d, #d, #d, #n, #n;",
    "<shl.b32|shr.b32|shr.u32|shr.s32> $r, #r, #n;",
    "<shl.b64|shr.b64|shr.u64|shr.s64> $d, #d, #n;",
    "<shl.b16|shr.b16|shr.u16|shr.s16> $s, #s, #n;",
    "shf<.l|.r><.wrap|.clamp>.b32 $r, #r, #r, #n;",
    "<and|or|xor>.b32 $r, #r, #r;",
    "<and|or|xor>.b64 $d, #d, #d;",
    "<and|or|xor>.b16 $s, #s, #s;",
    "<not|cnot>.b32 $r, &r;",
    "<not|cnot>.b64 $d, &d;",
    "<not|cnot>.b16 $s, &s;",
    "lop3.b32 $r, #r, #r, #r, #i;",
    "prmt.b32 $r, #r, #r, #r;",
    "prmt.b32<.f4e|.b4e|.rc8|.ecl|.ecr|.rc16> $r, #r, #r, #r;",
    "bmsk<.clamp|.wrap>.b32 $r, #n, #n;",
    "szext<.clamp|.wrap><.u32|.s32> $r, #r, #n;",
};

inline const std::string kMoveTemplates[] = {
    "mov.b32 $r, #r;",
    "mov.b64 $d, #d;",
    "mov.b16 $s, #s;",
    "mov.b64 $d, {&r, &r};",
    "mov.b64 {$rr}, &d;",
    "mov.b64 {_, $r}, &d;",
    "mov.b32 $r, {&s, &s};",
    "mov.b32 {$ss}, &r;",
    "mov.b64 $d, {&s, &s, &s, &s};",
    "mov.b64 {$ssss}, &d;",
    "mov.u32 $r, "
    "<%tid.x|%laneid|%ntid.x|%ctaid.x|%nctaid.x|%lanemask_lt|%lanemask_ge|%lanemask_eq>;",
    "mov.b32 $f, &r;",
    "mov.b64 $g, &d;",
    "mov.b16 $h, &s;",
    "mov.b16 $b, &s;",
    "mov.f32 $f, #f;",
    "mov.f64 $g, #g;",
    "mov.b32 $x, {&h, &h};",
    "mov.b32 {$hh}, &x;",
    "mov.b32 $y, {&b, &b};",
    "mov.b32 {$bb}, &y;",
    "testp.notanumber.f32 %q0, &f1; selp.f32 %tf0, 0f7FFFFFFF, =f1, %q0; mov.b32 $r, %tf0;",
    "testp.notanumber.f64 %q0, &g1; selp.f64 %tg0, 0d7FF8000000000000, =g1, %q0; mov.b64 $d, %tg0;",
    "setp.nan.f16 %q0, &h1, =h1; selp.b16 $s, 0x7fff, =h1, %q0;",
    "setp.nan.bf16 %q0, &b1, =b1; selp.b16 $s, 0x7fff, =b1, %q0;",
    "selp.b32 $r, #r, #r, &p;",
    "selp.b64 $d, #d, #d, &p;",
    "selp.b16 $s, #s, #s, &p;",
    "selp.f32 $f, #f, #f, &p;",
    "selp.f64 $g, #g, #g, &p;",
    "slct<.b32|.u32|.s32>.s32 $r, #r, #r, #r;",
    "slct.b64<.s32> $d, #d, #d, #r;",
    "slct<|.ftz>.f32.f32 $f, #f, #f, #f;",
    "slct<|.ftz>.u64.f32 $d, #d, #d, #f;",
    "slct.f64.s32 $g, #g, #g, #r;",
    "<and|or|xor>.pred $p, &p, &p;",
    "not.pred $p, &p;",
    "mov.pred $p, &p;",
};

inline const std::string kCompareTemplates[] = {
    "setp<.eq|.ne|.lt|.le|.gt|.ge><.u32|.s32> $p, #r, #r;",
    "setp<.lo|.ls|.hi|.hs>.u32 $p, #r, #r;",
    "setp<.eq|.ne|.lt|.le|.gt|.ge><.u64|.s64> $pp, #d, #d;",
    "setp<.eq|.ne|.lt|.le|.gt|.ge><.u16|.s16> $p, #s, #s;",
    "setp<.eq|.ne>.b32 $pp, #r, #r;",
    "setp<.eq|.lt|.ge><.and|.or|.xor><.u32|.s32> $pp, #r, #r, <|!>&p;",
    "setp<.eq|.ne|.lt|.le|.gt|.ge|.equ|.neu|.ltu|.leu|.gtu|.geu|.num|.nan><|.ftz>.f32 $p, #f, #f;",
    "setp<.eq|.ne|.lt|.le|.gt|.ge|.equ|.neu|.ltu|.leu|.gtu|.geu|.num|.nan>.f64 $pp, #g, #g;",
    "setp<.lt|.geu|.ne><.and|.or|.xor><|.ftz>.f32 $pp, #f, #f, <|!>&p;",
    "setp<.eq|.ne|.lt|.le|.gt|.ge|.equ|.neu|.ltu|.leu|.gtu|.geu|.num|.nan><|.ftz>.f16 $p, &h, &h;",
    "setp<.eq|.ne|.lt|.le|.gt|.ge|.equ|.neu|.ltu|.leu|.gtu|.geu|.num|.nan><|.ftz>.f16x2 $pp, &x, "
    "&x;",
    "setp<.eq|.ne|.lt|.le|.gt|.ge|.equ|.neu|.ltu|.leu|.gtu|.geu|.num|.nan>.bf16 $p, &b, &b;",
    "setp<.eq|.lt|.gtu|.nan>.bf16x2 $pp, &y, &y;",
    "set<.eq|.lt|.ge|.neu|.nan><|.ftz><.u32|.s32>.f32 $r, #f, #f;",
    "set<.eq|.lt|.ge|.neu>.u32.f64 $r, #g, #g;",
    "set<.eq|.ne|.lt|.ge><.u32|.s32><.u32|.s32> $r, #r, #r;",
    "set<.eq|.ne|.lt|.ge>.f32<.u32|.s32> $f, #r, #r;",
    "set<.lt|.ge><.and|.or|.xor>.u32.s32 $r, #r, #r, <|!>&p;",
    "set<.lt|.gtu>.f32.f32 $f, #f, #f;",
    "testp<.finite|.infinite|.number|.notanumber|.normal|.subnormal>.f32 $p, &f;",
    "testp<.finite|.infinite|.number|.notanumber|.normal|.subnormal>.f64 $p, &g;",
};

inline const std::string kFloatTemplates[] = {
    "<add|sub|mul><|.rn|.rz|.rm|.rp><|.ftz><|.sat>.f32 $f, #f, #f;",
    "<add|sub|mul><|.rn|.rz|.rm|.rp>.f64 $g, #g, #g;",
    "fma<.rn|.rz|.rm|.rp><|.ftz><|.sat>.f32 $f, #f, #f, #f;",
    "fma<.rn|.rz|.rm|.rp>.f64 $g, #g, #g, #g;",
    "mad<.rn|.rz|.rm|.rp><|.ftz>.f32 $f, #f, #f, #f;",
    "div<.rn|.rz|.rm|.rp><|.ftz>.f32 $f, #f, #f;",
    "div<.rn|.rz|.rm|.rp>.f64 $g, #g, #g;",
    "<rcp|sqrt><.rn|.rz|.rm|.rp><|.ftz>.f32 $f, #f;",
    "<rcp|sqrt><.rn|.rz|.rm|.rp>.f64 $g, #g;",
    "<min|max><|.ftz><|.NaN>.f32 $f, #f, #f;",
    "<min|max>.f64 $g, #g, #g;",
    "<neg|abs><|.ftz>.f32 $f, &f;",
    "<neg|abs>.f64 $g, &g;",
    "testp.notanumber.f32 %q0, &f1; selp.f32 %tf0, 0f7FFFFFFF, =f1, %q0; copysign.f32 $f, %tf0, "
    "#f;",
    "testp.notanumber.f64 %q0, &g1; selp.f64 %tg0, 0d7FF8000000000000, =g1, %q0; copysign.f64 $g, "
    "%tg0, #g;",
    "testp.notanumber.f32 %q0, &f1; selp.f32 %tf0, 0f7FFFFFFF, =f1, %q0; testp.notanumber.f32 %q0, "
    "&f2; selp.f32 %tf1, 0f7FFFFFFF, =f2, %q0; <min|max><|.ftz><|.NaN>.xorsign.abs.f32 $f, %tf0, "
    "%tf1;",
};

inline const std::string kHalfTemplates[] = {
    "<add|sub|mul><|.rn><|.ftz><|.sat>.f16 $h, &h, &h;",
    "<add|sub|mul><|.rn><|.ftz><|.sat>.f16x2 $x, &x, &x;",
    "<add|sub|mul><|.rn>.bf16 $b, &b, &b;",
    "<add|sub|mul><|.rn>.bf16x2 $y, &y, &y;",
    "fma.rn<|.ftz><|.sat|.relu>.f16 $h, &h, &h, &h;",
    "fma.rn<|.ftz><|.sat|.relu>.f16x2 $x, &x, &x, &x;",
    "fma.rn<|.relu>.bf16 $b, &b, &b, &b;",
    "fma.rn<|.relu>.bf16x2 $y, &y, &y, &y;",
    "<neg|abs><|.ftz>.f16 $h, &h;",
    "<neg|abs><|.ftz>.f16x2 $x, &x;",
    "<neg|abs>.bf16 $b, &b;",
    "<neg|abs>.bf16x2 $y, &y;",
    "<min|max><|.ftz><|.NaN>.f16 $h, &h, &h;",
    "<min|max><|.ftz><|.NaN>.f16x2 $x, &x, &x;",
    "<min|max><|.NaN>.bf16 $b, &b, &b;",
    "<min|max><|.NaN>.bf16x2 $y, &y, &y;",
};

inline const std::string kConvertTemplates[] = {
    "cvt<.rn|.rz|.rm|.rp><|.sat>.f32<.u32|.s32> $f, &r;",
    "cvt<.rn|.rz|.rm|.rp>.f32<.u64|.s64> $f, &d;",
    "cvt<.rn|.rz|.rm|.rp>.f32<.u16|.s16> $f, &s;",
    "cvt<.rn|.rz|.rm|.rp>.f32<.u8|.s8> $f, &r;",
    "cvt<.rn|.rz|.rm|.rp>.f64<.u64|.s64> $g, &d;",
    "cvt<.rn|.rz|.rm|.rp>.f64<.u32|.s32> $g, &r;",
    "cvt<.rn|.rz|.rm|.rp>.f16<.u32|.s32> $h, &r;",
    "cvt<.rn|.rz|.rm|.rp>.f16<.u64|.s64> $h, &d;",
    "cvt<.rn|.rz|.rm|.rp>.f16<.u16|.s16> $h, &s;",
    "cvt<.rn|.rz|.rm|.rp>.bf16<.u32|.s32> $b, &r;",
    "cvt<.rni|.rzi|.rmi|.rpi><|.ftz><|.sat><.u32|.s32>.f32 $r, #f;",
    "cvt<.rni|.rzi|.rmi|.rpi><|.ftz><.u64|.s64>.f32 $d, #f;",
    "cvt<.rni|.rzi|.rmi|.rpi><|.ftz><.u16|.s16|.u8|.s8>.f32 $s, #f;",
    "cvt<.rni|.rzi|.rmi|.rpi><|.sat><.u32|.s32>.f64 $r, #g;",
    "cvt<.rni|.rzi|.rmi|.rpi><.u64|.s64>.f64 $d, #g;",
    "cvt<.rni|.rzi|.rmi|.rpi><.u16|.s16|.u8|.s8>.f64 $r, #g;",
    "cvt<.rni|.rzi|.rmi|.rpi><.u32|.s32|.u16|.s16|.u8|.s8>.f16 $r, &h;",
    "cvt<.rni|.rzi|.rmi|.rpi><.u64|.s64>.f16 $d, &h;",
    "cvt<.rn|.rz|.rm|.rp>.f16.f32 $h, #f;",
    "cvt<.rn|.rz|.rm|.rp>.f16.f64 $h, #g;",
    "cvt<.rn|.rz><|.relu>.bf16.f32 $b, #f;",
    "cvt<.rn|.rz|.rm|.rp><|.ftz><|.sat>.f32.f64 $f, #g;",
    "cvt<|.ftz>.f64.f32 $g, #f;",
    "cvt.f32.f16 $f, &h;",
    "cvt.f64.f16 $g, &h;",
    "cvt.f32.bf16 $f, &b;",
    "cvt<.rni|.rzi|.rmi|.rpi><|.ftz><|.sat>.f32.f32 $f, #f;",
    "cvt<|.ftz>.sat.f32.f32 $f, #f;",
    "cvt<.rni|.rzi|.rmi|.rpi>.f64.f64 $g, #g;",
    "cvt<.rni|.rzi|.rmi|.rpi>.f16.f16 $h, &h;",
    "cvt<.rn|.rz><|.relu>.f16x2.f32 $x, #f, #f;",
    "cvt<.rn|.rz><|.relu>.bf16x2.f32 $y, #f, #f;",
    "cvt<|.sat><.u8|.s8|.u16|.s16|.u32|.s32><.u32|.s32|.u16|.s16|.u8|.s8> $r, &r;",
    "cvt<|.sat><.u8|.s8|.u16|.s16|.u32|.s32><.u64|.s64> $r, &d;",
    "cvt<|.sat><.u64|.s64><.u32|.s32|.u16|.s16|.u8|.s8> $d, &r;",
    "cvt<|.sat><.u64|.s64><.u64|.s64> $d, &d;",
    "cvt<|.sat><.u8|.s8|.u16|.s16><.u16|.s16|.u8|.s8> $s, &s;",
};

struct Templates {
  const std::string* patterns;
  size_t count;
};
inline const Templates kTemplates[] = {{kIntegerTemplates, std::size(kIntegerTemplates)},
                                       {kBitTemplates, std::size(kBitTemplates)},
                                       {kMoveTemplates, std::size(kMoveTemplates)},
                                       {kCompareTemplates, std::size(kCompareTemplates)},
                                       {kFloatTemplates, std::size(kFloatTemplates)},
                                       {kHalfTemplates, std::size(kHalfTemplates)},
                                       {kConvertTemplates, std::size(kConvertTemplates)}};

// Only where #m, the mask, names the lanes that are there.
inline const std::string kWarpTemplates[] = {
    "shfl.sync<.down|.bfly|.idx>.b32 $r, #r, #n, <31|0x101f|0x181f|0x1c1f|0x1e1f|7>, #m;",
    "shfl.sync<.down|.bfly|.idx>.b32 $r|$p, #r, #n, <31|0x101f|0x181f|0x1c1f|0x1e1f|7>, #m;",
    "shfl.sync.up.b32 $r|$p, #r, #n, <0|0x1000|0x1800|0x1c00>, #m;",
    "shfl.sync.idx.b32 $f, &f, #n, 31, #m;",
    "vote.sync<.all|.any|.uni>.pred $p, <|!>&p, #m;",
    "vote.sync.ballot.b32 $r, <|!>&p, #m;",
    "and.b32 %t0, #r, 3; match.any.sync.b32 $r, %t0, #m;",
    "and.b32 %t0, #r, 1; match.all.sync.b32 $r|$p, %t0, #m;",
    "and.b64 %e0, #d, 3; match.any.sync.b64 $r, %e0, #m;",
    "match.all.sync.b64 $r|$p, #d, #m;",
    "redux.sync<.add|.min|.max><.u32|.s32> $r, #r, #m;",
    "redux.sync<.and|.or|.xor>.b32 $r, #r, #m;",
    "bar.warp.sync #m;",
};

}  // namespace farcall::softgpu::reference
