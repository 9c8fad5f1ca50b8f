#include "serve/server.h"

#include "base/probe.h"
#include "serve/records.h"
#include "serve/repair.h"
#include "serve/server_impl.h"

namespace sp::serve {

ServerImpl::ServerImpl(io::Host& host, ServerOptions options, member::Member& member)
    : host_(host),
      options_(std::move(options)),
      admission_(host.reactor, options_.tuning.in_service_max,
                 [this](ClientRequest request) { serve_client(std::move(request)); }),
      context_(host, member, options_.key, options_.self, options_.tuning),
      links_(
          host, options_.key, options_.self,
          [this](const Links::Peer& from, wire::Message message) {
            handle(from, std::move(message));
          },
          [this](uint64_t link) { link_closed(link); }),
      tick_timer_(host.reactor) {
  context_.reply = [this](uint64_t link, wire::Message message) {
    links_.reply(link, std::move(message));
  };
  context_.peers.on_ready = [this](ServiceId server) {
    for (auto& [set, primary] : primaries_) primary->peer_ready(server);
  };
}

ServerImpl::~ServerImpl() {
  // Stores go first: whatever they still hold on to is dropped while everything else is alive.
  for (auto& [id, disk] : context_.disks) disk->store.reset();
}

Result<std::unique_ptr<Server>> Server::start(io::Host& host, ServerOptions options,
                                              member::Member& member) {
  auto server = std::make_unique<ServerImpl>(host, std::move(options), member);
  if (Status status = server->listen(); !status.ok()) return std::move(status).error();
  server->open_disks();
  return std::unique_ptr<Server>(std::move(server));
}

Status ServerImpl::listen() {
  tick_timer_.arm(limits::server_tick, [this] { tick(); });
  return links_.listen(options_.listen);
}

void ServerImpl::tick() {
  tick_timer_.arm(limits::server_tick, [this] { tick(); });
  context_.peers.tick();
  check_disks();
  // A copy: a tick may end a leadership only by way of the map, never inside, but commands of tests
  // may do anything.
  for (auto& [set, primary] : primaries_) primary->tick();
  constexpr uint32_t sweep_ticks = 20, mend_ticks = 10 * sweep_ticks;
  constexpr uint32_t admission_ticks = 4;
  ++ticks_;
  if (ticks_ % admission_ticks == 0) admission_.tick(context_.disks.size());
  if (ticks_ % sweep_ticks != 0) return;
  sweep();
  for (auto& [id, disk] : context_.disks) {
    if (disk->failed) continue;
    disk->count_space(context_.now());
    bound_discards(*disk);
    if (ticks_ % mend_ticks == 0 && context_.serves(id)) mend_lost_blocks(context_, *disk);
  }
  std::vector<DiskId> doubtful;
  context_.space.each_doubtful(context_.now(), [&](DiskId disk) { doubtful.push_back(disk); });
  for (const DiskId disk : doubtful) context_.ask_space(disk);
}

// Of a set that misses a copy discards are remembered, and said again each time that the log goes
// round: they must not fill it.
void ServerImpl::bound_discards(LocalDisk& disk) {
  const store::Space space = disk.store->space();
  const bool early = space.tombstone_bytes > 0 && SP_BUGGIFY(serve_forgets_discards_soon, host_);
  if (space.tombstone_bytes <= space.log_bytes / limits::tombstones_log_divisor && !early) return;
  Replica* most = nullptr;
  uint64_t most_bytes = 0;
  for (const auto& [set, replica] : disk.replicas) {
    const auto record = disk.store->set_record(set);
    const uint64_t bytes = disk.store->tombstone_bytes(set);
    if (bytes <= most_bytes || !record || record->recovering) continue;
    most_bytes = bytes;
    most = replica.get();
  }
  if (most == nullptr) return;
  most->forget_discards([this, id = disk.id, set = most->set()] {
    SP_PROBE(serve_discards_forgotten);
    host_.log.warning(
        "discards fill the log and are forgotten: a copy that is away will be filled anew",
        {{"disk", id}, {"set", set.index}, {"group", set.group}});
    const auto primary = primaries_.find(set);
    if (primary != primaries_.end() && primary->second->disk() == id)
      primary->second->discards_forgotten();
  });
}

member::Report ServerImpl::make_report() {
  member::Report report;
  report.fenced_index = fenced_index_;
  report.settled_index = settled_index();
  report.unreachable = context_.peers.unreachable();
  std::map<DiskId, member::TaskReport> tasks;
  for (const auto& [id, disk] : context_.disks) {
    if (disk->failed) continue;
    const auto stats = disk->store->stats();
    report.disks.push_back({id, stats.blocks_total, stats.blocks_used, stats.objects_total,
                            stats.objects_used, stats.memory_bytes});
    report_lost(*disk, report);
  }
  for (const auto& [set, primary] : primaries_) {
    primary->add_tasks(tasks);
    if (const std::string text = primary->waits_for(); !text.empty())
      report.sets.push_back({set, primary->requests_waiting(), text});
  }
  for (const auto& [disk, task] : tasks) report.tasks.push_back(task);
  return report;
}

// Blocks that came here without their content wait to be written anew.
void ServerImpl::report_lost(const LocalDisk& disk, member::Report& report) {
  constexpr size_t counted_max = 1000, named_max = 3;
  std::map<SetId, std::pair<size_t, std::string>> sets;
  for (const auto& block : disk.store->lost(0, counted_max)) {
    auto& [count, text] = sets[block.set];
    if (count < named_max) text += (count > 0 ? ", " : "") + block_text(block.object, block.block);
    ++count;
  }
  for (auto& [set, found] : sets) {
    std::string text = "a write to " + found.second;
    if (found.first > named_max)
      text += " and " + std::to_string(found.first - named_max) + " more blocks";
    report.sets.push_back({set, 0, text + ": no copy that could be asked has it whole"});
  }
}

std::string ServerImpl::open_work() const {
  std::string text;
  const auto add = [&text](const std::string& where, const std::string& what) {
    if (!what.empty()) text += (text.empty() ? "" : "; ") + where + ": " + what;
  };
  for (const auto& [set, primary] : primaries_)
    add("set " + std::to_string(set.index), primary->open_work());
  for (const auto& [id, disk] : context_.disks) {
    if (disk->failed) continue;
    for (const auto& [set, replica] : disk->replicas)
      add("set " + std::to_string(set.index) + " on disk " + std::to_string(id),
          replica->open_work());
    if (const uint64_t calls = disk->store->stats().calls_open; calls > 0)
      add("store of disk " + std::to_string(id), std::to_string(calls) + " calls");
  }
  if (const size_t open = context_.peers.open_requests(); open > 0)
    add("other servers", std::to_string(open) + " requests");
  if (context_.recoveries > 0)
    add("recoveries", std::to_string(context_.recoveries) + " places taken");
  return text;
}

std::vector<DiskId> ServerImpl::disks() const {
  std::vector<DiskId> out;
  for (const auto& [id, disk] : context_.disks) {
    if (!disk->failed) out.push_back(id);
  }
  return out;
}

store::Store* ServerImpl::store(DiskId id) {
  LocalDisk* const disk = context_.disk(id);
  return disk == nullptr ? nullptr : disk->store.get();
}

void ServerImpl::digest(DiskId id, SetId set, Callback<void(wire::DigestReply)> done) {
  if (LocalDisk* const disk = context_.disk(id))
    return disk->replica(host_, set).digest(std::move(done));
  auto box = std::make_unique<Callback<void(wire::DigestReply)>>(std::move(done));
  host_.reactor.post([box = std::move(box), id] {
    wire::DigestReply reply;
    reply.text = "disk " + std::to_string(id) + " is not held by this server";
    box->call_once(std::move(reply));
  });
}

void ServerImpl::save_indexes(Callback<void(Status)> done) {
  struct Work {
    size_t open = 1;
    Status status;
    Callback<void(Status)> done;
  };
  auto work = std::make_shared<Work>();
  work->done = std::move(done);
  const auto end = [work](Status status) {
    if (!status.ok()) work->status = std::move(status);
    if (--work->open == 0) work->done.call_once(std::move(work->status));
  };
  for (auto& [id, disk] : context_.disks) {
    if (disk->failed) continue;
    ++work->open;
    disk->store->save_index(end);
  }
  host_.reactor.post([end] { end({}); });
}

}  // namespace sp::serve
