// Faults and their messages, the checkers, and how kernels that do not end are ended.
#include <gmock/gmock.h>

#include <atomic>
#include <thread>

#include "softgpu/exec/device_heap.h"
#include "softgpu/exec/test_device.h"

namespace farcall::softgpu {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;
using testing::UnorderedElementsAre;
using Kind = Fault::Kind;

std::string module(const std::string& text) {
  return ".version 8.5\n.target sm_90\n.address_size 64\n" + text;
}

// A kernel of one array parameter: %rd is its address plus 4 * tid, %t tid, %s the address of 1 KiB
// of shared memory, %a that of the thread's own word there.
std::string kernel(const std::string& body, const std::string& before = "") {
  return module(before +
                ".shared .align 16 .b8 memory[1024];\n"
                ".visible .entry k(.param .u64 out) {\n"
                ".reg .b64 %rd, %rd<20>; .reg .b32 %t, %s, %a, %r<30>; .reg .pred %p<9>;\n"
                "ld.param.u64 %rd1, [out]; mov.u32 %t, %tid.x; mul.wide.u32 %rd0, %t, 4;\n"
                "add.u64 %rd, %rd1, %rd0; mov.u32 %s, memory; shl.b32 %a, %t, 2;\n"
                "add.u32 %a, %a, %s;\n" +
                body + "\nret;\n}\n");
}

struct Checked {
  explicit Checked(CheckTools tools) : device(2, tools) {
    device.memory.track_unwritten = tools.initialized;
  }
  std::optional<Fault> launch(const std::string& text, uint32_t threads = 32,
                              uint32_t dynamic_shared = 0, size_t words = 64) {
    auto program = device.load(text);
    auto out = device.array<uint32_t>(words);
    return device.try_launch(*program, "k", {1}, {threads}, Params(out.data()), dynamic_shared);
  }
  std::string titles() const {
    std::string all;
    for (const Finding& finding : device.findings) all += finding.title + "\n";
    return all;
  }
  TestDevice device;
};

constexpr CheckTools kMemcheck{true, false, false}, kRacecheck{false, true, false},
    kInitcheck{false, false, true};

// ---- where it happened ----

// What nvcc -lineinfo writes.
const char kWithLines[] = R"(.version 8.5
.target sm_90
.address_size 64
.func store(.param .b64 at)
{
  .reg .b64 %rd<2>;
  .loc 1 3 5
  ld.param.b64 %rd0, [at];
  .loc 2 8 1, function_name $L__info_string0, inlined_at 1 4 9
  st.u32 [%rd0], 7;
  ret;
}
.visible .entry k(.param .u64 out)
{
  .reg .b64 %rd<2>;
  .loc 1 20 3
  ld.param.u64 %rd0, [out];
  { .param .b64 arg; st.param.b64 [arg], %rd0;
  call store, (arg); }
  .loc 1 22 7
  trap;
}
  .file 1 "/src/deep/main.cu"
  .file 2 "/src/deep/inline.h", 1234, 99
  .section .debug_str
  {
$L__info_string0:
.b8 95,90,51,112,117,116,80,105,0
  }
)";

TEST(Faults, NameTheLineOfTheSource) {
  TestDevice device;
  auto program = device.load(kWithLines);
  auto out = device.array<uint32_t>(1);
  auto fault = device.try_launch(*program, "k", {1}, {1}, Params(out.data()));
  ASSERT_TRUE(fault);
  EXPECT_EQ(fault->message,
            "trap in kernel k, block (0,0,0), thread (0,0,0), PTX line 21, main.cu:22");
  fault = device.try_launch(*program, "k", {1}, {1}, Params(uint64_t{8}));
  ASSERT_TRUE(fault);
  EXPECT_THAT(fault->message,
              HasSubstr("PTX line 10, inline.h:8 (put(int*) inlined at main.cu:4): address 0x8 "
                        "(write of 4 bytes)"));
  EXPECT_EQ(fault->title, "invalid write of 4 bytes");
}

