#include "softgpu/driver/test_driver.h"

#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

namespace farcall::softgpu {

const char kTestPtx[] = R"(.version 7.0
.target sm_75
.address_size 64

.visible .global .align 4 .u32 cells[4];
.visible .global .align 4 .u32 fixed = 7;

.visible .entry add(.param .u64 cells_p, .param .u32 count_p, .param .u32 value_p)
{
  .reg .pred %p;
  .reg .b32 %i, %n, %v, %block, %size, %thread, %old;
  .reg .b64 %base, %offset, %address;
  ld.param.u64 %base, [cells_p];
  ld.param.u32 %n, [count_p];
  ld.param.u32 %v, [value_p];
  mov.u32 %block, %ctaid.x;
  mov.u32 %size, %ntid.x;
  mov.u32 %thread, %tid.x;
  mad.lo.s32 %i, %block, %size, %thread;
  setp.ge.u32 %p, %i, %n;
  @%p bra done;
  cvta.to.global.u64 %base, %base;
  mul.wide.u32 %offset, %i, 4;
  add.s64 %address, %base, %offset;
  ld.global.u32 %old, [%address];
  add.s32 %old, %old, %v;
  st.global.u32 [%address], %old;
done:
  ret;
}

.visible .entry store(.param .u64 cell_p, .param .u32 value_p)
{
  .reg .b32 %v;
  .reg .b64 %address;
  ld.param.u64 %address, [cell_p];
  ld.param.u32 %v, [value_p];
  cvta.to.global.u64 %address, %address;
  st.global.u32 [%address], %v;
  ret;
}

.visible .entry hold(.param .u64 started_p, .param .u64 go_p)
{
  .reg .pred %p;
  .reg .b32 %v;
  .reg .b64 %started, %go;
  ld.param.u64 %started, [started_p];
  ld.param.u64 %go, [go_p];
  mov.u32 %v, 1;
  st.volatile.u32 [%started], %v;
again:
  ld.volatile.u32 %v, [%go];
  setp.eq.u32 %p, %v, 0;
  @%p bra again;
  ret;
}

.visible .entry trap()
{
  trap;
  ret;
}

.visible .entry touch(.param .u64 address_p)
{
  .reg .b32 %v;
  .reg .b64 %address;
  ld.param.u64 %address, [address_p];
  ld.u32 %v, [%address];
  st.u32 [%address], %v;
  ret;
}

.visible .entry offsets(.param .u8 a_p, .param .u64 b_p, .param .u16 c_p, .param .u64 out_p)
{
  .reg .b16 %a, %c;
  .reg .b32 %v;
  .reg .b64 %b, %out;
  ld.param.u8 %a, [a_p];
  ld.param.u64 %b, [b_p];
  ld.param.u16 %c, [c_p];
  ld.param.u64 %out, [out_p];
  cvt.u32.u16 %v, %a;
  st.u32 [%out], %v;
  cvt.u32.u64 %v, %b;
  st.u32 [%out+4], %v;
  cvt.u32.u16 %v, %c;
  st.u32 [%out+8], %v;
  ret;
}

.visible .entry bounded() .maxntid 64, 1, 1
{
  ret;
}

.visible .entry shared_user()
{
  .shared .align 4 .b8 buffer[1024];
  .reg .b32 %v;
  mov.u32 %v, 1;
  st.shared.u32 [buffer], %v;
  ret;
}
)";

int run_again(const char* variable, const std::string& value) {
  const testing::TestInfo& test = *testing::UnitTest::GetInstance()->current_test_info();
  std::string filter = std::string("--gtest_filter=") + test.test_suite_name() + "." + test.name();
  std::string setting = std::string(variable) + "=" + value;
  std::vector<char*> environment;
  for (char** entry = environ; *entry != nullptr; ++entry) environment.push_back(*entry);
  environment.push_back(setting.data());
  environment.push_back(nullptr);
  char program[] = "/proc/self/exe";
  char* arguments[] = {program, filter.data(), nullptr};
  pid_t child = 0;
  if (posix_spawn(&child, program, nullptr, nullptr, arguments, environment.data()) != 0) return -1;
  int status = -1;
  waitpid(child, &status, 0);
  return status;
}

}  // namespace farcall::softgpu
