// For the tests of this folder: the images that nvcc made at build time.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "image/fatbin.h"
#include "image/kernel_params.h"

namespace farcall::image {

inline std::vector<std::byte> to_bytes(std::string_view text) {
  const Bytes view = std::as_bytes(std::span(text));
  return {view.begin(), view.end()};
}

inline std::vector<std::byte> read_image(const std::string& name) {
  std::ifstream file(FARCALL_TEST_IMAGES "/" + name, std::ios::binary);
  EXPECT_TRUE(file.good()) << name;
  return to_bytes(std::string(std::istreambuf_iterator<char>(file), {}));
}

inline Container parse_or_fail(Bytes bytes) {
  Result<Container> container = Container::parse(bytes);
  EXPECT_TRUE(container.ok());
  return container ? container.take() : Container();
}

// What was logged while `action` ran.
template <class Action>
std::string logged(Action action) {
  testing::internal::CaptureStderr();
  action();
  return testing::internal::GetCapturedStderr();
}

}  // namespace farcall::image
