#include "softgpu/reference/generator.h"

#include <cctype>
#include <map>
#include <random>
#include <utility>

#include "softgpu/reference/instruction_templates.h"

namespace farcall::softgpu::reference {
namespace {

// Registers that programs compute with, by the letter of their names. Others are helpers: %t %e %v
// %q and so on are free inside one node, %m are masks, %c and %n counters and bounds of loops.
struct RegisterClass {
  char letter;
  const char* type;
  int count;
  Type meaning;
};
constexpr RegisterClass kClasses[] = {
    {'d', ".b64", 6, {'b', 64, 1}},  {'g', ".f64", 4, {'f', 64, 1}}, {'r', ".b32", 8, {'b', 32, 1}},
    {'f', ".f32", 5, {'f', 32, 1}},  {'x', ".b32", 3, {'f', 16, 2}}, {'y', ".b32", 2, {'h', 16, 2}},
    {'p', ".pred", 4, {'p', 32, 1}}, {'s', ".b16", 4, {'b', 16, 1}}, {'h', ".b16", 4, {'f', 16, 1}},
    {'b', ".b16", 3, {'h', 16, 1}}};

const char* const kNumbers32[] = {
    "0",          "1",          "2",          "3",          "7",          "31",
    "32",         "33",         "255",        "256",        "0x7fff",     "0x8000",
    "0xffff",     "0x10000",    "0x7fffffff", "0x80000000", "0x80000001", "0xffffffff",
    "0xfffffffe", "0x12345678", "0xdeadbeef", "0x01010101", "0x55555555", "-5"};
const char* const kNumbers64[] = {"0",
                                  "1",
                                  "0xffffffff",
                                  "0x100000000",
                                  "0x7fffffffffffffff",
                                  "0x8000000000000000",
                                  "0xffffffffffffffff",
                                  "0x123456789abcdef0",
                                  "63",
                                  "0x80000000",
                                  "-2"};
const char* const kNumbers16[] = {"0", "1", "0x7fff", "0x8000", "0xffff", "0xff", "0x100", "15"};
const char* const kFloats[] = {"0f00000000", "0f80000000", "0f3F800000", "0fBF800000", "0f3F000000",
                               "0f00000001", "0f80000001", "0f007FFFFF", "0f00800000", "0f7F7FFFFF",
                               "0fFF7FFFFF", "0f7F800000", "0fFF800000", "0f7FFFFFFF", "0f3F800001",
                               "0f4B800000", "0f4F000000", "0f4F7FFFFF", "0f5F000000", "0f40490FDB",
                               "0f33800000", "0f477FE000", "0f38800000", "0fC2C80000"};
const char* const kDoubles[] = {"0d0000000000000000", "0d8000000000000000", "0d3FF0000000000000",
                                "0dBFF0000000000000", "0d0000000000000001", "0d800FFFFFFFFFFFFF",
                                "0d0010000000000000", "0d7FEFFFFFFFFFFFFF", "0d7FF0000000000000",
                                "0dFFF0000000000000", "0d3FF0000000000001", "0d41E0000000000000",
                                "0d43E0000000000000", "0d380FFFFFFFFFFFFF", "0d36A0000000000000",
                                "0d47EFFFFFF0000000", "0d400921FB54442D18", "0d3E60000000000000"};
const char* const kHalves[] = {"0",      "0x8000", "0x3c00", "0xbc00", "0x0001",
                               "0x83ff", "0x0400", "0x7bff", "0x7c00", "0xfc00",
                               "0x7fff", "0x3c01", "0x3555", "0x6400"};
const char* const kBfloats[] = {"0",      "0x8000", "0x3f80", "0xbf80", "0x0001", "0x807f",
                                "0x0080", "0x7f7f", "0x7f80", "0xff80", "0x7fff", "0x3f81"};

// Where a node will stand, and what is true there.
struct Place {
  int mask = 0;             // %m register that names the lanes that are here
  bool uniform = false;     // all living threads of the block come here together
  bool top = false;         // directly in the kernel's body
  int depth = 0;            // of nesting
  int breakable = -1;       // label number of a loop around, of which this is the body
  int loop_mask_next = -1;  // its second mask register
};

class Generator {
 public:
  explicit Generator(uint64_t seed) : random_(seed) { program_.seed = seed; }

  GeneratedProgram run() {
    static constexpr uint32_t kThreads[] = {32, 32, 32, 64, 96, 45, 7, 1, 33, 80};
    program_.threads = kThreads[below(std::size(kThreads))];
    program_.blocks = chance(80) ? 1 : 2;
    function_count_ = below(4);
    module_head();
    for (int f = 0; f < function_count_; ++f) device_function(f);
    kernel();
    return std::move(program_);
  }

 private:
  // ---- chance ----

