#include "driverabi/error_names.h"

#include <gtest/gtest.h>

namespace farcall::driverabi {
namespace {

TEST(ErrorNames, NamesAndDescribesErrors) {
  EXPECT_STREQ(error_name(CUDA_SUCCESS), "CUDA_SUCCESS");
  EXPECT_STREQ(error_string(CUDA_SUCCESS), "no error");
  EXPECT_STREQ(error_name(CUDA_ERROR_INVALID_VALUE), "CUDA_ERROR_INVALID_VALUE");
  EXPECT_STREQ(error_string(CUDA_ERROR_INVALID_VALUE), "invalid argument");
  EXPECT_STREQ(error_name(CUDA_ERROR_NO_BINARY_FOR_GPU), "CUDA_ERROR_NO_BINARY_FOR_GPU");
  EXPECT_STREQ(error_string(CUDA_ERROR_ILLEGAL_ADDRESS),
               "an illegal memory access was encountered");
  EXPECT_STREQ(error_name(CUDA_ERROR_UNKNOWN), "CUDA_ERROR_UNKNOWN");
}

TEST(ErrorNames, DescribesWhatTheRuntimeDoesNotKnow) {
  EXPECT_STREQ(error_string(CUDA_ERROR_CONTEXT_ALREADY_CURRENT), "context already current");
}

TEST(ErrorNames, KnowsTheErrorsOfTheRuntime) {
  EXPECT_STREQ(runtime_error_name(0), "cudaSuccess");
  EXPECT_STREQ(runtime_error_name(9), "cudaErrorInvalidConfiguration");
  EXPECT_STREQ(runtime_error_string(9), "invalid configuration argument");
  EXPECT_STREQ(runtime_error_name(98), "cudaErrorInvalidDeviceFunction");
  EXPECT_EQ(runtime_error_name(12345), nullptr);
}

TEST(ErrorNames, RefusesUnknownErrors) {
  const char* text = "untouched";
  EXPECT_EQ(get_error_name(static_cast<CUresult>(12345), &text), CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(text, nullptr);
  text = "untouched";
  EXPECT_EQ(get_error_string(static_cast<CUresult>(-1), &text), CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(text, nullptr);
  EXPECT_EQ(get_error_name(CUDA_SUCCESS, nullptr), CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(get_error_name(CUDA_ERROR_NOT_FOUND, &text), CUDA_SUCCESS);
  EXPECT_STREQ(text, "CUDA_ERROR_NOT_FOUND");
}

}  // namespace
}  // namespace farcall::driverabi
