#include "sim/fake_control.h"

#include <algorithm>

#include "base/limits.h"
#include "base/versions.h"
#include "map/field_codec.h"
#include "sim/fake_member.h"
#include "state/apply.h"

namespace sp::sim {

namespace {
constexpr io::Duration tick_interval = std::chrono::milliseconds(20);
// World time after which a lease is over on any clock: it was counted from before this instant.
constexpr io::Duration lease_over = limits::node_silent_after;
}  // namespace

FakeControl::FakeControl(io::SimWorld& world, FakeControlOptions options)
    : world_(world), options_(options) {
  map_.index = 1;
  map_.cluster.id = 0xc1u;
  map_.cluster.feature_level = Versions().feature_level_newest;
  tick();
}

FakeControl::~FakeControl() = default;

bool FakeControl::draw(double probability) {
  return static_cast<double>(world_.random().number() >> 11) * 0x1.0p-53 < probability;
}

io::Duration FakeControl::delay() {
  return io::sim_exponential(world_.random(), static_cast<double>(options_.delay_mean.count())) *
             io::Duration(1) +
         std::chrono::microseconds(50);
}

// the map and its way to the members

void FakeControl::change(map::Change row) {
  const bool good = map::apply(map_, row);
  SP_ASSERT(good);
  pending_.push_back(std::move(row));
}

void FakeControl::publish() {
  if (pending_.empty()) return;
  ++map_.index;
  for (auto& [id, session] : sessions_) {
    session->updates.push_back({map_.index, pending_, {}, {}});
    deliver(*session);
  }
  pending_.clear();
}

void FakeControl::deliver(Session& session) {
  if (session.delivering || session.updates.empty()) return;
  const auto found = unreachable_.find(session.self.service);
  if (found != unreachable_.end() && found->second) return;
  session.delivering = true;
  io::Duration wait = delay();
  if (draw(options_.slow_change))
    wait += io::Duration(
        world_.random().below(static_cast<uint64_t>(options_.slow_change_max.count())));
  world_.at(wait, [this, alive = std::weak_ptr<char>(alive_), weak = session.weak_from_this()] {
    const auto session = weak.lock();
    if (!alive.lock() || !session) return;
    session->delivering = false;
    if (session->updates.empty() || session->member == nullptr) return;
    auto update = std::make_shared<Session::Update>(std::move(session->updates.front()));
    session->updates.pop_front();
    session->host.reactor.post([weak, update] {
      const auto session = weak.lock();
      if (session && session->member != nullptr) session->member->take(*update);
    });
    deliver(*session);
  });
}

// configuration

bool FakeControl::disk_up(DiskId disk) const { return map_.disk_serves(disk); }

GroupId FakeControl::add_group(uint8_t copies, uint8_t min_copies,
                               const std::vector<std::vector<DiskId>>& sets) {
  map::AllocationGroup group;
  group.id = ++map_.cluster.group_last;
  group.set_count = static_cast<uint32_t>(sets.size());
  group.copies = copies;
  group.min_copies = min_copies;
  change(map::to_change(map_.cluster));
  change(map::to_change(group));
  for (size_t i = 0; i < sets.size(); ++i) {
    change(map::to_change(map::new_set({group.id, static_cast<uint16_t>(i)}, sets[i],
                                       [this](DiskId disk) { return disk_up(disk); })));
  }
  publish();
  return group.id;
}

VolumeId FakeControl::add_volume(GroupId group, uint64_t size_bytes) {
  map::Volume volume;
  volume.id = volume.root = ++map_.cluster.volume_last;
  volume.name = "volume" + std::to_string(volume.id);
  volume.size_bytes = size_bytes;
  volume.group = group;
  change(map::to_change(map_.cluster));
  change(map::to_change(volume));
  publish();
  return volume.id;
}

void FakeControl::resize_volume(VolumeId volume, uint64_t size_bytes) {
  map::Volume row = map_.volumes.at(volume);
  row.size_bytes = size_bytes;
  change(map::to_change(row));
  publish();
}

void FakeControl::remove_volume(VolumeId volume) {
  change(map::to_removal<map::Volume>(volume));
  publish();
}

uint32_t FakeControl::attach(VolumeId volume, ClientId client, map::Rights rights, bool shared) {
  if (rights == map::Rights::read_write && !shared) {
    std::vector<ClientId> others;
    for (const auto& [key, row] : map_.attachments) {
      if (key.first == volume && key.second != client && row.rights == map::Rights::read_write)
        others.push_back(key.second);
    }
    for (const ClientId other : others) change(map::to_removal<map::Attachment>({volume, other}));
  }
  map::Attachment row;
  row.volume = volume;
  row.client = client;
  row.rights = rights;
  row.generation = ++map_.cluster.generation_last;
  change(map::to_change(map_.cluster));
  change(map::to_change(row));
  publish();
  return row.generation;
}

void FakeControl::begin_detach(VolumeId volume, ClientId client) {
  map::Attachment row = *map_.attachment(volume, client);
  row.state = map::AttachmentState::detaching;
  change(map::to_change(row));
  publish();
}

void FakeControl::detach(VolumeId volume, ClientId client) {
  change(map::to_removal<map::Attachment>({volume, client}));
  publish();
}

void FakeControl::put_set(const map::SetEvent& event) {
  if (!event.changed) return;
  const map::DiskSet before = map_.sets.at(event.set.id);
  const auto& acting = event.set.acting;
  // Earlier primaries that are copies of an epoch that is not activated: nobody has told them yet.
  std::set<DiskId>& untold = untold_[before.id];
  if (before.activated) untold.clear();
  untold.insert(before.acting.front());
  std::erase_if(untold, [&](DiskId primary) {
    if (std::find(acting.begin(), acting.end(), primary) != acting.end()) return false;
    if (disk_up(primary)) dropped_[before.id][map_.disks.at(primary).server] = map_.index + 1;
    return true;
  });
  change(map::to_change(event.set));
}

// Without a lease it does not serve, and it gets none again before it has put the map in force.
bool FakeControl::stopped(ServiceId server, uint64_t index) {
  const auto found = sessions_.find(server);
  if (found == sessions_.end()) return true;
  Session& session = *found->second;
  if (session.fenced_index >= index) return true;
  if (world_.now() - session.last_grant <= lease_over) return false;
  session.lease_floor = std::max(session.lease_floor, index);
  return true;
}

void FakeControl::each_set(const std::function<map::SetEvent(const map::DiskSet&)>& rule) {
  std::vector<map::DiskSet> rows;
  for (const auto& [id, row] : map_.sets) rows.push_back(row);
  for (const auto& row : rows) put_set(rule(row));
}

void FakeControl::retarget(SetId set, std::vector<DiskId> target) {
  const auto copies = map_.groups.at(set.group).copies;
  put_set(map::retarget(
      map_.sets.at(set), std::move(target), [this](DiskId disk) { return disk_up(disk); }, copies));
  publish();
}

// services

void FakeControl::disk_goes_down(DiskId id) {
  map::Disk row = map_.disks.at(id);
  if (!row.up) return;
  row.up = false;
  change(map::to_change(row));
  each_set([&](const map::DiskSet& set) {
    return map::disk_down(set, id, [this](DiskId disk) { return disk_up(disk); });
  });
}

void FakeControl::disk_comes_up(const map::Disk& disk) {
  map::Disk row = disk;
  row.up = true;
  change(map::to_change(row));
  each_set([&](const map::DiskSet& set) {
    return map::disk_up(set, disk.id, [this](DiskId id) { return disk_up(id); });
  });
}

void FakeControl::service_up(const map::Service& service, const std::vector<map::Disk>& disks) {
  const auto before = map_.services.find(service.id);
  const bool same = before != map_.services.end() && before->second.up &&
                    before->second.start_id == service.start_id;
  std::vector<DiskId> held;
  for (const auto& [id, row] : map_.disks) {
    if (row.server == service.id && row.up) held.push_back(id);
  }
  for (const DiskId id : held) {
    const bool stays = same && std::any_of(disks.begin(), disks.end(),
                                           [&](const map::Disk& disk) { return disk.id == id; });
    if (!stays) disk_goes_down(id);
  }
  map::Service row = service;
  row.up = true;
  change(map::to_change(row));
  for (const map::Disk& disk : disks) {
    const auto known = map_.disks.find(disk.id);
    if (known != map_.disks.end() && known->second.up) {
      if (known->second.server == service.id) continue;
      disk_goes_down(disk.id);
    }
    disk_comes_up(disk);
  }
  publish();
}

void FakeControl::service_down(ServiceId id) {
  const auto found = map_.services.find(id);
  if (found == map_.services.end() || !found->second.up) return;
  map::Service row = found->second;
  row.up = false;
  std::vector<DiskId> held;
  for (const auto& [disk, disk_row] : map_.disks) {
    if (disk_row.server == id && disk_row.up) held.push_back(disk);
  }
  change(map::to_change(row));
  for (const DiskId disk : held) disk_goes_down(disk);
  publish();
}

void FakeControl::set_reachable(ServiceId service, bool reachable) {
  unreachable_[service] = !reachable;
  if (const auto found = sessions_.find(service); reachable && found != sessions_.end())
    deliver(*found->second);
}

void FakeControl::set_quorum(bool quorum) { quorum_ = quorum; }

void FakeControl::process_ended(ServiceId service, uint64_t start_id) {
  if (const auto found = sessions_.find(service);
      found != sessions_.end() && found->second->self.start_id == start_id)
    sessions_.erase(found);
  world_.at(delay() + std::chrono::milliseconds(5),
            [this, alive = std::weak_ptr<char>(alive_), service, start_id] {
              if (!alive.lock() || !quorum_) return;
              const auto row = map_.services.find(service);
              if (row != map_.services.end() && row->second.up && row->second.start_id == start_id)
                service_down(service);
            });
}

std::unique_ptr<member::Member> FakeControl::join(io::Host& host, member::Options options,
                                                  member::Member::Events events) {
  auto session = std::make_shared<Session>(host, options.self);
  session->registration = options.registration;
  session->registration.id = options.self.service;
  session->registration.start_id = options.self.start_id;
  session->disks = options.disks;
  session->last_heard = session->last_grant = world_.now();
  sessions_[options.self.service] = session;
  auto member = std::make_unique<FakeMember>(*this, session, std::move(events));
  session->member = member.get();
  // The whole map first, as it is now.
  session->updates.push_back({map_.index, {}, std::make_shared<map::Map>(map_), {}});
  deliver(*session);
  return member;
}

// commands and leases

Status FakeControl::apply(const map::Command& command) {
  ++commands_;
  const auto up = [this](DiskId disk) { return disk_up(disk); };
  const auto set_event = [&](SetId id, bool current, const auto& rule) -> Status {
    const auto found = map_.sets.find(id);
    if (found == map_.sets.end()) return Error(Code::not_found, "no such set");
    if (!current) return Error(Code::stale, "the set has changed");
    if (std::holds_alternative<map::SetActivated>(command)) {
      std::erase_if(dropped_[id], [&](const auto& old) { return stopped(old.first, old.second); });
      if (!dropped_[id].empty())
        return Error(Code::transient, "an earlier primary has not confirmed that it has stopped");
    }
    const map::SetEvent event = rule(found->second, map_.groups.at(id.group));
    if (!event.changed) return Error(Code::refused, "the rules of disk sets do not allow it");
    put_set(event);
    return {};
  };
  if (const auto* c = std::get_if<map::SetActivated>(&command)) {
    return set_event(c->set, map_.sets.count(c->set) != 0 && map_.sets.at(c->set).epoch == c->epoch,
                     [&](const auto& set, const auto& group) {
                       return map::activated(set, c->epoch, group.min_copies, up);
                     });
  }
  if (const auto* c = std::get_if<map::SetPromote>(&command)) {
    return set_event(c->set,
                     map_.sets.count(c->set) != 0 && map_.sets.at(c->set).revision == c->revision,
                     [&](const auto& set, const auto& group) {
                       return map::promote(set, c->revision, c->disk, group.copies);
                     });
  }
  if (const auto* c = std::get_if<map::SetEvict>(&command)) {
    return set_event(c->set, map_.sets.count(c->set) != 0 && map_.sets.at(c->set).epoch == c->epoch,
                     [&](const auto& set, const auto& group) {
                       if (c->lost) return map::lost_copy(set, c->epoch, c->disk, up);
                       return map::evict(set, c->epoch, c->disk, group.min_copies);
                     });
  }
  if (const auto* c = std::get_if<map::DiskFailed>(&command)) {
    const auto found = map_.disks.find(c->disk);
    if (found == map_.disks.end()) return Error(Code::not_found, "no such disk");
    disk_goes_down(c->disk);
    map::Disk row = found->second;
    row.failure = c->why;
    change(map::to_change(row));
    return {};
  }
  return Error(Code::invalid, "the simulated control does not know this command");
}

void FakeControl::command(const std::shared_ptr<Session>& session, const map::Command& command,
                          Callback<void(Result<uint64_t>)> done) {
  struct Call {
    map::Command command;
    Callback<void(Result<uint64_t>)> done;
    Result<uint64_t> result = Error(Code::transient, "the outcome is unknown");
    uint64_t index = 0;
  };
  auto call = std::make_shared<Call>();
  call->command = command;
  call->done = std::move(done);
  world_.at(delay(), [this, alive = std::weak_ptr<char>(alive_),
                      weak = std::weak_ptr<Session>(session), call] {
    if (!alive.lock()) return;
    const auto session = weak.lock();
    if (!session) return;
    const bool reachable = quorum_ && !unreachable_[session->self.service];
    const bool unknown = draw(options_.unknown_outcome);
    if (reachable && (!unknown || draw(0.5))) {
      const Status status = apply(call->command);
      publish();
      if (!unknown)
        call->result =
            status.ok() ? Result<uint64_t>(map_.index) : Result<uint64_t>(status.error());
    }
    // The answer comes after the map that has it.
    session->updates.push_back(
        {0, {}, {}, [call] { call->done.call_once(std::move(call->result)); }});
    if (!reachable || unknown) {
      // Told by the member's own timeout, out of order.
      auto answer = std::move(session->updates.back().answer);
      session->updates.pop_back();
      auto box = std::make_shared<std::function<void()>>(std::move(answer));
      world_.at(std::chrono::milliseconds(200), [weak, box] {
        const auto session = weak.lock();
        if (session && session->member != nullptr)
          session->host.reactor.post([weak, box] {
            const auto session = weak.lock();
            if (session && session->member != nullptr) (*box)();
          });
      });
      return;
    }
    deliver(*session);
  });
}

void FakeControl::lease_request(const std::shared_ptr<Session>& session, io::Instant sent,
                                const member::Report& report) {
  world_.at(delay(),
            [this, alive = std::weak_ptr<char>(alive_), weak = std::weak_ptr<Session>(session),
             sent, fenced_index = report.fenced_index, settled_index = report.settled_index] {
              const auto session = weak.lock();
              if (!alive.lock() || !session || !quorum_ || unreachable_[session->self.service])
                return;
              const auto row = map_.services.find(session->self.service);
              if (row == map_.services.end() || !row->second.up ||
                  row->second.start_id != session->self.start_id || !session->registered) {
                session->registered = true;
                service_up(session->registration, session->disks);
                // What was confirmed while it was away, was confirmed without it.
                session->lease_floor = map_.index;
              }
              session->last_heard = world_.now();
              session->fenced_index = std::max(session->fenced_index, fenced_index);
              session->settled_index = std::max(session->settled_index, settled_index);
              if (session->self.service.kind == ServiceKind::server &&
                  session->fenced_index < session->lease_floor)
                return;
              session->last_grant = world_.now();
              world_.at(delay(), [weak, sent] {
                const auto session = weak.lock();
                if (!session || session->member == nullptr) return;
                session->host.reactor.post([weak, sent] {
                  const auto session = weak.lock();
                  if (session && session->member != nullptr) session->member->granted(sent);
                });
              });
            });
}

bool FakeControl::settled(uint64_t index) const {
  return std::all_of(map_.services.begin(), map_.services.end(), [&](const auto& entry) {
    if (entry.first.kind != ServiceKind::server || !entry.second.up) return true;
    const auto session = sessions_.find(entry.first);
    return session != sessions_.end() && session->second->settled_index >= index;
  });
}

Status FakeControl::agree(const map::Command& command) {
  std::map<std::string, VolumeId, std::less<>> names;
  for (const auto& [id, volume] : map_.volumes) names[volume.name] = id;
  state::Draft draft(map_, names);
  Status status = state::apply(draft, command);
  if (!status.ok()) {
    draft.roll_back();
    return status;
  }
  uint64_t hash_change = 0;
  for (map::Change& row : draft.changes(hash_change)) pending_.push_back(std::move(row));
  publish();
  return {};
}

bool FakeControl::in_force(uint64_t index) const {
  for (const auto& [id, row] : map_.services) {
    if (id.kind != ServiceKind::server || !row.up) continue;
    const auto session = sessions_.find(id);
    if (session == sessions_.end() || session->second->self.start_id != row.start_id) return false;
    if (session->second->fenced_index < index) return false;
  }
  return true;
}

void FakeControl::tick() {
  world_.at(tick_interval, [this, alive = std::weak_ptr<char>(alive_)] {
    if (alive.lock()) tick();
  });
  if (!quorum_) return;
  std::vector<ServiceId> silent;
  for (const auto& [id, row] : map_.services) {
    if (!row.up) continue;
    // A session that is gone or of a later process: the owner has said that this process ended.
    const auto session = sessions_.find(id);
    const bool known = session != sessions_.end() && session->second->self.start_id == row.start_id;
    if (!known || world_.now() - session->second->last_heard > lease_over) silent.push_back(id);
  }
  for (const ServiceId id : silent) service_down(id);
}

}  // namespace sp::sim