  int below(size_t n) { return static_cast<int>(random_() % n); }
  bool chance(int percent) { return below(100) < percent; }
  template <size_t N>
  std::string pick(const char* const (&from)[N]) {
    return from[below(N)];
  }
  static std::string number(int n) { return std::to_string(n); }

  static int count_of(char letter) {
    for (const RegisterClass& c : kClasses) {
      if (c.letter == letter) return c.count;
    }
    return 1;
  }
  std::string reg(char letter) {
    return std::string("%") + letter + number(below(static_cast<size_t>(count_of(letter))));
  }
  std::string constant(char letter) {
    switch (letter) {
      case 'r':
        return chance(30) ? number(below(1000)) : pick(kNumbers32);
      case 'd':
        return pick(kNumbers64);
      case 's':
        return pick(kNumbers16);
      case 'f':
        return pick(kFloats);
      case 'g':
        return pick(kDoubles);
      default:
        return {};
    }
  }
  std::string value(char letter) {
    const std::string c = chance(25) ? constant(letter) : "";
    return c.empty() ? reg(letter) : c;
  }

  // ---- templates ----

  // <a|b|c>: one of them. $r: a destination; $rr, $rrrr: different ones; #r: a register or a
  // constant; &r: a register; &r1 remembers it and =r1 repeats it; #n: a small number or a
  // register; #i: 0 to 255; #m: the mask.
  std::string expand(const std::string& pattern, const Place& place) {
    std::string chosen;
    for (size_t i = 0; i < pattern.size(); ++i) {
      if (pattern[i] != '<') {
        chosen += pattern[i];
        continue;
      }
      const size_t end = pattern.find('>', i);
      std::vector<std::string> options(1);
      for (size_t k = i + 1; k < end; ++k) {
        if (pattern[k] == '|')
          options.emplace_back();
        else
          options.back() += pattern[k];
      }
      chosen += options[static_cast<size_t>(below(options.size()))];
      i = end;
    }
    std::string out;
    std::map<std::string, std::string> remembered;
    for (size_t i = 0; i < chosen.size(); ++i) {
      const char sign = chosen[i];
      if ((sign != '$' && sign != '#' && sign != '&' && sign != '=') || i + 1 == chosen.size()) {
        out += sign;
        continue;
      }
      const char letter = chosen[++i];
      if (sign == '$') {
        size_t count = 1;
        while (i + 1 < chosen.size() && chosen[i + 1] == letter) ++count, ++i;
        out += different(letter, count, letter == 'p' ? "|" : ", ");
      } else if (letter == 'm') {
        out += "%m" + number(place.mask);
      } else if (letter == 'n') {
        out += chance(80) ? number(below(41)) : reg('r');
      } else if (letter == 'i') {
        out += number(below(256));
      } else if (sign == '#') {
        out += value(letter);
      } else {
        std::string key(1, letter);
        if (i + 1 < chosen.size() && std::isdigit(static_cast<unsigned char>(chosen[i + 1])) != 0)
          key += chosen[++i];
        if (sign == '&') {
          const std::string r = reg(letter);
          if (key.size() > 1) remembered[key] = r;
          out += r;
        } else {
          out += remembered.at(key);
        }
      }
    }
    return out;
  }

  std::string different(char letter, size_t count, const char* between) {
    const auto all = static_cast<size_t>(count_of(letter));
    const auto first = static_cast<size_t>(below(all));
    std::string out;
    for (size_t k = 0; k < count; ++k) {
      if (k > 0) out += between;
      out += std::string("%") + letter + std::to_string((first + k) % all);
    }
    return out;
  }

  static Node leaf(std::string text) { return {{std::move(text) + "\n"}, {}}; }

  Node plain(const Place& place) {
    const Templates& all = kTemplates[below(std::size(kTemplates))];
    std::string text = expand(all.patterns[below(all.count)], place);
    const bool single = text.find(';') == text.size() - 1;
    if (single && chance(15)) text = std::string(chance(50) ? "@" : "@!") + reg('p') + " " + text;
    return leaf(text);
  }
  Node warp_operation(const Place& place) {
    return leaf(expand(kWarpTemplates[below(std::size(kWarpTemplates))], place));
  }

  // ---- memory of the thread's own ----

  struct Area {
    std::string prefix;   // instructions that make the address
    std::string space;    // with its dot; empty: generic
    std::string address;  // what stands before the offset
    int bytes;
    bool writable;
  };
  Area area() {
    switch (below(8)) {
      case 0:
      case 1:
        return {"", ".global", "%gp", kScratchBytes, true};
      case 2:
        return {"", ".shared", "%sp", 32, true};
      case 3:
        return {"", ".local", chance(50) ? "lo" : "%lp", 48, true};
      case 4:
        return {"", ".const", "cst", 64, false};
      case 5:
        return {"cvta.global.u64 %e5, %gp; ", "", "%e5", kScratchBytes, true};
      case 6:
        return {"cvt.u64.u32 %e5, %sp; cvta.shared.u64 %e5, %e5; ", "", "%e5", 32, true};
      default:
        return {"cvta.local.u64 %e5, %lp; ", "", "%e5", 48, true};
    }
  }