TEST(Faults, MalformedLinesOfTheSourceAreNoErrors) {
  TestDevice device;
  auto program =
      device.load(kernel(".loc\n.loc 1\n.loc 1 2\n.loc x y z\n"
                         ".loc 1 99999999999999 3\n.loc 1 2 3, inlined_at\n"
                         ".loc 1 2 3, function_name, inlined_at 1 2\ntrap;",
                         ".file\n.file 1\n.file x \"a\"\n.file 1 \"\n\"\n"));
  auto out = device.array<uint32_t>(1);
  const auto fault = device.try_launch(*program, "k", {1}, {1}, Params(out.data()));
  ASSERT_TRUE(fault);
  EXPECT_THAT(fault->message, HasSubstr("trap in kernel k"));
}

TEST(Faults, SayWhatKindOfAccessWentWrong) {
  struct Case {
    const char* body;
    Kind kind;
    const char* message;
  };
  const Case cases[] = {
      {"ld.global.u32 %r0, [0];", Kind::kIllegalAddress, "address 0x0 (read of 4 bytes)"},
      {"st.global.v2.u64 [0], {%rd, %rd};", Kind::kIllegalAddress, "(write of 16 bytes)"},
      {"ld.global.u16 %r0, [%rd1+1];", Kind::kMisaligned, "(read of 2 bytes)"},
      {"atom.global.add.u32 %r0, [%rd1+2], 1;", Kind::kMisaligned, "(atomic operation of 4 bytes)"},
      {"atom.global.add.u64 %rd2, [16], 1;", Kind::kIllegalAddress,
       "(atomic operation of 8 bytes)"},
      {"red.shared.add.u32 [%s+1], 1;", Kind::kMisaligned, "(atomic operation of 4 bytes)"},
      {"ld.volatile.global.u32 %r0, [0];", Kind::kIllegalAddress, "(read of 4 bytes)"},
      {"st.release.gpu.global.u32 [0], 1;", Kind::kIllegalAddress, "(write of 4 bytes)"},
      {"ld.shared.u32 %r0, [%s+4096];", Kind::kIllegalAddress,
       "3072 bytes past the end of shared variable 'memory' of 1024 bytes"},
      {".local .b32 mine[4]; mov.u64 %rd2, mine; st.local.u32 [%rd2+1000000], 1;",
       Kind::kIllegalAddress, "(write of 4 bytes)"},
      {"trap;", Kind::kTrap, "trap in kernel k"},
  };
  for (const Case& c : cases) {
    TestDevice device;
    auto program = device.load(kernel(c.body));
    auto out = device.array<uint32_t>(64);
    const auto fault = device.try_launch(*program, "k", {1}, {1}, Params(out.data()));
    ASSERT_TRUE(fault) << c.body;
    EXPECT_EQ(fault->kind, c.kind) << c.body << ": " << fault->message;
    EXPECT_THAT(fault->message, HasSubstr(c.message)) << c.body;
  }
}

// ---- memcheck ----

TEST(Memcheck, KnowsTheSizeOfAnAllocationToTheByte) {
  const std::string last = kernel("ld.global.u8 %r0, [%rd1+99];");
  const std::string beyond = kernel("st.global.u8 [%rd1+100], 1;");
  const std::string half = kernel("ld.global.u32 %r0, [%rd1+98];");
  const std::string across = kernel("ld.global.v4.u32 {%r0, %r1, %r2, %r3}, [%rd1+96];");
  Checked plain({}), checked(kMemcheck);
  EXPECT_FALSE(plain.launch(beyond, 1, 0, 25));
  EXPECT_FALSE(plain.launch(across, 1, 0, 25));
  EXPECT_FALSE(checked.launch(last, 1, 0, 25));
  EXPECT_THAT(checked.device.findings, IsEmpty());
  auto fault = checked.launch(beyond, 1, 0, 25);
  ASSERT_TRUE(fault);
  EXPECT_EQ(fault->kind, Kind::kIllegalAddress);
  EXPECT_EQ(fault->title, "invalid write of 1 byte");
  ASSERT_THAT(checked.device.findings, SizeIs(1));
  EXPECT_EQ(checked.device.findings[0].title, "invalid write of 1 byte");
  EXPECT_THAT(checked.device.findings[0].details[1],
              HasSubstr("by thread (0,0,0) in block (0,0,0) of kernel k"));
  EXPECT_TRUE(checked.launch(across, 1, 0, 25));
  fault = checked.launch(half, 1, 0, 25);
  ASSERT_TRUE(fault);
  EXPECT_EQ(fault->kind, Kind::kMisaligned);
}

