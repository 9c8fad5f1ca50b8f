#include "member/beacon_member.h"

#include <algorithm>

#include "base/planted.h"

namespace sp::member {

namespace {

using namespace std::chrono_literals;
using wire::Message;
using wire::MessageType;

constexpr auto tick_interval = limits::lease_length / 4;
constexpr auto fencing_delay_first = std::chrono::milliseconds(1);
constexpr auto fencing_delay_last = std::chrono::milliseconds(64);
constexpr size_t lease_requests_kept = 64;

}  // namespace

std::unique_ptr<Member> Member::start(io::Host& host, Options options, Events events) {
  return std::make_unique<BeaconMember>(host, std::move(options), std::move(events));
}

BeaconMember::BeaconMember(io::Host& host, Options options, Events events)
    : host_(host),
      options_(std::move(options)),
      anchor_(std::make_shared<Anchor>()),
      backoff_(limits::reconnect_backoff_min),
      connect_timer_(host.reactor),
      tick_timer_(host.reactor),
      fencing_timer_(host.reactor),
      heard_(host.clock.now()) {
  SP_ASSERT(!options_.beacons.empty());
  anchor_->events = std::move(events);
  options_.registration.id = options_.self.service;
  options_.registration.start_id = options_.self.start_id;
  connect_next();
  tick_timer_.arm(tick_interval, [this] { tick(); });
}

BeaconMember::~BeaconMember() { anchor_->alive = false; }

// the connection

void BeaconMember::connect_next() {
  const io::Address& address = options_.beacons[next_beacon_];
  attempt_ = host_.net.connect(address, limits::connect_timeout,
                               [this](Result<std::unique_ptr<io::Socket>> socket) {
                                 if (socket.ok())
                                   start_connection(std::move(socket).value());
                                 else
                                   connect_failed(socket.error());
                               });
}

void BeaconMember::connect_failed(const Error& why) {
  attempt_.reset();
  if (!told_unreachable_) {
    host_.log.warning("beacon not reached",
                      {{"beacon", options_.beacons[next_beacon_].text()}, {"why", why.message()}});
    told_unreachable_ = true;
  }
  next_beacon_ = (next_beacon_ + 1) % options_.beacons.size();
  if (next_beacon_ != 0) {
    connect_timer_.arm(0ms, [this] { connect_next(); });
    return;
  }
  connect_timer_.arm(backoff_, [this] { connect_next(); });
  backoff_ = std::min<io::Duration>(backoff_ * 2, limits::reconnect_backoff_max);
}

void BeaconMember::start_connection(std::unique_ptr<io::Socket> socket) {
  heard_ = host_.clock.now();
  connection_ =
      wire::Connection::start(host_, std::move(socket), options_.key, options_.self, false,
                              {[this](const wire::Identity&) { on_ready(); },
                               [this](Message message) { on_message(std::move(message)); },
                               [this](const Error& why) { on_closed(why); }});
}

void BeaconMember::on_ready() {
  attempt_.reset();
  if (connection_->peer().service.kind != ServiceKind::beacon) {
    host_.log.error("not a beacon", {{"address", options_.beacons[next_beacon_].text()}});
    drop_connection("what answers there is not a beacon; check the addresses in sp.toml");
    return;
  }
  host_.log.info("connected", {{"beacon", options_.beacons[next_beacon_].text()}});
  next_beacon_ = 0;  // the next time from the front again
  send_register();
  const auto anchor = anchor_;
  send_lease_request();
  if (!anchor->alive || !connected()) return;
  for (auto& [number, pending] : commands_) {
    if (pending.sent) continue;
    pending.sent = true;
    connection_->send({MessageType::command,
                       number,
                       encode(wire::CommandRequest{std::move(pending.command)}),
                       {}});
  }
  for (auto& [number, pending] : reports_) {
    if (std::exchange(pending.sent, true)) continue;
    connection_->send({MessageType::reports_query, number, {}, {}});
  }
}

// The beacon is gone, or ended the connection: map and lease grow old, commands under way have an
// unknown outcome.
void BeaconMember::on_closed(const Error& why) {
  // Our end closed it, which the beacon takes for the end of this process: serving stops first.
  if (why.code() != Code::closed) lease_until_ = {INT64_MIN};
  const bool was_ready = connection_->ready() || !lease_requests_.empty();
  if (was_ready && !std::exchange(told_unreachable_, true))
    host_.log.warning("beacon lost", {{"why", why.message()}});
  connection_.reset();
  assembly_.reset();
  lease_requests_.clear();
  if (was_ready) {  // the nearest one first: it is most likely starting again
    attempt_.reset();
    next_beacon_ = 0;
    connect_timer_.arm(backoff_, [this] { connect_next(); });
    backoff_ = std::min<io::Duration>(backoff_ * 2, limits::reconnect_backoff_max);
  } else {
    connect_failed(why);
  }
  fail_sent(Error(Code::transient,
                  "the connection to the beacon broke: the outcome is unknown, look at the map"));
}

// We end the connection. The beacon takes that as the end of this service, so serving stops first.
void BeaconMember::drop_connection(const char* why) {
  lease_until_ = {INT64_MIN};
  on_closed(Error(Code::closed, why));
}

void BeaconMember::fail_sent(const Error& why) {
  // Out of the tables first: callbacks may issue new commands, or destroy this.
  std::vector<Callback<void(Result<uint64_t>)>> commands;
  for (auto it = commands_.begin(); it != commands_.end();) {
    if (it->second.sent) {
      commands.push_back(std::move(it->second.done));
      it = commands_.erase(it);
    } else {
      ++it;
    }
  }
  std::vector<Callback<void(Result<std::vector<ServiceReport>>)>> reports;
  for (auto it = reports_.begin(); it != reports_.end();) {
    if (it->second.sent) {
      reports.push_back(std::move(it->second.done));
      it = reports_.erase(it);
    } else {
      ++it;
    }
  }
  const auto anchor = anchor_;
  for (auto& done : commands) {
    if (anchor->alive) done(why);
  }
  for (auto& done : reports) {
    if (anchor->alive) done(why);
  }
}

void BeaconMember::tick() {
  tick_timer_.arm(tick_interval, [this] { tick(); });
  if (connected()) {
    if (host_.clock.now() - heard_ > limits::beacon_silent_after) {
      drop_connection("the beacon does not answer");
      return;
    }
    if (!SP_BUGGIFY(member_reports_late, host_)) send_lease_request();
  }
  expire();
}

void BeaconMember::expire() {
  const io::Instant now = host_.clock.now();
  std::vector<Callback<void(Result<uint64_t>)>> commands;
  for (auto it = commands_.begin(); it != commands_.end();) {
    if (!it->second.sent && it->second.deadline <= now) {
      commands.push_back(std::move(it->second.done));
      it = commands_.erase(it);
    } else {
      ++it;
    }
  }
  std::vector<Callback<void(Result<std::vector<ServiceReport>>)>> reports;
  for (auto it = reports_.begin(); it != reports_.end();) {
    if (it->second.deadline <= now) {
      reports.push_back(std::move(it->second.done));
      it = reports_.erase(it);
    } else {
      ++it;
    }
  }
  std::vector<Callback<void(Status)>> confirms;
  for (size_t i = 0; i < confirms_.size();) {
    if (confirms_[i].deadline <= now) {
      confirms.push_back(std::move(confirms_[i].done));
      confirms_.erase(confirms_.begin() + static_cast<ptrdiff_t>(i));
    } else {
      ++i;
    }
  }
  const auto anchor = anchor_;
  for (auto& done : commands) {
    if (anchor->alive)
      done(
          Error(Code::unreachable, "no beacon can be reached; is sp-beacon running on this node?"));
  }
  for (auto& done : reports) {
    if (anchor->alive)
      done(Error(Code::unreachable, "no leading beacon answered; is there a quorum?"));
  }
  for (auto& done : confirms) {
    if (anchor->alive)
      done(Error(Code::timed_out, "not all servers have confirmed the change yet"));
  }
}

// what we say

void BeaconMember::send_register() {
  connection_->send(
      {MessageType::register_,
       0,
       encode(wire::Register{options_.registration, options_.disks, options_.with_buckets,
                             options_.self.versions.feature_level_newest},
              connection_->protocol()),
       {}});
}

void BeaconMember::send_lease_request() {
  const auto anchor = anchor_;
  wire::LeaseRequest request;
  request.report = report();
  if (!anchor->alive || !connected()) return;
  wire::trim(request.report);
  const int64_t now = host_.clock.now().ns;
  request.sent_ns = static_cast<uint64_t>(now);
  request.map_index = map_.index;
  fenced_sent_ = request.report.fenced_index;
  settled_sent_ = request.report.settled_index;
  lease_requests_.push_back(now);
  if (lease_requests_.size() > lease_requests_kept) lease_requests_.pop_front();
  connection_->send({MessageType::lease_request, 0, encode(request, connection_->protocol()), {}});
}

// May run a callback that destroys this.
Report BeaconMember::report() {
  const auto anchor = anchor_;
  if (!anchor->events.make_report) return {.fenced_index = map_.index};
  Report report = anchor->events.make_report();
  // What came after the last change that this service was told of does not concern it, so it is in
  // force as well.
  if (!anchor->alive) return report;
  if (report.fenced_index >= told_index_)
    report.fenced_index = std::max(report.fenced_index, map_.index);
  if (report.settled_index >= told_index_)
    report.settled_index = std::max(report.settled_index, map_.index);
  report.fenced_index = std::max(report.fenced_index, fenced_sent_);  // what was in force stays so
  return report;
}

// After a change of the map others wait until it is in force here, and until the cuts that it
// opened are settled: say so soon, not with the next regular request.
void BeaconMember::watch_fencing() {
  if (options_.self.service.kind != ServiceKind::server || !anchor_->events.make_report) return;
  fencing_delay_ = fencing_delay_first;
  fencing_timer_.arm(fencing_delay_, [this] { fencing_step(); });
}

void BeaconMember::fencing_step() {
  const auto all_said = [this] {
    return fenced_sent_ >= map_.index && (map_.cuts.empty() || settled_sent_ >= map_.index);
  };
  if (!connected() || all_said()) return;
  const auto anchor = anchor_;
  const Report now = report();
  if (!anchor->alive) return;
  if (now.fenced_index > fenced_sent_ || now.settled_index > settled_sent_) send_lease_request();
  if (!anchor->alive || all_said() || fencing_delay_ >= fencing_delay_last) return;
  fencing_delay_ *= 4;
  fencing_timer_.arm(fencing_delay_, [this] { fencing_step(); });
}

void BeaconMember::command(const map::Command& command, Callback<void(Result<uint64_t>)> done) {
  auto bytes = map::encode(command);
  if (bytes.size() > limits::raft_command_bytes_max) {
    auto refused = std::make_shared<Callback<void(Result<uint64_t>)>>(std::move(done));
    host_.reactor.post([anchor = anchor_, refused] {
      if (anchor->alive)
        (*refused)(Error(Code::invalid, "the command is larger than a command may be; split it"));
    });
    return;
  }
  const uint64_t number = ++last_request_;
  PendingCommand& pending = commands_[number];
  pending.done = std::move(done);
  pending.deadline = host_.clock.now() + limits::command_connect_timeout;
  pending.command = std::move(bytes);
  if (!connected()) return;
  pending.sent = true;
  connection_->send(
      {MessageType::command, number, encode(wire::CommandRequest{std::move(pending.command)}), {}});
}

std::string BeaconMember::waits_for() const {
  const auto self = map_.services.find(options_.self.service);
  const bool registered = self != map_.services.end() && self->second.up &&
                          self->second.start_id == options_.self.start_id;
  std::string text;
  if (!connected())
    text = "a beacon: " + options_.beacons[next_beacon_].text() + " does not take the connection";
  else if (map_.index == 0)
    text = "the map";
  else if (!registered)
    text = "its registration";
  else if (host_.clock.now() >= lease_until_)
    text = "a lease";
  for (const auto& [number, pending] : commands_) {
    text += text.empty() ? "" : "; ";
    if (pending.index != 0)
      text += "the map at index " + std::to_string(pending.index) + ", it is at " +
              std::to_string(map_.index);
    else
      text += pending.sent ? "the answer to a command" : "a connection for a command";
  }
  for (const PendingConfirm& pending : confirms_) {
    text += (text.empty() ? "" : "; ") + std::string("all servers to put index ") +
            std::to_string(pending.index) + " in force, they have " +
            std::to_string(confirmed_index_);
  }
  return text;
}

void BeaconMember::confirm(uint64_t index, io::Duration timeout, Callback<void(Status)> done) {
  confirms_.push_back({index, host_.clock.now() + timeout, std::move(done)});
  if (index > confirmed_index_) return;
  host_.reactor.post([anchor = anchor_, this] {
    if (anchor->alive) confirmed(confirmed_index_);
  });
}

void BeaconMember::reports(Callback<void(Result<std::vector<ServiceReport>>)> done) {
  const uint64_t number = ++last_request_;
  PendingReports& pending = reports_[number];
  pending.done = std::move(done);
  pending.deadline = host_.clock.now() + limits::command_connect_timeout;
  if (!connected()) return;
  pending.sent = true;
  connection_->send({MessageType::reports_query, number, {}, {}});
}

void BeaconMember::update_disks(std::vector<map::Disk> disks) {
  options_.disks = std::move(disks);
  if (connected()) send_register();
}

// what we hear

void BeaconMember::on_message(Message message) {
  heard_ = host_.clock.now();
  // Only now: a beacon that does not take us ends the connection without a word.
  backoff_ = limits::reconnect_backoff_min;
  told_unreachable_ = false;
  switch (message.type) {
    case MessageType::map_full: return on_map_piece(message, true);
    case MessageType::map_delta: return on_map_piece(message, false);
    case MessageType::lease_grant: return on_lease_grant(message);
    case MessageType::register_refused: return on_refused(message);
    case MessageType::command_reply: return on_command_reply(message);
    case MessageType::reports_reply: return on_reports_reply(message);
    case MessageType::ping: return connection_->send({MessageType::pong, message.request, {}, {}});
    case MessageType::confirmed: {
      const auto body = wire::decode<wire::Confirmed>(message.body);
      if (!body) return drop_connection("malformed message");
      return confirmed(body->index);
    }
    default: return;  // newer beacons may say more
  }
}

void BeaconMember::on_map_piece(const Message& message, bool full) {
  auto piece = wire::decode<wire::MapPiece>(message.body);
  if (!piece || piece->total > limits::map_bytes_max)
    return drop_connection("malformed piece of the map");
  if (piece->offset == 0)
    assembly_ = Assembly{full, piece->from_index, piece->index, piece->total, {}};
  if (!assembly_ || assembly_->full != full || assembly_->index != piece->index ||
      assembly_->from_index != piece->from_index || assembly_->total != piece->total ||
      assembly_->bytes.size() != piece->offset ||
      piece->offset + piece->bytes.size() > piece->total) {
    return drop_connection("pieces of the map out of order");
  }
  assembly_->bytes.insert(assembly_->bytes.end(), piece->bytes.begin(), piece->bytes.end());
  if (assembly_->bytes.size() < assembly_->total) return;
  const Assembly whole = *std::exchange(assembly_, std::nullopt);
  if (full)
    on_map(whole.bytes, whole.index);
  else
    on_delta(whole.bytes, whole.from_index, whole.index);
}

void BeaconMember::on_map(Bytes bytes, uint64_t index) {
  auto map = map::decode_map(bytes);
  if (!map) return drop_connection("the map does not decode");
  if (index < map_.index)
    return;  // another beacon that is behind: its deltas will bring it past ours, until then ours
             // is newer
  map_ = std::move(*map);
  map_.index = told_index_ = index;
  look_for_removal();
  watch_fencing();
  const auto anchor = anchor_;
  if (anchor->events.map_changed) anchor->events.map_changed({});
  if (anchor->alive) settle_commands();
}

void BeaconMember::on_delta(Bytes bytes, uint64_t from_index, uint64_t index) {
  if (index <= map_.index) return;
  if (from_index > map_.index) return drop_connection("a change of the map is missing");
  Reader reader(bytes);
  std::vector<map::Change> changes;
  while (!reader.rest().empty()) {
    auto change = map::decode_change(reader);
    if (!change || !map::apply(map_, *change)) {
      map_ = {};  // half changed: ask for the whole map
      return drop_connection("a change of the map does not decode");
    }
    changes.push_back(std::move(*change));
  }
  map_.index = index;
  if (!changes.empty()) told_index_ = index;
  look_for_removal();
  watch_fencing();
  const auto anchor = anchor_;
  if (anchor->events.map_changed && !changes.empty()) anchor->events.map_changed(changes);
  if (anchor->alive) settle_commands();
}

void BeaconMember::on_lease_grant(const Message& message) {
  const auto grant = wire::decode<wire::LeaseGrant>(message.body);
  if (!grant) return drop_connection("malformed message");
  const auto sent = static_cast<int64_t>(grant->sent_ns);
  const auto length = std::min<uint64_t>(
      grant->length_ns, static_cast<uint64_t>(io::Duration(limits::lease_length).count()));
  const auto asked = std::find(lease_requests_.begin(), lease_requests_.end(), sent);
  // Only what we asked for on this connection counts: nobody can grant from a time of their own
  // choosing.
  if (asked != lease_requests_.end() && length != 0) {
    lease_requests_.erase(lease_requests_.begin(), asked);
    const io::Instant from =
        SP_PLANTED_BUG(member_lease_from_grant) ? host_.clock.now() : io::Instant{sent};
    lease_until_ = std::max(lease_until_, from + io::Duration(length));
  }
  confirmed(grant->confirmed_index);
}

void BeaconMember::on_command_reply(const Message& message) {
  auto reply = wire::decode<wire::CommandReply>(message.body);
  if (!reply) return drop_connection("malformed message");
  // Not again and again: each loss makes new epochs, for which everybody asks again.
  if (SP_BUGGIFY(member_loses_answer, host_) && host_.clock.now() >= loses_answer_next_) {
    loses_answer_next_ = host_.clock.now() + std::chrono::seconds(2);
    return drop_connection("simulated");
  }
  const auto it = commands_.find(message.request);
  if (it == commands_.end()) return;
  if (reply->ok) {
    it->second.index = reply->index;
    return settle_commands();
  }
  auto done = std::move(it->second.done);
  commands_.erase(it);
  done(Error(reply->code, std::move(reply->text)));
}

void BeaconMember::on_reports_reply(const Message& message) {
  auto reply = wire::decode<wire::ReportsReply>(message.body);
  if (!reply) return drop_connection("malformed message");
  const auto it = reports_.find(message.request);
  if (it == reports_.end()) return;
  auto& have = it->second.have;
  have.insert(have.end(), std::make_move_iterator(reply->reports.begin()),
              std::make_move_iterator(reply->reports.end()));
  if (reply->ok && !reply->last) return;
  auto pending = std::move(it->second);
  reports_.erase(it);
  if (reply->ok)
    pending.done(std::move(pending.have));
  else
    pending.done(Error(reply->code, std::move(reply->text)));
}

void BeaconMember::settle_commands() {
  const auto anchor = anchor_;
  for (auto it = commands_.begin(); it != commands_.end();) {
    const uint64_t number = it->first;
    if (it->second.index == 0 || it->second.index > map_.index) {
      ++it;
      continue;
    }
    auto pending = std::move(it->second);
    commands_.erase(it);
    pending.done(pending.index);
    if (!anchor->alive) return;
    it = commands_.upper_bound(number);
  }
}

void BeaconMember::confirmed(uint64_t index) {
  confirmed_index_ = std::max(confirmed_index_, index);
  const auto anchor = anchor_;
  for (size_t i = 0; i < confirms_.size();) {
    if (confirms_[i].index > confirmed_index_) {
      ++i;
      continue;
    }
    auto done = std::move(confirms_[i].done);
    confirms_.erase(confirms_.begin() + static_cast<ptrdiff_t>(i));
    done(Status());
    if (!anchor->alive) return;
  }
}

}  // namespace sp::member
