// Salvage: reading a range though some of its sectors cannot be read. What cannot is zeros then, as
// if it had never been written: whoever asks finds out whether it is missed.
#pragma once
#include "io/disk.h"

namespace sp::store {

// Ends with an error when the device reads nothing at all any more (its first and last page), and
// with that of the read when it is another than Code::io. Each page is tried twice. `into` and the
// disk live until then.
void salvage(io::Disk& disk, uint64_t offset, MutableBytes into, io::DiskDone done);

}  // namespace sp::store
