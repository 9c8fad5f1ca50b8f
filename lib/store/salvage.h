// Salvage: reading a range though some of its sectors cannot be read. What cannot is zeros then, as
// if it had never been written: whoever asks finds out whether it is missed. Plain functions; they
// complete in later turns of the disk's reactor.
#pragma once
#include "io/disk.h"

namespace sp::store {

// Ends with an error when the device reads nothing at all any more (its first and last page), and
// with that of the read when it is another than Code::io. Each page is tried twice. `into` and the
// disk live until then.
void salvage(io::Disk& disk, uint64_t offset, MutableBytes into, io::DiskDone done);

// Whether the device reads its first page, or its last one: then it is the sector that failed, and
// not the device. The disk lives until then.
void reads_at_all(io::Disk& disk, Callback<void(bool)> done);

}  // namespace sp::store