TEST(Memcheck, TellsVariablesApart) {
  Checked checked(kMemcheck);
  const std::string shared = ".shared .b32 first[4]; .shared .b32 second[4]; mov.u32 %r0, first;";
  EXPECT_FALSE(checked.launch(kernel(shared + "st.shared.u32 [%r0+12], 1; "
                                              "st.shared.u32 [second], 1;")));
  auto fault = checked.launch(kernel(shared + "st.shared.u32 [second], 1; "
                                              "st.shared.u32 [%r0+16], 1;"));
  ASSERT_TRUE(fault);
  EXPECT_THAT(fault->message,
              HasSubstr("0 bytes past the end of shared variable 'first' of 16 bytes"));

  const std::string global = ".global .b32 a[4]; .global .b32 b[4];\n";
  EXPECT_FALSE(checked.launch(kernel("st.global.u32 [a+12], 1; st.global.u32 [b], 1;", global)));
  fault = checked.launch(kernel("st.global.u32 [a+16], 1; st.global.u32 [b], 1;", global));
  ASSERT_TRUE(fault);
  EXPECT_THAT(fault->message, HasSubstr("0 bytes past the end of device variable 'a' of 16 bytes"));

  const std::string local =
      ".local .b32 x[4]; .local .b32 y[4]; mov.u64 %rd2, x;"
      "mov.u64 %rd3, y; st.local.u32 [%rd3], 1; ";
  EXPECT_FALSE(checked.launch(kernel(local + "st.local.u32 [%rd2+12], 1;")));
  fault = checked.launch(kernel(local + "st.local.u32 [%rd2+16], 1;"));
  ASSERT_TRUE(fault);
  EXPECT_THAT(fault->message, HasSubstr("0 bytes past the end of local variable 'x' of 16 bytes"));
}

TEST(Memcheck, DynamicSharedMemoryEndsWhereTheLaunchSays) {
  const std::string before = ".extern .shared .align 16 .b8 dynamic[];\n";
  const auto store = [&](int at) {
    return kernel("mov.u32 %r0, dynamic; st.shared.u32 [%r0+" + std::to_string(at) + "], 1;",
                  before);
  };
  Checked plain({}), checked(kMemcheck);
  EXPECT_FALSE(plain.launch(store(40), 1, 40));  // hardware gives whole units
  EXPECT_FALSE(checked.launch(store(36), 1, 40));
  const auto fault = checked.launch(store(40), 1, 40);
  ASSERT_TRUE(fault);
  EXPECT_THAT(fault->message,
              HasSubstr("0 bytes past the end of 40 bytes of dynamic shared memory"));
}

TEST(Memcheck, FindsWhatOnlyHappensToBeThere) {
  Checked checked(kMemcheck);
  // Another thread's local memory, by an address handed on in shared memory.
  const std::string other =
      ".local .b32 mine; mov.u64 %rd2, mine; cvta.local.u64 %rd2, %rd2; shl.b32 %r0, %t, 3;"
      "add.u32 %r0, %r0, %s; st.shared.u64 [%r0], %rd2; bar.sync 0; ld.shared.u64 %rd3, [%s];"
      "st.u32 [%rd3], 1;";
  auto fault = checked.launch(kernel(other), 2);
  ASSERT_TRUE(fault);
  EXPECT_THAT(fault->message, HasSubstr("local memory of another thread, (0,0,0)"));
  // Constants and parameters.
  fault = checked.launch(kernel("mov.u64 %rd2, table; cvta.const.u64 %rd2, %rd2; st.u32 [%rd2], 1;",
                                ".const .b32 table[4];\n"));
  ASSERT_TRUE(fault);
  EXPECT_THAT(fault->message, AllOf(HasSubstr("byte 0 of constant variable 'table' of 16 bytes"),
                                    HasSubstr("constant memory is read only")));
  fault = checked.launch(kernel("mov.u64 %rd2, out; cvta.param.u64 %rd2, %rd2; st.u32 [%rd2], 1;"));
  ASSERT_TRUE(fault);
  EXPECT_THAT(fault->message, HasSubstr("parameters are read only"));
}

