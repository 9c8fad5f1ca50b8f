#include "store/saved_index.h"

#include <bit>
#include <cstddef>
#include <cstring>

#include "base/checksum.h"
#include "store/record_views.h"

namespace sp::store {

namespace {

uint64_t chunk_crc(Bytes chunk, size_t records) {
  constexpr uint64_t zero = 0;
  constexpr size_t at = offsetof(IndexChunkHeader, crc);
  const uint64_t head = crc64(struct_bytes(zero), crc64(chunk.first(at)));
  return crc64(chunk.subspan(at + sizeof zero, records), head);
}

bool object_valid(Bytes body, const Bounds& bounds) {
  if (body.size() < sizeof(SavedObject)) return false;
  const auto head = load<SavedObject>(body);
  if (head.volume == 0 || (head.runs & head.filled) != 0) return false;
  if (head.ranges > limits::blocks_per_object) return false;
  const size_t slots = sizeof head + head.ranges * sizeof(RangeEntry);
  const auto runs = static_cast<size_t>(std::popcount(head.runs));
  const auto filled = static_cast<size_t>(std::popcount(head.filled));
  constexpr uint32_t chunk_blocks = ChunkPool::chunk_blocks;
  if (body.size() != slots + runs * 4 + filled * 4 * chunk_blocks) return false;
  uint32_t end = 0;  // of the ranges so far, which ascend
  for (size_t i = 0; i < head.ranges; i++) {
    const auto range = load<RangeEntry>(body.subspan(sizeof head + i * sizeof(RangeEntry)));
    if (range.block_count == 0 || range.first_block < end ||
        uint32_t{range.first_block} + range.block_count > limits::blocks_per_object)
      return false;
    end = uint32_t{range.first_block} + range.block_count;
  }
  size_t at = slots;
  for (uint32_t chunk = 0; chunk < Object::chunks_max; chunk++) {
    if ((head.runs >> chunk & 1) != 0) {
      if (uint64_t{load<uint32_t>(body.subspan(at))} + chunk_blocks > bounds.slots) return false;
      at += 4;
    } else if ((head.filled >> chunk & 1) != 0) {
      for (uint32_t i = 0; i < chunk_blocks; i++, at += 4) {
        const auto slot = load<uint32_t>(body.subspan(at));
        if (slot != no_slot && slot >= bounds.slots) return false;
      }
    }
  }
  return true;
}

template <class Entry, class Valid>
bool all_valid(Bytes body, const Valid& valid) {
  if (body.size() % sizeof(Entry) != 0) return false;
  for (size_t at = 0; at < body.size(); at += sizeof(Entry))
    if (!valid(load<Entry>(body.subspan(at)))) return false;
  return true;
}

bool saved_valid(SavedKind kind, Bytes body, const Bounds& bounds) {
  const auto entry_valid = [&](const SavedEntry& saved) {
    return saved.slot < bounds.slots && saved.entry.block() < limits::blocks_per_object;
  };
  switch (kind) {
    case SavedKind::at: return body.size() == sizeof(uint64_t);
    case SavedKind::entries:
    case SavedKind::lost: return all_valid<SavedEntry>(body, entry_valid);
    case SavedKind::dirty:
      return all_valid<SavedDirty>(body, [&](const SavedDirty& dirty) {
        return dirty.page < bounds.table_pages && dirty.since != 0;
      });
    case SavedKind::object: return object_valid(body, bounds);
    case SavedKind::end: return body.size() == sizeof(SavedEnd);
  }
  return false;
}

}  // namespace

uint64_t index_chunk_offset(const disk::Layout& layout, uint32_t home, uint32_t number) {
  return layout.index_offset + home * (layout.index_bytes / 2) +
         uint64_t{number} * disk::index_chunk_bytes;
}

void seal_index_chunk(MutableBytes chunk, const disk::Superblock& superblock,
                      const IndexBody& index, uint32_t number, size_t record_bytes) {
  IndexChunkHeader header{};
  header.magic = index_chunk_magic;
  header.cluster = superblock.cluster;
  header.uuid = superblock.uuid;
  header.lsn = index.lsn;
  header.session = index.session;
  header.number = number;
  header.bytes = static_cast<uint32_t>(record_bytes);
  std::memcpy(chunk.data(), &header, sizeof header);
  header.crc = chunk_crc(chunk, record_bytes);
  std::memcpy(chunk.data(), &header, sizeof header);
}

Result<Bytes> open_index_chunk(Bytes chunk, const disk::Superblock& superblock,
                               const IndexBody& index, uint32_t number) {
  const auto header = load<IndexChunkHeader>(chunk);
  if (header.magic != index_chunk_magic || header.cluster != superblock.cluster ||
      header.uuid != superblock.uuid || header.lsn != index.lsn ||
      header.session != index.session || header.number != number ||
      header.bytes > index_payload_bytes || header.crc != chunk_crc(chunk, header.bytes))
    return Error(Code::damaged,
                 "chunk " + std::to_string(number) + " of the saved index is not what was written");
  return chunk.subspan(sizeof header, header.bytes);
}

bool SavedCursor::next(SavedRecord& out) {
  if (failed_ || rest_.empty()) return false;
  failed_ = !take_record(rest_, out.record);
  if (failed_) return false;
  out.logged = out.kind() < SavedKind::at;
  failed_ = out.logged ? !is_valid(out.record, bounds_)
                       : !saved_valid(out.kind(), out.record.body, bounds_);
  return !failed_;
}

}  // namespace sp::store
