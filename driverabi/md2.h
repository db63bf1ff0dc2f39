// MD2 (RFC 1319) and HMAC (RFC 2104) over it. Broken as cryptography for decades and used for none
// here: NVIDIA's runtime asks a driver to answer with it (private_tables.cpp).
#pragma once

#include <array>
#include <cstddef>
#include <span>

namespace farcall::driverabi {

using Md2Digest = std::array<std::byte, 16>;

Md2Digest md2(std::span<const std::byte> message);
Md2Digest hmac_md2(std::span<const std::byte, 16> key, std::span<const std::byte> message);

}  // namespace farcall::driverabi