const char kMalloc[] =
    ".extern .func (.param .b64 r) malloc(.param .b64 n);\n"
    ".extern .func free(.param .b64 p);\n";
const char kCallMalloc[] =
    "{ .param .b64 n; st.param.b64 [n], 20; .param .b64 r; call (r), malloc, (n);"
    "ld.param.b64 %rd5, [r]; }";

TEST(Memcheck, KnowsTheBlocksOfMalloc) {
  Checked checked(kMemcheck);
  EXPECT_FALSE(checked.launch(
      kernel(std::string(kCallMalloc) + "st.u32 [%rd5+16], 1; ld.u32 %r0, [%rd5];", kMalloc)));
  auto fault =
      checked.launch(kernel(std::string(kCallMalloc) + "st.u32 [%rd5+20], 1;", kMalloc), 1);
  ASSERT_TRUE(fault);
  EXPECT_THAT(fault->message,
              HasSubstr("0 bytes past the end of 20 bytes that malloc() of a kernel gave"));
  fault = checked.launch(
      kernel(std::string(kCallMalloc) + "{ .param .b64 p; st.param.b64 [p], %rd5; call free, (p); }"
                                        "ld.u32 %r0, [%rd5];",
             kMalloc),
      1);
  ASSERT_TRUE(fault);
  EXPECT_THAT(fault->message, HasSubstr("in no block that is in use"));
}

// ---- racecheck ----

std::vector<std::string> races(const std::string& body, uint32_t threads = 64) {
  Checked checked(kRacecheck);
  const auto fault = checked.launch(kernel(body), threads);
  EXPECT_FALSE(fault) << fault->message;
  std::vector<std::string> titles;
  for (const Finding& finding : checked.device.findings) titles.push_back(finding.title);
  return titles;
}

const char kReadAfterWrite[] = "race in shared memory, read after write";
const char kWriteAfterRead[] = "race in shared memory, write after read";
const char kWriteAfterWrite[] = "race in shared memory, write after write";

TEST(Racecheck, ANeighboursWordNeedsABarrier) {
  const std::string store = "st.shared.u32 [%a], %t;", load =
                                                           "xor.b32 %r0, %a, 128;"
                                                           "ld.shared.u32 %r1, [%r0];";
  EXPECT_THAT(races(store + load), UnorderedElementsAre(kReadAfterWrite, kWriteAfterRead));
  EXPECT_THAT(races(store + "bar.sync 0;" + load), IsEmpty());
  EXPECT_THAT(races(load + store), UnorderedElementsAre(kWriteAfterRead, kReadAfterWrite));
  EXPECT_THAT(races(load + "bar.sync 0;" + store), IsEmpty());
  // Its own word a thread may use as it likes.
  EXPECT_THAT(races(store + "ld.shared.u32 %r1, [%a];" + store), IsEmpty());
}

TEST(Racecheck, SaysWhoAndWhere) {
  Checked checked(kRacecheck);
  checked.launch(kernel("setp.eq.u32 %p0, %t, 0;\n@%p0 st.shared.u32 [%s+8], %t;\n"
                        "ld.shared.u32 %r0, [%s+8];"),
                 33);
  ASSERT_THAT(checked.device.findings, SizeIs(1));
  EXPECT_THAT(checked.device.findings[0].details,
              ElementsAre(HasSubstr("read of 4 bytes by thread (1,0,0) in k, PTX line 12"),
                          HasSubstr("write of 4 bytes before by thread (0,0,0) in k, PTX line 11"),
                          HasSubstr("in block (0,0,0) of kernel k"),
                          HasSubstr("byte 8 of shared variable 'memory' of 1024 bytes")));
}