  // An offset that only the thread knows.
  void vary_address(Area& area, int unit) {
    if (area.address == "lo" || area.address == "cst" || !chance(30)) return;
    const int room = 16 / unit * unit;
    if (room < 2 * unit) return;
    area.prefix += "and.b32 %t5, " + reg('r') + ", " + number(16 - unit) + "; ";
    if (area.address == "%sp") {
      area.prefix += "add.u32 %t5, %t5, %sp; ";
      area.address = "%t5";
    } else {
      area.prefix += "cvt.u64.u32 %e4, %t5; add.u64 %e4, %e4, " + area.address + "; ";
      area.address = "%e4";
    }
    area.bytes -= 16;
  }

  std::string offset_in(const Area& area, int unit) {
    const int offset = below(static_cast<size_t>(area.bytes / unit)) * unit;
    return "[" + area.address + (offset != 0 ? "+" + number(offset) : "") + "]";
  }

  Node memory() {
    struct Access {
      const char* type;  // as in the instruction
      int bytes;
      const char* registers;  // template: destination of loads
      const char* value;      // template: what stores take; empty: loads only
    };
    static constexpr Access kAccesses[] = {
        {".u8", 1, "$r", "&r"},
        {".s8", 1, "$r", "&r"},
        {".b8", 1, "$s", "&s"},
        {".u16", 2, "$r", "&r"},
        {".s16", 2, "$r", "&r"},
        {".b16", 2, "$s", "&s"},
        {".s16", 2, "$d", "&d"},
        {".u8", 1, "$d", "&d"},
        {".b32", 4, "$r", "&r"},
        {".s32", 4, "$d", "&d"},
        {".u32", 4, "$d", "&d"},
        {".b64", 8, "$d", "&d"},
        {".f32", 4, "$f", ""},
        {".f64", 8, "$g", ""},
        {".b16", 2, "$h", ""},
        {".b16", 2, "$b", ""},
        {".b32", 4, "$x", ""},
        {".v2.b32", 8, "{$rr}", "{&r, &r}"},
        {".v4.b32", 16, "{$rrrr}", "{&r, &r, &r, &r}"},
        {".v2.b64", 16, "{$dd}", "{&d, &d}"},
        {".v4.u16", 8, "{$ssss}", "{&s, &s, &s, &s}"},
        {".v2.u8", 2, "{$rr}", "{&r, &r}"},
        {".v4.s8", 4, "{$rrrr}", "{&r, &r, &r, &r}"},
        {".v2.f32", 8, "{$ff}", ""},
        {".v2.f64", 16, "{$gg}", ""},
        {".v2.b32", 8, "{_, $r}", ""},
    };
    const Access& access = kAccesses[below(std::size(kAccesses))];
    Area area = this->area();
    vary_address(area, access.bytes);
    const std::string where = offset_in(area, access.bytes);
    const bool store = area.writable && access.value[0] != 0 && chance(50);
    const bool watched = area.space != ".local" && area.space != ".const" &&
                         area.prefix.find("local") == std::string::npos && chance(15);
    if (store) {
      // A guard on the store alone.
      const std::string guard = chance(15) ? "@" + reg('p') + " " : "";
      const std::string order =
          watched ? expand("<.volatile|.relaxed.gpu|.relaxed.sys|.release.cta>", {}) : "";
      return leaf(area.prefix + guard + "st" + order + area.space + access.type + " " + where +
                  ", " + expand(access.value, {}) + ";");
    }
    const std::string order =
        watched ? expand("<.volatile|.relaxed.cta|.relaxed.sys|.acquire.gpu>", {}) : "";
    return leaf(area.prefix + "ld" + order + area.space + access.type + " " +
                expand(access.registers, {}) + ", " + where + ";");
  }

  // Floats in memory, where a NaN must not stay. Adding to a float in global memory flushes
  // subnormals on some hardware, so f32 are added in shared memory.
  Node float_atomic() {
    static constexpr const char* kPatterns[] = {
        "st.shared.f32 [%sp+16], &f; atom.shared.add.f32 $f, [%sp+16], #f; ld.shared.f32 $f, "
        "[%sp+16]; st.shared.b32 [%sp+16], 9;",
        "st.shared.f64 [%sp+8], &g; red.shared.add.f64 [%sp+8], #g; ld.shared.f64 $g, [%sp+8]; "
        "st.shared.b64 [%sp+8], 77;",
        "st.global.f64 [%gp+24], &g; atom.global.add.f64 $g, [%gp+24], #g; ld.global.f64 $g, "
        "[%gp+24]; st.global.b64 [%gp+24], 5;",
        "st.global.b32 [%gp+40], &x; atom.global.add.noftz.f16x2 $x, [%gp+40], &x; ld.global.b32 "
        "$x, [%gp+40]; st.global.b32 [%gp+40], 3;",
        "st.global.b32 [%gp+40], &y; atom.global.add.noftz.bf16x2 $y, [%gp+40], &y; ld.global.b32 "
        "$y, [%gp+40]; st.global.b32 [%gp+40], 3;",
        "st.shared.b16 [%sp+2], &h; atom.shared.add.noftz.f16 $h, [%sp+2], &h; ld.shared.b16 $h, "
        "[%sp+2]; st.shared.b16 [%sp+2], 3;"};
    return leaf(expand(pick(kPatterns), {}));
  }

