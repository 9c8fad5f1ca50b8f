// Views of records: what a write or a recovered block placed where; and the encoder.
#pragma once
#include <initializer_list>

#include "store/records.h"

namespace sp::store {

// Writes header, body and padding of a record made of `parts`; the bytes that it takes.
size_t record_bytes(std::initializer_list<Bytes> parts);
void encode_record(MutableBytes to, RecordKind kind, uint8_t flags,
                   std::initializer_list<Bytes> parts);

// The first record of `rest`, and `rest` behind it; false where its frame is broken. What is in it
// is not looked at: that is_valid does, of a record of the log.
bool take_record(Bytes& rest, Record& out);
bool is_valid(const Record& record, const Bounds& bounds);

// Views of a write record.
WriteRecord write_record_of(const Record& record);
WriteBody write_body_of(const WriteRecord& record);
uint64_t write_crc(const Record& record, size_t index);
uint32_t write_slot(const Record& record, size_t index);

// Calls visit(slot, crc, descriptor source) for every data block that this record newly placed.
template <class Visit>
void for_each_placed(const Record& record, const Visit& visit) {
  if (record.kind == RecordKind::write) {
    const auto body = record.head<WriteBody>();
    if (body.write_kind != static_cast<uint16_t>(WriteKind::data)) return;
    for (size_t i = 0; i < body.block_count; i++)
      visit(write_slot(record, i), write_crc(record, i));
  } else if (record.kind == RecordKind::recovered || record.kind == RecordKind::repair) {
    const auto head = record.head<ObjectBody>();
    for (size_t i = 0; i < head.count; i++) {
      const auto entry = record.entry<ObjectBody, RecoveredEntry>(i);
      visit(entry.slot, entry.crc);
    }
  }
}

}  // namespace sp::store
