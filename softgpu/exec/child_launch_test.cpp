// Dynamic parallelism: kernels of testdata/children.cu, which launch kernels.
#include <gmock/gmock.h>

#include "softgpu/exec/test_device.h"

extern const char children_75[];

namespace farcall::softgpu {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class ChildLaunchTest : public testing::Test {
 protected:
  // A list as append() keeps it.
  std::vector<uint32_t> list(std::span<uint32_t> cells) {
    return {cells.begin() + 1, cells.begin() + 1 + cells[0]};
  }

  TestDevice device_;
  std::unique_ptr<Program> program_ = device_.load(children_75);
};

TEST_F(ChildLaunchTest, AGridHasEndedWhenItsDescendantsHave) {
  auto nodes = device_.upload<uint32_t>({0});
  device_.launch(*program_, "tree", {2}, {2}, Params(3, nodes.data()));
  EXPECT_EQ(nodes[0], 4u + 16 + 64 + 256);
}

TEST_F(ChildLaunchTest, ChildrenRunInOrderAndTailsWhenAllElseIsDone) {
  auto cells = device_.array<uint32_t>(20);
  device_.launch(*program_, "ordered", {1}, {1}, Params(cells.data()));
  EXPECT_THAT(list(cells), ElementsAre(1, 10, 21, 22, 23, 24, 25, 30, 40, 41));
}

TEST_F(ChildLaunchTest, StreamsAndEventsOfTheDevice) {
  auto cells = device_.array<uint32_t>(20);
  auto errors = device_.upload<int>({-1});
  device_.launch(*program_, "streams", {1}, {1}, Params(cells.data(), errors.data()));
  EXPECT_EQ(errors[0], 0);
  EXPECT_THAT(list(cells), ElementsAre(1, 2));
}

TEST_F(ChildLaunchTest, ParametersAreCopiedAndSharedMemoryIsThere) {
  auto out = device_.array<double>(128);
  device_.launch(*program_, "parameters", {1}, {64}, Params(out.data()));
  for (size_t i = 0; i < out.size(); ++i)
    ASSERT_EQ(out[i], 199.0 * 200 / 2 + 200 + static_cast<double>(i / 2) * 1000 * 200) << i;
}

TEST_F(ChildLaunchTest, WhatCannotBeLaunchedIsAnErrorInTheKernel) {
  auto errors = device_.array<int>(7);
  auto cells = device_.array<uint32_t>(20);
  device_.launch(*program_, "wrong", {1}, {1}, Params(errors.data(), cells.data()));
  EXPECT_THAT(errors, ElementsAre(9, 9, 0, 9, 400, 1, 1));
  EXPECT_EQ(cells[0], 0u);
}

TEST_F(ChildLaunchTest, AFaultOfAChildIsOneOfTheLaunch) {
  auto to = device_.upload<int>({0});
  const auto fault =
      device_.try_launch(*program_, "parent_of_a_bad_child", {1}, {1}, Params(to.data()));
  ASSERT_TRUE(fault);
  EXPECT_EQ(fault->kind, Fault::Kind::kIllegalAddress);
  EXPECT_THAT(fault->message, HasSubstr("kernel writes"));
  EXPECT_EQ(to[0], 0);  // what came later is not run
}

TEST_F(ChildLaunchTest, AChainWithoutEndHasATimeLimit) {
  auto count = device_.upload<uint32_t>({0});
  LoadError error{};
  auto* address = count.data();
  Launch launch;
  launch.kernel = program_->kernel("for_ever", &error);
  ASSERT_NE(launch.kernel, nullptr) << error.message;
  launch.params = std::as_bytes(std::span(&address, 1));
  launch.timeout = std::chrono::milliseconds(50);
  const auto fault = device_.engine->launch(launch);
  ASSERT_TRUE(fault);
  EXPECT_EQ(fault->kind, Fault::Kind::kTimeout);
  EXPECT_GT(count[0], 10u);
}

TEST_F(ChildLaunchTest, NothingIsLeftOfParameterBuffers) {
  auto nodes = device_.upload<uint32_t>({0});
  const size_t before = device_.memory.live();
  device_.launch(*program_, "tree", {1}, {32}, Params(1, nodes.data()));
  EXPECT_EQ(device_.memory.live(), before);
}

}  // namespace
}  // namespace farcall::softgpu