  // Each thread copies from its own memory to its own.
  Node asynchronous_copy() {
    const int bytes = 4 << below(3), from = below(64 / static_cast<size_t>(bytes)) * bytes,
              to = below(32 / static_cast<size_t>(bytes)) * bytes;
    const std::string part =
        chance(30) ? ", " + number(below(static_cast<size_t>(bytes) + 1)) : std::string();
    const std::string level = bytes == 16 && chance(50) ? ".cg" : ".ca";
    const std::string wait =
        expand("<cp.async.commit_group; cp.async.wait_group 0;|cp.async.wait_all;>", {});
    return leaf("cp.async" + level + ".shared.global [%sp+" + number(to) + "], [%gp+" +
                number(from) + "], " + number(bytes) + part + ";\n" + wait);
  }

  Node about_addresses() {
    static constexpr const char* kPatterns[] = {
        "cvta.global.u64 %e0, %gp; isspacep<.global|.shared|.local> $p, %e0;",
        "cvt.u64.u32 %e0, %sp; cvta.shared.u64 %e0, %e0; isspacep<.global|.shared|.local> $p, %e0;",
        "cvta.local.u64 %e0, %lp; isspacep<.global|.shared|.local> $p, %e0;",
        ("cvt.u64.u32 %e0, %sp; cvta.shared.u64 %e1, %e0; cvta.to.shared.u64 %e1, %e1; "
         "setp.eq.u64 $p, %e0, %e1;"),
        "cvta.global.u64 %e0, %gp; cvta.to.global.u64 %e1, %e0; ld.global.u32 $r, [%e1+12];",
        "mov.u64 %e0, lo; sub.u64 $d, %e0, %lp;",
        "mov.u32 %t0, sh; ld.shared.u32 $r, [%sp+28]; sub.u32 $r, %sp, %t0;",
        "mov.u32 $r, %dynamic_smem_size;"};
    return leaf(expand(pick(kPatterns), {}));
  }

  Node private_atomic() {
    const bool wide = chance(30);
    Area area = this->area();
    while (!area.writable || area.space == ".local" ||
           area.prefix.find("local") != std::string::npos)
      area = this->area();
    vary_address(area, wide ? 8 : 4);
    const std::string where = offset_in(area, wide ? 8 : 4);
    const char letter = wide ? 'd' : 'r';
    const std::string bits = wide ? "64" : "32";
    static constexpr const char* kOps[] = {"add.u", "min.u", "max.u", "min.s",  "max.s",
                                           "and.b", "or.b",  "xor.b", "exch.b", "cas.b"};
    std::string op = kOps[below(std::size(kOps))] + bits;
    if (!wide && chance(20)) op = chance(50) ? "inc.u32" : "dec.u32";
    const std::string more = op.starts_with("cas") ? ", " + value(letter) : "";
    if (more.empty() && op[0] != 'e' && chance(25))
      return leaf(area.prefix + "red" + area.space + "." + op + " " + where + ", " + value(letter) +
                  ";");
    return leaf(area.prefix + "atom" + area.space + "." + op + " " + reg(letter) + ", " + where +
                ", " + value(letter) + more + ";");
  }

  // Each counter has one operation, so that the order does not matter.
  Node counter() {
    static constexpr const char* kOps[] = {"add.u32", "max.s32", "min.u32", "and.b32",
                                           "or.b32",  "xor.b32", "add.u64", "max.u64"};
    const int k = below(std::size(kOps));
    return leaf("red.global." + std::string(kOps[k]) + " [%cp+" + number(8 * k) + "], " +
                value(k >= 6 ? 'd' : 'r') + ";");
  }

  // ---- what all threads of the block do together ----

  std::string barrier() {
    const bool counted = program_.threads % 32 == 0 && !exits_ && chance(30);
    const std::string count = counted ? ", " + number(static_cast<int>(program_.threads)) : "";
    const std::string id = number(below(16)) + count;
    switch (below(6)) {
      case 0:
        return "bar.red.popc.u32 " + reg('r') + ", " + id + ", " + reg('p') + ";";
      case 1:
        return "bar.red.and.pred " + reg('p') + ", " + id + ", " + reg('p') + ";";
      case 2:
        return "bar.red.or.pred " + reg('p') + ", " + id + ", !" + reg('p') + ";";
      case 3:
        return "barrier.sync " + id + ";";
      default:
        return "bar.sync " + id + ";";
    }
  }

