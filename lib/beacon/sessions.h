// Sessions: the services that are connected to this beacon: their registration, their copy of the
// map, their leases, commands and reports.
//
// A service registers with the beacon of its own node only: so a node is up or down as a whole. A
// session makes its service up in the agreed state, its end makes it down: at once when the
// service's end closed the connection (the process is gone, or has stopped serving before it
// closed), else when its last lease has surely ended. Whatever the state says otherwise is put
// right again (reconcile). Thread rule: one reactor.
#pragma once
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <vector>

#include "beacon/links.h"
#include "map/command.h"
#include "map/map.h"
#include "wire/beacon_messages.h"

namespace sp::beacon {

class Sessions {
 public:
  using Done = Callback<void(Result<uint64_t>)>;
  struct Events {
    Callback<void(std::vector<std::byte> command, bool gone, Done done)> propose;
    Callback<void(wire::NodeLeaseRequest)>
        ask_leases;  // to the leader; start id and applied index are filled in there
    Callback<void(LinkId, uint64_t request)> query_reports;
  };
  Sessions(io::Host& host, Links& links, NodeId self, Events events);
  // What this node is known to support: the least of its services; `newest` without any.
  uint32_t feature_level(uint32_t newest) const;

  // From Links.
  bool ready(LinkId id, const wire::Identity& peer);  // false: not acceptable, close it
  void message(LinkId id, const wire::Message& message);
  void closed(LinkId id, const Error& why);
  bool has(LinkId id) const { return sessions_.count(id) != 0; }

  // From the agreed state.
  void changed(const map::Map& map, uint64_t from_index, const std::vector<map::Change>& changes);
  void replaced(const map::Map& map);  // by a snapshot, or at the start
  void reconcile();
  // From the leader.
  void granted(const wire::NodeLeaseGrant& grant);
  void confirmed(uint64_t index);
  void reports(LinkId id, uint64_t request, const wire::NodeReportsReply& reply);

  void tick();  // every 50 ms or so
  size_t count() const { return sessions_.size(); }

 private:
  struct Session {
    wire::Identity identity;
    std::optional<wire::Register> registration;
    bool register_again = false;  // its disks changed, or were not taken in
    std::set<DiskId> doubles;     // refused as long as another server has one of that id in use
    uint64_t map_index = 0;       // of what was sent, 0: nothing yet
    io::Instant heard;
    io::Instant said;
    bool wants_lease = false;
    io::Instant asked_at;              // a lease for it, last
    uint64_t lease_sent_ns = 0;        // of its newest request, its clock
    io::Instant lease_arrived;         // of that, our clock
    io::Instant lease_end{INT64_MIN};  // of what was granted here
    wire::Report report;
    uint32_t commands = 0;  // under way
  };
  struct Departing {
    uint64_t start_id = 0;
    io::Instant due;
    bool gone = false;
  };
  struct Asked {  // one request to the leader
    uint64_t sent_ns = 0;
    struct One {
      LinkId link;
      uint64_t sent_ns;
      io::Instant arrived;
    };
    std::map<ServiceId, One> services;
  };

  void send(LinkId id, Session& session, wire::Message message);
  void send_map(LinkId id, Session& session);
  void send_pieces(LinkId id, Session& session, wire::MessageType type, uint64_t from_index,
                   uint64_t index, Bytes bytes);
  void refuse(LinkId id, Session& session, std::string why);
  void drop_older();
  bool refuse_older(LinkId id, Session& session, uint32_t level);
  void register_service(LinkId id, Session& session, const wire::Message& message);
  void command(LinkId id, Session& session, const wire::Message& message);
  void end(LinkId id, bool gone);
  LinkId link_of(ServiceId service) const;
  void reconcile_up(LinkId id, Session& session);
  void reconcile_down();
  void note_refused_disks(ServiceId service);
  bool may_double_come_in(const Session& session) const;
  bool lacks_disk(const Session& session) const;
  void propose(ServiceId service, const map::Command& command, bool gone);
  std::vector<LinkId> asked_for() const;
  void ask_leases();

  io::Host& host_;
  Links& links_;
  NodeId self_;
  Events events_;
  io::Timer ask_timer_;
  const map::Map* map_ = nullptr;  // the State's; nullptr before the start
  std::map<LinkId, Session> sessions_;
  std::map<ServiceId, Departing> departing_;
  std::map<ServiceId, io::Instant>
      proposing_;  // ServiceUp or ServiceDown under way, or not again before
  std::deque<Asked> asked_;
  io::Instant asked_at_;
  uint64_t confirmed_ = 0;
  io::Instant started_;
  bool reconciling_ = false;
};

// May this service ask for this command? A client may take a volume for itself, by force too, and
// for nobody else.
bool may_propose(ServiceId service, const map::Command& command);

}  // namespace sp::beacon
