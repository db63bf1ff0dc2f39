// Device images as nvcc makes them and programs hand them to a driver: a wrapper (24 bytes in
// .nvFatBinSegment, two pointers) leads to containers, a container holds entries (PTX text, cubin
// ELF, LTO IR; for several GPUs, perhaps compressed). Everything here is a view of somebody else's
// memory and is checked before it is used: a header that lies gives a Status and one logged
// sentence, never a read outside the image. Where no size is known - a bare pointer from the
// program - an image's own size field is believed, and all else checked against it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "base/status.h"

namespace farcall::image {

using Bytes = std::span<const std::byte>;

// No single image comes near these; they bound what a forged header can make us allocate or walk.
constexpr uint64_t kImageBytesMax = uint64_t{4} << 30;           // a container, an ELF, a PTX text
constexpr uint64_t kUncompressedBytesMax = uint64_t{512} << 20;  // one entry's payload
constexpr size_t kEntriesMax = size_t{1} << 16;                  // of a container
constexpr size_t kWrapperImagesMax = size_t{1} << 16;            // of a version 2 wrapper

enum class CodeKind : uint8_t { kWrapper, kContainer, kElf, kPtx };
std::string_view to_string(CodeKind kind);

// What the `const void* code` of cuModuleLoadData and cuLibraryLoadData turned out to be.
struct Code {
  CodeKind kind;
  // kWrapper: every container it leads to, the linked one first (with -rdc=true that one may hold
  // no entries, and the parts follow). Other kinds: exactly one image. PTX: the text without its
  // terminating NULs. Views of the caller's memory.
  std::vector<Bytes> images;
};
Result<Code> identify(const void* code);  // from the program; size unknown
Result<Code> identify(
    Bytes image);  // from the wire: never a wrapper, which would be made of pointers

enum EntryKind : uint16_t {
  kEntryPtx = 1,
  kEntryCubin = 2,
  kEntryLtoIr = 8
};  // others exist; they pass through

// For one exact GPU (sm_90a) or for a family (sm_100f: 10.0 and 10.3); most code is for a GPU and
// its successors.
enum class Feature : uint8_t { kPlain, kFamily, kArchitecture };

enum class Compression : uint8_t { kNone, kLz4, kZstd };

struct Entry {
  uint16_t kind = 0;                 // EntryKind, unless newer than this code
  int sm = 0;                        // 90 for sm_90 and compute_90
  int isa_major = 0, isa_minor = 0;  // of PTX
  Feature feature = Feature::kPlain;
  Compression compression = Compression::kNone;
  uint64_t flags = 0;               // as stored
  uint64_t uncompressed_bytes = 0;  // as claimed; stored.size() if not compressed
  Bytes whole;                      // header and padded payload
  Bytes stored;  // payload as stored; PTX and uncompressed cubins may end in padding
  std::string_view
      options;  // PTX: flags for the JIT ("-O1 -maxrregcount=32 "); cubin: undocumented bytes
  std::string_view name;  // of the source file, with -g only

  bool is_ptx() const { return kind == kEntryPtx; }
  bool is_cubin() const { return kind == kEntryCubin; }
};

// A checked view of one container.
class Container {
 public:
  static Result<Container> parse(Bytes bytes);  // `bytes` may go on after the container's end
  static Result<Container> at(const void* pointer);

  Bytes bytes() const { return bytes_; }  // exactly the container
  const std::vector<Entry>& entries() const& { return entries_; }
  std::vector<Entry> entries() && {
    return std::move(entries_);
  }  // for (... : Container::parse().take().entries())

 private:
  Bytes bytes_;
  std::vector<Entry> entries_;
};

// The entry's content: decompressed; PTX without its trailing NULs.
Result<std::vector<std::byte>> payload(const Entry& entry);
inline std::string_view as_text(Bytes bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

struct Target {
  int sm = 0;             // 10 * major + minor
  bool ptx_only = false;  // a software device, which cannot run cubins
};
// May code for `sm` with this feature set run on the target? Cubins: same major, minor not above.
// PTX: not above.
bool runs_on(const Entry& entry, const Target& target);
// The entry a driver would take: the closest cubin that runs, else the newest PTX that does, else
// (not ptx_only) LTO IR. nullptr means CUDA_ERROR_NO_BINARY_FOR_GPU. The pointer lives as long as
// the container object.
const Entry* choose(const Container& container, const Target& target);

// A container of only these entries, each byte for byte as it was, in the given order.
std::vector<std::byte> trim(std::span<const Entry* const> keep);

// LZ4 block format (not the frame format), the whole of `out` must be produced. False: corrupt.
bool lz4_decompress(Bytes in, std::span<std::byte> out);

}  // namespace farcall::image
