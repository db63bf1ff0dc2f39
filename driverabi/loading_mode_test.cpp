#include "driverabi/loading_mode.h"

#include <gtest/gtest.h>

namespace farcall::driverabi {
namespace {

TEST(LoadingMode, IsLazyUnlessTheEnvironmentSaysEager) {
  EXPECT_EQ(parse_loading_mode(nullptr), CU_MODULE_LAZY_LOADING);
  EXPECT_EQ(parse_loading_mode(""), CU_MODULE_LAZY_LOADING);
  EXPECT_EQ(parse_loading_mode("LAZY"), CU_MODULE_LAZY_LOADING);
  EXPECT_EQ(parse_loading_mode("DEFAULT"), CU_MODULE_LAZY_LOADING);
  EXPECT_EQ(parse_loading_mode("EAGER"), CU_MODULE_EAGER_LOADING);
}

TEST(LoadingMode, WarnsOfOtherValuesAndTakesThemAsLazy) {
  testing::internal::CaptureStderr();
  EXPECT_EQ(parse_loading_mode("eager"), CU_MODULE_LAZY_LOADING);
  EXPECT_NE(testing::internal::GetCapturedStderr().find("CUDA_MODULE_LOADING is 'eager'"),
            std::string::npos);
}

}  // namespace
}  // namespace farcall::driverabi