  Node together() {
    if (chance(25)) return leaf(barrier());
    if (chance(30)) {
      // A counter of the block: thread 0 may have left, so each one writes the same.
      static constexpr const char* kOps[] = {"add.u32", "max.s32", "or.b32", "xor.b32", "inc.u32"};
      const std::string op = kOps[below(std::size(kOps))];
      const std::string what = op == "inc.u32" ? number(below(40)) : value('r');
      return leaf("st.shared.b32 [sc], 5;\n" + barrier() + "\nred.shared." + op + " [sc], " + what +
                  ";\n" + barrier() + "\nld.shared.b32 " + reg('r') + ", [sc];\n" + barrier());
    }
    return leaf("st.shared.b32 [%xp], " + value('r') + ";\n" + barrier() + "\nadd.u32 %t0, %me, " +
                number(below(70)) +
                "; rem.u32 %t0, %t0, %nt; shl.b32 %t0, %t0, 2; mov.u32 %t1, ex; add.u32 %t0, %t0, "
                "%t1; ld.shared.b32 " +
                reg('r') + ", [%t0];\n" + barrier());
  }

  // ---- control flow ----

  std::vector<Node> body(const Place& place, int nodes) {
    std::vector<Node> list;
    for (int k = 0; k < nodes; ++k) list.push_back(node(place));
    return list;
  }
  Place inside(const Place& place) {
    Place inner = place;
    inner.top = false;
    ++inner.depth;
    inner.breakable = -1;
    return inner;
  }

  Node branch(const Place& place) {
    const std::string id = number(labels_++), p = reg('p');
    const bool uniform = place.uniform && chance(40);
    Place then_place = inside(place), else_place = then_place;
    std::string head;
    std::string condition = p;
    if (uniform) {
      head = "setp.lt.u32 %q2, %un, " + number(below(8)) + ";\n";
      condition = "%q2";
    } else {
      then_place.uniform = else_place.uniform = false;
      then_place.mask = masks_++;
      else_place.mask = masks_++;
      const std::string t = "%m" + number(then_place.mask), e = "%m" + number(else_place.mask),
                        m = "%m" + number(place.mask);
      head = "vote.sync.ballot.b32 " + t + ", " + p + ", " + m + "; not.b32 " + e + ", " + t +
             "; and.b32 " + e + ", " + e + ", " + m + ";\n";
    }
    Node node;
    node.text = {head + "@!" + condition + " bra ELSE" + id + ";\n",
                 "bra END" + id + ";\nELSE" + id + ":\n", "END" + id + ":\n"};
    node.children = {body(then_place, 1 + below(4)), body(else_place, below(4))};
    return node;
  }

  Node loop(const Place& place) {
    const std::string id = number(labels_), c = "%c" + number(loops_), n = "%n" + number(loops_);
    ++loops_;
    Place inner = inside(place);
    const bool uniform = chance(40);
    inner.uniform = place.uniform && uniform;
    inner.mask = masks_++;
    inner.loop_mask_next = masks_++;
    if (!inner.uniform) inner.breakable = labels_;
    ++labels_;
    const std::string m = "%m" + number(inner.mask), next = "%m" + number(inner.loop_mask_next);
    const std::string bound = uniform ? "mov.u32 " + n + ", " + number(1 + below(3)) + ";\n"
                                      : "and.b32 " + n + ", " + reg('r') + ", 3;\n";
    const std::string start = "mov.u32 " + c + ", 0; " + bound + "mov.b32 " + m + ", %m" +
                              number(place.mask) + ";\nLOOP" + id + ":\n";
    const std::string ballot = "vote.sync.ballot.b32 " + next + ", %q3, " + m + "; ";
    Node node;
    if (chance(60)) {
      node.text = {start + "setp.lt.u32 %q3, " + c + ", " + n + "; " + ballot + "@!%q3 bra END" +
                       id + ";\nmov.b32 " + m + ", " + next + ";\n",
                   "add.u32 " + c + ", " + c + ", 1; bra LOOP" + id + ";\nEND" + id + ":\n"};
    } else {
      node.text = {start, "add.u32 " + c + ", " + c + ", 1; setp.lt.u32 %q3, " + c + ", " + n +
                              "; " + ballot + "mov.b32 " + m + ", " + next + "; @%q3 bra LOOP" +
                              id + ";\nEND" + id + ":\n"};
    }
    node.children = {body(inner, 1 + below(4))};
    return node;
  }

