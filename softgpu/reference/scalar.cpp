// What single instructions compute, as the PTX manual describes each: integers in 128 bits, bit
// fields bit by bit, floats with soft_float.h.
#include <algorithm>
#include <cstring>
#include <map>

#include "softgpu/reference/machine.h"

namespace farcall::softgpu::reference {
namespace {

using Kind = Operand::Kind;

struct Context {
  Machine& machine;
  Thread& thread;
  const Instruction& i;

  uint64_t get(size_t operand, int bits) const {
    return machine.read(thread, i.operands.at(operand), bits);
  }
  // As a number of the type.
  I128 number(size_t operand, Type type) const {
    const uint64_t v = get(operand, type.bits);
    return extend(v, type);
  }
  static I128 extend(uint64_t v, Type type) {
    const bool negative = type.kind == 's' && (v >> (type.bits - 1) & 1) != 0;
    return negative ? static_cast<I128>(v) - (I128{1} << type.bits) : static_cast<I128>(v);
  }
  uint32_t word(size_t operand) const { return static_cast<uint32_t>(get(operand, 32)); }
  void set(I128 value) const { machine.write(thread, i.operands.at(0), static_cast<U128>(value)); }
  bool has(std::string_view modifier) const { return i.has(modifier); }
  const std::string& op() const { return i.opcode; }
  Type type() const { return i.types.empty() ? Type{} : i.types.back(); }
};

I128 clamp_to(I128 value, Type type) {
  const bool is_signed = type.kind == 's';
  const I128 low = is_signed ? -(I128{1} << (type.bits - 1)) : 0;
  const I128 high = (I128{1} << (type.bits - (is_signed ? 1 : 0))) - 1;
  return std::clamp(value, low, high);
}

FloatFormat format_of(Type type) {
  if (type.kind == 'h') return kBfloat;
  return type.bits == 16 ? kHalf : type.bits == 32 ? kSingle : kDouble;
}

Rounding rounding_of(const Instruction& i, Rounding otherwise = Rounding::kNearest) {
  for (const char* integral : {"", "i"}) {
    if (i.has(std::string("rn") + integral)) return Rounding::kNearest;
    if (i.has(std::string("rz") + integral)) return Rounding::kZero;
    if (i.has(std::string("rm") + integral)) return Rounding::kDown;
    if (i.has(std::string("rp") + integral)) return Rounding::kUp;
  }
  return otherwise;
}

// ---- integers ----

bool integer_arithmetic(const Context& c) {
  const Type type = c.type();
  const std::string& op = c.op();
  auto a = [&] { return c.number(1, type); };
  auto b = [&] { return c.number(2, type); };
  if (op == "add" || op == "sub") {
    const I128 v = op == "add" ? a() + b() : a() - b();
    c.set(c.has("sat") ? clamp_to(v, type) : v);
  } else if (op == "mul" || op == "mad") {
    // Two 64-bit numbers without a sign need all 128 bits; the sign of the type decides the shift.
    const U128 whole = static_cast<U128>(a()) * static_cast<U128>(b());
    I128 v = c.has("hi") ? (type.kind == 's' ? static_cast<I128>(whole) >> type.bits
                                             : static_cast<I128>(whole >> type.bits))
                         : static_cast<I128>(whole);
    if (op == "mad") {
      Type wide = type;
      if (c.has("wide")) wide.bits *= 2;
      v += c.number(3, wide);
      if (c.has("sat")) v = clamp_to(v, type);
    }
    c.set(v);
  } else if (op == "mul24" || op == "mad24") {
    Type low = type;
    low.bits = 24;
    const I128 whole = Context::extend(c.get(1, 24), low) * Context::extend(c.get(2, 24), low);
    I128 v = c.has("hi") ? whole >> 16 : whole;
    if (op == "mad24") {
      v = Context::extend(static_cast<uint64_t>(v) & 0xffff'ffff, type) + c.number(3, type);
      if (c.has("sat")) v = clamp_to(v, type);
    }
    c.set(v);
  } else if (op == "sad") {
    c.set(c.number(3, type) + (a() < b() ? b() - a() : a() - b()));
  } else if (op == "div") {
    c.set(a() / b());
  } else if (op == "rem") {
    c.set(a() % b());
  } else if (op == "abs") {
    c.set(a() < 0 ? -a() : a());
  } else if (op == "neg") {
    c.set(-a());
  } else if (op == "min" || op == "max") {
    auto choose = [&](I128 x, I128 y) { return (x < y) == (op == "min") ? x : y; };
    if (type.lanes == 1) {
      const I128 v = choose(a(), b());
      c.set(c.has("relu") ? std::max<I128>(v, 0) : v);
      return true;
    }
    uint64_t packed = 0;
    for (int lane = 0; lane < 2; ++lane) {
      auto part = [&](size_t k) {
        return Context::extend(c.get(k, 32) >> (16 * lane) & 0xffff, type);
      };
      I128 v = choose(part(1), part(2));
      if (c.has("relu")) v = std::max<I128>(v, 0);
      packed |= (static_cast<uint64_t>(v) & 0xffff) << (16 * lane);
    }
    c.set(static_cast<I128>(packed));
  } else {
    return false;
  }
  return true;
}

// add.cc, addc, sub.cc, subc, mad.cc, madc. The carry of a subtraction is a borrow.
void carry_chain(const Context& c) {
  const Type type{'u', c.type().bits, 1};
  const std::string& op = c.op();
  const bool reads = op.back() == 'c';
  const I128 in = reads && c.thread.carry ? 1 : 0;
  I128 v;
  if (op.substr(0, 3) == "sub") {
    v = c.number(1, type) - (c.number(2, type) + in);
    if (c.has("cc")) c.thread.carry = v < 0;
  } else {
    if (op.substr(0, 3) == "add") {
      v = c.number(1, type) + c.number(2, type) + in;
    } else {
      const Type as = c.type();
      const U128 whole = static_cast<U128>(c.number(1, as)) * static_cast<U128>(c.number(2, as));
      const U128 part = c.has("hi") ? whole >> type.bits : whole;
      const uint64_t cut =
          static_cast<uint64_t>(part) & (type.bits == 64 ? ~uint64_t{0} : 0xffff'ffff);
      v = static_cast<I128>(cut) + c.number(3, type) + in;
    }
    if (c.has("cc")) c.thread.carry = (v >> type.bits) != 0;
  }
  c.set(v);
}

bool bits(const Context& c) {
  const Type type = c.type();
  const std::string& op = c.op();
  const int width = type.bits;
  auto a = [&] { return c.get(1, width); };
  auto b = [&] { return c.get(2, width); };
  if (type.kind == 'p') {
    const bool x = c.machine.read_predicate(c.thread, c.i.operands.at(1));
    const bool y =
        c.i.operands.size() > 2 && c.machine.read_predicate(c.thread, c.i.operands.at(2));
    const bool v = op == "and" ? x && y : op == "or" ? x || y : op == "xor" ? x != y : !x;
    c.machine.write_predicate(c.thread, c.i.operands[0].reg, v);
    return true;
  }
  if (op == "and") {
    c.set(a() & b());
  } else if (op == "or") {
    c.set(a() | b());
  } else if (op == "xor") {
    c.set(a() ^ b());
  } else if (op == "not") {
    c.set(static_cast<I128>(~a()));
  } else if (op == "cnot") {
    c.set(a() == 0 ? 1 : 0);
  } else if (op == "shl") {
    const uint32_t n = c.word(2);
    c.set(n >= static_cast<uint32_t>(width) ? 0 : static_cast<I128>(U128{a()} << n));
  } else if (op == "shr") {
    const uint32_t n = std::min<uint32_t>(c.word(2), 64);
    c.set(c.number(1, type) >> n);
  } else if (op == "popc" || op == "clz") {
    int ones = 0, zeros = 0;
    for (int k = width - 1; k >= 0; --k) {
      ones += a() >> k & 1;
      if (ones == 0) ++zeros;
    }
    c.set(op == "popc" ? ones : zeros);
  } else if (op == "bfind") {
    uint64_t v = a();
    if (type.kind == 's' && (v >> (width - 1) & 1) != 0) v = ~v;
    int found = -1;
    for (int k = 0; k < width; ++k) {
      if ((v >> k & 1) != 0) found = k;
    }
    if (found >= 0 && c.has("shiftamt")) found = width - 1 - found;
    c.set(found);
  } else if (op == "brev") {
    uint64_t v = 0;
    for (int k = 0; k < width; ++k) v |= (a() >> k & 1) << (width - 1 - k);
    c.set(static_cast<I128>(v));
  } else if (op == "bfe") {
    const int pos = static_cast<int>(c.word(2) & 0xff), len = static_cast<int>(c.word(3) & 0xff);
    const int msb = width - 1;
    uint64_t sign = 0;
    if (type.kind == 's' && len != 0) sign = a() >> std::min(pos + len - 1, msb) & 1;
    uint64_t v = 0;
    for (int k = 0; k <= msb; ++k)
      v |= (k < len && pos + k <= msb ? a() >> (pos + k) & 1 : sign) << k;
    c.set(static_cast<I128>(v));
  } else if (op == "bfi") {
    const int pos = static_cast<int>(c.word(3) & 0xff), len = static_cast<int>(c.word(4) & 0xff);
    uint64_t v = b();
    for (int k = 0; k < len && pos + k < width; ++k) {
      v &= ~(uint64_t{1} << (pos + k));
      v |= (a() >> k & 1) << (pos + k);
    }
    c.set(static_cast<I128>(v));
  } else if (op == "lop3") {
    const uint64_t table = c.get(4, 32);
    uint64_t v = 0;
    for (int k = 0; k < 32; ++k) {
      const uint64_t row = (a() >> k & 1) << 2 | (b() >> k & 1) << 1 | (c.get(3, 32) >> k & 1);
      v |= (table >> row & 1) << k;
    }
    c.set(static_cast<I128>(v));
  } else if (op == "shf") {
    uint32_t n = c.word(3);
    n = c.has("wrap") ? n & 31 : std::min<uint32_t>(n, 32);
    const U128 both = U128{c.get(2, 32)} << 32 | c.get(1, 32);
    c.set(static_cast<I128>(c.has("l") ? (both << n) >> 32 : both >> n));
  } else if (op == "bmsk") {
    uint64_t first = a(), count = b();
    if (c.has("wrap")) {
      first &= 31;
      count &= 31;
    }
    uint64_t v = 0;
    for (uint64_t k = first; k < first + count && k < 32; ++k) v |= uint64_t{1} << k;
    c.set(static_cast<I128>(v));
  } else if (op == "szext") {
    uint32_t n = c.word(2);
    if (c.has("wrap")) n &= 31;
    n = std::min<uint32_t>(n, 32);
    uint64_t v = 0;
    for (uint32_t k = 0; k < 32; ++k) {
      const bool is_signed = type.kind == 's';
      const uint64_t bit = k < n ? a() >> k & 1 : is_signed && n != 0 ? a() >> (n - 1) & 1 : 0;
      v |= bit << k;
    }
    c.set(static_cast<I128>(v));
  } else {
    return false;
  }
  return true;
}

void permute_bytes(const Context& c) {
  const uint64_t both = c.get(2, 32) << 32 | c.get(1, 32);
  auto byte = [&](uint32_t n) { return both >> (8 * n) & 0xff; };
  const uint32_t selector = c.word(3), n = selector & 3;
  uint64_t v = 0;
  for (uint32_t k = 0; k < 4; ++k) {
    uint64_t part;
    if (c.has("f4e")) {
      part = byte(n + k);
    } else if (c.has("b4e")) {
      part = byte((n + 8 - k) & 7);
    } else if (c.has("rc8")) {
      part = byte(n);
    } else if (c.has("ecl")) {
      part = byte(std::max(n, k));
    } else if (c.has("ecr")) {
      part = byte(std::min(n, k));
    } else if (c.has("rc16")) {
      part = byte((n & 1) * 2 + (k & 1));
    } else {
      const uint32_t nibble = selector >> (4 * k) & 0xf;
      part = byte(nibble & 7);
      if ((nibble & 8) != 0) part = (part & 0x80) != 0 ? 0xff : 0;
    }
    v |= part << (8 * k);
  }
  c.set(static_cast<I128>(v));
}

void dot_product(const Context& c) {
  const bool bytes = c.op() == "dp4a";
  const Type ta = c.i.types.at(0), tb = c.i.types.at(1);
  I128 v = c.number(3, {'s', 32, 1});
  for (int k = 0; k < (bytes ? 4 : 2); ++k) {
    const int wide = bytes ? 8 : 16, at = k + (!bytes && c.has("hi") ? 2 : 0);
    const uint64_t x = c.get(1, 32) >> (wide * k), y = c.get(2, 32) >> (8 * at);
    v += Context::extend(x & ((uint64_t{1} << wide) - 1), {ta.kind, wide, 1}) *
         Context::extend(y & 0xff, {tb.kind, 8, 1});
  }
  c.set(v);
}

// ---- floats ----

uint64_t minimum(uint64_t a, uint64_t b, const FloatFormat& f, bool want_min, bool nan_wins) {
  const bool a_nan = is_nan(a, f), b_nan = is_nan(b, f);
  if (a_nan || b_nan) return nan_wins || (a_nan && b_nan) ? f.nan() : a_nan ? b : a;
  const Order order = compare(a, b, f);
  bool a_is_less = order == Order::kLess;
  if (order == Order::kEqual) a_is_less = (a & f.sign()) != 0;  // -0 is below +0
  return a_is_less == want_min ? a : b;
}

uint64_t float_operation(const Context& c, const FloatFormat& f, const uint64_t* v) {
  const std::string& op = c.op();
  const Rounding rounding = rounding_of(c.i);
  if (op == "add") return add(v[0], v[1], f, rounding);
  if (op == "sub") return add(v[0], v[1] ^ f.sign(), f, rounding);
  if (op == "mul") return multiply(v[0], v[1], f, rounding);
  if (op == "fma" || op == "mad") return fused(v[0], v[1], v[2], f, rounding);
  if (op == "div") return divide(v[0], v[1], f, rounding);
  if (op == "rcp") return divide(f.one(), v[0], f, rounding);
  if (op == "sqrt") return square_root(v[0], f, rounding);
  if (op == "neg") return v[0] ^ f.sign();
  if (op == "abs") return v[0] & ~f.sign();
  if (op == "copysign") return (v[1] & ~f.sign()) | (v[0] & f.sign());
  if (c.has("xorsign")) {
    const uint64_t m = minimum(v[0] & ~f.sign(), v[1] & ~f.sign(), f, op == "min", c.has("NaN"));
    return is_nan(m, f) ? m : m | ((v[0] ^ v[1]) & f.sign());
  }
  return minimum(v[0], v[1], f, op == "min", c.has("NaN"));
}

bool float_arithmetic(const Context& c) {
  static const std::map<std::string, size_t> kOperands = {
      {"add", 2},  {"sub", 2}, {"mul", 2}, {"fma", 3}, {"mad", 3},      {"div", 2}, {"rcp", 1},
      {"sqrt", 1}, {"neg", 1}, {"abs", 1}, {"min", 2}, {"copysign", 2}, {"max", 2}};
  const auto it = kOperands.find(c.op());
  if (it == kOperands.end()) return false;
  const Type type = c.type();
  const FloatFormat f = format_of(type);
  uint64_t packed = 0;
  for (int lane = 0; lane < type.lanes; ++lane) {
    uint64_t v[3] = {};
    for (size_t k = 0; k < it->second; ++k) {
      v[k] = c.get(1 + k, type.total());
      if (type.lanes == 2) v[k] = v[k] >> (16 * lane) & 0xffff;
      if (c.has("ftz")) v[k] = flush(v[k], f);
    }
    uint64_t r = float_operation(c, f, v);
    if (c.has("ftz")) r = flush(r, f);
    if (c.has("sat")) r = saturate(r, f);
    if (c.has("relu") && !is_nan(r, f) && (r & f.sign()) != 0) r = 0;
    packed |= r << (16 * lane);
  }
  c.set(static_cast<I128>(packed));
  return true;
}

void test_property(const Context& c) {
  const FloatFormat f = format_of(c.type());
  const uint64_t v = c.get(1, c.type().bits), magnitude = v & ~f.sign();
  const bool nan = is_nan(v, f), infinite = magnitude == f.infinity();
  bool r = false;
  if (c.has("finite")) r = !nan && !infinite;
  if (c.has("infinite")) r = infinite;
  if (c.has("number")) r = !nan;
  if (c.has("notanumber")) r = nan;
  // The manual counts zero as normal.
  if (c.has("normal")) r = !nan && !infinite && !is_subnormal(v, f);
  if (c.has("subnormal")) r = is_subnormal(v, f);
  c.machine.write_predicate(c.thread, c.i.operands[0].reg, r);
}

// ---- comparisons ----

bool holds(const Instruction& i, Order order) {
  const bool less = order == Order::kLess, equal = order == Order::kEqual,
             greater = order == Order::kGreater, unordered = order == Order::kUnordered;
  struct Entry {
    const char* name;
    bool value;
  };
  for (const Entry& e : {Entry{"eq", equal},
                         {"ne", less || greater},
                         {"lt", less},
                         {"le", less || equal},
                         {"gt", greater},
                         {"ge", greater || equal},
                         {"lo", less},
                         {"ls", less || equal},
                         {"hi", greater},
                         {"hs", greater || equal},
                         {"equ", equal || unordered},
                         {"neu", !equal},
                         {"ltu", less || unordered},
                         {"leu", !greater},
                         {"gtu", greater || unordered},
                         {"geu", !less},
                         {"num", !unordered},
                         {"nan", unordered}}) {
    if (i.has(e.name)) return e.value;
  }
  return false;
}

Order order_of(const Context& c, Type type, size_t first, int lane = 0) {
  if (type.is_float()) {
    const FloatFormat f = format_of(type);
    uint64_t v[2] = {c.get(first, type.total()), c.get(first + 1, type.total())};
    for (uint64_t& x : v) {
      if (type.lanes == 2) x = x >> (16 * lane) & 0xffff;
      if (c.has("ftz")) x = flush(x, f);
    }
    return compare(v[0], v[1], f);
  }
  for (const char* is_unsigned : {"lo", "ls", "hi", "hs"}) {
    if (c.has(is_unsigned)) type.kind = 'u';
  }
  const I128 a = c.number(first, type), b = c.number(first + 1, type);
  return a < b ? Order::kLess : a > b ? Order::kGreater : Order::kEqual;
}

bool combine(const Context& c, bool value) {
  if (c.i.operands.size() < 4) return value;
  const bool with = c.machine.read_predicate(c.thread, c.i.operands[3]);
  if (c.has("and")) return value && with;
  if (c.has("or")) return value || with;
  return value != with;
}

void set_predicate(const Context& c) {
  const Type type = c.type();
  const bool first = holds(c.i, order_of(c, type, 1, 0));
  // Of a pair each half has a predicate; of one comparison the second is the opposite.
  const bool second = type.lanes == 2 ? holds(c.i, order_of(c, type, 1, 1)) : !first;
  const bool p = combine(c, first), q = combine(c, second);
  c.machine.write_predicate(c.thread, c.i.operands[0].reg, p);
  c.machine.write_predicate(c.thread, c.i.operands[0].second, q);
}

void set_value(const Context& c) {
  const Type to = c.i.types.at(0);
  const bool v = combine(c, holds(c.i, order_of(c, c.i.types.at(1), 1)));
  if (to.is_float())
    c.set(v ? static_cast<I128>(format_of(to).one()) : 0);
  else
    c.set(v ? -1 : 0);
}

void select(const Context& c) {
  const int bits = c.type().total();
  const bool p = c.machine.read_predicate(c.thread, c.i.operands.at(3));
  c.set(static_cast<I128>(c.get(p ? 1 : 2, bits)));
}

void select_by_sign(const Context& c) {
  const Type type = c.i.types.at(0), sign = c.i.types.at(1);
  bool first;
  if (sign.is_float()) {
    uint64_t v = c.get(3, 32);
    if (c.has("ftz")) v = flush(v, kSingle);
    first = !is_nan(v, kSingle) && ((v & kSingle.sign()) == 0 || v == kSingle.sign());
  } else {
    first = c.number(3, sign) >= 0;
  }
  c.set(static_cast<I128>(c.get(first ? 1 : 2, type.bits)));
}

// ---- conversions ----

uint64_t convert_float(const Context& c, uint64_t v, Type from, Type to) {
  const FloatFormat source = format_of(from), target = format_of(to);
  if (c.has("ftz") && from.bits == 32) v = flush(v, source);
  Exact exact = take_apart(v, source);
  Rounding rounding = rounding_of(c.i);
  if (c.has("rni") || c.has("rzi") || c.has("rmi") || c.has("rpi")) {
    exact = round_to_integral(exact, rounding);
    rounding = Rounding::kNearest;
  }
  uint64_t r = round_to(exact, target, rounding);
  if (c.has("ftz") && to.bits == 32) r = flush(r, target);
  if (c.has("sat")) r = saturate(r, target);
  if (c.has("relu") && !is_nan(r, target) && (r & target.sign()) != 0) r = 0;
  return r;
}

I128 float_to_integer(const Context& c, uint64_t v, Type from, Type to) {
  const FloatFormat f = format_of(from);
  if (c.has("ftz") && from.bits == 32) v = flush(v, f);
  if (is_nan(v, f)) {
    if (from.bits != 64 && to.bits != 64) return 0;
    return Context::extend(uint64_t{1} << (to.bits - 1), to);
  }
  const Exact r = round_to_integral(take_apart(v, f), rounding_of(c.i));
  // Anything this large is outside of every type.
  I128 magnitude = I128{1} << 100;
  if (r.kind == Exact::Kind::kFinite && r.exponent <= 47)
    magnitude = static_cast<I128>(r.magnitude << r.exponent);
  return clamp_to(r.negative ? -magnitude : magnitude, to);
}

void convert(const Context& c) {
  const Type to = c.i.types.at(0), from = c.i.types.at(1);
  if (to.lanes == 2) {  // the first source goes to the upper half
    Type half = to;
    half.lanes = 1;
    const uint64_t high = convert_float(c, c.get(1, 32), from, half);
    c.set(static_cast<I128>(high << 16 | convert_float(c, c.get(2, 32), from, half)));
    return;
  }
  const uint64_t v = c.get(1, from.bits);
  if (to.is_float() && from.is_float()) {
    c.set(static_cast<I128>(convert_float(c, v, from, to)));
  } else if (to.is_float()) {
    const uint64_t r =
        round_to(from_integer(Context::extend(v, from)), format_of(to), rounding_of(c.i));
    c.set(static_cast<I128>(c.has("sat") ? saturate(r, format_of(to)) : r));
  } else {
    // A register wider than the type is filled by the type's sign.
    I128 r = from.is_float() ? float_to_integer(c, v, from, to) : Context::extend(v, from);
    if (c.has("sat")) r = clamp_to(r, to);
    const uint64_t cut = to.bits == 64 ? static_cast<uint64_t>(r)
                                       : static_cast<uint64_t>(r) & ((uint64_t{1} << to.bits) - 1);
    c.set(Context::extend(cut, to));
  }
}

// ---- moves and memory ----

void move(const Context& c) {
  const Type type = c.type();
  const Operand &to = c.i.operands.at(0), &from = c.i.operands.at(1);
  if (type.kind == 'p') {
    c.machine.write_predicate(c.thread, to.reg, c.machine.read_predicate(c.thread, from));
    return;
  }
  const uint64_t v = c.get(1, type.total());
  if (to.kind != Kind::kVector) return c.set(static_cast<I128>(v));
  const int part = type.total() / static_cast<int>(to.elements.size());
  for (size_t k = 0; k < to.elements.size(); ++k)
    c.machine.write(c.thread, to.elements[k],
                    v >> (part * static_cast<int>(k)) & ((uint64_t{1} << part) - 1));
}

std::string space_of(const Instruction& i) {
  for (const char* space : {"global", "shared", "local", "const", "param"}) {
    if (i.has(space) || i.has(std::string(space) + "::cta")) return space;
  }
  return "";
}

void load_store(const Context& c) {
  const bool is_load = c.op() == "ld";
  const Type type = c.type();
  const int size = type.total() / 8;
  int count = 1;
  if (c.has("v2")) count = 2;
  if (c.has("v4")) count = 4;
  const std::string space = space_of(c.i);
  const Operand& where = c.i.operands.at(is_load ? 1 : 0);
  const Operand& what = c.i.operands.at(is_load ? 0 : 1);
  const uint64_t address = c.machine.address(c.thread, where, space);
  // A vector is aligned as a whole.
  uint8_t* const bytes =
      c.machine.bytes_at(c.thread, space, address, static_cast<uint64_t>(size * count));
  for (int k = 0; k < count; ++k) {
    const Operand& element = count == 1 ? what : what.elements.at(static_cast<size_t>(k));
    uint8_t* const at = bytes + k * size;
    if (is_load) {
      uint64_t v = 0;
      std::memcpy(&v, at, static_cast<size_t>(size));
      c.machine.write(c.thread, element, static_cast<U128>(Context::extend(v, type)));
    } else {
      const uint64_t v = c.machine.read(c.thread, element, type.total());
      std::memcpy(at, &v, static_cast<size_t>(size));
    }
  }
}

void convert_address(const Context& c) {
  const uint64_t base = c.has("shared") ? Machine::kSharedBase : 0;
  const uint64_t v = c.get(1, 64);
  c.set(static_cast<I128>(c.has("to") ? v - base : v + base));
}

void is_in_space(const Context& c) {
  const uint64_t v = c.get(1, 64);
  const bool shared = v >= Machine::kSharedBase && v < Machine::kLocalBase;
  const bool local = v >= Machine::kLocalBase && v < Machine::kParamBase;
  const bool r = c.has("shared") ? shared : c.has("local") ? local : !shared && !local;
  c.machine.write_predicate(c.thread, c.i.operands[0].reg, r);
}

void atomic(const Context& c) {
  const bool has_result = c.op() == "atom";
  const Type type = c.type();
  const auto size = static_cast<size_t>(type.total() / 8);
  const size_t first = has_result ? 1 : 0;
  const std::string space = space_of(c.i);
  const uint64_t address = c.machine.address(c.thread, c.i.operands.at(first), space);
  uint8_t* const bytes = c.machine.bytes_at(c.thread, space, address, size);
  uint64_t old = 0;
  std::memcpy(&old, bytes, size);
  const uint64_t b = c.get(first + 1, type.total());
  uint64_t v = old;
  if (type.is_float()) {
    const FloatFormat f = format_of(type);
    v = 0;
    for (int lane = 0; lane < type.lanes; ++lane) {
      const int at = 16 * lane;
      const uint64_t mask = type.lanes == 2 ? 0xffff : ~uint64_t{0};
      v |= add(old >> at & mask, b >> at & mask, f, Rounding::kNearest) << at;
    }
  } else {
    const I128 x = Context::extend(old, type), y = Context::extend(b, type);
    if (c.has("add")) v = old + b;
    if (c.has("min")) v = x < y ? old : b;
    if (c.has("max")) v = x > y ? old : b;
    if (c.has("and")) v = old & b;
    if (c.has("or")) v = old | b;
    if (c.has("xor")) v = old ^ b;
    if (c.has("exch")) v = b;
    if (c.has("inc")) v = old >= b ? 0 : old + 1;
    if (c.has("dec")) v = old == 0 || old > b ? b : old - 1;
    if (c.has("cas")) v = old == b ? c.get(first + 2, type.total()) : old;
  }
  std::memcpy(bytes, &v, size);
  if (has_result) c.set(static_cast<I128>(old));
}

// cp.async: what the thread waits for may as well have happened at once.
void copy_asynchronously(const Context& c) {
  if (!c.has("shared") && !c.has("shared::cta")) return;  // commit_group and its like
  const uint64_t bytes = c.get(2, 32), wanted = c.i.operands.size() > 3 ? c.get(3, 32) : bytes;
  const uint64_t to = c.machine.address(c.thread, c.i.operands[0], "shared");
  const uint64_t from = c.machine.address(c.thread, c.i.operands[1], "global");
  uint8_t* const destination = c.machine.bytes_at(c.thread, "shared", to, bytes);
  std::memset(destination, 0, bytes);
  if (wanted == 0) return;
  std::memcpy(destination, c.machine.bytes_at(c.thread, "global", from, bytes), wanted);
}

}  // namespace

bool execute_scalar(Machine& machine, Thread& thread, const Instruction& i) {
  const Context c{machine, thread, i};
  using Handler = void (*)(const Context&);
  static const std::map<std::string, Handler> kHandlers = {{"addc", carry_chain},
                                                           {"subc", carry_chain},
                                                           {"madc", carry_chain},
                                                           {"prmt", permute_bytes},
                                                           {"dp4a", dot_product},
                                                           {"dp2a", dot_product},
                                                           {"testp", test_property},
                                                           {"setp", set_predicate},
                                                           {"set", set_value},
                                                           {"selp", select},
                                                           {"slct", select_by_sign},
                                                           {"cvt", convert},
                                                           {"mov", move},
                                                           {"ld", load_store},
                                                           {"st", load_store},
                                                           {"cvta", convert_address},
                                                           {"isspacep", is_in_space},
                                                           {"atom", atomic},
                                                           {"cp", copy_asynchronously},
                                                           {"red", atomic},
                                                           {"membar", [](const Context&) {}},
                                                           {"fence", [](const Context&) {}}};
  if (const auto it = kHandlers.find(i.opcode); it != kHandlers.end()) {
    it->second(c);
    return true;
  }
  if (i.has("cc")) {
    carry_chain(c);
    return true;
  }
  if (c.type().is_float()) return float_arithmetic(c);
  return integer_arithmetic(c) || bits(c);
}

}  // namespace farcall::softgpu::reference
