// A write that a primary has ordered and not yet decided. Plain values.
#pragma once
#include "serve/client_request.h"
#include "wire/copy_messages.h"

namespace sp::serve {

struct OrderedWrite {
  wire::Prepare prepare;
  Buffer data;
  bool loaded = false, loading = false;
  uint32_t acked = 0;   // bit per copy
  uint32_t failed = 0;  // those of them that could not show its content
  uint64_t link = 0, request = 0;
  io::Instant since;
  Ticket ticket;
  void forget_client() { link = 0, ticket = {}; }
};

}  // namespace sp::serve
