// Containers and their entries. The layout is documented by what nvcc writes (image/README.md); a
// container is
//   u32 0xba55ed50, u16 version, u16 header bytes, u64 bytes that follow
// and each entry a 64-byte header with optional strings behind it, then the payload padded to 8
// bytes.
#include "image/fatbin.h"

#include <zstd.h>

#include <algorithm>
#include <memory>

#include "image/report.h"

namespace farcall::image {
namespace {

constexpr uint32_t kContainerMagic = 0xba55ed50;
constexpr uint16_t kContainerVersion = 1;
constexpr size_t kContainerHeaderBytes = 16;
constexpr size_t kEntryHeaderBytes = 64;
constexpr uint64_t kLz4RatioMax = 255;  // the longest run costs a byte for each 255 it makes
constexpr uint64_t kFlagLz4 = 0x2000, kFlagZstd = 0x8000;
constexpr uint64_t kFlagArchitecture = 0x100000, kFlagFamily = 0x200000;  // sm_90a, sm_100f

struct EntryHeader {
  uint16_t kind, version;
  uint32_t header_bytes;
  uint64_t padded_bytes;
  uint32_t compressed_bytes;  // 0 if not compressed
  uint32_t options_offset;    // of {u32 offset, u32 length} of a string
  uint16_t minor, major;
  uint32_t sm;
  uint32_t name_offset, name_bytes;
  uint64_t flags;
  uint64_t reserved;
  uint64_t uncompressed_bytes;
};
static_assert(sizeof(EntryHeader) == kEntryHeaderBytes);

// The size a container's header claims, header included.
Result<uint64_t> claimed_bytes(Bytes header) {
  if (header.size() < kContainerHeaderBytes) {
    return corrupt("fat binary: {} bytes are too few for a header", header.size());
  }
  const auto magic = load<uint32_t>(header, 0);
  const auto version = load<uint16_t>(header, 4);
  const auto header_bytes = load<uint16_t>(header, 6);
  const auto content_bytes = load<uint64_t>(header, 8);
  if (magic != kContainerMagic) return corrupt("fat binary: magic is {:#x}", magic);
  if (version != kContainerVersion) return corrupt("fat binary: unknown version {}", version);
  if (header_bytes < kContainerHeaderBytes) {
    return corrupt("fat binary: header claims {} bytes, its least is {}", header_bytes,
                   kContainerHeaderBytes);
  }
  if (content_bytes > kImageBytesMax - header_bytes) {
    return corrupt("fat binary: header claims {} bytes, the limit is {}", content_bytes,
                   kImageBytesMax);
  }
  return header_bytes + content_bytes;
}

std::string_view text(Bytes bytes, uint64_t offset, uint64_t size) {
  return as_text(bytes.subspan(offset, size));
}

// Reads the entry that starts at `offset`; kInvalid if it does not fit.
Result<Entry> read_entry_at(Bytes container, uint64_t offset) {
  const Bytes rest = container.subspan(offset);
  if (rest.size() < kEntryHeaderBytes) {
    return corrupt("fat binary: {} bytes at offset {} are too few for an entry", rest.size(),
                   offset);
  }
  const auto header = load<EntryHeader>(rest, 0);
  if (header.header_bytes < kEntryHeaderBytes ||
      !fits(header.header_bytes, header.padded_bytes, rest.size())) {
    return corrupt("fat binary: entry at offset {} claims {} + {} bytes, {} are left", offset,
                   header.header_bytes, header.padded_bytes, rest.size());
  }
  Entry entry;
  entry.kind = header.kind;
  entry.sm = static_cast<int>(header.sm);
  entry.isa_major = header.major;
  entry.isa_minor = header.minor;
  entry.flags = header.flags;
  if (header.flags & kFlagArchitecture)
    entry.feature = Feature::kArchitecture;
  else if (header.flags & kFlagFamily)
    entry.feature = Feature::kFamily;
  if (header.flags & kFlagZstd)
    entry.compression = Compression::kZstd;
  else if (header.flags & kFlagLz4)
    entry.compression = Compression::kLz4;
  entry.whole = rest.first(header.header_bytes + header.padded_bytes);
  entry.stored = entry.whole.subspan(header.header_bytes);
  entry.uncompressed_bytes = entry.stored.size();
  if (entry.compression != Compression::kNone) {
    if (header.compressed_bytes == 0 || header.compressed_bytes > header.padded_bytes) {
      return corrupt("fat binary: entry at offset {} claims {} compressed bytes in {}", offset,
                     header.compressed_bytes, header.padded_bytes);
    }
    entry.stored = entry.stored.first(header.compressed_bytes);
    entry.uncompressed_bytes = header.uncompressed_bytes;
  }
  if (header.options_offset != 0) {
    if (!fits(header.options_offset, 8, header.header_bytes)) {
      return corrupt("fat binary: options at {} of a {}-byte entry header", header.options_offset,
                     header.header_bytes);
    }
    const auto at = load<uint32_t>(rest, header.options_offset);
    const auto size = load<uint32_t>(rest, header.options_offset + 4);
    if (!fits(at, size, header.header_bytes)) {
      return corrupt("fat binary: {} bytes of options at {} of a {}-byte entry header", size, at,
                     header.header_bytes);
    }
    entry.options = text(rest, at, size);
  }
  if (header.name_offset != 0) {
    if (!fits(header.name_offset, header.name_bytes, header.header_bytes)) {
      return corrupt("fat binary: {} bytes of name at {} of a {}-byte entry header",
                     header.name_bytes, header.name_offset, header.header_bytes);
    }
    entry.name = text(rest, header.name_offset, header.name_bytes);
  }
  return entry;
}

// Decodes with a buffer that grows as content comes: a forged size costs no memory.
Result<std::vector<std::byte>> unzstd(const Entry& entry) {
  constexpr uint64_t kFirstBytes = 64 << 10;
  const std::unique_ptr<ZSTD_DStream, size_t (*)(ZSTD_DStream*)> stream(ZSTD_createDStream(),
                                                                        ZSTD_freeDStream);
  std::vector<std::byte> content(std::min(entry.uncompressed_bytes, kFirstBytes));
  ZSTD_inBuffer in{entry.stored.data(), entry.stored.size(), 0};
  ZSTD_outBuffer out{content.data(), content.size(), 0};
  for (;;) {
    const size_t consumed = in.pos, produced = out.pos;
    const size_t expected = ZSTD_decompressStream(stream.get(), &out, &in);
    if (ZSTD_isError(expected)) {
      return corrupt("fat binary: zstd payload for sm_{}: {}", entry.sm,
                     ZSTD_getErrorName(expected));
    }
    if (expected == 0) break;  // the frame is complete
    if (out.pos == out.size && content.size() < entry.uncompressed_bytes) {
      content.resize(std::min<uint64_t>(entry.uncompressed_bytes, content.size() * 2));
      out.dst = content.data();
      out.size = content.size();
    } else if (in.pos == consumed && out.pos == produced) {
      return corrupt("fat binary: zstd payload for sm_{} does not end within {} bytes", entry.sm,
                     entry.uncompressed_bytes);
    }
  }
  if (out.pos != entry.uncompressed_bytes) {
    return corrupt("fat binary: zstd payload for sm_{} gave {} bytes, its header said {}", entry.sm,
                   out.pos, entry.uncompressed_bytes);
  }
  return content;
}

Result<std::vector<std::byte>> unlz4(const Entry& entry) {
  if (entry.uncompressed_bytes / kLz4RatioMax > entry.stored.size()) {
    return corrupt("fat binary: {} bytes of LZ4 for sm_{} cannot become {}", entry.stored.size(),
                   entry.sm, entry.uncompressed_bytes);
  }
  std::vector<std::byte> out(entry.uncompressed_bytes);
  if (!lz4_decompress(entry.stored, out)) {
    return corrupt("fat binary: LZ4 payload of {} bytes for sm_{} is corrupt", entry.stored.size(),
                   entry.sm);
  }
  return out;
}

}  // namespace

Result<Container> Container::parse(Bytes bytes) {
  const Result<uint64_t> total = claimed_bytes(bytes);
  if (!total) return total.status();
  if (*total > bytes.size()) {
    return corrupt("fat binary: header claims {} bytes, there are {}", *total, bytes.size());
  }
  Container container;
  container.bytes_ = bytes.first(*total);
  uint64_t offset = load<uint16_t>(bytes, 6);
  while (offset < *total) {
    if (container.entries_.size() == kEntriesMax) {
      return corrupt("fat binary: more than {} entries", kEntriesMax);
    }
    Result<Entry> entry = read_entry_at(container.bytes_, offset);
    if (!entry) return entry.status();
    offset += entry->whole.size();
    container.entries_.push_back(entry.take());
  }
  return container;
}

Result<Container> Container::at(const void* pointer) {
  const auto* start = static_cast<const std::byte*>(pointer);
  const Result<uint64_t> total = claimed_bytes({start, kContainerHeaderBytes});
  if (!total) return total.status();
  return parse({start, *total});
}

Result<std::vector<std::byte>> payload(const Entry& entry) {
  if (entry.uncompressed_bytes > kUncompressedBytesMax) {
    return corrupt("fat binary: entry for sm_{} claims {} bytes, the limit is {}", entry.sm,
                   entry.uncompressed_bytes, kUncompressedBytesMax);
  }
  Result<std::vector<std::byte>> out = Status::kUnsupported;
  switch (entry.compression) {
    case Compression::kZstd:
      out = unzstd(entry);
      break;
    case Compression::kLz4:
      out = unlz4(entry);
      break;
    case Compression::kNone:
      out = std::vector<std::byte>(entry.stored.begin(), entry.stored.end());
      break;
  }
  if (out && entry.is_ptx()) {
    while (!out->empty() && out->back() == std::byte{0}) out->pop_back();
  }
  return out;
}

bool runs_on(const Entry& entry, const Target& target) {
  const bool same_major = entry.sm / 10 == target.sm / 10;
  if (entry.sm > target.sm) return false;
  if (entry.feature == Feature::kArchitecture) return entry.sm == target.sm;
  if (entry.feature == Feature::kFamily) return same_major;
  return entry.is_cubin() ? same_major : true;
}

const Entry* choose(const Container& container, const Target& target) {
  const Entry* best[3] = {};  // by preference: cubin, PTX, LTO IR
  for (const Entry& entry : container.entries()) {
    int rank = 0;
    if (entry.is_cubin())
      rank = 0;
    else if (entry.is_ptx())
      rank = 1;
    else if (entry.kind == kEntryLtoIr)
      rank = 2;
    else
      continue;
    if (target.ptx_only && rank != 1) continue;
    if (!runs_on(entry, target)) continue;
    // The closest architecture, and of the same one the most specific code.
    const bool better = best[rank] == nullptr || entry.sm > best[rank]->sm ||
                        (entry.sm == best[rank]->sm && entry.feature > best[rank]->feature);
    if (better) best[rank] = &entry;
  }
  for (const Entry* entry : best) {
    if (entry != nullptr) return entry;
  }
  return nullptr;
}

std::vector<std::byte> trim(std::span<const Entry* const> keep) {
  std::vector<std::byte> out(kContainerHeaderBytes);
  for (const Entry* entry : keep) out.insert(out.end(), entry->whole.begin(), entry->whole.end());
  const uint16_t header_bytes = kContainerHeaderBytes;
  const uint64_t content_bytes = out.size() - kContainerHeaderBytes;
  std::memcpy(out.data(), &kContainerMagic, 4);
  std::memcpy(out.data() + 4, &kContainerVersion, 2);
  std::memcpy(out.data() + 6, &header_bytes, 2);
  std::memcpy(out.data() + 8, &content_bytes, 8);
  return out;
}

}  // namespace farcall::image