  Node leave_loop(const Place& place) {
    const std::string p = reg('p'), m = "%m" + number(place.mask),
                      next = "%m" + number(place.loop_mask_next);
    return leaf("vote.sync.ballot.b32 " + next + ", !" + p + ", " + m + "; @" + p + " bra END" +
                number(place.breakable) + "; mov.b32 " + m + ", " + next + ";");
  }

  Node choice(const Place& place) {
    const std::string id = number(labels_++);
    Place inner = inside(place);
    inner.uniform = false;
    inner.mask = masks_++;
    const int cases = 2 + below(3);
    Node node;
    std::string targets;
    // Five values for up to four cases: two values share the last one.
    for (int k = 0; k < 5; ++k)
      targets += (k > 0 ? ", CASE" : "CASE") + id + "_" + number(std::min(k, cases - 1));
    node.text.push_back("rem.u32 %t7, " + reg('r') + ", 5; min.u32 %t6, %t7, " + number(cases - 1) +
                        "; match.any.sync.b32 %m" + number(inner.mask) + ", %t6, %m" +
                        number(place.mask) + ";\nTS" + id + ": .branchtargets " + targets +
                        ";\nbrx.idx %t7, TS" + id + ";\nCASE" + id + "_0:\n");
    for (int k = 0; k < cases; ++k) {
      node.children.push_back(body(inner, below(3)));
      node.text.push_back(
          "bra END" + id + ";\n" +
          (k + 1 < cases ? "CASE" + id + "_" + number(k + 1) + ":\n" : "END" + id + ":\n"));
    }
    return node;
  }

  Node early_exit() {
    exits_ = true;
    const std::string id = number(labels_++), p = reg('p'), next = "%m" + number(masks_++);
    return leaf("vote.sync.ballot.b32 " + next + ", !" + p + ", %m0; @!" + p + " bra STAY" + id +
                ";\n" + store_outputs() + "exit;\nSTAY" + id + ": mov.b32 %m0, " + next + ";");
  }

  // ---- calls ----

  std::string call_with(const std::string& target, const std::string& mask,
                        const std::string& depth, const std::string& prototype) {
    return "{ .param .b32 pm; .param .b32 pd; .param .b32 pa; .param .b64 pb; .param .b64 pg; "
           ".param .align 16 .b8 pr[16];\n" +
           prototype + "st.param.b32 [pm], " + mask + "; st.param.b32 [pd], " + depth +
           "; st.param.b32 [pa], " + value('r') + "; st.param.b64 [pb], " + value('d') +
           "; st.param.b64 [pg], %gp;\ncall" + (chance(50) ? ".uni" : "") + " (pr), " + target +
           ", (pm, pd, pa, pb, pg)" + (prototype.empty() ? "" : ", PROTO" + number(labels_ - 1)) +
           ";\nld.param.b32 " + reg('r') + ", [pr]; ld.param.f32 " + reg('f') +
           ", [pr+4]; ld.param.b64 " + reg('d') + ", [pr+8]; }";
  }

  Node call(const Place& place) {
    const std::string mask = "%m" + number(place.mask);
    if (current_ < function_count_ && chance(40)) {  // itself
      const std::string id = number(labels_++);
      return leaf("setp.gt.u32 %q1, %depth, 0; @!%q1 bra SKIP" + id +
                  ";\nsub.u32 %t6, %depth, 1;\n" +
                  call_with("f" + number(current_), mask, "%t6", "") + "\nSKIP" + id + ":");
    }
    const int first = current_ < function_count_ ? current_ + 1 : 0;
    if (first >= function_count_) return plain(place);
    const int target = first + below(static_cast<size_t>(function_count_ - first));
    const std::string depth = number(below(3));
    if (current_ < function_count_ || !chance(40))
      return leaf(call_with("f" + number(target), mask, depth, ""));
    const std::string members = "%m" + number(masks_++), id = number(labels_++);
    return leaf("and.b32 %t0, " + reg('r') +
                ", 3; mul.wide.u32 %e0, %t0, 8; mov.u64 %e1, tab; add.u64 %e1, %e1, %e0; "
                "ld.global.u64 %e2, [%e1];\nmatch.any.sync.b64 " +
                members + ", %e2, " + mask + ";\n" +
                call_with("%e2", members, depth,
                          "PROTO" + id +
                              ": .callprototype (.param .align 16 .b8 _[16]) _ (.param .b32 _, "
                              ".param .b32 _, .param .b32 _, .param .b64 _, .param .b64 _);\n"));
  }

