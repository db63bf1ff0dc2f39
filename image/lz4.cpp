// LZ4's block format: sequences of {token, literals, distance, match}; the last one ends after its
// literals. CUDA 12's nvcc, and 13's with --compress-mode=speed, store payloads this way.
#include <cstring>

#include "image/fatbin.h"

namespace farcall::image {
namespace {

// A length of 15 in the token goes on in bytes of 255 until a smaller one. False: the input ends
// inside.
bool extend_length(size_t& length, const uint8_t*& in, const uint8_t* in_end) {
  if (length != 15) return true;
  uint8_t more = 255;
  while (more == 255) {
    if (in == in_end) return false;
    more = *in++;
    length += more;
  }
  return true;
}

}  // namespace

bool lz4_decompress(Bytes input, std::span<std::byte> output) {
  constexpr size_t kMatchBytesMin = 4;
  auto* in = reinterpret_cast<const uint8_t*>(input.data());
  const uint8_t* const in_end = in + input.size();
  auto* out = reinterpret_cast<uint8_t*>(output.data());
  uint8_t* const out_begin = out;
  uint8_t* const out_end = out + output.size();

  while (in != in_end) {
    const unsigned token = *in++;
    size_t literals = token >> 4;
    if (!extend_length(literals, in, in_end)) return false;
    if (literals > static_cast<size_t>(in_end - in)) return false;
    if (literals > static_cast<size_t>(out_end - out)) return false;
    if (literals != 0) std::memcpy(out, in, literals);
    out += literals;
    in += literals;
    if (in == in_end) break;

    if (in_end - in < 2) return false;
    const size_t distance = in[0] | in[1] << 8;
    in += 2;
    size_t match = token & 15;
    if (!extend_length(match, in, in_end)) return false;
    match += kMatchBytesMin;
    if (distance == 0 || distance > static_cast<size_t>(out - out_begin)) return false;
    if (match > static_cast<size_t>(out_end - out)) return false;
    // Byte by byte: a match may overlap what it produces, which is how runs are encoded.
    for (const uint8_t* from = out - distance; match > 0; --match) *out++ = *from++;
  }
  return out == out_end;
}

}  // namespace farcall::image
