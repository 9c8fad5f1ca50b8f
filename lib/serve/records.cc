#include "serve/records.h"

#include <algorithm>

#include "base/checksum.h"
#include "base/planted.h"

namespace sp::serve {

store::WriteRecord to_store(const wire::CopyRecord& record) {
  store::WriteRecord out;
  out.kind = record.discard ? store::WriteKind::discard : store::WriteKind::data;
  out.set = record.set;
  out.version = record.version;
  out.object = record.object;
  out.first_block = record.first_block;
  out.block_count = record.block_count;
  out.operation = {record.attachment.client, record.attachment.generation, record.operation};
  return out;
}

wire::CopyRecord to_wire(const store::WriteRecord& record) {
  wire::CopyRecord out;
  out.discard = record.kind == store::WriteKind::discard;
  out.set = record.set;
  out.version = record.version;
  out.object = record.object;
  out.first_block = record.first_block;
  out.block_count = record.block_count;
  out.attachment = {record.operation.client, record.operation.generation};
  out.operation = record.operation.number;
  return out;
}

Version newest_known(const wire::BeginEpochReply& reply, Version decided_to) {
  Version newest;
  const auto note = [&](Version version) {
    if (version <= decided_to) newest = std::max(newest, version);
  };
  for (const auto& record : reply.undecided) note(record.version);
  for (const auto& known : reply.operations) note(known.version);
  return newest;
}

bool vouches_for(const wire::BeginEpochReply& reply, Version version) {
  if (SP_PLANTED_BUG(serve_believes_forgetful_copy)) return true;
  const auto is_it = [version](const auto& known) { return known.version == version; };
  return version <= std::max(reply.decided_to, reply.complete_to) ||
         std::any_of(reply.undecided.begin(), reply.undecided.end(), is_it) ||
         std::any_of(reply.operations.begin(), reply.operations.end(), is_it);
}

std::string check_content(bool discard, uint32_t first_block, uint32_t block_count,
                          std::span<const uint64_t> crcs, Bytes data) {
  const uint32_t count_max = discard ? limits::blocks_per_object : limits::io_blocks_max;
  if (block_count == 0 || block_count > count_max ||
      first_block + block_count > limits::blocks_per_object)
    return "blocks " + std::to_string(first_block) + "+" + std::to_string(block_count) +
           " are not within an object";
  if (discard) return crcs.empty() && data.empty() ? "" : "a discard carries no data";
  if (crcs.size() != block_count) return "the number of checksums is not that of the blocks";
  if (data.size() != size_t{block_count} * limits::block_bytes)
    return "the size of the data is not that of the blocks";
  for (size_t i = 0; i < block_count; ++i) {
    if (crc64(block_of(data, i)) != crcs[i])
      return "the content of block " + std::to_string(first_block + i) +
             " does not match its checksum";
  }
  return "";
}

std::string block_text(ObjectId object, uint32_t block) {
  return "volume " + std::to_string(object.volume) + " object " + std::to_string(object.index) +
         " block " + std::to_string(block);
}

}  // namespace sp::serve