  Node node(const Place& place) {
    const bool in_kernel = current_ == function_count_;
    const int dice = below(100);
    if (place.depth < 3) {
      if (dice < 5) return branch(place);
      if (dice < 9) return loop(place);
      if (dice < 11) return choice(place);
    }
    if (dice < 14 && place.uniform && in_kernel) return together();
    if (dice < 15 && place.top && in_kernel) return early_exit();
    if (dice < 18) return call(place);
    if (dice < 20 && place.breakable >= 0) return leave_loop(place);
    if (dice < 23 && in_kernel) return counter();
    if (dice < 27) return private_atomic();
    if (dice < 28) return float_atomic();
    if (dice < 29) return asynchronous_copy();
    if (dice < 30) return about_addresses();
    if (dice < 40) return memory();
    if (dice < 48) return warp_operation(place);
    return plain(place);
  }

  // ---- the frame around ----

  std::string registers() {
    std::string text;
    for (const RegisterClass& c : kClasses)
      text += ".reg " + std::string(c.type) + " %" + c.letter + "<" + number(c.count) + ">; ";
    return text + "\n.reg .b32 %t<8>, %m<" + number(masks_) + ">, %c<" + number(loops_ + 1) +
           ">, %n<" + number(loops_ + 1) +
           ">, %me, %nt, %sp, %xp, %un, %depth; .reg .b64 %e<6>, %gp, %lp, %cp, %op; .reg .pred "
           "%q<4>; .reg .b16 %v<3>; .reg .f32 %tf<3>; .reg .f64 %tg<3>;\n"
           ".local .align 16 .b8 lo[48];\n";
  }

  std::string first_values() {
    std::string text =
        "mov.u32 %me, %tid.x; mov.u32 %nt, %ntid.x; mov.u64 %lp, lo; mov.u32 %t0, sh; mad.lo.u32 "
        "%sp, %me, 32, %t0;\n";
    auto set = [&](const std::string& type, const std::string& name, const std::string& v) {
      text += "mov." + type + " " + name + ", " + v + "; ";
    };
    for (int k = 0; k < count_of('d'); ++k) set("b64", "%d" + number(k), pick(kNumbers64));
    for (int k = 0; k < count_of('g'); ++k) set("f64", "%g" + number(k), pick(kDoubles));
    for (int k = 0; k < count_of('r'); ++k) set("b32", "%r" + number(k), constant('r'));
    for (int k = 0; k < count_of('f'); ++k) set("f32", "%f" + number(k), pick(kFloats));
    text += "\n";
    for (int k = 0; k < count_of('s'); ++k) set("b16", "%s" + number(k), pick(kNumbers16));
    for (int k = 0; k < count_of('h'); ++k) set("b16", "%h" + number(k), pick(kHalves));
    for (int k = 0; k < count_of('b'); ++k) set("b16", "%b" + number(k), pick(kBfloats));
    for (int k = 0; k < count_of('x'); ++k)
      set("b32", "%x" + number(k), "{%h1, %h" + number(k) + "}");
    for (int k = 0; k < count_of('y'); ++k)
      set("b32", "%y" + number(k), "{%b2, %b" + number(k) + "}");
    text += "\n";
    return text;
  }

  static std::string first_memory() {
    std::string text;
    for (int k = 0; k < 48; k += 16)
      text += "st.local.v4.b32 [lo+" + number(k) + "], {%r0, %r1, %r2, %r3}; ";
    return text + "\n";
  }

  void predicates_from(std::string& text) {
    for (int k = 0; k < count_of('p'); ++k)
      text += "and.b32 %t0, %r" + number(k) + ", " + number(1 << below(3)) + "; setp.ne.u32 %p" +
              number(k) + ", %t0, 0; ";
    text += "\n";
  }

  void module_head() {
    std::string& text = program_.head;
    text = ".version 8.6\n.target sm_90\n.address_size 64\n";
    if (function_count_ > 0) {
      for (int f = 0; f < function_count_; ++f) text += signature(f) + ";\n";
      text += ".global .align 8 .u64 tab[4] = {";
      for (int k = 0; k < 4; ++k) text += (k > 0 ? ", f" : "f") + number(k % function_count_);
      text += "};\n";
    }
    text += ".const .align 16 .b32 cst[16] = {";
    for (int k = 0; k < 16; ++k)
      text += (k > 0 ? ", " : "") + std::to_string(static_cast<uint32_t>(random_()));
    text += "};\n.shared .align 16 .b8 sh[" + std::to_string(32 * program_.threads) +
            "];\n.shared .align 4 .b8 ex[" + std::to_string(4 * program_.threads) +
            "];\n.shared .align 4 .b32 sc;\n";
  }

  static std::string signature(int f) {
    return ".func (.param .align 16 .b8 ret[16]) f" + number(f) +
           "(.param .b32 mask, .param .b32 level, .param .b32 a, .param .b64 b, .param .b64 gp)";
  }