TEST(Racecheck, WritesOfTheSameValueAreNone) {
  EXPECT_THAT(races("st.shared.u32 [%s], 1;"), IsEmpty());
  EXPECT_THAT(races("st.shared.u32 [%s], %t;"), ElementsAre(kWriteAfterWrite));
  EXPECT_THAT(races("st.shared.u32 [%s], %t;", 32), ElementsAre(kWriteAfterWrite));
  EXPECT_THAT(races("mov.u64 %rd2, 5; st.shared.v2.u64 [%s], {%rd2, %rd2};"), IsEmpty());
  EXPECT_THAT(races("st.shared.v2.u64 [%s], {%rd1, %rd};"), ElementsAre(kWriteAfterWrite));
}

TEST(Racecheck, NeighboursInAWordAreNone) {
  EXPECT_THAT(races("add.u32 %r0, %s, %t; st.shared.u8 [%r0], %t;"), IsEmpty());
}

TEST(Racecheck, AWarpNeedsToMeetToo) {
  const std::string store = "st.shared.u32 [%a], %t;", load =
                                                           "xor.b32 %r0, %a, 4;"
                                                           "ld.shared.u32 %r1, [%r0];";
  EXPECT_THAT(races(store + load, 32), ElementsAre(kReadAfterWrite));
  EXPECT_THAT(races(store + "bar.warp.sync -1;" + load, 32), IsEmpty());
  EXPECT_THAT(races(store + "bar.warp.sync -1;" + load, 64), IsEmpty());
  // Pairs meet, and quads do not.
  EXPECT_THAT(
      races(store + "and.b32 %r2, %t, 30; shl.b32 %r2, 3, %r2; bar.warp.sync %r2;" + load, 32),
      IsEmpty());
  EXPECT_THAT(races(store + "and.b32 %r2, %t, 30; shl.b32 %r2, 3, %r2; bar.warp.sync %r2;"
                            "xor.b32 %r0, %a, 8; ld.shared.u32 %r1, [%r0];",
                    32),
              ElementsAre(kReadAfterWrite));
  // Meeting in a warp is nothing to another one.
  EXPECT_THAT(races(store + "bar.warp.sync -1; xor.b32 %r0, %a, 128; ld.shared.u32 %r1, [%r0];"),
              UnorderedElementsAre(kReadAfterWrite, kWriteAfterRead));
}

TEST(Racecheck, ABarrierOfSomeOrdersThose) {
  // Of three warps the first two meet.
  const std::string store =
      "st.shared.u32 [%a], %t; setp.ge.u32 %p0, %t, 64; @%p0 bra END;"
      "bar.sync 1, 64;";
  EXPECT_THAT(races(store + "xor.b32 %r0, %a, 128; ld.shared.u32 %r1, [%r0]; END:", 96), IsEmpty());
  EXPECT_THAT(races(store + "setp.eq.u32 %p1, %t, 0; @%p1 ld.shared.u32 %r1, [%s+256]; END:", 96),
              SizeIs(1));
  // A producer arrives, and a consumer waits.
  EXPECT_THAT(races("setp.lt.u32 %p0, %t, 32; @%p0 bra P; bar.sync 1, 64;"
                    "xor.b32 %r0, %a, 128; ld.shared.u32 %r1, [%r0]; bra END;"
                    "P: st.shared.u32 [%a], %t; bar.arrive 1, 64; END:"),
              IsEmpty());
  EXPECT_THAT(races("setp.lt.u32 %p0, %t, 32; @%p0 bra P; bar.sync 1, 64;"
                    "xor.b32 %r0, %a, 128; ld.shared.u32 %r1, [%r0]; bra END;"
                    "P: bar.arrive 1, 64; st.shared.u32 [%a], %t; END:"),
              SizeIs(1));
}

