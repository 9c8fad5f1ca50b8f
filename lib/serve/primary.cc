#include "serve/primary.h"

#include <algorithm>

#include "base/client_id.h"
#include "base/planted.h"
#include "base/probe.h"
#include "serve/joiner.h"
#include "serve/sweeper.h"

namespace sp::serve {

namespace {
constexpr size_t copy_places =
    32;  // acting and joining copies of one set at a time: bits of a mask
}

Primary::Primary(Context& context, LocalDisk& disk, const map::DiskSet& row, uint32_t min_copies,
                 SetMemory earlier)
    : context_(context),
      disk_(disk),
      replica_(disk.replica(context.host, row.id)),
      row_(row),
      min_copies_(min_copies),
      operations_(std::move(earlier.operations)),
      fenced_volumes_(std::move(earlier.fenced)),
      knows_fences_(earlier.knows_fences),
      decided_timer_(context.host.reactor) {
  copies_.resize(copy_places);
  layers_ = std::make_shared<Layers>(context_, disk_, set(), [this] { retry_parked(); });
  sweeper_ = std::make_unique<Sweeper>(*this);
  for (const DiskId id : row_.acting) add_copy(id, true);
}

Primary::~Primary() = default;

void Primary::start() { drive(); }

bool Primary::may_decide() const {
  if (SP_PLANTED_BUG(serve_decides_below_min_copies)) return row_.activated;
  return map::may_decide(row_, min_copies_);
}

bool Primary::leads() const {
  if (SP_PLANTED_BUG(serve_reads_after_promise)) return context_.serves(disk_.id);
  if (SP_PLANTED_BUG(serve_ignores_lease))
    return !superseded_ && replica_.epoch() == epoch() && context_.holds(disk_.id);
  return !superseded_ && replica_.epoch() == epoch() && context_.serves(disk_.id);
}

Primary::Copy* Primary::add_copy(DiskId disk, bool counted) {
  for (Copy& copy : copies_) {
    if (copy.disk != 0) continue;
    const uint32_t round = copy.round + 1;
    copy = Copy();
    copy.disk = disk;
    copy.counted = counted;
    copy.round = round;
    return &copy;
  }
  return nullptr;
}

void Primary::remove_copy(Copy& copy) {
  for (Write* write : undecided_) {
    write->acked &= ~bit(copy);
    write->failed &= ~bit(copy);
  }
  const uint32_t round = copy.round + 1;
  copy = Copy();
  copy.round = round;
}

Primary::Copy* Primary::find_copy(DiskId disk) {
  for (Copy& copy : copies_) {
    if (copy.disk == disk) return &copy;
  }
  return nullptr;
}

uint32_t Primary::counted() const {
  uint32_t mask = 0;
  for (const Copy& copy : copies_) {
    if (copy.disk != 0 && copy.counted) mask |= bit(copy);
  }
  return mask;
}

void Primary::update_row(const map::DiskSet& row, uint32_t min_copies) {
  SP_ASSERT_OP(row.epoch, ==, row_.epoch);
  const bool activated_now = row.activated && phase_ == Phase::asking;
  const bool same_row = row.revision == row_.revision;
  row_ = row;
  min_copies_ = min_copies;
  if (!same_row) {
    for (auto& joiner : joiners_) joiner->row_changed();
  }
  if (activated_now) become_active();
  if (phase_ != Phase::active) return;
  // Joining copies follow the row.
  for (auto it = joiners_.begin(); it != joiners_.end();) {
    const bool listed = std::find(row_.recovering.begin(), row_.recovering.end(), (*it)->disk()) !=
                        row_.recovering.end();
    if (listed) {
      ++it;
      continue;
    }
    (*it)->stop();
    it = joiners_.erase(it);
  }
  for (const DiskId id : row_.recovering) {
    const bool known = std::any_of(joiners_.begin(), joiners_.end(),
                                   [&](const auto& joiner) { return joiner->disk() == id; });
    if (!known) joiners_.push_back(std::make_unique<Joiner>(*this, id));
  }
  for (auto& joiner : joiners_) joiner->tick();
  advance();
  retry_parked();
}

void Primary::become_active() {
  phase_ = Phase::active;
  ++context_.counters.activations;
  context_.host.log.info("set activated", {{"group", set().group},
                                           {"set", set().index},
                                           {"epoch", epoch()},
                                           {"copies", row_.acting.size()}});
  advance();  // what was inherited is decided before anything is read
  tell_decided();
  attachments_changed();
}

bool Primary::definite(const Status& status) const {
  if (status.ok()) return true;
  const Code code = status.error().code();
  return code != Code::transient && code != Code::unreachable && code != Code::timed_out &&
         code != Code::closed;
}

void Primary::evict(Copy& copy, const std::string& why, bool lost) {
  copy.trouble = why;
  const io::Instant now = context_.now();
  if (copy.disk == disk_.id) {
    if (evicting_self_) return;
    SP_PROBE(serve_primary_evicts_itself);
    evicting_self_ = true;
    self_lost_ = lost;
    ++open_commands_;
    evict_self_next_ = now;
    return retry_evict_self();
  }
  if (now < copy.evict_next) return;
  copy.evict_next = now + limits::copy_timeout;
  context_.host.log.warning("copy is complained of",
                            {{"set", set().index}, {"disk", copy.disk}, {"why", why}});
  ++context_.counters.evictions;
  SP_PROBE(serve_copy_complained_of);
  map::SetEvict command;
  command.set = set();
  command.epoch = epoch();
  command.disk = copy.disk;
  command.lost = lost;
  context_.member.command(command, [](Result<uint64_t>) {});
}

// The outcome decides whether we lead: asked until it is known.
void Primary::retry_evict_self() {
  if (!evicting_self_ || evict_self_open_ || context_.now() < evict_self_next_) return;
  evict_self_open_ = true;
  map::SetEvict command;
  command.set = set();
  command.epoch = epoch();
  command.disk = disk_.id;
  command.lost = self_lost_;
  context_.member.command(command, [weak = weak_from_this()](Result<uint64_t> result) {
    const auto self = weak.lock();
    if (!self || self->phase_ == Phase::stopped) return;
    self->evict_self_open_ = false;
    self->evict_self_next_ = self->context_.now() + limits::command_retry;
    const Status status = result.ok() ? Status() : Status(result.error());
    // Agreed, or stale: the map that says so ends this leadership. Refused otherwise: we lead on.
    if (!self->definite(status) || status.ok() || status.error().code() == Code::stale) return;
    self->evicting_self_ = false;
    --self->open_commands_;
    self->retry_parked();
  });
}

void Primary::fence(VolumeId volume) {
  if (phase_ != Phase::active || !may_decide()) fenced_volumes_.insert(volume);
}

void Primary::fence_unknown() {
  if (phase_ != Phase::active || !may_decide()) knows_fences_ = false;
}

void Primary::attachments_changed() {
  fenced_records_ = !SP_PLANTED_BUG(serve_shows_fenced_writes) &&
                    std::any_of(undecided_.begin(), undecided_.end(), [&](const Write* write) {
                      const wire::CopyRecord& record = write->prepare.record;
                      return record.attachment.client != 0 &&
                             record.attachment.client != servers_client &&
                             !attachment_valid(map::writer_of(context_.map(), record.object.volume),
                                               record.attachment);
                    });
  if (fenced_records_) SP_PROBE(serve_fence_with_writes_open);
  retry_parked();
}

bool Primary::attachment_valid(VolumeId volume, const wire::AttachmentId& attachment) const {
  const map::Attachment* row = context_.map().attachment(volume, attachment.client);
  return row != nullptr && row->generation == attachment.generation;
}

void Primary::peer_ready(ServiceId server) {
  if (phase_ == Phase::stopped) return;
  for (Copy& copy : copies_) {
    if (copy.disk == 0 || copy.disk == disk_.id || context_.place(copy.disk).server != server)
      continue;
    copy.begin_next = {};
    copy.told = {};  // what was told over the old connection may not have arrived
    pump(copy);
  }
  if (phase_ == Phase::active && !decided_timer_.armed())
    decided_timer_.arm(limits::decided_delay, [this] { tell_decided(); });
  drive();
  for (auto& joiner : joiners_) joiner->tick();
}

void Primary::tick() {
  if (phase_ == Phase::stopped) return;
  drive();
  if (phase_ == Phase::active || phase_ == Phase::equalizing) check_overdue();
  retry_evict_self();
  for (auto& joiner : joiners_) joiner->tick();
  layers_->tick();
  if (phase_ == Phase::active && leads() && may_decide() && !inherits()) sweeper_->tick();
  retry_parked();
  expire_parked();
  pass_tombstones();
}

// A discard has to be remembered while some copy may still have to learn of it. When everybody acts
// who is meant to, all that was decided an interval ago is on each of them.
void Primary::pass_tombstones() {
  const io::Instant now = context_.now();
  const bool first = tombstones_next_.ns == 0;
  const bool due =
      now >= tombstones_next_ || SP_BUGGIFY(serve_passes_tombstones_soon, context_.host);
  if (phase_ != Phase::active || !due) return;
  tombstones_next_ = now + limits::tombstone_interval;
  const auto acts = [&](DiskId id) {
    return std::find(row_.acting.begin(), row_.acting.end(), id) != row_.acting.end();
  };
  const bool everybody = row_.recovering.empty() &&
                         std::all_of(row_.target.begin(), row_.target.end(), acts) &&
                         std::all_of(row_.base.begin(), row_.base.end(), acts) && may_decide();
  if (!everybody && !SP_PLANTED_BUG(serve_forgets_discards_early)) return;
  if (first || decided_to_ == tombstones_told_) return;
  tombstones_told_ = decided_to_;
  wire::Decided message;
  message.set = set();
  message.epoch = epoch();
  message.decided_to = message.tombstones_passed = decided_to_;
  for (const Copy& copy : copies_) {
    if (copy.disk == 0) continue;
    message.disk = copy.disk;
    const Place place = context_.place(copy.disk);
    if (place.local != nullptr)
      place.local->replica(context_.host, set()).decided(message);
    else if (context_.peers.ready(place.server))
      context_.peers.send(place.server, wire::MessageType::decided, encode(message));
  }
}

void Primary::discards_forgotten() {
  for (auto& joiner : joiners_) joiner->discards_forgotten();
}

SetMemory Primary::stop() {
  if (phase_ == Phase::stopped) return {};
  phase_ = Phase::stopped;
  decided_timer_.cancel();
  for (auto& joiner : joiners_) joiner->stop();
  if (!undecided_.empty()) SP_PROBE(serve_epoch_ends_with_writes_open);
  if (!parked_.empty()) SP_PROBE(serve_epoch_ends_with_requests_waiting);
  for (Write* write : undecided_) {
    write->ticket = {};
    if (write->link != 0)
      reply_write(write->link, write->request, wire::DataStatus::stale_epoch,
                  "the set has moved to another epoch");
  }
  auto parked = std::move(parked_);
  parked_.clear();
  for (const auto& request : parked)
    reply(request, wire::DataStatus::stale_epoch, "the set has moved to another epoch");
  SetMemory memory;
  memory.operations.inherit(operations_, decided_to_);
  memory.fenced = std::move(fenced_volumes_);
  memory.knows_fences = knows_fences_;
  return memory;
}

void Primary::add_tasks(std::map<DiskId, member::TaskReport>& tasks) const {
  for (const auto& joiner : joiners_) joiner->add_task(tasks[joiner->disk()]);
}

}  // namespace sp::serve