  void device_function(int f) {
    start_function(f);
    std::string start = first_values();
    start +=
        "ld.param.b32 %m0, [mask]; ld.param.b32 %depth, [level]; ld.param.b32 %r0, [a]; "
        "ld.param.b64 %d0, [b]; ld.param.b64 %gp, [gp];\nadd.u32 %r1, %r0, %me; xor.b32 %r2, %r0, "
        "%r3; mov.b32 %f0, %r0;\n";
    predicates_from(start);
    start += first_memory();
    Place place;
    GeneratedFunction function;
    function.body = body(place, 3 + below(8));
    function.head = signature(f) + "\n{\n" + registers() + start;
    function.tail =
        "testp.notanumber.f32 %q0, %f1; selp.f32 %tf0, 0f7FFFFFFF, %f1, %q0;\nst.param.b32 [ret], "
        "%r1; st.param.f32 [ret+4], %tf0; st.param.b64 [ret+8], %d1; ret;\n}\n";
    program_.functions.push_back(std::move(function));
  }

  void start_function(int f) {
    current_ = f;
    masks_ = 1;
    loops_ = 0;
    labels_ = 0;
  }

  void kernel() {
    start_function(function_count_);
    std::string start = first_values();
    start +=
        "ld.param.u64 %op, [out]; ld.param.u64 %gp, [scratch]; ld.param.u64 %cp, [counters]; "
        "ld.param.u32 %un, [n];\n"
        "mov.u32 %t0, %ctaid.x; mad.lo.u32 %t0, %t0, %nt, %me;\n"
        "mad.wide.u32 %op, %t0, " +
        std::to_string(kOutputBytes) + ", %op; mad.wide.u32 %gp, %t0, " +
        std::to_string(kScratchBytes) +
        ", %gp;\n"
        "mov.u32 %t0, ex; mad.lo.u32 %xp, %me, 4, %t0; st.shared.b32 [%xp], 0;\n"
        "ld.global.v4.b32 {%r0, %r1, %r2, %r3}, [%gp]; ld.global.v2.b64 {%d0, %d1}, [%gp+16]; "
        "mov.u32 %r4, %me; mov.u32 %r5, %laneid; mov.b32 %f0, %r0; mov.b64 %g0, %d1; mov.b32 "
        "{%h0, "
        "%h1}, %r1;\n"
        "mov.b32 {%b0, _}, %r2;\n"
        "st.shared.v4.b32 [%sp], {%r0, %r1, %r2, %r3}; st.shared.v2.b64 [%sp+16], {%d0, %d1};\n"
        // The lanes of this warp: all, but for the last one.
        "and.b32 %t0, %me, -32; sub.u32 %t0, %nt, %t0; mov.u32 %t1, 1; shl.b32 %t1, %t1, %t0; "
        "sub.u32 %m0, %t1, 1;\n";
    predicates_from(start);
    start += first_memory();
    define_slots();
    Place place;
    place.uniform = place.top = true;
    GeneratedFunction function;
    function.body = body(place, 10 + below(40));
    function.head =
        ".visible .entry k(.param .u64 out, .param .u64 scratch, .param .u64 counters, .param .u32 "
        "n)\n{\n" +
        registers() + start + "bar.sync 0;\n";
    function.tail = store_outputs() + "ret;\n}\n";
    program_.functions.push_back(std::move(function));
  }

  void define_slots() {
    uint32_t offset = 0;
    for (const RegisterClass& c : kClasses) {
      for (int k = 0; k < c.count; ++k) {
        program_.slots.push_back({offset, c.meaning, std::string("%") + c.letter + number(k)});
        offset += static_cast<uint32_t>(c.meaning.total() / 8);
      }
    }
  }

  std::string store_outputs() {
    std::string text;
    for (const OutputSlot& slot : program_.slots) {
      std::string from = slot.name;
      std::string type = "b" + number(slot.type.total());
      if (slot.type.kind == 'p') {
        text += "selp.u32 %t0, 1, 0, " + slot.name + "; ";
        from = "%t0";
      } else if (slot.type.kind == 'f' && slot.type.lanes == 1 && slot.type.bits >= 32) {
        type[0] = 'f';
      }
      text += "st.global." + type + " [%op+" + std::to_string(slot.offset) + "], " + from + ";\n";
    }
    return text;
  }

  std::mt19937_64 random_;
  GeneratedProgram program_;
  int function_count_ = 0, current_ = 0;
  int masks_ = 1, loops_ = 0, labels_ = 0;
  bool exits_ = false;
};

void print(const std::vector<Node>& nodes, std::string& out) {
  for (const Node& node : nodes) {
    for (size_t k = 0; k < node.text.size(); ++k) {
      out += node.text[k];
      if (k < node.children.size()) print(node.children[k], out);
    }
  }
}

}  // namespace

std::string GeneratedProgram::text() const {
  std::string out = head;
  for (const GeneratedFunction& function : functions) {
    out += function.head;
    print(function.body, out);
    out += function.tail;
  }
  return out;
}

GeneratedProgram generate(uint64_t seed) { return Generator(seed).run(); }

}  // namespace farcall::softgpu::reference