TEST(Racecheck, AtomicsAreNoneAndOrder) {
  EXPECT_THAT(races("atom.shared.add.u32 %r0, [%s], 1;"), IsEmpty());
  EXPECT_THAT(races("atom.shared.add.u32 %r0, [%s], 1; ld.shared.u32 %r1, [%s];"),
              testing::Contains(kReadAfterWrite));
  // A lock.
  EXPECT_THAT(races("setp.eq.u32 %p0, %t, 0; @%p0 st.shared.u64 [%s], 0; bar.sync 0;"
                    "TRY: atom.shared.cas.b32 %r0, [%s], 0, 1; setp.ne.u32 %p1, %r0, 0;"
                    "@%p1 bra TRY;"
                    "ld.shared.u32 %r1, [%s+4]; add.u32 %r1, %r1, %t; st.shared.u32 [%s+4], %r1;"
                    "atom.shared.exch.b32 %r0, [%s], 0;"),
              IsEmpty());
  // A flag that is released and acquired.
  EXPECT_THAT(
      races("setp.eq.u32 %p0, %t, 0; @%p0 st.shared.u64 [%s], 0; bar.sync 0;"
            "setp.lt.u32 %p1, %t, 32; @%p1 bra P;"
            "WAIT: ld.acquire.cta.shared.u32 %r0, [%s]; setp.eq.u32 %p2, %r0, 0;"
            "@%p2 bra WAIT; ld.shared.u32 %r1, [%s+4]; bra END;"
            "P: @%p0 st.shared.u32 [%s+4], 9; @%p0 st.release.cta.shared.u32 [%s], 1; END:"),
      IsEmpty());
}

TEST(Racecheck, EveryBlockIsItsOwn) {
  Checked checked(kRacecheck);
  auto program = checked.device.load(kernel("st.shared.u32 [%a], %t; ld.shared.u32 %r0, [%a];"));
  auto out = checked.device.array<uint32_t>(64);
  checked.device.launch(*program, "k", {50}, {64}, Params(out.data()));
  EXPECT_EQ(checked.titles(), "");
}

// ---- initcheck ----

TEST(Initcheck, FindsReadsOfWhatNobodyWrote) {
  const auto titles = [](const std::string& body) {
    Checked checked(kInitcheck);
    EXPECT_FALSE(checked.launch(kernel(body), 1));
    return checked.titles();
  };
  EXPECT_EQ(titles("ld.global.u32 %r0, [%rd1];"), "uninitialised read of 4 bytes\n");
  EXPECT_EQ(titles("st.global.u32 [%rd1], 1; ld.global.u32 %r0, [%rd1];"), "");
  EXPECT_EQ(titles("st.global.u32 [%rd1], 1; ld.global.u64 %rd2, [%rd1];"),
            "uninitialised read of 8 bytes\n");
  EXPECT_EQ(titles("st.global.u8 [%rd1+1], 1; ld.global.u8 %r0, [%rd1+1];"), "");
  EXPECT_EQ(titles("st.global.u8 [%rd1+1], 1; ld.global.u8 %r0, [%rd1+2];"),
            "uninitialised read of 1 byte\n");
  EXPECT_EQ(titles("atom.global.add.u32 %r0, [%rd1], 1; ld.global.u32 %r0, [%rd1];"),
            "uninitialised atomic operation of 4 bytes\n");
  EXPECT_EQ(titles("ld.shared.u32 %r0, [%s];"), "uninitialised read of 4 bytes\n");
  EXPECT_EQ(titles("st.shared.u32 [%s], 1; ld.shared.u32 %r0, [%s]; ld.shared.u8 %r0, [%s+3];"),
            "");
  EXPECT_EQ(titles("st.shared.u32 [%s], 1; ld.shared.u8 %r0, [%s+4];"),
            "uninitialised read of 1 byte\n");
}

TEST(Initcheck, SharedMemoryIsNewForEveryBlock) {
  Checked checked(kInitcheck);
  auto program = checked.device.load(
      kernel("mov.u32 %r0, %ctaid.x; setp.eq.u32 %p0, %r0, 0; @%p0 st.shared.u32 [%s], 1;"
             "setp.eq.u32 %p0, %r0, 1; @%p0 ld.shared.u32 %r1, [%s];"));
  auto out = checked.device.array<uint32_t>(64);
  checked.device.launch(*program, "k", {2}, {1}, Params(out.data()));
  EXPECT_EQ(checked.titles(), "uninitialised read of 4 bytes\n");
}

