// A read or write of a client as a server has taken it. A value.
#pragma once
#include <cstdint>
#include <utility>

#include "base/buffer.h"
#include "io/clock.h"
#include "wire/data_messages.h"

namespace sp::serve {

class Admission;

// Held by a request in service, see Admission, which outlives it. Gone or assigned to: it is not
// any more.
class Ticket {
 public:
  Ticket() = default;
  Ticket(Admission& admission, uint64_t link, uint32_t cost)
      : admission_(&admission), link_(link), cost_(cost) {}
  Ticket(Ticket&& other) noexcept { *this = std::move(other); }
  Ticket& operator=(Ticket&& other) noexcept;
  ~Ticket();

 private:
  Admission* admission_ = nullptr;
  uint64_t link_ = 0;
  uint32_t cost_ = 0;
};

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
  Ticket ticket;

  SetId set() const { return is_write ? write.set : read.set; }
  uint32_t epoch() const { return is_write ? write.epoch : read.epoch; }
};

}  // namespace sp::serve
