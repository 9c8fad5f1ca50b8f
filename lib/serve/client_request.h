// A read or write of a client as a server has taken it. Plain value.
#pragma once
#include <cstdint>

#include "base/buffer.h"
#include "io/clock.h"
#include "wire/data_messages.h"

namespace sp::serve {

struct ClientRequest {
  uint64_t link = 0;
  uint64_t request = 0;
  uint64_t client_start = 0;  // start id of the client process
  bool is_write = false;
  bool verified = false;  // content compared with its checksums
  wire::ReadRequest read;
  wire::WriteRequest write;
  Buffer data;
  io::Instant since;

  SetId set() const { return is_write ? write.set : read.set; }
  uint32_t epoch() const { return is_write ? write.epoch : read.epoch; }
};

}  // namespace sp::serve