TEST(Initcheck, MemoryOfMallocIsUnwritten) {
  Checked checked(kInitcheck);
  EXPECT_FALSE(
      checked.launch(kernel(std::string(kCallMalloc) + "st.u32 [%rd5], 1; ld.u32 %r0, [%rd5];"
                                                       "ld.u32 %r0, [%rd5+4];",
                            kMalloc),
                     1));
  EXPECT_EQ(checked.titles(), "uninitialised read of 4 bytes\n");
}

TEST(UnwrittenBytes, CopiesCarryWhatIsKnown) {
  UnwrittenBytes bytes;
  ASSERT_TRUE(bytes.add_window(1 << 20, 1 << 16));
  const u64 a = (1 << 20) + 3, b = (1 << 20) + 4099, host = 77;
  bytes.set_unwritten(a, 100);
  EXPECT_FALSE(bytes.any_unwritten(a - 3, 3));
  EXPECT_TRUE(bytes.any_unwritten(a + 99, 1));
  EXPECT_FALSE(bytes.any_unwritten(a + 100, 900));
  bytes.set_written(a + 10, 17);
  for (u64 i = 0; i < 100; ++i) EXPECT_EQ(bytes.any_unwritten(a + i, 1), i < 10 || i >= 27) << i;
  bytes.copy(b, a, 100);
  for (u64 i = 0; i < 100; ++i) EXPECT_EQ(bytes.any_unwritten(b + i, 1), i < 10 || i >= 27) << i;
  bytes.copy(b, host, 50);
  EXPECT_FALSE(bytes.any_unwritten(b, 50));
  EXPECT_TRUE(bytes.any_unwritten(b, 51));
  bytes.copy(host, a, 100);
  EXPECT_FALSE(bytes.any_unwritten(host, 100));
}

// ---- ending what does not end ----

struct Ended {
  std::optional<Fault> fault;
  double seconds;
};
Ended run_until(TestDevice& device, const std::string& text, Launch how, uint32_t threads = 64,
                uint32_t blocks = 3) {
  auto program = device.load(text);
  LoadError error{};
  how.kernel = program->kernel("k", &error);
  EXPECT_NE(how.kernel, nullptr) << error.message;
  auto out = device.array<uint32_t>(1024);
  const Params params(out.data());
  how.params = params.span();
  how.grid = {blocks};
  how.block = {threads};
  const auto start = std::chrono::steady_clock::now();
  Ended ended{device.engine->launch(how), 0};
  ended.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return ended;
}

const char* const kEndless[] = {
    "L: bra L;",
    "L: ld.volatile.global.u32 %r0, [%rd]; setp.eq.u32 %p0, %r0, %r0; @%p0 bra L;",
    "L: nanosleep.u32 100; bra L;",
    "L: bar.sync 0; bra L;",
    "setp.lt.u32 %p0, %t, 7; @%p0 bra L; bar.sync 0; L: atom.global.add.u32 %r0, [%rd1], 1; bra L;",
};

TEST(Ending, AKernelThatRunsTooLongIsAFault) {
  for (const char* body : kEndless) {
    TestDevice device;
    Launch how{};
    how.timeout = std::chrono::milliseconds(50);
    const Ended ended = run_until(device, kernel(body), how);
    ASSERT_TRUE(ended.fault) << body;
    EXPECT_EQ(ended.fault->kind, Kind::kTimeout) << body;
    EXPECT_THAT(ended.fault->message,
                AllOf(HasSubstr("timeout in kernel k, block ("), HasSubstr("PTX line 1"),
                      HasSubstr("it has run for 0.05 s")));
    EXPECT_LT(ended.seconds, 10) << body;
    // The device goes on.
    EXPECT_FALSE(run_until(device, kernel("st.global.u32 [%rd], %t;"), Launch{}).fault);
  }
}

