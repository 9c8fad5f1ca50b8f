// Trace: what becomes of single blocks, as debug lines, for whoever looks for where one went wrong.
// Where nobody asks for debug lines a call costs a comparison. Fields: volume, object, first, count
// say which blocks; set, disk, version what happened where.
#pragma once
#include <string_view>

#include "io/host.h"
#include "wire/copy_messages.h"

namespace sp::serve {

inline bool traces(const io::Host& host) { return host.log.enabled(LogLevel::debug); }

// `disk`: 0 when it is about no single one.
void trace(const io::Host& host, std::string_view event, const wire::CopyRecord& record,
           DiskId disk = 0);
// `versions`: what was found in each block, joined by commas.
void trace_read(const io::Host& host, SetId set, ObjectId object, uint32_t first, uint32_t count,
                std::string_view versions);
void trace_recovery(const io::Host& host, SetId set, ObjectId object, DiskId disk,
                    size_t blocks_named, size_t blocks_carried);

std::string version_text(Version version);  // "8:17": epoch and sequence

}  // namespace sp::serve
