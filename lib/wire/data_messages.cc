#include "wire/data_messages.h"

#include "wire/codec.h"

namespace sp::wire {

namespace {

constexpr uint32_t text_max = 1024;
constexpr uint32_t set_members_max = 64;  // more than any row ever lists
constexpr uint32_t disks_of_server_max = 1024;

}  // namespace

template <class C, class M>
void crcs(C& c, M& list) {
  c.list(list, limits::io_blocks_max);
}

template <class C, class M>
void blocks(C& c, M& m) {
  c.ranged(m.first_block, 0, limits::blocks_per_object);
  c.ranged(m.block_count, 0, limits::blocks_per_object);
}

SP_FIELDS(AttachmentId) { c(m.client), c(m.generation); }

SP_FIELDS(map::DiskSet) {
  c(m.id), c(m.epoch), c(m.revision), c(m.activated);
  c.list(m.acting, set_members_max), c.list(m.recovering, set_members_max);
  c.list(m.base, set_members_max), c.list(m.target, set_members_max);
}

SP_FIELDS(CopyRecord) {
  c(m.discard), c(m.set), c(m.version), c(m.object);
  blocks(c, m);
  c(m.attachment), c(m.operation);
}

SP_FIELDS(ReadRequest) {
  c(m.set), c(m.epoch), c(m.object);
  blocks(c, m);
  c(m.attachment), c(m.checksum_failed);
}

SP_FIELDS(ReadReply) {
  c.ranged(m.status, 0, static_cast<uint64_t>(DataStatus::busy));
  crcs(c, m.crcs);
  c(m.current), c.text(m.text, text_max);
}

SP_FIELDS(WriteRequest) {
  c(m.set), c(m.epoch), c(m.object);
  blocks(c, m);
  c(m.attachment), c(m.operation), c(m.oldest_open_operation), c(m.discard), c(m.writer_version);
  crcs(c, m.crcs);
}

SP_FIELDS(WriteReply) {
  c.ranged(m.status, 0, static_cast<uint64_t>(DataStatus::busy));
  c(m.current), c.text(m.text, text_max);
}

SP_FIELDS(BeginEpoch) {
  c(m.set), c(m.disk), c(m.uuid), c(m.epoch), c(m.revision), c(m.recovering), c(m.create);
}

SP_FIELDS(KnownOperation) { c(m.attachment), c(m.operation), c(m.version); }

SP_FIELDS(BeginEpochReply) {
  c(m.ok), c(m.known), c(m.lost), c(m.epoch), c(m.decided_to), c(m.complete_to);
  c.list(m.undecided, limits::set_undecided_max);
  c.list(m.operations, limits::set_operations_max);
  c(m.blocks_free);
  c.text(m.text, text_max);
}

SP_FIELDS(Prepare) {
  c(m.disk), c(m.epoch), c(m.record), c(m.decided_to);
  crcs(c, m.crcs);
}

SP_FIELDS(PrepareReply) {
  c(m.ok), c(m.set), c(m.epoch), c(m.version), c(m.no_space), c(m.blocks_free);
  c.text(m.text, text_max);
}

SP_FIELDS(Decided) { c(m.set), c(m.disk), c(m.epoch), c(m.decided_to), c(m.tombstones_passed); }

SP_FIELDS(FetchUndecided) { c(m.set), c(m.disk), c(m.epoch), c(m.version); }

SP_FIELDS(FetchUndecidedReply) {
  c(m.ok);
  crcs(c, m.crcs);
  c.text(m.text, text_max);
}

SP_FIELDS(RecoverBlock) {
  c.ranged(m.block, 0, limits::blocks_per_object - 1);
  c(m.version), c(m.crc);
}

SP_FIELDS(RecoverObject) {
  c(m.set), c(m.disk), c(m.epoch), c(m.revision), c(m.object), c(m.changed);
  c.list(m.blocks, limits::blocks_per_object), c.list(m.carried, limits::io_blocks_max);
  c(m.last), c(m.complete_to);
}

SP_FIELDS(RecoverObjectReply) { c(m.ok), c.text(m.text, text_max); }

SP_FIELDS(FetchBlock) {
  c(m.set), c(m.disk), c(m.epoch), c(m.object);
  c.ranged(m.block, 0, limits::blocks_per_object - 1);
  c(m.version);
}

SP_FIELDS(FetchBlockReply) { c(m.ok), c(m.perhaps_later), c(m.crc), c.text(m.text, text_max); }

SP_FIELDS(AskSpace) { c(m.disk); }

SP_FIELDS(AskSpaceReply) { c(m.ok), c(m.blocks_free); }

SP_FIELDS(Digest) { c(m.set), c(m.disk); }

SP_FIELDS(DigestReply) { c(m.ok), c(m.hash), c(m.blocks), c.text(m.text, text_max); }

SP_FIELDS(AskStatistics) { (void)c, (void)m; }

SP_FIELDS(DiskStatistics) {
  c(m.disk), c(m.device_reads), c(m.device_bytes_read), c(m.device_writes);
  c(m.device_bytes_written), c(m.device_flushes), c(m.blocks_total), c(m.blocks_used);
  c(m.memory_bytes);
}

SP_FIELDS(StatisticsReply) {
  c(m.reads), c(m.writes), c(m.bytes_recovered), c(m.blocks_repaired), c(m.blocks_lost);
  c.list(m.disks, disks_of_server_max);
}

SP_DATA_MESSAGES(SP_ENCODE_DECODE)

}  // namespace sp::wire
