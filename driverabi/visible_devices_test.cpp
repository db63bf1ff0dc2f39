#include "driverabi/visible_devices.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace farcall::driverabi {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

const std::vector<DeviceUuid> kUuids = {{0x89, 0x32}, {0x89, 0x33}, {0xab}};

std::vector<int> visible(const char* text) { return visible_devices(text, kUuids); }

TEST(VisibleDevices, AllWithoutTheVariableAndNoneWhenItIsEmpty) {
  EXPECT_THAT(visible(nullptr), ElementsAre(0, 1, 2));
  EXPECT_THAT(visible(""), IsEmpty());
}

TEST(VisibleDevices, IndicesChooseAndOrder) {
  EXPECT_THAT(visible("2,0"), ElementsAre(2, 0));
  EXPECT_THAT(visible(" 1 , 2 "), ElementsAre(1, 2));
}

TEST(VisibleDevices, TheFirstWrongEntryEndsTheList) {
  EXPECT_THAT(visible("0,2,-1,1"), ElementsAre(0, 2));
  EXPECT_THAT(visible("1,3,0"), ElementsAre(1));
  EXPECT_THAT(visible("1,,0"), ElementsAre(1));
  EXPECT_THAT(visible("none"), IsEmpty());
  EXPECT_THAT(visible("1x,0"), IsEmpty());
  EXPECT_THAT(visible("99999999999999999999"), IsEmpty());
}

TEST(VisibleDevices, UuidsNeedOnlyBeTellable) {
  EXPECT_THAT(visible("GPU-ab,GPU-8933"), ElementsAre(2, 1));
  EXPECT_THAT(visible("gpu-AB000000-0000-0000-0000-000000000000"), ElementsAre(2));
  EXPECT_THAT(visible("GPU-89"), IsEmpty());  // two of them
  EXPECT_THAT(visible("GPU-cd,0"), IsEmpty());
  EXPECT_THAT(visible("MIG-ab"), IsEmpty());
}

TEST(VisibleDevices, ADeviceNamedTwiceLeavesNone) {
  EXPECT_THAT(visible("0,1,0"), IsEmpty());
  EXPECT_THAT(visible("0,GPU-8932"), IsEmpty());
}

TEST(VisibleDevices, AListWithinAListCountsThere) {
  EXPECT_EQ(narrow_visible_devices("3,5", "1"), "5");
  EXPECT_EQ(narrow_visible_devices("3,5", "1,0"), "5,3");
  EXPECT_EQ(narrow_visible_devices("3,5", "2"), "");
  EXPECT_EQ(narrow_visible_devices("3,5", "0,7,1"), "3");
  EXPECT_EQ(narrow_visible_devices("GPU-ab,GPU-cd", "GPU-CD"), "GPU-cd");
  EXPECT_EQ(narrow_visible_devices("GPU-ab", "GPU-cd"), "");
  EXPECT_EQ(narrow_visible_devices("GPU-ab", "GPU-a"), "");  // who knows which that is
  EXPECT_EQ(narrow_visible_devices("", "0"), "");
}

}  // namespace
}  // namespace farcall::driverabi
