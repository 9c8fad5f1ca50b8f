// Admission: which requests of clients are served now, and which wait, so that one that sends many
// does not push the others to the end of a long queue. Behind it everything is first come, first
// served, and long queues are good for nothing but its batches.
//
// While one client alone is active nothing waits. Else each may have an equal part of what may be
// in service together; the rest of it waits here and takes turns with those of the others (round
// robin, as in Nagle's "On packet switches with infinite storage", RFC 970). A request counts as
// one, and one for each 32 KiB, and is in service until its ticket is gone: answered, dropped, or
// waiting for something else than its turn.
// Thread rule: one reactor; `serve` is called inside of arrive() or from a turn of its own.
#pragma once
#include <deque>
#include <functional>
#include <unordered_map>

#include "io/reactor.h"
#include "serve/client_request.h"

namespace sp::serve {

class Admission {
 public:
  // `in_service_max`: for each disk, of all clients that are active together.
  Admission(io::Reactor& reactor, uint32_t in_service_max,
            std::function<void(ClientRequest)> serve);

  void arrive(ClientRequest request);
  void link_closed(uint64_t link);  // what waits is dropped
  // Now and then: a client that sent nothing between two calls is not active any more.
  void tick(size_t disks);
  size_t waiting() const { return waiting_; }

 private:
  friend class Ticket;
  struct Client {
    uint32_t in_service = 0;
    bool active = false, was_active = false;
    bool in_turn = false;  // is in turns_
    std::deque<ClientRequest> waiting;
  };
  uint32_t share() const;
  void begin(uint64_t link, Client& client, ClientRequest request);
  void ended(uint64_t link, uint32_t cost);
  void take_turns();

  const uint32_t in_service_max_;
  std::function<void(ClientRequest)> serve_;
  std::unordered_map<uint64_t, Client> clients_;  // by link
  uint32_t active_ = 0, was_active_ = 0;          // clients of them
  uint32_t disks_ = 1;
  std::deque<uint64_t> turns_;  // links of which something may be served
  size_t waiting_ = 0;
  io::Timer turn_;
};

}  // namespace sp::serve
