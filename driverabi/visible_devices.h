// CUDA_VISIBLE_DEVICES, which a driver reads when it starts: which of the machine's devices a
// program sees, and in which order. The rules are those of the CUDA programming guide.
#pragma once

#include <array>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace farcall::driverabi {

using DeviceUuid = std::array<unsigned char, 16>;

// "GPU-8932f937-d72c-4106-c12f-20bd9faed9f6"
std::string uuid_text(const DeviceUuid& uuid);

// Positions in `uuids`, in the program's order. `text`: indices ("2,0") or UUIDs ("GPU-8932f937",
// so much of it as tells it from others), separated by commas; nullptr: the variable is not set,
// all devices. The first entry that names no device ends the list; a device named twice leaves
// none.
std::vector<int> visible_devices(const char* text, std::span<const DeviceUuid> uuids);

// What a program sees that asks for `wanted` where it may see only what `within` names: an index
// counts within that list, a UUID must be written there the same way. The first entry that is not
// there ends the list.
std::string narrow_visible_devices(std::string_view within, std::string_view wanted);

}  // namespace farcall::driverabi
