#include "store/record_views.h"

#include <cstring>

namespace sp::store {

namespace {

constexpr uint32_t blocks = limits::blocks_per_object;

bool write_valid(const Record& record, const Bounds& bounds) {
  if (record.body.size() < sizeof(WriteBody)) return false;
  const auto body = record.head<WriteBody>();
  if (body.block_count == 0 || uint32_t{body.first_block} + body.block_count > blocks) return false;
  if (body.write_kind == static_cast<uint16_t>(WriteKind::discard))
    return record.body.size() == sizeof(WriteBody);
  if (body.write_kind != static_cast<uint16_t>(WriteKind::data) ||
      body.block_count > limits::io_blocks_max)
    return false;
  if (record.body.size() != sizeof(WriteBody) + size_t{12} * body.block_count) return false;
  for (size_t i = 0; i < body.block_count; i++)
    if (write_slot(record, i) >= bounds.slots) return false;
  return true;
}

bool placed_valid(const Record& record, const Bounds& bounds, size_t count_min, size_t count_max) {
  if (record.body.size() < sizeof(ObjectBody)) return false;
  const auto head = record.head<ObjectBody>();
  if (head.count < count_min || head.count > count_max) return false;
  if (record.body.size() != sizeof(ObjectBody) + head.count * sizeof(RecoveredEntry)) return false;
  for (size_t i = 0; i < head.count; i++) {
    const auto entry = record.entry<ObjectBody, RecoveredEntry>(i);
    if (entry.slot >= bounds.slots || entry.block >= blocks) return false;
  }
  return true;
}

bool tombstone_valid(const Record& record) {
  if (record.body.size() < sizeof(ObjectBody)) return false;
  const auto head = record.head<ObjectBody>();
  if (head.count > ranges_per_record ||
      record.body.size() != sizeof(ObjectBody) + head.count * sizeof(RangeEntry))
    return false;
  for (size_t i = 0; i < head.count; i++) {
    const auto entry = record.entry<ObjectBody, RangeEntry>(i);
    if (entry.block_count == 0 || uint32_t{entry.first_block} + entry.block_count > blocks)
      return false;
  }
  return true;
}

bool homes_valid(const Record& record, const Bounds& bounds) {
  if (record.body.size() % sizeof(HomeEntry) != 0) return false;
  for (size_t at = 0; at < record.body.size(); at += sizeof(HomeEntry))
    if (load<HomeEntry>(record.body.subspan(at)).page >= bounds.table_pages) return false;
  return true;
}

bool operations_valid(const Record& record) {
  if (record.body.size() < sizeof(SetVersionBody)) return false;
  const auto head = record.head<SetVersionBody>();
  return head.count <= entries_per_record &&
         record.body.size() == sizeof(SetVersionBody) + head.count * sizeof(OperationEntry);
}

}  // namespace

bool is_valid(const Record& record, const Bounds& bounds) {
  switch (record.kind) {
    case RecordKind::write: return write_valid(record, bounds);
    case RecordKind::decide:
    case RecordKind::drop:
    case RecordKind::remove_set:
    case RecordKind::forget: return record.body.size() == sizeof(SetVersionBody);
    case RecordKind::set: return record.body.size() == sizeof(SetBody);
    case RecordKind::remove_volume: return record.body.size() == sizeof(VolumeBody);
    case RecordKind::tombstone: return tombstone_valid(record);
    case RecordKind::recovered: return placed_valid(record, bounds, 1, recovered_per_record);
    case RecordKind::applied: return record.body.size() == sizeof(ObjectBody) + listed_bytes;
    case RecordKind::repair: return placed_valid(record, bounds, 1, 1);
    case RecordKind::homes: return homes_valid(record, bounds);
    case RecordKind::operations: return operations_valid(record);
    case RecordKind::opened: return record.body.size() == sizeof(OpenedBody);
    case RecordKind::index: return record.body.size() == sizeof(IndexBody);
  }
  return false;
}

bool take_record(Bytes& rest, Record& out) {
  if (rest.size() < sizeof(RecordHeader)) return false;
  const auto header = load<RecordHeader>(rest);
  if (header.size_bytes > rest.size() || header.body_bytes > header.size_bytes ||
      header.size_bytes != padded(sizeof(RecordHeader) + header.body_bytes))
    return false;
  out = {static_cast<RecordKind>(header.kind), header.flags,
         rest.subspan(sizeof(RecordHeader), header.body_bytes)};
  rest = rest.subspan(header.size_bytes);
  return true;
}

bool RecordCursor::next(Record& out) {
  if (failed_ || rest_.empty()) return false;
  failed_ = !take_record(rest_, out) || !is_valid(out, bounds_);
  return !failed_;
}

size_t record_bytes(std::initializer_list<Bytes> parts) {
  size_t body = 0;
  for (const Bytes part : parts) body += part.size();
  return padded(sizeof(RecordHeader) + body);
}

void encode_record(MutableBytes to, RecordKind kind, uint8_t flags,
                   std::initializer_list<Bytes> parts) {
  RecordHeader header{};
  header.kind = static_cast<uint8_t>(kind);
  header.flags = flags;
  for (const Bytes part : parts) header.body_bytes += static_cast<uint32_t>(part.size());
  header.size_bytes = static_cast<uint16_t>(to.size());
  std::byte* at = to.data();
  std::memcpy(at, &header, sizeof header);
  at += sizeof header;
  for (const Bytes part : parts) {
    if (!part.empty()) std::memcpy(at, part.data(), part.size());
    at += part.size();
  }
  std::memset(at, 0, static_cast<size_t>(to.data() + to.size() - at));
}

WriteRecord write_record_of(const Record& record) {
  const auto body = record.head<WriteBody>();
  WriteRecord write;
  write.kind = static_cast<WriteKind>(body.write_kind);
  write.set = SetId::from_packed(body.set);
  write.version = Version::from_packed(body.version);
  write.object = {body.volume, body.object};
  write.first_block = body.first_block;
  write.block_count = body.block_count;
  write.operation = {body.client, body.generation, body.number};
  return write;
}

WriteBody write_body_of(const WriteRecord& record) {
  WriteBody body{};
  body.version = record.version.packed();
  body.number = record.operation.number;
  body.set = record.set.packed();
  body.volume = record.object.volume;
  body.object = record.object.index;
  body.generation = record.operation.generation;
  body.client = record.operation.client;
  body.first_block = record.first_block;
  body.block_count = record.block_count;
  body.write_kind = static_cast<uint16_t>(record.kind);
  return body;
}

uint64_t write_crc(const Record& record, size_t index) {
  return load<uint64_t>(record.body.subspan(sizeof(WriteBody) + index * 8));
}

uint32_t write_slot(const Record& record, size_t index) {
  const auto count = record.head<WriteBody>().block_count;
  return load<uint32_t>(record.body.subspan(sizeof(WriteBody) + size_t{8} * count + index * 4));
}

}  // namespace sp::store
