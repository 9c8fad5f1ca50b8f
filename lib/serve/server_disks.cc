// Disks of a server: opening, registering, giving up, and clearing away what the map does not want
// on them.
#include <algorithm>

#include "disk/superblock.h"
#include "io/counted_disk.h"
#include "serve/server_impl.h"

namespace sp::serve {

void open_formatted_disk(io::Host& host, const std::string& path,
                         const store::Options& store_options,
                         std::function<void(Result<OpenedDisk>)> done) {
  io::OpenOptions options;
  auto opened = host.disks.open(path, options);
  struct Work {
    std::function<void(Result<OpenedDisk>)> done;
    store::Options store_options;
    std::unique_ptr<io::Disk> disk;
    OpenedDisk opened;
  };
  auto work = std::make_shared<Work>();
  work->done = std::move(done);
  work->store_options = store_options;
  if (!opened.ok()) {
    auto error = std::make_shared<Error>(std::move(opened).error());
    host.reactor.post([work, error] { work->done(*error); });
    return;
  }
  work->disk = std::move(opened).value();
  disk::read_superblock(host, *work->disk, [&host, work](Result<disk::Superblock> superblock) {
    if (!superblock.ok()) return work->done(std::move(superblock).error());
    work->opened.counts = std::make_shared<io::DiskCounts>();
    work->opened.id = superblock->disk;
    work->opened.cluster = superblock->cluster;
    work->opened.uuid = superblock->uuid;
    store::Store::open(host, io::count(std::move(work->disk), work->opened.counts),
                       work->store_options, [work](Result<std::unique_ptr<store::Store>> store) {
                         if (!store.ok()) return work->done(std::move(store).error());
                         work->opened.store = std::move(store).value();
                         work->done(std::move(work->opened));
                       });
  });
}

void ServerImpl::open_disks() {
  opening_ = static_cast<uint32_t>(options_.disk_paths.size());
  store::Options store_options = options_.store;
  store_options.disk_minor_newest = options_.self.versions.disk_minor_newest;
  for (const std::string& path : options_.disk_paths) {
    auto done = [this, path, weak = std::weak_ptr<char>(alive_)](Result<OpenedDisk> disk) {
      if (weak.lock()) opened(path, std::move(disk));
    };
    if (options_.open_disk)
      options_.open_disk(host_, path, std::move(done));
    else
      open_formatted_disk(host_, path, store_options, std::move(done));
  }
}

void ServerImpl::opened(const std::string& path, Result<OpenedDisk> opened) {
  --opening_;
  if (!opened.ok()) {
    host_.log.error("disk cannot be opened", {{"path", path}, {"why", opened.error().message()}});
  } else if (opened->cluster != options_.self.cluster) {
    host_.log.error("disk belongs to another cluster", {{"path", path}, {"disk", opened->id}});
  } else if (context_.disks.count(opened->id) != 0) {
    host_.log.error("two devices carry the same disk id", {{"path", path}, {"disk", opened->id}});
  } else {
    auto disk = std::make_unique<LocalDisk>();
    disk->id = opened->id;
    disk->uuid = opened->uuid;
    disk->path = path;
    disk->store = std::move(opened->store);
    disk->counts = std::move(opened->counts);
    // Replicas of all sets it knows: they hold the promised epochs.
    for (const auto& record : disk->store->sets()) disk->replica(host_, record.set);
    host_.log.info("disk opened",
                   {{"disk", disk->id}, {"path", path}, {"sets", disk->replicas.size()}});
    disk->count_space(context_.now());
    context_.disks.emplace(disk->id, std::move(disk));
  }
  register_disks();
}

void ServerImpl::register_disks() {
  std::vector<map::Disk> list;
  for (const auto& [id, disk] : context_.disks) {
    if (disk->failed) continue;
    map::Disk row;
    row.id = id;
    row.server = options_.self.service;
    row.up = true;
    row.uuid = disk->uuid;
    row.capacity_bytes = disk->store->stats().blocks_total * limits::block_bytes;
    row.device = disk->path;
    list.push_back(std::move(row));
  }
  context_.member.update_disks(std::move(list));
}

void ServerImpl::check_disks() {
  bool fewer = false;
  for (auto& [id, disk] : context_.disks) {
    if (!disk->failed && disk->store->failure().has_value()) {
      disk->failed = fewer = true;
      host_.log.error("disk has failed and is given up",
                      {{"disk", id}, {"why", disk->store->failure()->message()}});
      for (auto it = primaries_.begin(); it != primaries_.end();) {
        if (it->second->disk() != id) {
          ++it;
          continue;
        }
        memory_[it->first] = it->second->stop();
        it = primaries_.erase(it);
      }
    }
    if (disk->failed && !failure_known(*disk) && !disk->failure_in_flight) tell_failure(*disk);
  }
  // Registered again as it was, after a connection was lost, it would be up again.
  if (fewer) register_disks();
}

// What was agreed is no more once this process was declared down and has come back.
bool ServerImpl::failure_known(const LocalDisk& disk) const {
  const auto row = context_.map().disks.find(disk.id);
  if (row == context_.map().disks.end()) return true;
  if (row->second.server != options_.self.service) return true;
  return !row->second.up && !row->second.failure.empty();
}

void ServerImpl::tell_failure(LocalDisk& disk) {
  disk.failure_in_flight = true;
  map::DiskFailed command;
  command.disk = disk.id;
  command.start_id = options_.self.start_id;
  command.why = disk.store->failure()->message();
  context_.member.command(command,
                          [&disk, weak = std::weak_ptr<char>(alive_)](const Result<uint64_t>&) {
                            if (!weak.lock()) return;
                            disk.failure_in_flight = false;
                          });
}

void ServerImpl::sweep() {
  if (context_.map().index == 0) return;
  for (auto& [id, disk] : context_.disks) {
    if (disk->failed || !context_.holds(id)) continue;
    sweep_sets(*disk);
    sweep_volumes(*disk);
  }
}

void ServerImpl::sweep_sets(LocalDisk& disk) {
  for (const auto& record : disk.store->sets()) {
    const map::DiskSet* row = context_.row(record.set);
    Replica& replica = disk.replica(host_, record.set);
    if (row == nullptr) {
      // Unknown because deleted, not because our map is behind: ids are never used again.
      if (record.set.group > context_.map().cluster.group_last) continue;
      if (context_.map().groups.count(record.set.group) != 0) continue;
    } else {
      const auto lists = {&row->acting, &row->recovering, &row->base, &row->target};
      const bool member = std::any_of(lists.begin(), lists.end(), [&](const auto* list) {
        return std::find(list->begin(), list->end(), disk.id) != list->end();
      });
      // A primary may know a newer row than we do, which has us in again. What earlier processes
      // were told is older than the row that knows of this one.
      if (member || row->revision <= replica.revision()) continue;
    }
    if (!removing_sets_.emplace(disk.id, record.set).second) continue;
    host_.log.info("set is removed from a disk",
                   {{"disk", disk.id}, {"group", record.set.group}, {"set", record.set.index}});
    replica.remove(row == nullptr ? UINT64_MAX : row->revision,
                   [this, id = disk.id, set = record.set](Status) {
                     removing_sets_.erase({id, set});
                   });
  }
}

void ServerImpl::sweep_volumes(LocalDisk& disk) {
  for (const VolumeId volume : disk.store->volumes()) {
    if (!context_.map().is_deleted(volume)) continue;
    if (!removing_volumes_.emplace(disk.id, volume).second) continue;
    disk.store->remove_volume(volume, [this, id = disk.id, volume](Status) {
      removing_volumes_.erase({id, volume});
    });
  }
}

}  // namespace sp::serve