TEST(Ending, AnybodyCanStopAKernel) {
  for (const char* body : kEndless) {
    TestDevice device;
    std::atomic<bool> stop = false;
    Launch how{};
    how.stop = &stop;
    std::thread later([&stop] {
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
      stop = true;
    });
    const Ended ended = run_until(device, kernel(body), how);
    later.join();
    ASSERT_TRUE(ended.fault) << body;
    EXPECT_EQ(ended.fault->kind, Kind::kStopped) << body;
    EXPECT_LT(ended.seconds, 10) << body;
  }
}

TEST(Ending, ADeadlockTellsWhoWaitsWhere) {
  TestDevice device;
  const Ended ended = run_until(
      device,
      kernel("setp.lt.u32 %p0, %t, 32; @%p0 bra A;\nbar.sync 1, 96; bra B;\nA: bar.sync 2, "
             "64;\nB: ret;"),
      Launch{}, 64, 1);
  ASSERT_TRUE(ended.fault);
  EXPECT_EQ(ended.fault->kind, Kind::kDeadlock);
  EXPECT_THAT(ended.fault->message,
              HasSubstr("32 threads (0,0,0) to (31,0,0) at PTX line 12 for barrier 2, where 32 of "
                        "64 have arrived; 32 threads (32,0,0) to (63,0,0) at PTX line 11 for "
                        "barrier 1, where 32 of 96 have arrived"));
}

TEST(Limits, OfTheHeapOfMalloc) {
  TestDevice device;
  DeviceHeap heap(device.memory, 64);
  auto program = device.load(kernel(std::string(kCallMalloc) + "mul.wide.u32 %rd6, %t, 8;"
                                                               "add.u64 %rd6, %rd6, %rd1;"
                                                               "st.global.u64 [%rd6], %rd5;",
                                    kMalloc));
  LoadError error{};
  auto out = device.array<uint64_t>(8);
  const Params params(out.data());
  Launch launch{};
  launch.kernel = program->kernel("k", &error);
  launch.block = {8};
  launch.params = params.span();
  launch.heap = &heap;
  EXPECT_FALSE(device.engine->launch(launch));
  int given = 0;
  for (const uint64_t address : out) given += address != 0 ? 1 : 0;
  EXPECT_EQ(given, 2);  // of 32 bytes each
}

TEST(Limits, OfTheStackSayHowDeepRecursionGoes) {
  // down(n) calls down(n - 1).
  const std::string text = module(
      ".visible .func down(.param .b32 n) {\n"
      ".reg .b32 %r<2>; .reg .pred %p;\n"
      "ld.param.b32 %r0, [n]; setp.eq.u32 %p, %r0, 0; @%p ret; sub.u32 %r1, %r0, 1;\n"
      "{ .param .b32 a; st.param.b32 [a], %r1; call down, (a); } ret; }\n"
      ".visible .entry k(.param .u64 out) { .reg .b64 %rd; .reg .b32 %r;\n"
      "ld.param.u64 %rd, [out]; ld.global.u32 %r, [%rd];\n"
      "{ .param .b32 a; st.param.b32 [a], %r; call down, (a); } ret; }\n");
  TestDevice device;
  auto program = device.load(text);
  LoadError error{};
  const auto run = [&](uint32_t depth, uint64_t stack_bytes) {
    auto in = device.upload<uint32_t>({depth});
    const Params params(in.data());
    Launch launch{};
    launch.kernel = program->kernel("k", &error);
    launch.params = params.span();
    launch.stack_bytes = stack_bytes;
    return device.engine->launch(launch);
  };
  EXPECT_FALSE(run(100, 1024));
  EXPECT_TRUE(run(100, 64));
  EXPECT_TRUE(run(5000, 1024));
  EXPECT_FALSE(run(5000, 16384));
  const auto fault = run(~0u, 16384);
  ASSERT_TRUE(fault);
  EXPECT_EQ(fault->kind, Kind::kStackOverflow);
}

}  // namespace
}  // namespace farcall::softgpu
