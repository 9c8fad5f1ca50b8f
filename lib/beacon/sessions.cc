#include "beacon/sessions.h"

#include <algorithm>
#include <tuple>

#include "base/client_id.h"
#include "base/probe.h"
#include "beacon/leader.h"
#include "wire/handshake.h"

namespace sp::beacon {

using wire::Message;
using wire::MessageType;

namespace {

using namespace std::chrono_literals;

constexpr auto ask_interval = limits::lease_length / 4;
constexpr auto propose_again_after = 300ms;
constexpr auto service_ping_interval = 500ms;
constexpr size_t asked_kept = 64;
constexpr size_t reports_bytes_max = 800u << 10;
constexpr size_t services_asked_max = 64;
constexpr uint32_t commands_per_session_max = 1024;

// Rights for this client only, and nothing taken away from others but by force of its own
// attachment.
bool attaches_itself(ServiceId service, const map::Command& command) {
  const auto* const reassign = std::get_if<map::Reassign>(&command);
  if (reassign == nullptr) return false;
  const auto itself = [service](ClientId client) { return service_of_client(client) == service; };
  return std::all_of(
      reassign->volumes.begin(), reassign->volumes.end(), [&](const map::Reassignment& change) {
        return !change.detach_all &&
               std::all_of(change.read_write.begin(), change.read_write.end(), itself) &&
               std::all_of(change.read_only.begin(), change.read_only.end(), itself) &&
               std::all_of(change.detach.begin(), change.detach.end(), itself);
      });
}

}  // namespace

bool may_propose(ServiceId service, const map::Command& command) {
  const auto one_of = [&command]<class... Commands>(std::variant<Commands...>*) {
    return (std::holds_alternative<Commands>(command) || ...);
  };
  using Membership = std::variant<map::InitCluster, map::PutNode, map::NodeUp, map::NodeDown,
                                  map::ServiceUp, map::ServiceDown, map::CloseCut>;
  using Server = std::variant<map::DiskFailed, map::DiskReturned, map::SetActivated,
                              map::SetPromote, map::SetEvict>;
  using Client = std::variant<map::AttachmentReady, map::AttachmentGone>;
  const bool membership = one_of(static_cast<Membership*>(nullptr));
  const bool server = one_of(static_cast<Server*>(nullptr));
  const bool client = one_of(static_cast<Client*>(nullptr));
  switch (service.kind) {
    case ServiceKind::beacon: return true;
    case ServiceKind::server: return server;
    case ServiceKind::client: return client || attaches_itself(service, command);
    case ServiceKind::mgmt: return !membership && !server;
  }
  return false;
}

Sessions::Sessions(io::Host& host, Links& links, NodeId self, Events events)
    : host_(host),
      links_(links),
      self_(self),
      events_(std::move(events)),
      ask_timer_(host.reactor),
      asked_at_(host.clock.now()),
      started_(host.clock.now()) {}

// connections

bool Sessions::ready(LinkId id, const wire::Identity& peer) {
  if (peer.service.node != self_) {
    host_.log.warning("service refused",
                      {{"service", wire::service_text(peer.service)},
                       {"why", "a service registers with the beacon of its own node"}});
    return false;
  }
  Session& session = sessions_[id];
  session.identity = peer;
  session.heard = session.said = host_.clock.now();
  return true;
}

void Sessions::closed(LinkId id, const Error& why) {
  const auto it = sessions_.find(id);
  if (it == sessions_.end()) return;
  const bool own_kernel = it->second.identity.service.node == self_ && why.code() == Code::closed;
  end(id, own_kernel);
}

// gone: the process has ended, or does not serve any more.
void Sessions::end(LinkId id, bool gone) {
  const auto node = sessions_.extract(id);
  const Session& session = node.mapped();
  if (!session.registration) return;
  const ServiceId service = session.identity.service;
  host_.log.info("service left", {{"service", wire::service_text(service)}, {"gone", gone}});
  const io::Instant now = host_.clock.now();
  departing_[service] = {session.identity.start_id, gone ? now : std::max(now, session.lease_end),
                         gone};
  reconcile();
}

void Sessions::send(LinkId id, Session& session, Message message) {
  session.said = host_.clock.now();
  links_.send(id, std::move(message));
}

LinkId Sessions::link_of(ServiceId service) const {
  for (const auto& [id, session] : sessions_) {
    if (session.registration && session.identity.service == service) return id;
  }
  return 0;
}

void Sessions::tick() {
  const io::Instant now = host_.clock.now();
  std::vector<LinkId> silent;
  for (auto& [id, session] : sessions_) {
    if (now - session.heard > limits::beacon_silent_after)
      silent.push_back(id);
    else if (now - session.said > service_ping_interval)
      send(id, session, {MessageType::ping, 0, {}, {}});
  }
  for (const LinkId id : silent) {
    host_.log.warning("a service does not answer",
                      {{"service", wire::service_text(sessions_.at(id).identity.service)}});
    links_.close(id);
    end(id, false);
  }
  if (now - asked_at_ >= ask_interval) ask_leases();
  reconcile();
}

// what services say

void Sessions::message(LinkId id, const Message& message) {
  const auto it = sessions_.find(id);
  if (it == sessions_.end()) return;
  Session& session = it->second;
  session.heard = host_.clock.now();
  const auto malformed = [&] {
    host_.log.warning("malformed message",
                      {{"service", wire::service_text(session.identity.service)},
                       {"type", static_cast<int>(message.type)}});
    links_.close(id);
    end(id, false);
  };
  switch (message.type) {
    case MessageType::ping: return send(id, session, {MessageType::pong, message.request, {}, {}});
    case MessageType::register_: return register_service(id, session, message);
    case MessageType::lease_request: {
      auto request = wire::decode<wire::LeaseRequest>(message.body, links_.protocol(id));
      if (!request) return malformed();
      session.wants_lease = true;
      session.lease_sent_ns = request->sent_ns;
      session.lease_arrived = session.heard;
      session.report = std::move(request->report);
      const io::Instant due = asked_at_ + io::Duration(limits::lease_round_interval);
      if (due <= session.heard) return ask_leases();
      if (!ask_timer_.armed()) ask_timer_.arm(due - session.heard, [this] { ask_leases(); });
      return;
    }
    case MessageType::command: return command(id, session, message);
    case MessageType::reports_query: return events_.query_reports(id, message.request);
    default: return;  // newer services may say more
  }
}

void Sessions::refuse(LinkId id, Session& session, std::string why) {
  host_.log.warning("registration refused",
                    {{"service", wire::service_text(session.identity.service)}, {"why", why}});
  send(id, session,
       {MessageType::register_refused, 0, encode(wire::RegisterRefused{std::move(why)}), {}});
}

// A service that does not know what the cluster uses by now. It stays connected, without anything
// that it would need to serve, so that it has time to read why.
bool Sessions::refuse_older(LinkId id, Session& session, uint32_t level) {
  const uint32_t agreed = map_ == nullptr ? 0 : map_->cluster.feature_level;
  if (level >= agreed) return false;
  SP_PROBE(session_of_older_version_refused);
  refuse(id, session,
         "the cluster has feature level " + std::to_string(agreed) +
             " and this version of the service knows only levels up to " + std::to_string(level) +
             "; upgrade it");
  return true;
}

void Sessions::register_service(LinkId id, Session& session, const Message& message) {
  auto registration = wire::decode<wire::Register>(message.body, links_.protocol(id));
  const bool sound =
      registration && registration->service.id == session.identity.service &&
      registration->service.start_id == session.identity.start_id &&
      (registration->disks.empty() || session.identity.service.kind == ServiceKind::server);
  if (!sound) {
    host_.log.warning("registration refused",
                      {{"service", wire::service_text(session.identity.service)}});
    links_.close(id);
    return end(id, false);
  }
  if (refuse_older(id, session, registration->feature_level)) return;
  const ServiceId service = session.identity.service;
  const LinkId before = link_of(service);
  if (before != 0 && before != id) {
    // The same process over a new connection, or its successor: the old one's lease is waited for
    // then.
    const Session& old = sessions_.at(before);
    const bool same = old.identity.start_id == session.identity.start_id;
    if (same) SP_PROBE(session_of_same_process_replaced);
    if (!same) SP_PROBE(session_of_successor_replaces);
    links_.close(before);
    if (same) {
      session.lease_end = old.lease_end;
      sessions_.erase(before);
    } else {
      end(before, false);
    }
  }
  if (const auto departing = departing_.find(service);
      departing != departing_.end() && departing->second.start_id == session.identity.start_id) {
    if (proposing_.count(service) == 0)
      departing_.erase(departing);  // back before anybody was told
  }
  // What the state knows of a server may be of an earlier connection, with other disks.
  session.register_again = session.registration.has_value() || service.kind == ServiceKind::server;
  session.registration = std::move(registration);
  host_.log.info("service registered", {{"service", wire::service_text(service)},
                                        {"disks", session.registration->disks.size()}});
  if (session.map_index == 0 && map_ != nullptr && map_->index != 0) send_map(id, session);
  reconcile();
}

void Sessions::command(LinkId id, Session& session, const Message& message) {
  const auto reply = [this, id, request = message.request](const Result<uint64_t>& result) {
    const auto it = sessions_.find(id);
    if (it == sessions_.end()) return;
    --it->second.commands;
    wire::CommandReply body;
    body.ok = result.ok();
    if (result.ok())
      body.index = *result;
    else
      body.code = result.error().code(), body.text = result.error().message();
    send(id, it->second, {MessageType::command_reply, request, encode(body), {}});
  };
  ++session.commands;
  auto body = wire::decode<wire::CommandRequest>(message.body);
  const auto decoded = body ? map::decode(body->command) : std::nullopt;
  if (!decoded)
    return reply(Error(
        Code::invalid,
        "the beacon does not know this command; upgrade the older one of beacon and service"));
  if (!may_propose(session.identity.service, *decoded)) {
    return reply(Error(Code::not_authorised,
                       "a " + std::string(wire::role_name(session.identity.service.kind)) +
                           " may not propose " + std::string(map::name(*decoded))));
  }
  if (session.commands > commands_per_session_max)
    return reply(Error(Code::transient, "too many commands of this service wait; ask again later"));
  if (map_ == nullptr) return reply(Error(Code::unreachable, "the beacon is starting; ask again"));
  events_.propose(std::move(body->command), false, reply);
}

// the map

void Sessions::send_pieces(LinkId id, Session& session, MessageType type, uint64_t from_index,
                           uint64_t index, Bytes bytes) {
  uint64_t offset = 0;
  const uint32_t draw = SP_BUGGIFY(beacon_map_in_small_pieces, host_);
  const uint64_t piece_max = draw != 0 ? 64 + draw % 1000 : wire::map_piece_bytes;
  do {
    const Bytes part = bytes.subspan(offset, std::min(piece_max, bytes.size() - offset));
    send(id, session,
         {type,
          0,
          encode(
              wire::MapPiece{from_index, index, offset, bytes.size(), {part.begin(), part.end()}}),
          {}});
    offset += part.size();
  } while (offset < bytes.size());
  session.map_index = index;
}

void Sessions::send_map(LinkId id, Session& session) {
  send_pieces(id, session, MessageType::map_full, 0, map_->index,
              map::encode(*map_, session.registration->with_buckets));
}

// Those that cannot follow any more are gone for us.
void Sessions::drop_older() {
  std::vector<LinkId> older;
  for (auto& [id, session] : sessions_) {
    if (session.registration && refuse_older(id, session, session.registration->feature_level))
      older.push_back(id);
  }
  for (const LinkId id : older) {
    links_.close(id);
    end(id, false);
  }
}

void Sessions::changed(const map::Map& map, uint64_t from_index,
                       const std::vector<map::Change>& changes) {
  map_ = &map;
  drop_older();
  Writer all, without_buckets;
  for (const map::Change& change : changes) {
    map::encode(all, change);
    if (change.table != map::Table::bucket) map::encode(without_buckets, change);
  }
  for (auto& [id, session] : sessions_) {
    if (!session.registration) continue;
    if (session.map_index == 0) {
      send_map(id, session);
      continue;
    }
    SP_ASSERT_OP(session.map_index, ==, from_index);
    send_pieces(id, session, MessageType::map_delta, from_index, map.index,
                (session.registration->with_buckets ? all : without_buckets).view());
  }
}

void Sessions::replaced(const map::Map& map) {
  map_ = &map;
  if (map.index == 0) return;
  drop_older();
  for (auto& [id, session] : sessions_) {
    if (session.registration) send_map(id, session);
  }
}

// up and down

void Sessions::propose(ServiceId service, const map::Command& command, bool gone) {
  proposing_[service] = io::Instant::never();
  events_.propose(map::encode(command), gone, [this, service](const Result<uint64_t>& result) {
    if (result.ok()) {
      proposing_.erase(service);
      note_refused_disks(service);
    } else {
      host_.log.warning(
          "the state did not take up or down",
          {{"service", wire::service_text(service)}, {"why", result.error().message()}});
      proposing_[service] = host_.clock.now() + propose_again_after;
      // Up it may be already, only without the disks that were to be told: nothing else shows that.
      if (const LinkId link = link_of(service); link != 0) {
        SP_PROBE(session_registers_again_after_refusal);
        sessions_.at(link).register_again = true;
      }
    }
  });
}

void Sessions::reconcile() {
  if (map_ == nullptr || map_->index == 0 || reconciling_) return;
  reconciling_ = true;
  std::erase_if(proposing_,
                [now = host_.clock.now()](const auto& entry) { return entry.second <= now; });
  reconcile_down();
  for (auto& [id, session] : sessions_) reconcile_up(id, session);
  reconciling_ = false;
}

void Sessions::reconcile_down() {
  const io::Instant now = host_.clock.now();
  // Up in the state, yet not here: since before this beacon started. Its leases came through our
  // predecessor.
  for (auto it = map_->services.lower_bound(ServiceId{ServiceKind::server, 0, 0});
       it != map_->services.end(); ++it) {
    const auto& [id, service] = *it;
    if (id.node != self_ || !service.up || departing_.count(id) != 0) continue;
    const LinkId link = link_of(id);
    if (link != 0 && sessions_.at(link).identity.start_id == service.start_id) continue;
    departing_[id] = {service.start_id,
                      std::max(now, started_ + io::Duration(limits::node_silent_after)), false};
  }
  for (auto it = departing_.begin(); it != departing_.end();) {
    const auto& [id, departing] = *it;
    const auto service = map_->services.find(id);
    const bool up = service != map_->services.end() && service->second.up &&
                    service->second.start_id == departing.start_id;
    const LinkId link = link_of(id);
    const bool back = link != 0 && sessions_.at(link).identity.start_id == departing.start_id;
    if (proposing_.count(id) != 0) {
      ++it;
    } else if (!up || (back && !departing.gone)) {
      it = departing_.erase(it);
    } else {
      if (departing.due <= now)
        propose(id, map::ServiceDown{id, departing.start_id}, departing.gone);
      ++it;
    }
  }
}

void Sessions::reconcile_up(LinkId, Session& session) {
  if (!session.registration) return;
  const ServiceId id = session.identity.service;
  if (departing_.count(id) != 0 || proposing_.count(id) != 0) return;
  if (SP_BUGGIFY(beacon_takes_service_up_late, host_)) return;  // the next look does
  const auto node = map_->nodes.find(id.node);
  if (node == map_->nodes.end() || !node->second.up) return;  // first the node
  const auto service = map_->services.find(id);
  const bool up = service != map_->services.end() && service->second.up &&
                  service->second.start_id == session.identity.start_id;
  if (up && !session.register_again && !may_double_come_in(session) && !lacks_disk(session)) return;
  session.register_again = false;
  session.doubles.clear();
  map::Service row = session.registration->service;
  row.up = true;
  propose(id, map::ServiceUp{std::move(row), session.registration->disks}, false);
}

// The state takes a service up without a disk whose id belongs to another one.
void Sessions::note_refused_disks(ServiceId service) {
  const LinkId link = link_of(service);
  if (link == 0) return;
  Session& session = sessions_.at(link);
  if (!session.registration || session.register_again) return;  // it was another registration
  for (const map::Disk& disk : session.registration->disks) {
    const auto row = map_->disks.find(disk.id);
    if (row != map_->disks.end() && row->second.uuid == disk.uuid) continue;
    if (row != map_->disks.end() && row->second.up) session.doubles.insert(disk.id);
    host_.log.error(
        "a disk is not taken in: its id belongs to another one",
        {{"service", wire::service_text(service)}, {"disk", disk.id}, {"device", disk.device}});
  }
}

bool Sessions::may_double_come_in(const Session& session) const {
  return std::any_of(session.doubles.begin(), session.doubles.end(), [this](DiskId disk) {
    const auto row = map_->disks.find(disk);
    return row == map_->disks.end() || !row->second.up;
  });
}

// The state has a disk down that is here: another server was entered with it, late, when that
// process was gone already.
bool Sessions::lacks_disk(const Session& session) const {
  const auto& disks = session.registration->disks;
  return std::any_of(disks.begin(), disks.end(), [this](const map::Disk& disk) {
    const auto row = map_->disks.find(disk.id);
    return row != map_->disks.end() && row->second.uuid == disk.uuid && !row->second.up &&
           row->second.failure.empty();
  });
}

// leases

uint32_t Sessions::feature_level(uint32_t newest) const {
  uint32_t level = newest;
  for (const auto& [id, session] : sessions_) {
    if (session.registration) level = std::min(level, session.registration->feature_level);
  }
  return level;
}

// As many as one request takes: first those that others need, then who has waited longest.
std::vector<LinkId> Sessions::asked_for() const {
  std::vector<LinkId> ids;
  for (const auto& [id, session] : sessions_)
    if (session.registration) ids.push_back(id);
  if (ids.size() <= services_asked_max) return ids;
  SP_PROBE(session_leases_in_turns);
  const auto rank = [this](LinkId id) {
    const Session& session = sessions_.at(id);
    const bool client = session.identity.service.kind == ServiceKind::client;
    return std::tuple(client, client ? session.asked_at : io::Instant{}, id);
  };
  std::sort(ids.begin(), ids.end(), [&](LinkId a, LinkId b) { return rank(a) < rank(b); });
  ids.resize(services_asked_max);
  return ids;
}

void Sessions::ask_leases() {
  ask_timer_.cancel();
  asked_at_ = host_.clock.now();
  Asked& asked = asked_.emplace_back();
  if (asked_.size() > asked_kept) asked_.pop_front();
  asked.sent_ns = static_cast<uint64_t>(asked_at_.ns);
  wire::NodeLeaseRequest request;
  request.sent_ns = asked.sent_ns;
  size_t bytes = 0;
  for (const LinkId id : asked_for()) {
    Session& session = sessions_.at(id);
    session.asked_at = asked_at_;
    const ServiceId service = session.identity.service;
    // One whose end is being made known gets none until that is settled.
    const bool wants = std::exchange(session.wants_lease, false) && departing_.count(service) == 0;
    if (wants) asked.services[service] = {id, session.lease_sent_ns, session.lease_arrived};
    wire::NodeService& row = request.services.emplace_back(
        wire::NodeService{service, session.identity.start_id, wants, session.report});
    bytes += encode(row.report).size();
    if (bytes > reports_bytes_max)
      row.report = {.fenced_index = session.report.fenced_index,
                    .settled_index = session.report.settled_index};
  }
  events_.ask_leases(std::move(request));
}

void Sessions::granted(const wire::NodeLeaseGrant& grant) {
  confirmed_ = std::max(confirmed_, grant.confirmed_index);
  const auto asked = std::find_if(asked_.begin(), asked_.end(),
                                  [&](const Asked& a) { return a.sent_ns == grant.sent_ns; });
  if (asked == asked_.end()) return;
  const auto length = std::min<uint64_t>(
      grant.length_ns, static_cast<uint64_t>(io::Duration(limits::lease_length).count()));
  for (const auto& [service, one] : asked->services) {
    const auto session = sessions_.find(one.link);
    if (session == sessions_.end()) continue;
    const bool given =
        std::find(grant.granted.begin(), grant.granted.end(), service) != grant.granted.end();
    if (given)
      session->second.lease_end = std::max(session->second.lease_end, one.arrived + lease_bound());
    send(one.link, session->second,
         {MessageType::lease_grant,
          0,
          encode(wire::LeaseGrant{one.sent_ns, given ? length : 0, confirmed_}),
          {}});
  }
  asked_.erase(asked_.begin(), asked + 1);
}

void Sessions::confirmed(uint64_t index) {
  if (index <= confirmed_) return;
  confirmed_ = index;
  for (auto& [id, session] : sessions_) {
    if (session.registration)
      send(id, session, {MessageType::confirmed, 0, encode(wire::Confirmed{index}), {}});
  }
}

void Sessions::reports(LinkId id, uint64_t request, const wire::NodeReportsReply& reply) {
  const auto it = sessions_.find(id);
  if (it == sessions_.end()) return;
  send(id, it->second,
       {MessageType::reports_reply,
        request,
        encode(wire::ReportsReply{reply.ok, reply.code, reply.text, reply.last, reply.reports}),
        {}});
}

}  // namespace sp::beacon
