// Records: conversions between what the wire says of a write and what the store keeps of it, and
// the checks that both ends of a copy make.
#pragma once
#include <span>
#include <string>

#include "base/buffer.h"
#include "store/store.h"
#include "wire/data_messages.h"

namespace sp::serve {

store::WriteRecord to_store(const wire::CopyRecord& record);
wire::CopyRecord to_wire(const store::WriteRecord& record);

// The newest write up to `decided_to` of which a copy knows by itself; zero when of none.
Version newest_known(const wire::BeginEpochReply& reply, Version decided_to);
// Whether a complete copy that has answered so holds this decided write.
bool vouches_for(const wire::BeginEpochReply& reply, Version version);

// Empty when range, sizes and every block's CRC-64 fit together; else what does not.
std::string check_content(bool discard, uint32_t first_block, uint32_t block_count,
                          std::span<const uint64_t> crcs, Bytes data);

std::string block_text(ObjectId object, uint32_t block);  // "volume 3 object 4 block 7"

// One block's worth of `data`.
inline Bytes block_of(Bytes data, size_t index) {
  return data.subspan(index * limits::block_bytes, limits::block_bytes);
}

}  // namespace sp::serve
